#!/bin/sh
# The one test command: sets up what is missing, then runs every check.
set -eu
cd "$(dirname "$0")/.."
sh policies/setup.sh
cargo fmt --all --check
cargo clippy --workspace --all-targets --quiet -- -D warnings
cargo test --workspace
