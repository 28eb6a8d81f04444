#!/usr/bin/env bash
# Clients that nobody here wrote, against every door: OpenSSH, curl, lftp, rclone, paramiko, asyncssh, ftplib,
# ncftp, tnftp, wget and two of npm take files and names of all sizes and kinds there and back through /media,
# and drop into /inbox and collect the answer. A table at the end says what each of them did.
#
# Use: tests/doors.sh [CLIENT...]     all clients, or those whose name begins so, for example `sftp lftp-ftps`
#   DROPCHUTE_BIN=FILE     the program; without it `cargo build` makes one
#   DROPCHUTE_INSTALL=1    installs what is missing: Debian's clients by apt-get, Python's and npm's into
#                          ~/.cache/dropchute; without it, says what is missing and exits 77
#   KEEP=1                 keeps the temporary folder
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
find_clients
find_program
export HOME=$WORK
PASSWORD='p@ss word'
start_doors
export_doors
"$PYTHON_BIN/python" -B "$ROOT/tests/clients/matrix.py" "$@" || fail "some clients (see above)"
stop_serve 5000
if grep -a "panicked" "$WORK/serve.log"; then fail "a panic in the log"; fi
say "doors.sh: all clients held in $SECONDS s"
