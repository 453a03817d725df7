# SPDX-License-Identifier: Apache-2.0
"""celery_driver.py KIND COUNT: sends the tasks, waits for all results; `submit`: one that hangs."""
import sys
import time

from celery.result import ResultSet

from celery_app import TASKS, app
from tasks import report

if sys.argv[1] == "submit":
    TASKS["hang"].apply_async((0,))
    print('{"seconds": 0, "count": 0, "total": 0}')
else:
    task, count = TASKS[sys.argv[1]], int(sys.argv[2])
    with app.producer_pool.acquire(block=True) as producer:
        began = time.monotonic()
        sent = [task.apply_async((n,), producer=producer) for n in range(count)]
        report(began, ResultSet(sent).get(timeout=120))
