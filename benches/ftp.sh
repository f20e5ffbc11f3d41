#!/usr/bin/env bash
# FTP side by side in one run: polygate, vsftpd, Pure-FTPd and ProFTPD serve the same files in memory to the same
# client. CPU time of each server with all processes that it has waited for (utime + stime + cutime + cstime of
# /proc/PID/stat): a GiB down and up, in the clear and through TLS; a NOOP, a SIZE, and a session that logs in and
# fetches 1 KiB, where no server has a password hash worth the name to compute. Then what an idle session holds (Pss
# of all processes), and how many files of 1 MiB a second polygate takes on a disk with each durability.
# The contestants take turns; medians.
#
#   benches/ftp.sh [WHAT…]     RETR STOR RETR-TLS STOR-TLS NOOP SIZE login idle durability; default: all
#
#   ROUNDS=5                   how often
#   BASE_PORT=17900            the first of the ports
#   DISK=/var/tmp              a folder on a disk
#   PROFTPD_MODULES=/usr/lib/proftpd   where ProFTPD's modules are
set -euo pipefail
shopt -s inherit_errexit
# shellcheck source=SCRIPTDIR/lib.sh
source "$(dirname "$0")/lib.sh"

need taskset util-linux
need python3 python3
need openssl openssl
need pgrep procps
need vsftpd vsftpd
need pure-ftpd pure-ftpd
need pure-pw pure-ftpd
need proftpd proftpd-core
modules=${PROFTPD_MODULES:-/usr/lib/proftpd}
[ -e "$modules/mod_tls.so" ] || die "$modules/mod_tls.so is missing (Debian: proftpd-mod-crypto); PROFTPD_MODULES names its folder"
[ "$(id -u)" = 0 ] || die "the peers change their root folder: run it as root"
[ "$(nproc)" -ge 2 ] || die "the servers and the client need a CPU each"
whats=("$@")
[ $# -gt 0 ] || whats=(RETR STOR RETR-TLS STOR-TLS NOOP SIZE login idle durability)
# The last two have tables of their own.
cpu=() idle="" durability=""
for what in "${whats[@]}"; do
    case $what in
        RETR | STOR | RETR-TLS | STOR-TLS | NOOP | SIZE | login) cpu+=("$what") ;;
        idle) idle=yes ;;
        durability) durability=yes ;;
        *) die "unknown: $what" ;;
    esac
done
rounds=${ROUNDS:-5}
base=${BASE_PORT:-17900}
GIB=$((1 << 30))
servers=(polygate vsftpd pure-ftpd proftpd)
declare -A ports=([polygate]=$base [vsftpd]=$((base + 1)) [pure-ftpd]=$((base + 2)) [proftpd]=$((base + 3))) pids=()
# Who logs in to fetch, and who to bring something.
declare -A guest=([polygate]=ftp [vsftpd]=ftp [pure-ftpd]=joe [proftpd]=joe)
declare -A writer=([polygate]=joe [vsftpd]=ftp [pure-ftpd]=joe [proftpd]=joe)
build

# One folder in memory for all: `pub` is read, `up` is written.
memory=$(mktemp -d /dev/shm/polygate-ftp.XXXXXX)
disk=$(mktemp -d "${DISK:-/var/tmp}/polygate-ftp.XXXXXX")
remove_folders() { clean_up; rm -rf "$memory" "$disk"; }
trap remove_folders EXIT
chmod 755 "$memory" "$scratch"
mkdir -p "$memory/polygate/pub" "$memory/pub/up" "$memory/empty"
head -c "$GIB" /dev/urandom >"$memory/pub/big"
head -c 1024 /dev/urandom >"$memory/pub/small"
ln "$memory/pub/big" "$memory/pub/small" "$memory/polygate/pub/"
chmod 777 "$memory/pub/up"
chmod 755 "$memory/pub" "$memory/polygate/pub"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$scratch/key.pem" -out "$scratch/cert.pem" 2>/dev/null
cat "$scratch/key.pem" "$scratch/cert.pem" >"$scratch/both.pem"
# The cheapest hash that crypt(3) knows, so that what is measured is the server.
hash=$(python3 -W ignore -c 'import crypt; print(crypt.crypt("secret", "ab"))')

# gateway_config NAME DURABILITY STATE PORT
gateway_config() {
    cat >"$scratch/$1.toml" <<END
state_dir = "$3"
[runtime]
workers = 1
[admin]
bind = "tcp://127.0.0.1:$(($4 + 10))"
[accounts]
registration = true
quota = "1TiB"
durability = "$2"
[listeners.files]
bind = "tcp://127.0.0.1:$4"
handler = "ftp"
timeouts = { idle = "10m" }
tls = { cert = "$scratch/cert.pem", key = "$scratch/key.pem" }
[handlers.ftp]
type = "ftp"
anonymous = { root = "pub" }
END
}
gateway_config polygate none "$memory/polygate" "$base"
start_gateway "$scratch/polygate.toml" taskset -c 0
pids[polygate]=$pid
register() { printf 'SITE REGISTER joe secret\r\nQUIT\r\n' | timeout 10 "$polygate" connect "tcp://127.0.0.1:$1" >/dev/null; }

# Waits for all that the peer leaves behind (PR_SET_CHILD_SUBREAPER): of vsftpd's processes for a session the one that
# does the work is waited for by nobody else. SIGTERM ends the peer, and the reaper after it.
cat >"$scratch/reaper.py" <<'END'
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(36, 1)
child = os.spawnvp(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
while os.wait()[0] != child:
    pass
END
reaper=(python3 "$scratch/reaper.py")

cat >"$scratch/vsftpd.conf" <<END
listen=YES
listen_port=${ports[vsftpd]}
listen_address=127.0.0.1
background=NO
anonymous_enable=YES
local_enable=NO
no_anon_password=YES
anon_root=$memory/pub
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
ftp_username=daemon
nopriv_user=nobody
secure_chroot_dir=$memory/empty
xferlog_enable=NO
max_per_ip=0
max_clients=0
ssl_enable=YES
allow_anon_ssl=YES
force_local_logins_ssl=NO
force_local_data_ssl=NO
force_anon_logins_ssl=NO
force_anon_data_ssl=NO
require_ssl_reuse=NO
ssl_ciphers=HIGH
ssl_tlsv1=YES
rsa_cert_file=$scratch/cert.pem
rsa_private_key_file=$scratch/key.pem
END
start vsftpd taskset -c 0 "${reaper[@]}" vsftpd "$scratch/vsftpd.conf"
pids[vsftpd]=$pid

echo "joe:$hash:65534:65534::$memory/pub/./::::::::::::" >"$scratch/passwd.pure"
pure-pw mkdb "$scratch/pure.pdb" -f "$scratch/passwd.pure" >/dev/null
start pure-ftpd taskset -c 0 "${reaper[@]}" pure-ftpd -S "127.0.0.1,${ports[pure-ftpd]}" -l "puredb:$scratch/pure.pdb" -c 1000 -C 1000 \
    -u 1 -E -H -Y 1 -2 "$scratch/both.pem" -g "$scratch/pure.pid"
pids[pure-ftpd]=$pid

echo "joe:$hash:65534:65534::$memory/pub:/bin/sh" >"$scratch/passwd.pro"
chmod 600 "$scratch/passwd.pro"
cat >"$scratch/proftpd.conf" <<END
ModulePath $modules
LoadModule mod_tls.c
ServerName bench
ServerType standalone
DefaultServer on
DefaultAddress 127.0.0.1
SocketBindTight on
Port ${ports[proftpd]}
UseIPv6 off
User nobody
Group nogroup
ScoreboardFile $scratch/proftpd.scoreboard
PidFile $scratch/proftpd.pid
DelayTable none
DelayEngine off
SystemLog none
TransferLog none
WtmpLog off
AuthOrder mod_auth_file.c
AuthUserFile $scratch/passwd.pro
RequireValidShell off
AllowOverwrite on
MaxInstances none
TimesGMT on
TLSEngine on
TLSRSACertificateFile $scratch/cert.pem
TLSRSACertificateKeyFile $scratch/key.pem
TLSRequired off
TLSOptions NoSessionReuseRequired
END
start proftpd taskset -c 0 "${reaper[@]}" proftpd -n -q -c "$scratch/proftpd.conf"
pids[proftpd]=$pid
for name in "${servers[@]}"; do until_open "${ports[$name]}"; done
register "$base"

client() { taskset -c 1 timeout 600 python3 "$(dirname "$0")/ftp.py" "$@"; }

# The writer's path of a file: peers share a folder, polygate has one an account.
path_of() { if [ "$1" = polygate ]; then echo "$2"; else echo "up/$1-$2"; fi; }

# How often each is done in a round, and what the figures are in.
declare -A times=([RETR]=4 [STOR]=4 [RETR-TLS]=1 [STOR-TLS]=1 [NOOP]=50000 [SIZE]=50000 [login]=300)
declare -A unit=([RETR]=s/GiB [STOR]=s/GiB [RETR-TLS]=s/GiB [STOR-TLS]=s/GiB [NOOP]=µs [SIZE]=µs [login]=µs)

# run NAME WHAT
run() {
    local port=${ports[$1]} user=${guest[$1]} n=times=${times[$2]} tls=0
    case $2 in *-TLS) tls=1 ;; esac
    case $2 in
        RETR*) client "$port" "$user" get "$n" tls=$tls path=big size=$GIB ;;
        STOR*) client "$port" "${writer[$1]}" put "$n" tls=$tls path="$(path_of "$1" big)" size=$GIB ;;
        NOOP) client "$port" "$user" ask "$n" line=NOOP ;;
        SIZE) client "$port" "$user" ask "$n" line="SIZE small" ;;
        login) client "$port" "$user" logins "$n" path=small size=1024 ;;
    esac
}

machine
tick=$(getconf CLK_TCK)
[ ${#cpu[@]} = 0 ] || printf '\nServer CPU time; medians of %d rounds\n\n| what | polygate | vsftpd | Pure-FTPd | ProFTPD | polygate to the best |\n|---|---:|---:|---:|---:|---:|\n' "$rounds"
for what in "${cpu[@]}"; do
    for ((round = 0; round < rounds; round++)); do
        for name in "${servers[@]}"; do
            before=$(cpu_ticks "${pids[$name]}")
            run "$name" "$what"
            # The last process ends, and is waited for.
            sleep 0.3
            echo "$name ${times[$what]} $(($(cpu_ticks "${pids[$name]}") - before))" >>"$scratch/$what"
        done
    done
    row=() best=
    for name in "${servers[@]}"; do
        value=$(awk -v per="$(median "$scratch/$what" "$name" 3 2)" -v tick="$tick" -v unit="${unit[$what]}" \
            'BEGIN { printf unit == "µs" ? "%.2f" : "%.3f", per / tick * (unit == "µs" ? 1e6 : 1) }')
        row+=("$value")
        if [ "$name" != polygate ]; then best=$(printf '%s\n' "$value" ${best:+"$best"} | sort -g | head -n 1); fi
    done
    awk -v what="$what, ${unit[$what]}" -v best="$best" -v row="${row[*]}" 'BEGIN {
        split(row, of, " ")
        printf "| %s | %s | %s | %s | %s | %.2f |\n", what, of[1], of[2], of[3], of[4], of[1] / best
    }'
done

# pss PID: of the process and its descendants, in KiB.
pss() {
    local one
    for one in "$1" $(descendants "$1"); do awk '$1 == "Pss:" { print $2 }' "/proc/$one/smaps_rollup"; done |
        awk '{ sum += $1 } END { print sum }'
}
descendants() {
    local one
    for one in $(pgrep -P "$1"); do echo "$one"; descendants "$one"; done
}

if [ -n "$idle" ]; then
    printf '\nAn idle session that has logged in, KiB of Pss\n\n| server | sessions | KiB each |\n|---|---:|---:|\n'
    for name in "${servers[@]}"; do
        sessions=50
        [ "$name" != polygate ] || sessions=1000
        before=$(pss "${pids[$name]}")
        coproc IDLE { client "${ports[$name]}" "${guest[$name]}" idle times="$sessions"; }
        # shellcheck disable=SC2153
        idle_pid=$IDLE_PID out=${IDLE[0]} in=${IDLE[1]}
        read -r -t 60 <&"$out" || die "the sessions of $name did not come"
        sleep 1
        after=$(pss "${pids[$name]}")
        exec {in}>&-
        wait "$idle_pid"
        awk -v name="$name" -v n="$sessions" -v kib=$((after - before)) 'BEGIN { printf "| %s | %d | %.1f |\n", name, n, kib / n }'
    done
fi

if [ -n "$durability" ]; then
    sessions=8 files=25
    printf '\nFiles of 1 MiB on a disk, %d sessions at once, files a second; medians of %d rounds\n\n' "$sessions" "$rounds"
    port=$((base + 4))
    for level in none rename acked; do
        gateway_config "$level" "$level" "$disk/$level" "$port"
        start_gateway "$scratch/$level.toml" taskset -c 0
        pids[$level]=$pid ports[$level]=$port
        register "$port"
        port=$((port + 1))
        : >"$scratch/polygate.out"
    done
    for ((round = 0; round < rounds; round++)); do
        for level in none rename acked; do
            # What others have left to be written is not this one's work.
            sync
            before=$(date +%s%N)
            client "${ports[$level]}" joe puts sessions=$sessions times=$files size=$((1 << 20)) path="$round"
            echo "$level $(($(date +%s%N) - before)) $((sessions * files))000000000" >>"$scratch/durability"
        done
    done
    printf '| durability | files a second |\n|---|---:|\n'
    for level in none rename acked; do
        printf '| %s | %.0f |\n' "$level" "$(median "$scratch/durability" "$level" 3 2)"
    done
    awk -v a="$(median "$scratch/durability" acked 3 2)" -v b="$(median "$scratch/durability" rename 3 2)" \
        'BEGIN { printf "\nacked to rename: %.2f\n", a / b }'
fi
