"""OpenSSH's sftp and scp, and sshfs."""

import os
import shutil
import subprocess
import time

from client import (
    HOST, KEY, PATIENCE, REKEY_OFTEN, SFTP_PORT, SSH_OPTIONS, USER, WORK, Client, Failed, NotHere, must, operators,
    refused_at_once, run, same_bytes, same_trees, sample_tree,
)


def quoted(path):
    """A path in a batch of sftp's: nothing in it is a pattern."""
    path = os.fsencode(path)
    for special in b'\\"*?[':
        path = path.replace(bytes([special]), b"\\" + bytes([special]))
    return b'"' + path + b'"'


class Sftp(Client):
    name = "sftp"

    def batch(self, *commands, options=()):
        lines = b"\n".join(b" ".join(part if isinstance(part, bytes) else part.encode() for part in command)
                           for command in commands)
        return run("sftp", "-q", *SSH_OPTIONS, REKEY_OFTEN, *options, "-P", str(SFTP_PORT), "-b", "-",
                   f"{USER}@{HOST}", stdin=lines + b"\n")

    def put(self, local, remote):
        self.batch(("put", quoted(local), quoted(remote)))

    def get(self, remote, local):
        self.batch(("get", quoted(remote), quoted(local)))

    def names(self, folder):
        # `ls` shows bytes that are no UTF-8 as escapes.
        lines = self.batch(("cd", quoted(folder)), ("ls", "-1"))
        return {line.replace(b"\\374", b"\xfc").replace(b"\\337", b"\xdf")
                for line in lines.splitlines() if not line.startswith(b"sftp>")}

    def own(self, folder, local):
        """Flushing, times, resuming, renaming, the free space; small and large packets."""
        data = os.urandom(3 << 20)
        whole, part, back = local / "whole", local / "part", local / "back"
        whole.write_bytes(data)
        part.write_bytes(data[: 1 << 20])
        os.utime(whole, (1_700_000_000, 1_700_000_000))
        there = quoted(folder + b"/a")
        self.batch(("put", "-f", "-p", quoted(whole), there), ("chmod", "640", there), ("ls", "-la", quoted(folder)),
                   ("df", quoted(folder)), ("rename", there, quoted(folder + b"/b")))
        same_bytes(whole, operators(folder + b"/b"))
        back.write_bytes(data[: 1 << 20])
        self.batch(("reget", quoted(folder + b"/b"), quoted(back)))
        same_bytes(whole, back)
        self.batch(("put", quoted(part), there), ("reput", quoted(whole), there))
        same_bytes(whole, operators(folder + b"/a"))
        for size, requests in ((8192, 1), (32768, 64), (261120, 16)):
            options = (f"-B{size}", f"-R{requests}")
            self.batch(("put", quoted(whole), there), ("get", there, quoted(back)), options=options)
            same_bytes(whole, back)
        sample_tree(local / "tree")
        self.batch(("put", "-R", quoted(local / "tree"), quoted(folder)),
                   ("get", "-R", quoted(folder + b"/tree"), quoted(local / "tree-back")))
        same_trees(local / "tree", local / "tree-back")
        self.batch(("mkdir", quoted(folder + b"/new")), ("rmdir", quoted(folder + b"/new")), ("rm", there))
        must(not os.path.exists(operators(folder + b"/a")), "rm left the file")


class Scp(Client):
    name = "scp"
    cannot = {"list": "scp does not list"}

    def copy(self, source, target, *options):
        run("scp", "-q", *options, *SSH_OPTIONS, REKEY_OFTEN, "-P", str(SFTP_PORT), source, target)

    def there(self, path):
        return f"{USER}@{HOST}:".encode() + path

    def put(self, local, remote):
        self.copy(local, self.there(remote))

    def get(self, remote, local):
        self.copy(self.there(remote), local)

    def own(self, folder, local):
        """A tree there and back; the old protocol, which runs a program over there, is refused at once."""
        sample_tree(local / "tree")
        self.copy(local / "tree", self.there(folder), "-r", "-p")
        self.copy(self.there(folder + b"/tree"), local / "back", "-r", "-p")
        same_trees(local / "tree", local / "back")
        refused_at_once("scp", "-O", *SSH_OPTIONS, "-P", str(SFTP_PORT), WORK / "short", f"{USER}@{HOST}:/media/x")


class Sshfs(Client):
    name = "sshfs"

    def prepare(self):
        if not shutil.which("sshfs"):
            raise NotHere("no sshfs")
        if not os.path.exists("/dev/fuse"):
            raise NotHere("this machine has no FUSE (/dev/fuse)")
        self.mount = WORK / "sshfs"
        self.mount.mkdir()
        command = ["sshfs", "-f", "-p", str(SFTP_PORT), f"{USER}@{HOST}:/", os.fspath(self.mount), REKEY_OFTEN,
                   *SSH_OPTIONS]
        self.log = open(WORK / "sshfs.log", "wb+")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + PATIENCE
        while not os.path.ismount(self.mount):
            if self.process.poll() is not None:
                said = open(WORK / "sshfs.log", encoding="utf-8", errors="replace").read().strip()
                if "fuse" in said or "permitted" in said:
                    raise NotHere(f"FUSE cannot be used: {said}")
                raise Failed(f"sshfs: {said}")
            must(time.monotonic() < deadline, "sshfs does not mount")
            time.sleep(0.05)

    def finish(self):
        if os.path.ismount(self.mount):
            run("fusermount3" if shutil.which("fusermount3") else "fusermount", "-u", self.mount)
        self.process.wait(PATIENCE)
        self.log.close()

    def here(self, path):
        return os.path.join(os.fsencode(self.mount), path.lstrip(b"/"))

    def put(self, local, remote):
        run("cp", local, self.here(remote))
        # sshfs sends its CLOSE after close(2) has returned, and the file is in place only then.
        deadline = time.monotonic() + PATIENCE
        while remote.startswith(b"/media/") and not os.path.exists(operators(remote)):
            must(time.monotonic() < deadline, "the file never came into place")
            time.sleep(0.02)

    def get(self, remote, local):
        run("cp", self.here(remote), local)

    def names(self, folder):
        return set(os.listdir(self.here(folder)))

    def own(self, folder, local):
        """Renaming, removing, the free space, a tree."""
        sample_tree(local / "tree")
        run("cp", "-r", local / "tree", self.here(folder))
        same_trees(local / "tree", self.here(folder + b"/tree"))
        run("mv", self.here(folder + b"/tree/plain.bin"), self.here(folder + b"/moved.bin"))
        same_bytes(local / "tree/plain.bin", operators(folder + b"/moved.bin"))
        run("df", self.here(folder))
        run("rm", "-r", self.here(folder + b"/tree"))
        must(os.listdir(operators(folder)) == [b"moved.bin"], "rm -r left something")


CLIENTS = [Sftp(), Scp(), Sshfs()]
