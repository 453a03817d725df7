#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard in Chromium of jobs on other people's servers."""
import re
import signal
import socket

from browser import browser
from harness import TTG, keep, main, spawn, temp_dir, test, ttg, write_file
from rabbitrig import Rabbit
from redisrig import Redis


def held_from(chunk):
    """A command whose chunks from that one on end when the file is there: so long there is work to see."""
    go = temp_dir() + "/go"
    return go, ["--", "sh", "-c", f"sleep 0.02; until [ {{chunk}} -lt {chunk} ] || [ -e {go} ]; do sleep 0.05; done"]


@test
def it_watches_a_plain_redis_too():
    chromium = browser()
    go, command = held_from(0)
    server = Redis()
    monitor = spawn([TTG, "monitor", "--web", "127.0.0.1:0", "--queue", server.url])
    url = monitor.wait_for(r"http://127\.0\.0\.1:\d+/#token=\w+").group(0)
    page = chromium.page(url)
    ttg("submit", "j", "--queue", server.url, "--params", "300", "--chunk", "1", *command)
    workers = [spawn([TTG, "worker", "--queue", server.url, "--job", "j", "--name", f"worker-{i}", *command])
               for i in range(3)]
    page.wait("document.querySelectorAll('#workers tr.busy').length === 3")
    assert page.text("#workers tr.busy td:last-child") == socket.gethostname()
    workers[1].kill()
    page.see("worker-1", "#workers tr.lost")
    write_file(go)
    page.see("finished", "#state")
    page.check(int(re.search(r":(\d+)/", url).group(1)))
    monitor.kill(signal.SIGTERM)
    assert monitor.wait() == 0
    page.close()


@test
def and_a_rabbitmq_by_the_collector_of_the_job():
    chromium = browser()
    go, command = held_from(200)
    broker = Rabbit()
    monitor = spawn([TTG, "monitor", "sweep", "--web", "127.0.0.1:0", "--queue", broker.url,
                     "--management", f"http://127.0.0.1:{broker.http}"])
    url = monitor.wait_for(r"http://127\.0\.0\.1:\d+/#token=\w+").group(0)
    page = chromium.page(url)
    done = spawn([TTG, "run", "--queue", broker.url, "--job", "sweep", "--params", "300", "--chunk", "1",
                  "--workers", "2", "--output", temp_dir() + "/out", *command])
    page.wait("document.querySelectorAll('#workers tr.busy, #workers tr.straggling').length === 2")
    page.wait("parseFloat(document.querySelector('#percent').innerText) > 30")
    page.see("one square a chunk", "#percell")
    page.see("ttg.sweep.tasks.dlq", "#broker")
    page.see("given out to it", "#workers")
    page.see("1 of 1 node, no alarm", "#brokernote")
    page.shot("rabbitmq")
    write_file(go)
    assert done.wait(60) == 0, done.err()
    page.check(int(re.search(r":(\d+)/", url).group(1)))
    page.close()


_broker = []


def broker_with_jobs():
    """A broker with two jobs and none of the name "default"; `sweep` has workers, for minutes."""
    if not _broker:
        rabbit = Rabbit()
        for name in ("sweep", "other"):
            ttg("submit", name, "--queue", rabbit.url, "--params", "5000", "--chunk", "1", "--simulate-ms", "300")
        keep(*[spawn([TTG, "worker", "--queue", rabbit.url, "--job", "sweep", "--name", f"worker-{i}",
                      "--simulate-ms", "300"]) for i in range(2)])
        _broker.append(rabbit)
    return _broker[0]


def dashboard(rabbit, *words, management=None):
    monitor = spawn([TTG, "monitor", *words, "--web", "127.0.0.1:0", "--queue", rabbit.url, "--management",
                     management or f"http://127.0.0.1:{rabbit.http}"])
    url = monitor.wait_for(r"http://127\.0\.0\.1:\d+/#token=\w+").group(0)
    return monitor, url.split("#")[0], url


@test
def each_job_of_a_rabbitmq_has_its_page():
    chromium, rabbit = browser(), broker_with_jobs()
    monitor, base, url = dashboard(rabbit, "other")
    port = int(re.search(r":(\d+)/", url).group(1))
    page = chromium.page(url)
    page.see("5,000 chunks", "#eta")
    page.see("No worker is here", "#idle")
    second = chromium.page(base + "?job=sweep")
    second.wait("document.querySelectorAll('#workers td').length >= 18")
    assert "ttg.sweep.tasks" in second.text("#queues") and "ttg.other.tasks" in page.text("#queues")
    second.see("waiting", "#tiles")
    # Actions reach the job that is in view, and the other one goes on.
    page.click("#pause")
    page.see("paused", "#state")
    assert second.text("#state") == "running"
    # The menu leads there, too.
    page.wait("document.querySelectorAll('#jobs option').length === 3")
    page.eval("(document.querySelector('#jobs').value = 'sweep', "
              "document.querySelector('#jobs').dispatchEvent(new Event('change')))")
    page.see("ttg.sweep.tasks", "#queues")
    page.see("running", "#state")
    third = chromium.page(base + "?job=nosuch")
    third.see("There is no job nosuch", "#empty")
    third.see("sweep 2 workers", "#joblist")
    third.see("ttg worker --queue URL --job nosuch", "#howto")
    third.shot("rabbitmq-no-such-job", whole=False)
    third.click("#joblist a >> text=other")
    third.see("paused", "#state")
    assert third.eval("location.search") == "?job=other"
    for p in (page, second, third):
        p.check(port)
        p.close()
    monitor.kill(signal.SIGTERM)
    assert monitor.wait() == 0, monitor.err()


@test
def without_a_name_it_goes_to_the_job_that_is_worked_at():
    chromium, rabbit = browser(), broker_with_jobs()
    monitor, base, url = dashboard(rabbit)
    page = chromium.page(url)
    page.see("ttg.sweep.tasks", "#queues")
    page.see("running", "#state")
    assert page.eval("location.search") == ""
    page.check(int(re.search(r":(\d+)/", url).group(1)))
    page.close()
    monitor.close()


@test
def without_the_management_api_it_asks_for_the_name():
    chromium, rabbit = browser(), broker_with_jobs()
    monitor, base, url = dashboard(rabbit, management="http://127.0.0.1:1")
    page = chromium.page(base)
    page.see("lists its jobs only by its management API", "#blind")
    page.see("refused", "#why")
    page.see("Which job?", "#empty")
    page.shot("rabbitmq-no-list", whole=False)
    page.click("#name")
    page.type("sweep")
    page.press("Enter")
    page.see("running", "#state")
    page.see("ttg.sweep.tasks", "#queues")
    page.check(int(re.search(r":(\d+)/", url).group(1)))
    page.close()
    monitor.close()


main()
