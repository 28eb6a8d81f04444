"""Clients of npm: ssh2-sftp-client and basic-ftp, each through a few lines of JavaScript."""

import json
import os
from pathlib import Path

from client import (
    FTP_PORT, HOST, IMPLICIT_PORT, PASSWORD, SFTP_PORT, USER, Client, operators, run, same_trees, sample_tree,
)

HERE = Path(__file__).parent


class Npm(Client):
    def __init__(self, name, script, port, cannot=None, **options):
        self.name = name
        self.script = script
        self.options = {"host": HOST, "port": port, "user": USER, "password": PASSWORD, **options}
        self.cannot = cannot or {}

    def node(self, verb, *paths):
        # Every byte a character: how basic-ftp is told to send names.
        texts = [path.decode("latin-1") if isinstance(path, bytes) else os.fspath(path) for path in paths]
        job = {"options": self.options, "verb": verb, "paths": texts}
        return json.loads(run("node", HERE / self.script, stdin=json.dumps(job).encode()) or b"null")

    def put(self, local, remote):
        self.node("put", local, remote)

    def get(self, remote, local):
        self.node("get", remote, local)

    def names(self, folder):
        return {name.encode("latin-1") for name in self.node("names", folder)}

    def own(self, folder, local):
        """A tree there and back."""
        sample_tree(local / "tree", empty="0 B" not in self.cannot)
        self.node("putTree", local / "tree", folder + b"/tree")
        same_trees(local / "tree", operators(folder + b"/tree"))
        self.node("getTree", folder + b"/tree", local / "back")
        same_trees(local / "tree", local / "back")


UTF_8 = {case: "JavaScript strings are sent as UTF-8" for case in ("latin-1", "no latin-1")}
# Without it the door takes no file over TLS: it might be cut.
NO_END = {"0 B": "Node ends an empty upload without TLS's own end where it is quicker than the handshake"}
CLIENTS = [
    Npm("ssh2-sftp-client", "ssh2_sftp_client.js", SFTP_PORT, cannot=UTF_8),
    Npm("basic-ftp", "basic_ftp.js", FTP_PORT, secure=False),
    Npm("basic-ftp-tls", "basic_ftp.js", FTP_PORT, cannot=NO_END, secure=True),
    Npm("basic-ftp-implicit", "basic_ftp.js", IMPLICIT_PORT, cannot=NO_END, secure="implicit"),
]
