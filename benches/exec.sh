#!/usr/bin/env bash
# A program for each connection, side by side in one run: polygate's `exec` and xinetd start /bin/cat, which echoes 64
# bytes and ends with the connection. CPU time of the gateway and of all the processes that it has waited for
# (utime + stime + cutime + cstime of /proc/PID/stat), a connection. The contestants take turns; medians.
#
#   benches/exec.sh
#
#   ROUNDS=7 REQUESTS=1000    how often, and how many connections each
#   BASE_PORT=17800           the first of the ports
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "$0")/lib.sh"

need taskset util-linux
need pgrep procps
need xinetd xinetd
rounds=${ROUNDS:-7}
requests=${REQUESTS:-1000}
base=${BASE_PORT:-17800}
[ "$(nproc)" -ge 2 ] || die "the servers and the client need a CPU each"
build

cat >"$scratch/polygate.toml" <<END
state_dir = "$scratch/var"
[runtime]
workers = 1
[admin]
bind = "tcp://127.0.0.1:$((base + 1))"
[listeners.cat]
bind = "tcp://127.0.0.1:$base"
handler = "cat"
[handlers.cat]
type = "exec"
argv = ["/bin/cat"]
END
cat >"$scratch/xinetd.conf" <<END
service cat
{
    type        = UNLISTED
    socket_type = stream
    protocol    = tcp
    wait        = no
    user        = $(id -un)
    server      = /bin/cat
    bind        = 127.0.0.1
    port        = $((base + 2))
    instances   = UNLIMITED
    per_source  = UNLIMITED
    cps         = 1000000 1
}
END
declare -A ports=([polygate]=$base [xinetd]=$((base + 2))) pids=()
start_gateway "$scratch/polygate.toml" taskset -c 0
pids[polygate]=$pid
start xinetd taskset -c 0 xinetd -dontfork -f "$scratch/xinetd.conf" -pidfile "$scratch/xinetd.pid"
pids[xinetd]=$pid
until_open "${ports[xinetd]}"

tick=$(getconf CLK_TCK)
for ((round = 0; round < rounds; round++)); do
    for name in polygate xinetd; do
        before=$(cpu_ticks "${pids[$name]}")
        taskset -c 1 timeout 300 "$tools" connects "to=127.0.0.1:${ports[$name]}" "requests=$requests" connections=4 >/dev/null
        # The last ones end, and are waited for.
        sleep 0.5
        echo "$name $requests 1 $(($(cpu_ticks "${pids[$name]}") - before))" >>"$scratch/rounds"
    done
done

machine
printf '\n%d connections, /bin/cat for each; medians of %d rounds\n\n| server | CPU µs a connection | to xinetd |\n|---|---:|---:|\n' \
    "$requests" "$rounds"
reference=$(median "$scratch/rounds" xinetd 4 2)
for name in polygate xinetd; do
    awk -v name="$name" -v cpu="$(median "$scratch/rounds" "$name" 4 2)" -v reference="$reference" -v tick="$tick" \
        'BEGIN { printf "| %s | %d | %.3f |\n", name, cpu / tick * 1e6, cpu / reference }'
done
