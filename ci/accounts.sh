#!/usr/bin/env bash
# json-ftp and its accounts with a client as the course has it: Python, one recv for one message. Accounts are made on
# the command line and over the API with curl; a file is put in two parts with a kill -9 in between, fetched and
# listed; the quota is met to the byte.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need python3 curl jq
build

cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "tcp://127.0.0.1:0"
accounts = { registration = true, quota = "1MiB" }
[listeners.drop]
bind = "tcp://127.0.0.1:0"
handler = "json-ftp"
TOML

# The client: connects, hears the welcome, and then does what its arguments say, in order.
cat >"$WORK/client.py" <<'PYTHON'
import hashlib, json, os, socket, sys

host, port = sys.argv[1].rsplit(":", 1)
s = socket.create_connection((host, int(port)), timeout=20)
assert s.recv(1024).decode() == "欢迎使用... "

def ask(**command):
    s.sendall(json.dumps(command, ensure_ascii=False).encode())
    return s.recv(1024).decode()

def content(size):
    return (hashlib.sha256(b"polygate").digest() * (size // 32 + 1))[:size]

for word in sys.argv[2:]:
    what, *rest = word.split("=")
    args = rest[0].split(",") if rest else []
    if what == "register":
        print(ask(cmd="register", username=args[0], password=args[1]))
    elif what == "login":
        print(ask(cmd="check_user", username=args[0], password=args[1]))
        owner = args[0]
    elif what == "put":  # name, size, how much of it is sent
        size, sent = int(args[1]), int(args[2])
        held = ask(cmd="put", filename=args[0], filesize=size, file_owner=owner)
        print(held)
        if held == "Invalid command...":
            continue
        begin = 0 if held == "Start" else int(held)
        s.sendall(content(size)[begin:sent])
    elif what == "get":
        size = int(ask(cmd="get", filename=args[0]))
        s.sendall(b"Start")
        data = b""
        while len(data) < size:
            data += s.recv(8192)
        print("same" if data == content(size) else "different")
    elif what == "ls":
        print(*sorted(f["name"] for f in json.loads(ask(cmd="ls"))))
    elif what == "quota":
        print(json.loads(ask(cmd="quota"))["used_bytes"])
PYTHON

client() { python3 "$WORK/client.py" "$(address drop tcp)" "$@" | paste -sd ' '; }

start "$WORK/polygate.toml"
equal 'registration' '注册成功 登陆成功 Start 700000' \
    "$(client register=ann,sesame login=ann,sesame put=a.bin,700000,700000 put=a.bin,700000,0)"
equal 'a name that is taken' '用户名已存在 密码错误 用户名不存在' "$(client register=ann,x login=ann,x login=eve,x)"
equal 'a file' 'same a.bin 700000' "$(client login=ann,sesame get=a.bin ls quota | cut -d' ' -f2-)"

# Half a file, then the end of the program: the other half goes on.
equal 'half a file' 'Start' "$(client login=ann,sesame put=b.bin,300000,150000 | cut -d' ' -f2)"
used() { curl -sS "$ADMIN/api/v1/accounts/ann" | jq .used_bytes; }
is_used() { [[ $(used) == "$1" ]]; }
eventually is_used 850000
kill -KILL "$GATEWAY"
wait "$GATEWAY" || true
start "$WORK/polygate.toml"
is_used 850000 || fail "after the kill $(used) bytes are counted"
equal 'the other half' '150000 same' "$(client login=ann,sesame put=b.bin,300000,300000 get=b.bin | cut -d' ' -f2-)"

# 1 MiB is the quota: 48,576 bytes are left.
equal 'the quota' 'Invalid command... Start 1048576' \
    "$(client login=ann,sesame put=c.bin,48577,0 put=c.bin,48576,48576 quota | cut -d' ' -f2-)"

# Operators.
printf 'p\n' | "$POLYGATE" accounts add bob --quota 1kB >/dev/null
exits 1 "$POLYGATE" accounts show eve
contains 'the list' 'bob' "$("$POLYGATE" accounts list)"
status=$(curl -sS -o "$WORK/made" -w '%{http_code}' "$ADMIN/api/v1/accounts" -H 'Content-Type: application/json' \
    -d '{"name": "cat", "password": "p", "read_only": true}')
equal 'the status of a new account' 201 "$status"
equal 'a read-only account' 'Invalid command...' "$(client login=cat,p put=a,1,0 | cut -d' ' -f2-)"
"$POLYGATE" accounts disable ann >/dev/null
equal 'a disabled account' '密码错误' "$(client login=ann,sesame)"
"$POLYGATE" accounts remove ann >/dev/null
[[ -e $WORK/state/files/.removed ]] || fail "the files of a removed account are not set aside"
