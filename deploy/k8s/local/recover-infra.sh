#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Brings the queues back: pods of Redis and RabbitMQ that are gone or failed (bare pods, which nobody
# starts again when their machine is lost) are made anew on their claims, the node is waited for. What
# runs is left alone, and so is what was never there; nothing that holds data is deleted.
#
# usage: recover-infra.sh [--redis] [--rabbitmq] [--node] [--timeout S] [--dry-run]
#
#   --redis, --rabbitmq, --node   only these, and also if they were never there
#                                 (default: those whose claim is there)
#   --timeout S                   how long to wait for each (default: 180)
#   --dry-run                     only show the commands
#
# Exit codes: 0 all of them answer, 2 wrong usage, 3 no kubectl or no cluster, 1 one does not come up.
set -eu
# shellcheck source=deploy/k8s/local/common.sh
. "$(dirname "$0")/common.sh"

which=
timeout=180
while [ $# -gt 0 ]; do
    case $1 in
    --redis | --rabbitmq | --node) which="$which ${1#--}" ;;
    --timeout)
        [ $# -gt 1 ] || die 2 "$1 needs a number behind it"
        timeout=$2
        shift
        ;;
    *) common_option "$1" ;;
    esac
    shift
done
case $timeout in
'' | *[!0-9]*) die 2 "--timeout '$timeout' is no number of seconds" ;;
esac

need_kubectl
claimed() {
    kubectl get persistentvolumeclaim "$1" >/dev/null 2>&1
}
if [ -z "$which" ] && [ -n "$dry_run" ]; then
    which='redis rabbitmq node'
elif [ -z "$which" ]; then
    ! claimed ttg-redis-data || which="$which redis"
    ! claimed ttg-rabbitmq-data || which="$which rabbitmq"
    ! claimed data-ttg-node-0 || which="$which node"
fi
[ -n "$which" ] || say 'no queue of ttg was ever in this namespace'

if [ -n "$dry_run" ] || ! kubectl get secret ttg-secrets >/dev/null 2>&1; then
    # A broker with data knows the password of old: a new one would only lock everybody out.
    if [ -z "$dry_run" ] && { claimed ttg-redis-data || claimed ttg-rabbitmq-data ||
        claimed data-ttg-node-0; }; then
        die 1 'the Secret ttg-secrets is gone, but data is there: make it again from your copy'
    fi
    create_secrets
fi

# pod_lost NAME: it is not there, has ended, or hangs on a machine that is lost.
pod_lost() {
    state=$(kubectl get pod "$1" -o 'jsonpath={.status.phase}/{.status.reason}' 2>/dev/null) || return 0
    case $state in
    Running/ | Pending/) return 1 ;;
    esac
    return 0
}

failed=0
for each in $which; do
    case $each in
    node)
        do_ kubectl rollout status statefulset/ttg-node --timeout="${timeout}s" || failed=1
        continue
        ;;
    esac
    if [ -n "$dry_run" ] || pod_lost "ttg-$each"; then
        do_ kubectl delete pod "ttg-$each" --ignore-not-found --grace-period=30 --timeout="${timeout}s" ||
            say "the machine of ttg-$each does not answer: if it is off for good," \
                "\`kubectl delete pod ttg-$each --force\`, and run this again"
        do_ kubectl apply -f "$here/../manifests/$each.yaml" || failed=1
    fi
    do_ kubectl wait --for=condition=ready "pod/ttg-$each" --timeout="${timeout}s" || failed=1
done
exit "$failed"
