#!/usr/bin/env bash
# Kills the daemon with SIGKILL at random moments while files come in and messages go out, starts it again,
# and in the end counts: no accepted row may be lost, none sent twice, each must stand in exactly one
# result line, and only rows that were on the wire at a kill may be `unknown`.
#
# Use: tests/kill9.sh [CYCLES=20]
#   SEED=N                 repeats the files and the waits of an earlier run
#   DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
# Each cycle drops three files, over SFTP and by a local copy, whose rows go to Postfix's smtp-sink, to nginx
# and to a folder; some are long, so that a kill hits them half read. A client whose upload a kill cut
# tries again, as a partner's would. Every third start is killed before it is well up, in the middle of its
# recovery; every fourth process gets a SIGTERM instead, and may leave nothing unknown behind. Message-IDs are counted at the receivers, which slow down some messages.
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/crash.sh"
CYCLES=${1:-20}
SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
say "kill9.sh: $CYCLES cycles, SEED=$SEED"
find_tools
# From here on chance follows the seed; ports were chosen before.
free_port; SFTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
ROWS=60
ROWS_LONG=6000
# A tenth of the messages waits a second or more at the final dot; nginx answers a hundred a second.
start_smtp_sink -W .:1:10
start_nginx 'limit_req zone=slow burst=500;'
RANDOM=$SEED

crash_config
KILLS=0
SLOWEST_STOP_MS=0
: >"$WORK/after-sigterm"
for ((cycle = 1; cycle <= CYCLES; cycle++)); do
    log=$WORK/serve.$(printf %03d "$cycle").log
    if ((cycle % 3 == 2)); then launch_serve "$log"; else start_serve "$log"; fi
    file "messages_a$cycle.csv" "$ROWS" email sms
    upload_later "messages_a$cycle.csv"
    file "messages_b$cycle.csv" "$ROWS" sms email viber
    copy "messages_b$cycle.csv"
    if ((cycle % 5 == 1)); then
        file "messages_long$cycle.csv" "$ROWS_LONG" telegram
        upload_later "messages_long$cycle.csv"
    fi
    if ((cycle % 3 == 2)); then pause 50 700; else pause 100 2400; fi
    kill -0 "$SERVE_PID" 2>/dev/null || fail "the daemon ended by itself in cycle $cycle"
    if ((cycle % 4 == 0)) && ((cycle % 3 != 2)); then
        # Messages under way may end; the receivers' delays are what this may take.
        stop_serve 20000
        ((STOP_MS <= SLOWEST_STOP_MS)) || SLOWEST_STOP_MS=$STOP_MS
        printf '%03d\n' $((cycle == CYCLES ? 999 : cycle + 1)) >>"$WORK/after-sigterm"
    else
        kill_serve
        KILLS=$((KILLS + 1))
    fi
done

start_serve "$WORK/serve.999.log"
wait_for_clients
eventually 300 "all files are answered" all_answered
collect
stop_serve 3000
account --wire "$WIRE" --crashes "$KILLS" --title "cycles $CYCLES ($KILLS SIGKILL, $((CYCLES - KILLS)) SIGTERM)  " ||
    fail "the account does not balance"
say "stopped in $STOP_MS ms, with messages under way in at most $SLOWEST_STOP_MS ms; kill9.sh: all held in $SECONDS s"
