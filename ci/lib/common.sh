# What the scripts of ci/ share: a gateway in a temporary folder, and assertions. To be sourced.
# They end only what they have started.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
WORK=$(mktemp -d)
PIDS=()

fail() {
    printf 'FAIL: %s\n' "$*" >&2
    exit 1
}

# need PROGRAM...: fails when one is missing.
need() {
    local program
    for program; do
        command -v "$program" >/dev/null || fail "$program is missing"
    done
}

cleanup() {
    local code=$?
    local pid
    for pid in "${PIDS[@]}"; do
        kill "$pid" 2>/dev/null || true
    done
    for pid in "${PIDS[@]}"; do
        wait "$pid" 2>/dev/null || true
    done
    if [[ $code -ne 0 && -s $WORK/log ]]; then
        printf -- '--- the end of the log of the gateway\n' >&2
        tail -n 30 "$WORK/log" >&2
    fi
    rm -rf "$WORK"
}
trap cleanup EXIT

# build: makes $POLYGATE, unless a program to test is named there already.
build() {
    if [[ -z ${POLYGATE:-} ]]; then
        (cd "$ROOT" && cargo build --quiet --locked)
        POLYGATE=${CARGO_TARGET_DIR:-$ROOT/target}/debug/polygate
    fi
    [[ -x $POLYGATE ]] || fail "$POLYGATE is not a program"
}

# start CONFIG: runs a gateway in $WORK until it is ready. Sets GATEWAY (its process) and ADMIN (its URL).
start() {
    (cd "$WORK" && exec "$POLYGATE" run "$1") >"$WORK/out" 2>"$WORK/log" </dev/null &
    GATEWAY=$!
    PIDS+=("$GATEWAY")
    eventually grep -qx ready "$WORK/out"
    ADMIN=$(sed -n 's/^admin \(http:.*\)$/\1/p' "$WORK/out" | head -n 1)
    # Clients ask this gateway, whatever the caller's environment says.
    export POLYGATE_ADMIN=$ADMIN
}

# certificate FOLDER: cert.pem and key.pem in it, signed by itself, for localhost and 127.0.0.1.
certificate() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -subj /CN=localhost \
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$1/key.pem" -out "$1/cert.pem" 2>/dev/null
}

# address LISTENER TRANSPORT: what is bound, without the scheme.
address() {
    sed -n "s|^listening $1 $2://||p" "$WORK/out" | head -n 1
}

# eventually COMMAND...: waits until it succeeds, 10 s at most.
eventually() {
    local deadline=$((SECONDS + 10))
    until "$@"; do
        ((SECONDS < deadline)) || fail "not within 10 s: $*"
        sleep 0.05
    done
}

# equal WHAT EXPECTED ACTUAL
equal() {
    [[ $3 == "$2" ]] || fail "$1: expected $(printf %q "$2"), got $(printf %q "$3")"
}

# contains WHAT PART WHOLE
contains() {
    [[ $3 == *"$2"* ]] || fail "$1: no $(printf %q "$2") in $(printf %q "${3:0:2000}")"
}

# exits CODE COMMAND...: runs it; the output is in $OUTPUT.
exits() {
    local expected=$1 code=0
    shift
    OUTPUT=$("$@" 2>&1) || code=$?
    [[ $code -eq $expected ]] || fail "$*: expected exit code $expected, got $code: $OUTPUT"
}
