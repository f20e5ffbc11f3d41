"""Slow clients: each opens a connection and says nothing, half a request, or one byte after the other. Prints how long
each was borne and fails where that is more than a second beyond its limit, or where the reason was not counted.

    slow_clients.py ADMIN_URL HTTP HTTPS UNIX ADMIN_UNIX
"""

import re
import socket
import ssl
import sys
import threading
import time
import urllib.parse
import urllib.request

# Seconds: `first_byte` and `request` of http, `handshake` of TLS, the admin API's own.
LIMIT = {"http": 10, "https": 10, "unix": 10, "admin": 10, "admin unix": 10, "tls": 5}
HALF = b"GET / HTTP/1.1\r\nHost: loc"


def tcp(address):
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)))


def unix(path):
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(path)
    return stream


def tls(address):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(tcp(address))


def until_closed(stream, story):
    """What comes back until the end, and how long that took. The time counts from the first byte that was sent, where
    one was.

    """
    start = time.monotonic()
    if story == "half":
        stream.sendall(HALF)
    stream.settimeout(0.5)
    answer = b""
    while time.monotonic() - start < 60:
        try:
            if story == "drip":
                stream.sendall(b"x")
            part = stream.recv(4096)
            if not part:
                break
            answer += part
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - start, answer


def counted(admin):
    """The connections that were closed for being slow, by reason."""
    text = urllib.request.urlopen(f"{admin}/metrics").read().decode()
    sums = {}
    for name, reason, value in re.findall(
        r'^(polygate_connections_closed_total|polygate_admin_connections_cut_total)\{.*reason="(\w+)".*\} (\d+)$', text, re.M
    ):
        sums[name, reason] = sums.get((name, reason), 0) + int(value)
    return sums


def main():
    admin, http, https, unix_path, admin_path = sys.argv[1:]
    doors = {
        "http": lambda: tcp(http),
        "https": lambda: tls(https),
        "unix": lambda: unix(unix_path),
        "admin": lambda: tcp(urllib.parse.urlsplit(admin).netloc),
        "admin unix": lambda: unix(admin_path),
        "tls": lambda: tcp(https),
    }
    rows = []

    def run(door, story):
        seconds, answer = until_closed(doors[door](), story)
        rows.append((door, story, LIMIT[door], seconds, answer.split(b"\r\n")[0].decode("latin-1")))

    # A handshake that drips is not one: `x` is no record, and is refused at once.
    pairs = [(door, story) for door in doors for story in ("silent", "half", "drip")]
    pairs = [pair for pair in pairs if pair[0] != "tls" or pair[1] == "silent"]
    threads = [threading.Thread(target=run, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("| client | limit, s | closed after, s | answer |\n|---|---:|---:|---|")
    for door, story, limit, seconds, answer in sorted(rows):
        print(f"| {door}, {story} | {limit} | {seconds:.2f} | {answer or '-'} |")
    late = [row for row in rows if row[3] > row[2] + 1]
    assert not late, f"too late: {late}"
    sums = counted(admin)
    closed, cut = "polygate_connections_closed_total", "polygate_admin_connections_cut_total"
    assert sums.get((closed, "first_byte"), 0) == 3, sums
    assert sums.get((closed, "handshake"), 0) == 1, sums
    assert sums.get((closed, "request"), 0) == 6, sums
    assert sums.get((cut, "request"), 0) == 6, sums


main()
