#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the Secret ttg-secrets with fresh random passwords for node, Redis, RabbitMQ and dashboard:
#
#   deploy/k8s/local/secrets.sh | kubectl create -f -
#
# Made once: a broker keeps the password that it was started with on its disk. With `--env` it prints
# variables, for deploy/compose: deploy/k8s/local/secrets.sh --env >deploy/compose/.env
set -eu

word() { # 32 hexadecimal digits: they mean nothing special in a URL
    od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

rabbitmq=$(word)
case ${1-} in
'')
    cat <<END
apiVersion: v1
kind: Secret
metadata:
  name: ttg-secrets
  labels: {app.kubernetes.io/name: ttg, app.kubernetes.io/part-of: ttg, ttg.io/component: secrets}
type: Opaque
stringData:
  node-password: $(word)
  redis-password: $(word)
  rabbitmq-password: $rabbitmq
  rabbitmq-management: http://ttg:$rabbitmq@ttg-rabbitmq.default:15672/
  monitor-token: $(word)
END
    ;;
--env)
    printf 'COMPOSE_PROFILES=redis\n'
    printf 'REDIS_PASSWORD=%s\n' "$(word)"
    printf 'RABBITMQ_USER=ttg\nRABBITMQ_PASSWORD=%s\n' "$rabbitmq"
    printf 'TTG_TOKEN=%s\n' "$(word)"
    ;;
*)
    echo "usage: $0 [--env]" >&2
    exit 2
    ;;
esac
