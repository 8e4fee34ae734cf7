"""A browser, driven over the WebDriver protocol with nothing but the standard library."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--lang=en", "--force-device-scale-factor=1",
]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
TAB, ENTER, DOWN, LEFT = "\ue004", "\ue007", "\ue015", "\ue012"
# How long something on a page may take to appear on a busy machine, in seconds.
PATIENCE = 30


class Browser:
    """One Chromium with an empty profile."""

    def __init__(self, width: int = 1360, height: int = 900, is_recording: bool = True):
        self.profile = tempfile.mkdtemp(prefix="belljar-browser-")
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                self.base = f"http://127.0.0.1:{line.rstrip().rstrip('.').rsplit(' ', 1)[1]}"
                break
        flags = [*FLAGS, f"--user-data-dir={self.profile}", f"--window-size={width},{height}"]
        capabilities = {"browserName": "chrome", "goog:chromeOptions": {"binary": "/usr/bin/chromium", "args": flags}}
        if is_recording:
            capabilities["goog:loggingPrefs"] = {"browser": "ALL", "performance": "ALL"}
        self.session = ""
        answer = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self.session = f"/session/{answer['sessionId']}"
        self.pid = answer["capabilities"]["goog:processID"]

    def ask(self, method: str, path: str, body: object = None):
        data = json.dumps(body if body is not None else {}).encode() if method == "POST" else None
        request = urllib.request.Request(self.base + self.session + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return json.load(reply)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise AssertionError(f"{value['error']}: {value['message']}") from None

    def open(self, url: str) -> None:
        self.ask("POST", "/url", {"url": url})

    def run(self, script: str, *args: object):
        """What a script returns that runs in the page."""
        return self.ask("POST", "/execute/sync", {"script": script, "args": list(args)})

    def find(self, css: str) -> str:
        """An element, once it is there."""
        return self.until(f"{css} is there", lambda: self.all(css) or None)[0]

    def all(self, css: str) -> list[str]:
        return [it[ELEMENT] for it in self.ask("POST", "/elements", {"using": "css selector", "value": css})]

    def text(self, css: str = "main") -> str:
        """The visible text of the first such element; empty where there is none."""
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", css)

    def click(self, css: str) -> None:
        self.ask("POST", f"/element/{self.find(css)}/click")

    def type(self, css: str, text: str) -> None:
        self.ask("POST", f"/element/{self.find(css)}/value", {"text": text})

    def press(self, *keys: str) -> None:
        """Presses keys one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def focused(self) -> str:
        return self.run("const it = document.activeElement; return `${it.tagName} ${(it.getAttribute('aria-label') ?? it.innerText ?? '').slice(0, 60)}`")

    def until(self, what: str, found, patience: float = PATIENCE):
        """What `found` returns, once it is true."""
        end = time.monotonic() + patience
        while True:
            value = found()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"after {patience} s still not: {what}. The page: {self.text('body')[:2000]}\nconsole: {self.console()}")
            time.sleep(0.05)

    def sees(self, text: str, css: str = "main") -> str:
        """The text of an element, once it contains `text`."""
        return self.until(f"`{text}` in {css}", lambda: (lambda all: all if text in all else None)(self.text(css)))

    def console(self) -> list[str]:
        """Errors and warnings of the browser since the last time, also what the policy of the page refused; not its advice."""
        entries = self.ask("POST", "/se/log", {"type": "browser"})
        return [it["message"] for it in entries if it["level"] in ("SEVERE", "WARNING")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last time."""
        messages = (json.loads(it["message"])["message"] for it in self.ask("POST", "/se/log", {"type": "performance"}))
        return [it["params"]["request"]["url"] for it in messages if it["method"] == "Network.requestWillBeSent"]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))

    def close(self) -> None:
        try:
            self.ask("DELETE", "")
        finally:
            self.driver.terminate()
            self.driver.wait()
            self.driver.stdout.close()
            shutil.rmtree(self.profile, ignore_errors=True)
