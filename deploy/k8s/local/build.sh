#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Builds the image of ttg and, if asked, puts it onto the machines of a kind cluster.
#
# usage: build.sh [--version V] [--load-kind] [--name CLUSTER] [--dry-run]
#
#   --version V     tag of the image (default: the version of this tree): ttg:V, ttg:latest, and under
#                   its older name ttg-worker:vV
#   --load-kind     load it into the kind cluster
#   --name CLUSTER  which one (default: ttg-sandbox)
#   --dry-run       only show the commands
#
# CONTAINER_ENGINE names docker or podman (default: docker if it answers). Exit codes: 0 done, 2 wrong
# usage, 3 something that it needs is missing, else that of the command that failed.
set -eu
# shellcheck source=deploy/k8s/local/common.sh
. "$(dirname "$0")/common.sh"

version=
cluster=ttg-sandbox
load=
while [ $# -gt 0 ]; do
    case $1 in
    --version | --name)
        [ $# -gt 1 ] || die 2 "$1 needs a word behind it"
        if [ "$1" = --name ]; then cluster=$2; else version=${2#v}; fi
        shift
        ;;
    --load-kind) load=1 ;;
    *) common_option "$1" ;;
    esac
    shift
done

[ -n "$version" ] || version=$(sed -n 's/.*TTG_VERSION "\(.*\)"/\1/p' "$root/include/ttg/version.h")
case $version in
'' | [!A-Za-z0-9_]* | *[!A-Za-z0-9_.-]*) die 2 "--version '$version' is no tag of an image" ;;
esac
need_engine
[ -z "$load" ] || need_kind

# With the registry's name in front podman gives the image the name by which the machines of a cluster
# look for `ttg:latest`; docker drops it.
prefix=docker.io/library
do_ "$engine" build -f "$root/deploy/container/Containerfile" --build-arg "VERSION=$version" \
    -t "$prefix/ttg:$version" -t "$prefix/ttg:latest" -t "$prefix/ttg-worker:v$version" "$root"

if [ -n "$load" ]; then
    if [ -z "$dry_run" ] && ! kind get clusters 2>/dev/null | grep -qx "$cluster"; then
        die 3 "there is no kind cluster $cluster: run setup-local.sh"
    fi
    archive=$(mktemp)
    trap 'rm -f "$archive"' EXIT
    do_ "$engine" save -o "$archive" "$prefix/ttg:$version" "$prefix/ttg:latest" \
        "$prefix/ttg-worker:v$version"
    do_ kind load image-archive "$archive" --name "$cluster"
fi
