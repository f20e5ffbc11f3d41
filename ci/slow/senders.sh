#!/usr/bin/env bash
# 200,000 senders of datagrams at `forward`, each with an address of its own, as if forged: flows stay within max_flows,
# memory within bounds, and a sender whose flow was there before is answered on, but for what the kernel's full buffer loses.
#
#   ci/slow/senders.sh
#
#   SENDERS=200000   how many
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

need curl python3
build
cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "tcp://127.0.0.1:0"
[listeners.names]
bind = "udp://127.0.0.1:0"
handler = "names"
[listeners.echo]
bind = "udp://127.0.0.1:0"
handler = "echo"
[handlers.names]
type = "forward"
upstream = "back"
[upstreams.back]
to = ["udp://127.0.0.1:1"]
TOML
cat >"$WORK/echo.py" <<'PY'
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 0))
print(sock.getsockname()[1], flush=True)
while True:
    data, peer = sock.recvfrom(2048)
    sock.sendto(data, peer)
PY
python3 "$WORK/echo.py" >"$WORK/port" &
PIDS+=("$!")
eventually test -s "$WORK/port"
sed -i "s|udp://127.0.0.1:1\"|udp://127.0.0.1:$(cat "$WORK/port")\"|" "$WORK/polygate.toml"
start polygate.toml

pss() { awk '/^Pss:/ { print $2 }' "/proc/$GATEWAY/smaps_rollup"; }
BEFORE=$(pss)
python3 - "$(address names udp)" "${SENDERS:-200000}" <<'PY'
import socket, sys, threading, time

host, port = sys.argv[1].rsplit(":", 1)
to, count = (host, int(port)), int(sys.argv[2])
known = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
known.settimeout(0.1)
known.connect(to)
stop, asked, answered = threading.Event(), 0, 0


def once():
    global asked, answered
    asked += 1
    word = f"question {asked}".encode()
    known.send(word)
    try:
        while known.recv(2048) != word:
            pass
        answered += 1
    except TimeoutError:
        pass


def ask():
    while not stop.is_set():
        once()


once()
assert answered == 1
asking = threading.Thread(target=ask)
asking.start()
begin = time.monotonic()
for number in range(count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((f"127.{1 + number // 62500}.{number // 250 % 250}.{1 + number % 250}", 0))
        sender.sendto(b"forged", to)
seconds = time.monotonic() - begin
stop.set()
asking.join()
print(f"{count} senders in {seconds:.1f} s; the known one had {answered} answers to {asked} questions meanwhile")
before = answered
for _ in range(100):
    once()
assert answered == before + 100, "it is heard no more"
PY
curl -fsS "$ADMIN/metrics" | grep -E '^polygate_(flows|datagrams_dropped_total).*listener?="?names.* [1-9]|^polygate_flows.*names.* [1-9]' || true
ACTIVE=$(curl -fsS "$ADMIN/metrics" | sed -n 's/^polygate_flows_active{listener="names",transport="udp"} //p')
((ACTIVE <= 4096)) || fail "$ACTIVE flows"
AFTER=$(pss)
printf 'Pss before %d KiB, with %d flows %d KiB\n' "$BEFORE" "$ACTIVE" "$AFTER"
((AFTER - BEFORE < 100 * 1024)) || fail 'it holds more than 100 MiB'
