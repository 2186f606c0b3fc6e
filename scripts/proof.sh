#!/usr/bin/env bash
# Every proof of durability in full, and one table, in Markdown, of what each found. Takes more than an
# hour on two cores; `make test` runs a short form of each but the mutants.
#
# What has to be in the table is in scripts/proof.txt. Exit 1: a proof failed, something was lost, or a row is
# missing or too small. Exit 3: all that could be proven here was, and some rows were skipped, such as those
# that want FUSE and loop devices; ALLOW_SKIPS=1 makes that 0.
set -uo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

table="$(mktemp)"
log="$(mktemp)"
trap 'rm -f "$table" "$log"' EXIT
# What narrows a test down to one case would leave the rest unproven.
unset SEED FUZZ FUZZ_SECONDS WEFT_MUTANT
export WEFT_PROOF=full WEFT_PROOF_REPORT="$table"

failed=()

# proof NAME COMMAND...: the command, and whether it ran any test.
proof() {
    local name="$1" began=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    if "$@" 2>&1 | tee "$log" && [ "$(passed)" != 0 ]; then
        printf '<== %s: ok, %d s\n' "$name" $((SECONDS - began))
    else
        failed+=("$name")
        printf '<== %s: FAILED, %d s\n' "$name" $((SECONDS - began))
    fi
}

# How many tests the last command ran that passed.
passed() { awk '/^test result:/ { n += $4 } /^mutants: / { n += $2 } END { print n + 0 }' "$log"; }

# counted ROW COMMAND...: a proof of which the table has how many tests it is.
counted() {
    local row="$1" failures
    proof "$@"
    failures="$(awk '/^test result:/ { n += $6 } END { print n + 0 }' "$log")"
    printf '%s\t%d tests, %d failures\n' "$row" "$(passed)" "$failures" >>"$table"
}

scenarios=(cargo test --locked -p tests --test scenarios -- --nocapture)

scripts/setup.sh || exit 2
cargo build --workspace --locked || exit 2

proof "crash points and simulation" "${scenarios[@]}" simulation::
proof "damage" "${scenarios[@]}" damage::
counted "the log on the model disk" cargo test --locked -p journal --test model
counted "the engine on the model disk" "${scenarios[@]}" crash:: kept:: storage:: unreadable::
counted "folders of each version" "${scenarios[@]}" format::
proof "fuzz" "${scenarios[@]}" fuzz::
proof "the real program" cargo test --locked -p tests --test process -- --nocapture --test-threads=1 power::
proof "mutants" env -u WEFT_PROOF scripts/mutants.sh

printf '\n'
scripts/proof-table.sh "$table" | tee "$log"
verdict="${PIPESTATUS[0]}"
for name in "${failed[@]}"; do printf 'FAILED: %s\n' "$name"; done
printf 'make proof: %s; %d steps failed; %d s\n' "$(tail -n 1 "$log")" "${#failed[@]}" "$SECONDS"
[ "${#failed[@]}" = 0 ] || exit 1
[ "$verdict" != 3 ] || [ "${ALLOW_SKIPS:-0}" != 1 ] || exit 0
exit "$verdict"
