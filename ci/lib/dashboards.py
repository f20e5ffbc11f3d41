"""Traffic for a gateway, a Prometheus that scrapes it, and every query of every dashboard asked.

Usage: dashboards.py FOLDER-OF-DASHBOARDS WORK ADMIN-URL. The gateway runs already; WORK/out has what it
has printed. Ends with 1 and the list of what showed nothing, or nothing but 0 although it was provoked."""

import concurrent.futures
import contextlib
import ftplib
import io
import json
import math
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

DASHBOARDS, WORK, ADMIN = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
TOKEN = (WORK / "token").read_text().strip()

# How long panels may take to have data.
PATIENCE_SECONDS = 120

# Connections to the admin API that say nothing, and are cut off after ten seconds.
SILENT = []

# What is 0 where the gateway and its machine work, or is over before a scrape: here a number is enough.
MAY_BE_ZERO = (
    "polygate_accept_errors_total",
    "polygate_accept_queue_length",
    "polygate_events_dropped_total",
    "polygate_handler_errors_total",
    "polygate_handler_panics_total",
    "polygate_http_requests_in_flight",
    "polygate_runtime_global_queue_depth",
    "count(polygate_listener_up",
)


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


def secure(address):
    context = ssl.create_default_context(cafile=str(WORK / "tls/cert.pem"))
    with socket.create_connection(address, 5) as plain, context.wrap_socket(plain, server_hostname="localhost") as stream:
        stream.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        stream.recv(4096)


def ftp(user="ann", password="secret of ann", secured=False):
    if secured:
        client = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=str(WORK / "tls/cert.pem")), timeout=10)
    else:
        client = ftplib.FTP(timeout=10)
    client.connect(*endpoint("files", "tcp"))
    # The name on the certificate.
    client.host = "localhost"
    client.login(user, password)
    return client


def files(turn):
    """Everything that FTP counts: what works, then what does not."""
    with ftp() as client:
        client.storbinary("STOR a", io.BytesIO(b"x" * 10_000))
        client.retrbinary("RETR a", lambda block: None)
        client.nlst()
        with contextlib.suppress(ftplib.Error):
            client.storbinary("STOR too-big", io.BytesIO(b"x" * 100_000))
        with contextlib.suppress(ftplib.Error):
            client.sendcmd("WHAT")
    with ftp("anonymous", "guest@localhost") as client:
        with contextlib.suppress(ftplib.Error):
            client.storbinary("STOR a", io.BytesIO(b"x"))
    with ftp(secured=True) as client:
        client.prot_p()
        client.retrlines("LIST", lambda line: None)
    # Whoever takes a port and does not come, and one for whom there is none. One of them goes on to wait.
    waiting = [ftp() for _ in range(4)]
    for client in reversed(waiting):
        with contextlib.suppress(ftplib.Error):
            client.makepasv()
    with contextlib.suppress(ftplib.Error):
        waiting[1].sendcmd("LIST")
    for client in waiting[:-1]:
        client.close()
    # Two are not enough to be made to wait.
    if turn in (1, 2):
        with contextlib.suppress(ftplib.Error):
            ftp(password="a guess")
    return waiting[-1]


def held(stop):
    """What is there when a scrape comes: connections that stay, and an upload whose client goes away in the middle."""
    with contextlib.ExitStack() as stack:
        for listener in ("carried", "run"):
            stream = stack.enter_context(socket.create_connection(endpoint(listener, "tcp"), 5))
            stream.sendall(b"hello")
        while not stop.is_set():
            client = ftp()
            try:
                data = client.transfercmd("STOR half")
            except ftplib.Error:
                # The others have all the ports.
                client.close()
                stop.wait(0.2)
                continue
            for _ in range(20):
                data.sendall(b"some of it")
                stop.wait(0.2)
            client.close()
            data.close()


def flows():
    """More senders than there may be flows: those who are shed hear nothing."""
    address = endpoint("flows", "udp")
    senders = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    for sender in senders:
        sender.sendto(b"hello", address)
    for sender in senders:
        sender.close()


def traffic(turn):
    """A little of everything, failures included."""
    exchange(endpoint("echo", "tcp"), b"hello")
    exchange(endpoint("echo", "unix"), b"hello", socket.AF_UNIX)
    datagram(socket.AF_INET, endpoint("echo", "udp"))
    datagram(socket.AF_UNIX, endpoint("echo", "unixgram"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"long" * 100, endpoint("echo", "udp"))
        sock.sendto(b"hello", endpoint("closed", "udp"))
    with contextlib.suppress(OSError):
        exchange(endpoint("closed", "tcp"), b"hello")
    exchange(endpoint("hello", "tcp"), b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    exchange(endpoint("hello", "tcp"), b"BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    secure(endpoint("secure", "tcp"))
    exchange(endpoint("secure", "tcp"), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    exchange(endpoint("run", "tcp"), b"hello")
    with contextlib.suppress(OSError):
        exchange(endpoint("fails", "tcp"), b"hello")
    exchange(endpoint("carried", "tcp"), b"hello")
    with contextlib.suppress(OSError):
        exchange(endpoint("nowhere", "tcp"), b"hello")
    waiting = files(turn)
    http("/api/v1/info")
    admin = urllib.parse.urlparse(ADMIN)
    SILENT.append(socket.create_connection((admin.hostname, admin.port)))
    # So few that nobody is locked out.
    if turn <= 3:
        http("/api/v1/info", token="wrong")
    config = WORK / "polygate.toml"
    good = config.read_text()
    config.write_text(good + "\nnonsense\n")
    http("/api/v1/config/reload", "POST")
    config.write_text(good)
    http("/api/v1/config/reload", "POST")
    flows()
    return waiting


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


def shows(expression, answer):
    """Whether a panel would show something: a number, and other than 0 where it can be."""
    values = [float(series["value"][1]) for series in answer]
    numbers = [value for value in values if not math.isnan(value)]
    return bool(numbers) and (any(numbers) or any(part in expression for part in MAY_BE_ZERO))


def main():
    process, base = prometheus()
    try:
        waiting, deadline = list(queries()), time.monotonic() + PATIENCE_SECONDS
        total, boards = len(waiting), len(list(DASHBOARDS.glob("*.json")))
        panels = len({name for name, _ in waiting})
        # The first thing to be counted must not be there already when the first scrape comes.
        while not ask(base, "count_over_time(polygate_ready[1m]) > 1") and time.monotonic() < deadline:
            time.sleep(0.2)
        turn, stop = 0, threading.Event()
        threading.Thread(target=held, args=(stop,), daemon=True).start()
        while waiting and time.monotonic() < deadline:
            turn += 1
            waiting_for_data = traffic(turn)
            # Until the next scrape.
            time.sleep(1.2)
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                answers = pool.map(lambda query: ask(base, query[1]), waiting)
                waiting = [query for query, answer in zip(waiting, answers) if not shows(query[1], answer)]
            waiting_for_data.close()
        for name, expression in waiting:
            print(f"no data: {name}\n    {expression}")
        if waiting:
            raise SystemExit(1)
        print(f"all {total} queries of {panels} panels and annotations in {boards} dashboards show data")
    finally:
        process.terminate()
        process.wait()


main()
