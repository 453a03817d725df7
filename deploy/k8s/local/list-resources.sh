#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Lists what of ttg is in the current namespace: what `ttg cleanup --all` would find there, and where
# pods run.
#
# usage: list-resources.sh [--namespace NAME] [--dry-run]
set -eu
# shellcheck source=deploy/k8s/local/common.sh
. "$(dirname "$0")/common.sh"

namespace=
while [ $# -gt 0 ]; do
    case $1 in
    --namespace | -n)
        [ $# -gt 1 ] || die 2 "$1 needs a word behind it"
        namespace=$2
        shift
        ;;
    *) common_option "$1" ;;
    esac
    shift
done

need_kubectl
label=app.kubernetes.io/part-of=ttg
kinds=pods,deployments,statefulsets,jobs,services,configmaps,secrets,persistentvolumeclaims
kinds=$kinds,poddisruptionbudgets,networkpolicies
do_ kubectl get "$kinds" --selector "$label" ${namespace:+--namespace "$namespace"} -o wide
if [ -n "$dry_run" ] || kubectl get crd scaledobjects.keda.sh >/dev/null 2>&1; then
    do_ kubectl get scaledobjects,triggerauthentications --selector "$label" \
        ${namespace:+--namespace "$namespace"}
fi
