#!/usr/bin/env bash
# The dashboards against a real Prometheus: the rules and their tests, the syntax of every expression, and
# a gateway under traffic of every kind, with failures provoked, of which every panel must show something.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need promtool prometheus python3 openssl curl
build

promtool check rules "$ROOT/dashboards/prometheus/alerts.yml"
promtool test rules "$ROOT/dashboards/prometheus/alerts.test.yml"
(cd "$ROOT/dashboards/prometheus" && promtool check config prometheus.yml)

openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
    -keyout "$WORK/key.pem" -out "$WORK/cert.pem" 2>/dev/null
chmod 600 "$WORK/key.pem"
cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "tcp://127.0.0.1:0"
admin.token_file = "token"

[listeners.echo]
bind = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "unix://run/echo.sock", "unixgram://run/echo.dgram"]
handler = "echo"

[listeners.closed]
bind = "tcp://127.0.0.1:0"
handler = "upper"
deny = ["127.0.0.0/8"]

[listeners.hello]
bind = "tcp://127.0.0.1:0"
handler = "http"

[listeners.secure]
bind = "tcp://127.0.0.1:0"
handler = "http"
tls = { cert = "cert.pem", key = "key.pem" }

[listeners.run]
bind = "tcp://127.0.0.1:0"
handler = "run"

[handlers.run]
type = "runner"
commands.true = { argv = ["/bin/echo", "yes"] }
commands.missing = { argv = ["/does/not/exist"] }

[listeners.ftp]
bind = "tcp://127.0.0.1:0"
handler = "files"

[handlers.files]
type = "ftp"
anonymous = { root = "pub" }

[accounts]
root = "files"
TOML
printf 'secret-of-the-dashboards\n' >"$WORK/token"
chmod 600 "$WORK/token"
mkdir -p "$WORK/state/pub"
head -c 100000 /dev/zero >"$WORK/state/pub/file"
export POLYGATE_TOKEN_FILE=$WORK/token
start polygate.toml

python3 "$ROOT/ci/lib/dashboards.py" "$ROOT/dashboards" "$WORK" "$ADMIN"
