"""Takes the place of paramiko's own tests/conftest.py: the fixture is a folder of the door's, not a stub in the process."""

import os
import stat

import paramiko
import pytest


@pytest.fixture(name="sftp")
def session():
    transport = paramiko.Transport(("127.0.0.1", int(os.environ["SFTP_PORT"])))
    transport.connect(username="erp", password=os.environ["PASSWORD"])
    client = paramiko.SFTPClient.from_transport(transport)
    client.FOLDER = "media/of-paramiko"
    client.mkdir(client.FOLDER)
    yield client
    transport.close()
    # A test may have closed the session or broken it: tidied up by another.
    again = paramiko.Transport(("127.0.0.1", int(os.environ["SFTP_PORT"])))
    again.connect(username="erp", password=os.environ["PASSWORD"])
    remove(paramiko.SFTPClient.from_transport(again), client.FOLDER)
    again.close()


def remove(client, folder):
    for entry in client.listdir_attr(folder):
        path = f"{folder}/{entry.filename}"
        if stat.S_ISDIR(entry.st_mode):
            remove(client, path)
        else:
            client.remove(path)
    client.rmdir(folder)
