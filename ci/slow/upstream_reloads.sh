#!/usr/bin/env bash
# 200 reloads of upstreams under load: clients of every transport are carried to two other gateways and check every byte and
# every datagram, while two configurations take turns that differ in endpoints, their order and weight, the balance, probes
# and limits of the upstreams. Nothing may be lost.
#
#   ci/slow/upstream_reloads.sh
#
#   RELOADS=200   how many; PORT=17540 the first of six ports
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "$0")/lib.sh"

need curl curl
reloads=${RELOADS:-200}
port=${PORT:-17540}
admin=http://127.0.0.1:$((port + 1))
build

# The backends: echoes.
for n in 2 4; do
    cat >"$scratch/backend$n.toml" <<END
state_dir = "$scratch/backend$n"
[admin]
bind = "tcp://127.0.0.1:$((port + n + 1))"
[listeners.echo]
bind = ["tcp://127.0.0.1:$((port + n))", "udp://127.0.0.1:$((port + n))", "unixgram://echo.dgram"]
handler = "echo"
END
    start "backend$n" "$polygate" run "$scratch/backend$n.toml"
    until_ready "$scratch/backend$n.out"
done

# common: what does not change.
common() {
    cat <<END
state_dir = "$scratch/var"
[admin]
bind = "tcp://127.0.0.1:$((port + 1))"
[listeners]
streams = { bind = ["tcp://127.0.0.1:$port", "unix://carried.sock"], handler = "streams" }
datagrams = { bind = "udp://127.0.0.1:$port", handler = "datagrams" }
local = { bind = "unixgram://carried.dgram", handler = "local" }
[handlers]
streams = { type = "forward", upstream = "streams" }
datagrams = { type = "forward", upstream = "datagrams" }
local = { type = "forward", upstream = "local" }
END
}
first=127.0.0.1:$((port + 2))
second=127.0.0.1:$((port + 4))
{
    common
    cat <<END
[upstreams]
streams.to = ["tcp://$first"]
datagrams.to = ["udp://$first"]
local.to = ["unixgram://$scratch/backend2/echo.dgram"]
END
} >"$scratch/a.toml"
{
    common
    cat <<END
[upstreams.streams]
to = [{ endpoint = "tcp://$second", weight = 3 }, "tcp://$first"]
balance = "least_connections"
health = { kind = "tcp", interval = "1s" }
[upstreams.datagrams]
to = ["udp://$second", { endpoint = "udp://$first", weight = 2 }]
balance = "maglev"
[upstreams.local]
to = ["unixgram://$scratch/backend4/echo.dgram"]
END
} >"$scratch/b.toml"

cp "$scratch/a.toml" "$scratch/polygate.toml"
start_gateway "$scratch/polygate.toml"
# shellcheck disable=SC2034
gateway=$pid

machine
reload_all | timeout 900 "$tools" soak "tcp=127.0.0.1:$port" "udp=127.0.0.1:$port" "unix=$scratch/var/carried.sock" \
    "unixgram=$scratch/var/carried.dgram" "folder=$scratch"
echo
sleep 1
curl -sS "$admin/metrics" | grep -E '^polygate_(upstream_conne|flows_(created|expired|dropped)|config_reload)' | grep -v -E ' 0$|bucket' || true
[ "$(applied)" -eq "$reloads" ] || die "$(applied) of $reloads reloads were applied"
