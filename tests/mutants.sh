#!/usr/bin/env bash
# Mutation: changes the rules (states, moves and commands of batches and rows, pacing, policy) and recovery in every way
# cargo-mutants knows, one at a time, and asks whether a test notices. At least 85 of a hundred must be noticed.
#
# Use: tests/mutants.sh [FILE...]    src/batch/state.rs for that file alone; without, all of them
#   DROPCHUTE_INSTALL=1    installs cargo-mutants into ~/.cache/dropchute
#   CAUGHT_MIN=85          the share that must be noticed
#   SHARD=0/8              the first eighth of the changes
# The rooms that are changed are copied, with those they import and nothing else, into a crate of their own in
# target/mutants: there a change of a rule costs a second, one of recovery a quarter of a minute, not the minutes of
# the whole program. Only the unit tests of the room are asked. Each crate has its findings in mutants.out. What is
# not changed stands in tests/mutants.toml, with the reason.
# Exit: 0 enough were noticed, 1 too few, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
CAUGHT_MIN=${CAUGHT_MIN:-85}
filled cargo-mutants-27.1.0 cargo install --quiet --locked cargo-mutants --version 27.1.0 --root . --target-dir "$WORK/build"
export PATH=$CACHE/cargo-mutants-27.1.0/bin:$PATH
cd "$ROOT"
shopt -s nullglob
ASKED=" $* "
# The dependencies are built already, where the program is.
CARGO_TARGET_DIR=$(cargo metadata --format-version 1 --no-deps |
    python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')
export CARGO_TARGET_DIR
COUNTS=(0 0 0 0)
MISSED=

# with_imports ROOM...: these rooms and all that they import, and so on down.
with_imports() {
    local all="$*" before= room
    until [ "$all" = "$before" ]; do
        before=$all
        all=$(for room in $before; do
            echo "$room"
            grep -rhoE '\bcrate::[a-z_]+' "src/$room.rs" "src/$room" 2>/dev/null | sed 's/crate:://'
        done | sort -u | while read -r room; do [ ! -f "src/$room.rs" ] || echo "$room"; done)
    done
    echo "$all"
}

# copied CRATE ROOM...: a crate of these rooms; its files have the names they have here.
copied() {
    local crate=$1 room line package
    shift
    rm -rf "$crate"
    mkdir -p "$crate/src"
    for room in "$@"; do
        cp "src/$room.rs" "$crate/src/"
        [ ! -d "src/$room" ] || cp -r "src/$room" "$crate/src/"
        echo "pub mod $room;" >>"$crate/src/lib.rs"
    done
    # Its own name keeps what is built of it apart from what is built of the program. Of the dependencies
    # it has those that it names, since cargo looks at all of them each time; but with the channels it has
    # all: with others of their features the whole of TLS would be built anew.
    local name="s/^name = \"dropchute\"/name = \"mutants-${crate##*/}\"/" section= package
    sed "$name" Cargo.lock >"$crate/Cargo.lock"
    sed "$name" Cargo.toml | while IFS= read -r line; do
        if [[ $line == \[* ]]; then section=$line; fi
        case $section in
            '[package]' | '[profile.dev'*) ;;
            '[dependencies]' | '[dev-dependencies]')
                package=${line%% *}
                [[ $line != *=* || -d $crate/src/channel ]] || grep -rqE "\b${package//-/_}::" "$crate/src" || continue
                ;;
            *) continue ;;
        esac
        printf '%s\n' "$line"
    done >"$crate/Cargo.toml"
    printf '[workspace]\n[profile.dev.package.mutants-%s]\ndebug = false\n' "${crate##*/}" >>"$crate/Cargo.toml"
}

# change ROOM FILE...: changes these files, and asks the tests of the room.
change() {
    local room=$1 crate=target/mutants/$1 files=() file status=0 outcome n=0
    shift
    for file in "$@"; do
        if [ "$ASKED" = "  " ] || [[ $ASKED == *" $file "* ]]; then files+=(-f "$file"); fi
    done
    [ ${#files[@]} -gt 0 ] || return 0
    # shellcheck disable=SC2046
    copied "$crate" $(with_imports "$room")
    (cd "$crate" && cargo mutants --config "$ROOT/tests/mutants.toml" --in-place --no-shuffle --colors never \
        ${SHARD:+--shard "$SHARD"} "${files[@]}" --cargo-arg=--lib -- -- "$room::") || status=$?
    # 2: some were missed; 3: some were noticed by never ending. How many may be is said below.
    [ "$status" -eq 0 ] || [ "$status" -eq 2 ] || [ "$status" -eq 3 ] || fail "cargo mutants: exit $status"
    for outcome in caught timeout missed unviable; do
        COUNTS[n]=$((COUNTS[n] + $(wc -l <"$crate/mutants.out/$outcome.txt")))
        n=$((n + 1))
    done
    MISSED+=$(cat "$crate/mutants.out/missed.txt")$'\n'
}

change batch src/batch/*.rs
change policy src/policy/*.rs
change pacing src/pacing/*.rs
change spool src/spool/outcome_log.rs
change dispatch src/dispatch/recover.rs

noticed=$((COUNTS[0] + COUNTS[1]))
judged=$((noticed + COUNTS[2]))
[ "$judged" -gt 0 ] || fail "nothing was changed"
share=$((100 * noticed / judged))
say "$((judged + COUNTS[3])) mutants: ${COUNTS[0]} caught, ${COUNTS[1]} timed out, ${COUNTS[2]} missed," \
    "${COUNTS[3]} do not compile; $share % noticed; missed:"
printf '%s' "$MISSED"
[ "$share" -ge "$CAUGHT_MIN" ] || fail "$share % noticed, fewer than $CAUGHT_MIN %"
