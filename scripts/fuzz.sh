#!/usr/bin/env bash
# Fuzzes what outsiders hand us: scripts/fuzz.sh [TARGET|all] [SECONDS for each].
#
# With libFuzzer, through cargo-fuzz, on the toolchain that is pinned: our code has no `unsafe`, so no
# sanitizer is needed, and without one neither is a nightly. Where cargo-fuzz, libfuzzer-sys or a C++ compiler
# can't be had, the targets are run on mutations of their seeds without coverage, which is said. A target that
# doesn't build is a failure.
#
# What is learnt stays in .cache/fuzz/TARGET, what breaks a target in .cache/fuzz/finds.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

asked="${1:-all}"
seconds="${2:-60}"
folder=tests/fuzz

say() { printf 'fuzz: %s\n' "$*"; }

mapfile -t targets < <(cd "$folder/targets" && printf '%s\n' *.rs | sed 's/\.rs$//')
if [ "$asked" != all ]; then
    [[ " ${targets[*]} " == *" $asked "* ]] || {
        say "there is no target $asked, but: ${targets[*]}"
        exit 2
    }
    targets=("$asked")
fi

without_coverage() {
    say "WITHOUT COVERAGE: $1; running mutations of the seeds instead"
    for target in "${targets[@]}"; do
        FUZZ="$target" FUZZ_SECONDS="$seconds" \
            cargo test --locked -p tests --test scenarios -- --nocapture fuzz::every
    done
}

scripts/setup.sh fuzz
hash -r
if ! command -v cargo-fuzz >/dev/null; then
    without_coverage "cargo-fuzz is not here"
    exit
fi

# libFuzzer is C++. What is ours must build: that it doesn't is no reason to go on without.
compiler="${CXX:-c++}"
if ! command -v "${compiler%% *}" >/dev/null; then
    without_coverage "there is no C++ compiler ($compiler)"
    exit
fi

# The versions that ship, and libFuzzer beside them.
cp Cargo.lock "$folder/Cargo.lock"
if ! cargo fetch --manifest-path "$folder/Cargo.toml"; then
    without_coverage "libfuzzer-sys can't be fetched"
    exit
fi
build=(--fuzz-dir "$folder" --sanitizer none --no-cfg-fuzzing --target-dir "$TARGET_DIR/fuzz")
if ! cargo fuzz build "${build[@]}" "${targets[0]}"; then
    say "FAILED: ${targets[0]} can't be built, see above"
    exit 1
fi

finds=.cache/fuzz/finds
mkdir -p "$finds"
failed=()
for target in "${targets[@]}"; do
    learnt=".cache/fuzz/$target"
    mkdir -p "$learnt"
    known=("$folder/corpus/$target")
    [ ! -d "$folder/finds/$target" ] || known+=("$folder/finds/$target")
    say "$target, $seconds s"
    cargo fuzz run "${build[@]}" "$target" "$learnt" "${known[@]}" -- \
        -max_total_time="$seconds" -timeout=30 -rss_limit_mb=4096 -max_len=8192 -print_final_stats=1 \
        -artifact_prefix="$finds/$target-" || failed+=("$target")
done
[ "${#failed[@]}" = 0 ] || {
    say "FAILED: ${failed[*]}. The inputs are in $finds; make each smaller with"
    say "  cargo fuzz tmin --fuzz-dir $folder --sanitizer none TARGET INPUT"
    say "and put it into $folder/finds/TARGET/ with the fix"
    exit 1
}
say "${#targets[@]} targets, nothing found"
