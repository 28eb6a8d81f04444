"""What every client of the matrix is: a name, and how it puts, gets and lists."""

import os
import subprocess
from pathlib import Path
from urllib.parse import quote_from_bytes

HOST = "127.0.0.1"
USER = "erp"
PASSWORD = os.environ["PASSWORD"]
WORK = Path(os.environ["WORK"])
# The tenant's tree on the operator's side.
TREE = Path(os.environ["TREE"])
SFTP_PORT = int(os.environ["SFTP_PORT"])
FTP_PORT = int(os.environ["FTP_PORT"])
IMPLICIT_PORT = int(os.environ["FTPS_PORT"])
KEY = WORK / "id_ed25519"
# Nothing here takes long; what takes longer hangs.
PATIENCE = int(os.environ.get("PATIENCE", "60"))
SSH_OPTIONS = [
    "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null", "-oLogLevel=ERROR", "-oIdentitiesOnly=yes",
    "-oConnectTimeout=10", f"-oIdentityFile={KEY}",
]
# So that a file of some MiB crosses many new key exchanges.
REKEY_OFTEN = "-oRekeyLimit=1M"


class Failed(Exception):
    """A client, or the door, did not do what it should."""


class NotHere(Exception):
    """The client cannot run on this machine."""


class Client:
    """`put`, `get` and `names` raise where the door refuses; names are bytes."""

    name = ""
    # Cases that the client cannot do, each with the reason.
    cannot: dict[str, str] = {}
    # Whether it can list a folder that holds a name that is no UTF-8.
    reads_any_name = True
    # A suite of tests rather than a client: there is nothing but `own`.
    only_own = False

    def prepare(self):
        """Raises NotHere where the client cannot run."""

    def put(self, local, remote):
        raise NotImplementedError

    def get(self, remote, local):
        raise NotImplementedError

    def names(self, folder):
        """The names in a folder, as the client reads them."""
        raise NotImplementedError

    def own(self, folder, local):
        """What only this client does: a new folder of /media, an empty one here."""

    def finish(self):
        """Undoes `prepare`."""


def run(*command, stdin=b"", patience=PATIENCE, env=None, cwd=None):
    """Standard output of a command that must succeed."""
    command = [os.fspath(part) for part in command]
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=patience, cwd=cwd,
            env={**os.environ, **(env or {})}, check=False,
        )
    except subprocess.TimeoutExpired as late:
        heard = (late.stdout or b"")[-500:] + (late.stderr or b"")[-500:]
        raise Failed(f"hangs: {command[0]}: {heard!r}") from None
    if done.returncode != 0:
        said = (done.stderr[-600:] + done.stdout[-400:]).decode("utf-8", "replace").strip()
        raise Failed(f"{Path(os.fsdecode(command[0])).name} exit {done.returncode}: {said}")
    return done.stdout


def refused_at_once(*command, patience=5):
    """The command must fail, and not by hanging."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"hangs instead of being refused: {' '.join(map(str, command))}") from None
    if done.returncode == 0:
        raise Failed(f"not refused: {' '.join(map(str, command))}")


def must(truth, what):
    if not truth:
        raise Failed(what)


def operators(path):
    """A partner's path, as bytes, on the operator's side."""
    return os.path.join(os.fsencode(TREE), path.lstrip(b"/"))


def url(path):
    """A path in a URL, byte for byte."""
    return quote_from_bytes(path)


def same_bytes(one, other):
    with open(one, "rb") as left, open(other, "rb") as right:
        must(left.read() == right.read(), f"{os.fsdecode(one)} and {os.fsdecode(other)} differ")


def same_trees(one, other):
    """Both folders hold the same names and bytes."""
    trees = []
    for top in (os.fsencode(one), os.fsencode(other)):
        tree = {}
        for folder, _, files in os.walk(top):
            for file in files:
                path = os.path.join(folder, file)
                tree[os.path.relpath(path, top)] = open(path, "rb").read()
        trees.append(tree)
    must(trees[0].keys() == trees[1].keys(), f"names differ: {sorted(trees[0].keys() ^ trees[1].keys())}")
    must(trees[0] == trees[1], "bytes differ")


def sample_tree(top, empty=True):
    """A folder of folders with names as partners have them, to be mirrored."""
    for name in ("plain.bin", "two words.bin", "Grüße.bin", "sub/📦.bin", "sub/deeper/empty.bin"):
        path = Path(top) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if empty and "empty" in name else name.encode() * 1000)
