#!/usr/bin/env bash
# Breaks one promise after the other, on purpose, and looks whether a test notices: for each line of
# scripts/mutants.txt the tests that it names run with that mutant, until one fails; and those that must
# notice it as well, each of them. Prints a table: the mutant, which test killed it, how long that took, and
# what the test said. A mutant that none of them notices, or not all that must, or a run that kills none, makes
# the exit status 1. A test that finds no end with a mutant has noticed it too, which is said apart.
#
# The build has the feature `mutants`, and a folder of its own in cargo's target folder. Arguments are
# names of mutants; without any, all are tried.
set -uo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

LIST=scripts/mutants.txt
# A mutant may also make a test wait for ever: it is given so many times what it takes without one, and no less
# than so many seconds, since other things may run here.
TIMES_MAX=10
SECONDS_MIN=20
# Without a mutant.
BASELINE_SECONDS_MAX=600

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

# The lines of the list, each as name|what|tests|all of, for the names that were asked for.
listed() {
    local name what tests also
    while IFS='|' read -r name what tests also; do
        name="$(trim "$name")"
        case "$name" in '' | '#'*) continue ;; esac
        [ "$#" = 0 ] || [[ " $* " == *" $name "* ]] || continue
        printf '%s|%s|%s|%s\n' "$name" "$(trim "$what")" "$(trim "$tests")" "$(trim "$also")"
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

# What each test takes without a mutant, in seconds.
declare -A baseline

# run TEST: one test, named as in the list. It fails, too, when no such test ran. 124: it finds no end.
run() {
    local binary="${1%%/*}" name="${1#*/}" max="$BASELINE_SECONDS_MAX"
    [ -z "${baseline[$1]:-}" ] || max=$((TIMES_MAX * baseline[$1]))
    [ "$max" -ge "$SECONDS_MIN" ] || max="$SECONDS_MIN"
    cd "$root/${folders[$binary]}" || return 1
    timeout "$max" "${executables[$binary]}" --exact "$name" >"$log" 2>&1
    local status=$?
    cd "$root" || return 1
    [ "$status" = 124 ] && printf 'no end within %d s\n' "$max" >>"$log"
    [ "$status" != 0 ] || grep -q '^test result: ok. 1 passed' "$log" || return 125
    return "$status"
}

# What a failed test said first: the line behind the first panic of ours. Others are those of libraries, which we
# may have caught: their place is an absolute path.
said() {
    local line
    line="$(awk '/ panicked at / { found = !/ panicked at \//; next } found && NF { print; exit }
        /^no end within/ { print; exit }' "$log")"
    printf '%s' "${line:0:100}"
}

# --- without a mutant, and with one that isn't ---------------------------------------------------

began=$SECONDS
mapfile -t all < <(for line in "${mutants[@]}"; do
    IFS='|' read -r _ _ tests also <<<"$line"
    tr -s ' ' '\n' <<<"$tests $also"
done | sed '/^$/d' | sort -u)
for test in "${all[@]}"; do
    before=$SECONDS
    run "$test" || {
        cat "$log"
        die "$test fails without a mutant, or there is no such test"
    }
    baseline[$test]=$((SECONDS - before + 1))
done
printf '%d tests pass without a mutant, in %d s\n' "${#all[@]}" $((SECONDS - began))
if WEFT_MUTANT=nobody-knows-this-one run "${all[0]}"; then
    die "a mutant that nobody knows is no error"
elif ! grep -q 'nobody-knows-this-one' "$log"; then
    die "a mutant that nobody knows isn't named"
fi

# --- each mutant ---------------------------------------------------------------------------------

killed=0
timed_out=0
survivors=()
unnoticed=()
printf '\n%-41s %4s  %s\n' mutant s 'killed by'
for line in "${mutants[@]}"; do
    IFS='|' read -r name what tests also <<<"$line"
    began=$SECONDS
    by=
    for test in $tests; do
        WEFT_MUTANT="$name" run "$test"
        status=$?
        [ "$status" = 0 ] && continue
        by="$test"
        break
    done
    took=$((SECONDS - began))
    if [ -z "$by" ]; then
        survivors+=("$name")
        printf '%-41s %4d  SURVIVED\n%48s%s\n' "$name" "$took" '' "$what"
    elif [ "$status" = 124 ]; then
        timed_out=$((timed_out + 1))
        printf '%-41s %4d  %s TIMED OUT\n%48s%s\n%48s%s\n' "$name" "$took" "$by" '' "$what" '' "$(said)"
    else
        killed=$((killed + 1))
        printf '%-41s %4d  %s\n%48s%s\n%48s%s\n' "$name" "$took" "$by" '' "$what" '' "$(said)"
    fi
    for test in $also; do
        if WEFT_MUTANT="$name" run "$test"; then
            unnoticed+=("$name, by $test")
            printf '%48sNOT NOTICED BY %s\n' '' "$test"
        else
            printf '%48salso by %s\n%50s%s\n' '' "$test" '' "$(said)"
        fi
    done
done

for one in "${unnoticed[@]}"; do printf 'NOT NOTICED: %s\n' "$one"; done
row="${#mutants[@]} mutants, $killed killed, $timed_out timed out, ${#unnoticed[@]} unnoticed by a suite"
row="$row, ${#survivors[@]} survived"
printf '\nmutants: %s\n' "$row"
[ -z "$report" ] || printf 'mutants\t%s\n' "$row" >>"$report"
[ "${#survivors[@]}" = 0 ] && [ "${#unnoticed[@]}" = 0 ] && [ "$killed" -gt 0 ]
