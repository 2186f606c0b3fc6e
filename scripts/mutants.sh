#!/usr/bin/env bash
# Breaks one promise after the other, on purpose, and looks whether a test notices: for each line of
# scripts/mutants.txt the tests that it names run with that mutant, until one fails. Prints a table:
# the mutant, which test killed it, how long that took, and what the test said. A mutant that none of
# them notices, or a run that kills none, makes the exit status 1.
#
# The build has the feature `mutants`, and a folder of its own in cargo's target folder. Arguments are
# names of mutants; without any, all are tried.
set -uo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

LIST=scripts/mutants.txt
# A mutant may also make a test wait for ever.
TEST_SECONDS_MAX=120

root="$PWD"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
# What a test that is run here finds is no row of a proof's table.
report="${WEFT_PROOF_REPORT:-}"
unset WEFT_MUTANT SEED WEFT_PROOF WEFT_PROOF_REPORT

die() {
    printf 'mutants: %s\n' "$*" >&2
    exit 1
}

trim() { sed 's/^[[:space:]]*//; s/[[:space:]]*$//' <<<"$1"; }

# The lines of the list, each as name|what|tests, for the names that were asked for.
listed() {
    local name what tests
    while IFS='|' read -r name what tests; do
        name="$(trim "$name")"
        case "$name" in '' | '#'*) continue ;; esac
        [ "$#" = 0 ] || [[ " $* " == *" $name "* ]] || continue
        printf '%s|%s|%s\n' "$name" "$(trim "$what")" "$(trim "$tests")"
    done <"$LIST"
}

mapfile -t mutants < <(listed "$@")
[ "${#mutants[@]}" -gt 0 ] || die "no mutant to try"
[ "$#" = 0 ] || [ "${#mutants[@]}" = "$#" ] || die "$LIST doesn't list all of: $*"

# --- the build -----------------------------------------------------------------------------------

began=$SECONDS
cargo test --no-run --locked --target-dir "$TARGET_DIR/mutants" --package journal --package tests \
    --features journal/mutants,tests/mutants --test model --test scenarios 2>&1 | tee "$log" ||
    die "the build with the feature failed"
built() { sed -n "s/^ *Executable tests\/$1[^(]*(\(.*\))\$/\1/p" "$log" | tail -n 1; }
declare -A executables folders=([model]=journal [scenarios]=tests)
for binary in model scenarios; do
    path="$(built "$binary")"
    case "$path" in /*) ;; *) path="$root/$path" ;; esac
    [ -x "$path" ] || die "cargo doesn't say where $binary is"
    executables[$binary]="$path"
done
printf '\nbuilt in %d s\n' $((SECONDS - began))

# run TEST: one test, named as in the list. It fails, too, when no such test ran or it takes too long.
run() {
    local binary="${1%%/*}" name="${1#*/}"
    cd "$root/${folders[$binary]}" || return 1
    timeout "$TEST_SECONDS_MAX" "${executables[$binary]}" --exact "$name" >"$log" 2>&1
    local status=$?
    cd "$root" || return 1
    [ "$status" = 124 ] && printf 'no end within %d s\n' "$TEST_SECONDS_MAX" >>"$log"
    [ "$status" != 0 ] || grep -q '^test result: ok. 1 passed' "$log" || return 125
    return "$status"
}

# What a failed test said first: the line behind the first panic.
said() {
    local line
    line="$(awk '/ panicked at / { found = 1; next } found && NF { print; exit }
        /^no end within/ { print; exit }' "$log")"
    printf '%s' "${line:0:100}"
}

# --- without a mutant, and with one that isn't ---------------------------------------------------

began=$SECONDS
mapfile -t all < <(for line in "${mutants[@]}"; do tr ' ' '\n' <<<"${line##*|}"; done | sort -u)
for test in "${all[@]}"; do
    run "$test" || {
        cat "$log"
        die "$test fails without a mutant, or there is no such test"
    }
done
printf '%d tests pass without a mutant, in %d s\n' "${#all[@]}" $((SECONDS - began))
if WEFT_MUTANT=nobody-knows-this-one run "${all[0]}"; then
    die "a mutant that nobody knows is no error"
elif ! grep -q 'nobody-knows-this-one' "$log"; then
    die "a mutant that nobody knows isn't named"
fi

# --- each mutant ---------------------------------------------------------------------------------

killed=0
survivors=()
printf '\n%-41s %4s  %s\n' mutant s 'killed by'
for line in "${mutants[@]}"; do
    IFS='|' read -r name what tests <<<"$line"
    began=$SECONDS
    by=
    for test in $tests; do
        if ! WEFT_MUTANT="$name" run "$test"; then
            by="$test"
            break
        fi
    done
    took=$((SECONDS - began))
    if [ -n "$by" ]; then
        killed=$((killed + 1))
        printf '%-41s %4d  %s\n%48s%s\n%48s%s\n' "$name" "$took" "$by" '' "$what" '' "$(said)"
    else
        survivors+=("$name")
        printf '%-41s %4d  SURVIVED\n%48s%s\n' "$name" "$took" '' "$what"
    fi
done

row="${#mutants[@]} mutants, $killed killed, ${#survivors[@]} survived"
printf '\nmutants: %s\n' "$row"
[ -z "$report" ] || printf 'mutants\t%s\n' "$row" >>"$report"
[ "${#survivors[@]}" = 0 ] && [ "$killed" -gt 0 ]
