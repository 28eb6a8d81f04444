"""asyncssh: parallel requests, names in bytes."""

import asyncio
import os

import asyncssh

from client import HOST, KEY, PATIENCE, SFTP_PORT, USER, Client, must, operators, same_bytes, same_trees, sample_tree


class Asyncssh(Client):
    name = "asyncssh"

    def with_sftp(self, work):
        async def session():
            options = {"port": SFTP_PORT, "username": USER, "client_keys": [os.fspath(KEY)], "known_hosts": None,
                       "rekey_bytes": "1M", "config": None}
            async with asyncssh.connect(HOST, **options) as connection, connection.start_sftp_client() as sftp:
                return await work(sftp)

        return asyncio.run(asyncio.wait_for(session(), PATIENCE))

    def put(self, local, remote):
        self.with_sftp(lambda sftp: sftp.put(os.fsencode(local), remote))

    def get(self, remote, local):
        self.with_sftp(lambda sftp: sftp.get(remote, os.fsencode(local)))

    def names(self, folder):
        return set(self.with_sftp(lambda sftp: sftp.listdir(folder))) - {b".", b".."}

    def own(self, folder, local):
        """Trees with their times, many at once, statvfs, limits, posix-rename."""
        sample_tree(local / "tree")
        (local / "tree/big").write_bytes(os.urandom(5 << 20))

        async def work(sftp):
            there = folder + b"/tree"
            await sftp.put(os.fsencode(local / "tree"), there, recurse=True, preserve=True)
            same_trees(local / "tree", operators(there))
            await sftp.get(there, os.fsencode(local / "back"), recurse=True, preserve=True)
            same_trees(local / "tree", local / "back")
            copies = [folder + b"/copy-%d" % number for number in range(8)]
            await asyncio.gather(*(sftp.put(os.fsencode(local / "tree/big"), copy) for copy in copies))
            for copy in copies:
                same_bytes(local / "tree/big", operators(copy))
            must((await sftp.statvfs(folder)).bavail > 0, "statvfs")
            must(sftp.limits.max_write_len >= 100_000, f"limits: {sftp.limits}")
            await sftp.posix_rename(copies[0], copies[1])
            must(not await sftp.exists(copies[0]) and await sftp.exists(copies[1]), "posix-rename")
            await sftp.rmtree(there)

        self.with_sftp(work)
        must(not os.path.exists(operators(folder + b"/tree")), "rmtree left something")


CLIENTS = [Asyncssh()]
