#!/usr/bin/env bash
# Kills the daemon with SIGKILL at random moments while files come in and messages go out, starts it again,
# and in the end counts: no accepted row may be lost, none sent twice, each must stand in exactly one
# result line, and only rows that were on the wire at a kill may be `unknown`. Where the operator chose
# `on_unknown = "resend"`, those rows and no others may come twice, under the same message id.
#
# Use: tests/kill9.sh [CYCLES=20]
#   SEED=N                 repeats the files and the waits of an earlier run
#   DROPCHUTE_BIN=FILE, DROPCHUTE_INSTALL=1, KEEP=1: as for tests/clients.sh
# Each cycle drops files of four tenants, over SFTP and by local copies, whose rows go to Postfix's smtp-sink, to
# nginx and to a folder; every fifth brings a long one, and one whose rows go nowhere, so long that a kill hits it
# half read. The fourth tenant's rows fail over from a provider that refuses every other one, and go down a chain whose first
# channel refuses them all. A client whose upload a kill cut tries again, as a partner's would. Every third start is killed before it is well up, in the middle of its
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
ROWS_LONG=600
ROWS_DRY=6000
SMTP_CONNECTIONS=16
HTTP_CONCURRENCY=16
# And the simulator's, which answers at once: three chunks write down 32 outcomes together.
WIRE=$((SMTP_CONNECTIONS + 3 * HTTP_CONCURRENCY + FOLDER_CONCURRENCY + 3 * 32))
# A twentieth of the messages waits a second or more at the final dot.
start_smtp_sink -W .:1:5
start_nginx
RANDOM=$SEED

crash_config '' "
[provider.mail_again]
kind = \"smtp\"
host = \"127.0.0.1\"
port = $SMTP_PORT
tls = \"none\"
connections = $SMTP_CONNECTIONS
retry_first = \"1s\"
on_unknown = \"resend\"
[provider.api_again]
kind = \"http\"
url = \"http://127.0.0.1:$HTTP_PORT/send\"
body = '{\"to\": {{ to | tojson }}, \"ref\": {{ message_id | tojson }}}'
success = { pointer = \"/status\", equals = \"ok\" }
concurrency = $HTTP_CONCURRENCY
retry_first = \"1s\"
on_unknown = \"resend\"
[tenant.beta]
sender = { email = [\"Beta <news@beta.example>\"], sms = [\"BETA\"] }
channel = { email = [\"mail_again\"], sms = [\"api_again\"] }
[provider.half]
kind = \"http\"
url = \"http://127.0.0.1:$HTTP_PORT/half\"
body = '{\"to\": {{ to | tojson }}, \"ref\": {{ message_id | tojson }}}'
outcomes = { \"http:503\" = \"transient\" }
concurrency = $HTTP_CONCURRENCY
retry_first = \"1s\"
[provider.no]
kind = \"http\"
url = \"http://127.0.0.1:$HTTP_PORT/no\"
body = '{\"to\": {{ to | tojson }}, \"ref\": {{ message_id | tojson }}}'
concurrency = $HTTP_CONCURRENCY
[tenant.delta]
pause_after_equal_refusals = 0
sender = { sms = [\"DELTA\"], whatsapp = [\"DELTA\"] }
channel = { sms = [\"half\", \"api\"], whatsapp = [\"no\"] }
[tenant.gamma]
sender = { email = [\"Gamma <news@gamma.example>\"], sms = [\"GAMMA\"] }
channel = { email = [\"mail\"], sms = [\"api\"] }
"
KILLS=0
SLOWEST_STOP_MS=0
: >"$WORK/after-sigterm"
for ((cycle = 1; cycle <= CYCLES; cycle++)); do
    log=$WORK/serve.$(printf %03d "$cycle").log
    if ((cycle % 3 == 2)); then launch_serve "$log"; else start_serve "$log"; fi
    file "messages_a$cycle.csv" "$ROWS" email sms
    upload_later "messages_a$cycle.csv"
    TENANT_OF[messages_b$cycle.csv]=gamma
    TENANT_OF[messages_again$cycle.csv]=beta
    for name in "messages_b$cycle.csv" "messages_again$cycle.csv"; do
        file "$name" "$ROWS" sms email
        copy "$name"
    done
    # Over to another provider where the first refuses; and down a chain whose first channel always does.
    TENANT_OF[messages_half$cycle.csv]=delta
    file "messages_half$cycle.csv" "$ROWS" sms
    TENANT_OF[messages_chain$cycle.csv]=delta
    file "messages_chain$cycle.csv" 20 ''
    sed -i '1s/$/,fallback/; 2,$s/$/,whatsapp>sms/' "$WORK/in/messages_chain$cycle.csv"
    copy "messages_half$cycle.csv"
    copy "messages_chain$cycle.csv"
    if ((cycle % 5 == 1)); then
        file "messages_long$cycle.csv" "$ROWS_LONG" sms email viber
        upload_later "messages_long$cycle.csv"
        file "messages_dry$cycle.csv" "$ROWS_DRY" telegram
        copy "messages_dry$cycle.csv"
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
account --again messages_again --wire "$WIRE" --crashes "$KILLS" --in-recovery $((CYCLES / 3 + 1)) --title "cycles $CYCLES ($KILLS SIGKILL, $((CYCLES - KILLS)) SIGTERM)  " ||
    fail "the account does not balance"
say "stopped in $STOP_MS ms, with messages under way in at most $SLOWEST_STOP_MS ms; kill9.sh: all held in $SECONDS s"
