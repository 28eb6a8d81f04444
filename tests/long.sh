#!/usr/bin/env bash
# The long proof, not part of .ci/run: large files by every client, and sessions that stay for an hour.
#
# Use: tests/long.sh [CLIENT...]     all clients, or those whose name begins so
#   LARGE=5G, MEDIUM=1G    what OpenSSH, curl and rclone move over SFTP, and every client; 0 leaves it out
#   IDLE=60m               how long sessions are kept open without a transfer; 0 leaves it out
#   FOLDER=/dev/shm        where everything lies; needs three times LARGE
#   DROPCHUTE_BIN=FILE     the program; without it `cargo build --release` makes one
#   DROPCHUTE_INSTALL=1    installs what is missing, as tests/doors.sh does
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
[ -z "${FOLDER:-}" ] && [ -d /dev/shm ] && FOLDER=/dev/shm
[ -n "${FOLDER:-}" ] && export TMPDIR=$FOLDER
if [ -z "${DROPCHUTE_BIN:-}" ]; then
    (cd "$(dirname "$0")/.." && cargo build --quiet --release --bin dropchute)
    DROPCHUTE_BIN=$(cd "$(dirname "$0")/.." && cargo metadata --format-version 1 --no-deps |
        python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release/dropchute
fi
. "$(dirname "$0")/lib.sh"
find_clients
find_program
export HOME=$WORK
PASSWORD='p@ss word'
start_doors
bytes() { numfmt --from=iec "$1"; }
seconds() { case $1 in *m) echo $((${1%m} * 60)) ;; *s) echo "${1%s}" ;; *) echo "$1" ;; esac; }
LARGE=$(bytes "${LARGE:-5G}")
MEDIUM=$(bytes "${MEDIUM:-1G}")
IDLE=$(seconds "${IDLE:-60m}")
export LARGE MEDIUM IDLE PATIENCE=3000
export_doors
"$PYTHON_BIN/python" -B "$ROOT/tests/clients/long.py" "$@" || fail "the long proof (see above)"
say "memory of the daemon at most: $(grep VmHWM "/proc/$SERVE_PID/status" | tr -s '\t ' ' ')"
stop_serve 5000
if grep -a "panicked" "$WORK/serve.log"; then fail "a panic in the log"; fi
say "long.sh: all held in $SECONDS s"
