"""A headless Chromium, driven by the DevTools protocol over two pipes: nothing but Python's standard library.

    with Browser() as browser:
        page = browser.open("http://127.0.0.1:8000/")
        page.wait("document.title === 'Tintype'")
        page.click("button[type=submit]")

Every wait has a deadline; a page's console, exceptions and requests are kept for the test to judge.
"""

import base64
import fcntl
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time

COMMANDS = ("chromium", "chromium-browser", "google-chrome")
ANSWER_S = 30
FIRST_FD = 10  # pipes stay clear of 3 and 4, which Chromium reads and writes
KEYS = {"Enter": ("Enter", 13, "\r"), "Escape": ("Escape", 27, ""), "ArrowRight": ("ArrowRight", 39, ""),
        "ArrowLeft": ("ArrowLeft", 37, ""), "ArrowUp": ("ArrowUp", 38, "")}
CTRL = 2


def find_chromium():
    """The command's path, or None. Ubuntu's /usr/bin/chromium-browser is a note that points to a snap: not one."""
    for command in COMMANDS:
        path = shutil.which(command)
        if path and subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0:
            return path
    return None


def pipe():
    ends = os.pipe()
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, FIRST_FD) for fd in ends]
    for fd in ends:
        os.close(fd)
    return moved


class Browser:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="tintype-chromium-")
        self.number = 0
        self.lock = threading.Lock()
        self.answers = {}  # by number of the call
        self.pages = {}  # by session
        child_in, self.to_child = pipe()
        self.from_child, child_out = pipe()

        def connect():
            os.dup2(child_in, 3)
            os.dup2(child_out, 4)

        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(
            [find_chromium(), "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--mute-audio", "--force-color-profile=srgb",
             "--window-size=1400,1100", "--user-data-dir=" + self.folder, "about:blank"],
            preexec_fn=connect, pass_fds=(3, 4), start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        os.close(child_in)
        os.close(child_out)
        threading.Thread(target=self.read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def read(self):
        """Messages are JSON, each ended by a NUL."""
        rest = b""
        while True:
            try:
                piece = os.read(self.from_child, 1 << 16)
            except OSError:
                return
            if not piece:
                return
            *messages, rest = (rest + piece).split(b"\0")
            for message in messages:
                self.take(json.loads(message))

    def take(self, message):
        if "id" in message:
            self.answers[message["id"]].put(message)
        elif message.get("sessionId") in self.pages:
            self.pages[message["sessionId"]].on_event(message["method"], message["params"])

    def call(self, method, session=None, **params):
        with self.lock:
            self.number += 1
            number = self.number
            self.answers[number] = queue.Queue()
            message = {"id": number, "method": method, "params": params}
            if session:
                message["sessionId"] = session
            data = json.dumps(message).encode() + b"\0"
            while data:
                data = data[os.write(self.to_child, data):]
        try:
            answer = self.answers[number].get(timeout=ANSWER_S)
        except queue.Empty:
            raise AssertionError(f"Chromium did not answer {method} in {ANSWER_S} s") from None
        del self.answers[number]
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def open(self, url, width=1280, height=900, dark=True):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        self.pages[session] = page
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(domain + ".enable")
        page.look(width, height, dark)
        page.goto(url)
        return page


class Page:
    def __init__(self, browser, session):
        self.browser, self.session = browser, session
        self.url = None
        self.console = []  # errors and warnings, as text
        self.requests = []  # URLs

    def on_event(self, method, params):
        if method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.console.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.console.append(params["entry"]["text"] + " " + params["entry"].get("url", ""))
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def look(self, width, height, dark=True, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def goto(self, url):
        self.url = url
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def reload(self):
        self.eval("window.isOld = true")
        self.call("Page.reload")
        self.wait("document.readyState === 'complete' && !window.isOld")

    def eval(self, expression):
        """The value of a JavaScript expression; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait(self, expression, timeout_s=20):
        end = time.monotonic() + timeout_s
        value = None
        while time.monotonic() < end:
            try:
                value = self.eval(expression)
            except AssertionError as error:  # also: the page is being replaced
                value = error
            if value and not isinstance(value, AssertionError):
                return value
            time.sleep(0.03)
        raise AssertionError(f"not within {timeout_s} s: {expression} (last: {value})")

    def click(self, selector):
        """A real click in the middle of the element."""
        self.wait(f"!!document.querySelector({json.dumps(selector)})")
        x, y = self.eval(f"""(() => {{
            const e = document.querySelector({json.dumps(selector)});
            e.scrollIntoView({{block: 'center', behavior: 'instant'}});
            const r = e.getBoundingClientRect();
            return [r.x + r.width / 2, r.y + r.height / 2];
        }})()""")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="none" if kind == "mouseMoved" else "left",
                      clickCount=1)

    def type(self, selector, text):
        """Replaces what the field holds."""
        self.eval(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select(); }})()")
        if text:
            self.call("Input.insertText", text=text)
        else:
            self.press("Delete")

    def press(self, key, ctrl=False):
        code, number, text = KEYS.get(key, (key, 46 if key == "Delete" else ord(key[0]), ""))
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": CTRL if ctrl else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text and not ctrl else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def text(self, selector):
        return self.eval(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def screenshot(self, path):
        data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as f:
            f.write(base64.b64decode(data))
