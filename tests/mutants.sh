#!/usr/bin/env bash
# Mutation: changes the row's state machine, the commands, pacing and recovery in every way cargo-mutants knows, one at
# a time, and asks whether a test notices. At least 85 of a hundred must be noticed.
#
# Use: tests/mutants.sh [ARGUMENT...]    of `cargo mutants`: -f src/batch/state.rs for one file, --shard 0/4 for a part
#   DROPCHUTE_INSTALL=1    installs cargo-mutants and cargo-nextest into ~/.cache/dropchute
#   CAUGHT_MIN=85          the share that must be noticed
# What is changed and what is run stands in tests/mutants.toml. Each mutant costs a build of this crate and of the
# tests: about two minutes on two cores. What was missed is left in target/mutants.out/missed.txt.
# Exit: 0 enough were noticed, 1 too few, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
CAUGHT_MIN=${CAUGHT_MIN:-85}
filled cargo-mutants-27.1.0 cargo install --quiet --locked cargo-mutants --version 27.1.0 --root . --target-dir "$WORK/build"
filled cargo-nextest-0.9.143 cargo install --quiet --locked cargo-nextest --version 0.9.143 --root . --target-dir "$WORK/build"
export PATH=$CACHE/cargo-mutants-27.1.0/bin:$CACHE/cargo-nextest-0.9.143/bin:$PATH
cd "$ROOT"
mkdir -p target
# Its own status says that some were missed; how many may be is said below.
status=0
# Fewer seeds than in `cargo test`: the simulation is the slowest of the tests, and the last to be asked.
SEEDS=${SEEDS:-60} cargo mutants --config tests/mutants.toml --output target --no-shuffle --jobs 1 "$@" || status=$?
[ "$status" -eq 0 ] || [ "$status" -eq 2 ] || [ "$status" -eq 3 ] || fail "cargo mutants: exit $status"
count() { grep -c . "target/mutants.out/$1.txt" || true; }
caught=$(($(count caught) + $(count timeout)))
missed=$(count missed)
[ $((caught + missed)) -gt 0 ] || fail "nothing was changed"
share=$((100 * caught / (caught + missed)))
say "$caught of $((caught + missed)) mutants noticed ($share %); missed:"
cat target/mutants.out/missed.txt
[ "$share" -ge "$CAUGHT_MIN" ] || fail "$share % noticed, fewer than $CAUGHT_MIN %"
