#!/usr/bin/env bash
# Cuts the power while files come in and messages go out, starts again, and in the end counts: every upload
# that a client saw succeed is answered, every row stands in exactly one result line, no message reached a
# receiver twice, and `unknown` are only rows that a start after a cut named.
#
# Use: tests/power_cut.sh [CUTS=10]
#   SEED=N                 repeats the files and the waits of an earlier run
#   FILE_SYSTEMS="ext4"    only some of: ext4 xfs
#   CUTS_PER_DISK=N        cuts before a disk is held to account and a new one made; 5 unless said
#   DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
# The data folder is on a file system in a loop-mounted image, ext4 and xfs in turn. A cut is the file system's
# own shutdown (`xfs_io -x -c shutdown`): from that moment nothing more reaches the image, as if the
# machine had lost power; then SIGKILL, umount, mount. What was not synced is gone. The first cut of a
# disk hits a new database, the others one that was cut before; every third hits a start in the middle of its
# recovery. The next start is told that the machine was booted anew, so that it trusts no mark that
# was not synced. Nothing here can play a disk that lies about its flush.
# Exit: 0 all held, 1 something did not, 77 not run: it takes root, loop devices and xfsprogs.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/crash.sh"
CUTS=${1:-10}
CUTS_PER_DISK=${CUTS_PER_DISK:-5}
read -ra FILE_SYSTEMS <<<"${FILE_SYSTEMS:-ext4 xfs}"
SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
say "power_cut.sh: $CUTS cuts on ${FILE_SYSTEMS[*]}, SEED=$SEED"
[ "$(id -u)" -eq 0 ] || not_run "mounting images takes root"
need xfs_io=xfsprogs mkfs.xfs=xfsprogs mkfs.ext4=e2fsprogs mount=mount
find_tools

DISK=$WORK/disk
IMAGE=$WORK/image
DATA=$DISK/data
mkdir "$DISK"
unmount_disk() {
    local try
    for ((try = 0; try < 100; try++)); do
        umount "$DISK" 2>/dev/null && return
        mountpoint -q "$DISK" || return 0
        # A client that copies has not heard of the cut yet.
        sleep 0.1
    done
    fail "the disk cannot be unmounted"
}
AT_END+=('umount -l "$DISK" 2>/dev/null')
new_disk() {
    rm -f "$IMAGE"
    truncate -s 512M "$IMAGE"
    case $1 in
        ext4) mkfs.ext4 -q -F "$IMAGE" ;;
        xfs) mkfs.xfs -q -f "$IMAGE" ;;
        *) fail "no file system $1 here" ;;
    esac
    mount -o loop "$IMAGE" "$DISK" 2>"$WORK/mount.log" || not_run "no loop mount of $1: $(cat "$WORK/mount.log")"
}
# The shutdown must be one: what was not synced is not there afterwards, what was synced is.
prove_cut() {
    new_disk "$1"
    echo kept >"$DISK/kept"
    sync "$DISK/kept" "$DISK"
    echo lost >"$DISK/lost"
    cut_power
    mount -o loop "$IMAGE" "$DISK"
    [ "$(cat "$DISK/kept")" = kept ] || fail "$1: a cut loses what was synced"
    [ ! -s "$DISK/lost" ] || fail "$1: a cut loses nothing that was not synced: it is no cut"
    umount "$DISK"
}
cut_power() {
    xfs_io -x -c shutdown "$DISK" || fail "no shutdown of the file system"
    [ -z "$SERVE_PID" ] || kill_serve
    unmount_disk
}
for kind in "${FILE_SYSTEMS[@]}"; do prove_cut "$kind"; done

free_port; SFTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
start_smtp_sink -W .:1:10
start_nginx
RANDOM=$SEED
crash_config

# One start until the next cut; the machine's boots are counted.
BOOTS=0
RECOVERIES=0
boot() {
    BOOTS=$((BOOTS + 1))
    export DROPCHUTE_BOOT_ID=boot-$BOOTS
    launch_serve "$WORK/serve.$(printf %03d "$BOOTS").log"
}
ready() { curl -fsS -m 2 "http://127.0.0.1:$ADMIN_PORT/readyz"; }
wait_until_up() {
    local deadline=$((SECONDS + 60))
    until ready >/dev/null 2>&1; do
        kill -0 "$SERVE_PID" 2>/dev/null || fail "boot $BOOTS: the daemon does not start"
        [ "$SECONDS" -lt "$deadline" ] || fail "boot $BOOTS: the daemon is not ready"
        sleep 0.05
    done
}

cut=0
disk=0
while ((cut < CUTS)); do
    kind=${FILE_SYSTEMS[$((disk % ${#FILE_SYSTEMS[@]}))]}
    disk=$((disk + 1))
    new_disk "$kind"
    for ((on_disk = 1; on_disk <= CUTS_PER_DISK && cut < CUTS; on_disk++)); do
        cut=$((cut + 1))
        boot
        if ((on_disk % 3 == 0)); then
            # In the middle of the recovery from the cut before.
            RECOVERIES=$((RECOVERIES + 1))
            pause 0 500
        else
            wait_until_up
            file "messages_a$cut.csv" 60 email sms
            upload_later "messages_a$cut.csv"
            file "messages_b$cut.csv" 60 sms email viber
            copy_later "messages_b$cut.csv"
            file "messages_c$cut.csv" 600 viber telegram
            upload_later "messages_c$cut.csv"
            # Small ones whose digests are merged, and that go to the archive while others are sent.
            for part in 1 2 3; do
                file "messages_d$cut$part.csv" 2 telegram
                copy_later "messages_d$cut$part.csv"
            done
            pause 100 3000
        fi
        kill -0 "$SERVE_PID" 2>/dev/null || fail "boot $BOOTS: the daemon ended by itself"
        cut_power
        mount -o loop "$IMAGE" "$DISK"
    done
    boot
    wait_until_up
    wait_for_clients
    eventually 300 "$kind: all files are answered" all_answered
    grep -q '^ready *yes' "$WORK/status" || fail "$kind: not ready: $(cat "$WORK/status")"
    collect
    stop_serve 5000
    unmount_disk
    FILES=()
    account --quiet --crashes "$cut" --in-recovery "$RECOVERIES" || fail "$kind, disk $disk: the account does not balance"
    say "ok   $kind, disk $disk: all held after $cut cuts"
done
account --crashes "$CUTS" --in-recovery "$RECOVERIES" --title "cuts $CUTS on $disk disks of ${FILE_SYSTEMS[*]} ($RECOVERIES during recovery)  "
say "power_cut.sh: all held in $SECONDS s"
