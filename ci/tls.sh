#!/usr/bin/env bash
# TLS with the clients that people use: curl and openssl at an HTTP listener, curl, lftp and Python's ftplib at FTP with
# explicit and implicit TLS, and curl with a PROXY header.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need curl openssl lftp python3
build
export HOME=$WORK

certificate "$WORK"

cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
[admin]
bind = "tcp://127.0.0.1:0"
tls = { cert = "cert.pem", key = "key.pem" }
[accounts]
registration = true
[listeners.web]
bind = "tcp://127.0.0.1:0"
handler = "http"
tls = { cert = "cert.pem", key = "key.pem" }
[listeners.behind]
bind = "tcp://127.0.0.1:0"
handler = "http"
proxy_protocol = { from = ["127.0.0.0/8"] }
[listeners.ftp]
bind = "tcp://127.0.0.1:0"
handler = "explicit"
tls = { cert = "cert.pem", key = "key.pem" }
[listeners.ftps]
bind = "tcp://127.0.0.1:0"
handler = "implicit"
tls = { cert = "cert.pem", key = "key.pem" }
[handlers.explicit]
type = "ftp"
tls = "required"
[handlers.implicit]
type = "ftp"
tls = "implicit"
TOML
start "$WORK/polygate.toml"
ADMIN=$(sed -n 's/^admin //p' "$WORK/out")
contains "the admin API" "https://" "$ADMIN"
TRUST=(--cacert "$WORK/cert.pem")
WEB=$(address web tcp)

# --- HTTP
equal "HTTP/1.1" "Hello, World 1.1" "$(curl -sS "${TRUST[@]}" --http1.1 -w '%{http_version}' "https://$WEB/" | tr '\n' ' ')"
equal "HTTP/2" "Hello, World 2" "$(curl -sS "${TRUST[@]}" --http2 -w '%{http_version}' "https://$WEB/" | tr '\n' ' ')"
for version in tls1_2 tls1_3; do
    contains "$version" "Verify return code: 0" "$(openssl s_client -connect "$WEB" -CAfile "$WORK/cert.pem" -$version </dev/null 2>&1)"
done
openssl s_client -connect "$WEB" -tls1_1 -cipher ALL:@SECLEVEL=0 </dev/null >/dev/null 2>&1 && fail "TLS 1.1 is spoken"
curl -sS --max-time 5 "http://$WEB/" >/dev/null 2>&1 && fail "HTTP in the clear at a TLS port"
equal "the admin API" "ok" "$(curl -sS "${TRUST[@]}" "$ADMIN/livez" | head -c 2)"
"$POLYGATE" --admin "$ADMIN" --ca "$WORK/cert.pem" listeners >/dev/null
equal "a PROXY header" "Hello, World" "$(curl -sS --haproxy-protocol "http://$(address behind tcp)/")"
curl -sS --max-time 5 "http://$(address behind tcp)/" >/dev/null 2>&1 && fail "served without a PROXY header"

# --- FTP
head -c 3000000 /dev/urandom >"$WORK/big"
mkdir "$WORK/tree"
for n in {1..20}; do head -c $((n * 1000)) /dev/urandom >"$WORK/tree/$n"; done
FTP=$(address ftp tcp)
FTPS=$(address ftps tcp)
python3 - "${FTP##*:}" "$WORK/cert.pem" "$WORK/big" <<'PYTHON'
import ftplib, io, ssl, sys

f = ftplib.FTP_TLS(context=ssl.create_default_context(cafile=sys.argv[2]))
f.connect("localhost", int(sys.argv[1]), timeout=20)
f.auth()
f.sendcmd("SITE REGISTER ann geheim")
f.login("ann", "geheim")
f.prot_p()
data = open(sys.argv[3], "rb").read()
assert f.storbinary("STOR py", io.BytesIO(data)).startswith("226")
got = io.BytesIO()
f.retrbinary("RETR py", got.write)
assert got.getvalue() == data
assert f.nlst() == ["py"]
f.quit()
PYTHON
curl -sS "${TRUST[@]}" --ssl-reqd -T "$WORK/big" "ftp://ann:geheim@$FTP/c1"
curl -sS "${TRUST[@]}" --ssl-reqd "ftp://ann:geheim@$FTP/c1" | cmp - "$WORK/big" || fail "curl, explicit"
curl -sS "${TRUST[@]}" -T "$WORK/big" "ftps://ann:geheim@$FTPS/c2"
curl -sS "${TRUST[@]}" "ftps://ann:geheim@$FTPS/c2" | cmp - "$WORK/big" || fail "curl, implicit"
curl -sS "ftp://ann:geheim@$FTP/c1" >/dev/null 2>&1 && fail "a login in the clear"
lftp -e "set ssl:ca-file $WORK/cert.pem; set ftp:ssl-force yes; set ftp:ssl-protect-data yes; mirror -R -P4 $WORK/tree /tree; mirror -P4 /tree $WORK/back; bye" \
    "ftp://ann:geheim@$FTP" >/dev/null
diff -r "$WORK/tree" "$WORK/back" || fail "lftp through TLS"
contains "handshakes" "version=\"1.3\"" "$(curl -sS "${TRUST[@]}" "$ADMIN/metrics" | grep '^polygate_tls_handshakes_total{listener="ftp".*1\.3')"
