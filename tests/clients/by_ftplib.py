"""Python's ftplib: FTP, and FTP_TLS, which insists on a proper end of TLS on every connection."""

import ftplib
import io
import os
import ssl

from client import FTP_PORT, HOST, PASSWORD, USER, Client, must, operators, same_bytes


def text(path):
    """ftplib takes text; in this encoding every byte is a character."""
    return path.decode("latin-1")


class Ftplib(Client):
    def __init__(self, name, tls):
        self.name = name
        self.tls = tls

    def session(self):
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            ftp = ftplib.FTP_TLS(context=context, timeout=20, encoding="latin-1")
        else:
            ftp = ftplib.FTP(timeout=20, encoding="latin-1")
        ftp.connect(HOST, FTP_PORT)
        ftp.login(USER, PASSWORD)
        if self.tls:
            ftp.prot_p()
        return ftp

    def put(self, local, remote):
        with self.session() as ftp, open(local, "rb") as file:
            ftp.storbinary("STOR " + text(remote), file)

    def get(self, remote, local):
        with self.session() as ftp, open(local, "wb") as file:
            ftp.retrbinary("RETR " + text(remote), file.write)

    def names(self, folder):
        with self.session() as ftp:
            by_mlsd = {name.encode("latin-1") for name, facts in ftp.mlsd(text(folder)) if facts["type"] == "file"}
            by_nlst = {name.encode("latin-1").rpartition(b"/")[2] for name in ftp.nlst(text(folder))}
        must(by_mlsd == by_nlst, f"MLSD and NLST differ: {by_mlsd ^ by_nlst}")
        return by_mlsd

    def own(self, folder, local):
        """The smaller verbs; text lines; resuming; a download broken off, after which the session goes on."""
        data = b"line\r\n" * 300_000
        whole = local / "whole"
        whole.write_bytes(data)
        there = text(folder) + "/whole"
        with self.session() as ftp:
            with open(whole, "rb") as file:
                ftp.storlines("STOR " + there, file)
            same_bytes(whole, operators(folder + b"/whole"))
            ftp.voidcmd("TYPE I")
            must(ftp.size(there) == len(data), "SIZE")
            must(ftp.sendcmd("MDTM " + there).startswith("213 20"), "MDTM")
            back = bytearray(data[:1000])
            ftp.retrbinary("RETR " + there, back.extend, rest=1000)
            must(bytes(back) == data, "REST and RETR")
            ftp.storbinary("STOR " + there, io.BytesIO(data[:2000]))
            ftp.storbinary("APPE " + there, io.BytesIO(data[2000:]))
            same_bytes(whole, operators(folder + b"/whole"))
            ftp.cwd(text(folder))
            must(ftp.pwd() == text(folder), f"PWD: {ftp.pwd()}")
            ftp.rename("whole", "renamed")
            must(ftp.mkd("new").endswith("new"), "MKD")
            ftp.rmd("new")
            with ftp.transfercmd("RETR renamed") as connection:
                connection.recv(1000)
            try:
                ftp.voidresp()
            except ftplib.Error:
                pass  # 426, or 226 where all was on its way already
            ftp.delete("renamed")
            must(ftp.nlst() == [], "DELE left something")
        must(not os.listdir(operators(folder)), "DELE left something")


CLIENTS = [Ftplib("ftplib", tls=False), Ftplib("ftplib-FTP_TLS", tls=True)]
