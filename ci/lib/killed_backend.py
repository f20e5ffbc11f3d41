"""Clients that keep their connection ask through the gateway while one of the backends is killed (SIGKILL): no more
requests fail than it had connections, and then all are answered by the other.

    killed_backend.py HOST:PORT ADMIN_URL UPSTREAM ENDPOINT PID
"""

import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.request

CLIENTS, BEFORE, AFTER = 16, 1.0, 2.0

address, admin, upstream, endpoint, pid = sys.argv[1:]
stop = threading.Event()
lock = threading.Lock()
answered, failed, last = 0, [], {}


def ask(number):
    global answered
    connection = http.client.HTTPConnection(address, timeout=10)
    while not stop.is_set():
        try:
            connection.request("GET", "/")
            text = connection.getresponse().read().decode().strip()
            with lock:
                answered += 1
                last[number] = text
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            with lock:
                failed.append(error)


def held():
    view = json.load(urllib.request.urlopen(f"{admin}/api/v1/upstreams/{upstream}"))
    return next(one["connections_active"] for one in view["endpoints"] if one["endpoint"] == endpoint)


threads = [threading.Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
for thread in threads:
    thread.start()
time.sleep(BEFORE)
connections = held()
os.kill(int(pid), signal.SIGKILL)
time.sleep(AFTER)
stop.set()
for thread in threads:
    thread.join()
print(f"a backend with {connections} connections was killed: {answered} requests answered, {len(failed)} failed")
assert 0 < connections < CLIENTS, connections
assert len(failed) <= connections, failed
assert set(last.values()) == {"backend 1"}, last
