"""Plays an operator at the admin page. Started by ci/page.sh; with a folder as argument it leaves screenshots there."""

import ftplib
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
from browser import Browser, Failure, eventually  # noqa: E402

WORK = os.environ["WORK"]
SHOTS = sys.argv[1] if len(sys.argv) > 1 else None
MANY = 3_000

CONFIG = """
version = 1
[admin]
bind = "tcp://127.0.0.1:{admin}"
{tokens}
[accounts]
quota = "10MiB"
[listeners.echo]
bind = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]
handler = "echo"
[listeners.hello]
bind = "tcp://127.0.0.1:0"
handler = "http"
[listeners.files]
bind = "tcp://127.0.0.1:0"
handler = "ftp"
[listeners.help]
bind = "tcp://127.0.0.1:0"
handler = "console"
[listeners.db]
bind = "tcp://127.0.0.1:0"
handler = "db"
[handlers.db]
type = "forward"
upstream = "db"
[upstreams.db]
to = ["tcp://127.0.0.1:9", {{ endpoint = "tcp://127.0.0.1:10", weight = 2 }}]
"""

# printf %s TOKEN | sha256sum
TOKENS = """open = ["page"]
[admin.tokens.ops]
role = "admin"
sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""

HOSTILE = "<img src=x onerror=document.title='owned'>"


class Gateway:
    """A gateway in a folder of its own."""

    def __init__(self, tokens="", admin=0):
        self.folder = os.path.join(WORK, f"gateway-{time.monotonic_ns()}")
        os.mkdir(self.folder)
        self.write(CONFIG.format(admin=admin, tokens=tokens))
        self.token = "test" if tokens else None
        self.start()

    def write(self, text):
        self.text = text
        with open(os.path.join(self.folder, "polygate.toml"), "w", encoding="utf-8") as file:
            file.write(text)

    def start(self):
        with open(os.path.join(self.folder, "log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [os.environ["POLYGATE"], "run", "polygate.toml"],
                cwd=self.folder, stdout=subprocess.PIPE, stderr=log, text=True,
            )
        self.addresses = {}
        for line in self.process.stdout:
            words = line.split()
            if words[0] == "listening" and words[2].startswith("tcp://"):
                host, port = words[2][6:].rsplit(":", 1)
                self.addresses[words[1]] = (host, int(port))
            elif words[0] == "admin":
                self.url = words[1]
            elif words[0] == "ready":
                return
        raise Failure(f"the gateway did not start, see {self.folder}/log")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=10)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        return json.loads(text) if text else None

    def connect(self, listener):
        return socket.create_connection(self.addresses[listener], timeout=10)

    def listener(self, name):
        return self.ask("GET", f"/api/v1/listeners/{name}")


def shot(browser, name):
    if SHOTS:
        browser.screenshot(os.path.join(SHOTS, f"{name}.png"))


def clean(browser, expected=()):
    """Nothing in the console but what was provoked."""
    left = [line for line in browser.complaints() if not any(part in line for part in expected)]
    if left:
        raise Failure("the browser complains: " + "; ".join(left))


def equal(what, expected, actual):
    if expected != actual:
        raise Failure(f"{what}: expected {expected!r}, got {actual!r}")


def overview(browser, gateway):
    with gateway.connect("echo") as open_one:
        open_one.sendall(b"hello" * 1000)
        browser.open(f"{gateway.url}/")
        browser.shows("running", "//header")
        browser.shows("Connections accepted")
        browser.shows("127.0.0.1", "//table")
        eventually("the charts move", lambda: browser.run(
            "return document.querySelector('svg.chart path').getAttribute('d').split('L').length") > 3)
        equal("title", "Overview – polygate", browser.run("return document.title"))
        shot(browser, "overview")
    browser.click("//button[.='Drain…']")
    browser.click("//dialog//button[.='Cancel']")
    equal("state", "running", gateway.ask("GET", "/api/v1/drain")["state"])
    browser.click("//button[.='Drain…']")
    browser.click("//dialog//button[.='Drain']")
    eventually("it drains", lambda: gateway.ask("GET", "/api/v1/drain")["state"] == "drained")
    browser.shows("drained", "//header")
    browser.click("//button[.='Take the drain back']")
    eventually("it runs", lambda: gateway.ask("GET", "/api/v1/drain")["state"] == "running")
    browser.shows("running", "//header")


def listeners(browser, gateway):
    browser.click("//nav//a[.='Listeners']")
    row = "//tr[td[.='echo']]"
    browser.shows("running", row)
    shot(browser, "listeners")
    browser.click(f"{row}//button[.='Pause']")
    browser.shows("paused", row)
    equal("state", "paused", gateway.listener("echo")["state"])
    browser.click(f"{row}//button[.='Resume']")
    browser.shows("running", row)
    equal("state", "running", gateway.listener("echo")["state"])
    with gateway.connect("echo") as one:
        one.sendall(b"x")
        one.recv(1)
        browser.click(f"{row}//button[.='Drain']")
        browser.type("//dialog//input", "1")
        browser.click("//dialog//button[.='OK']")
        equal("what is left after a second", b"", one.recv(1))
    eventually("it is paused", lambda: gateway.listener("echo")["state"] == "paused")
    browser.click(f"{row}//button[.='Resume']")
    browser.shows("running", row)
    browser.click("//a[.='echo']")
    browser.shows("max_connections")
    browser.shows("idle_seconds")


def connections(browser, gateway):
    first = gateway.connect("echo")
    with gateway.connect("hello"), first:
        browser.click("//nav//a[.='Connections']")
        browser.shows("2 in all")
        browser.choose("//label[contains(.,'Listener')]/select", "echo")
        browser.shows("1 in all")
        shot(browser, "connections")
        browser.click("//button[.='Close']")
        equal("a closed one reads", b"", first.recv(1))
        browser.shows("0 in all")
        browser.choose("//label[contains(.,'Listener')]/select", "")
        browser.shows("1 in all")
    many = [gateway.connect("echo") for _ in range(MANY)]
    browser.shows(f"{MANY:,} in all")
    browser.click("//button[.='Next']")
    eventually("another hundred", lambda: browser.run("return document.querySelectorAll('tbody tr').length") == 100)
    browser.click("//button[.='First']")
    browser.type("//input[@type='search']", "127.0.0.0/8\n")
    browser.click("//button[.='Close all that match…']")
    browser.click("//dialog//button[.='Close them']")
    eventually("all are closed", lambda: gateway.listener("echo")["connections_active"] == 0)
    browser.shows("0 in all")
    for one in many:
        one.close()


def upstreams(browser, gateway):
    browser.click("//nav//a[.='Upstreams']")
    row = "//tr[td[contains(.,'127.0.0.1:9')]]"
    endpoint = lambda: gateway.ask("GET", "/api/v1/upstreams/db")["endpoints"][0]  # noqa: E731
    for verb, wanted in (("Drain", "drain"), ("Down", "down"), ("Ready", "ready")):
        browser.click(f"{row}//button[.='{verb}']")
        browser.shows(wanted, row)
        equal("state", wanted, endpoint()["state"])
    browser.click(f"{row}//button[.='Weight…']")
    browser.type("//dialog//input", "7\n")
    eventually("its weight", lambda: endpoint()["weight"] == 7)
    shot(browser, "upstreams")


def accounts(browser, gateway):
    browser.click("//nav//a[.='Accounts']")
    browser.type("//label[contains(.,'Name')]/input", "ann")
    browser.type("//label[contains(.,'Password')]/input", "sesame")
    browser.click("//button[.='Add']")
    row = "//tr[td[.='ann']]"
    browser.shows("active", row)
    account = lambda: gateway.ask("GET", "/api/v1/accounts/ann")  # noqa: E731
    ftp = ftplib.FTP()
    ftp.connect(*gateway.addresses["files"])
    ftp.login("ann", "sesame")
    name = HOSTILE.replace("/", "") + ".txt"
    with open(os.path.join(WORK, "upload"), "wb+") as file:
        file.write(b"x" * 100_000)
        file.seek(0)
        ftp.storbinary(f"STOR {name}", file)
    browser.shows("97.7 KiB", row)
    browser.shows(name, "//table[caption[.='Logins and transfers']]")
    browser.shows("user=ann")
    shot(browser, "accounts")
    refused = ftplib.FTP()
    refused.connect(*gateway.addresses["files"])
    try:
        refused.login(HOSTILE, "wrong")
    except ftplib.error_perm:
        pass
    refused.close()
    browser.shows(HOSTILE, "//table[caption[.='Logins and transfers']]")
    browser.click(f"{row}//button[.='Quota…']")
    browser.type("//dialog//input", "3")
    browser.click("//dialog//button[.='OK']")
    eventually("its quota", lambda: account()["quota_bytes"] == 3 << 20)
    browser.click(f"{row}//button[.='Read-only on or off']")
    browser.shows("read-only", row)
    browser.click(f"{row}//button[.='Disable']")
    browser.shows("disabled", row)
    equal("disabled", (True, True), (account()["disabled"], account()["read_only"]))
    browser.click(f"{row}//button[.='Enable']")
    browser.click(f"{row}//button[.='Remove…']")
    browser.click("//dialog//button[.='Remove']")
    eventually("it is gone", lambda: gateway.ask("GET", "/api/v1/accounts")["total"] == 0)
    browser.shows("no account yet")
    ftp.close()


def consoles(browser, gateway):
    with gateway.connect("help") as client:
        client.sendall(f"help {HOSTILE}\n".encode())
        browser.click("//nav//a[.='Consoles']")
        browser.click("//div[contains(@class,'talks')]/button[contains(.,'waits')]")
        browser.shows(f"help {HOSTILE}", "//div[contains(@class,'entry')]")
        browser.type("//textarea", "coming\n")
        equal("the client hears", b"coming\n", client.recv(100))
        browser.shows("coming", "//div[contains(@class,'operator')]")
        browser.shows("answered")
        shot(browser, "consoles")
    browser.shows("ended")


def config(browser, gateway):
    browser.click("//nav//a[.='Configuration']")
    browser.shows("[listeners.echo.limits]", "//pre")
    browser.type("//textarea", 'versio = 1\n[listeners.echo]\nbind = "tcp://127.0.0.1:0"\nhandler = "ecko"\n')
    browser.click("//button[.='Check this text']")
    browser.shows("not valid")
    browser.shows("did you mean `version`?")
    browser.shows('handler = "ecko"\n          ^', "//div[contains(@class,'finding')][2]/pre")
    shot(browser, "config")
    gateway.write(gateway.text.replace('handler = "http"', 'handler = "echo"'))
    browser.click("//button[.='What would a reload do?']")
    browser.shows("hello (handler")
    equal("generation", 1, gateway.ask("GET", "/api/v1/info")["generation"])
    browser.click("//button[.='Reload from the file']")
    browser.shows("taken over generation 2")
    equal("generation", 2, gateway.ask("GET", "/api/v1/info")["generation"])
    good = gateway.text
    gateway.write(good + "\nnonsense = 1\n")
    browser.click("//button[.='Reload from the file']")
    browser.shows("refused")
    browser.shows("nonsense")
    equal("generation", 2, gateway.ask("GET", "/api/v1/info")["generation"])
    gateway.write(good)


def events(browser, gateway):
    browser.click("//nav//a[.='Events']")
    browser.shows("user=ann", "//table")
    browser.shows("ok=false", "//table")
    browser.click("//label[contains(.,'connection')]/input")
    # The page asks for them anew; until it does, they are not told.
    eventually("a connection is told", lambda: gateway.connect("echo").close() or "state=opened" in browser.text("//table"))
    shot(browser, "events")
    browser.choose("//select[@aria-label='Level']", "debug")
    browser.choose("//select[@aria-label='For how long']", "60")
    browser.click("//button[.='Set']")
    browser.shows("now debug, for another")
    equal("level", "debug", gateway.ask("GET", "/api/v1/log")["level"])


def comes_back(browser, gateway):
    """The same address, for the page keeps to its own."""
    browser.click("//nav//a[.='Overview']")
    port = int(gateway.url.rsplit(":", 1)[1])
    gateway.stop()
    browser.shows("The gateway does not answer", "//*[@id='banner']")
    gateway.write(gateway.text.replace('"tcp://127.0.0.1:0"\n', f'"tcp://127.0.0.1:{port}"\n', 1))
    gateway.start()
    browser.shows("The gateway is back", "//*[@id='banner']")
    eventually("the banner goes", lambda: browser.run("return document.getElementById('banner').hidden"))
    browser.click("//button[.='Shut down…']")
    browser.choose("//dialog//select", "now")
    browser.click("//dialog//button[.='OK']")
    equal("exit code", 0, gateway.process.wait(timeout=20))


def tokens(browser):
    gateway = Gateway(TOKENS)
    browser.open(f"{gateway.url}/")
    browser.type("//dialog//input", "wrong\n")
    browser.shows("That token is not known", "//dialog")
    browser.type("//dialog//input", "test\n")
    browser.shows("Connections accepted")
    browser.click("//nav//a[.='Listeners']")
    browser.click("//tr[td[.='echo']]//button[.='Pause']")
    browser.shows("paused", "//tr[td[.='echo']]")
    # It expires: the next request asks for another.
    gateway.write(gateway.text.replace("9f86d081", "0f86d081"))
    gateway.process.send_signal(1)
    browser.shows("That token is not known", "//dialog")
    gateway.write(gateway.text.replace("0f86d081", "9f86d081"))
    gateway.process.send_signal(1)
    eventually("it is known again", lambda: (gateway.ask("GET", "/api/v1/info") or {}).get("generation") == 3)
    browser.type("//dialog//input", "test\n")
    browser.shows("paused", "//tr[td[.='echo']]")
    if "test" in browser.run("return location.href + document.cookie + JSON.stringify(localStorage)"):
        raise Failure("the token is where it should not be")
    gateway.stop()


def keyboard(browser, gateway):
    """Everything can be reached by Tab, and what has the focus can be seen."""
    browser.open(f"{gateway.url}/#/listeners")
    browser.shows("echo", "//table")
    names = browser.run("""
        const open = [...document.querySelectorAll('a[href], button, select, input, textarea')].filter(e => e.offsetParent);
        return open.map(e => e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent || '');
    """)
    if not names or not all(names):
        raise Failure(f"something that can be pressed has no name: {names}")


def main():
    # The clients of many connections have their descriptors in here.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    browser = Browser()
    try:
        gateway = Gateway()
        for step in (overview, listeners, connections, upstreams, accounts, consoles, config, events, keyboard):
            step(browser, gateway)
            # A refusal is shown on the page; the browser notes it as well.
            clean(browser, ["status of 422"])
            print(f"ok {step.__name__}")
        comes_back(browser, gateway)
        browser.complaints()
        print("ok comes_back")
        tokens(browser)
        clean(browser, ["status of 401", "net::ERR_"])
        print("ok tokens")
        equal("no markup of a peer was taken for ours", False, "owned" in browser.run("return document.title"))
    except Failure:
        browser.screenshot(os.path.join(SHOTS or WORK, "failure.png"))
        print(browser.text()[:1500], file=sys.stderr)
        raise
    finally:
        browser.close()
    if SHOTS:
        for name, size, dark in (("dark", (1280, 860), True), ("phone", (390, 844), False)):
            gateway = Gateway()
            browser = Browser(size, dark)
            with gateway.connect("echo") as one:
                one.sendall(b"hello" * 1000)
                browser.open(f"{gateway.url}/")
                browser.shows("127.0.0.1", "//table")
                browser.screenshot(os.path.join(SHOTS, f"{name}.png"))
            browser.close()
            gateway.stop()


try:
    main()
except Failure as failure:
    sys.exit(f"FAIL: {failure}")
