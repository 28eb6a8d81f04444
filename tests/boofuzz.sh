#!/usr/bin/env bash
# boofuzz against the FTP door: ten thousand commands that are nearly right, in clear, before and after login.
# The daemon must live on, log no error, keep its memory, and serve a good client before and after.
#
# Use: tests/boofuzz.sh [CASES]     10000 without a number
#   DROPCHUTE_BIN=FILE     the program; without it `cargo build` makes one
#   DROPCHUTE_INSTALL=1    installs curl by apt-get and boofuzz into ~/.cache/dropchute
#   KEEP=1                 keeps the temporary folder
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
CASES=${1:-10000}
GROWTH_MAX_KIB=65536
need curl=curl python3=python3-venv
filled boofuzz-0.4.2 bash -c "python3 -m venv . && bin/pip -q install --disable-pip-version-check boofuzz==0.4.2"
find_program
export PASSWORD='correct horse'
# Cheap to check: what a hash costs is not the question here.
hash_of() { say '$argon2id$v=19$m=8,t=1,p=1$EHruM0Mc66qiE80UARmhBg$3vyyq5CHHvR4+I00IhIvikFY6CZKPZya6UMUdbBnmBE'; }
# Every case fails to log in, or comes from where others failed: nobody is banned for it.
start_doors '' '' '[guard]
enabled = false
delay = "1ms"'

good_client() {
    curl -fsS -m 20 -u "erp:$PASSWORD" -T "$BIN" "ftp://127.0.0.1:$FTP_PORT/media/good.bin" &&
        curl -fsS -m 20 -u "erp:$PASSWORD" -o "$WORK/good.bin" "ftp://127.0.0.1:$FTP_PORT/media/good.bin" &&
        cmp "$BIN" "$WORK/good.bin"
}
memory_kib() { sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" "/proc/$SERVE_PID/status"; }

good_client || fail "the good client before"
echo 5 >"/proc/$SERVE_PID/clear_refs"
before=$(memory_kib VmHWM)
sent=$("$CACHE/boofuzz-0.4.2/bin/python" -B "$ROOT/tests/boofuzz_ftp.py" "$FTP_PORT" "$CASES" "$WORK") || fail "boofuzz itself"
[ "$sent" -ge "$CASES" ] || fail "only $sent cases were sent"
kill -0 "$SERVE_PID" || fail "the daemon is gone"
grown=$(($(memory_kib VmHWM) - before))
[ "$grown" -le "$GROWTH_MAX_KIB" ] || fail "the daemon grew by $grown KiB"
good_client || fail "the good client after"
if grep -aE 'panicked| ERROR ' "$WORK/serve.log"; then fail "the log"; fi
stop_serve 25000
say "boofuzz.sh: $sent cases in $SECONDS s; the daemon grew by $grown KiB over $before"
