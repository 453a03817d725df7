# SPDX-License-Identifier: Apache-2.0
"""dask_driver.py FILE KIND COUNT WORKERS: maps, gathers; `submit`: one that hangs, then stays, as
the scheduler forgets what nobody waits for."""
import signal
import sys
import time

from distributed import Client

import tasks

if __name__ == "__main__":
    client = Client(scheduler_file=sys.argv[1], set_as_default=False)
    if sys.argv[2] == "submit":
        future = client.submit(tasks.hang, 0)
        print("submitted", flush=True)
        signal.pause()
    function, count = tasks.BY_KIND[sys.argv[2]], int(sys.argv[3])
    client.wait_for_workers(int(sys.argv[4]))
    began = time.monotonic()
    tasks.report(began, client.gather(client.map(function, range(count), pure=False)))
    client.close()
