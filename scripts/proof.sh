#!/usr/bin/env bash
# Every proof of durability in full, and one table of what each found. Takes the better part of an hour on
# two cores; `make test` runs a short form of each. Ends with 1 when a proof failed or something was lost.
set -uo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

table="$(mktemp)"
trap 'rm -f "$table"' EXIT
export WEFT_PROOF=full WEFT_PROOF_REPORT="$table"

failed=()

# proof NAME COMMAND...
proof() {
    local name="$1" began=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    if "$@"; then
        printf '<== %s: ok, %d s\n' "$name" $((SECONDS - began))
    else
        failed+=("$name")
        printf '<== %s: FAILED, %d s\n' "$name" $((SECONDS - began))
    fi
}

scripts/setup.sh || exit 2
cargo build --workspace --locked || exit 2

proof "crash points and simulation" cargo test --locked -p tests --test scenarios -- --nocapture simulation::
proof "damage" cargo test --locked -p tests --test scenarios -- --nocapture damage::
proof "fuzz" cargo test --locked -p tests --test scenarios -- --nocapture fuzz::
proof "the real program" cargo test --locked -p tests --test process -- --nocapture --test-threads=1 power::
proof "mutants" env -u WEFT_PROOF scripts/mutants.sh

printf '\n%-34s %s\n' "PROOF" "FOUND"
awk -F '\t' '{ printf "%-34s %s\n", $1, $2 }' "$table"
for name in "${failed[@]}"; do printf 'FAILED: %s\n' "$name"; done
if grep -qE '\b[1-9][0-9]* (lost|survived|failures)\b' "$table"; then
    printf 'something was lost\n'
    exit 1
fi
printf 'make proof: %d rows, %d failed, %d s\n' "$(wc -l <"$table")" "${#failed[@]}" "$SECONDS"
[ "${#failed[@]}" = 0 ]
