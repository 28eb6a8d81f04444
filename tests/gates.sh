#!/usr/bin/env bash
# Scanners that nobody here wrote, against the doors: ssh-audit, sslscan, testssl.sh, nmap and hydra look for what is
# weak; fsx and fio write at random through sshfs. Only loopback is touched.
#
# Use: tests/gates.sh [GATE...]      all gates, or some of: ssh tls nmap guard files
#   LONG=1                 testssl.sh in full (about 3 minutes a door), not only protocols, order, certificate, renegotiation
#   DROPCHUTE_BIN=FILE     the program; without it `cargo build` makes one
#   DROPCHUTE_INSTALL=1    installs what is missing: scanners by apt-get, ssh-audit and fsx into ~/.cache/dropchute;
#                          without it, says what is missing and exits 77
#   KEEP=1                 keeps the temporary folder
# Exit: 0 all held, 1 something did not, 77 not run.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
need curl=curl sftp=openssh-client sshfs=sshfs sslscan=sslscan testssl=testssl.sh nmap=nmap hydra=hydra fio=fio \
    python3=python3-venv
find_python_tools
find_program
FSX_VERSION=0.3.2
filled "fsx-$FSX_VERSION" cargo install --quiet fsx --version "$FSX_VERSION" --root . --target-dir "$WORK/fsx"
FSX=$CACHE/fsx-$FSX_VERSION/bin/fsx
export HOME=$WORK
PASSWORD='p@ss word'
# Scanners look like attackers: where they are not to be banned, the guard only watches.
LENIENT='[guard]
threshold = 1000000'

# --- SSH: the algorithm policies

# ssh_audit POLICY WORST: under the policy, findings are at most so bad (0 none, 2 warnings), and what is offered
# is what tests/gates/POLICY.policy froze.
ssh_audit() {
    local policy=$1 worst=$2 status=0
    start_doors "policy = \"$policy\"" "" "$LENIENT"
    "$PYTHON_BIN/ssh-audit" --no-colors --skip-rate-test -p "$SFTP_PORT" 127.0.0.1 >"$WORK/ssh-audit.$policy" 2>&1 || status=$?
    if [ "$status" -gt "$worst" ]; then
        grep -E '\[(fail|warn)\]' "$WORK/ssh-audit.$policy" >&2 || cat "$WORK/ssh-audit.$policy" >&2
        fail "ssh-audit under \"$policy\": exit $status"
    fi
    "$PYTHON_BIN/ssh-audit" --no-colors -P "$ROOT/tests/gates/$policy.policy" -p "$SFTP_PORT" 127.0.0.1 \
        >"$WORK/ssh-audit.$policy.policy" 2>&1 ||
        { cat "$WORK/ssh-audit.$policy.policy" >&2; fail "\"$policy\" offers other algorithms than tests/gates/$policy.policy"; }
    stop_serve 5000
    pass "ssh-audit: \"$policy\": exit $status, as frozen"
}
gate_ssh() {
    ssh_audit modern 0
    ssh_audit compat 2
}

# --- TLS: explicit and implicit

gate_tls() {
    local door
    start_doors "" "" "$LENIENT"
    for door in "explicit $FTP_PORT --starttls-ftp --starttls ftp" "implicit $FTPS_PORT"; do
        set -- $door
        sslscan --no-colour ${3:-} "127.0.0.1:$2" >"$WORK/sslscan.$1" 2>&1 || fail "sslscan $1"
        python3 - "$WORK/sslscan.$1" <<'PY' || fail "sslscan, $1 FTPS (see above)"
import re, sys
text = open(sys.argv[1]).read()
bad = [line for line in text.splitlines() if re.search(r"^(SSLv\d|TLSv1\.[01]) +enabled|vulnerable to heartbleed$", line)
       and "not vulnerable" not in line]
ciphers = re.findall(r"^(?:Preferred|Accepted) +(\S+) +\d+ bits +(\S+)", text, re.M)
bad += [f"{version} {name}" for version, name in ciphers
        if version not in ("TLSv1.2", "TLSv1.3") or not re.match(r"TLS_(AES|CHACHA)|ECDHE-.*(GCM|CHACHA)", name)]
if {version for version, _ in ciphers} != {"TLSv1.2", "TLSv1.3"}:
    bad.append(f"accepted: {ciphers}")
print("\n".join(bad), file=sys.stderr)
sys.exit(bool(bad))
PY
        pass "sslscan: $1 FTPS offers TLS 1.2 and 1.3 with ECDHE and AEAD only"
        rm -f "$WORK/testssl.json"
        local checks=(-p -P -S -R -C)
        [ -z "${LONG:-}" ] || checks=()
        # Its exit status counts findings of any kind.
        timeout 900 testssl --quiet --color 0 --warnings off --openssl-timeout 30 --connect-timeout 30 \
            ${4:+"$4" "$5"} ${checks[@]+"${checks[@]}"} \
            --jsonfile "$WORK/testssl.json" "127.0.0.1:$2" >"$WORK/testssl.$1" 2>&1 || true
        python3 - "$WORK/testssl.json" "$ROOT/tests/gates/testssl_expected.txt" <<'PY' || fail "testssl.sh, $1 FTPS (see above)"
import json, sys
expected = {line.split()[0] for line in open(sys.argv[2]) if line.strip() and not line.startswith("#")}
findings = json.load(open(sys.argv[1]))
bad = [f for f in findings if f["severity"] in ("LOW", "MEDIUM", "HIGH", "CRITICAL", "FATAL") and f["id"].split(" ")[0] not in expected]
for finding in bad:
    print(finding["severity"], finding["id"], finding["finding"], file=sys.stderr)
print(f"     {len(findings)} checks by testssl.sh")
sys.exit(bool(bad) or len(findings) < 20)
PY
        pass "testssl.sh: $1 FTPS: nothing but the self-signed certificate"
    done
    stop_serve 5000
}

# --- nmap's scripts

gate_nmap() {
    start_doors "" "" "$LENIENT"
    # Without its argument, ftp-bounce asks for a connection to a host outside.
    nmap -sT -Pn -n -p "$FTP_PORT" --script +ftp-anon,+ftp-syst,+ftp-bounce,+ftp-vsftpd-backdoor,+ftp-proftpd-backdoor \
        --script-args "ftp-bounce.checkhost=127.0.0.1" 127.0.0.1 >"$WORK/nmap.ftp" 2>&1
    nmap -sT -Pn -n -p "$SFTP_PORT" --script +ssh2-enum-algos,+ssh-auth-methods,+sshv1 \
        --script-args "ssh.user=erp" 127.0.0.1 >"$WORK/nmap.ssh" 2>&1
    nmap -sT -Pn -n -p "$FTPS_PORT" --script +ssl-enum-ciphers,+ssl-cert,+ssl-heartbleed,+ssl-poodle,+ssl-dh-params \
        127.0.0.1 >"$WORK/nmap.tls" 2>&1
    if grep -Ei "anonymous ftp login allowed|bounce working|VULNERABLE|Server supports SSHv1" "$WORK"/nmap.*; then
        fail "nmap found something"
    fi
    grep -q "least strength: A" "$WORK/nmap.tls" || { cat "$WORK/nmap.tls" >&2; fail "nmap: ciphers are weaker than A"; }
    grep -q "publickey" "$WORK/nmap.ssh" || { cat "$WORK/nmap.ssh" >&2; fail "nmap: ssh-auth-methods"; }
    stop_serve 5000
    pass "nmap: no anonymous login, no bounce, no SSHv1, ciphers A"
}

# --- The guard, against hydra

# good_login ADDRESS: from there, over all doors.
good_login() {
    curl -sS -m 20 --interface "$1" -u "erp:$PASSWORD" "ftp://127.0.0.1:$FTP_PORT/" >/dev/null &&
        sftp -q "${SSH_OPTIONS[@]}" -oIdentitiesOnly=yes -oBindAddress="$1" -i "$WORK/id_ed25519" -P "$SFTP_PORT" \
            -b - erp@127.0.0.1 <<<"ls" >/dev/null
}
# guessed DOOR PORT: hydra guesses until it is refused; the right password stands behind more wrong ones than the
# guard lets anybody try. Meanwhile the account's owner gets in from elsewhere.
guessed() {
    timeout 90 hydra -I -l erp -P "$WORK/guesses" -s "$2" -t 4 127.0.0.1 "$1" >"$WORK/hydra.$1" 2>&1 &
    local guesser=$!
    STARTED+=("$guesser")
    eventually 60 "hydra is banned ($1)" banned
    good_login 127.0.0.2 || fail "the owner does not get in from another address"
    wait "$guesser" || true
    if grep -E "login: erp +password:" "$WORK/hydra.$1"; then fail "hydra guessed the password over $1"; fi
    if good_login 127.0.0.1 2>/dev/null; then fail "a banned address gets in"; fi
    dropchute ban remove 127.0.0.1 >/dev/null || fail "ban remove"
    good_login 127.0.0.1 || fail "no way in after the ban was lifted"
    pass "hydra over $1: banned before the password; the owner got in from elsewhere"
}
banned() { dropchute ban list | grep -q 127.0.0.1; }
gate_guard() {
    start_doors
    { seq -f 'wrong-%g' 40; echo "$PASSWORD"; seq -f 'more-%g' 40; } >"$WORK/guesses"
    good_login 127.0.0.2 || fail "the owner does not get in"
    guessed ftp "$FTP_PORT"
    guessed ssh "$SFTP_PORT"
    stop_serve 5000
}

# --- Random writes

# in_mount COMMAND: with the tenant's tree mounted by sshfs at $MOUNT.
gate_files() {
    MOUNT=$WORK/mount
    mkdir -p "$MOUNT"
    start_doors
    if ! sshfs -p "$SFTP_PORT" "${SSH_OPTIONS[@]}" -oIdentitiesOnly=yes -oIdentityFile="$WORK/id_ed25519" \
        erp@127.0.0.1:/ "$MOUNT" 2>"$WORK/sshfs.log"; then
        [ ! -e /dev/fuse ] || grep -qi "fuse\|permitted" "$WORK/sshfs.log" || { cat "$WORK/sshfs.log" >&2; fail "sshfs"; }
        say "skip fsx, fio: FUSE cannot be used here: $(cat "$WORK/sshfs.log")"
        stop_serve 5000
        return
    fi
    mounted || fail "a file written at random through sshfs"
    fusermount3 -u "$MOUNT" || fusermount -u "$MOUNT"
    stop_serve 5000
    pass "fsx and fio: random writes through sshfs hold; a file with a hole is refused"
}
mounted() {
    # A finished file is never changed in place: it is copied when opened for writing, and replaced at CLOSE.
    printf 'blockmode = true\nflen = 262144\n[opsize]\nmax = 65536\n[weights]\ntruncate = 0\ninvalidate = 0.5\nfsync = 0.1\n' \
        >"$WORK/fsx.toml"
    head -c 262144 /dev/urandom >"$MOUNT/media/fsx.bin"
    eventually 10 "the file is in place" test -s "$TREE/media/fsx.bin"
    timeout 120 "$FSX" -P "$WORK" -f "$WORK/fsx.toml" -N "${FSX_OPERATIONS:-3000}" -S 7 "$MOUNT/media/fsx.bin" >"$WORK/fsx.log" 2>&1 ||
        { tail -n 20 "$WORK/fsx.log" >&2; return 1; }
    timeout 120 fio --name=dropchute --directory="$MOUNT/media" --rw=randwrite --size=8m --bs=4k --verify=crc32c --verify_state_save=0 \
        --verify_fatal=1 --ioengine=psync --fallocate=none >"$WORK/fio.log" 2>&1 || { tail -n 20 "$WORK/fio.log" >&2; return 1; }
    eventually 10 "fio's file is in place" test -s "$TREE/media/dropchute.0.0"
    # Writing may begin anywhere, but what has holes at the end is no whole file.
    dd if=/dev/urandom of="$MOUNT/media/hole.bin" bs=4k seek=10 count=1 conv=notrunc status=none || true
    sleep 1
    if [ -e "$TREE/media/hole.bin" ]; then say "a file with a hole was taken" >&2; return 1; fi
}

for gate in "${@:-ssh tls nmap guard files}"; do
    for each in $gate; do "gate_$each"; done
done
say "gates.sh: $CHECKS checks held in $SECONDS s"
