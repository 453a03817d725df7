#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard in a real browser: what a person sees when a worker is killed, and can do about it.
Pictures of it are left in build/screenshots."""
import os
import re
import signal

from browser import Browser
from harness import ROOT, TTG, main, spawn, temp_dir, test, ttg, write_file
from rabbitrig import Rabbit
from redisrig import Redis
from webrig import TOKEN, Web, token_file

SHOTS = os.path.join(ROOT, "build", "screenshots")


def one_bad_chunk():
    """Chunk 3 is given up once, unless `good` exists; others take a moment."""
    good = temp_dir() + "/good"
    script = write_file(temp_dir() + "/work", f"""#!/bin/sh
[ $1 = 3 ] && [ ! -e {good} ] && {{ echo 'part 3 is not there' >&2; exit 100; }}
sleep 0.15
echo done
""", 0o755)
    return script, good


def check_page(page, port):
    assert page.errors == [], page.errors
    foreign = [url for url in page.requests if not url.startswith(f"http://127.0.0.1:{port}/")]
    assert foreign == [], foreign


@test
def a_killed_worker_turns_red_and_its_chunk_moves():
    browser = Browser()
    node = Web("--http", "127.0.0.1:0", "--token-file", token_file())
    script, good = one_bad_chunk()
    page = browser.page(f"{node.url}#token={TOKEN}")
    page.wait_text("No job yet")
    ttg("submit", "sweep", "--queue", node.queue, "--params", "1200", "--chunk", "10",
        "--", script, "{chunk}")
    workers = [spawn([TTG, "worker", "--queue", node.queue, "--job", "sweep", "--name", f"worker-{i}",
                      "--", script, "{chunk}"]) for i in range(4)]
    page.wait("[...document.querySelectorAll('#workers tr.busy')].length === 4")
    page.wait_text("given up after 1 attempt", "#dead")
    page.wait("parseFloat(document.querySelector('#percent').innerText) > 25")
    workers[2].kill()
    page.wait_text("worker-2", "#workers tr.lost")
    page.wait_text("worker-2 was lost with chunk", "#takeover")
    page.wait_text("took it over after", "#takeover")
    page.wait_text("worker-2 was lost", "#events")
    page.wait("document.querySelector('#live').textContent.includes('worker-2 was lost')")
    # Enough to look at, then the pictures.
    page.wait("parseFloat(document.querySelector('#percent').innerText) > 55")
    page.screenshot(os.path.join(SHOTS, "desktop-light.png"), whole=True)
    looks = {"desktop-dark": {"dark": True},
             "phone-light": {"width": 390, "height": 844, "phone": True},
             "phone-dark": {"width": 390, "height": 844, "phone": True, "dark": True}}
    for name, look in looks.items():
        other = browser.page(node.url, **look)
        other.wait_text("took it over after", "#takeover")
        assert other.eval("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
        other.screenshot(os.path.join(SHOTS, name + ".png"), whole=True)
        other.screenshot(os.path.join(SHOTS, name + "-top.png"))
        check_page(other, node.http)
        other.call("Page.close")
    # What the token allows: the dead letter gets another try.
    write_file(good)
    spawn([TTG, "worker", "--queue", node.queue, "--job", "sweep", "--name", "worker-4", "--stay",
           "--", script, "{chunk}"])  # the others may have seen the job's end by now
    page.click("#dead button")
    page.wait_text("1 chunk will be tried again", "#note")
    page.wait_text("None.", "#nodead")
    page.wait_text("100 %", "#percent", 30)
    page.wait_text("finished", "#state")
    assert TOKEN not in page.eval("location.href")
    check_page(page, node.http)
    out = ttg("results", "sweep", "--queue", node.queue).out
    assert len(set(re.findall(r'"chunk_id":"(\d+)"', out))) == 120


@test
def it_comes_back_after_a_restart_of_the_node():
    browser = Browser()
    node = Web("--http", "127.0.0.1:0")
    ttg("submit", "j", "--queue", node.queue, "--params", "100", "--chunk", "1")
    page = browser.page(node.url)
    page.wait_text("live", "#link")
    node.kill()
    page.wait_text("reconnecting", "#link")
    again = Web("--http", f"127.0.0.1:{node.http}", data=node.data)
    page.wait_text("live", "#link")
    ttg("submit", "k", "--queue", again.queue, "--params", "100", "--chunk", "1")
    page.wait_text("k (newest)", "#jobs")
    # The browser itself says that the connection was refused; nothing else may be wrong.
    assert all("ERR_CONNECTION_REFUSED" in e or "ERR_INCOMPLETE" in e or "ERR_EMPTY" in e
               or "ERR_CONNECTION_RESET" in e for e in page.errors), page.errors


@test
def keys_token_dialog_and_theme():
    browser = Browser()
    node = Web("--http", "127.0.0.1:0", "--token-file", token_file())
    ttg("submit", "j", "--queue", node.queue, "--params", "100", "--chunk", "1")
    page = browser.page(node.url, still=True)
    page.wait_text("waiting", "#tiles")
    page.key("p")  # needs the token
    page.wait("document.querySelector('#ask').open")
    page.type("wrong-token-wrong-token")
    page.key("Enter")
    page.wait_text("not the right one", "#note")
    page.key("p")
    page.wait("document.querySelector('#ask').open")
    page.type(TOKEN)
    page.key("Enter")
    page.wait_text("paused", "#state")
    page.key("p")
    page.wait_text("running", "#state")
    before = page.eval("getComputedStyle(document.body).backgroundColor")
    page.key("t")
    assert page.eval("getComputedStyle(document.body).backgroundColor") != before
    page.eval("document.querySelector('#map').focus()")
    page.key("ArrowRight")
    page.key("Enter")
    page.wait_text("Chunk 0, fresh", "#cell")
    unnamed = page.eval("[...document.querySelectorAll('button, select, input, canvas')].filter(e => "
                        "!(e.innerText || e.ariaLabel || e.closest('label, [role=img]') || e.getAttribute('aria-label')))"
                        ".map(e => e.outerHTML)")
    assert unnamed == [], unnamed
    page.errors = [e for e in page.errors if "401" not in e]
    check_page(page, node.http)


@test
def a_million_chunks_stay_readable():
    browser = Browser()
    node = Web("--http", "127.0.0.1:0")
    ttg("submit", "big", "--queue", node.queue, "--params", "1000000", "--chunk", "1",
        "--simulate-ms", "0")
    worker = spawn([TTG, "worker", "--queue", node.queue, "--job", "big", "--simulate-ms", "0"])
    page = browser.page(node.url)
    page.wait_text("489 chunks a square", "#percell")
    page.wait("parseFloat(document.querySelector('#percent').innerText) > 10", 60)
    page.screenshot(os.path.join(SHOTS, "million.png"), whole=True)
    assert page.eval("document.querySelector('#map').getBoundingClientRect().height") < 400
    check_page(page, node.http)
    worker.kill()


@test
def it_watches_a_plain_redis_too():
    browser = Browser()
    server = Redis()
    monitor = spawn([TTG, "monitor", "--web", "127.0.0.1:0", "--queue", server.url])
    url = monitor.wait_for(r"http://127\.0\.0\.1:\d+/#token=\w+").group(0)
    ttg("submit", "j", "--queue", server.url, "--params", "300", "--chunk", "1", "--simulate-ms", "30")
    workers = [spawn([TTG, "worker", "--queue", server.url, "--job", "j", "--name", f"worker-{i}",
                      "--simulate-ms", "30"]) for i in range(3)]
    page = browser.page(url)
    page.wait("document.querySelectorAll('#workers tr.busy').length === 3")
    workers[1].kill()
    page.wait_text("worker-1", "#workers tr.lost")
    page.wait_text("finished", "#state", 30)
    check_page(page, int(re.search(r":(\d+)/", url).group(1)))
    monitor.kill(signal.SIGTERM)
    assert monitor.wait() == 0


@test
def and_a_rabbitmq_by_the_collector_of_the_job():
    browser = Browser()
    broker = Rabbit()
    monitor = spawn([TTG, "monitor", "sweep", "--web", "127.0.0.1:0", "--queue", broker.url])
    url = monitor.wait_for(r"http://127\.0\.0\.1:\d+/#token=\w+").group(0)
    page = browser.page(url)
    done = spawn([TTG, "run", "--queue", broker.url, "--job", "sweep", "--params", "200", "--chunk", "1",
                  "--simulate-ms", "50", "--workers", "2", "--output", temp_dir() + "/out"])
    page.wait("document.querySelectorAll('#workers tr.busy').length === 2")
    page.wait("parseFloat(document.querySelector('#percent').innerText) > 30")
    page.wait_text("one square a chunk", "#percell")
    assert done.wait(60) == 0, done.err()
    check_page(page, int(re.search(r":(\d+)/", url).group(1)))


main()
