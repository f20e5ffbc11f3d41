#!/usr/bin/env bash
# What an idle TCP connection costs: 10,000 of them, each after one exchange of 64 bytes, or one HTTP request.
# Pss of the gateway before, with them, and after they have gone (/proc/PID/smaps_rollup).
#
#   benches/idle.sh [echo|http]
#
#   CONNECTIONS=10000   fewer, should the limit on open files of a process be lower
#   PORT=17200          and the next one for the admin API
#   TIMES=2             how often the crowd comes and goes
#   PRELOAD=FILE        a library to preload into the gateway, such as another allocator
set -euo pipefail
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "$0")/lib.sh"

protocol=${1:-echo}
connections=${CONNECTIONS:-10000}
port=${PORT:-17200}
ulimit -n "$(ulimit -Hn)"
[ "$(ulimit -n)" = unlimited ] || [ "$(ulimit -n)" -gt $((connections + 100)) ] ||
    die "$(ulimit -n) open files are allowed, too few for $connections connections: set CONNECTIONS"

build
cat >"$scratch/idle.toml" <<END
state_dir = "$scratch/var"
[admin]
bind = "tcp://127.0.0.1:$((port + 1))"
[limits]
max_connections = $((connections + 2000))
[listeners.$protocol]
bind = "tcp://127.0.0.1:$port"
handler = "$protocol"
END
start_gateway "$scratch/idle.toml" env ${PRELOAD:+"LD_PRELOAD=$PRELOAD"}
machine
echo
echo "| connections | Pss before, KiB | with them | after | KiB a connection |"
echo "|---:|---:|---:|---:|---:|"
for _ in $(seq "${TIMES:-2}"); do
    line=$(timeout 300 "$tools" idle "to=127.0.0.1:$port" "connections=$connections" "pid=$pid" "protocol=$protocol")
    echo "| $connections | $(value before_kib "$line") | $(value with_kib "$line") | $(value after_kib "$line") | $(value each_kib "$line") |"
done
