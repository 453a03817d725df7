# SPDX-License-Identifier: Apache-2.0
"""rq_driver.py KIND COUNT: sends the jobs, waits for all, fetches the results; `submit RETRIES`:
one that hangs."""
import os
import sys
import time

import redis
import rq
from rq.registry import FinishedJobRegistry

import tasks

connection = redis.Redis(port=int(os.environ["BENCH_REDIS_PORT"]))
queue = rq.Queue("bench", connection=connection)
if sys.argv[1] == "submit":
    retries = int(sys.argv[2])
    queue.enqueue(tasks.hang, 0, job_timeout=30, retry=rq.Retry(retries) if retries else None)
    print('{"seconds": 0, "count": 0, "total": 0}')
else:
    function = tasks.BY_KIND[sys.argv[1]]
    count = int(sys.argv[2])
    began = time.monotonic()
    jobs = queue.enqueue_many([rq.Queue.prepare_data(function, (n,)) for n in range(count)])
    ids = [job.id for job in jobs]
    finished = FinishedJobRegistry(queue=queue)
    while connection.zcard(finished.key) < count:
        time.sleep(0.01)
    tasks.report(began, [job.result for job in rq.job.Job.fetch_many(ids, connection)])
