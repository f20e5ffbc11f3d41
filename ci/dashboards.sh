#!/usr/bin/env bash
# The dashboards against a real Prometheus: the rules and their tests, the syntax of every expression, and
# a gateway under traffic of every kind, with failures provoked, of which every panel must show something.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need promtool prometheus python3 openssl
build

promtool check rules "$ROOT/dashboards/prometheus/alerts.yml"
promtool test rules "$ROOT/dashboards/prometheus/alerts.test.yml"
(cd "$ROOT/dashboards/prometheus" && promtool check config prometheus.yml)

mkdir "$WORK/tls"
certificate "$WORK/tls"

# Three ports in a row that nobody has.
PASSIVE=$(python3 -c '
import random, socket
while True:
    low = random.randrange(20000, 30000)
    try:
        for port in (low, low + 1, low + 2):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        print(f"{low}-{low + 2}")
        break
    except OSError:
        pass')

cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "tcp://127.0.0.1:0"
admin.token_file = "token"

[listeners.echo]
bind = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "unix://run/echo.sock", "unixgram://run/echo.dgram"]
handler = "echo"
datagrams.max_size = "100B"

[listeners.closed]
bind = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]
handler = "upper"
deny = ["127.0.0.0/8"]

[listeners.hello]
bind = "tcp://127.0.0.1:0"
handler = "http"

[listeners.secure]
bind = "tcp://127.0.0.1:0"
handler = "http"
tls = { cert = "tls/cert.pem", key = "tls/key.pem" }

[listeners.files]
bind = "tcp://127.0.0.1:0"
handler = "files"
tls = { cert = "tls/cert.pem", key = "tls/key.pem" }

[handlers.files]
type = "ftp"
anonymous = { root = "pub" }
passive_ports = "$PASSIVE"
data_timeout = "1s"

[listeners.run]
bind = "tcp://127.0.0.1:0"
handler = "run"
[handlers.run]
type = "exec"
argv = ["/bin/cat"]

[listeners.fails]
bind = "tcp://127.0.0.1:0"
handler = "fails"
[handlers.fails]
type = "exec"
argv = ["/bin/false"]

[listeners.carried]
bind = "tcp://127.0.0.1:0"
handler = "carried"
[handlers.carried]
type = "forward"
upstream = "back"
[upstreams.back]
to = ["unix://run/echo.sock", "tcp://127.0.0.1:9"]
health = { kind = "tcp", interval = "1s" }

[listeners.nowhere]
bind = "tcp://127.0.0.1:0"
handler = "nowhere"
[handlers.nowhere]
type = "forward"
upstream = "nowhere"
[upstreams.nowhere]
to = ["tcp://127.0.0.1:9"]

[listeners.flows]
bind = "udp://127.0.0.1:0"
handler = "flows"
timeouts.idle = "3s"
[handlers.flows]
type = "forward"
upstream = "datagrams"
max_flows = 2
[upstreams.datagrams]
to = ["unixgram://run/echo.dgram"]
TOML
printf 'secret-of-the-dashboards\n' >"$WORK/token"
chmod 600 "$WORK/token"
export POLYGATE_TOKEN_FILE=$WORK/token
start polygate.toml
printf 'secret of ann\n' | "$POLYGATE" accounts add ann --quota 64KiB >/dev/null

python3 "$ROOT/ci/lib/dashboards.py" "$ROOT/dashboards" "$WORK" "$ADMIN"
