#!/usr/bin/env bash
# The storage under stress, in the test binary: 64 writers at a quota of 10 MiB for 50 rounds, 200 kills at any moment
# of uploads and overwrites, 100,000 operations against somebody who swaps directories for links that lead out.
#
#   ci/slow/storage.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

POLYGATE_STRESS=1 cargo test --quiet --locked --test it -- storage:: storage_crash::a_kill --nocapture
