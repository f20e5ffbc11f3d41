#!/usr/bin/env bash
# The forward handler in front of what people put behind it: PostgreSQL, redis, nginx and dnsmasq, in a network namespace of
# their own, asked by their own clients. One of two backends is killed under load: no more requests fail than it had
# connections. Needs root, for the namespace.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

POSTGRES=$(find /usr/lib/postgresql -path '*/bin/postgres' 2>/dev/null | sort -V | tail -n 1)
[[ -n $POSTGRES ]] || fail 'PostgreSQL is missing'
export PATH=$PATH:${POSTGRES%/*}
need ip setpriv initdb pgbench psql redis-server redis-cli redis-benchmark nginx dnsmasq dig curl jq openssl python3
build

SPACE=polygate-ci-$$
leave() {
    local code=$?
    ((code == 0)) || tail -n 5 "$WORK"/*.backend >&2 || true
    (exit "$code") || true
    cleanup
    ip netns del "$SPACE" 2>/dev/null || true
    exit "$code"
}
trap leave EXIT
ip netns add "$SPACE"
ip link add "pg$$" type veth peer name backends netns "$SPACE"
ip address add 10.77.0.1/30 dev "pg$$"
ip link set "pg$$" up
ip -n "$SPACE" address add 10.77.0.2/30 dev backends
ip -n "$SPACE" link set backends up
ip -n "$SPACE" link set lo up

# backend NAME COMMAND...: runs it in the namespace; its process is in $BACKEND.
backend() {
    local name=$1
    shift
    ip netns exec "$SPACE" "$@" >"$WORK/$name.backend" 2>&1 </dev/null &
    BACKEND=$!
    PIDS+=("$BACKEND")
}

chmod 711 "$WORK"
install -d -o postgres -m 700 "$WORK/pg"
AS_POSTGRES=(setpriv --reuid=postgres --regid=postgres --clear-groups)
(cd / && "${AS_POSTGRES[@]}" initdb -D "$WORK/pg" -A trust -U postgres >"$WORK/initdb" 2>&1) || fail "$(cat "$WORK/initdb")"
printf 'host all all 10.77.0.0/30 trust\n' >>"$WORK/pg/pg_hba.conf"
backend postgres "${AS_POSTGRES[@]}" postgres -D "$WORK/pg" -h 10.77.0.2 -k ''
backend redis redis-server --bind 10.77.0.2 --protected-mode no --save '' --dir "$WORK"
backend dnsmasq dnsmasq --keep-in-foreground --no-resolv --no-hosts --address=/db.test/192.0.2.7 \
    --listen-address=10.77.0.2 --bind-interfaces --user=root --pid-file="$WORK/dnsmasq.pid"
certificate "$WORK"
for n in 1 2; do
    mkdir "$WORK/nginx$n"
    cat >"$WORK/nginx$n.conf" <<CONF
daemon off;
master_process off;
pid $WORK/nginx$n/pid;
error_log stderr;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path $WORK/nginx$n/1;
    proxy_temp_path $WORK/nginx$n/2;
    fastcgi_temp_path $WORK/nginx$n/3;
    uwsgi_temp_path $WORK/nginx$n/4;
    scgi_temp_path $WORK/nginx$n/5;
    server {
        listen 10.77.0.2:808$n;
        listen 10.77.0.2:844$n ssl;
        ssl_certificate $WORK/cert.pem;
        ssl_certificate_key $WORK/key.pem;
        location / { return 200 "backend $n\n"; }
    }
}
CONF
    backend "nginx$n" nginx -c "$WORK/nginx$n.conf"
done
# Its end is no news.
disown "$BACKEND"
SECOND=$BACKEND

cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "tcp://127.0.0.1:0"
[listeners]
db = { bind = "tcp://127.0.0.1:0", handler = "db" }
cache = { bind = "unix://cache.sock", handler = "cache" }
names = { bind = "udp://127.0.0.1:0", handler = "names" }
long-names = { bind = "tcp://127.0.0.1:0", handler = "long-names" }
web = { bind = "tcp://127.0.0.1:0", handler = "web" }
passed = { bind = "tcp://127.0.0.1:0", handler = "passed" }
ended = { bind = "tcp://127.0.0.1:0", handler = "web", tls = { cert = "cert.pem", key = "key.pem" } }
again = { bind = "tcp://127.0.0.1:0", handler = "again" }
[handlers]
db = { type = "forward", upstream = "db" }
cache = { type = "forward", upstream = "cache" }
names = { type = "forward", upstream = "names" }
long-names = { type = "forward", upstream = "long-names" }
web = { type = "forward", upstream = "web" }
passed = { type = "forward", upstream = "passed" }
again = { type = "forward", upstream = "again" }
[upstreams]
db.to = ["tcp://10.77.0.2:5432"]
cache.to = ["tcp://10.77.0.2:6379"]
names.to = ["udp://10.77.0.2:53"]
long-names.to = ["tcp://10.77.0.2:53"]
passed.to = ["tcp://10.77.0.2:8441"]
again = { to = ["tcp://10.77.0.2:8441"], tls = { server_name = "localhost", ca = "cert.pem" } }
[upstreams.web]
to = ["tcp://10.77.0.2:8081", "tcp://10.77.0.2:8082"]
health = { kind = "http", interval = "200ms", timeout = "200ms", rise = 1, fall = 1 }
TOML
start polygate.toml

DB=$(address db tcp)
export PGHOST=${DB%:*} PGPORT=${DB##*:} PGUSER=postgres PGDATABASE=postgres
eventually psql -qtAc 'select 1' -o /dev/null 2>/dev/null
equal 'psql' 42 "$(psql -qtAc 'select 6 * 7')"
pgbench -q -i -s 1 2>"$WORK/pgbench"
pgbench -c 4 -T 3 >"$WORK/pgbench" 2>&1 || fail "$(cat "$WORK/pgbench")"
contains 'pgbench' 'number of failed transactions: 0 (0.000%)' "$(cat "$WORK/pgbench")"
sed -n 's/^number of transactions actually processed: /pgbench, transactions: /p' "$WORK/pgbench"

CACHE=$(address cache unix)
eventually redis-cli -s "$CACHE" ping >/dev/null
equal 'redis' OK "$(redis-cli -s "$CACHE" set greeting hello)"
equal 'redis' hello "$(redis-cli -s "$CACHE" get greeting)"
redis-benchmark -s "$CACHE" -n 20000 -c 20 -t set,get --csv >"$WORK/redis" || fail "$(cat "$WORK/redis")"
grep -c '^"[SG]ET"' "$WORK/redis" | grep -qx 2 || fail "$(cat "$WORK/redis")"

NAMES=$(address names udp)
STREAM=$(address long-names tcp)
equal 'dig' 192.0.2.7 "$(dig +short +tries=3 @"${NAMES%:*}" -p "${NAMES##*:}" db.test)"
equal 'dig over TCP' 192.0.2.7 "$(dig +short +tcp @"${STREAM%:*}" -p "${STREAM##*:}" db.test)"

TLS=(--cacert "$WORK/cert.pem" --resolve)
passed=$(address passed tcp) ended=$(address ended tcp)
contains 'curl' 'backend' "$(curl -fsS "http://$(address web tcp)/")"
equal 'TLS passed through' 'backend 1' "$(curl -fsS "${TLS[@]}" "localhost:${passed##*:}:127.0.0.1" "https://localhost:${passed##*:}/")"
contains 'TLS ended here' 'backend' "$(curl -fsS "${TLS[@]}" "localhost:${ended##*:}:127.0.0.1" "https://localhost:${ended##*:}/")"
equal 'TLS begun here' 'backend 1' "$(curl -fsS "http://$(address again tcp)/")"

python3 "$ROOT/ci/lib/killed_backend.py" "$(address web tcp)" "$ADMIN" web tcp://10.77.0.2:8082 "$SECOND"
