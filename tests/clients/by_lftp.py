"""lftp, by every protocol; its mirror both ways."""

import os
import shlex

from client import (
    FTP_PORT, HOST, IMPLICIT_PORT, PASSWORD, REKEY_OFTEN, SFTP_PORT, SSH_OPTIONS, USER, Client, must, operators, run,
    same_bytes, same_trees, sample_tree,
)

SETTINGS = f"""set net:max-retries 1; set net:timeout 20; set cmd:fail-exit yes; set xfer:clobber yes;
set ssl:verify-certificate no; set sftp:auto-confirm yes; set cmd:interactive no;
set sftp:connect-program 'ssh -a -x {shlex.join([*SSH_OPTIONS, REKEY_OFTEN])}';
"""


def quoted(path):
    return b'"' + os.fsencode(path).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


class Lftp(Client):
    def __init__(self, name, scheme, port, settings=""):
        self.name = name
        self.open = f"{SETTINGS}{settings}open -u '{USER},{PASSWORD}' {scheme}://{HOST}:{port};\n".encode()

    def lftp(self, *commands):
        script = self.open + b"\n".join(b" ".join(part if isinstance(part, bytes) else part.encode()
                                                  for part in command) for command in commands)
        return run("lftp", "-c", script)

    def put(self, local, remote):
        self.lftp(("put", quoted(local), "-o", quoted(remote)))

    def get(self, remote, local):
        self.lftp(("get", quoted(remote), "-o", quoted(local)))

    def names(self, folder):
        lines = self.lftp(("cd", quoted(folder)), ("cls", "-1", "-a"))
        return {line.rstrip(b"/@") for line in lines.splitlines()} - {b".", b".."}

    def own(self, folder, local):
        """Mirrors both ways, again with nothing to do; resuming; names and folders."""
        sample_tree(local / "tree")
        (local / "big").write_bytes(os.urandom(3 << 20))
        self.lftp(("mirror", "-R", quoted(local / "tree"), quoted(folder + b"/tree")))
        same_trees(local / "tree", operators(folder + b"/tree"))
        self.lftp(("mirror", "--parallel=3", quoted(folder + b"/tree"), quoted(local / "back")))
        same_trees(local / "tree", local / "back")
        again = self.lftp(("mirror", "--verbose", "--only-newer", quoted(folder + b"/tree"), quoted(local / "back")))
        must(b"Transferring" not in again, f"the second mirror copies again: {again!r}")
        there = quoted(folder + b"/big")
        part = local / "part"
        part.write_bytes((local / "big").read_bytes()[:1_000_000])
        self.lftp(("put", quoted(local / "big"), "-o", there), ("get", "-c", there, "-o", quoted(part)))
        same_bytes(local / "big", part)
        self.lftp(("mkdir", quoted(folder + b"/x y")), ("mv", there, quoted(folder + b"/x y/big")),
                  ("du", quoted(folder)), ("rm", "-r", quoted(folder + b"/x y")))
        must(not os.path.exists(operators(folder + b"/x y")), "rm -r left something")


CLEAR = "set ftp:ssl-allow no;"
TLS = "set ftp:ssl-force yes; set ftp:ssl-protect-data yes;"
CLIENTS = [
    Lftp("lftp-sftp", "sftp", SFTP_PORT),
    Lftp("lftp-ftp", "ftp", FTP_PORT, CLEAR),
    Lftp("lftp-ftp-pipelined", "ftp", FTP_PORT, CLEAR + "set ftp:sync-mode no;"),
    Lftp("lftp-ftps", "ftp", FTP_PORT, TLS),
    Lftp("lftp-implicit", "ftps", IMPLICIT_PORT),
]
