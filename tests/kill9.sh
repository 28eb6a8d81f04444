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
CYCLES=${1:-20}
SEED=${SEED:-$((RANDOM * 32768 + RANDOM))}
say "kill9.sh: $CYCLES cycles, SEED=$SEED"
find_tools
# From here on chance follows the seed; ports were chosen before.
free_port; SFTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
SMTP_CONNECTIONS=4
HTTP_CONCURRENCY=8
FOLDER_CONCURRENCY=4
ROWS=60
ROWS_LONG=6000
# A tenth of the messages waits a second or more at the final dot; nginx answers a hundred a second.
start_smtp_sink -W .:1:10
start_nginx 'limit_req zone=slow burst=500;'
RANDOM=$SEED

ssh-keygen -q -t ed25519 -N '' -f "$WORK/id_ed25519"
cat >"$WORK/dropchute.toml" <<CONF
format = 1
data_dir = "data"
disk_reserve = "0%"
[sftp]
listen = ["127.0.0.1:$SFTP_PORT"]
[ftp]
listen = []
[admin]
listen = "127.0.0.1:$ADMIN_PORT"
[web]
listen = "127.0.0.1:0"
[defaults]
grace = "200ms"
settle = "200ms"
quiet = "1s"
default_category = "transactional"
default_country = "DE"
dedupe = "none"
[provider.mail]
kind = "smtp"
host = "127.0.0.1"
port = $SMTP_PORT
tls = "none"
connections = $SMTP_CONNECTIONS
retry_first = "1s"
[provider.api]
kind = "http"
url = "http://127.0.0.1:$HTTP_PORT/send"
body = '{"to": {{ to | tojson }}, "ref": {{ message_id | tojson }}}'
success = { pointer = "/status", equals = "ok" }
concurrency = $HTTP_CONCURRENCY
retry_first = "1s"
[provider.folder]
kind = "directory"
path = "sent"
concurrency = $FOLDER_CONCURRENCY
[provider.dry]
kind = "simulator"
[tenant.acme.account.erp]
ssh_keys = ["$(cut -d' ' -f1,2 "$WORK/id_ed25519.pub")"]
protocols = ["sftp"]
[tenant.acme.sender]
email = ["Acme <news@acme.example>"]
sms = ["ACME"]
viber = ["Acme"]
telegram = ["acme_bot"]
[tenant.acme.channel]
email = ["mail"]
sms = ["api"]
viber = ["folder"]
telegram = ["dry"]
CONF
dropchute check >/dev/null || { cat "$WORK/cli.log" >&2; fail "check refuses the configuration"; }

# file NAME ROWS CHANNEL...: rows that take the channels in turn.
mkdir -p "$WORK/in"
file() {
    local name=$1 rows=$2
    shift 2
    awk -v name="$name" -v rows="$rows" -v channels="$*" 'BEGIN {
        n = split(channels, channel, " ")
        print "row_id,channel,email,phone,telegram_chat_id,subject,text"
        for (row = 1; row <= rows; row++)
            print name "-" row "," channel[row % n + 1] ",r" row "@one.example,+4915112345678," row ",Hi,Text of row " row
    }' >"$WORK/in/$name"
    FILES+=("$name")
}
# Until it stands there, as a partner's script would.
upload() {
    until sftp_with_key erp "put $WORK/in/$1 /inbox/.$1.part" "rename /inbox/.$1.part /inbox/$1" >/dev/null 2>&1; do
        # Where the rename happened and only its answer was lost, the next upload is the same file again.
        sleep 0.2
    done
}
copy() {
    local inbox=$WORK/data/tenants/acme/inbox
    cp "$WORK/in/$1" "$inbox/.$1.part"
    mv "$inbox/.$1.part" "$inbox/$1"
}

# pause FROM_MS SPAN_MS: waits a random while.
pause() {
    local ms=$(($1 + RANDOM % $2))
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}
# upload_later NAME: the client goes on through kills, beside everything else.
upload_later() {
    upload "$1" &
    UPLOADS+=($!)
    STARTED+=($!)
}

FILES=()
UPLOADS=()
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
        kill -KILL "$SERVE_PID"
        wait "$SERVE_PID" 2>/dev/null || true
        SERVE_PID=
        KILLS=$((KILLS + 1))
    fi
done

start_serve "$WORK/serve.999.log"
for upload in "${UPLOADS[@]}"; do wait "$upload"; done
all_answered() {
    local name
    for name in "${FILES[@]}"; do
        [ -e "$WORK/data/tenants/acme/outbox/$name.summary.csv" ] || return 1
    done
    dropchute status >"$WORK/status" && grep -q '^batches_open *0$' "$WORK/status"
}
eventually 300 "all files are answered" all_answered
mkdir "$WORK/out"
sftp_with_key erp "get /outbox/*.csv $WORK/out/" >/dev/null || fail "the answers cannot be collected"
stop_serve 3000
if grep -a -l "panicked" "$WORK"/serve.*.log; then fail "a panic in the log"; fi

# --- The account

python3 - "$WORK" "$CYCLES" "$KILLS" $((SMTP_CONNECTIONS + HTTP_CONCURRENCY + FOLDER_CONCURRENCY)) <<'PY' || fail "the account does not balance"
import collections, csv, glob, json, os, re, sys
work, cycles, kills, wire = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
problems = []
def table(path):
    return list(csv.DictReader(open(path, newline="", encoding="utf-8")))

mails = [open(path, "rb").read() for path in glob.glob(f"{work}/mail/*")]
# A message that a kill cut short of its last line is in a dump, but nobody has received it.
at_sink = {
    "email": [re.search(rb"(?mi)^Message-ID:\s*<([^>]+)>", mail).group(1).decode()
              for mail in mails if b"Text of row" in mail],
    "sms": [json.loads(json.loads(line)["body"])["ref"] for line in open(f"{work}/http.log", encoding="utf-8")],
    "viber": [name.removesuffix(".json") for name in os.listdir(f"{work}/sent") if not name.startswith(".")],
}
doubled = {channel: [m for m, n in collections.Counter(got).items() if n > 1] for channel, got in at_sink.items()}
rows, status, sent, unknown, repeated = 0, collections.Counter(), collections.defaultdict(set), collections.defaultdict(set), 0
for source in sorted(glob.glob(f"{work}/in/*.csv")):
    name = os.path.basename(source)
    wanted = [row["row_id"] for row in table(source)]
    acks = table(f"{work}/out/{name}.ack.csv")
    if len(acks) != 1 or acks[0]["state"] not in ("ACCEPTED", "DUPLICATE"):
        problems.append(f"{name}: ack {acks}")
    repeated += acks[0]["state"] == "DUPLICATE"
    lines = table(f"{work}/out/{name}.result.csv")
    if [line["row_id"] for line in lines] != wanted or [int(line["row"]) for line in lines] != list(range(1, len(wanted) + 1)):
        problems.append(f"{name}: {len(wanted)} rows, but {len(lines)} result lines or another order")
    summary = table(f"{work}/out/{name}.summary.csv")[0]
    counted = collections.Counter(line["status"] for line in lines)
    if any(int(summary[s] or 0) != counted[s] for s in ("sent", "submitted", "unknown")) or int(summary["rows_total"]) != len(wanted):
        problems.append(f"{name}: summary {summary} but {counted}")
    rows += len(wanted)
    status += counted
    answers = {os.path.basename(path).removeprefix(name + ".") for path in glob.glob(f"{work}/out/{name}.*")}
    if answers != {"ack.csv", "result.csv", "final.csv", "summary.csv"}:
        problems.append(f"{name}: answers {sorted(answers)}")
    kept = glob.glob(f"{work}/data/tenants/acme/archive/accepted/*/*/*/*_{name}")
    if [open(path, "rb").read() for path in kept] != [open(source, "rb").read()]:
        problems.append(f"{name}: the archive holds {kept}")
    for line in lines:
        if line["status"] in ("sent", "submitted"):
            sent[line["channel"]].add(line["message_id"])
        elif line["status"] == "unknown":
            unknown[line["channel"]].add(line["message_id"])
            if line["code"] != "delivery.outcome_unknown":
                problems.append(f"{name}: unknown without its code: {line}")
        else:
            problems.append(f"{name}: status {line['status']} {line['code']} of row {line['row']}")
lost, unreported, arrived = 0, 0, 0
for channel, got in at_sink.items():
    got = set(got)
    lost += len(sent[channel] - got)
    unreported += len(got - sent[channel] - unknown[channel])
    arrived += len(unknown[channel] & got)
# Every start names the rows that were on the wire when the process before it was killed.
named, most = 0, 0
for log in glob.glob(f"{work}/serve.*.log"):
    text = re.sub(r"\x1b\[[0-9;]*m", "", open(log, encoding="utf-8").read())
    found = [int(n) for n in re.findall(r"rows were on the wire.*?\brows=(\d+)", text)]
    named, most = named + sum(found), max(most, sum(found))
    if found and log.split(".")[-2] in open(f"{work}/after-sigterm").read().split():
        problems.append(f"{sum(found)} rows unknown after a SIGTERM: {log}")
all_unknown = sum(map(len, unknown.values()))
if lost: problems.append(f"{lost} rows reported sent never arrived")
if unreported: problems.append(f"{unreported} messages arrived of rows not reported sent or unknown")
if any(doubled.values()): problems.append(f"sent twice: {doubled}")
if most > wire: problems.append(f"{most} rows unknown after one kill, but only {wire} can be on the wire")
if all_unknown > kills * wire: problems.append(f"{all_unknown} rows unknown after {kills} kills")
# A kill during recovery may come between its work and its words.
if named > all_unknown: problems.append(f"{named} unknown rows were logged, {all_unknown} reported")
files = len(glob.glob(f"{work}/in/*.csv"))
print(f"cycles {cycles} ({kills} SIGKILL, {cycles - kills} SIGTERM)  files {files} ({repeated} uploaded again, DUPLICATE)  rows {rows}  "
      + "  ".join(f"{s} {n}" for s, n in sorted(status.items())))
print(f"received: email {len(at_sink['email'])}  sms {len(at_sink['sms'])}  folder {len(at_sink['viber'])}")
print(f"unknown {all_unknown} ({arrived} had arrived; at most {most} a kill, {wire} may be on the wire)  "
      f"lost {lost}  doubled {sum(map(len, doubled.values()))}")
for problem in problems: print("PROBLEM", problem[:2000])
sys.exit(bool(problems))
PY
say "stopped in $STOP_MS ms, with messages under way in at most $SLOWEST_STOP_MS ms; kill9.sh: all held in $SECONDS s"
