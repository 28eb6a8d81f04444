# Shared by the scripts of this folder: tools, a throw-away instance, foreign receivers.
# To be sourced by bash under `set -euo pipefail`. Everything runs on 127.0.0.1, as the user who calls,
# in a temporary folder that is removed at the end (KEEP=1 keeps it).

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dropchute
WORK=$(mktemp -d "${TMPDIR:-/tmp}/dropchute-test.XXXXXX")
# Postfix's smtp-sink runs as `nobody` where the caller is root, and must reach its dump folder.
chmod 755 "$WORK"
export TZ=UTC LC_ALL=C.UTF-8
STARTED=()
# Commands for the end, whatever it is; before the temporary folder goes.
AT_END=()
SERVE_PID=
CHECKS=0

say() { printf '%s\n' "$*"; }
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    KEEP=1
    exit 1
}
# not_run WHY: this machine cannot show it; exit 77.
not_run() {
    say "NOT RUN: $*" >&2
    exit 77
}
pass() {
    CHECKS=$((CHECKS + 1))
    say "ok   $*"
}

cleanup() {
    local status=$? pid command
    trap - EXIT
    if [ -n "$SERVE_PID" ]; then kill -9 "$SERVE_PID" 2>/dev/null || true; fi
    for pid in ${STARTED[@]+"${STARTED[@]}"}; do
        kill -TERM "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    for command in ${AT_END[@]+"${AT_END[@]}"}; do eval "$command" || true; done
    if [ "$status" -ne 0 ] || [ -n "${KEEP:-}" ]; then
        for log in "$WORK"/serve*.log; do
            if [ "$status" -ne 0 ] && [ -f "$log" ]; then
                say "--- end of $log" >&2
                tail -n 15 "$log" >&2
            fi
        done
        say "kept: $WORK" >&2
    else
        rm -rf "$WORK"
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# --- Tools

as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi; }

# need COMMAND=PACKAGE...: without DROPCHUTE_INSTALL=1 nothing is installed; what is missing is named, exit 77.
need() {
    local pair missing=() packages=()
    for pair in "$@"; do
        command -v "${pair%%=*}" >/dev/null || { missing+=("${pair%%=*}"); packages+=("${pair#*=}"); }
    done
    [ ${#missing[@]} -eq 0 ] && return
    if [ "${DROPCHUTE_INSTALL:-}" = 1 ]; then
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
            "${packages[@]}" >"$WORK/apt.log" 2>&1 || { tail -n 20 "$WORK/apt.log" >&2; fail "apt-get install ${packages[*]}"; }
        return
    fi
    say "NOT RUN: missing ${missing[*]}; install ${packages[*]}, or set DROPCHUTE_INSTALL=1" >&2
    exit 77
}

# unpacked PACKAGE PROGRAM: a program's path; from its Debian package, unpacked and not installed, so that
# no service starts, where the system has none.
unpacked() {
    local package=$1 program=$2 folder=$CACHE/debs/$1 fresh
    if command -v "$program" >/dev/null; then command -v "$program"; return; fi
    if [ ! -x "$folder/usr/sbin/$program" ]; then
        if [ "${DROPCHUTE_INSTALL:-}" != 1 ]; then
            say "NOT RUN: missing $program of Debian's $package; set DROPCHUTE_INSTALL=1 to have it fetched" >&2
            exit 77
        fi
        mkdir -p "$CACHE/debs"
        fresh=$(mktemp -d "$CACHE/debs/fresh.XXXXXX")
        (cd "$fresh" && apt-get download -q "$package" && dpkg -x ./*.deb .) >"$WORK/$package.log" 2>&1 ||
            { cat "$WORK/$package.log" >&2; fail "apt-get download $package"; }
        chmod -R a+rX "$fresh"
        rm -rf "$folder"
        mv "$fresh" "$folder"
    fi
    say "$folder/usr/sbin/$program"
}

# filled FOLDER COMMAND...: a folder of the cache that the command, run in it, fills once and for all.
filled() {
    local folder=$CACHE/$1
    shift
    [ ! -e "$folder/.whole" ] || return 0
    if [ "${DROPCHUTE_INSTALL:-}" != 1 ]; then
        say "NOT RUN: missing $folder; set DROPCHUTE_INSTALL=1 to have it filled: $*" >&2
        exit 77
    fi
    rm -rf "$folder"
    mkdir -p "$folder"
    (cd "$folder" && "$@") >"$WORK/filled.log" 2>&1 || { tail -n 20 "$WORK/filled.log" >&2; fail "$*"; }
    touch "$folder/.whole"
}

# Python's and npm's clients, in the versions that tests/clients/ names.
find_python_tools() {
    local list=$ROOT/tests/clients/requirements.txt folder
    folder=python-$(sha256sum "$list" | cut -c-12)
    filled "$folder" bash -c "python3 -m venv . && bin/pip -q install --disable-pip-version-check -r '$list'"
    PYTHON_BIN=$CACHE/$folder/bin
}
find_npm_tools() {
    local folder
    need node=nodejs npm=npm
    folder=npm-$(sha256sum "$ROOT/tests/clients/package-lock.json" | cut -c-12)
    filled "$folder" bash -c "cp '$ROOT'/tests/clients/package*.json . && npm ci --omit=optional --ignore-scripts"
    NODE_MODULES=$CACHE/$folder/node_modules
}

# Everything tests/clients/ drives.
find_clients() {
    need curl=curl sftp=openssh-client sshfs=sshfs lftp=lftp rclone=rclone wget=wget ncftpput=ncftp tnftp=tnftp \
        python3=python3-venv
    find_python_tools
    find_npm_tools
    local version
    version=$(sed -n 's/^paramiko==//p' "$ROOT/tests/clients/requirements.txt")
    filled "paramiko-$version" bash -c "'$PYTHON_BIN/pip' -q download --no-deps --no-binary :all: paramiko==$version &&
        tar -xzf paramiko-*.tar.gz --strip-components 1"
    PARAMIKO_SOURCE=$CACHE/paramiko-$version
}
# What tests/clients/client.py reads.
export_doors() { export WORK TREE SFTP_PORT FTP_PORT FTPS_PORT PASSWORD NODE_MODULES PARAMIKO_SOURCE; }

find_tools() {
    need curl=curl sftp=openssh-client sshpass=sshpass python3=python3-minimal
    SMTP_SINK=$(unpacked postfix smtp-sink)
    NGINX=$(unpacked nginx nginx)
    find_program
}

find_program() {
    BIN=${DROPCHUTE_BIN:-}
    if [ -z "$BIN" ]; then
        (cd "$ROOT" && cargo build --quiet --bin dropchute)
        BIN=$(cd "$ROOT" && cargo metadata --format-version 1 --no-deps |
            python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/debug/dropchute
    fi
    [ -x "$BIN" ] || fail "no program at $BIN"
}

# --- Waiting

# eventually SECONDS WHAT COMMAND...: polls until the command succeeds.
eventually() {
    local seconds=$1 what=$2 deadline=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what: not within ${seconds} s"
        sleep 0.1
    done
}

answers_tcp() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
now_ms() { local t=${EPOCHREALTIME/[.,]/}; say $((t / 1000)); }

# Ports below the kernel's ephemeral range, so that no client's own end takes one in between.
PORT=$((10000 + RANDOM % 20000))
free_port() {
    while PORT=$((PORT + 1)); answers_tcp "$PORT"; do :; done
    FREE_PORT=$PORT
}

# --- Receivers that nobody of this project wrote

# start_smtp_sink [ARGS]: each message becomes a file in $WORK/mail.
start_smtp_sink() {
    mkdir -p "$WORK/mail"
    chmod 777 "$WORK/mail"
    free_port
    SMTP_PORT=$FREE_PORT
    local user=()
    [ "$(id -u)" -eq 0 ] && user=(-u nobody)
    LD_LIBRARY_PATH=$CACHE/debs/postfix/usr/lib/postfix "$SMTP_SINK" -4 ${user[@]+"${user[@]}"} \
        -d "$WORK/mail/m." "$@" "inet:127.0.0.1:$SMTP_PORT" 1024 >"$WORK/smtp-sink.log" 2>&1 &
    STARTED+=($!)
    eventually 10 "smtp-sink listens" answers_tcp "$SMTP_PORT"
}

# start_nginx [DIRECTIVE]: logs each request's body, a JSON string a line, to $WORK/http.log. The directive
# stands in the inner server, behind the one that reads and logs the request. /half refuses every other message for the
# moment (503), /no all of them for good (422).
start_nginx() {
    free_port
    HTTP_PORT=$FREE_PORT
    mkdir -p "$WORK/nginx"
    cat >"$WORK/nginx/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $WORK/nginx/pid;
error_log $WORK/nginx/error.log;
$([ "$(id -u)" -eq 0 ] && echo 'user root;')
events { worker_connections 512; }
http {
    log_format bodies escape=json '{"status":\$status,"body":"\$request_body"}';
    access_log off;
    client_body_temp_path $WORK/nginx/body; proxy_temp_path $WORK/nginx/proxy;
    fastcgi_temp_path $WORK/nginx/f; uwsgi_temp_path $WORK/nginx/u; scgi_temp_path $WORK/nginx/s;
    limit_req_zone all zone=slow:1m rate=100r/s;
    split_clients \$request_id \$is_refused { 50% yes; * no; }
    server {
        listen 127.0.0.1:$HTTP_PORT;
        location / { access_log $WORK/http.log bodies; proxy_pass http://unix:$WORK/nginx/socket; }
    }
    server {
        listen unix:$WORK/nginx/socket;
        ${1:-}
        location / { try_files /none @answer; }
        # Refuses every other message for the moment, and none of them is ever taken.
        location /half { if (\$is_refused = yes) { return 503; } try_files /none @answer; }
        location /no { return 422; }
        location @answer { return 200 '{"status":"ok","id":"\$request_id"}'; }
    }
}
CONF
    "$NGINX" -p "$WORK/nginx" -e "$WORK/nginx/error.log" -c "$WORK/nginx/nginx.conf" >"$WORK/nginx/out.log" 2>&1 &
    STARTED+=($!)
    eventually 10 "nginx listens" answers_tcp "$HTTP_PORT"
}

# --- The instance

# sftp_config: the beginning of an instance whose only door is SFTP, and which takes files soon.
sftp_config() {
    cat <<CONF
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
default_category = "transactional"
CONF
}

# start_serve [LOG]: and waits until it is ready.
start_serve() {
    launch_serve "$@"
    eventually 30 "the daemon is ready" curl -fsS -m 2 "http://127.0.0.1:$ADMIN_PORT/readyz"
}

launch_serve() {
    "$BIN" --config "$WORK/dropchute.toml" serve >>"${1:-$WORK/serve.log}" 2>&1 &
    SERVE_PID=$!
}

# start_doors [SFTP_KEYS [FTP_KEYS [MORE]]]: an instance with every door open, in clear as well, and one tenant
# whose account `erp` may use all of them and whose messages go nowhere.
start_doors() {
    free_port; SFTP_PORT=$FREE_PORT
    free_port; FTP_PORT=$FREE_PORT
    free_port; FTPS_PORT=$FREE_PORT
    free_port; ADMIN_PORT=$FREE_PORT
    free_port
    [ -e "$WORK/id_ed25519" ] || ssh-keygen -q -t ed25519 -N '' -f "$WORK/id_ed25519"
    DATA=${DATA:-$WORK/data}
    TREE=$DATA/tenants/acme
    cat >"$WORK/dropchute.toml" <<CONF
format = 1
data_dir = "$DATA"
disk_reserve = "0%"
[sftp]
listen = ["127.0.0.1:$SFTP_PORT"]
${1:-}
[ftp]
listen = ["127.0.0.1:$FTP_PORT"]
implicit_listen = ["127.0.0.1:$FTPS_PORT"]
tls = "optional"
passive_ports = "$((FREE_PORT + 10))-$((FREE_PORT + 200))"
${2:-}
[admin]
listen = "127.0.0.1:$ADMIN_PORT"
[web]
listen = "127.0.0.1:0"
[defaults]
grace = "1s"
settle = "1s"
default_category = "transactional"
[provider.dry]
kind = "simulator"
[tenant.acme]
sender.email = ["Acme <news@acme.example>"]
channel.email = ["dry"]
[tenant.acme.account.erp]
password_hash = "$(hash_of "$PASSWORD")"
ssh_keys = ["$(cut -d' ' -f1,2 "$WORK/id_ed25519.pub")"]
protocols = ["sftp", "ftps", "ftp"]
${3:-}
CONF
    PORT=$((FREE_PORT + 200))
    dropchute check >/dev/null || { cat "$WORK/cli.log" >&2; fail "check refuses the configuration"; }
    start_serve
}

# stop_serve MAX_MS: SIGTERM; must exit 0 within the time.
stop_serve() {
    local from status=0
    from=$(now_ms)
    kill -TERM "$SERVE_PID"
    wait "$SERVE_PID" || status=$?
    SERVE_PID=
    STOP_MS=$(($(now_ms) - from))
    [ "$status" -eq 0 ] || fail "exit status $status after SIGTERM"
    [ "$STOP_MS" -le "$1" ] || fail "took $STOP_MS ms to stop, more than $1"
}

# What the command line tells besides its answer, warnings above all, goes to a file.
dropchute() { "$BIN" --config "$WORK/dropchute.toml" "$@" 2>>"$WORK/cli.log"; }

# hash_of PASSWORD
hash_of() { printf %s "$1" | "$BIN" hash-password; }

SSH_OPTIONS=(-oStrictHostKeyChecking=no -oUserKnownHostsFile=/dev/null -oLogLevel=ERROR -oConnectTimeout=10)

# sftp_with_key USER COMMAND...: OpenSSH's sftp, one command an argument; fails where one of them does.
sftp_with_key() {
    local user=$1
    shift
    printf '%s\n' "$@" | sftp -q "${SSH_OPTIONS[@]}" -oIdentitiesOnly=yes -i "$WORK/id_ed25519" -P "$SFTP_PORT" \
        -b - "$user@127.0.0.1"
}
