#!/usr/bin/env bash
# The image, built for real and run hardened. Where no registry can be reached the bases are stand-ins
# under their real names, made of Debian's packages and this machine's Rust toolchain: the Dockerfile is the
# one that users have, the bases are not. Needs root, docker.io and mmdebstrap; takes about ten minutes.
#
#   bash ci/slow/docker.sh            with the daemon of $DOCKER_HOST, or one of its own
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../lib/common.sh"
source "$ROOT/ci/lib/docker.sh"

need docker dockerd mmdebstrap dpkg-deb curl socat python3

# run NAME ARGUMENT...: starts a hardened container; its state is in a volume of its own unless ARGUMENT says otherwise.
CONTAINERS=()
run() {
    local name=$1
    shift
    CONTAINERS+=("$name")
    docker run --detach --name "$name" --read-only --cap-drop=ALL --security-opt=no-new-privileges "$@" >/dev/null
}

remove() {
    local code=$?
    for name in "${CONTAINERS[@]}"; do
        if ((code)) && docker inspect "$name" >/dev/null 2>&1; then
            docker logs "$name" 2>&1 | tail -n 20 >&2 || true
        fi
        docker rm --force --volumes "$name" >/dev/null 2>&1 || true
    done
    docker volume rm "$VOLUME" "$IMAGE" >/dev/null 2>&1 || true
    return "$code"
}
VOLUME=polygate-ci-state
trap 'remove || true; end' EXIT

# fails_with CODE TEXT ARGUMENT...: a container that must end by itself, and say why.
fails_with() {
    local code=$1 text=$2 name=polygate-ci-fails
    shift 2
    run "$name" "$@"
    equal "the exit code ($text)" "$code" "$(timeout 30 docker wait "$name")"
    contains 'the logs' "$text" "$(docker logs "$name" 2>&1)"
    docker rm --volumes "$name" >/dev/null
}

image
SIZE=$(docker image inspect --format '{{.Size}}' "$IMAGE")
printf 'image: %s bytes\n' "$SIZE"
docker history --format '{{.Size}}\t{{.CreatedBy}}' "$IMAGE" | cut -c 1-100
((SIZE < 60000000)) || fail 'the image is too large'
equal 'the user' 65532:65532 "$(docker image inspect --format '{{.Config.User}}' "$IMAGE")"
equal 'the signal' SIGTERM "$(docker image inspect --format '{{.Config.StopSignal}}' "$IMAGE")"
equal 'the licences' 'MIT OR Apache-2.0' \
    "$(docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.licenses"}}' "$IMAGE")"

# As it comes, with a mounted folder for the configuration and a volume for the state.
mkdir "$WORK/etc"
cp "$ROOT/config/docker.toml" "$WORK/etc/polygate.toml"
NAME=polygate-ci-run
docker volume rm "$VOLUME" >/dev/null 2>&1 || true
up() {
    run "$NAME" -v "$WORK/etc:/etc/polygate:ro" -v "$VOLUME:/var/lib/polygate" -e POLYGATE_FTP_HOST=127.0.0.1 \
        -p 7007/tcp -p 7007/udp -p 7008/tcp -p 7008/udp -p 8080/tcp -p 2121/tcp -p 9901/tcp \
        -p 40000-40009:40000-40009/tcp "$IMAGE"
    healthy "$NAME"
}
START=$SECONDS
up
printf 'healthy after %d s\n' $((SECONDS - START))
equal 'warnings at the start' 0 "$(docker logs "$NAME" 2>&1 | grep -c '"level":"warn"' || true)"

equal 'tcp echo' hello "$(printf hello | socat -t5 - "TCP:127.0.0.1:$(published "$NAME" 7007/tcp)")"
equal 'udp echo' hello "$(printf hello | socat -t1 - "UDP:127.0.0.1:$(published "$NAME" 7007/udp)")"
equal 'tcp upper' HELLO "$(printf hello | socat -t5 - "TCP:127.0.0.1:$(published "$NAME" 7008/tcp)")"
equal 'udp upper' HELLO "$(printf hello | socat -t1 - "UDP:127.0.0.1:$(published "$NAME" 7008/udp)")"
equal 'http' 'Hello, World' "$(curl -fsS "http://127.0.0.1:$(published "$NAME" 8080/tcp)/")"
METRICS=http://127.0.0.1:$(published "$NAME" 9901/tcp)
contains 'metrics' 'polygate_ready 1' "$(curl -fsS "$METRICS/metrics")"
equal 'the API on the metrics port' 404 "$(curl -s -o "$WORK/body" -w '%{http_code}' "$METRICS/api/v1/info")"
contains 'the listeners' 'tcp://0.0.0.0:2121' "$(docker exec "$NAME" polygate listeners)"

# Files, through the published ports of data connections: EPSV, PASV by the address that the reply names, and PASV by
# the one that the client knows.
printf 'secret\n' | docker exec -i "$NAME" polygate accounts add ann >/dev/null
head -c 3000000 /dev/urandom >"$WORK/sent"
ftp() { curl -fsS --max-time 20 --user ann:secret "$@"; }
url() { printf 'ftp://127.0.0.1:%s/%s' "$(published "$NAME" 2121/tcp)" "$1"; }
ftp --upload-file "$WORK/sent" "$(url epsv)"
ftp --disable-epsv --no-ftp-skip-pasv-ip --upload-file "$WORK/sent" "$(url pasv)"
for file in epsv pasv; do
    for way in --ftp-pasv --disable-epsv '--disable-epsv --no-ftp-skip-pasv-ip'; do
        # shellcheck disable=SC2086
        ftp $way "$(url "$file")" | cmp - "$WORK/sent" || fail "$file came back otherwise ($way)"
    done
done
exits 67 curl -sS --max-time 20 --user ann:wrong "$(url epsv)"
printf 'every published port answers\n'

# Never root, with no capability at all; nothing is written but in the volume.
PID=$(docker inspect --format '{{.State.Pid}}' "$NAME")
contains 'the user ids' $'Uid:\t65532\t65532\t65532\t65532' "$(cat "/proc/$PID/status")"
contains 'the group ids' $'Gid:\t65532\t65532\t65532\t65532' "$(cat "/proc/$PID/status")"
for set in CapInh CapPrm CapEff CapBnd CapAmb; do
    contains 'the capabilities' "$set:"$'\t0000000000000000' "$(cat "/proc/$PID/status")"
done
contains 'no new privileges' $'NoNewPrivs:\t1' "$(cat "/proc/$PID/status")"
equal 'what is written to the image' '' "$(docker diff "$NAME")"

# The mounted file is replaced, then SIGHUP.
answers() { [[ $(printf hello | socat -t5 - "TCP:127.0.0.1:$(published "$NAME" 7007/tcp)") == "$1" ]]; }
sed 's/^handler = "echo"/handler = "upper"/' "$ROOT/config/docker.toml" >"$WORK/etc/new"
mv "$WORK/etc/new" "$WORK/etc/polygate.toml"
docker kill --signal HUP "$NAME" >/dev/null
eventually answers HELLO
printf 'a reload by SIGHUP has been seen\n'

# One that cannot be used changes nothing, and is told.
cp "$WORK/etc/polygate.toml" "$WORK/good"
printf '[listeners.more]\nbind = "tcp://0.0.0.0:7009"\nhandler = "ecko"\n' >>"$WORK/etc/polygate.toml"
docker kill --signal HUP "$NAME" >/dev/null
told() { docker logs "$NAME" 2>&1 | grep -qF "$1"; }
eventually told 'there is no handler `ecko`'
answers HELLO || fail 'a broken configuration was taken over'
is_healthy "$NAME" || fail 'not healthy after a broken configuration'
cp "$WORK/good" "$WORK/etc/polygate.toml"

# The folder is replaced as a ConfigMap is: files are links through a link that is swapped. First with SIGHUP, and
# with it the watch is switched on; then by the watch alone.
configmap() {
    mkdir "$WORK/etc/..$1"
    cat >"$WORK/etc/..$1/polygate.toml"
    ln -s "..$1" "$WORK/etc/..data_tmp"
    mv -T "$WORK/etc/..data_tmp" "$WORK/etc/..data"
}
{ printf 'reload.watch = true\n'; cat "$ROOT/config/docker.toml"; } | configmap one
ln -sf ..data/polygate.toml "$WORK/etc/polygate.toml"
docker kill --signal HUP "$NAME" >/dev/null
eventually answers hello
{ printf 'reload.watch = true\n'; cat "$WORK/good"; } | configmap two
rm -r "$WORK/etc/..one"
eventually answers HELLO
printf 'a ConfigMap has been taken over by SIGHUP and by the watch\n'

# A connection that stays open is given the grace, which is below the one of Docker.
ftp "$(url epsv)" >"$WORK/before"
sleep 60 | socat - "TCP:127.0.0.1:$(published "$NAME" 7007/tcp)" &
PIDS+=($!)
is_open() { docker exec "$NAME" polygate connections | grep -q ' echo '; }
eventually is_open
START=$SECONDS
docker stop --time 10 "$NAME" >/dev/null
TOOK=$((SECONDS - START))
# 137 if Docker lost patience.
equal 'the exit code' 0 "$(docker inspect --format '{{.State.ExitCode}}' "$NAME")"
contains 'the log' '"killed":1' "$(docker logs "$NAME" 2>&1 | tail -n 1)"
printf 'stopped with an open connection within %d s\n' "$TOOK"

# The state is in the volume: another container has the account and its files.
docker rm "$NAME" >/dev/null
cp --remove-destination "$ROOT/config/docker.toml" "$WORK/etc/polygate.toml"
up
ftp "$(url epsv)" | cmp - "$WORK/sent" || fail 'the files are gone'
docker stop --time 10 "$NAME" >/dev/null
docker rm "$NAME" >/dev/null
printf 'accounts and files outlive the container\n'

# What goes wrong is said, with the exit code of its kind.
mkdir -p "$WORK/broken" "$WORK/token"
printf '[listeners.echo]\nbind = "tcp://0.0.0.0:7007"\nhandler = "ecko"\n' >"$WORK/broken/polygate.toml"
fails_with 78 'did you mean' -v "$WORK/broken:/etc/polygate:ro" "$IMAGE"
printf '[admin]\nbind = "tcp://0.0.0.0:9900"\ntoken_file = "/run/secrets/none"\n' >"$WORK/token/polygate.toml"
fails_with 78 '/run/secrets/none' -v "$WORK/token:/etc/polygate:ro" "$IMAGE"
printf '[listeners.echo]\nbind = "unix://run/echo.sock"\nhandler = "echo"\n' >"$WORK/broken/polygate.toml"
fails_with 77 '/var/lib/polygate' -v "$WORK/broken:/etc/polygate:ro" --tmpfs /var/lib/polygate:mode=0555 "$IMAGE"
fails_with 77 '/var/lib/polygate' --tmpfs /var/lib/polygate:mode=0555 "$IMAGE"
python3 -u -m http.server --bind 127.0.0.1 0 >"$WORK/server" 2>&1 &
PIDS+=($!)
eventually grep -q 'port' "$WORK/server"
TAKEN=$(sed -n 's/.*port \([0-9]*\).*/\1/p' "$WORK/server" | head -n 1)
printf 'admin.bind = "off"\n[listeners.echo]\nbind = "tcp://127.0.0.1:%s"\nhandler = "echo"\n' "$TAKEN" >"$WORK/broken/polygate.toml"
fails_with 73 "$TAKEN" -v "$WORK/broken:/etc/polygate:ro" --network host "$IMAGE"
printf 'a broken configuration, a missing token, an unwritable folder and a taken port are told\n'

# The page for operators, to the letter.
cp "$ROOT/config/docker.toml" "$WORK/etc/polygate.toml"
CONTAINERS+=("$IMAGE")
(cd "$WORK" && python3 "$ROOT/ci/lib/docs.py" --only docker "$ROOT/docs/operations.md")
printf 'the image does what it says\n'
