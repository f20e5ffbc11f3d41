#!/usr/bin/env bash
# A full disk: uploads to a tmpfs of 8 MiB until nothing fits. The one that does not is refused and kept as a partial,
# all others are whole, the account is exact, and with room again it goes on.
#
#   ci/slow/full_disk.sh       only root can
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=SCRIPTDIR/../lib/common.sh
source ci/lib/common.sh
need mount umount
((EUID == 0)) || fail "only root can mount"

disk=$WORK/mount
mkdir "$disk"
mount -t tmpfs -o size=8M,mode=0700 polygate-test "$disk"
trap 'umount "$disk" 2>/dev/null || true; cleanup' EXIT
POLYGATE_CRASH_FOLDER=$disk cargo test --quiet --locked --test it -- --ignored --exact storage_crash::a_full_disk_refuses_and_goes_on
