#!/usr/bin/env bash
# Providers that misbehave, from outside: connections that close after the dot or after the request, answers that come late,
# in pieces, without end or in another protocol, and every pair of outcomes of a first and a second provider. Each
# row must end as the contract says; the second provider is asked exactly where it is certain that the first did not
# take the message, and nobody is given it twice.
#
# Use: tests/sinks.sh
#   DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
# The providers, and the table of what must come of each, are tests/sinks.py. HTTP/2 is not compiled in: a server that
# knows nothing else is one of them. Takes about a minute.
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need curl=curl python3=python3-minimal
find_program
free_port; ADMIN_PORT=$FREE_PORT
SINKS=$ROOT/tests/sinks.py
: >"$WORK/sink.log"
python3 "$SINKS" serve "$WORK/sink.log" >"$WORK/ports" &
STARTED+=($!)
eventually 10 "the sinks listen" grep -q . "$WORK/ports"
printf secret >"$WORK/secret"
chmod 600 "$WORK/secret"
# Rows that nobody takes or refuses for good, and nothing else, end after so many seconds.
LIFETIME=${LIFETIME:-40}
python3 "$SINKS" configure "$WORK" "$(cat "$WORK/ports")"
cat - "$WORK/providers.toml" >"$WORK/dropchute.toml" <<CONF
format = 1
data_dir = "data"
disk_reserve = "0%"
[sftp]
listen = []
[ftp]
listen = []
[admin]
listen = "127.0.0.1:$ADMIN_PORT"
[web]
listen = "127.0.0.1:0"
[defaults]
grace = "200ms"
settle = "200ms"
quiet = "500ms"
default_category = "transactional"
CONF
# Each of the many HTTP providers reads the system's certificates, which takes a dev build its time: one is enough.
if sed '/END CERTIFICATE/q' /etc/ssl/certs/ca-certificates.crt >"$WORK/one.crt" 2>/dev/null; then
    export SSL_CERT_FILE=$WORK/one.crt
fi
launch_serve
eventually 180 "the daemon is ready" curl -fsS -m 2 "http://127.0.0.1:$ADMIN_PORT/readyz"
FILES=$(python3 "$SINKS" drop "$WORK" "$LIFETIME")
say "$FILES files dropped after $SECONDS s"
all_answered() { [ "$(find "$WORK/data/tenants" -name '*.result.csv' | wc -l)" -eq "$FILES" ]; }
eventually $((LIFETIME + 40)) "every file has its result" all_answered
say "all answered after $SECONDS s"
python3 "$SINKS" check "$WORK" >"$WORK/checked" || { cat "$WORK/checked" >&2; fail "not as the contract says"; }
pass "each ends as the contract says: $(cat "$WORK/checked")"
peak=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$SERVE_PID/status")
[ "$peak" -le "${PEAK_MB:-400}" ] || fail "$peak MB of memory at the peak"
pass "answers without end took no memory: $peak MB at the peak"
stop_serve 10000
if grep -a -q "panicked" "$WORK/serve.log"; then fail "a panic in the log"; fi
say "sinks: $CHECKS checks held in $SECONDS s"
