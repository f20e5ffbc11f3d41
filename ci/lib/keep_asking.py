"""HTTP clients that ask until a file is there, and count what fails: PORT TLS_PORT FILE.

Four keep their connection, four come anew for each request, two keep one with TLS. A kept connection that the server
ends in order (Connection: close, answered) is opened again; a request without a whole answer is a failure.
"""

import http.client
import os
import ssl
import sys
import threading

PORT, TLS_PORT, STOP = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
counts = {"kept": [0, 0], "new": [0, 0], "tls": [0, 0]}
lock = threading.Lock()


def connect(kind):
    if kind != "tls":
        return http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", TLS_PORT, timeout=10, context=context)


def ask(kind):
    connection = connect(kind)
    while not os.path.exists(STOP):
        good = False
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            good = answer.status == 200 and answer.read().startswith(b"Hello")
            if kind == "new" or answer.will_close:
                connection.close()
        except (OSError, http.client.HTTPException) as error:
            print(f"{kind}: {error!r}", file=sys.stderr)
            connection.close()
        with lock:
            counts[kind][0 if good else 1] += 1


threads = [threading.Thread(target=ask, args=(kind,)) for kind, n in (("kept", 4), ("new", 4), ("tls", 2)) for _ in range(n)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for kind, (good, bad) in counts.items():
    print(f"http, {kind}: {good} requests answered, {bad} failed")
sys.exit(any(bad or not good for good, bad in counts.values()))
