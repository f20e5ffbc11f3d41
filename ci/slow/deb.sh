#!/usr/bin/env bash
# The Debian package: made of a release program, looked at, and installed, upgraded and purged in a Debian of its own.
# Needs root and mmdebstrap; makes cargo-deb where it is missing.
#
#   bash ci/slow/deb.sh                         builds the program first
#   POLYGATE=PROGRAM bash ci/slow/deb.sh        takes that one, built for this release of Debian
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

need mmdebstrap dpkg-deb chroot systemd-analyze
VERSION=3.8.0
TOOLS=${CI_CACHE:-$HOME/.cache/polygate-ci}/cargo-deb-$VERSION
[[ -x $TOOLS/bin/cargo-deb ]] ||
    cargo install --quiet --locked --version "$VERSION" --root "$TOOLS" cargo-deb
PATH=$TOOLS/bin:$PATH

TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
if [[ -z ${POLYGATE:-} ]]; then
    (cd "$ROOT" && cargo build --release --quiet --locked --bin polygate)
    POLYGATE=$TARGET/release/polygate
elif [[ ! $POLYGATE -ef $TARGET/release/polygate ]]; then
    install -D "$POLYGATE" "$TARGET/release/polygate"
fi
mkdir -p "$TARGET/package"
"$POLYGATE" man >"$TARGET/package/polygate.1"
for shell in bash zsh fish; do
    "$POLYGATE" completions "$shell" >"$TARGET/package/polygate.$shell"
done

# package REVISION: makes $WORK/polygate-REVISION.deb.
package() {
    (cd "$ROOT" && cargo deb --quiet --no-build --deb-revision "$1" --output "$WORK/polygate-$1.deb")
}
package 1
DEB=$WORK/polygate-1.deb
printf 'package: %s bytes\n' "$(stat --format %s "$DEB")"
dpkg-deb --info "$DEB"
dpkg-deb --contents "$DEB" >"$WORK/contents"
for file in ./usr/bin/polygate ./etc/polygate/polygate.toml ./usr/lib/systemd/system/polygate.service \
    ./usr/lib/systemd/system/polygate.socket ./usr/lib/sysusers.d/polygate.conf ./usr/share/man/man1/polygate.1.gz \
    ./usr/share/bash-completion/completions/polygate ./usr/share/doc/polygate/copyright \
    ./usr/share/doc/polygate/docs/operations.md ./usr/share/polygate/dashboards/overview.json; do
    grep -qF " $file" "$WORK/contents" || fail "no $file in the package"
done
equal 'files that others may write, or that belong to somebody' '' \
    "$(grep -vE '^.{5}-..-. (0/0|root/root) ' "$WORK/contents" || true)"
equal 'the configuration files' /etc/polygate/polygate.toml "$(dpkg-deb --ctrl-tarfile "$DEB" | tar -xO ./conffiles)"

DEBIAN=$WORK/debian
# shellcheck source=/dev/null
RELEASE=$(. /etc/os-release && echo "$VERSION_CODENAME")
mmdebstrap --quiet --variant=minbase --include=systemd,init-system-helpers,man-db "$RELEASE" "$DEBIAN"
inside() {
    chroot "$DEBIAN" "$@"
}
cp "$DEB" "$DEBIAN/tmp/polygate.deb"
inside dpkg --install /tmp/polygate.deb
inside polygate --version
contains 'the user' 'polygate:x:' "$(inside getent passwd polygate)"
exits 0 inside polygate check /etc/polygate/polygate.toml
equal 'what is said of the unit' '' "$(inside systemd-analyze verify polygate.service polygate.socket 2>&1)"
contains 'the manual page' 'multi-protocol' "$(inside man --pager=cat polygate 2>/dev/null)"
exits 1 inside systemctl is-enabled polygate.service
equal 'enabled' disabled "$OUTPUT"

# What an operator has changed stays through an upgrade, and goes with a purge.
printf '# changed\n' >>"$DEBIAN/etc/polygate/polygate.toml"
package 2
cp "$WORK/polygate-2.deb" "$DEBIAN/tmp/polygate.deb"
inside dpkg --install /tmp/polygate.deb
contains 'the configuration after the upgrade' '# changed' "$(cat "$DEBIAN/etc/polygate/polygate.toml")"
mkdir -p "$DEBIAN/var/lib/polygate"
inside dpkg --remove polygate
[[ -e $DEBIAN/etc/polygate/polygate.toml && -d $DEBIAN/var/lib/polygate ]] || fail 'a removal took too much'
inside dpkg --purge polygate
[[ ! -e $DEBIAN/etc/polygate && ! -e $DEBIAN/var/lib/polygate && ! -e $DEBIAN/usr/bin/polygate ]] || fail 'a purge left something'
printf 'the package installs, upgrades and goes\n'
