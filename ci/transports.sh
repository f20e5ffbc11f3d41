#!/usr/bin/env bash
# All four transports against other people's programs: socat talks to the data plane, curl to the admin
# API. Reloads in between must neither lose a connection nor take over a wrong configuration.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need socat curl
build

config() {
    cat <<TOML
state_dir = "$WORK/state"
admin.bind = ["tcp://127.0.0.1:0", "unix://run/admin.sock"]
log.level = "info"

[listeners.echo]
bind = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0", "unix://run/echo.sock", "unixgram://run/echo.dgram"]
handler = "prefixed"

[listeners.upper]
bind = ["tcp://[::1]:0", "udp://[::1]:0", "unix://run/upper.sock", "unixgram://@polygate-ci-$$"]
handler = "upper"

[handlers.prefixed]
type = "echo"
prefix = "$1"
TOML
}

# ask LISTENER TRANSPORT: sends standard input, prints the answer. Datagrams have no end: socat waits for
# half a second.
ask() {
    local at
    at=$(address "$1" "$2")
    case $2 in
        tcp) socat -t 5 - "TCP:$at" ;;
        udp)
            # Unlike TCP, socat's UDP takes IPv4 unless it is told.
            local version=4
            [[ $at != \[* ]] || version=6
            socat -t 0.5 - "UDP$version:$at"
            ;;
        unix) socat -t 5 - "UNIX-CONNECT:$at" ;;
        unixgram)
            local client="$WORK/client.sock"
            if [[ $at == @* ]]; then
                socat -t 0.5 - "ABSTRACT-SENDTO:${at#@},bind=polygate-ci-client-$$"
            else
                socat -t 0.5 - "UNIX-SENDTO:$at,bind=$client,unlink-close=1"
            fi
            ;;
    esac
}

config '> ' >"$WORK/polygate.toml"
start polygate.toml

printf 'every transport answers\n'
for transport in tcp udp unix unixgram; do
    equal "echo over $transport" '> Hello wörld' "$(printf 'Hello wörld\n' | ask echo "$transport")"
    equal "upper over $transport" 'HELLO 123' "$(printf 'Hello 123\n' | ask upper "$transport")"
done

printf 'a datagram socket without an address is counted, not answered\n'
printf x | socat -u - "UNIX-SENDTO:$(address echo unixgram)"
dropped() {
    curl -fsS "$ADMIN/metrics" |
        grep -q '^polygate_datagrams_dropped_total{.*reason="no_return_address".*} 1$'
}
eventually dropped

printf 'a megabyte comes back whole\n'
head -c 1000000 /dev/urandom | base64 -w0 | tr -d '/+=' | tr 'a-z' 'A-Z' >"$WORK/big"
ask upper tcp <"$WORK/big" | cmp - "$WORK/big" || fail 'a megabyte came back changed'

printf 'the admin API answers over TCP and over its Unix socket\n'
equal livez 200 "$(curl -sS -o /dev/null -w '%{http_code}' "$ADMIN/livez")"
equal readyz 200 "$(curl -sS -o /dev/null -w '%{http_code}' "$ADMIN/readyz")"
contains listeners '"name":"echo"' "$(curl -fsS "$ADMIN/api/v1/listeners")"
contains 'listeners over the Unix socket' '"name":"upper"' \
    "$(curl -fsS --unix-socket "$WORK/state/run/admin.sock" http://localhost/api/v1/listeners)"
equal 'a foreign Host' 403 \
    "$(curl -sS -o /dev/null -w '%{http_code}' -H 'Host: evil.example' "$ADMIN/api/v1/listeners")"
equal 'an unknown path' 404 "$(curl -sS -o /dev/null -w '%{http_code}' "$ADMIN/api/v1/nothing")"
exits 0 "$POLYGATE" healthcheck --ready
exits 0 "$POLYGATE" --admin "unix://$WORK/state/run/admin.sock" listeners
contains 'polygate listeners' 'unixgram://' "$OUTPUT"

printf 'a reload keeps connections and their handler\n'
mkfifo "$WORK/say"
socat - "TCP:$(address echo tcp)" <"$WORK/say" >"$WORK/heard" &
PIDS+=($!)
exec 3>"$WORK/say"
printf 'one\n' >&3
eventually grep -qx '> one' "$WORK/heard"
exits 0 "$POLYGATE" connections --listener echo --transport tcp
contains 'polygate connections' '127.0.0.1:' "$OUTPUT"
config '# ' >"$WORK/polygate.toml"
exits 0 "$POLYGATE" reload --dry-run
contains 'the dry run' 'echo' "$OUTPUT"
equal 'after the dry run' '> a' "$(printf 'a\n' | ask echo tcp)"
exits 0 "$POLYGATE" reload
equal 'after the reload' '# a' "$(printf 'a\n' | ask echo tcp)"
equal 'after the reload, over unixgram' '# a' "$(printf 'a\n' | ask echo unixgram)"
printf 'two\n' >&3
eventually grep -qx '> two' "$WORK/heard"

printf 'a wrong configuration changes nothing\n'
printf '\nnonsense = 1\n' >>"$WORK/polygate.toml"
exits 78 "$POLYGATE" reload
contains 'the refused reload' 'polygate.toml:' "$OUTPUT"
exits 78 "$POLYGATE" check "$WORK/polygate.toml"
equal 'after the refused reload' '# a' "$(printf 'a\n' | ask echo tcp)"

printf 'SIGHUP reloads\n'
config '$ ' >"$WORK/polygate.toml"
kill -HUP "$GATEWAY"
reloaded() { [[ $(printf 'a\n' | ask echo tcp) == '$ a' ]]; }
eventually reloaded

printf 'a connection can be killed\n'
id=$("$POLYGATE" connections --listener echo --transport tcp -o json | sed 's/.*"id":\([0-9]*\).*/\1/')
exits 0 "$POLYGATE" kill "$id"
exits 1 "$POLYGATE" kill "$id"
exec 3>&-

printf 'SIGTERM ends it and leaves no socket behind\n'
kill -TERM "$GATEWAY"
code=0
wait "$GATEWAY" || code=$?
equal 'the exit code' 0 "$code"
equal 'sockets left' '' "$(find "$WORK/state" -type s)"
exits 1 "$POLYGATE" healthcheck
exits 69 "$POLYGATE" listeners
