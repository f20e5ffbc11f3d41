# What the benches and the long runs share; to be sourced. Gives `$polygate` and `$tools` (both built),
# `$scratch` (a folder that goes with the script), and the functions below. Everything that a script starts
# ends with it, by its process id.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
polygate=${POLYGATE:-$target/release/polygate}
# shellcheck disable=SC2034
tools=$target/bench/release/polygate-bench
scratch=$(mktemp -d)
started=()

die() { echo "${0##*/}: $*" >&2; exit 1; }

# need PROGRAM PACKAGE: fails with a clear message when a program is missing.
need() { command -v "$1" >/dev/null || die "$1 is missing (Debian: $2)"; }

clean_up() {
    local status=$? pid
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${started[@]}"; do wait "$pid" 2>/dev/null || true; done
    if [ "$status" -ne 0 ] && [ -s "$scratch/polygate.log" ]; then
        echo "the end of the gateway's log:" >&2
        tail -n 5 "$scratch/polygate.log" >&2
    fi
    rm -rf "$scratch"
}
trap clean_up EXIT

# build: the gateway (unless $POLYGATE names one) and the tools, as released.
build() {
    need cargo cargo
    if [ -z "${POLYGATE:-}" ]; then
        CARGO_TARGET_DIR=$target cargo build --quiet --release --locked --manifest-path "$root/Cargo.toml" --bin polygate
    fi
    CARGO_TARGET_DIR=$target/bench cargo build --quiet --release --locked --manifest-path "$root/benches/tools/Cargo.toml"
}

# start NAME COMMAND…: in the background, with its output in files; the process id is in `$pid`.
start() {
    local name=$1
    shift
    "$@" >"$scratch/$name.out" 2>"$scratch/$name.log" &
    pid=$!
    started+=("$pid")
}

# stop PID: ends one that was started, and waits for it.
stop() {
    kill "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# until_ready FILE: waits for the gateway's word, at most ten seconds.
until_ready() {
    local _
    for _ in {1..100}; do
        if grep -qx ready "$1" 2>/dev/null; then return; fi
        sleep 0.1
    done
    die "the gateway did not get ready"
}

# until_open PORT: waits for a TCP port of this machine.
until_open() {
    local _
    for _ in {1..100}; do
        if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
        sleep 0.1
    done
    die "nothing listens on port $1"
}

# start_gateway CONFIG [COMMAND…]: starts it, behind a command such as taskset if given.
start_gateway() {
    local config=$1
    shift
    start polygate "$@" "$polygate" run "$config"
    until_ready "$scratch/polygate.out"
}

# value KEY LINE: the value of KEY in a line of key=value words.
value() {
    local word
    for word in $2; do
        if [ "${word%%=*}" = "$1" ]; then echo "${word#*=}"; return; fi
    done
    die "no $1 in: $2"
}

# median FILE NAME ABOVE BELOW: of one column over another, in the lines that begin with NAME.
median() {
    awk -v name="$2" -v a="$3" -v b="$4" '$1 == name { print $a / $b }' "$1" | sort -g |
        awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'
}

# cpu_ticks PID: CPU time of the process, of its children, and of all that they have waited for (proc(5): utime, stime,
# cutime and cstime), in ticks of which a second has `getconf CLK_TCK`.
cpu_ticks() {
    local one
    for one in "$1" $(pgrep -P "$1"); do sed 's/.*) //' "/proc/$one/stat"; done |
        awk '{ sum += $12 + $13 + $14 + $15 } END { print sum }'
}

# machine: what a table must say of where it comes from.
machine() {
    echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, Linux $(uname -r)"
}
