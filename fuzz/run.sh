#!/usr/bin/env bash
# Builds all fuzz targets and runs each for some seconds (20 unless given); ends with an error where one finds something.
# Needs cargo and a C++ compiler, no nightly toolchain: without sanitizers (`-s none`) everything is stable.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-20}

# Its own folder, whatever the rest is built into: nothing compiled with a fuzzer's instrumentation is shared.
unset CARGO_TARGET_DIR
command -v cargo-fuzz > /dev/null || cargo install cargo-fuzz --locked
cargo fuzz build -s none

# Each input is written to a file; in memory, where there is such a place.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
host=$(rustc -vV | sed -n 's/^host: //p')
for target in safetensors torch_archive gguf json_elements tsv_rows tar_entries chat_template; do
  printf '\n== %s, %s s\n' "$target" "$seconds"
  mkdir -p "corpus/$target" "artifacts/$target"
  # Files of every kind of block are among the fixtures.
  seeds=seeds/$target
  [ "$target" != gguf ] || seeds=../tests/fixtures/gguf
  # What is new goes to the first folder, which git ignores.
  "target/$host/release/$target" "corpus/$target" "$seeds" -artifact_prefix="artifacts/$target/" \
    -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -verbosity=0
done
