#!/usr/bin/env bash
# All checks that a change has to pass, the quick ones first. `make test` and CI run exactly this.
# A failing step doesn't hide the others: all of them run, the last lines name what failed, and the
# exit status is 1. A check that can't be made here is skipped loudly, and counted.
set -uo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

passed=0
failed=()
skipped=()
log="$(mktemp)"
rows="$(mktemp)"
trap 'rm -f "$log" "$rows"' EXIT
# What narrows a test down to one case, or breaks it on purpose, is no run of all.
unset SEED FUZZ FUZZ_SECONDS WEFT_PROOF WEFT_MUTANT

# step NAME COMMAND...: runs the command, prints its time, and remembers how it ended.
step() {
    local name="$1" began=$SECONDS
    shift
    printf '\n==> %s\n' "$name"
    if "$@"; then
        passed=$((passed + 1))
        printf '<== %s: ok, %d s\n' "$name" $((SECONDS - began))
    else
        failed+=("$name")
        printf '<== %s: FAILED, %d s\n' "$name" $((SECONDS - began))
    fi
}

# skip NAME WHY
skip() {
    skipped+=("$1: $2")
    printf '\n==> %s\n<== SKIPPED: %s\n' "$1" "$2"
}

shell_scripts() {
    shellcheck --external-sources scripts/*.sh .ci/run
}

# The tests start the real program too, so it is built before they run. What a test can't check here it says
# in a row of its own: cargo shows nothing of what a test prints that passes.
tests() {
    cargo build --workspace --locked &&
        WEFT_PROOF_REPORT="$rows" cargo test --workspace --locked --no-fail-fast 2>&1 | tee "$log"
}

documentation() {
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
}

deny() {
    command -v cargo-deny >/dev/null || {
        echo "cargo-deny is not here; scripts/setup.sh says why"
        return 1
    }
    cargo-deny --locked check --hide-inclusion-graph "$@"
}

step setup scripts/setup.sh peers
hash -r
for peer in functions-framework func-python node go java; do
    [ -f ".cache/peers/$peer.installed" ] ||
        skip "peer $peer" "it could not be installed; setup says why"
done
step fmt cargo fmt --all --check
step deny deny licenses bans sources
if timeout 60 cargo-deny --locked fetch db >/dev/null 2>&1; then
    step advisories deny --disable-fetch advisories
else
    skip advisories "their database can't be reached from here"
fi
if command -v shellcheck >/dev/null; then
    step shellcheck shell_scripts
else
    skip shellcheck "it isn't installed"
fi
step clippy cargo clippy --workspace --all-targets --locked -- -D warnings
step test tests
printf '\n'
awk -F '\t' '{ printf "%-34s %s\n", $1, $2 }' "$rows"
while IFS=$'\t' read -r name found; do
    [[ "$found" != "SKIPPED: "* ]] || skip "$name" "${found#SKIPPED: }"
done <"$rows"
step no-default-features cargo check --workspace --no-default-features --locked
step doc documentation

# cargo prints a `test result:` line for each test binary; this adds them up.
counts="$(awk '/^test result:/ { for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) p += $(i-1); if ($i ~ /^failed/) f += $(i-1); if ($i ~ /^ignored/) g += $(i-1) } }
    END { printf "%d %d %d", p, f, g }' "$log")"
read -r tests_passed tests_failed tests_ignored <<<"$counts"
[ "$tests_passed" -gt 0 ] || failed+=("test (no test ran)")

printf '\n'
for line in "${skipped[@]}"; do printf 'skipped: %s\n' "$line"; done
for line in "${failed[@]}"; do printf 'FAILED: %s\n' "$line"; done
printf 'make test: %d steps ok, %d failed, %d skipped; %d tests ok, %d failed, %d ignored; %d s\n' \
    "$passed" "${#failed[@]}" "${#skipped[@]}" \
    "$tests_passed" "$tests_failed" "$tests_ignored" "$SECONDS"
[ "${#failed[@]}" = 0 ]
