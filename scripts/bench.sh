#!/usr/bin/env bash
# Builds the program and the load driver for release and prints the benchmark table. Run it on a
# machine that does nothing else: bench/README.md says what each row means.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh
cargo build --release --locked --package weft --package bench
exec "$TARGET_DIR/release/bench" "$@"
