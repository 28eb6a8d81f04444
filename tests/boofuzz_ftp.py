"""Fuzzes the FTP door with boofuzz: every verb's word, space and argument in turn, before and after login.

Use: boofuzz_ftp.py PORT CASES FOLDER. Prints the number of cases that were sent. Whether the server took them well
is for the caller to say: it sees the process and its log.
"""

import os
import sys

from boofuzz import (Delim, FuzzLoggerText, Request, Session, Static, String, Target, TCPSocketConnection)

PORT, CASES, FOLDER = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
USER, PASSWORD = "erp", os.environ["PASSWORD"]

# Verb and an argument that means something.
BEFORE_LOGIN = [("USER", USER), ("PASS", PASSWORD), ("AUTH", "SSL"), ("HELP", "SITE"), ("OPTS", "UTF8 ON")]
INSIDE = [
    ("CWD", "/media"), ("MKD", "/media/new"), ("RMD", "/media/new"), ("DELE", "/media/a.bin"),
    ("RNFR", "/media/a.bin"), ("RNTO", "/media/b.bin"), ("SIZE", "/media/a.bin"), ("MDTM", "/media/a.bin"),
    ("MFMT", "20200101000000 /media/a.bin"), ("MLST", "/media"), ("STAT", "/media"), ("HASH", "/media/a.bin"),
    ("REST", "1000"), ("ALLO", "1000 R 100"), ("TYPE", "A N"), ("STRU", "F"), ("MODE", "S"),
    ("OPTS", "MLST type;size;"), ("PORT", "127,0,0,1,100,100"), ("EPRT", "|1|127.0.0.1|25700|"),
    ("EPSV", "1"), ("PBSZ", "0"), ("PROT", "P"), ("SITE", "CHMOD 644 /media/a.bin"),
    ("STOR", "/inbox/a.csv"), ("APPE", "/inbox/a.csv"), ("STOU", "a.csv"), ("RETR", "/media/a.bin"),
    ("LIST", "-la /media"), ("NLST", "/media/*.bin"), ("MLSD", "/media"), ("ACCT", "x"),
]


def command(verb, argument, fuzzed):
    return Request(verb if fuzzed else "as_is_" + verb, children=(
        String(name="verb", default_value=verb, fuzzable=fuzzed, max_len=10_000),
        Delim(name="space", default_value=" ", fuzzable=fuzzed),
        String(name="argument", default_value=argument, fuzzable=fuzzed, max_len=10_000),
        Static(name="end", default_value="\r\n"),
    ))


def fuzz(verb, argument, cases, login):
    session = Session(
        target=Target(connection=TCPSocketConnection("127.0.0.1", PORT, recv_timeout=1.0)),
        index_end=cases,
        web_port=None,
        keep_web_open=False,
        # A server that ends a connection for nonsense is no crashed server.
        crash_threshold_request=10**9,
        crash_threshold_element=10**9,
        ignore_connection_reset=True,
        ignore_connection_aborted=True,
        fuzz_loggers=[FuzzLoggerText(file_handle=open(os.devnull, "w"))],
        db_filename=os.path.join(FOLDER, "boofuzz.db"),
        receive_data_after_each_request=True,
        check_data_received_each_request=False,
    )
    last = None
    for before in (("USER", USER), ("PASS", PASSWORD)) if login else ():
        node = command(*before, fuzzed=False)
        session.connect(node) if last is None else session.connect(last, node)
        last = node
    node = command(verb, argument, fuzzed=True)
    session.connect(node) if last is None else session.connect(last, node)
    session.fuzz(max_depth=1)
    return session.num_cases_actually_fuzzed


def main():
    all_of_them = [(pair, False) for pair in BEFORE_LOGIN] + [(pair, True) for pair in INSIDE]
    sent = 0
    for index, ((verb, argument), login) in enumerate(all_of_them):
        left = len(all_of_them) - index
        sent += fuzz(verb, argument, -(-(CASES - sent) // left), login)
    print(sent)


main()
