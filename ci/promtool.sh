#!/usr/bin/env bash
# The metrics of a gateway that has done something, judged by Prometheus' own tool.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need promtool curl socat
build

cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "tcp://127.0.0.1:0"
[listeners.echo]
bind = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "unix://run/echo.sock", "unixgram://run/echo.dgram"]
handler = "echo"
[listeners.closed]
bind = "tcp://127.0.0.1:0"
handler = "upper"
deny = ["127.0.0.0/8"]
TOML
start polygate.toml

printf 'hello\n' | socat -t 5 - "TCP:$(address echo tcp)" >/dev/null
printf 'hello\n' | socat -t 0.2 - "UDP:$(address echo udp)" >/dev/null
printf 'hello\n' | socat -t 5 - "UNIX-CONNECT:$(address echo unix)" >/dev/null
printf 'hello\n' | socat -u - "UNIX-SENDTO:$(address echo unixgram)"
printf 'hello\n' | socat -t 1 - "TCP:$(address closed tcp)" >/dev/null 2>&1 || true
exits 0 "$POLYGATE" reload

# Twice, because the first scrape changes what the second one says of the admin API.
for scrape in first second; do
    curl -fsS "$ADMIN/metrics" >"$WORK/metrics"
    [[ $(grep -c '^polygate_' "$WORK/metrics") -gt 50 ]] || fail "the $scrape scrape is too short"
    promtool check metrics <"$WORK/metrics" || fail "promtool is not content with the $scrape scrape"
done
grep -q '^polygate_connections_rejected_total{.*reason="acl".*} 1$' "$WORK/metrics" ||
    fail 'the refused connection was not counted'
printf '%s lines of metrics are fine\n' "$(wc -l <"$WORK/metrics")"
