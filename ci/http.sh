#!/usr/bin/env bash
# The http handler with its users' clients: curl over HTTP/1.1, HTTP/2 and a Unix socket, nghttp and h2load.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need curl nghttp h2load
build

cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "tcp://127.0.0.1:0"
[listeners.hello]
bind = ["tcp://127.0.0.1:0", "unix://hello.sock"]
handler = "http"
TOML
start polygate.toml
URL=http://$(address hello tcp)/
HELLO='Hello, World'

for version in --http1.0 --http1.1 --http2-prior-knowledge; do
    equal "curl $version" "$HELLO" "$(curl -fsS "$version" "$URL")"
done
equal 'curl over a Unix socket' "$HELLO" "$(curl -fsS --unix-socket "$(address hello unix)" http://localhost/)"
equal 'curl with a body' 405 "$(curl -sS -o "$WORK/body" -w '%{http_code}' -d @/etc/services "$URL")"
contains 'nghttp' "$HELLO" "$(nghttp "$URL")"

for protocol in --h1 ''; do
    # shellcheck disable=SC2086
    h2load $protocol --clients=8 --requests=8000 --max-concurrent-streams=8 "$URL" >"$WORK/load"
    contains "h2load $protocol" '8000 succeeded, 0 failed, 0 errored' "$(cat "$WORK/load")"
done
METRICS=$(curl -fsS "$ADMIN/metrics")
contains 'the requests' 'polygate_http_requests_total{listener="hello",transport="tcp",method="POST",code="405"} 1' "$METRICS"
printf 'curl, nghttp and h2load are content\n'
