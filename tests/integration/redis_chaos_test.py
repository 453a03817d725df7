#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Workers, collectors, submitters and masters are killed at random: Redis behind Sentinels, and a Redis
Cluster. See chaos_test.py; SOAK, SEED, FAULTS and CHUNKS mean the same here."""
from chaosqueues import RedisClusterQueue, SentinelQueue
from chaosrig import KINDS, storm
from harness import main, test


@test
def kills_behind_sentinels():
    storm(SentinelQueue, KINDS, few=1)


@test
def kills_on_a_redis_cluster():
    storm(RedisClusterQueue, KINDS, few=1)


main()
