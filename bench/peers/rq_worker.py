# SPDX-License-Identifier: Apache-2.0
"""rq_worker.py CLASS NAME: a worker of RQ."""
import os
import sys

import redis
import rq

rq.logutils.setup_loghandlers("ERROR")
connection = redis.Redis(port=int(os.environ["BENCH_REDIS_PORT"]))
queue = rq.Queue("bench", connection=connection)
getattr(rq, sys.argv[1])([queue], name=sys.argv[2], connection=connection).work(
    logging_level="ERROR")
