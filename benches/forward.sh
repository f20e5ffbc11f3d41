#!/usr/bin/env bash
# Proxies side by side, in one run: polygate's `forward`, nginx's stream module and HAProxy in TCP mode, each with one
# worker pinned to CPU 0, and the backends and clients on CPU 1; every answer is checked. All of them run throughout and
# take turns, so that whatever else the machine does meets all of them; the tables have medians.
#
#   benches/forward.sh [small|bulk|connects|udp|idle]…     all of them, if none is named
#
#   ROUNDS=7 SECONDS_EACH=1   how often and how long each contestant is measured
#   CONNECTIONS=4000          idle connections
#   BASE_PORT=17600           the first of the ports
#
# small: 64 bytes there and back over 64 connections: CPU time of the proxy a round trip, and its instructions in user
# space (callgrind, in a run of their own). bulk: CPU seconds a GiB over 4 connections. connects: connections a CPU second,
# each with one answer. udp: CPU time a datagram (there and back are two), 8 sockets with 16 under way. idle: Pss a
# connection that is carried and says nothing.
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "$0")/lib.sh"

need taskset util-linux
need valgrind valgrind
need cc gcc
need nginx nginx-core
need haproxy haproxy
rounds=${ROUNDS:-7}
each=${SECONDS_EACH:-1}
idle=${CONNECTIONS:-4000}
base=${BASE_PORT:-17600}
stream_module=/usr/lib/nginx/modules/ngx_stream_module.so
[ -e "$stream_module" ] || die "nginx has no stream module (Debian: libnginx-mod-stream)"
[ "$(nproc)" -ge 2 ] || die "the proxy and the others need a CPU each"
ulimit -n "$(ulimit -Hn)"
build
cc -O2 -o "$scratch/c-tcp" "$root/benches/echo/epoll.c"
cc -O2 -o "$scratch/c-udp" "$root/benches/echo/udp.c"
# The backends: echoes over TCP and UDP, and what sends for ever (a part of the client).
echo_at=$base
source_at=$((base + 1))
start backend-tcp taskset -c 1 "$scratch/c-tcp" "$echo_at"
start backend-udp taskset -c 1 "$scratch/c-udp" "$echo_at"

# command_of NAME PORT: what starts a proxy, in the array `command`: on PORT to the echoes (TCP and UDP), on PORT + 1 to
# the source.
command_of() {
    local config=$scratch/$1$2.conf
    case $1 in
    polygate)
        cat >"$config" <<END
state_dir = "$scratch/var$2"
[runtime]
workers = 1
[admin]
bind = "tcp://127.0.0.1:$(($2 + 2))"
[limits]
max_connections = $((idle + 1000))
[listeners]
tcp = { bind = "tcp://127.0.0.1:$2", handler = "streams" }
udp = { bind = "udp://127.0.0.1:$2", handler = "datagrams" }
bulk = { bind = "tcp://127.0.0.1:$(($2 + 1))", handler = "source" }
[handlers]
streams = { type = "forward", upstream = "echo" }
datagrams = { type = "forward", upstream = "datagrams" }
source = { type = "forward", upstream = "source" }
[upstreams]
echo.to = ["tcp://127.0.0.1:$echo_at"]
datagrams.to = ["udp://127.0.0.1:$echo_at"]
source.to = ["tcp://127.0.0.1:$source_at"]
END
        command=("$polygate" run "$config")
        ;;
    nginx)
        cat >"$config" <<END
daemon off;
master_process off;
worker_processes 1;
pid $scratch/nginx$2.pid;
error_log stderr;
load_module $stream_module;
events { worker_connections 20000; }
stream {
    tcp_nodelay on;
    proxy_timeout 60s;
    server { listen 127.0.0.1:$2; proxy_pass 127.0.0.1:$echo_at; }
    server { listen 127.0.0.1:$2 udp; proxy_pass 127.0.0.1:$echo_at; }
    server { listen 127.0.0.1:$(($2 + 1)); proxy_pass 127.0.0.1:$source_at; }
}
END
        command=(nginx -c "$config")
        ;;
    haproxy | haproxy-splice)
        local splice=
        if [ "$1" = haproxy-splice ]; then splice='option splice-response'; fi
        cat >"$config" <<END
global
    nbthread 1
    maxconn $((idle + 1000))
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    $splice
listen echo
    bind 127.0.0.1:$2
    server one 127.0.0.1:$echo_at
listen bulk
    bind 127.0.0.1:$(($2 + 1))
    server one 127.0.0.1:$source_at
END
        command=(haproxy -db -f "$config")
        ;;
    esac
}

# client WORD PORT OPTIONS…
client() {
    local word=$1 port=$2
    shift 2
    taskset -c 1 timeout 300 "$tools" "$word" "to=127.0.0.1:$port" "$@"
}

# await WORD PORT: until a proxy answers.
await() {
    local _
    for _ in {1..150}; do
        if client "$1" "$2" connections=1 sockets=1 window=1 requests=1 >/dev/null 2>&1; then return; fi
        sleep 0.2
    done
    die "nothing answers on port $2"
}

# user_instructions NAME PORT: a round trip.
user_instructions() {
    local collected=() requests log=$scratch/callgrind.log
    for requests in 5000 25000; do
        command_of "$1" "$2"
        start callgrind taskset -c 0 valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$log" "${command[@]}"
        local proxy=$pid
        await tcp "$2"
        client tcp "$2" "requests=$requests" >/dev/null
        stop "$proxy"
        collected+=("$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$log")")
    done
    echo $(((collected[1] - collected[0]) / 20000))
}

declare -A ports=() pids=()
port=$((base + 10))
for name in polygate nginx haproxy haproxy-splice; do
    ports[$name]=$port
    command_of "$name" "$port"
    start "$name" taskset -c 0 "${command[@]}"
    pids[$name]=$pid
    await tcp "$port"
    port=$((port + 10))
done

# rounds_of MEASURE WORD OFFSET OPTIONS NAMES…: measures them in turn.
rounds_of() {
    local measure=$1 word=$2 offset=$3 options name line round
    read -ra options <<<"$4"
    shift 4
    for ((round = 0; round < rounds; round++)); do
        for name in "$@"; do
            line=$(client "$word" $((ports[$name] + offset)) "${options[@]}" "pid=${pids[$name]}" "seconds=$each")
            echo "$name $(value requests "$line") $(value seconds "$line") $(value cpu_ns "$line")" >>"$scratch/$measure"
        done
    done
}

# table MEASURE TITLE FORMAT SCALE NAMES…: CPU time a unit of the measure, and its relation to nginx's.
table() {
    local measure=$1 title=$2 format=$3 scale=$4 name
    shift 4
    printf '\n%s; medians of %d rounds of %s s\n\n| proxy | %s | to nginx | units/s to nginx |\n|---|---:|---:|---:|\n' \
        "$title" "$rounds" "$each" "$(printf '%s' "$measure")"
    for name in "$@"; do
        awk -v name="$name" -v format="$format" -v scale="$scale" -v cpu="$(median "$scratch/$measure" "$name" 4 2)" \
            -v reference="$(median "$scratch/$measure" nginx 4 2)" -v rate="$(median "$scratch/$measure" "$name" 2 3)" \
            -v nginx="$(median "$scratch/$measure" nginx 2 3)" \
            'BEGIN { printf "| %s | " format " | %.3f | %.3f |\n", name, cpu * scale, cpu / reference, rate / nginx }'
    done
}

machine
for part in "${@:-all}"; do
    case $part in
    small | all)
        rounds_of 'CPU ns a round trip' tcp 0 'connections=64 size=64' polygate nginx haproxy
        table 'CPU ns a round trip' '64 bytes there and back, 64 connections' %d 1 polygate nginx haproxy
        printf '\n| proxy | user instructions a round trip |\n|---|---:|\n'
        for name in polygate nginx haproxy; do
            printf '| %s | %d |\n' "$name" "$(user_instructions "$name" "$port")"
            port=$((port + 10))
        done
        ;;&
    bulk | all)
        rounds_of 'CPU s a GiB' bulk 1 "at=127.0.0.1:$source_at connections=4" polygate nginx haproxy haproxy-splice
        table 'CPU s a GiB' 'A lot of bytes to 4 clients' %.4f 1.024e-6 polygate nginx haproxy haproxy-splice
        ;;&
    connects | all)
        rounds_of 'CPU ns a connection' connects 0 connections=8 polygate nginx haproxy
        table 'CPU ns a connection' 'New connections, one answer each, 8 clients' %d 1 polygate nginx haproxy
        ;;&
    udp | all)
        rounds_of 'CPU ns a datagram' udp 0 'sockets=8 window=16 size=64' polygate nginx
        table 'CPU ns a datagram' 'Datagrams of 64 bytes there and back, 8 sockets' %d 0.5 polygate nginx
        ;;&
    idle | all)
        printf '\n%d idle connections\n\n| proxy | Pss a connection, KiB |\n|---|---:|\n' "$idle"
        for name in polygate nginx haproxy; do
            line=$(client idle "${ports[$name]}" "connections=$idle" "pid=${pids[$name]}")
            printf '| %s | %s |\n' "$name" "$(value each_kib "$line")"
        done
        ;;&
    small | bulk | connects | udp | idle | all) ;;
    *) die "small, bulk, connects, udp, idle, or nothing for all of them" ;;
    esac
done
