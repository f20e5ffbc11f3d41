#!/usr/bin/env bash
# The README's tour, the client's page and that for operators, command by command: what is printed must be what is
# written. They run in a copy, on the ports of the shipped configuration.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need python3 nc socat curl openssl sqlite3
build

cp -r "$ROOT/config" "$ROOT/README.md" "$WORK"
mkdir -p "$WORK/target/release"
ln -s "$POLYGATE" "$WORK/target/release/polygate"
cd "$WORK"
unset POLYGATE_CONFIG POLYGATE_ADMIN
export POLYGATE TMPDIR=$WORK PATH=$WORK/target/release:$PATH
python3 "$ROOT/ci/lib/docs.py" README.md "$ROOT/docs/client.md" "$ROOT/docs/operations.md"
