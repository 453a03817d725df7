# SPDX-License-Identifier: Apache-2.0
"""The application that Celery's workers and celery_driver.py share."""
import json
import os

from celery import Celery, signals

import tasks

app = Celery("bench")
app.conf.update(json.loads(os.environ["BENCH_CELERY"]))
TASKS = {kind: app.task(function, name=kind) for kind, function in tasks.BY_KIND.items()}


@signals.worker_ready.connect
def ready(**_):
    with open(os.environ["BENCH_READY"], "w", encoding="ascii"):
        pass
