#!/usr/bin/env bash
# Lets the Nth call to the disk fail, for every N and every kind of call, while one small file goes through:
# the daemon stays right or ends with an error, and started again without faults it finishes. No row is lost
# or sent twice, nothing hangs, and no failed fdatasync is tried again.
#
# Use: tests/io_errors.sh [short|full] [KIND...]
#   short       some of the calls of each kind, in a minute and a half; what CI runs
#   full        every N, until a run in which nothing was hit; an hour for all kinds
#   KIND        of: write pwrite64 fsync fdatasync sync_file_range rename open unlink first_start
#   DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
# The built daemon runs under strace, which lets a call fail with EIO or ENOSPC before the kernel sees it: once (the
# Nth of each thread) or from then on. `first_start` begins without a data folder; all else has one that
# was used. Faults in writes to what is no file (sockets, the log) are left out: no disk is at fault there.
# Exit: 0 all held, 1 something did not, 77 not run: nothing may be traced here.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/crash.sh"
HOW=${1:-short}
KINDS=("${@:2}")
[ ${#KINDS[@]} -gt 0 ] || KINDS=(pwrite64 fdatasync fsync sync_file_range write rename open unlink first_start)
need strace=strace
strace -f --seccomp-bpf -o /dev/null true 2>/dev/null || not_run "nothing may be traced here (ptrace)"
find_tools
free_port; SFTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
start_smtp_sink
start_nginx
DATA=$WORK/data
crash_config
TEMPLATE=$WORK/template

# A data folder as it is in use: what a first start makes is there.
start_serve "$WORK/serve.template.log"
stop_serve 5000
cp -a "$DATA" "$TEMPLATE"

# calls_of KIND: the system calls.
calls_of() {
    case $1 in
        rename) say rename,renameat,renameat2 ;;
        open) say openat,openat2 ;;
        unlink) say unlink,unlinkat ;;
        first_start) say openat2,mkdirat,mkdir,fsync,syncfs ;;
        *) say "$1" ;;
    esac
}

# path_of_write N NAME: the Nth of the files that are written with `write`; an eventfd or a socket is no disk.
path_of_write() {
    local names=(ack result final summary)
    [ "$1" -le ${#names[@]} ] || { say none; return; }
    say "$DATA/tenants/acme/outbox/.$2.${names[$(($1 - 1))]}.csv"
}

# How long a run may take to get over its fault, in seconds; what takes longer is stopped, and started again.
PATIENCE=12
[ "$HOW" = full ] || PATIENCE=7
HITS=0
RUNS=0
ENDED=0
FINISHED=0
SLOW=0
# finished NAME: the file has its last answer.
finished() { [ -e "$DATA/tenants/acme/outbox/$1.summary.csv" ]; }
is_running() { kill -0 "$SERVE_PID" 2>/dev/null; }
# wait_for_end NAME SECONDS: until the file is finished, the daemon ended or the time is over.
wait_for_end() {
    local deadline=$(($(now_ms) + $2 * 1000))
    while is_running && ! finished "$1" && [ "$(now_ms)" -lt "$deadline" ]; do sleep 0.05; done
}

# The data folder of a run, with the file in the inbox.
prepare() {
    rm -rf "$DATA"
    [ "$1" = first_start ] || cp -a "$TEMPLATE" "$DATA"
    mkdir -p "$DATA/tenants/acme/inbox"
    file "messages_$2.csv" 20 email sms
    copy "messages_$2.csv"
}

# run KIND ERROR N MODE: one small job with one fault, and without any; true where something was hit.
run() {
    local kind=$1 error=$2 n=$3 mode=$4 tag when status=0 hits traced daemon patience=$PATIENCE
    tag=$kind-${error,,}-$n-$mode
    when=$n
    [ "$mode" = once ] || { when=$n+; patience=2; }
    prepare "$kind" "$tag"
    traced=$WORK/strace/$tag
    local calls paths=()
    calls=$(calls_of "$kind")
    if [ "$kind" = write ]; then
        paths=(-P "$(path_of_write "$n" "messages_$tag.csv")")
        when=${when/$n/1}
    fi
    strace -f -y -q --seccomp-bpf -o "$traced" -e "trace=$calls" -e "inject=$calls:error=$error:when=$when" \
        ${paths[@]+"${paths[@]}"} "$BIN" --config "$WORK/dropchute.toml" serve >"$WORK/serve.$tag.log" 2>&1 &
    SERVE_PID=$!
    wait_for_end "messages_$tag.csv" "$patience"
    if is_running; then
        if finished "messages_$tag.csv"; then FINISHED=$((FINISHED + 1)); else SLOW=$((SLOW + 1)); fi
        daemon=$(pgrep -P "$SERVE_PID" || true)
        [ -z "$daemon" ] || kill -TERM $daemon
        # The grace for messages under way is twenty seconds.
        local deadline=$((SECONDS + 30))
        while is_running; do
            [ "$SECONDS" -lt "$deadline" ] || fail "$tag: it does not stop"
            sleep 0.05
        done
        wait "$SERVE_PID" || status=$?
    else
        wait "$SERVE_PID" || status=$?
        ENDED=$((ENDED + 1))
        [ "$status" -ne 0 ] || fail "$tag: it ended by itself, and as if all were well"
    fi
    SERVE_PID=
    hits=$(grep -c INJECTED "$traced" || true)
    HITS=$((HITS + hits))
    RUNS=$((RUNS + 1))
    never_again "$tag" "$traced"
    start_serve "$WORK/serve.$tag.log"
    eventually 30 "$tag: answered without faults" all_answered
    stop_serve 5000
    mkdir -p "$WORK/out" "$WORK/archived"
    cp "$DATA"/tenants/acme/outbox/*.csv "$WORK/out/"
    find "$DATA/tenants/acme/archive/accepted" -type f -exec cp -t "$WORK/archived" {} +
    FILES=()
    [ "$hits" -gt 0 ]
}

# never_again TAG TRACE: behind a failed fdatasync of what is acknowledged by it, none of the same file.
never_again() {
    awk -v tag="$1" '
        !/fdatasync\(/ { next }
        match($0, /<[^>]*\/(store\/db|batches\/[^\/]*\/[a-z]*)>/) {
            file = substr($0, RSTART, RLENGTH)
            if (failed[file]) { print tag ": " file " is synced again after a failure"; exit 1 }
            if (/INJECTED/ && file !~ /\/(rows|problems|duplicates)>$/) failed[file] = 1
        }' "$2" >"$WORK/again" || fail "$(cat "$WORK/again")"
}

mkdir -p "$WORK/strace"
for kind in "${KINDS[@]}"; do
    before=$HITS
    if [ "$HOW" = short ]; then
        run "$kind" EIO 1 once || true
        run "$kind" ENOSPC 2 once || true
        run "$kind" EIO 3 on || true
    else
        for error in EIO ENOSPC; do
            for mode in once on; do
                # The Nth of each thread: where none has so many, nothing is hit.
                for ((n = 1; n < 1000; n++)); do
                    run "$kind" "$error" "$n" "$mode" || break
                done
            done
        done
    fi
    [ "$HITS" -gt "$before" ] || fail "$kind: nothing was hit"
    account --quiet --crashes "$RUNS" || fail "$kind: the account does not balance"
    pass "$kind: $((HITS - before)) errors injected"
done
account --crashes "$RUNS" --title "errors $HITS in $RUNS runs: $FINISHED finished all the same, $ENDED ended with an error, $SLOW were still waiting when stopped  "
say "io_errors.sh $HOW: all held in $SECONDS s"
