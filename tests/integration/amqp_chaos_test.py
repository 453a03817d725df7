#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Workers, collectors, submitters and brokers are killed at random: RabbitMQ alone, and three nodes
with quorum queues, which are cut off from each other, too (SOAK=1; amqp_cluster_test does it with small
counts). See chaos_test.py; SOAK, SEED, FAULTS and CHUNKS mean the same here."""
from chaosqueues import RabbitClusterQueue, RabbitQueue
from chaosrig import KINDS, SOAK, storm
from harness import main, skip, test


@test
def kills_on_rabbitmq():
    storm(RabbitQueue, KINDS, few=1)


@test
def kills_and_partitions_on_a_rabbitmq_cluster():
    if not SOAK:
        skip("amqp_cluster_test kills nodes; here it takes minutes: make soak")
    storm(RabbitClusterQueue, KINDS + ("partition",))


if __name__ == "__main__":
    main()
