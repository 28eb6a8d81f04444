"""paramiko: prefetching downloads, its own SFTP test-suite."""

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import paramiko

from client import HOST, PASSWORD, PATIENCE, SFTP_PORT, USER, WORK, Client, must, operators, same_bytes


class Paramiko(Client):
    name = "paramiko"
    reads_any_name = False

    def session(self):
        transport = paramiko.Transport((HOST, SFTP_PORT))
        # So that a file of some MiB crosses many new key exchanges.
        transport.packetizer.REKEY_BYTES = 1 << 20
        transport.connect(username=USER, password=PASSWORD)
        client = paramiko.SFTPClient.from_transport(transport)
        client.get_channel().settimeout(PATIENCE)
        return Session(transport, client)

    def put(self, local, remote):
        with self.session() as sftp:
            sftp.put(os.fspath(local), remote)

    def get(self, remote, local):
        with self.session() as sftp:
            sftp.get(remote, os.fspath(local))

    def names(self, folder):
        with self.session() as sftp:
            names = sftp.listdir(folder)
        return {name if isinstance(name, bytes) else name.encode() for name in names}

    def own(self, folder, local):
        """Pipelined writes, reads without prefetch, vectored reads, times, lengths, posix-rename."""
        data = os.urandom(5 << 20)
        whole, back = local / "whole", local / "back"
        whole.write_bytes(data)
        there = folder + b"/a"
        with self.session() as sftp:
            with sftp.open(there, "wb") as file:
                file.set_pipelined(True)
                for start in range(0, len(data), 100_000):
                    file.write(data[start : start + 100_000])
            same_bytes(whole, operators(there))
            sftp.get(there, os.fspath(back), prefetch=False)
            same_bytes(whole, back)
            with sftp.open(there, "rb") as file:
                parts = file.readv([(10, 70_000), (3_000_000, 1), (0, 5)])
                must(list(parts) == [data[10:70_010], data[3_000_000:3_000_001], data[:5]], "readv")
            sftp.utime(there, (1_700_000_000, 1_700_000_000))
            sftp.posix_rename(there, folder + b"/b")
            must(sftp.stat(folder + b"/b").st_size == len(data), "the size after posix-rename")
            sftp.remove(folder + b"/b")


class Session:
    def __init__(self, transport, client):
        self.transport, self.client = transport, client

    def __enter__(self):
        return self.client

    def __exit__(self, *_):
        self.transport.close()


class Suite(Client):
    """paramiko's tests of its SFTP client, run against the door instead of paramiko's own server."""

    name = "paramiko-tests"
    only_own = True

    def own(self, folder, local):
        here = Path(__file__).parent
        tests = WORK / "paramiko"
        shutil.copytree(os.environ["PARAMIKO_SOURCE"], tests)
        shutil.copy(here / "paramiko_conftest.py", tests / "tests/conftest.py")
        report = WORK / "paramiko.xml"
        # Its exit status says no more than the report, in which some failures are expected.
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}",
             "tests/test_sftp.py", "tests/test_sftp_big.py"],
            cwd=tests, env={**os.environ, "DISABLE_LOGGING": "1"}, capture_output=True, timeout=240, check=False,
        )
        cases = ElementTree.parse(report).findall(".//testcase")
        must(len(cases) > 40, f"only {len(cases)} of paramiko's tests ran")
        failed = {case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None}
        expected = {line.split()[0] for line in (here / "paramiko_expected.txt").read_text(encoding="utf-8").splitlines()
                    if line and not line.startswith("#")}
        must(failed == expected, f"fail unexpectedly: {sorted(failed - expected)}; pass now: {sorted(expected - failed)}")


CLIENTS = [Paramiko(), Suite()]
