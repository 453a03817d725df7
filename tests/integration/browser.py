# SPDX-License-Identifier: Apache-2.0
"""browser - a real Chromium, driven with Playwright by tests/browser/drive.mjs.

Selectors are Playwright's: CSS, `text=…`, `role=button[name="Redrive"]`. A page keeps what went
wrong on it (`errors`) and whom it asked (`requests`)."""
import json
import os
import select
import subprocess
import time

from harness import DEADLINE_S, ROOT, have, keep, skip, spawn, temp_dir

MODULES = os.path.join(ROOT, "build/playwright")
PHONE = {"width": 390, "height": 844}
_shared = None


def browser():
    """The browser of this test file; it is started once."""
    global _shared
    if _shared is None:
        _shared = Browser()
    return _shared


class Browser:
    def __init__(self):
        program = have("chromium") or have("chromium-browser") or have("google-chrome")
        if not program:
            skip("chromium is not installed")
        if not have("node"):
            skip("node is not installed")
        if not os.path.isdir(MODULES + "/node_modules/playwright-core"):
            skip("playwright-core is not there; tools/playwright fetches it")
        drive = os.path.join(ROOT, "tests/browser/drive.mjs")
        self.answers, write_end = os.pipe()
        files = temp_dir()
        self.process = spawn([have("node"), drive, MODULES, program, DEADLINE_S * 1000],
                             stdin=subprocess.PIPE, stdout=write_end, env={"TMPDIR": files})
        os.close(write_end)
        keep(self.process, files)
        self.number, self.rest, self.pages, self.done = 0, b"", {}, {}
        self._answer(0, "the start")

    def _read(self, wait_s):
        if not select.select([self.answers], [], [], wait_s)[0]:
            return
        data = os.read(self.answers, 1 << 20)
        assert data, f"the browser ended ({self.process.code()}): {self.process.err()[-2000:]}"
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "id" in message:
                self.done[message["id"]] = message
            elif "error" in message:
                self.heard(message["page"]).errors.append(message["error"])
            else:
                self.heard(message["page"]).requests.append(message["request"])

    def heard(self, number):
        """The page of that number, which may still be opening."""
        return self.pages.setdefault(number, Page(self, number))

    def _answer(self, number, what):
        end = time.monotonic() + 2 * DEADLINE_S
        while number not in self.done:
            assert time.monotonic() < end, f"no answer to {what}"
            self._read(0.2)
        answer = self.done.pop(number)
        assert "error" not in answer, f"{what}: {answer['error']}"
        return answer.get("value")

    def call(self, **message):
        self.number += 1
        self.process.stdin.write(json.dumps({"id": self.number, **message}).encode() + b"\n")
        self.process.stdin.flush()
        return self._answer(self.number, message)

    def page(self, url, phone=False, dark=False, still=False, **look):
        return self.heard(self.call(open={
            "url": url, "viewport": PHONE if phone else {"width": 1280, "height": 900},
            "deviceScaleFactor": 2 if phone else 1, "isMobile": phone, "hasTouch": phone,
            "colorScheme": "dark" if dark else "light",
            "reducedMotion": "reduce" if still else "no-preference", **look}))


class Page:
    def __init__(self, of, number):
        self.browser, self.number = of, number
        self.errors, self.requests = [], []

    def play(self, *steps):
        return self.browser.call(page=self.number, steps=steps)

    def eval(self, code):
        """The value of an expression; promises are waited for."""
        return self.play(["evaluate", code])

    def wait(self, code, deadline_s=DEADLINE_S):
        """Until the expression is true; its value."""
        end = time.monotonic() + deadline_s
        while True:
            value = self.eval(code)
            if value:
                return value
            assert time.monotonic() < end, \
                f"not within {deadline_s} s: {code}\n{self.errors}\n{self.text()[-3000:]}"
            self.browser._read(0.03)

    def see(self, text, within="body", deadline_s=DEADLINE_S):
        """Waits until that text can be seen inside of what the selector names."""
        try:
            self.play(["locator", within], ["filter", {"hasText": text, "visible": True}], ["first"],
                      ["waitFor", {"timeout": deadline_s * 1000}])
        except AssertionError as error:
            raise AssertionError(f"no {text!r} in {within}: {error}\n{self.errors}\n"
                                 f"{self.text()[-3000:]}") from None

    def text(self, selector="body"):
        return self.play(["locator", selector], ["first"], ["innerText"])

    def click(self, selector):
        """Once it can be seen and is where it stays."""
        self.play(["locator", selector], ["first"], ["click"])

    def press(self, key):
        self.play(["keyboard"], ["press", key])

    def type(self, text):
        self.play(["keyboard"], ["type", text])

    def names(self):
        return self.browser.call(page=self.number, names=True)

    def shot(self, name, whole=True):
        """A picture for people, in build/screenshots."""
        path = os.path.join(ROOT, "build/screenshots", name + ".png")
        self.play(["screenshot", {"path": path, "fullPage": whole, "animations": "disabled"}])

    def check(self, port):
        """Nothing went wrong on it, and it asked nobody but that port of this machine."""
        assert self.errors == [], self.errors
        foreign = [url for url in self.requests if not url.startswith(f"http://127.0.0.1:{port}/")]
        assert foreign == [], foreign

    def close(self):
        self.play(["context"], ["close"])
