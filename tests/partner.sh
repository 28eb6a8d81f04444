#!/usr/bin/env bash
# A partner who has nothing but lftp, or nothing but OpenSSH's sftp: reads /spec, drops wrong files, reads the
# answers, corrects what they name, drops again, until everything is sent. Each step looks only at what the
# client fetched; at the end Postfix's smtp-sink and nginx must have got every message, each once.
#
# Use: tests/partner.sh
#   DROPCHUTE_BIN, DROPCHUTE_INSTALL, KEEP    as in tests/clients.sh
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need lftp=lftp
find_tools
export HOME=$WORK
PASSWORD=secret

start_smtp_sink
start_nginx
free_port; SFTP_PORT=$FREE_PORT
free_port; FTP_PORT=$FREE_PORT
free_port; ADMIN_PORT=$FREE_PORT
free_port
HASH=$(hash_of "$PASSWORD")
cat >"$WORK/dropchute.toml" <<CONF
format = 1
data_dir = "data"
disk_reserve = "0%"
[sftp]
listen = ["127.0.0.1:$SFTP_PORT"]
[ftp]
listen = ["127.0.0.1:$FTP_PORT"]
passive_ports = "$((FREE_PORT + 10))-$((FREE_PORT + 90))"
[admin]
listen = "127.0.0.1:$ADMIN_PORT"
[web]
listen = "127.0.0.1:0"
[provider.mail]
kind = "smtp"
host = "127.0.0.1"
port = $SMTP_PORT
tls = "none"
[provider.api]
kind = "http"
url = "http://127.0.0.1:$HTTP_PORT/send"
body = '{"to": {{ to | tojson }}, "text": {{ text | tojson }}, "ref": {{ message_id | tojson }}}'
success = { pointer = "/status", equals = "ok" }
id_pointer = "/id"
[tenant.acme]
grace = "1s"
settle = "1s"
default_category = "transactional"
default_country = "DE"
approve_above = 5
account.erp = { password_hash = '$HASH', rights = ["drop", "collect", "control"] }
account.boss = { password_hash = '$HASH', rights = ["drop", "approve"] }
sender = { email = ["Acme <news@acme.example>"], sms = ["ACME"] }
channel = { email = ["mail"], sms = ["api"] }
[tenant.acme.profile.billing]
match = "INV_*.txt"
kind = "messages"
delimiter = ";"
encoding = "windows-1252"
columns = { Nr = "row_id", Mobil = "phone", Betrag = "var_amount", Nachname = "var_name" }
values = { channel = "sms", text = "Hallo {{ name }}, bitte {{ amount }} EUR zahlen." }
CONF
dropchute check >/dev/null || { cat "$WORK/cli.log" >&2; fail "check refuses the configuration"; }
start_serve
mkdir -p "$WORK/in" "$WORK/out"
cd "$WORK/in"

# --- What the partner does, by each client: put FILE FOLDER [ACCOUNT], fetch PATH

put_lftp() { lftp_as "${3:-erp}" "put -O /inbox${2:+/$2} $1"; }
fetch_lftp() { lftp_as erp "get $1 -o $WORK/out/${1##*/}"; }
lftp_as() {
    lftp -c "set net:max-retries 1; set cmd:fail-exit yes; set ssl:verify-certificate no; set ftp:ssl-force yes;
        set ftp:ssl-protect-data yes; set xfer:clobber yes; open -u $1,$PASSWORD ftp://127.0.0.1:$FTP_PORT; $2"
}
put_sftp() { sftp_as "${3:-erp}" "put $1 /inbox${2:+/$2}/"; }
fetch_sftp() { sftp_as erp "get $1 $WORK/out/${1##*/}"; }
sftp_as() {
    printf '%s\n' "$2" | SSHPASS=$PASSWORD sshpass -e sftp -q -oBatchMode=no -oPubkeyAuthentication=no \
        "${SSH_OPTIONS[@]}" -P "$SFTP_PORT" -b - "$1@127.0.0.1"
}
put() { "put_$CLIENT" "$@" >"$WORK/client.log" 2>&1; }
fetch() { "fetch_$CLIENT" "$1" >"$WORK/client.log" 2>&1 && [ -s "$WORK/out/${1##*/}" ]; }
# cell FILE COLUMN [LINE]: a field of an answer.
cell() {
    python3 - "$WORK/out/$1" "$2" "${3:-1}" <<'PY'
import csv, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="", encoding="utf-8")))
print(rows[int(sys.argv[3]) - 1][sys.argv[2]])
PY
}
is() { [ "$1" = "$2" ] || fail "$CLIENT: expected \"$2\", found \"$1\" ($3)"; }
in_state() { fetch "/outbox/$1.ack.csv" && [ "$(cell "${1##*/}.ack.csv" state)" = "$2" ]; }
# drop FILE STATE [CODE [FOLDER]]: and waits for that answer.
drop() {
    local path=${4:+$4/}$1
    put "$1" "${4:-}" || { cat "$WORK/client.log" >&2; fail "$CLIENT: drop $1"; }
    eventually 20 "$CLIENT: $path answered $2" in_state "$path" "$2"
    is "$(cell "$1.ack.csv" code)" "${3:-}" "$1"
}
# told FILE LINE-OF-ERRORS COLUMN WORDS: what an answer says to do.
told() {
    fetch "/outbox/$1.errors.csv" || fail "$CLIENT: no errors of $1"
    case $(cell "$1.errors.csv" "$3" "$2") in *"$4"*) ;; *) fail "$CLIENT: $1, $3: $(cell "$1.errors.csv" "$3" "$2")" ;; esac
}

# --- The journey; each client has names, numbers and addresses of its own

journey() {
    CLIENT=$1
    local n=$2 c=$1
    fetch /spec/README.txt || fail "$CLIENT: no /spec/README.txt"
    grep -q 'messages_x.csv.rejected.csv' "$WORK/out/README.txt" || fail "the page does not tell of rejected files"
    fetch /spec/samples/messages_sample.csv || fail "$CLIENT: no sample"
    sed "s/sample-/$c-s/; s/ann@/$c-s@/; s/+12015550123/+491510000001$n/" "$WORK/out/messages_sample.csv" >messages_first_$c.csv
    drop messages_first_$c.csv ACCEPTED
    pass "$CLIENT: a sample with the partner's own addresses is taken"

    # An export in its own dialect, with what spreadsheets and people do to numbers.
    printf 'Nr;Nachname;Mobil;Betrag\r\n%s-1;M\374ller;0151 0000002%s;12,50\r\n%s-2;Schmidt;4.91713E+11;7,00\r\n%s-3;Wei\337;;8\r\n%s-4;Kurz;01510000;9\r\n' \
        "$c" "$n" "$c" "$c" "$c" >INV_$c.txt
    drop INV_$c.txt ACCEPTED_WITH_ERRORS row.phone_damaged
    told INV_$c.txt 1 column_name Mobil
    told INV_$c.txt 1 hint "as text"
    told INV_$c.txt 2 line 4
    told INV_$c.txt 3 hint "country code"
    fetch "/outbox/INV_$c.txt.rejected.csv" || fail "$CLIENT: no rejected file"
    sed "s/4.91713E+11/01510000003$n/; s/;Wei\xdf;;/;Wei\xdf;01510000004$n;/; s/;01510000;/;01510000005$n;/" \
        <"$WORK/out/INV_$c.txt.rejected.csv" >INV_$c.txt.rejected.csv
    drop INV_$c.txt.rejected.csv ACCEPTED
    pass "$CLIENT: the rejected rows, corrected, are taken back"

    printf 'e-mial,text\n%s-a@one.example,Hello\n' "$c" >messages_header_$c.csv
    drop messages_header_$c.csv REJECTED header.column_missing
    told messages_header_$c.csv 1 hint "did you mean \`email\`"
    sed -i 's/e-mial/e-mail/' messages_header_$c.csv
    drop messages_header_$c.csv ACCEPTED
    printf 'email,text\n%s-b@one.example,"Hello\n' "$c" >messages_quote_$c.csv
    drop messages_quote_$c.csv REJECTED file.quote_unterminated
    told messages_quote_$c.csv 1 line 2
    sed -i 's/"//' messages_quote_$c.csv
    drop messages_quote_$c.csv ACCEPTED
    printf 'email,text\n%s-c@one.example,Hello\n' "$c" >customers_$c.csv
    drop customers_$c.csv REJECTED file.kind_unknown
    told customers_$c.csv 1 hint "folder"
    drop customers_$c.csv ACCEPTED "" messages
    printf '#rows=2\nemail,text\n%s-d@one.example,Hello\n' "$c" >messages_rows_$c.csv
    drop messages_rows_$c.csv REJECTED file.rows_mismatch
    printf '%s-e@one.example,Hello\n' "$c" >>messages_rows_$c.csv
    drop messages_rows_$c.csv ACCEPTED
    printf 'email,text\n%s-f@one.example,Hello\n' "$c" | gzip >whole.gz
    head -c 30 whole.gz >messages_packed_$c.csv.gz
    drop messages_packed_$c.csv.gz REJECTED file.archive_invalid
    mv whole.gz messages_packed_$c.csv.gz
    drop messages_packed_$c.csv.gz ACCEPTED
    pass "$CLIENT: header, quote, kind, count and archive are told, mended and taken"

    cp messages_header_$c.csv messages_again_$c.csv
    drop messages_again_$c.csv DUPLICATE file.duplicate
    { echo email,text; for row in 1 2 3 4 5 6; do echo "$c-h$row@one.example,Hello"; done; } >messages_many_$c.csv
    drop messages_many_$c.csv HELD file.approval_needed
    : >messages_many_$c.csv.approve
    if put messages_many_$c.csv.approve ""; then fail "$CLIENT: erp may not approve"; fi
    put messages_many_$c.csv.approve "" boss || fail "$CLIENT: boss may approve"
    eventually 20 "$CLIENT: approved" in_state messages_many_$c.csv ACCEPTED
    { echo email,text; for row in 1 2 3 4 5 6; do echo "$c-never$row@one.example,Hello"; done; } >messages_wrong_$c.csv
    drop messages_wrong_$c.csv HELD file.approval_needed
    : >messages_wrong_$c.csv.cancel
    drop messages_wrong_$c.csv.cancel ACCEPTED
    eventually 20 "$CLIENT: cancelled" in_state messages_wrong_$c.csv REJECTED
    pass "$CLIENT: the same again, approval and cancelling are answered"
}
journey lftp 1
journey sftp 2

# --- Everything that was taken has arrived, once, and nothing else

mails() { grep -ohE '^X-Rcpt-Args: <[^>]+>' "$WORK"/mail/* | sed 's/.*<//; s/>//' | sort; }
texts() { grep -ohE '\+49151[0-9]+' "$WORK/http.log" | sort; }
for c in lftp sftp; do
    printf "$c-%s@one.example\n" a b c d e f h1 h2 h3 h4 h5 h6
    echo "$c-s@example.com"
done | sort >"$WORK/mails.expected"
printf '+491510000001%s\n+491510000002%s\n+491510000003%s\n+491510000004%s\n+491510000005%s\n' 1 1 1 1 1 2 2 2 2 2 |
    sort >"$WORK/texts.expected"
arrived() { cmp -s <(mails) "$WORK/mails.expected" && cmp -s <(texts) "$WORK/texts.expected"; }
eventually 20 "$(wc -l <"$WORK/mails.expected") mails and 10 texts" arrived
for name in messages_many_lftp.csv INV_sftp.txt.rejected.csv; do
    CLIENT=lftp
    eventually 20 "the result of $name" fetch "/outbox/$name.result.csv"
done
arrived || fail "something came twice"
pass "all $(wc -l <"$WORK/mails.expected") mails and 10 texts arrived, each once"
stop_serve 5000
say "$CHECKS checks held"
