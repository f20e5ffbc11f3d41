#!/usr/bin/env bash
# FTP with the clients that people use: curl, lftp, rclone, Python's ftplib, tnftp, ncftp, wget. Files go up and come
# down, whole and resumed, passive and active, over IPv4 and IPv6; directories are mirrored both ways.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need curl lftp rclone python3 tnftp ncftpput ncftpget wget
build
export HOME=$WORK

cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "tcp://127.0.0.1:0"
[listeners.ftp]
bind = ["tcp://127.0.0.1:0", "tcp://[::1]:0"]
handler = "files"
[handlers.files]
type = "ftp"
active = true
anonymous = { root = "pub" }
TOML
start "$WORK/polygate.toml"
printf 'geheim\n' | "$POLYGATE" accounts add ann >/dev/null
AT=$(address ftp tcp)
PORT=${AT##*:}
SIX=$(sed -n 's|^listening ftp tcp://\[::1\]:||p' "$WORK/out")
FILES=$WORK/state/files/ann
URL=ftp://ann:geheim@$AT

mkdir -p "$WORK/up/deep/er"
head -c 5000000 /dev/urandom >"$WORK/up/big"
printf 'one\ntwo\n' >"$WORK/up/text"
printf x >"$WORK/up/deep/er/grün 1"
for n in {1..30}; do printf '%s' "$n" >"$WORK/up/deep/$n"; done

same() { cmp "$1" "$2" || fail "$3: $1 and $2 differ"; }

# --- curl
curl -sS -T "$WORK/up/big" "$URL/c1"
same "$WORK/up/big" "$FILES/c1" "curl up"
curl -sS "$URL/c1" -o "$WORK/c1"
same "$WORK/up/big" "$WORK/c1" "curl down"
head -c 1000000 "$WORK/up/big" >"$WORK/part"
curl -sS -C - "$URL/c1" -o "$WORK/part"
same "$WORK/up/big" "$WORK/part" "curl down, resumed"
curl -sS -P - "$URL/c1" -o "$WORK/c2"
same "$WORK/up/big" "$WORK/c2" "curl down, active"
curl -sS -P - --disable-eprt -T "$WORK/up/big" "$URL/c3"
same "$WORK/up/big" "$FILES/c3" "curl up, active with PORT"
curl -sS -g "ftp://ann:geheim@[::1]:$SIX/c1" -o "$WORK/c4"
same "$WORK/up/big" "$WORK/c4" "curl down, IPv6"
curl -sS --disable-epsv "$URL/c1" -o "$WORK/c5"
same "$WORK/up/big" "$WORK/c5" "curl down, PASV"
# An upload that is cut leaves a partial, which curl goes on with.
curl -sS --limit-rate 1M --max-time 1 -T "$WORK/up/big" "$URL/c6" 2>/dev/null && fail "the upload was to be cut"
[[ ! -e $FILES/c6 ]] || fail "a cut upload is shown as a file"
eventually test -e "$FILES/.polygate-~c6.partial"
curl -sS -C - -T "$WORK/up/big" "$URL/c6"
same "$WORK/up/big" "$FILES/c6" "curl up, resumed"
curl -sS -a -T "$WORK/up/text" "$URL/t"
curl -sS -a -T "$WORK/up/text" "$URL/t"
equal "curl, appended" "$(cat "$WORK/up/text" "$WORK/up/text")" "$(cat "$FILES/t")"
curl -sS -Q 'DELE t' "$URL/" >/dev/null
curl -sS --ftp-create-dirs -T "$WORK/up/text" "$URL/made/here/t"
same "$WORK/up/text" "$FILES/made/here/t" "curl, directories made"
contains "curl, anonymous" "README" "$(curl -sS "ftp://$AT/")"
equal "curl, refused" 67 "$(curl -sS "ftp://ann:wrong@$AT/" >/dev/null 2>&1; echo $?)"

# --- lftp: mirrors with eight at once, both ways
lftp -e "set ftp:ssl-allow no; mirror -R -P8 $WORK/up /l; bye" "$URL" >/dev/null
diff -r "$WORK/up" "$FILES/l" || fail "lftp mirror -R"
lftp -e "set ftp:ssl-allow no; mirror -P8 /l $WORK/l; bye" "$URL" >/dev/null
diff -r "$WORK/up" "$WORK/l" || fail "lftp mirror"
head -c 2000000 "$WORK/up/big" >"$WORK/half"
lftp -e "set ftp:ssl-allow no; get -c c1 -o $WORK/half; mv c1 c7; rm c3; bye" "$URL" >/dev/null
same "$WORK/up/big" "$WORK/half" "lftp get -c"
[[ -e $FILES/c7 && ! -e $FILES/c3 ]] || fail "lftp mv, rm"

# --- rclone: copies and compares every byte
RCLONE=":ftp,host=127.0.0.1,port=$PORT,user=ann,pass=$(rclone obscure geheim):"
rclone -q copy "$WORK/up" "${RCLONE}r"
rclone -q check --download "$WORK/up" "${RCLONE}r"
rclone -q copy "${RCLONE}r" "$WORK/r"
diff -r "$WORK/up" "$WORK/r" || fail "rclone copy"
rclone -q purge "${RCLONE}r"
[[ ! -e $FILES/r ]] || fail "rclone purge"

# --- ftplib
python3 - "$PORT" "$WORK/up/big" <<'PYTHON'
import ftplib, io, sys

f = ftplib.FTP()
f.connect("127.0.0.1", int(sys.argv[1]), timeout=20)
f.login("ann", "geheim")
data = open(sys.argv[2], "rb").read()
f.storbinary("STOR p", io.BytesIO(data))
for passive in (True, False):
    f.set_pasv(passive)
    got = io.BytesIO()
    f.retrbinary("RETR p", got.write, rest=1000)
    assert got.getvalue() == data[1000:]
assert ("p", str(len(data))) in [(n, d.get("size")) for n, d in f.mlsd()]
f.storlines("STOR lines", io.BytesIO(b"a\nb\n"))
lines = []
f.retrlines("RETR lines", lines.append)
assert lines == ["a", "b"], lines
f.mkd("q")
f.rename("p", "q/p")
assert f.nlst("q") == ["q/p"]
f.delete("q/p")
f.rmd("q")
# ABOR while a file comes down, then the session goes on.
f.storbinary("STOR p", io.BytesIO(data * 20))
down = f.transfercmd("RETR p")
down.recv(1000)
assert f.abort().startswith("426")
assert f.voidresp().startswith("226")
down.close()
assert f.voidcmd("NOOP").startswith("200")
f.quit()
PYTHON

# --- tnftp, ncftp, wget
printf 'machine 127.0.0.1 login ann password geheim\n' >"$WORK/.netrc"
chmod 600 "$WORK/.netrc"
(cd "$WORK" && tnftp -V 127.0.0.1 "$PORT" >/dev/null <<'FTP'
binary
put up/big n1
get n1 n1
prompt
mget l/deep/1*
quit
FTP
) || true
same "$WORK/up/big" "$FILES/n1" "tnftp put"
same "$WORK/up/big" "$WORK/n1" "tnftp get"
ncftpput -V -m -u ann -p geheim -P "$PORT" -R 127.0.0.1 /ncftp "$WORK/up" >/dev/null
diff -r "$WORK/up" "$FILES/ncftp/up" || fail "ncftpput -R"
ncftpget -V -u ann -p geheim -P "$PORT" -R 127.0.0.1 "$WORK/ncftp" /ncftp/up >/dev/null
diff -r "$WORK/up" "$WORK/ncftp/up" || fail "ncftpget -R"
wget -q -r -nH -P "$WORK/w" "$URL/l/"
diff -r "$WORK/up" "$WORK/w/l" || fail "wget -r"

# --- nothing was left behind, and the account is exact
equal "temporary files" "" "$(find "$WORK/state/files" -name '.polygate-*')"
used=$(find "$FILES" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
equal "used" "$used" "$("$POLYGATE" accounts show ann -o json | jq .used_bytes)"
equal "transfers under way" 0 "$(curl -sS "$ADMIN/metrics" |
    awk '/^polygate_ftp_transfers_active/ { n += $2 } END { print n }')"
