"""Every client through every case, and a table of what came of it. Started by tests/doors.sh."""

import csv
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import by_asyncssh
import by_curl
import by_ftplib
import by_lftp
import by_npm
import by_openssh
import by_others
import by_paramiko
import by_rclone
from client import WORK, Client, Failed, NotHere, must, operators, same_bytes

CLIENTS = [
    client
    for room in (by_openssh, by_curl, by_lftp, by_rclone, by_paramiko, by_asyncssh, by_npm, by_ftplib, by_others)
    for client in room.CLIENTS
]
SIZES = {"0 B": 0, "1 B": 1, "4 KiB": 4 << 10, "20 MiB": 20 << 20}
NAMES = {
    "spaces": b"two words, and more.bin",
    "umlauts": "Grüße aus Köln.bin".encode(),
    "emoji": "📦 paket 🚀.bin".encode(),
    "latin-1": "Gr\xfc\xdfe.bin".encode("latin-1"),
    "255 B": b"n" * 251 + b".bin",
}
CASES = [*SIZES, *NAMES, "list", "inbox", "no latin-1", "own"]
SHORT = b"a small file\n"
# grace, settle, and some for a busy machine.
ANSWER_SECONDS = 30
NOTE_MAX = 600


class Column:
    """One client's way through the cases."""

    def __init__(self, client):
        self.client = client
        self.results = {}
        self.notes = []
        self.here = WORK / f"here-{client.name}"
        self.there = b"/media/" + client.name.encode()

    def walk(self):
        self.here.mkdir()
        os.mkdir(operators(self.there))
        try:
            self.client.prepare()
        except NotHere as reason:
            self.results = dict.fromkeys(CASES, "-")
            self.notes.append(f"{self.client.name}: not run: {reason}")
            return self
        began = time.monotonic()
        try:
            if not self.client.only_own:
                self.all_cases()
            if type(self.client).own is not Client.own:
                self.case("own", self.own)
            if self.results.get("inbox") == "ok":
                self.case("inbox", self.collect)
        finally:
            self.client.finish()
        print(f"{self.client.name}: {time.monotonic() - began:.1f} s", flush=True)
        return self

    def all_cases(self):
        self.case("inbox", self.drop)
        for case, size in SIZES.items():
            self.case(case, lambda: self.round_trip(b"%d.bin" % size, WORK / f"size-{size}"))
        for case, name in NAMES.items():
            self.case(case, lambda: self.round_trip(name, WORK / "short"))
        self.case("list", self.list)
        self.case("no latin-1", self.drop_latin_1)

    def case(self, case, step):
        reason = self.client.cannot.get(case)
        if reason:
            self.results[case] = "-"
            self.notes.append(f"{self.client.name}, {case}: skipped: {reason}")
            return
        try:
            step()
            self.results[case] = "ok"
        except Exception as error:  # whatever a client's library raises is a finding
            self.results[case] = "FAIL"
            what = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
            self.notes.append(f"{self.client.name}, {case}: FAILED: {what[:NOTE_MAX]}")

    def round_trip(self, name, local):
        """There, seen byte for byte on the operator's side, and back."""
        remote = self.there + b"/" + name
        self.client.put(local, remote)
        same_bytes(local, operators(remote))
        back = self.here / "back"
        back.unlink(missing_ok=True)
        self.client.get(remote, back)
        same_bytes(local, back)

    def list(self):
        if not self.client.reads_any_name:
            os.unlink(operators(self.there + b"/" + NAMES["latin-1"]))
        wanted = set(os.listdir(operators(self.there)))
        found = set(self.client.names(self.there))
        if "latin-1" in self.client.cannot:
            wanted = {name for name in wanted if name.decode("utf-8", "replace").encode() == name}
            found = {name for name in found if b"\xef\xbf\xbd" not in name}
        must(wanted == found, f"not seen: {sorted(wanted - found)}; seen too much: {sorted(found - wanted)}")
        must(len(wanted) >= 4, f"only {len(wanted)} files were there")

    def inbox_name(self):
        return f"messages_{self.client.name}.csv"

    def drop(self):
        local = self.here / self.inbox_name()
        local.write_text(f"row_id,email,subject,text\n{self.client.name}-1,ann@one.example,Hi,Grüße\n", encoding="utf-8")
        self.client.put(local, b"/inbox/" + local.name.encode())

    def collect(self):
        """The answer, awaited on the operator's side and fetched by the client."""
        remote = b"/outbox/" + self.inbox_name().encode() + b".ack.csv"
        deadline = time.monotonic() + ANSWER_SECONDS
        while not os.path.exists(operators(remote)):
            must(time.monotonic() < deadline, "no ACK")
            time.sleep(0.1)
        local = self.here / "ack.csv"
        self.client.get(remote, local)
        with open(local, newline="", encoding="utf-8") as text:
            ack = next(csv.DictReader(text))
        must(ack["state"] == "ACCEPTED", f"the ACK says {ack['state']} {ack['code']}")

    def drop_latin_1(self):
        """A name in the inbox that is no UTF-8 is refused, and leaves nothing behind."""
        if "latin-1" in self.client.cannot:
            self.results["no latin-1"] = "-"
            return
        remote = b"/inbox/messages_\xfc.csv"
        try:
            self.client.put(WORK / "short", remote)
        except Exception:
            must(not os.path.exists(operators(remote)), "it was refused, but is there")
            return
        raise Failed("a name that is no UTF-8 was taken in the inbox")

    def own(self):
        folder = self.there + b"/own"
        os.mkdir(operators(folder))
        local = self.here / "own"
        local.mkdir()
        self.client.own(folder, local)


def table(columns):
    widths = [max(len(column.client.name) for column in columns)] + [max(len(case), 4) for case in CASES]
    rows = [["", *CASES]] + [
        [column.client.name, *(column.results.get(case, "") for case in CASES)] for column in columns
    ]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def main(wanted):
    for size in SIZES.values():
        (WORK / f"size-{size}").write_bytes(os.urandom(size))
    (WORK / "short").write_bytes(SHORT)
    chosen = [client for client in CLIENTS if not wanted or any(client.name.startswith(name) for name in wanted)]
    must(chosen, f"no such client; there are {' '.join(client.name for client in CLIENTS)}")
    with ThreadPoolExecutor(2) as walkers:
        columns = list(walkers.map(lambda client: Column(client).walk(), chosen))
    print()
    table(columns)
    notes = [note for column in columns for note in column.notes]
    print("\n".join(["", *notes]) if notes else "")
    failed = sum(result == "FAIL" for column in columns for result in column.results.values())
    print(f"{len(columns)} clients, {failed} cases failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
