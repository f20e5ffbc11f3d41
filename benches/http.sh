#!/usr/bin/env bash
# HTTP hello side by side, in one run: polygate, bare hyper and nginx `return 200`, with the same client over kept
# connections. The server is pinned to CPU 0, the client to CPU 1; every answer is checked. All servers run
# throughout and the contestants take turns, so that whatever else the machine does meets all of them; the table
# has medians.
#
#   benches/http.sh [small|browser]
#
#   ROUNDS=7 SECONDS_EACH=2   how often and how long each contestant is measured
#   BASE_PORT=17300           the first of the ports
#
# `small` asks with a request line and Host, `browser` with the fields of a browser. The columns: CPU time of the
# server's threads a request; instructions in user space, counted by valgrind (callgrind; the difference of two
# runs, so that start-up does not count) in a run of their own; system calls; and, where the machine lets perf
# count them, instructions and cycles (a virtual machine often does not).
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "$0")/lib.sh"

need taskset util-linux
need perf linux-perf
need valgrind valgrind
need nginx nginx-core
rounds=${ROUNDS:-7}
each=${SECONDS_EACH:-2}
base=${BASE_PORT:-17300}
request=${1:-small}
[ "$(nproc)" -ge 2 ] || die "the server and the client need a CPU each"
build

# command_of NAME PORT: what starts a contestant, in the array `command`. Everything that is on by default is on.
command_of() {
    case $1 in
    polygate)
        cat >"$scratch/polygate$2.toml" <<END
state_dir = "$scratch/var$2"
[runtime]
workers = 1
[admin]
bind = "tcp://127.0.0.1:$(($2 + 1))"
[listeners.http]
bind = "tcp://127.0.0.1:$2"
handler = "http"
END
        command=("$polygate" run "$scratch/polygate$2.toml")
        ;;
    hyper) command=("$tools" hyper "at=127.0.0.1:$2") ;;
    nginx)
        local path="$scratch/nginx$2"
        mkdir -p "$path"
        cat >"$path.conf" <<END
daemon off;
master_process off;
worker_processes 1;
pid $path/pid;
error_log stderr;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000000;
    default_type text/plain;
    client_body_temp_path $path/1;
    proxy_temp_path $path/2;
    fastcgi_temp_path $path/3;
    uwsgi_temp_path $path/4;
    scgi_temp_path $path/5;
    server {
        listen 127.0.0.1:$2;
        location / { return 200 "Hello, World\n"; }
    }
}
END
        command=(nginx -c "$path.conf")
        ;;
    esac
}

# client PORT OPTIONS…
client() {
    local port=$1
    shift
    taskset -c 1 timeout 300 "$tools" http "to=127.0.0.1:$port" "request=$request" "$@"
}

# await NAME PORT: until a contestant answers.
await() {
    local _
    for _ in {1..150}; do
        if client "$2" connections=1 requests=1 >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    die "$1 does not answer"
}

# user_instructions NAME PORT: a request.
user_instructions() {
    local collected=() requests log=$scratch/callgrind.log
    for requests in 5000 25000; do
        command_of "$1" "$2"
        start callgrind taskset -c 0 valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$log" "${command[@]}"
        local server=$pid
        await "$1" "$2"
        client "$2" "requests=$requests" >/dev/null
        stop "$server"
        collected+=("$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log")")
    done
    echo $(((collected[1] - collected[0]) / 20000))
}

# perf_counts PID PORT: system calls, and user instructions, kernel instructions and cycles, a request; n/a for
# what perf cannot count here.
perf_counts() {
    local requests=200000 out=$scratch/perf.out perf
    perf stat -x, -o "$out" -e raw_syscalls:sys_enter,instructions:u,instructions:k,cycles -p "$1" 2>/dev/null &
    perf=$!
    started+=("$perf")
    sleep 0.5
    client "$2" "requests=$requests" >/dev/null
    kill -INT "$perf"
    wait "$perf" || true
    awk -F, -v n="$requests" '
        /sys_enter/ { calls = $1 ~ /^[0-9]+$/ ? sprintf("%.2f", $1 / n) : "n/a" }
        /instructions|cycles/ { rest = rest (rest ? ", " : "") ($1 ~ /^[0-9]+$/ ? sprintf("%d", $1 / n) : "n/a") }
        END { print calls ? calls : "n/a", "|", rest ? rest : "n/a" }' "$out"
}

contestants=(polygate nginx hyper)
declare -A ports=() pids=() counts=() user=()
port=$base
for name in "${contestants[@]}"; do
    ports[$name]=$port
    command_of "$name" "$port"
    start "$name" taskset -c 0 "${command[@]}"
    pids[$name]=$pid
    await "$name" "$port"
    port=$((port + 10))
done
for ((round = 0; round < rounds; round++)); do
    for name in "${contestants[@]}"; do
        line=$(client "${ports[$name]}" "pid=${pids[$name]}" "seconds=$each")
        echo "$name $(value requests "$line") $(value seconds "$line") $(value cpu_ns "$line")" >>"$scratch/rounds"
    done
done
for name in "${contestants[@]}"; do counts[$name]=$(perf_counts "${pids[$name]}" "${ports[$name]}"); done
for name in "${contestants[@]}"; do stop "${pids[$name]}"; done
for name in "${contestants[@]}"; do
    user[$name]=$(user_instructions "$name" "$port")
    port=$((port + 10))
done

machine
echo
echo "HTTP hello, kept alive, 64 connections, request \"$request\", one server core; medians of $rounds rounds of $each s"
echo
echo "| server | CPU ns/req | to nginx | user instr/req | to nginx | syscalls/req | requests/s to nginx | perf: user instr, kernel instr, cycles/req |"
echo "|---|---:|---:|---:|---:|---:|---:|---|"
reference_cpu=$(median "$scratch/rounds" nginx 4 2)
reference_rate=$(median "$scratch/rounds" nginx 2 3)
for name in "${contestants[@]}"; do
    awk -v name="$name" -v cpu="$(median "$scratch/rounds" "$name" 4 2)" -v rate="$(median "$scratch/rounds" "$name" 2 3)" -v rcpu="$reference_cpu" \
        -v rrate="$reference_rate" -v user="${user[$name]}" -v ruser="${user[nginx]}" -v counts="${counts[$name]}" 'BEGIN {
            split(counts, part, " [|] ")
            printf "| %s | %d | %.3f | %d | %.3f | %s | %.3f | %s |\n", name, cpu, cpu / rcpu, user, user / ruser, part[1], rate / rrate, part[2]
        }'
done
