"""A browser under WebDriver (W3C), with Python's own library: no more than the tests of the admin page need."""

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Failure(Exception):
    """Something that should have happened did not."""


class Browser:
    """Chromium without a window, driven by chromedriver; both end with it."""

    def __init__(self, size=(1280, 860), dark=False):
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        for line in self.driver.stdout:
            if "successfully on port" in line:
                port = line.split("on port")[1].strip(" .\n")
                self.base = f"http://127.0.0.1:{port}"
                break
        arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"]
        arguments.append(f"--window-size={size[0]},{size[1]}")
        if dark:
            arguments.append("--blink-settings=preferredColorScheme=0")
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/session/{made['sessionId']}"

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise Failure(json.load(error)["value"]["message"].split("\n")[0]) from None

    def close(self):
        try:
            self.call("DELETE", self.session)
        finally:
            self.driver.terminate()
            self.driver.wait()

    def open(self, url):
        self.call("POST", self.session + "/url", {"url": url})

    def run(self, script, *arguments):
        """Runs the body of a function in the page."""
        return self.call("POST", self.session + "/execute/sync", {"script": script, "args": list(arguments)})

    def find(self, xpath):
        """The first element, once it is there and can be seen."""

        def visible():
            found = self.call("POST", self.session + "/elements", {"using": "xpath", "value": xpath})
            for one in found:
                if self.call("GET", f"{self.session}/element/{one[ELEMENT]}/displayed"):
                    return one[ELEMENT]
            return None

        return eventually(f"there is {xpath}", visible)

    def click(self, xpath):
        """Clicks it, once it is there and enabled; what is redrawn meanwhile is looked for again."""

        def clicked():
            try:
                element = self.find(xpath)
                if not self.call("GET", f"{self.session}/element/{element}/enabled"):
                    return False
                self.call("POST", f"{self.session}/element/{element}/click", {})
                return True
            except Failure as failure:
                if "stale" in str(failure) or "intercepted" in str(failure):
                    return False
                raise

        eventually(f"{xpath} can be clicked", clicked)

    def type(self, xpath, text, clear=True):
        element = self.find(xpath)
        if clear:
            self.call("POST", f"{self.session}/element/{element}/clear", {})
        self.call("POST", f"{self.session}/element/{element}/value", {"text": text})

    def choose(self, xpath, value):
        """Chooses an option of a select by its value."""
        element = self.find(xpath)
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))"
        self.run(script, {ELEMENT: element}, value)

    def text(self, xpath="//body"):
        return self.call("GET", f"{self.session}/element/{self.find(xpath)}/text")

    def shows(self, words, xpath="//body"):
        eventually(f"the page shows {words!r}", lambda: words in self.text(xpath))

    def shows_not(self, words, xpath="//body"):
        eventually(f"the page no longer shows {words!r}", lambda: words not in self.text(xpath))

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("GET", self.session + "/screenshot")))

    def complaints(self):
        """What the browser's console has that is an error: exceptions, refusals of the policy, what is missing."""
        entries = self.call("POST", self.session + "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


def eventually(what, condition, seconds=15):
    """Waits until a condition holds, and returns what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.05)
