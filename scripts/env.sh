# shellcheck shell=bash
# Sourced by the other scripts: goes to the repository's root, puts .cache/bin on the PATH and
# picks the toolchain that rust-toolchain.toml pins. It installs nothing; scripts/setup.sh does.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

PATH="$PWD/.cache/bin:$PATH"
export PATH

# Where cargo builds. One folder and one profile for `make run` and `make test`.
TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
export TARGET_DIR

pinned_rust() {
    sed -n 's/^channel *= *"\(.*\)"$/\1/p' rust-toolchain.toml
}

# The name of an installed toolchain whose rustc is version $1; nothing if there is none.
# A machine may have the pinned version under another name ("stable"), and a network without
# the download site: then that one is used, and nothing is downloaded.
installed_toolchain() {
    local name
    while read -r name _; do
        case "$(rustup run "$name" rustc --version 2>/dev/null)" in
            "rustc $1 "*) printf '%s\n' "$name" && return 0 ;;
        esac
    done < <(rustup toolchain list 2>/dev/null)
    return 1
}

if command -v rustup >/dev/null && ! rustup toolchain list | grep -q "^$(pinned_rust)-"; then
    if RUSTUP_TOOLCHAIN="$(installed_toolchain "$(pinned_rust)")"; then
        export RUSTUP_TOOLCHAIN
    else
        unset RUSTUP_TOOLCHAIN
    fi
fi
