# What the long runs of reloads share; to be sourced, with what benches/lib.sh gives. Needs `$gateway` (its process), `$admin`
# (its API), `$reloads` (how many), and the two configurations `a.toml` and `b.toml` in `$scratch`.
# shellcheck shell=bash

# shellcheck source=SCRIPTDIR/../../benches/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../benches/lib.sh"

# Every reload is asked for through the admin API and must have been applied; every tenth, SIGHUP asks too.
reload_all() {
    local number answer before
    for ((number = 1; number <= reloads; number++)); do
        if ((number % 2)); then cp "$scratch/b.toml" "$scratch/next"; else cp "$scratch/a.toml" "$scratch/next"; fi
        mv "$scratch/next" "$scratch/polygate.toml"
        if ((number % 10 == 0)); then
            before=$(applied)
            kill -HUP "$gateway"
            until [ "$(applied)" -gt "$before" ]; do sleep 0.02; done
        else
            answer=$(curl -sS --max-time 10 -X POST -w '\n%{http_code}' "$admin/api/v1/config/reload")
            [ "${answer##*$'\n'}" = 200 ] || die "reload $number: $answer"
        fi
        sleep 0.1
    done
    echo "$number" >"$scratch/done"
}

# applied: reloads so far that were applied.
applied() {
    curl -sS --max-time 10 "$admin/metrics" |
        awk '/^polygate_config_reloads_total/ { n += $2 } /^polygate_config_reload_failures_total/ { n -= $2 } END { print n + 0 }'
}
