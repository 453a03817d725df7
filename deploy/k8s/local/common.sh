# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# What the scripts of this directory share. They are run from anywhere and speak on standard error.

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck disable=SC2034 # for those who read this file
root=$(cd "$here/../../.." && pwd)
me=$(basename "$0")
dry_run=

say() {
    echo "$me: $*" >&2
}

die() { # CODE WORDS...
    code=$1
    shift
    say "$*"
    exit "$code"
}

# Prints the comment at the top of the script.
usage() {
    sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
}

# What all of them understand; anything else is an error.
common_option() {
    case $1 in
    --dry-run) dry_run=1 ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) die 2 "unknown option $1; --help shows what there is" ;;
    esac
}

# do_ WORDS...: runs a command and shows it; with --dry-run it is only shown.
do_() {
    echo "+ $*" >&2
    [ -n "$dry_run" ] || "$@"
}

create_secrets() {
    echo "+ $here/secrets.sh | kubectl create -f -" >&2
    [ -n "$dry_run" ] || "$here/secrets.sh" | kubectl create -f -
}

# need PROGRAM HINT: ends with exit code 3 when it is not there.
need() {
    [ -n "$dry_run" ] || command -v "$1" >/dev/null || die 3 "$1 is missing: $2"
}

need_kubectl() {
    need kubectl 'https://kubernetes.io/docs/tasks/tools/ says how'
    [ -n "$dry_run" ] || kubectl version --request-timeout=10s >/dev/null 2>&1 ||
        die 3 'kubectl reaches no cluster: is it up? "kubectl config current-context" names it'
}

need_kind() {
    need kind 'https://kind.sigs.k8s.io says how'
}

# Sets `engine` to what builds and runs images: docker, else podman.
need_engine() {
    engine=${CONTAINER_ENGINE-}
    if [ -z "$engine" ]; then
        if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
            engine=docker
        elif command -v podman >/dev/null; then
            engine=podman
        elif [ -n "$dry_run" ]; then
            engine=docker
        else
            die 3 'neither a docker that answers nor podman is there: install one of them'
        fi
    fi
    need "$engine" 'CONTAINER_ENGINE names it'
    # kind looks for docker first.
    [ "$engine" != podman ] || export KIND_EXPERIMENTAL_PROVIDER=podman
}
