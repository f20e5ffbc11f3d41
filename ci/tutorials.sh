#!/usr/bin/env bash
# The tutorials' servers in Python and polygate on config/examples, side by side: one client plays against both, and
# what each recv returns must be the same, byte for byte.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need python3
build
cd "$WORK"
unset POLYGATE_CONFIG POLYGATE_ADMIN
python3 "$ROOT/ci/lib/tutorials.py" "$POLYGATE" "$ROOT/config/examples"
