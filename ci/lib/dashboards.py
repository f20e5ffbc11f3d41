"""Traffic for a gateway, a Prometheus that scrapes it, and every query of every dashboard asked.

Usage: dashboards.py FOLDER-OF-DASHBOARDS WORK ADMIN-URL. The gateway runs already; WORK/out has what it
has printed. Ends with 1 and the list of what showed nothing."""

import concurrent.futures
import contextlib
import json
import pathlib
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

DASHBOARDS, WORK, ADMIN = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
TOKEN = (WORK / "token").read_text().strip()

# How long panels may take to have data, and how often traffic comes meanwhile.
PATIENCE_SECONDS = 90


def endpoint(listener, transport):
    found = re.search(rf"^listening {listener} {transport}://(.*)$", (WORK / "out").read_text(), re.M)
    if transport in ("unix", "unixgram"):
        return found[1]
    host, port = found[1].rsplit(":", 1)
    return host, int(port)


def exchange(address, data, family=socket.AF_INET):
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(5)
        stream.connect(address)
        stream.sendall(data)
        return stream.recv(4096)


def datagram(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        if family == socket.AF_UNIX:
            sock.bind("\0dashboards")
        sock.sendto(b"hello", address)
        sock.recv(100)


def http(path, method="GET", token=TOKEN, body=None):
    request = urllib.request.Request(ADMIN + path, method=method, data=body)
    if token:
        request.add_header("Authorization", "Bearer " + token)
    with contextlib.suppress(urllib.error.HTTPError):
        return urllib.request.urlopen(request, timeout=10).read()


def traffic():
    """A little of everything, failures included."""
    exchange(endpoint("echo", "tcp"), b"hello")
    exchange(endpoint("echo", "unix"), b"hello", socket.AF_UNIX)
    datagram(socket.AF_INET, endpoint("echo", "udp"))
    datagram(socket.AF_UNIX, endpoint("echo", "unixgram"))
    with contextlib.suppress(OSError):
        exchange(endpoint("closed", "tcp"), b"hello")
    exchange(endpoint("hello", "tcp"), b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    exchange(endpoint("hello", "tcp"), b"BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    exchange(endpoint("carried", "tcp"), b"hello")
    http("/api/v1/info")
    http("/api/v1/config/reload", "POST")


def prometheus():
    """Starts one that scrapes the gateway; gives the process and its URL."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "polygate",
            "authorization": {"credentials": TOKEN},
            "static_configs": [{"targets": [urllib.parse.urlparse(ADMIN).netloc]}],
        }],
    }
    (WORK / "prometheus.yml").write_text(json.dumps(config))
    log = open(WORK / "prometheus.log", "w")
    process = subprocess.Popen(
        ["prometheus", f"--config.file={WORK}/prometheus.yml", f"--storage.tsdb.path={WORK}/tsdb",
         f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    return process, f"http://127.0.0.1:{port}"


def ask(base, expression):
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{base}/api/v1/query?{query}", timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{expression}\n{error.read().decode()}")
    except OSError:
        return []


def queries():
    """Every query of every panel and annotation, with the variables as Grafana fills them in."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        targets = [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", [])]
        targets += [(note["name"], note["expr"]) for note in board["annotations"]["list"] if "expr" in note]
        for title, expression in targets:
            for variable in ("job", "instance", "listener"):
                expression = expression.replace("$" + variable, ".+")
            expression = expression.replace("$__rate_interval", "15s").replace("$__range", "5m")
            yield f"{path.stem}: {title}", expression


def main():
    http("/api/v1/info", token="wrong")
    process, base = prometheus()
    try:
        waiting, deadline = list(queries()), time.monotonic() + PATIENCE_SECONDS
        total = len(waiting)
        while waiting and time.monotonic() < deadline:
            traffic()
            time.sleep(0.5)
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                answers = pool.map(lambda query: ask(base, query[1]), waiting)
                waiting = [query for query, answer in zip(waiting, answers) if not answer]
        for name, expression in waiting:
            print(f"no data: {name}\n    {expression}")
        if waiting:
            raise SystemExit(1)
        print(f"all {total} queries of {len(list(DASHBOARDS.glob('*.json')))} dashboards show data")
    finally:
        process.terminate()
        process.wait()


main()
