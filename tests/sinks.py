"""Providers that misbehave, each in one way, and what the contract says becomes of a message that one of them was given.

A case is a tenant with one channel, one row and one or two providers of its own. Which way a provider behaves stands in
its URL's path, or in the name it is logged into with, so that one listener serves them all.
Use: sinks.py serve LOG           listens, and prints the ports as JSON; each message that came whole is a line of LOG
     sinks.py configure DIR PORTS writes the configuration's providers and tenants
     sinks.py drop DIR SECONDS    drops each case's file, whose row has so long
     sinks.py check DIR           compares results and LOG with the table; prints what differs
"""

import base64
import csv
import json
import pathlib
import re
import socket
import sys
import threading
import time

LOCK = threading.Lock()
# Longer than any time-out that the providers below are given.
NEVER = 30
OK = b'{"status":"ok","id":"p1"}'

# --- HTTP: what is written to the connection once the request came whole.


def answer(status, body=OK, head=""):
    length = f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status} Because\r\n{length}{head}\r\n".encode() + body


def endless(piece):
    def send(connection):
        while True:
            connection.sendall(piece)

    return send


def late(seconds):
    def send(connection):
        time.sleep(seconds)
        connection.sendall(answer(200))

    return send


def in_two(connection):
    whole = answer(200)
    connection.sendall(whole[:40])
    time.sleep(0.4)
    connection.sendall(whole[40:])


HTTP = {
    "late": late(2.5),
    "too_late": late(NEVER),
    "in_two": in_two,
    "closes": lambda connection: None,
    "cut_body": lambda connection: connection.sendall(answer(200, OK * 2)[:-30]),
    "error_body": lambda connection: connection.sendall(answer(200, b'{"status":"error"}')),
    "no_json": lambda connection: connection.sendall(answer(200, b"<html>welcome</html>")),
    "empty_body": lambda connection: connection.sendall(answer(200, b"")),
    "endless_body": endless(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 65536),
    "endless_head": endless(b"HTTP/1.1 200 OK\r\nX-More: " + b"x" * 65536),
    "endless_lines": endless(b"HTTP/1.1 200 OK\r\n" + b"X-More: yes\r\n" * 5000),
    "no_http": lambda connection: connection.sendall(b"220 mail.example ESMTP\r\n" * 3),
    # SETTINGS, then GOAWAY: what a server says that knows HTTP/2 alone.
    "h2_only": lambda connection: connection.sendall(
        bytes.fromhex("000000040000000000" "00000807000000000000000000" "00000001")
    ),
    "redirect": lambda connection: connection.sendall(
        answer(302, b"", "Location: http://127.0.0.1:%d/sneaky\r\n" % connection.getsockname()[1])
    ),
    "busy": lambda connection: connection.sendall(answer(503, b"", "Retry-After: 1\r\n")),
}


def serve_http(connection, log):
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or sys.exit()
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
    while len(body) < length:
        body += connection.recv(65536) or sys.exit()
    behaviour = head.split(b" ")[1].strip(b"/").decode()
    log(f"{behaviour} {json.loads(body)['ref']}")
    if behaviour.isdigit():
        connection.sendall(answer(int(behaviour)))
    else:
        HTTP[behaviour](connection)


# --- SMTP: the behaviour is the name that is logged in with.


class Smtp:
    def __init__(self, connection, log):
        self.connection, self.log, self.rest = connection, log, b""

    def say(self, text):
        self.connection.sendall(text.encode("latin-1") + b"\r\n")

    def until(self, mark):
        while mark not in self.rest:
            self.rest += self.connection.recv(65536) or sys.exit()
        line, self.rest = self.rest.split(mark, 1)
        return line

    def serve(self, is_rude):
        if is_rude == "greets_without_end":
            endless(b"220-" + b"x" * 65536)(self.connection)
        if is_rude == "hangs_up":
            return
        self.say("220 sink ESMTP")
        self.until(b"\r\n")
        self.connection.sendall(b"250-sink\r\n250 AUTH PLAIN\r\n")
        login = self.until(b"\r\n").split(b" ")[2]
        self.how = base64.b64decode(login).split(b"\0")[1].decode()
        if self.how == "account":
            return self.say("535 5.7.8 no")
        if self.how == "ready_late":
            # Longer than a chunk waits for a turn.
            time.sleep(6.5)
        self.say("235 go on")
        while True:
            command = self.until(b"\r\n")[:4].upper()
            if command == b"QUIT":
                return self.say("221 bye")
            if command == b"DATA":
                self.data()
            elif command == b"RCPT" and self.how in RCPT:
                self.say(RCPT[self.how])
            elif command == b"RCPT" and self.how == "closes_at_rcpt":
                return
            else:
                self.say("250 ok")

    def data(self):
        if self.how == "421_at_data":
            self.say("421 4.3.2 closing")
            sys.exit()
        self.say("354 go on")
        if self.how == "421_in_data":
            # It is answered in its middle, and not taken.
            self.until(b"Subject:")
            self.say("421 4.3.2 closing")
            self.until(b"\r\n.\r\n")
            sys.exit()
        message = self.until(b"\r\n.\r\n")
        ref = re.search(rb"(?i)message-id: *<([^>]*)>", message)[1].decode()
        self.log(f"{self.how} {ref}")
        DOT[self.how](self)


def smtp_late(seconds):
    def send(smtp):
        time.sleep(seconds)
        smtp.say("250 ok")

    return send


def smtp_in_two(smtp):
    for part in [b"25", b"0-taken\r", b"\n250 ", b"ok\r\n"]:
        smtp.connection.sendall(part)
        time.sleep(0.2)


RCPT = {
    "permanent_recipient": "550 5.1.1 nobody",
    "throttled": "450 4.7.28 slowly",
    "transient": "451 4.3.0 later",
}
DOT = {
    "accepted": lambda smtp: smtp.say("250 ok"),
    "permanent_message": lambda smtp: smtp.say("554 5.7.1 spam"),
    "unknown": lambda smtp: sys.exit(),
    "late": smtp_late(2.5),
    "ready_late": lambda smtp: smtp.say("250 ok"),
    "too_late": smtp_late(NEVER),
    "in_two": smtp_in_two,
    "not_utf8": lambda smtp: smtp.say("250 2.0.0 \xfcbernommen"),
    "endless_line": lambda smtp: endless(b"x" * 65536)(smtp.connection),
    "endless_lines": lambda smtp: endless(b"250-more\r\n" * 5000)(smtp.connection),
    "no_smtp": lambda smtp: smtp.say("HTTP/1.1 200 OK"),
    "closes_in_answer": lambda smtp: (smtp.connection.sendall(b"250 o"), sys.exit()),
}
RUDE = ["greets_without_end", "hangs_up"]

# --- The table

OUTCOMES = {
    "accepted": 200,
    "permanent_recipient": 404,
    "permanent_message": 409,
    "account": 401,
    "throttled": 429,
    "transient": 418,
    "unknown": 502,
}
# Certainly not accepted, by another's fault: the next provider is asked, later the same ones again.
AGAIN = ["account", "throttled", "transient"]
UNKNOWN = ("unknown", "delivery.outcome_unknown")


def ends(kind, outcome):
    """Status and code where the last word is this outcome; none where the row runs out of time or attempts."""
    return {
        "accepted": ("sent" if kind == "smtp" else "submitted", ""),
        "permanent_recipient": ("failed", None),
        "permanent_message": ("failed", None),
        "unknown": UNKNOWN,
    }.get(outcome, ("expired", None))


def cases():
    """Name, channel, both providers as (kind, behaviour), status, code (none: any), how often each got it whole."""
    for first in ("http", "smtp"):
        for second in ("http", "smtp"):
            for a in OUTCOMES:
                # Where the first one's word is the last, what the second would say makes no difference.
                for b in OUTCOMES if a in AGAIN else ["accepted"]:
                    name = f"{first[0]}{second[0]}-{a}-{b}".replace("_", "-").replace("permanent", "p")
                    goes_on = a in AGAIN
                    by, last = (second, b) if goes_on else (first, a)
                    yield name, (first, a), (second, b), *ends(by, last), seen(first, a, goes_on and b in AGAIN), (
                        seen(second, b, b in AGAIN) if goes_on else 0
                    )
    good, second = ("http", "accepted"), {"http": "submitted", "smtp": "sent"}
    taken = {kind: (status, "") for kind, status in second.items()}
    refused, failed = ("submitted", ""), ("failed", None)
    for kind, behaviour, (status, code), whole, other in [
        ("http", "late", taken["http"], 1, 0),
        ("http", "too_late", UNKNOWN, 1, 0),
        ("http", "in_two", taken["http"], 1, 0),
        ("http", "closes", UNKNOWN, 1, 0),
        ("http", "cut_body", UNKNOWN, 1, 0),
        ("http", "error_body", failed, 1, 0),
        ("http", "no_json", UNKNOWN, 1, 0),
        ("http", "empty_body", UNKNOWN, 1, 0),
        ("http", "endless_body", UNKNOWN, 1, 0),
        ("http", "endless_head", UNKNOWN, 1, 0),
        ("http", "endless_lines", UNKNOWN, 1, 0),
        ("http", "no_http", UNKNOWN, 1, 0),
        ("http", "h2_only", UNKNOWN, 1, 0),
        ("http", "redirect", refused, 1, 1),
        ("http", "busy", refused, 1, 1),
        ("http", "nobody", refused, 0, 1),
        ("smtp", "late", taken["smtp"], 1, 0),
        ("smtp", "ready_late", taken["smtp"], 1, 0),
        ("smtp", "too_late", UNKNOWN, 1, 0),
        ("smtp", "in_two", taken["smtp"], 1, 0),
        ("smtp", "not_utf8", taken["smtp"], 1, 0),
        ("smtp", "endless_line", UNKNOWN, 1, 0),
        ("smtp", "endless_lines", UNKNOWN, 1, 0),
        ("smtp", "no_smtp", UNKNOWN, 1, 0),
        ("smtp", "closes_in_answer", UNKNOWN, 1, 0),
        ("smtp", "421_at_data", refused, 0, 1),
        ("smtp", "421_in_data", refused, 0, 1),
        ("smtp", "closes_at_rcpt", refused, 0, 1),
        ("smtp", "greets_without_end", refused, 0, 1),
        ("smtp", "hangs_up", refused, 0, 1),
        ("smtp", "nobody", refused, 0, 1),
    ]:
        yield f"{kind}-{behaviour}".replace("_", "-"), (kind, behaviour), good, status, code, whole, other
    for status, outcome in [
        (300, "account"), (301, "account"), (402, "account"), (403, "account"), (307, "account"),
        (400, "permanent_recipient"), (410, "permanent_recipient"), (422, "permanent_recipient"),
        (405, "permanent_message"), (413, "permanent_message"), (451, "permanent_message"),
        (408, "unknown"), (500, "unknown"), (503, "unknown"), (504, "unknown"), (201, "accepted"), (299, "accepted"),
    ]:
        goes_on = outcome in AGAIN
        end = ends("http", "accepted" if goes_on else outcome)
        yield f"status-{status}", ("http", str(status)), good, *end, 1, int(goes_on)


def seen(kind, outcome, again):
    """How often a provider got the message whole; none for at least once."""
    if kind == "smtp" and outcome not in DOT:
        return 0
    return None if again else 1


# --- What the program is given


def provider(name, kind, behaviour, ports):
    if behaviour == "nobody":
        port = ports["closed"]
    elif kind == "http":
        port = ports["http"]
    else:
        port = ports.get(behaviour, ports["smtp"])
    common = f'[provider.{name}]\nkind = "{kind}"\nattempts_max = 1\nretry_first = "1s"\n'
    if kind == "smtp":
        return common + (
            f'host = "127.0.0.1"\nport = {port}\ntls = "none"\nusername = "{behaviour}"\npassword_file = "secret"\n'
            f'connect_timeout = "2s"\ncommand_timeout = "{9 if behaviour == "ready_late" else 4}s"\n'
            'data_timeout = "4s"\ndot_timeout = "4s"\n'
        )
    path = OUTCOMES.get(behaviour, behaviour)
    return common + (
        f'url = "http://127.0.0.1:{port}/{path}"\ntimeout = "4s"\nconnect_timeout = "2s"\n'
        """body = '{"text": {{ text | tojson }}, "ref": {{ message_id | tojson }}}'\n"""
        'success = { pointer = "/status", equals = "ok" }\nid_pointer = "/id"\noutcomes = { "http:418" = "transient" }\n'
    )


def configure(folder, ports):
    with open(folder / "providers.toml", "w", encoding="utf-8") as out:
        shared = set()
        for name, *both in ((name, first, second) for name, first, second, *_ in cases()):
            ids = []
            for nth, (kind, behaviour) in enumerate(both, 1):
                is_shared = behaviour in ("accepted", "permanent_recipient", "permanent_message")
                ids.append((f"{kind}-{behaviour}".replace("_", "-") if is_shared else name) + f"-{nth}")
                if ids[-1] not in shared:
                    out.write(provider(ids[-1], kind, behaviour, ports))
                shared.add(ids[-1])
            out.write(
                f'[tenant.{name}]\nsender.email = ["Acme <news@acme.example>"]\nchannel.email = {json.dumps(ids)}\n'
            )


def drop(folder, lifetime):
    """Each case's file, into its inbox; first those whose rows nobody takes or refuses for good."""
    for name, (_, first), (_, second), *_ in sorted(cases(), key=lambda case: case[3] != "expired"):
        ends_at = ""
        if first in AGAIN and second in AGAIN:
            ends_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + lifetime))
        text = "long " * 12_000 if first == "421_in_data" else "Hello"
        row = f"row_id,email,subject,text,expires_at\n{name},{name}@sink.example,Hi,{text},{ends_at}\n"
        inbox = folder / "data/tenants" / name / "inbox"
        (inbox / ".one.part").write_text(row, encoding="utf-8")
        (inbox / ".one.part").rename(inbox / "messages_one.csv")
    print(len(list(cases())))


def check(folder):
    whole, wrong = {}, []
    for line in (folder / "sink.log").read_text(encoding="utf-8").splitlines():
        behaviour, ref = line.split()
        whole[ref, behaviour] = whole.get((ref, behaviour), 0) + 1
    for name, first, second, status, code, once, other in cases():
        result = next((folder / "data/tenants" / name / "outbox").rglob("*.result.csv"), None)
        if result is None:
            wrong.append(f"{name}: no result")
            continue
        with open(result, encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        row, ref = rows[0], rows[0]["message_id"]
        logged = [str(OUTCOMES.get(how, how)) if kind == "http" else how for kind, how in (first, second)]
        got = [whole.get((ref, by), 0) for by in logged]
        if first == second:
            # They are told apart by nothing; the second is not asked, or as often as the first.
            got = [got[0], 0] if other == 0 else [n / 2 for n in got]
        ok = len(rows) == 1 and row["status"] == status and code in (None, row["code"])
        ok = ok and all(want == n or want is None and n >= 1 for want, n in zip((once, other), got))
        if not ok:
            wrong.append(f"{name}: {row['status']} {row['code']} seen {got}, not {status} {code} {once} {other}")
        if any(by == "sneaky" for _, by in whole):
            wrong.append("a redirect was followed")
    print("\n".join(sorted(set(wrong))) or f"{len(list(cases()))} cases")
    return 1 if wrong else 0


# --- Listening


def listen(serve):
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def one(connection):
        try:
            with connection:
                serve(connection)
        except (OSError, SystemExit):
            pass

    def accept():
        while True:
            threading.Thread(target=one, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def serve(log_path):
    def log(line):
        with LOCK, open(log_path, "a", encoding="utf-8") as out:
            out.write(line + "\n")

    ports = {"http": listen(lambda c: serve_http(c, log)), "smtp": listen(lambda c: Smtp(c, log).serve(None))}
    for rude in RUDE:
        ports[rude] = listen(lambda c, rude=rude: Smtp(c, log).serve(rude))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        ports["closed"] = closed.getsockname()[1]
    print(json.dumps(ports), flush=True)
    threading.Event().wait()


match sys.argv[1:]:
    case ["serve", log_path]:
        serve(log_path)
    case ["configure", folder, ports]:
        configure(pathlib.Path(folder), json.loads(ports))
    case ["drop", folder, seconds]:
        drop(pathlib.Path(folder), int(seconds))
    case ["check", folder]:
        sys.exit(check(pathlib.Path(folder)))
