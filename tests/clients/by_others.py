"""The older command line clients of FTP: ncftp, tnftp, and wget, which only fetches."""

import os
from urllib.parse import quote

from client import (
    FTP_PORT, HOST, IMPLICIT_PORT, PASSWORD, USER, Client, must, operators, run, same_bytes, same_trees, sample_tree, url,
)

LOGIN = f"{USER}:{quote(PASSWORD, safe='')}@{HOST}"


class Ncftp(Client):
    name = "ncftp"
    options = ("-u", USER, "-p", PASSWORD, "-P", str(FTP_PORT))

    def put(self, local, remote):
        run("ncftpput", *self.options, "-V", "-C", HOST, local, remote)

    def get(self, remote, local):
        run("ncftpget", *self.options, "-V", "-C", HOST, remote, local)

    def names(self, folder):
        lines = run("ncftpls", *self.options, "-1", f"ftp://{HOST}".encode() + url(folder).encode() + b"/")
        return {line.rstrip(b"/") for line in lines.splitlines()}

    def own(self, folder, local):
        """A tree there and back."""
        sample_tree(local / "tree")
        (local / "back").mkdir()
        run("ncftpput", *self.options, "-V", "-R", HOST, folder, local / "tree")
        same_trees(local / "tree", operators(folder + b"/tree"))
        run("ncftpget", *self.options, "-V", "-R", HOST, local / "back", folder + b"/tree")
        same_trees(local / "tree", local / "back/tree")


class Tnftp(Client):
    name = "tnftp"

    def put(self, local, remote):
        # Its way of putting to a URL (-u) does not decode the path, so this is its command line.
        self.dialogue(b"binary", b'put "%s" "%s"' % (os.fsencode(local), remote))

    def get(self, remote, local):
        run("tnftp", "-V", "-o", local, f"ftp://{LOGIN}:{FTP_PORT}{url(remote)}")

    def dialogue(self, *lines):
        script = b"\n".join([b"user %s \"%s\"" % (USER.encode(), PASSWORD.encode()), *lines, b"quit\n"])
        heard = run("tnftp", "-n", "-v", "-i", HOST, str(FTP_PORT), stdin=script)
        # It goes on, and exits 0, whatever the server said.
        refusals = [line for line in heard.splitlines() if line[:1] in (b"4", b"5") and line[3:4] == b" "]
        must(not refusals, f"refused: {refusals}")
        return heard

    def names(self, folder):
        lines = self.dialogue(b"cd " + folder, b"nlist").splitlines()
        return {line for line in lines if line.endswith(b".bin")}

    def own(self, folder, local):
        """Its own command line: several files, restarting, renaming, sizes."""
        for name in ("one.bin", "two.bin"):
            (local / name).write_bytes(os.urandom(100_000))
        self.dialogue(b"lcd " + os.fsencode(local), b"cd " + folder, b"binary", b"mput one.bin two.bin",
                      b"size one.bin", b"modtime one.bin", b"rename two.bin three.bin", b"mlsd", b"ls",
                      b"get three.bin back.bin")
        same_bytes(local / "one.bin", operators(folder + b"/one.bin"))
        same_bytes(local / "two.bin", local / "back.bin")


class Wget(Client):
    def __init__(self, name, scheme, port, *options):
        self.name = name
        self.root = f"{scheme}://{HOST}:{port}"
        self.options = ("-nv", "--tries=1", "--timeout=20", "--no-check-certificate", f"--user={USER}",
                        f"--password={PASSWORD}", *options)
        why = "wget only fetches"
        self.cannot = {"inbox": why, "no latin-1": why, "list": "wget keeps its listing to itself"}

    def put(self, local, remote):
        """By the operator's hand: wget does not upload."""
        with open(local, "rb") as source, open(operators(remote), "wb") as target:
            target.write(source.read())

    def get(self, remote, local):
        run("wget", *self.options, "-O", local, self.root + url(remote))

    def own(self, folder, local):
        """A tree, found through LIST."""
        sample_tree(operators(folder).decode() + "/tree")
        run("wget", *self.options, "-r", "-nH", "--cut-dirs=4", "--restrict-file-names=nocontrol", "-P", local,
            self.root + url(folder) + "/tree/")
        same_trees(local, operators(folder + b"/tree"))


CLIENTS = [
    Ncftp(),
    Tnftp(),
    Wget("wget-ftp", "ftp", FTP_PORT),
    Wget("wget-ftps", "ftps", FTP_PORT),
    Wget("wget-implicit", "ftps", IMPLICIT_PORT, "--ftps-implicit"),
]
