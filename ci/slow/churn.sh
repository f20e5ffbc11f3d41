#!/usr/bin/env bash
# Connections that come to do harm. First 50,000 that are reset at once (SO_LINGER 0), half of them with bytes
# under way: the gateway must answer afterwards, hold no descriptor more than before, and account for every
# one. Then 400 connections at a gateway that may open 128 files: it must stay quiet while they are there,
# and serve a newcomer as soon as they have gone; and the same where accept itself fails.
#
#   ci/slow/churn.sh
#
#   RESETS=50000, PORT=17600 the first of six ports
set -euo pipefail
# shellcheck source=SCRIPTDIR/../../benches/lib.sh
source "$(dirname "$0")/../../benches/lib.sh"

need curl curl
need prlimit util-linux
resets=${RESETS:-50000}
port=${PORT:-17600}
build

# config FILE PORT: echo, and the admin API on the next port.
config() {
    cat >"$1" <<END
state_dir = "$scratch/var$2"
[admin]
bind = "tcp://127.0.0.1:$(($2 + 1))"
[listeners.echo]
bind = "tcp://127.0.0.1:$2"
handler = "echo"
END
}

# total PORT METRIC: the sum of its series.
total() {
    curl -sS --max-time 10 "http://127.0.0.1:$1/metrics" |
        awk -v name="$2" '{ split($1, part, "{") } part[1] == name { n += $2 } END { print n + 0 }'
}

descriptors() { find "/proc/$1/fd" -mindepth 1 | wc -l; }

# at_most NAME VALUE LIMIT
at_most() { awk -v v="$2" -v l="$3" 'BEGIN { exit !(v <= l) }' || die "$1: $2, more than $3"; }

machine
config "$scratch/churn.toml" "$port"
start_gateway "$scratch/churn.toml"
gateway=$pid
total $((port + 1)) polygate_connections_accepted_total >/dev/null
before=$(descriptors "$gateway")
timeout 300 "$tools" churn "to=127.0.0.1:$port" "connections=$resets"

# All of them are settled within the moment that a close may linger.
for _ in {1..50}; do
    active=$(total $((port + 1)) polygate_connections_active)
    if [ "$active" -eq 0 ]; then break; fi
    sleep 0.1
done
accepted=$(total $((port + 1)) polygate_connections_accepted_total)
rejected=$(total $((port + 1)) polygate_connections_rejected_total)
closed=$(total $((port + 1)) polygate_connections_closed_total)
after=$(descriptors "$gateway")
echo "accepted=$accepted rejected=$rejected active=$active closed=$closed descriptors_before=$before descriptors_after=$after"
[ "$accepted" -eq $((rejected + active + closed)) ] || die "the account does not balance"
[ "$active" -eq 0 ] || die "$active connections are still open"
[ "$accepted" -eq $((resets + 1)) ] || die "$resets were made, and one asked afterwards"
at_most "descriptors" "$after" $((before + 2))

# crowd NAME PORT LIMIT: starts a gateway that may open 128 files, and after its start LIMIT.
crowd() {
    local errors
    config "$scratch/$1.toml" "$2"
    start "$1" bash -c 'ulimit -n 128; exec "$@"' bash "$polygate" run "$scratch/$1.toml"
    until_ready "$scratch/$1.out"
    prlimit --pid "$pid" "--nofile=$3:128"
    line=$(timeout 60 "$tools" crowd "to=127.0.0.1:$2" connections=400 "pid=$pid" seconds=5)
    errors=$(total $(($2 + 1)) polygate_accept_errors_total)
    echo "$1: $line accept_errors=$errors"
    at_most "CPU while crowded, percent" "$(value cpu_percent "$line")" 2
    at_most "recovery, ms" "$(value recovered_after_ms "$line")" 1000
}

# It knows its limit, and leaves what is over in the kernel's queue.
crowd "128 files" $((port + 2)) 128
# It does not know: accept fails (EMFILE), and is tried again ever more slowly.
crowd "64 files unawares" $((port + 4)) 64
[ "$(total $((port + 5)) polygate_accept_errors_total)" -gt 0 ] || die "accept never failed"
