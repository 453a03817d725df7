#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard in Chromium of jobs on other people's servers."""
import re
import signal
import socket

from browser import browser
from harness import TTG, main, spawn, temp_dir, test, ttg
from rabbitrig import Rabbit
from redisrig import Redis


@test
def it_watches_a_plain_redis_too():
    chromium = browser()
    server = Redis()
    monitor = spawn([TTG, "monitor", "--web", "127.0.0.1:0", "--queue", server.url])
    url = monitor.wait_for(r"http://127\.0\.0\.1:\d+/#token=\w+").group(0)
    page = chromium.page(url)
    ttg("submit", "j", "--queue", server.url, "--params", "500", "--chunk", "1", "--simulate-ms", "30")
    workers = [spawn([TTG, "worker", "--queue", server.url, "--job", "j", "--name", f"worker-{i}",
                      "--simulate-ms", "30"]) for i in range(3)]
    page.wait("document.querySelectorAll('#workers tr.busy').length === 3")
    assert page.text("#workers tr.busy td:last-child") == socket.gethostname()
    workers[1].kill()
    page.see("worker-1", "#workers tr.lost")
    page.see("finished", "#state", 30)
    page.check(int(re.search(r":(\d+)/", url).group(1)))
    monitor.kill(signal.SIGTERM)
    assert monitor.wait() == 0
    page.close()


@test
def and_a_rabbitmq_by_the_collector_of_the_job():
    chromium = browser()
    broker = Rabbit()
    monitor = spawn([TTG, "monitor", "sweep", "--web", "127.0.0.1:0", "--queue", broker.url,
                     "--management", f"http://127.0.0.1:{broker.http}"])
    url = monitor.wait_for(r"http://127\.0\.0\.1:\d+/#token=\w+").group(0)
    page = chromium.page(url)
    done = spawn([TTG, "run", "--queue", broker.url, "--job", "sweep", "--params", "300", "--chunk", "1",
                  "--simulate-ms", "50", "--workers", "2", "--output", temp_dir() + "/out"])
    page.wait("document.querySelectorAll('#workers tr.busy').length === 2")
    page.wait("parseFloat(document.querySelector('#percent').innerText) > 30")
    page.see("one square a chunk", "#percell")
    page.see("ttg.sweep.tasks.dlq", "#broker")
    page.see("given out to it", "#workers")
    page.see("1 of 1 node, no alarm", "#brokernote")
    page.shot("rabbitmq")
    assert done.wait(60) == 0, done.err()
    page.check(int(re.search(r":(\d+)/", url).group(1)))
    page.close()


main()
