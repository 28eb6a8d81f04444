#!/usr/bin/env bash
# Fills the disk at every stage of a file's way, and makes room again: whoever uploads is told, nothing
# acknowledged is lost, nothing is sent that could not be recorded, and with room again everything goes on
# in the same process, each row once.
#
# Use: tests/full_disk.sh
#   DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
# The data folder is on a small tmpfs. A filler takes every byte, and again whatever becomes free meanwhile, so that
# the daemon's ballast does not help for long either; or every inode.
# Exit: 0 all held, 1 something did not, 77 not run: mounting takes root.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/crash.sh"
[ "$(id -u)" -eq 0 ] || not_run "mounting a small disk takes root"
need mount=mount lftp=lftp
find_tools

DISK=$WORK/disk
DATA=$DISK/data
DISK_RESERVE=25%
PASSWORD=one-of-a-kind-$RANDOM
mkdir "$DISK"
mount -t tmpfs -o size=128m,nr_inodes=4000 tmpfs "$DISK" 2>"$WORK/mount.log" || not_run "no tmpfs: $(cat "$WORK/mount.log")"
AT_END+=('umount -l "$DISK"')
free_port; SFTP_PORT=$FREE_PORT
free_port; FTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
start_smtp_sink
start_nginx 'limit_req zone=slow burst=500;'
crash_config 'ballast = "64MiB"'
LOG=$WORK/serve.001.log
SFTP_LOG=$WORK/sftp.log

# --- Filling and emptying

take_all() { dd if=/dev/zero bs=4k oflag=append conv=notrunc of="$DISK/filler" 2>/dev/null || true; }
# Takes what is there, and goes on taking what becomes free.
fill() {
    take_all
    while :; do sleep 0.1; take_all; done &
    FILLER=$!
    STARTED+=($!)
}
empty() {
    kill "$FILLER" 2>/dev/null
    wait "$FILLER" 2>/dev/null || true
    rm -f "$DISK/filler"
}
fill_inodes() {
    local n
    mkdir -p "$DISK/files"
    for ((n = 0; n < 5000; n++)); do : 2>/dev/null >"$DISK/files/$n" || return 0; done
    fail "the disk has no end of inodes"
}

# --- What the daemon says

status_says() { dropchute status >"$WORK/status" && grep -q "^$1 *$2" "$WORK/status"; }
says() { grep -q "$1" "$LOG"; }
is_ready() { curl -fsS -m 2 "http://127.0.0.1:$ADMIN_PORT/readyz" >/dev/null 2>&1; }
is_not_ready() { ! is_ready; }
has_answer() { [ -e "$DATA/tenants/acme/outbox/$1" ]; }
same_process() { kill -0 "$SERVE_PID" 2>/dev/null || fail "$1: the daemon ended"; }
received() { cat "$WORK"/http.log 2>/dev/null | wc -l; }
received_more_than() { [ "$(received)" -gt "$1" ]; }
# comes_back WHAT: with room again it is ready, and all files are answered.
comes_back() {
    eventually 30 "$1: ready again" is_ready
    eventually 120 "$1: all files are answered" all_answered
    same_process "$1"
    pass "$1"
}

# lftp_put FILE NAME: by a client of SFTP that shows the server's own words; OpenSSH's keeps them to itself.
lftp_put() {
    timeout 60 lftp -c "set sftp:connect-program \"ssh -a -x ${SSH_OPTIONS[*]} -oIdentitiesOnly=yes -i $WORK/id_ed25519\"
        set net:max-retries 1; set xfer:use-temp-file no; set cmd:fail-exit yes
        open -p $SFTP_PORT sftp://erp:@127.0.0.1; put $1 -o /inbox/$2" </dev/null
}
# sftp_refused: a whole upload by SFTP fails, with a sentence.
sftp_refused() {
    if lftp_put "$@" >"$SFTP_LOG" 2>&1; then return 1; fi
    grep -q -i "nearly full" "$SFTP_LOG"
}
# ftp_refused: one by FTP is answered 452.
ftp_refused() {
    if curl -sv -m 20 --user "erp:$PASSWORD" -T "$1" "ftp://127.0.0.1:$FTP_PORT/inbox/$2" 2>"$WORK/ftp.log"; then return 1; fi
    grep -q '^< 452 ' "$WORK/ftp.log"
}
uploads_refused() {
    printf 'row_id,channel,text\n' >"$WORK/small.csv"
    sftp_refused "$WORK/small.csv" "messages_no.csv" || fail "$1: SFTP says $(cat "$SFTP_LOG")"
    ftp_refused "$WORK/small.csv" "messages_no.csv" || fail "$1: FTP says $(grep '^<' "$WORK/ftp.log")"
    sftp_with_key erp "ls /outbox" >/dev/null 2>&1 || fail "$1: nothing can be listed any more"
    [ ! -e "$DATA/tenants/acme/inbox/messages_no.csv" ] || fail "$1: an upload that failed is there"
}

# --- Before the first start: a disk without room is told of, and nothing half made is in the way afterwards

fill
if timeout 20 "$BIN" --config "$WORK/dropchute.toml" serve >"$WORK/serve.000.log" 2>&1; then fail "it runs on a disk without room"; fi
if grep -q panicked "$WORK/serve.000.log"; then fail "a panic on a disk without room"; fi
grep -q -i 'no space left\|disk is full' "$WORK/serve.000.log" || fail "it does not say why: $(tail -n 3 "$WORK/serve.000.log")"
empty
start_serve "$LOG"
pass "a first start without room says so, and with room it starts"
file messages_first.csv 20 email sms telegram
copy messages_first.csv
eventually 60 "the first file is answered" all_answered
eventually 10 "there is ballast" test -s "$DATA/ballast"

# --- Before a start: the ballast opens the store

stop_serve 5000
fill
launch_serve "$LOG"
eventually 20 "it runs on a full disk" status_says disk_room none
is_not_ready || fail "ready on a full disk"
uploads_refused "started on a full disk"
empty
comes_back "a start on a full disk"

# --- During uploads

head -c 60000000 /dev/urandom >"$WORK/long.bin"
lftp_put "$WORK/long.bin" .long.part >"$WORK/long.log" 2>&1 &
upload=$!
dd if=/dev/zero bs=1M count=60 of="$DISK/filler" 2>/dev/null || true
if wait "$upload"; then fail "an upload for which there is no room succeeds"; fi
grep -q -i "nearly full" "$WORK/long.log" || fail "the cut upload is told: $(cat "$WORK/long.log")"
rm "$DISK/filler"
fill
uploads_refused "no room at all"
same_process "uploads"
empty
eventually 30 "ready after the uploads" is_ready
file messages_after.csv 20 email sms telegram
upload messages_after.csv
comes_back "during uploads"

# --- While a file is read

file messages_long.csv 60000 telegram
copy messages_long.csv
eventually 20 "the long file is claimed" says 'file claimed.*messages_long.csv'
fill
sleep 3
is_not_ready || fail "ready while a file cannot be read"
empty
comes_back "while a file is read"

# --- While a file waits in the inbox: it is not taken, and not forgotten

file messages_waits.csv 20 email sms
cp "$WORK/in/messages_waits.csv" "$DATA/tenants/acme/inbox/.waits"
fill
eventually 10 "no room" status_says disk_room none
# The stations look once a second.
sleep 1.2
mv "$DATA/tenants/acme/inbox/.waits" "$DATA/tenants/acme/inbox/messages_waits.csv"
sleep 3
! says 'file claimed.*messages_waits.csv' || fail "a file is taken without room"
empty
comes_back "while a file waits in the inbox"

# --- While messages go out

for round in 1 2; do
    file "messages_out$round.csv" 2000 sms sms sms viber
    before=$(received)
    copy "messages_out$round.csv"
    eventually 20 "messages go out" received_more_than $((before + 20 + 300 * (round - 1)))
    fill
    eventually 20 "dispatch says that there is no room" status_says disk_room none
    # What was claimed, two windows at most, may go out where it can be recorded; then nothing does.
    sleep 7
    still=$(received)
    sleep 3
    [ "$(received)" -eq "$still" ] || fail "messages go out that could not be recorded"
    [ "$still" -lt $((before + 1500)) ] || fail "everything had gone out before the disk was full"
    empty
    comes_back "while messages go out, $((still - before)) of 1500 before"
done

# --- While answers are written

file messages_answers.csv 20000 telegram
copy messages_answers.csv
eventually 60 "the rows are settled" says 'batch done.*messages_answers.csv'
fill
sleep 3
same_process "answers"
empty
comes_back "while answers are written"

# --- Without inodes; more of them come by a larger disk

file messages_inodes.csv 400 sms viber email
cp "$WORK/in/messages_inodes.csv" "$DATA/tenants/acme/inbox/.inodes"
mv "$DATA/tenants/acme/inbox/.inodes" "$DATA/tenants/acme/inbox/messages_inodes.csv"
eventually 20 "the file is claimed" says 'file claimed.*messages_inodes.csv'
fill_inodes
eventually 10 "no inodes are no room" status_says disk_room none
uploads_refused "no inodes"
mount -o remount,size=256m,nr_inodes=20000 "$DISK"
comes_back "without inodes, until the disk is larger"

# --- The account

is_ready || fail "not ready at the end"
eventually 20 "there is ballast again" test -s "$DATA/ballast"
for what in 'nearly full' 'has room again' 'ballast let go'; do says "$what" || fail "the log never says: $what"; done
collect
stop_serve 5000
account --title "$CHECKS stages  " || fail "the account does not balance"
say "full_disk.sh: all held in $SECONDS s"
