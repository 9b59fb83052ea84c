#!/bin/sh
# The one demo command: sets up what is missing, builds the release binary, runs the main job on real input.
set -eu
cd "$(dirname "$0")/../../.."
sh policies/setup.sh
exec cargo run --release --package proviso -- demo "$@"
