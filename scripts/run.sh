#!/usr/bin/env bash
# The quick start: builds Weft, then runs a function (`weft receive`) and the broker (`weft run
# examples/quickstart`) side by side, each line marked with who said it. Ctrl-C stops both; when
# one of them ends by itself, the other is stopped too and its exit status is ours.
# Arguments go to `weft run`, such as --data or --listen.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
cargo build --locked --package weft
weft="$TARGET_DIR/debug/weft"

# Marks each line with a name. It outlives Ctrl-C, so that the last words are shown too.
mark() {
    trap '' INT TERM HUP
    exec sed -u "s/^/$1 | /"
}

# Each in a process group of its own: Ctrl-C reaches this script alone, which then stops the
# broker first (it finishes its attempts) and the function after it.
set -m
exec {function_out}> >(mark 'function')
function_mark=$!
exec {broker_out}> >(mark 'broker  ')
broker_mark=$!

"$weft" receive --listen 127.0.0.1:8081 >&"$function_out" 2>&1 </dev/null &
function=$!
"$weft" run examples/quickstart "$@" >&"$broker_out" 2>&1 </dev/null &
broker=$!

stop() {
    trap '' INT TERM HUP
    kill -TERM "$broker" 2>/dev/null && wait "$broker" || true
    kill -TERM "$function" 2>/dev/null && wait "$function" || true
    exec {broker_out}>&- {function_out}>&-
    wait "$broker_mark" "$function_mark" || true
}
trap 'stop; exit 0' INT TERM HUP

status=0
wait -n "$function" "$broker" || status=$?
stop
exit "$status"
