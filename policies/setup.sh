#!/bin/sh
# Makes this machine able to build policies for wasm32-unknown-unknown, by whichever way works: rustup's target, or
# Debian's rustc-web where rustup's server can't be reached. Asks nothing, and says nothing when all is fine already.
set -eu

target=wasm32-unknown-unknown

has_target() {
    libraries=$(rustc --print target-libdir --target "$target" 2>/dev/null) && [ -d "$libraries" ]
}

# Debian's compiler, the sources of its standard library, and a linker: rustup's, or Debian's.
has_debian() {
    [ -x /usr/bin/rustc ] && [ -f /usr/lib/rustlib/src/rust/library/Cargo.toml ] && has_linker
}

has_linker() {
    native=$(rustc --print target-libdir 2>/dev/null) && [ -x "$(dirname "$native")/bin/rust-lld" ] && return
    rust-lld -flavor wasm --version >/dev/null 2>&1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "$@" >/dev/null
}

if has_target || has_debian; then
    exit 0
fi

if command -v rustup >/dev/null && rustup target add "$target" >/dev/null 2>&1 && has_target; then
    echo "installed the target $target with rustup"
    exit 0
fi

if command -v apt-get >/dev/null; then
    as_root apt-get -qq update >/dev/null
    install rustc-web rust-web-src
    command -v cargo >/dev/null || install cargo-web
    if ! has_linker; then
        # rust-lld is a link to the linker of the LLVM that this compiler was built with, such as lld-22.
        install rust-web-llvm
        install "$(readlink /usr/bin/rust-lld)"
    fi
    if has_debian; then
        echo "installed Debian's rustc-web and rust-web-src"
        exit 0
    fi
fi

echo "no compiler for $target: neither \`rustup target add $target\` nor \`apt-get install rustc-web rust-web-src\` worked" >&2
exit 1
