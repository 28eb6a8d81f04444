# Shared by the scripts that let the daemon or its disk fail while files come in and messages go out:
# the instance, its files, its clients, and the account in the end. To be sourced behind lib.sh.

SMTP_CONNECTIONS=4
HTTP_CONCURRENCY=8
FOLDER_CONCURRENCY=4
# Messages that can be on the wire at the same time.
WIRE=$((SMTP_CONNECTIONS + HTTP_CONCURRENCY + FOLDER_CONCURRENCY))
FILES=()
# Of files that are not acme's.
declare -A TENANT_OF=()
UPLOADS=()

# crash_config [TOP_KEYS [MORE]]: an instance in $DATA whose rows go to smtp-sink, to nginx, to a folder and to
# nobody; by DISK_RESERVE, "0%" unless said, no disk is too full for it. Where there is FTP_PORT, `erp` may use it with
# PASSWORD.
crash_config() {
    DATA=${DATA:-$WORK/data}
    local ftp= login='protocols = ["sftp"]'
    if [ -n "${FTP_PORT:-}" ]; then
        ftp="\"127.0.0.1:$FTP_PORT\""
        login="password_hash = \"$(hash_of "$PASSWORD")\""$'\n''protocols = ["sftp", "ftp"]'
    fi
    [ -e "$WORK/id_ed25519" ] || ssh-keygen -q -t ed25519 -N '' -f "$WORK/id_ed25519"
    cat >"$WORK/dropchute.toml" <<CONF
format = 1
data_dir = "$DATA"
disk_reserve = "${DISK_RESERVE:-0%}"
${1:-}
[sftp]
listen = ["127.0.0.1:$SFTP_PORT"]
[ftp]
listen = [$ftp]
tls = "optional"
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
$login
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
${2:-}
CONF
    dropchute check >/dev/null || { cat "$WORK/cli.log" >&2; fail "check refuses the configuration"; }
}

# file NAME ROWS [CHANNEL...]: rows that take the channels in turn, or name none.
file() {
    local name=$1 rows=$2
    shift 2
    mkdir -p "$WORK/in"
    awk -v name="$name" -v rows="$rows" -v channels="$*" 'BEGIN {
        n = split(channels, channel, " ")
        print "row_id,channel,email,phone,telegram_chat_id,subject,text"
        for (row = 1; row <= rows; row++)
            print name "-" row "," channel[row % (n ? n : 1) + 1] ",r" row "@one.example,+4915112345678," 5000 + row % 1000 ",Hi,Text of row " row
    }' >"$WORK/in/$name"
    FILES+=("$name")
}

# upload NAME: until it stands there, as a partner's script would.
upload() {
    until sftp_with_key erp "put $WORK/in/$1 /inbox/.$1.part" "rename /inbox/.$1.part /inbox/$1" >/dev/null 2>&1; do
        # Where the rename happened and only its answer was lost, the next upload is the same file again.
        sleep 0.2
    done
}

# upload_later NAME: the client goes on through failures, beside everything else.
upload_later() {
    { upload "$1" && : >"$WORK/stood.$1"; } &
    UPLOADS+=("$1")
    STARTED+=($!)
}

# copy NAME: on the machine itself, by a program that trusts it not to crash.
copy() {
    local inbox=$DATA/tenants/${TENANT_OF[$1]:-acme}/inbox
    cp "$WORK/in/$1" "$inbox/.$1.part"
    mv "$inbox/.$1.part" "$inbox/$1"
}

# copy_synced NAME: on the machine itself, by a program that knows that it may lose power.
copy_synced() {
    local inbox=$DATA/tenants/acme/inbox
    cp "$WORK/in/$1" "$inbox/.$1.part" && sync "$inbox/.$1.part" &&
        mv "$inbox/.$1.part" "$inbox/$1" && sync "$inbox"
}
copy_later() {
    { until copy_synced "$1"; do sleep 0.2; done; : >"$WORK/stood.$1"; } 2>/dev/null &
    UPLOADS+=("$1")
    STARTED+=($!)
}

# pause FROM_MS SPAN_MS: waits a random while.
pause() {
    local ms=$(($1 + RANDOM % $2))
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}

# kill_serve: as the kernel ends a process that has no say.
kill_serve() {
    kill -KILL "$SERVE_PID" 2>/dev/null || true
    wait "$SERVE_PID" 2>/dev/null || true
    SERVE_PID=
}

# Every file in FILES has its last answer, and nothing is open.
all_answered() {
    local name
    for name in "${FILES[@]}"; do
        [ -e "$DATA/tenants/${TENANT_OF[$name]:-acme}/outbox/$name.summary.csv" ] || return 1
    done
    dropchute status >"$WORK/status" && grep -q '^batches_open *0$' "$WORK/status"
}

# wait_for_clients: until every upload that was begun has stood there.
wait_for_clients() {
    local upload
    # Not by the processes: of hundreds bash forgets the first, and their numbers are given again.
    for upload in ${UPLOADS[@]+"${UPLOADS[@]}"}; do
        eventually 120 "$upload has stood in the inbox" test -e "$WORK/stood.$upload"
    done
    UPLOADS=()
}

# collect: the answers to $WORK/out, as the partner collects them, and what the archive holds to
# $WORK/archived.
collect() {
    mkdir -p "$WORK/out" "$WORK/archived"
    sftp_with_key erp "get /outbox/*.csv $WORK/out/" >/dev/null || fail "the answers cannot be collected"
    local tenant
    for tenant in $(printf '%s\n' ${TENANT_OF[@]+"${TENANT_OF[@]}"} | sort -u); do
        find "$DATA/tenants/$tenant/outbox" -name '*.csv' -exec cp -t "$WORK/out" {} +
    done
    find "$DATA"/tenants/*/archive/accepted -type f -exec cp -t "$WORK/archived" {} +
}

# account OPTION...: holds files, answers, receivers and logs against each other; see account.py.
account() { python3 "$ROOT/tests/account.py" "$WORK" "$@"; }
