"""curl, by every protocol."""

import os

from client import (
    FTP_PORT, HOST, IMPLICIT_PORT, PASSWORD, PATIENCE, SFTP_PORT, USER, Client, operators, run, same_bytes, url,
)


class Curl(Client):
    def __init__(self, name, scheme, port, *options):
        self.name = name
        self.root = f"{scheme}://{HOST}:{port}"
        self.options = options

    def curl(self, *options):
        return run("curl", "-sS", "-m", str(PATIENCE - 5), "-k", "-u", f"{USER}:{PASSWORD}", *self.options, *options)

    def put(self, local, remote):
        self.curl("-T", local, self.root + url(remote))

    def get(self, remote, local):
        self.curl("-o", local, self.root + url(remote))

    def names(self, folder):
        lines = self.curl("--list-only", self.root + url(folder) + "/").splitlines()
        return {line for line in lines if line not in (b".", b"..")}

    def own(self, folder, local):
        """Resuming both ways; for FTP also the two other ways of curl's to reach a file."""
        data = os.urandom(2 << 20)
        whole, back = local / "whole", local / "back"
        whole.write_bytes(data)
        back.write_bytes(data[:1_000_000])
        there = folder + b"/whole"
        self.put(whole, there)
        self.curl("-C", "-", "-o", back, self.root + url(there))
        same_bytes(whole, back)
        half = local / "half"
        half.write_bytes(data[:1_000_001])
        self.put(half, folder + b"/half")
        self.curl("-C", "-", "-T", whole, self.root + url(folder + b"/half"))
        same_bytes(whole, operators(folder + b"/half"))
        if self.root.startswith("ftp"):
            for method in ("multicwd", "nocwd", "singlecwd"):
                name = folder + b"/sub of/" + method.encode()
                self.curl("--ftp-method", method, "--ftp-create-dirs", "-T", whole, self.root + url(name))
                same_bytes(whole, operators(name))
            self.curl("--disable-epsv", "-o", back, self.root + url(there))
            same_bytes(whole, back)


CLIENTS = [
    Curl("curl-sftp", "sftp", SFTP_PORT),
    Curl("curl-ftp", "ftp", FTP_PORT),
    Curl("curl-ftps", "ftp", FTP_PORT, "--ssl-reqd"),
    Curl("curl-ftps-tls1.2", "ftp", FTP_PORT, "--ssl-reqd", "--tls-max", "1.2"),
    Curl("curl-implicit", "ftps", IMPLICIT_PORT),
]
