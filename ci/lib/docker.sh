# What the scripts with containers share: a daemon, stand-ins for the base images, and the image. To be sourced after
# common.sh. The daemon is the one of $DOCKER_HOST, or one of the script's own.
# shellcheck shell=bash

BASES=${CI_CACHE:-$HOME/.cache/polygate-ci}/docker
RUST_IMAGE=$(sed -n 's/^FROM \(rust:[^ ]*\).*/\1/p' "$ROOT/Dockerfile")
BASE_IMAGE=$(sed -n 's/^FROM \(gcr.io[^ ]*\).*/\1/p' "$ROOT/Dockerfile")
# As compose.yaml and the pages call it.
IMAGE=polygate
export DOCKER_BUILDKIT=1
unset POLYGATE_ADMIN

# A client of 23 or later builds with a plug-in that Debian has not; the one of docker.io does it by itself.
if ! docker buildx version >/dev/null 2>&1 && [[ -x /usr/bin/docker ]]; then
    mkdir "$WORK/bin"
    ln -s /usr/bin/docker "$WORK/bin/docker"
    PATH=$WORK/bin:$PATH
fi

daemon() {
    [[ -z ${DOCKER_HOST:-} ]] || return 0
    mkdir -p "$BASES"
    dockerd --data-root "$BASES/data" --exec-root "$WORK/exec" -p "$WORK/docker.pid" \
        -H "unix://$WORK/docker.sock" >"$WORK/dockerd.log" 2>&1 &
    DAEMON=$!
    export DOCKER_HOST=unix://$WORK/docker.sock
    eventually docker info >/dev/null 2>&1
}

# end: what EXIT does in place of cleanup. The daemon leaves a mount behind that nothing could be removed under.
DAEMON=
end() {
    if [[ -n $DAEMON ]]; then
        kill "$DAEMON" 2>/dev/null || true
        wait "$DAEMON" 2>/dev/null || true
        umount "$WORK"/exec/netns/* 2>/dev/null || true
    fi
    cleanup
}
trap end EXIT

has() {
    docker image inspect "$1" >/dev/null 2>&1
}

# The builder: a Debian with a C compiler, and this machine's toolchain.
builder_base() {
    has "$RUST_IMAGE" && return
    printf 'making a stand-in for %s\n' "$RUST_IMAGE"
    local root=$WORK/builder toolchain
    mmdebstrap --quiet --variant=minbase --include=gcc,g++,make,cmake,perl,libc6-dev,ca-certificates bookworm "$root"
    toolchain=$(rustc --print sysroot)
    mkdir -p "$root/usr/local/cargo/bin"
    cp -a "$toolchain/bin" "$toolchain/lib" "$toolchain/libexec" "$root/usr/local/"
    rm -rf "$root"/var/lib/apt/lists/*
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    tar -C "$root" -c . | docker import -c 'ENV CARGO_HOME=/usr/local/cargo' - "$RUST_IMAGE" >/dev/null
    rm -rf "$root"
}

# The runtime: the packages that distroless is made of, and its user.
runtime_base() {
    has "$BASE_IMAGE" && return
    printf 'making a stand-in for %s\n' "$BASE_IMAGE"
    local root=$WORK/runtime
    mkdir -p "$root" "$WORK/debs"
    (cd "$WORK/debs" && apt-get download -qq base-files netbase tzdata libc6 libgcc-s1 libstdc++6 libgomp1 gcc-12-base)
    for deb in "$WORK"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
    rm -rf "$root/usr/share/doc" "$root/usr/share/man"
    mkdir -p "$root/home/nonroot" "$root/etc/ssl/certs" "$root/tmp"
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnonroot:x:65532:\n' >"$root/etc/group"
    chown 65532:65532 "$root/home/nonroot"
    chmod 1777 "$root/tmp"
    tar -C "$root" -c . | docker import -c 'USER 65532' -c 'WORKDIR /home/nonroot' \
        -c 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' - "$BASE_IMAGE" >/dev/null
}

# image: a daemon that has the image.
image() {
    local start=$SECONDS
    daemon
    builder_base
    runtime_base
    docker build --progress=plain --network=host --tag "$IMAGE" "$ROOT" >"$WORK/build" 2>&1 ||
        fail "$(tail -n 40 "$WORK/build")"
    printf 'built in %d s\n' $((SECONDS - start))
}

is_healthy() {
    [[ $(docker inspect --format '{{.State.Health.Status}}' "$1") == healthy ]]
}

# published NAME PORT/PROTOCOL: the port on this machine.
published() {
    docker port "$1" "$2" | sed -n 's/^[0-9.]*:\([0-9]*\)$/\1/p' | head -n 1
}

# healthy NAME: waits until the image's own check says so.
healthy() {
    local until=$((SECONDS + 60))
    until is_healthy "$1"; do
        ((SECONDS < until)) || fail "$1 is not healthy within a minute"
        sleep 0.2
    done
}
