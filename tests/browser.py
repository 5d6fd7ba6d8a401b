"""A page as headless Chromium shows it: over the DevTools protocol on a pipe, by the stdlib alone.

https://chromedevtools.github.io/devtools-protocol
"""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager

BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
LAUNCH = """\
import os, sys
r, w = (os.dup(int(one)) for one in sys.argv[1:3])
r, w = (__import__("fcntl").fcntl(one, 0, 10) for one in (r, w))
os.dup2(r, 3), os.dup2(w, 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Chromium listens on descriptor 3 and answers on 4, which pass_fds cannot choose."""


def binary():
    """Return where Chromium lies, or None."""
    return next(filter(None, map(shutil.which, BINARIES)), None)


class Browser:
    """One tab: calls, and the events that came meanwhile."""

    def __init__(self, into, out):
        self.into, self.out, self.last, self.buffer = into, out, 0, b""
        self.session, self.events = None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Return the answer of a method; events that come before it are kept."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        while True:
            told = self.read()
            if told.get("id") == self.last:
                assert "error" not in told, f"{method}: {told.get('error')}"
                return told["result"]
            self.events.append(told)

    def read(self, patience=120):
        """Return the next message."""
        end = time.monotonic() + patience
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.out], [], [], max(end - time.monotonic(), 0))
            got = os.read(self.out, 1 << 20) if ready else b""
            assert got, "Chromium says nothing more"
            self.buffer += got
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def look(self, url, width=1400, height=1000, scheme="light", media="screen"):
        """Open a page at a width in a colour scheme, and wait until it has loaded."""
        self.events = []
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=media, features=[feature])
        self.call("Page.navigate", url=url)
        while not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            self.events.append(self.read())

    def value(self, expression):
        """Return what a JavaScript expression gives, a promise's value once it is there."""
        told = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def press(self, key, code):
        """Press a key and let it go."""
        text = {"Enter": "\r", " ": " "}.get(key)
        for kind in ("keyDown", "keyUp"):
            extra = {"text": text} if text and kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key.strip() or "Space",
                      windowsVirtualKeyCode=code, **extra)  # fmt: skip

    def faults(self):
        """Return errors that the console shows, and whatever was asked of the network."""
        self.value("0")  # events come before the answer
        found = []
        for one in self.events:
            told, params = one.get("method"), one.get("params", {})
            if told == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"].get("text", "exception"))
            elif told == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                found.append(f"console: {params['args']}")
            elif told == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
            elif told == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(("data:", "file:", "about:")):
                    found.append(f"asked for {url}")
        return found


@contextmanager
def browser():
    """Start Chromium, and end it; nothing of it stays."""
    # Not below pytest's folder, whose long names are too long for Chromium's sockets.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        hear, say = os.pipe()
        answer, told = os.pipe()
        command = [sys.executable, "-c", LAUNCH, str(hear), str(told)]
        command += [binary(), *FLAGS, f"--user-data-dir={folder}", "about:blank"]
        with subprocess.Popen(
            command, pass_fds=(hear, told), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            os.close(hear)
            os.close(told)
            try:
                yield Browser(say, answer)
            finally:
                os.close(say)  # Chromium ends where nobody can speak to it
                os.close(answer)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
