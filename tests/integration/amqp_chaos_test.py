#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Workers, collectors, submitters and brokers are killed at random: RabbitMQ alone, and three nodes
with quorum queues, which are cut off from each other, too. Only with SOAK=1: otherwise amqp_test and
amqp_cluster_test do it with small counts. See chaos_test.py; SEED, FAULTS and CHUNKS mean the same
here."""
from chaosqueues import RabbitClusterQueue, RabbitQueue
from chaosrig import KINDS, SOAK, storm
from harness import main, skip, test


def soak(*what):
    if not SOAK:
        skip("amqp_test and amqp_cluster_test kill a few; here it takes minutes: make soak")
    storm(*what)


@test
def kills_on_rabbitmq():
    soak(RabbitQueue, KINDS)


@test
def kills_and_partitions_on_a_rabbitmq_cluster():
    soak(RabbitClusterQueue, KINDS + ("partition",))


if __name__ == "__main__":
    main()
