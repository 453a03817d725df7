# SPDX-License-Identifier: Apache-2.0
"""The systems that are measured, by name. A new one: a class below System, a line in ALL."""
from . import (beanstalk, celery_peer, dask_peer, gearman, raw, rq_peer, shell, ttg_peer)

ALL = {system.name: system for module in (ttg_peer, raw, shell, beanstalk, gearman, celery_peer,
                                          rq_peer, dask_peer) for system in module.SYSTEMS}
