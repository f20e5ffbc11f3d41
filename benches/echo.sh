#!/usr/bin/env bash
# Echo side by side, in one run: polygate, bare tokio, and C, with the same client. The server is pinned to
# CPU 0, the client to CPU 1; every answer is checked. All servers run throughout and the contestants take
# turns, so that whatever else the machine does meets all of them; the table has medians.
#
#   benches/echo.sh [tcp|udp]
#
#   ROUNDS=7 SECONDS_EACH=2   how often and how long each contestant is measured
#   BASE_PORT=17100           the first of the ports
#
# The columns: CPU time of the server's threads a request; instructions in user space, counted by valgrind
# (callgrind; the difference of two runs, so that start-up does not count) in a run of their own; system
# calls; and, where the machine lets perf count them, instructions and cycles (a virtual machine often
# does not).
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "$0")/lib.sh"

need taskset util-linux
need perf linux-perf
need valgrind valgrind
need cc gcc
rounds=${ROUNDS:-7}
each=${SECONDS_EACH:-2}
base=${BASE_PORT:-17100}
[ "$(nproc)" -ge 2 ] || die "the server and the client need a CPU each"

build
cc -O2 -o "$scratch/c-tcp" "$root/benches/echo/epoll.c"
cc -O2 -o "$scratch/c-udp" "$root/benches/echo/udp.c"

# gateway_config FILE PORT: echo with everything on that is on by default; ports PORT (TCP and UDP), PORT + 1
# (UDP, bound to all addresses), PORT + 2 (the admin API).
gateway_config() {
    cat >"$1" <<END
state_dir = "$scratch/var$2"
[runtime]
workers = 1
[admin]
bind = "tcp://127.0.0.1:$(($2 + 2))"
[listeners.echo]
bind = ["tcp://127.0.0.1:$2", "udp://127.0.0.1:$2"]
handler = "echo"
[listeners.wildcard]
bind = "udp://0.0.0.0:$(($2 + 1))"
handler = "echo"
END
}

# command NAME PORT: what starts a contestant, in the array `command`.
command_of() {
    case $1 in
    polygate*)
        gateway_config "$scratch/polygate$2.toml" "$2"
        command=("$polygate" run "$scratch/polygate$2.toml")
        ;;
    tokio-tcp | tokio-tcp-current | tokio-udp) command=("$tools" "$1" "at=127.0.0.1:$2") ;;
    c-tcp | c-udp) command=("$scratch/$1" "$2") ;;
    esac
}

# client TRANSPORT PORT OPTIONS…
client() {
    local transport=$1 port=$2
    shift 2
    taskset -c 1 timeout 300 "$tools" "$transport" "to=127.0.0.1:$port" "$@"
}

# asked NAME PORT: the port that a contestant is asked on.
asked() { if [ "$1" = polygate-wildcard ]; then echo $(($2 + 1)); else echo "$2"; fi; }

# await TRANSPORT NAME PORT: until a contestant answers.
await() {
    local _
    for _ in {1..150}; do
        if client "$1" "$(asked "$2" "$3")" connections=1 sockets=1 window=1 requests=1 >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    die "$2 does not answer"
}

# user_instructions TRANSPORT NAME PORT: a request.
user_instructions() {
    local collected=() requests log=$scratch/callgrind.log
    for requests in 5000 25000; do
        command_of "$2" "$3"
        start callgrind taskset -c 0 valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$log" "${command[@]}"
        local server=$pid
        await "$1" "$2" "$3"
        client "$1" "$(asked "$2" "$3")" "requests=$requests" >/dev/null
        stop "$server"
        collected+=("$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log")")
    done
    echo $(((collected[1] - collected[0]) / 20000))
}

# perf_counts PID CLIENT…: system calls, and user instructions, kernel instructions and cycles, a request;
# n/a for what perf cannot count here. Counted over a run of so many requests that connecting vanishes.
perf_counts() {
    local server=$1 requests=200000 out=$scratch/perf.out perf
    shift
    perf stat -x, -o "$out" -e raw_syscalls:sys_enter,instructions:u,instructions:k,cycles -p "$server" 2>/dev/null &
    perf=$!
    started+=("$perf")
    sleep 0.5
    "$@" "requests=$requests" >/dev/null
    kill -INT "$perf"
    wait "$perf" || true
    awk -F, -v n="$requests" '
        /sys_enter/ { calls = $1 ~ /^[0-9]+$/ ? sprintf("%.2f", $1 / n) : "n/a" }
        /instructions|cycles/ { rest = rest (rest ? ", " : "") ($1 ~ /^[0-9]+$/ ? sprintf("%d", $1 / n) : "n/a") }
        END { print calls ? calls : "n/a", "|", rest ? rest : "n/a" }' "$out"
}

# side_by_side TRANSPORT REFERENCE OPTIONS CONTESTANT…
side_by_side() {
    local transport=$1 reference=$2 options=$3 name port=$base round line window
    shift 3
    read -ra window <<<"$options"
    declare -A ports=() pids=() user=() counts=()
    for name in "$@"; do
        if [ "$name" = polygate-wildcard ]; then
            ports[$name]=${ports[polygate]} pids[$name]=${pids[polygate]}
            continue
        fi
        ports[$name]=$port
        command_of "$name" "$port"
        start "$name" taskset -c 0 "${command[@]}"
        pids[$name]=$pid
        await "$transport" "$name" "$port"
        port=$((port + 10))
    done
    for ((round = 0; round < rounds; round++)); do
        for name in "$@"; do
            line=$(client "$transport" "$(asked "$name" "${ports[$name]}")" "${window[@]}" "pid=${pids[$name]}" "seconds=$each")
            echo "$name $(value requests "$line") $(value seconds "$line") $(value cpu_ns "$line")" >>"$scratch/$transport.rounds"
        done
    done
    for name in "$@"; do
        counts[$name]=$(perf_counts "${pids[$name]}" client "$transport" "$(asked "$name" "${ports[$name]}")" "${window[@]}")
    done
    for name in "$@"; do
        user[$name]=$(user_instructions "$transport" "$name" "$port")
        port=$((port + 10))
    done

    echo
    echo "$transport echo, 64 bytes, $options, one server core; medians of $rounds rounds of $each s"
    echo
    echo "| server | CPU ns/req | to $reference | user instr/req | syscalls/req | requests/s to $reference | perf: user instr, kernel instr, cycles/req |"
    echo "|---|---:|---:|---:|---:|---:|---|"
    local reference_cpu reference_rate cpu rate
    reference_cpu=$(median "$scratch/$transport.rounds" "$reference" 4 2)
    reference_rate=$(median "$scratch/$transport.rounds" "$reference" 2 3)
    for name in "$@"; do
        cpu=$(median "$scratch/$transport.rounds" "$name" 4 2)
        rate=$(median "$scratch/$transport.rounds" "$name" 2 3)
        awk -v name="$name" -v cpu="$cpu" -v rate="$rate" -v rcpu="$reference_cpu" -v rrate="$reference_rate" \
            -v user="${user[$name]}" -v counts="${counts[$name]}" 'BEGIN {
                split(counts, part, " [|] ")
                printf "| %s | %d | %.3f | %d | %s | %.3f | %s |\n", name, cpu, cpu / rcpu, user, part[1], rate / rrate, part[2]
            }'
    done
    for name in "$@"; do stop "${pids[$name]}"; done
}

machine
case ${1:-both} in
tcp | both) side_by_side tcp c-tcp "connections=64 size=64" polygate tokio-tcp tokio-tcp-current c-tcp ;;&
udp | both) side_by_side udp c-udp "sockets=8 window=16 size=64" polygate polygate-wildcard tokio-udp c-udp ;;
tcp) ;;
*) die "tcp, udp or nothing" ;;
esac
