#!/usr/bin/env bash
# The image, built for real and run hardened. Where no registry can be reached the bases are stand-ins
# under their real names, made of Debian's packages and this machine's Rust toolchain: the Dockerfile is the
# one that users have, the bases are not. Needs root, docker.io and mmdebstrap; takes about ten minutes.
#
#   bash ci/slow/docker.sh            with the daemon of $DOCKER_HOST, or one of its own
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"

need docker dockerd mmdebstrap dpkg-deb curl socat jq python3
BASES=${CI_CACHE:-$HOME/.cache/polygate-ci}/docker
RUST_IMAGE=$(sed -n 's/^FROM \(rust:[^ ]*\).*/\1/p' "$ROOT/Dockerfile")
BASE_IMAGE=$(sed -n 's/^FROM \(gcr.io[^ ]*\).*/\1/p' "$ROOT/Dockerfile")
IMAGE=polygate-ci
export DOCKER_BUILDKIT=1
unset POLYGATE_ADMIN

daemon() {
    [[ -z ${DOCKER_HOST:-} ]] || return 0
    mkdir -p "$BASES"
    dockerd --data-root "$BASES/data" --exec-root "$WORK/exec" -p "$WORK/docker.pid" \
        -H "unix://$WORK/docker.sock" >"$WORK/dockerd.log" 2>&1 &
    PIDS+=($!)
    export DOCKER_HOST=unix://$WORK/docker.sock
    eventually docker info >/dev/null 2>&1
}

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
    cp -a "$toolchain/." "$root/usr/local/"
    rm -rf "$root/usr/local/share/doc" "$root"/var/lib/apt/lists/*
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

# run NAME ARGUMENT...: starts a hardened container.
CONTAINERS=()
run() {
    local name=$1
    shift
    CONTAINERS+=("$name")
    docker run --detach --name "$name" --read-only --tmpfs /var/lib/polygate:uid=65532,gid=65532 \
        --cap-drop=ALL --security-opt=no-new-privileges "$@" >/dev/null
}

remove() {
    local code=$?
    for name in "${CONTAINERS[@]}"; do
        ((code == 0)) || docker logs "$name" 2>&1 | tail -n 20 >&2 || true
        docker rm --force "$name" >/dev/null 2>&1 || true
    done
    return "$code"
}
trap 'remove || true; cleanup' EXIT

is_healthy() {
    [[ $(docker inspect --format '{{.State.Health.Status}}' "$1") == healthy ]]
}

# published NAME PORT/PROTOCOL: the port on this machine.
published() {
    docker port "$1" "$2" | sed -n 's/^0\.0\.0\.0:\([0-9]*\)$/\1/p' | head -n 1
}

# fails_with CODE TEXT ARGUMENT...: a container that must end by itself, and say why.
fails_with() {
    local code=$1 text=$2 name=polygate-ci-fails
    shift 2
    run "$name" "$@"
    equal "the exit code ($text)" "$code" "$(timeout 30 docker wait "$name")"
    contains 'the logs' "$text" "$(docker logs "$name" 2>&1)"
    docker rm "$name" >/dev/null
}

daemon
builder_base
runtime_base
docker build --quiet --network=host --tag "$IMAGE" "$ROOT" >/dev/null
printf 'image: %s bytes\n' "$(docker image inspect --format '{{.Size}}' "$IMAGE")"
docker history --format '{{.Size}}\t{{.CreatedBy}}' "$IMAGE" | cut -c 1-100
equal 'the user' 65532:65532 "$(docker image inspect --format '{{.Config.User}}' "$IMAGE")"

# As it comes.
mkdir -p "$WORK/etc"
cp "$ROOT/config/docker.toml" "$WORK/etc/polygate.toml"
NAME=polygate-ci-run
run "$NAME" -v "$WORK/etc:/etc/polygate:ro" -p 7007/tcp -p 7007/udp -p 7008/tcp -p 8080/tcp -p 9901/tcp "$IMAGE"
until_healthy=$((SECONDS + 60))
until is_healthy "$NAME"; do
    ((SECONDS < until_healthy)) || fail 'not healthy within a minute'
    sleep 0.2
done
equal 'tcp echo' hello "$(printf hello | socat -t5 - "TCP:127.0.0.1:$(published "$NAME" 7007/tcp)")"
equal 'udp echo' hello "$(printf hello | socat -t1 - "UDP:127.0.0.1:$(published "$NAME" 7007/udp)")"
equal 'upper' HELLO "$(printf hello | socat -t5 - "TCP:127.0.0.1:$(published "$NAME" 7008/tcp)")"
equal 'http' 'Hello, World' "$(curl -fsS "http://127.0.0.1:$(published "$NAME" 8080/tcp)/")"
METRICS=http://127.0.0.1:$(published "$NAME" 9901/tcp)
contains 'metrics' 'polygate_ready 1' "$(curl -fsS "$METRICS/metrics")"
equal 'the API on the metrics port' 404 "$(curl -s -o "$WORK/body" -w '%{http_code}' "$METRICS/api/v1/info")"

# Never root, with no capability at all.
PID=$(docker inspect --format '{{.State.Pid}}' "$NAME")
contains 'the user ids' $'Uid:\t65532\t65532\t65532\t65532' "$(cat "/proc/$PID/status")"
contains 'the capabilities' $'CapEff:\t0000000000000000' "$(cat "/proc/$PID/status")"

# The folder is replaced as a ConfigMap is: a new file, then SIGHUP.
sed 's/^handler = "echo"/handler = "upper"/' "$ROOT/config/docker.toml" >"$WORK/etc/new"
mv "$WORK/etc/new" "$WORK/etc/polygate.toml"
docker kill --signal HUP "$NAME" >/dev/null
is_upper() { [[ $(printf hello | socat -t5 - "TCP:127.0.0.1:$(published "$NAME" 7007/tcp)") == HELLO ]]; }
eventually is_upper
printf 'a reload by SIGHUP has been seen\n'

START=$SECONDS
docker stop --time 10 "$NAME" >/dev/null
((SECONDS - START < 10)) || fail 'the grace was not enough'
equal 'the exit code' 0 "$(docker inspect --format '{{.State.ExitCode}}' "$NAME")"

# What goes wrong is said, with the exit code of its kind.
mkdir -p "$WORK/broken" "$WORK/token"
printf '[listeners.echo]\nbind = "tcp://0.0.0.0:7007"\nhandler = "ecko"\n' >"$WORK/broken/polygate.toml"
fails_with 78 'did you mean' -v "$WORK/broken:/etc/polygate:ro" "$IMAGE"
printf '[admin]\nbind = "tcp://0.0.0.0:9900"\ntoken_file = "/run/secrets/none"\n' >"$WORK/token/polygate.toml"
fails_with 78 '/run/secrets/none' -v "$WORK/token:/etc/polygate:ro" "$IMAGE"
printf '[listeners.echo]\nbind = "unix://run/echo.sock"\nhandler = "echo"\n' >"$WORK/broken/polygate.toml"
fails_with 77 'run/echo.sock' -v "$WORK/broken:/etc/polygate:ro" --tmpfs /var/lib/polygate:mode=0555 "$IMAGE"
python3 -m http.server --bind 127.0.0.1 0 >"$WORK/server" 2>&1 &
PIDS+=($!)
eventually grep -q 'port' "$WORK/server"
TAKEN=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$WORK/server" | head -n 1)
printf 'admin.bind = "off"\n[listeners.echo]\nbind = "tcp://127.0.0.1:%s"\nhandler = "echo"\n' "$TAKEN" >"$WORK/broken/polygate.toml"
fails_with 73 "$TAKEN" -v "$WORK/broken:/etc/polygate:ro" --network host "$IMAGE"
printf 'the image does what it says\n'
