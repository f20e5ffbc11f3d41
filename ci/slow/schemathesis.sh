#!/usr/bin/env bash
# The admin API asked all that its OpenAPI document allows, and much that it does not, by schemathesis: each answer has
# a status, a type and a body that the document promises, and nothing is a fault of the server.
#
#   ci/slow/schemathesis.sh
#
#   SECONDS_LONG=120   how long; SCHEMATHESIS names the program, which is installed into a scratch folder otherwise
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

need curl jq python3
build
if [[ -z ${SCHEMATHESIS:-} ]]; then
    python3 -m venv "$WORK/venv"
    "$WORK/venv/bin/pip" install --quiet schemathesis==4.32.5
    SCHEMATHESIS=$WORK/venv/bin/schemathesis
fi

TOKEN=$("$POLYGATE" --version | sha256sum | cut -d ' ' -f 1)
cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
[admin]
bind = "tcp://127.0.0.1:0"
open = []
tokens.ci = { role = "admin", sha256 = "$(printf %s "$TOKEN" | sha256sum | cut -d ' ' -f 1)" }
[listeners.echo]
bind = ["tcp://127.0.0.1:0", "udp://127.0.0.1:0"]
handler = "echo"
[listeners.files]
bind = "tcp://127.0.0.1:0"
handler = "ftp"
[listeners.talk]
bind = "tcp://127.0.0.1:0"
handler = "console"
[listeners.carry]
bind = "tcp://127.0.0.1:0"
handler = "carry"
[handlers.carry]
type = "forward"
upstream = "backends"
[upstreams.backends]
to = ["tcp://127.0.0.1:9", "tcp://127.0.0.1:10"]
TOML
start polygate.toml
SCHEMATHESIS_HOOKS=schemathesis_toml PYTHONPATH=$ROOT/ci/lib "$SCHEMATHESIS" --config-file "$ROOT/ci/slow/schemathesis.toml" run "$ADMIN/api/v1/openapi.json" \
    --header "Authorization: Bearer $TOKEN" --phases coverage,fuzzing --exclude-checks ignored_auth \
    --request-timeout 10 --max-time "${SECONDS_LONG:-120}" --continue-on-failure --no-color >"$WORK/report" || {
    cat "$WORK/report"
    fail 'schemathesis found something'
}
sed -n '/^=* SUMMARY/,$p' "$WORK/report"
equal 'it is still there' ok "$(curl -fsS -H "Authorization: Bearer $TOKEN" "$ADMIN/livez")"
