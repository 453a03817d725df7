#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes a Kubernetes cluster on this machine with kind: four machines, the image of ttg on each, and a
# Secret with random passwords. What is there already is left as it is.
#
# usage: setup-local.sh [--name CLUSTER] [--skip-image] [--dry-run]
#
#   --name CLUSTER  name of the kind cluster (default: ttg-sandbox)
#   --skip-image    do not build the image
#   --dry-run       only show the commands
#
# Exit codes: 0 done, 2 wrong usage, 3 something that it needs is missing. `kind delete cluster --name
# ttg-sandbox` removes all of it.
set -eu
# shellcheck source=deploy/k8s/local/common.sh
. "$(dirname "$0")/common.sh"

cluster=ttg-sandbox
image=1
while [ $# -gt 0 ]; do
    case $1 in
    --name)
        [ $# -gt 1 ] || die 2 "$1 needs a word behind it"
        cluster=$2
        shift
        ;;
    --skip-image) image= ;;
    *) common_option "$1" ;;
    esac
    shift
done

need_kind
need kubectl 'https://kubernetes.io/docs/tasks/tools/ says how'
need_engine

if [ -z "$dry_run" ] && kind get clusters 2>/dev/null | grep -qx "$cluster"; then
    say "the cluster $cluster is there"
    do_ kubectl config use-context "kind-$cluster"
else
    do_ kind create cluster --name "$cluster" --config "$here/kind.yaml" --wait 120s
fi
if [ -n "$image" ]; then
    do_ env CONTAINER_ENGINE="$engine" "$here/build.sh" --load-kind --name "$cluster"
fi
if [ -z "$dry_run" ] && kubectl get secret ttg-secrets >/dev/null 2>&1; then
    say 'the Secret ttg-secrets is there'
else
    create_secrets
fi
do_ kubectl get nodes
