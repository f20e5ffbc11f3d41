#!/usr/bin/env bash
# Clients that say nothing, half a request, or a byte now and then, on http, https, a Unix socket and the admin API, with
# the clocks that are on without a line of configuration: each is closed within its limit and a second, and counted.
# Prints the table.
#
#   ci/slow/slow_clients.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

need curl openssl python3
build
certificate "$WORK"
cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = ["tcp://127.0.0.1:0", "unix://$WORK/admin.sock"]
[listeners.plain]
bind = ["tcp://127.0.0.1:0", "unix://web.sock"]
handler = "http"
[listeners.secure]
bind = "tcp://127.0.0.1:0"
handler = "http"
tls = { cert = "cert.pem", key = "key.pem" }
TOML
start polygate.toml
python3 "$ROOT/ci/lib/slow_clients.py" "$ADMIN" "$(address plain tcp)" "$(address secure tcp)" \
    "$(address plain unix)" "$WORK/admin.sock"
curl -fsS "$ADMIN/metrics" | grep -E '^polygate_(connections_closed_total\{.*reason="(handshake|first_byte|request)"|admin_connections_cut_total).* [1-9]'
