#!/usr/bin/env bash
# `polygate top` on a terminal (tmux) before a gateway that runs: a connection is seen and killed, a listener is paused,
# a gateway that goes away and comes back is told of, and the terminal is given back at the end.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

need tmux socat
build

# A tmux server of our own, which ends with the last of its terminals.
tm() { tmux -S "$WORK/tmux" -f /dev/null "$@"; }
screen() { tm capture-pane -p -t "$1"; }
shows() { screen top | grep -qF -- "$1"; }
hides() { ! shows "$1"; }
keys() { tm send-keys -t top "$@"; }

cat >"$WORK/polygate.toml" <<TOML
state_dir = "$WORK/state"
admin.bind = "unix://$WORK/admin.sock"
[listeners.echo]
bind = "tcp://127.0.0.1:0"
handler = "echo"
[listeners.upper]
bind = "unix://$WORK/upper.sock"
handler = "upper"
TOML

start "$WORK/polygate.toml"
export POLYGATE_ADMIN=unix://$WORK/admin.sock
# Silent for as long as nobody closes it.
tail -f /dev/null | socat - "TCP:$(address echo tcp)" &
PIDS+=($! "$(jobs -p %% | head -n 1)")

TERM=xterm-256color tm new-session -d -s top -x 100 -y 24 "env -u NO_COLOR TERM=screen-256color bash --norc --noprofile"
PIDS+=("$(tm display-message -p '#{pid}')")
keys "PS1='prompt> '; clear; echo be''fore" Enter
eventually shows before
keys "$POLYGATE top --interval 200ms" Enter
eventually shows 'polygate running'
hides before || fail 'the screen is not its own'
eventually shows 'connections 1 open'

# The connection is seen, killed after a question, and gone.
keys Tab
eventually shows 127.0.0.1:
keys k
eventually shows '(echo)? y/n'
keys n
eventually shows 'nothing is done'
keys k y
eventually shows 'is closed'
eventually hides 127.0.0.1:
eventually shows 'connections 0 open'

# A listener is found, paused and resumed.
keys Tab / uppe Enter
eventually shows '/uppe'
eventually hides echo
keys p
eventually shows 'upper is paused'
contains 'the listeners' paused "$("$POLYGATE" listeners)"
keys r
eventually shows 'upper is running'
keys Escape '?'
eventually shows 'pause, resume, drain'
keys x
eventually hides 'pause, resume, drain'
keys C-l
eventually shows 'polygate running'

# Another size.
tm resize-window -t top -x 40 -y 8
eventually shows LISTENER
tm resize-window -t top -x 100 -y 24
eventually shows ENDPOINT

# The gateway goes and comes back.
kill -TERM "$GATEWAY"
wait "$GATEWAY" || true
eventually shows 'the gateway has gone'
start "$WORK/polygate.toml"
export POLYGATE_ADMIN=unix://$WORK/admin.sock
eventually hides 'the gateway has gone'
eventually shows 'polygate running'

# The terminal is given back: what was there, a cursor, and what is typed is seen.
restored() {
    eventually shows 'prompt>'
    eventually shows before
    keys "stty -a | grep -o ' icanon'; echo ty''ped" Enter
    eventually shows ' icanon'
    eventually shows typed
    equal 'the alternate screen' 0 "$(tm display-message -p -t top '#{alternate_on}')"
    equal 'the cursor' 1 "$(tm display-message -p -t top '#{cursor_flag}')"
    keys "clear; echo be''fore" Enter
    eventually hides typed
}
keys q
restored
for signal in TERM INT HUP; do
    keys "sh -c 'echo \$\$ >$WORK/pid; exec $POLYGATE top'" Enter
    eventually shows 'polygate running'
    kill -"$signal" "$(cat "$WORK/pid")"
    restored
done
# Ctrl-Z gives it back for a while.
keys "$POLYGATE top" Enter
eventually shows 'polygate running'
keys C-z
eventually shows Stopped
keys fg Enter
eventually shows 'polygate running'
keys C-c
eventually shows 'prompt>'
keys exit Enter
printf 'top: seen, killed, paused, lost and found on a terminal\n'
