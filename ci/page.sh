#!/usr/bin/env bash
# The admin page in a real browser: every view shown, every action done and its effect looked up at the gateway; hostile
# names, many connections, tokens, a gateway that goes away. An error in the browser's console fails it.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need chromium chromedriver python3
build
POLYGATE=$POLYGATE WORK=$WORK python3 -B "$ROOT/ci/lib/page.py" "$@"
