#!/usr/bin/env bash
# Power cuts. Uploads and overwrites without end go to an ext4 on a loop device, which is switched off under them
# without its log flushed (FS_IOC_SHUTDOWN, EXT4_GOING_FLAGS_NOLOGFLUSH: what was not on the disk is lost, as when
# the power fails). After a mount that replays the log every version that was acknowledged must be there, whole.
#
#   ci/slow/powercut.sh        only root can
#
#   ROUNDS=20
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=SCRIPTDIR/../lib/common.sh
source ci/lib/common.sh
need mkfs.ext4 mount umount python3
((EUID == 0)) || fail "only root can mount"
rounds=${ROUNDS:-20}

# The test binary, as cargo names it.
it=${IT:-}; [[ -n $it ]] || it=$(cargo test --quiet --locked --test it --no-run --message-format=json |
    python3 -c 'import json, sys
for line in sys.stdin:
    item = json.loads(line) if line.startswith("{") else {}
    if item.get("target", {}).get("name") == "it" and item.get("executable"): print(item["executable"])')
[[ -x $it ]] || fail "the test binary is not there"

disk=$WORK/mount
mkdir "$disk"
off() { umount "$disk" 2>/dev/null || umount -l "$disk" 2>/dev/null || true; }
trap 'off; cleanup' EXIT

# Switches the file system off as the power does.
cut_power() {
    python3 -c 'import fcntl, os, struct, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
fcntl.ioctl(folder, 0x8004587D, struct.pack("I", 2))' "$disk"
}

acked=0
# Round 0 is the control: nothing is synced, and so something must be lost, or the cut is none.
for ((round = 0; round <= rounds; round++)); do
    truncate -s 512M "$WORK/disk"
    mkfs.ext4 -q -F "$WORK/disk"
    mount -o loop "$WORK/disk" "$disk"
    mkdir "$disk/home"
    control=()
    ((round)) || control=(POLYGATE_CRASH_UNSAFE=1)
    env "${control[@]}" POLYGATE_CRASH_FOLDER="$disk/home" "$it" --ignored --exact --nocapture storage_crash::upload_without_end \
        >"$WORK/acked" 2>/dev/null &
    child=$!
    # Some uploads at least, then a moment more that differs from round to round.
    for ((i = 0; i < 600; i++)); do
        (($(grep -c ^acked "$WORK/acked" || true) < 40 + round)) || break
        sleep 0.1
    done
    sleep "0.$((round * 37 % 100 + 100))"
    cut_power
    kill -KILL "$child" 2>/dev/null || true
    wait "$child" 2>/dev/null || true
    umount "$disk"
    mount -o loop "$WORK/disk" "$disk"
    whole=yes
    POLYGATE_CRASH_FOLDER=$disk/home POLYGATE_CRASH_ACKED=$WORK/acked \
        "$it" --ignored --exact storage_crash::what_was_acknowledged_is_whole >"$WORK/log" 2>&1 || whole=
    if ((round == 0)); then
        [[ -z $whole ]] || fail "nothing was lost without a sync: this is no power cut"
        umount "$disk"
        continue
    fi
    [[ -n $whole ]] || fail "round $round: an acknowledged upload is lost or torn"
    n=$(grep -c ^acked "$WORK/acked" || true)
    ((n > 0)) || fail "round $round: nothing was acknowledged"
    acked=$((acked + n))
    umount "$disk"
    rm "$WORK/disk"
done
printf '%d power cuts, %d acknowledged uploads, each whole\n' "$rounds" "$acked"
