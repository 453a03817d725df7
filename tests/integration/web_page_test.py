#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The dashboard in Chromium: what a person sees when a worker is killed, and can do about it.
Pictures of it are left in build/screenshots."""
import re
import socket

from browser import browser
from harness import TTG, free_port, main, spawn, temp_dir, test, ttg, write_file
from webrig import TOKEN, Web, token_file


def one_bad_chunk():
    """Chunk 3 is given up once, unless `good` exists; others take a moment, and from 60 on until `go` is there."""
    good, go = temp_dir() + "/good", temp_dir() + "/go"
    script = write_file(temp_dir() + "/work", f"""#!/bin/sh
[ $1 = 3 ] && [ ! -e {good} ] && {{ echo 'part 3 is not there' >&2; exit 100; }}
until [ $1 -lt 60 ] || [ -e {go} ]; do sleep 0.05; done
sleep 0.15
echo done
""", 0o755)
    return script, good, go


@test
def a_killed_worker_turns_red_and_its_chunk_moves():
    looks = {"desktop-light": {}, "desktop-dark": {"dark": True}, "phone-light": {"phone": True},
             "phone-dark": {"phone": True, "dark": True}}
    node = Web("--http", "127.0.0.1:0", "--token-file", token_file())
    pages = {name: browser().page(f"{node.url}#token={TOKEN}", **look) for name, look in looks.items()}
    for name, page in pages.items():
        page.see("No job yet")
        page.shot(f"no-job-{name}")
    page = pages["desktop-light"]
    page.eval("window.told = [], new MutationObserver(() => told.push(document.querySelector('#live').textContent))"
              ".observe(document.querySelector('#live'), {childList: true, characterData: true, subtree: true}), 0")
    script, good, go = one_bad_chunk()
    ttg("submit", "sweep", "--queue", node.queue, "--params", "1600", "--chunk", "10",
        "--", script, "{chunk}")
    workers = [spawn([TTG, "worker", "--queue", node.queue, "--job", "sweep", "--name", f"worker-{i}",
                      "--", script, "{chunk}"]) for i in range(4)]
    page.wait("document.querySelectorAll('#workers tr.busy, #workers tr.straggling').length === 4")
    assert page.text("#workers tbody td:last-child") == socket.gethostname()
    page.see("given up after 1 attempt", "#dead")
    # Each worker is in the middle of a chunk that does not end yet.
    page.wait("[...document.querySelector('#workers').tBodies[0].rows]"
              ".filter(row => /^6[0-9]/.test(row.cells[2].textContent)).length === 4")
    workers[2].kill()
    page.see("worker-2", "#workers tr.lost")
    red = page.eval("getComputedStyle(document.querySelector('#workers tr.lost td')).color")
    assert red == "rgb(210, 48, 58)", red
    write_file(go)
    page.see("→ worker-", "#workers tr.lost")
    page.see("worker-2 was lost with chunk", "#takeover")
    page.see("took it over after", "#takeover")
    page.see("worker-2 was lost", "#events")
    page.wait("told.some(text => text.includes('worker-2 was lost'))")
    # Enough to look at, then the pictures.
    page.wait("parseFloat(document.querySelector('#percent').innerText) > 40")
    for name, each in pages.items():
        each.see("took it over after", "#takeover")
        each.shot(name)
        each.shot(name + "-top", whole=False)
        assert each.eval("document.documentElement.scrollWidth <= innerWidth"), f"{name} is too wide"
    page.see("not complete", "#state")
    # What the token allows: the dead letter gets another try.
    write_file(good)
    spawn([TTG, "worker", "--queue", node.queue, "--job", "sweep", "--name", "worker-4", "--stay",
           "--", script, "{chunk}"])  # the others have seen the job's end
    page.click('role=button[name="Redrive chunk 3"]')
    page.see("1 chunk will be tried again", "#note")
    page.see("None.", "#nodead")
    page.see("100 %", "#percent")
    page.see("finished", "#state")
    page.wait("parseFloat(document.querySelector('#tiles dd').innerText) > 1")  # the mean
    assert TOKEN not in page.eval("location.href")
    for each in pages.values():
        each.check(node.http)
        each.close()
    out = ttg("results", "sweep", "--queue", node.queue).out
    assert len(set(re.findall(r'"chunk_id":"(\d+)"', out))) == 160


@test
def it_comes_back_after_a_restart_of_the_node():
    # Not port 0: while nobody listens there, a connection of somebody else may get that number.
    node = Web("--http", f"127.0.0.1:{free_port()}")
    ttg("submit", "j", "--queue", node.queue, "--params", "100", "--chunk", "1")
    page = browser().page(node.url)
    page.see("live", "#link")
    node.kill()
    page.see("reconnecting", "#link")
    page.see("Not live: ", "#away")
    page.shot("disconnected", whole=False)
    again = Web("--http", f"127.0.0.1:{node.http}", data=node.data)
    page.see("live", "#link")
    page.wait("document.querySelector('#away').hidden")
    ttg("submit", "k", "--queue", again.queue, "--params", "100", "--chunk", "1")
    page.wait("document.querySelector('#jobs').innerText.includes('k (newest)')")
    # The browser itself says how the connection ended or failed; nothing else may be wrong.
    assert all("net::ERR_" in e for e in page.errors), page.errors
    page.close()


@test
def keys_token_dialog_and_theme():
    node = Web("--http", "127.0.0.1:0", "--token-file", token_file())
    ttg("submit", "j", "--queue", node.queue, "--params", "100", "--chunk", "1")
    page = browser().page(node.url, still=True)
    page.see("waiting", "#tiles")
    page.press("p")  # needs the token
    page.see("Token", "role=dialog")
    page.type("wrong-token-wrong-token")
    page.press("Enter")
    page.see("not the right one", "#note")
    page.press("p")
    page.see("Token", "role=dialog")
    page.type(TOKEN)
    page.press("Enter")
    page.see("paused", "#state")
    page.press("p")
    page.see("running", "#state")
    before = page.eval("getComputedStyle(document.body).backgroundColor")
    page.press("t")
    assert page.eval("getComputedStyle(document.body).backgroundColor") != before
    page.eval("document.querySelector('#map').focus()")
    page.press("ArrowRight")
    page.press("Enter")
    page.see("Chunk 0, fresh", "#cell")
    page.errors = [e for e in page.errors if "401" not in e]
    page.check(node.http)
    page.close()


@test
def everything_can_be_reached_by_tab_and_has_a_name():
    node = Web("--http", "127.0.0.1:0", "--token-file", token_file())
    script, _, _ = one_bad_chunk()
    ttg("submit", "j", "--queue", node.queue, "--params", "5", "--chunk", "1", "--", script, "{chunk}")
    ttg("worker", "--queue", node.queue, "--job", "j", "--", script, "{chunk}", code=None)
    page = browser().page(node.url)
    page.see("Redrive", "#dead")
    names = page.names()
    unnamed = [n for n in names if n["focusable"] and not n["name"] and n["role"] != "RootWebArea"
               and n["role"] != "main"]
    assert not unnamed, unnamed
    told = {(n["role"], n["name"]) for n in names}
    for wanted in (("combobox", "Job"), ("combobox", "Time shown"), ("button", "Redrive chunk 3"),
                   ("button", "Switch between dark and light"), ("button", "Keys"),
                   ("progressbar", "Chunks done"), ("heading", "Workers"), ("columnheader", "State")):
        assert wanted in told, (wanted, sorted(told))
    assert any(role == "image" and name.startswith("Map of 5 chunks: 4 done") for role, name in told), told
    reached = set()
    for _ in range(40):
        page.press("Tab")
        reached.add(page.eval("document.activeElement.id || document.activeElement.innerText"))
        outline = page.eval("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.eval("document.activeElement === document.body"), reached
    missing = {"jobs", "key", "theme", "help", "span", "lanes", "map", "redrive-all", "Redrive"} - reached
    assert not missing, (missing, reached)
    page.close()


# Of every text that can be seen: how it stands out from what is behind it, by WCAG's formula.
CONTRAST = """() => {
  const rgb = s => s.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = c.slice(0, 3).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > 0.5) return c; } return [255, 255, 255]; };
  const bad = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = walk.nextNode());) {
    const e = n.parentElement;
    if (!n.data.trim() || !e.checkVisibility() || e.closest(".sr, .skip, option, script, noscript")) continue;
    const a = light(rgb(getComputedStyle(e).color)), b = light(behind(e)), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${n.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return bad;
}"""


@test
def it_can_be_read_in_dark_and_light_and_with_long_names():
    node = Web("--http", "127.0.0.1:0")
    long = "a-night-of-" + "very-" * 9 + "long"
    script = write_file(temp_dir() + "/work", "#!/bin/sh\necho " + "why" * 200 + " >&2; exit 100\n", 0o755)
    for job in (long, "short"):
        ttg("submit", job, "--queue", node.queue, "--params", "3", "--chunk", "1", "--", script)
        ttg("worker", "--queue", node.queue, "--job", job, "--name", "worker-" + "w" * 57, "--", script, code=None)
    for look in ({}, {"dark": True}, {"phone": True}, {"phone": True, "dark": True}):
        page = browser().page(node.url + "?job=" + long, **look)
        page.see("whywhy", "#dead")
        page.shot("long-names" + "".join("-" + word for word in look))
        assert page.eval("document.documentElement.scrollWidth <= innerWidth"), f"{look} is too wide"
        bad = page.eval(CONTRAST)
        assert not bad, (look, bad)
        page.check(node.http)
        page.close()


@test
def the_page_may_ask_nobody_else():
    node, other = Web("--http", "127.0.0.1:0"), Web("--http", "127.0.0.1:0")
    page = browser().page(node.url)
    page.see("live", "#link")
    page.eval("window.broken = []; document.addEventListener('securitypolicyviolation', "
              "e => broken.push(e.effectiveDirective)); 0")
    assert page.eval(f"fetch('{other.url}healthz', {{mode: 'no-cors'}}).then(() => 'asked', () => 'refused')") == "refused"
    assert page.eval("fetch('/healthz').then(a => a.status)") == 200
    page.eval("document.body.insertAdjacentHTML('beforeend', "
              f"`<img src='{other.url}favicon.svg'><iframe src='{other.url}'></iframe>`); 0")
    page.eval("(s => { s.textContent = 'window.ran = 1'; document.body.append(s) })(document.createElement('script')); 0")
    page.eval("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\" id=styled>x</p>'); 0")
    wanted = ["connect-src", "frame-src", "img-src", "script-src-elem", "style-src-attr"]
    page.wait(f"{wanted}.every(d => broken.includes(d))")
    assert page.eval("window.ran") is None
    page.close()


@test
def a_million_chunks_stay_readable():
    node = Web("--http", "127.0.0.1:0")
    ttg("submit", "big", "--queue", node.queue, "--params", "1000000", "--chunk", "1",
        "--simulate-ms", "0")
    worker = spawn([TTG, "worker", "--queue", node.queue, "--job", "big", "--simulate-ms", "0"])
    page = browser().page(node.url)
    page.see("489 chunks a square", "#percell")
    page.wait("parseFloat(document.querySelector('#percent').innerText) > 3")
    page.shot("million")
    assert page.eval("document.querySelector('#map').getBoundingClientRect().height") < 400
    page.check(node.http)
    worker.kill()
    page.close()


main()
