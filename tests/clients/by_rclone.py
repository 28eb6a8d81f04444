"""rclone, by every protocol: a tree to a new folder, and `check --download`."""

import os

from client import (
    FTP_PORT, HOST, IMPLICIT_PORT, PASSWORD, SFTP_PORT, USER, WORK, Client, must, operators, run, same_trees, sample_tree,
)

INVALID = "rclone writes bytes that are no UTF-8 as replacement characters"


class Rclone(Client):
    def __init__(self, name, **settings):
        self.name = name
        self.settings = settings
        self.cannot = {"latin-1": INVALID, "no latin-1": INVALID}

    def prepare(self):
        settings = {"host": HOST, "user": USER, "pass": run("rclone", "obscure", PASSWORD).decode().strip(),
                    **self.settings}
        self.env = {f"RCLONE_CONFIG_DOOR_{key.upper()}": value for key, value in settings.items()}
        self.env["RCLONE_CONFIG"] = os.fspath(WORK / f"{self.name}.conf")
        (WORK / f"{self.name}.conf").touch()

    def rclone(self, *command):
        return run("rclone", "--retries", "1", "--low-level-retries", "1", *command, env=self.env)

    def put(self, local, remote):
        self.rclone("copyto", local, b"door:" + remote)

    def get(self, remote, local):
        self.rclone("copyto", b"door:" + remote, local)

    def names(self, folder):
        return set(self.rclone("lsf", b"door:" + folder).splitlines())

    def own(self, folder, local):
        """A tree to a folder that is not there yet, compared byte by byte over the wire; synchronised; purged."""
        sample_tree(local / "tree")
        (local / "tree/big").write_bytes(os.urandom(20 << 20))
        there = b"door:" + folder + b"/new/folder"
        self.rclone("copy", local / "tree", there)
        same_trees(local / "tree", operators(folder + b"/new/folder"))
        self.rclone("check", "--download", local / "tree", there)
        (local / "tree/plain.bin").unlink()
        (local / "tree/big").write_bytes(b"changed")
        self.rclone("sync", local / "tree", there)
        same_trees(local / "tree", operators(folder + b"/new/folder"))
        self.rclone("moveto", there + b"/big", there + b"/sub/moved")
        self.rclone("purge", there)
        must(not os.path.exists(operators(folder + b"/new/folder")), "purge left something")


TLS = {"no_check_certificate": "true"}
CLIENTS = [
    Rclone("rclone-sftp", type="sftp", port=str(SFTP_PORT)),
    Rclone("rclone-ftp", type="ftp", port=str(FTP_PORT)),
    Rclone("rclone-ftps", type="ftp", port=str(FTP_PORT), explicit_tls="true", **TLS),
    Rclone("rclone-implicit", type="ftp", port=str(IMPLICIT_PORT), tls="true", **TLS),
]
