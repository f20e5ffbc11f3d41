#!/usr/bin/env bash
# 200 reloads under load: clients of every transport check every byte and every datagram, and HTTP clients that keep
# their connections, come anew and speak TLS count their answers, while two
# configurations take turns, which differ in handler options, limits, timeouts and socket options, in the
# name of a listener that keeps its sockets, and in a listener that comes and goes. Nothing may be lost.
#
#   ci/slow/reloads.sh
#
#   RELOADS=200   how many; PORT=17500 the first of six ports
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "$0")/lib.sh"

need curl curl
need jq jq
need openssl openssl
need python3 python3
reloads=${RELOADS:-200}
port=${PORT:-17500}
admin=http://127.0.0.1:$((port + 1))
build
openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=localhost -keyout "$scratch/key.pem" \
    -out "$scratch/cert.pem" 2>/dev/null

# common NAME: the listener that is talked to; its name is not its sockets' identity.
common() {
    cat <<END
state_dir = "$scratch/var"
[admin]
bind = "tcp://127.0.0.1:$((port + 1))"
[listeners.$1]
bind = ["tcp://127.0.0.1:$port", "udp://127.0.0.1:$port", "unix://echo.sock", "unixgram://echo.dgram"]
handler = "talk"
[listeners.web]
bind = "tcp://127.0.0.1:$((port + 4))"
handler = "web"
[listeners.secure]
bind = "tcp://127.0.0.1:$((port + 5))"
handler = "web"
tls = { cert = "cert.pem", key = "key.pem" }
END
}
{
    common first
    cat <<'END'
[handlers.talk]
type = "echo"
chunk = "16KiB"
[handlers.web]
type = "http"
END
} >"$scratch/a.toml"
{
    common second
    cat <<END
[listeners.second.limits]
max_connections = 500
max_connections_per_ip = 400
[listeners.second.timeouts]
idle = "1m"
[listeners.second.socket]
backlog = 512
nodelay = false
[listeners.second.datagrams]
max_size = "32KiB"
[handlers.talk]
type = "echo"
chunk = "1KiB"
[handlers.web]
type = "http"
body = "Hello from the other\n"
[listeners.guest]
bind = ["tcp://127.0.0.1:$((port + 2))", "udp://127.0.0.1:$((port + 3))"]
handler = "upper"
END
} >"$scratch/b.toml"

cp "$scratch/a.toml" "$scratch/polygate.toml"
start_gateway "$scratch/polygate.toml"
# shellcheck disable=SC2034
gateway=$pid

machine
python3 -B "$root/ci/lib/keep_asking.py" $((port + 4)) $((port + 5)) "$scratch/stop" &
asking=$!
reload_all | timeout 900 "$tools" soak "tcp=127.0.0.1:$port" "udp=127.0.0.1:$port" "unix=$scratch/var/echo.sock" \
    "unixgram=$scratch/var/echo.dgram" "folder=$scratch"

touch "$scratch/stop"
wait "$asking" || die "HTTP clients had failures"
echo
sleep 1
curl -sS "$admin/metrics" | grep -E '^polygate_(config_reload|connections_(accepted|closed|rejected)|accept_errors|datagrams_(received|sent|dropped))' | grep -v ' 0$' || true
[ "$(applied)" -eq "$reloads" ] || die "$(applied) of $reloads reloads were applied"
