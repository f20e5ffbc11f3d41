#!/usr/bin/env bash
# The unit for systemd: how exposed it is by systemd's own judgement, and a socket that systemd's tool
# passes on under its name. No systemd has to run.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need systemd-analyze systemd-socket-activate socat python3
build

UNIT=$ROOT/deploy/systemd/polygate.service
systemd-analyze security --offline=true --threshold=20 "$UNIT" >"$WORK/security" ||
    fail "too exposed: $(tail -n 1 "$WORK/security")"
tail -n 1 "$WORK/security"
(cd "$ROOT" && python3 ci/lib/docs.py --only systemd docs/operations.md)

cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "off"
[listeners.echo]
bind = "fd+tcp://echo"
handler = "echo"
TOML
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
systemd-socket-activate --fdname=echo --listen="127.0.0.1:$PORT" \
    "$POLYGATE" run "$WORK/polygate.toml" >"$WORK/out" 2>"$WORK/log" </dev/null &
PIDS+=($!)
# The first connection starts the gateway, and is served by it.
answers() { [[ $(printf hello | socat -t 10 - "TCP:127.0.0.1:$PORT" 2>/dev/null) == hello ]]; }
eventually answers
# It may serve before it has said so.
eventually grep -qx "listening echo tcp://127.0.0.1:$PORT" "$WORK/out"
printf 'a socket passed on by systemd serves\n'
