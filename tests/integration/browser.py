# SPDX-License-Identifier: Apache-2.0
"""browser - a real Chromium, driven over its DevTools pipe: nothing but the browser is needed.

Chromium reads commands from descriptor 3 and answers on 4, JSON texts ended by NUL. A page keeps
what went wrong on it (`errors`) and whom it asked (`requests`)."""
import base64
import json
import os
import select
import time

from harness import DEADLINE_S, have, skip, spawn, temp_dir

OPTIONS = ["--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu",
           "--disable-dev-shm-usage", "--disable-breakpad", "--no-first-run", "--disable-extensions",
           "--disable-background-networking", "--disable-component-update", "--disable-sync",
           "--disable-default-apps", "--hide-scrollbars", "--mute-audio", "--force-color-profile=srgb"]


class Browser:
    """One browser for a test; it goes with the test."""

    def __init__(self):
        program = have("chromium") or have("chromium-browser") or have("google-chrome")
        if not program:
            skip("chromium is not installed")
        child_reads, self.commands = os.pipe()
        self.answers, child_writes = os.pipe()
        words = " ".join([program, *OPTIONS, f"--user-data-dir={temp_dir()}", "about:blank"])
        self.process = spawn(["sh", "-c", f"exec {words} 3<&0 4>&1 </dev/null >/dev/null"],
                             stdin=child_reads, stdout=child_writes)
        os.close(child_reads)
        os.close(child_writes)
        self.number, self.rest, self.pages, self.done = 0, b"", {}, {}
        self.call("Browser.getVersion")

    def _read(self, wait_s):
        if not select.select([self.answers], [], [], wait_s)[0]:
            return
        data = os.read(self.answers, 1 << 20)
        assert data, f"the browser ended ({self.process.code()}): {self.process.err()[-2000:]}"
        *texts, self.rest = (self.rest + data).split(b"\0")
        for text in texts:
            message = json.loads(text)
            if "id" in message:
                self.done[message["id"]] = message
            elif message.get("sessionId") in self.pages:
                self.pages[message["sessionId"]].heard(message["method"], message["params"])

    def call(self, method, session=None, **params):
        self.number += 1
        number, message = self.number, {"id": self.number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.commands, data):]
        end = time.monotonic() + DEADLINE_S
        while number not in self.done:
            assert time.monotonic() < end, f"no answer to {method}"
            self._read(0.2)
        answer = self.done.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def page(self, url, width=1280, height=900, phone=False, dark=False, still=False):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self.pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        if still:
            features.append({"name": "prefers-reduced-motion", "value": "reduce"})
        page.call("Emulation.setEmulatedMedia", features=features)
        page.call("Page.navigate", url=url)
        page.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page


class Page:
    def __init__(self, browser, session):
        self.browser, self.session = browser, session
        self.errors, self.requests = [], []

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def heard(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert", "warning"):
            self.errors.append(str([a.get("value") for a in params["args"]]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def eval(self, code):
        """The value of an expression; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True,
                           awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in answer, f"{code}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

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

    def text(self, selector="body"):
        return self.eval(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def wait_text(self, text, selector="body", deadline_s=DEADLINE_S):
        words = json.dumps(text), json.dumps(selector)
        return self.wait(f"(document.querySelector({words[1]})?.innerText ?? '').includes({words[0]})",
                         deadline_s)

    def click(self, selector):
        """A real click into the middle of it."""
        name = json.dumps(selector)
        x, y = self.eval(f"(e => {{ e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
                         f"return [b.x + b.width / 2, b.y + b.height / 2] }})(document.querySelector({name}))")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, key, text=None):
        code = {"Enter": 13, "Tab": 9, "Escape": 27, "ArrowRight": 39, "ArrowDown": 40}.get(key, 0)
        if text is None and len(key) == 1:
            text = key
        if key == "Enter":
            text = "\r"
        more = {"text": text} if text else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def screenshot(self, path, whole=False):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole,
                         **({"clip": self._whole()} if whole else {}))["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def _whole(self):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
