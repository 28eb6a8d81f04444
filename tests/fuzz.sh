#!/usr/bin/env bash
# Fuzz targets: bytes of a client, made up by libFuzzer, against the parsers of the doors, what stands behind them,
# and the forms of files. What is found is kept between runs in ~/.cache/dropchute/fuzz; a crash is written there as well.
#
# Use: tests/fuzz.sh MINUTES [TARGET...]     each target for so many minutes, on one core
#   DROPCHUTE_INSTALL=1    installs cargo-fuzz into ~/.cache/dropchute
# Exit: 0 nothing found, 1 something found, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
MINUTES=${1:?minutes for each target}
shift
TARGETS=("$@")
[ ${#TARGETS[@]} -gt 0 ] || TARGETS=(
    ftp_line sftp_packet proxy_header archive workbook objects records header directives names addresses manifest
)
filled cargo-fuzz-0.13.2 cargo install --quiet --root . --target-dir ./target cargo-fuzz@0.13.2
export PATH=$CACHE/cargo-fuzz-0.13.2/bin:$PATH
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$CACHE/target}/fuzz
# Where there is one, the tenant's folders lie in memory: the search is not for the disk.
[ -d /dev/shm ] && export TMPDIR=/dev/shm
for target in "${TARGETS[@]}"; do
    found=$CACHE/fuzz/$target
    mkdir -p "$found" "$CACHE/fuzz/crashes"
    # Our own code has no `unsafe`: what is searched for are panics, hangs and growth, so no sanitizer.
    (cd "$ROOT/fuzz" && cargo fuzz run --sanitizer none "$target" "$found" "$ROOT/fuzz/seeds/$target" -- \
        -max_total_time=$((MINUTES * 60)) -timeout=10 -rss_limit_mb=1024 -max_len=8192 -print_final_stats=1 \
        -artifact_prefix="$CACHE/fuzz/crashes/$target-") >"$WORK/$target.log" 2>&1 ||
        { tail -n 40 "$WORK/$target.log" >&2; fail "$target found something"; }
    say "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$WORK/$target.log") executions in $MINUTES minutes"
done
