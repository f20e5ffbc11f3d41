#!/usr/bin/env bash
# The dashboards against a real Prometheus: the rules and their tests, the syntax of every expression, and
# a gateway under traffic of every kind, with failures provoked, of which every panel must show something.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need promtool prometheus python3
build

promtool check rules "$ROOT/dashboards/prometheus/alerts.yml"
promtool test rules "$ROOT/dashboards/prometheus/alerts.test.yml"
(cd "$ROOT/dashboards/prometheus" && promtool check config prometheus.yml)

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

[listeners.carried]
bind = "tcp://127.0.0.1:0"
handler = "carried"

[handlers.carried]
type = "forward"
upstream = "back"

[upstreams.back]
to = ["unix://run/echo.sock", "tcp://127.0.0.1:9"]
health = { kind = "tcp", interval = "1s" }
TOML
printf 'secret-of-the-dashboards\n' >"$WORK/token"
chmod 600 "$WORK/token"
export POLYGATE_TOKEN_FILE=$WORK/token
start polygate.toml

python3 "$ROOT/ci/lib/dashboards.py" "$ROOT/dashboards" "$WORK" "$ADMIN"
