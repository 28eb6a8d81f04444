"""Large files by every client, and sessions that stay. Started by tests/long.sh."""

import ftplib
import os
import subprocess
import sys
import threading
import time

import by_ftplib
from client import HOST, SFTP_PORT, SSH_OPTIONS, USER, WORK, Failed, NotHere, must, operators, run
from matrix import CLIENTS

LARGE, MEDIUM, IDLE = (int(os.environ[name]) for name in ("LARGE", "MEDIUM", "IDLE"))
# These cross the limit of every SSH library after which keys are exchanged anew.
LARGE_BY = ("sftp", "curl-sftp", "rclone-sftp")
MIB = 1 << 20


def make(name, size):
    """A file of so many random bytes."""
    path = WORK / name
    with open(path, "wb") as file:
        for _ in range(0, size, MIB):
            file.write(os.urandom(MIB))
        file.truncate(size)
    return path


def move(client, local, size):
    """There and back, compared; how fast in MiB/s."""
    remote = b"/media/long-" + client.name.encode()
    back = WORK / "back"
    speeds = []
    for step in (lambda: client.put(local, remote), lambda: client.get(remote, back)):
        began = time.monotonic()
        step()
        speeds.append(size / MIB / (time.monotonic() - began))
    run("cmp", local, operators(remote))
    run("cmp", local, back)
    back.unlink()
    os.unlink(operators(remote))
    print(f"{client.name:22} {size / MIB:6.0f} MiB   put {speeds[0]:6.0f}   get {speeds[1]:6.0f} MiB/s", flush=True)


def move_all(clients, size):
    failed = []
    if not size or not clients:
        return failed
    local = make(f"{size}.bin", size)
    for client in clients:
        try:
            client.prepare()
            move(client, local, size)
            client.finish()
        except NotHere as reason:
            print(f"{client.name}: not run: {reason}")
        except Exception as error:
            failed.append(f"{client.name}, {size} bytes: {error}")
            print("FAILED:", failed[-1], flush=True)
    local.unlink()
    return failed


def stay_over_ssh(failed):
    """OpenSSH's sftp, silent but for ssh's own signs of life, then a file there and back."""
    command = ["sftp", "-q", *SSH_OPTIONS, "-oServerAliveInterval=30", "-P", str(SFTP_PORT), "-b", "-", f"{USER}@{HOST}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as sftp:
        sftp.stdin.write(b"ls\n")
        sftp.stdin.flush()
        time.sleep(IDLE)
        said = sftp.communicate(f"put {WORK}/stay.bin /media/stay-ssh\nget /media/stay-ssh {WORK}/stay-ssh\n".encode())[1]
        if sftp.returncode or (WORK / "stay-ssh").read_bytes() != (WORK / "stay.bin").read_bytes():
            failed.append(f"sftp after {IDLE} s: {said.decode()}")


def stay_over_ftps(failed):
    """FTP_TLS with a NOOP every minute, then a file there and back."""
    try:
        with by_ftplib.Ftplib("stay", tls=True).session() as ftp:
            end = time.monotonic() + IDLE
            while time.monotonic() < end:
                time.sleep(min(60, max(0, end - time.monotonic())))
                ftp.voidcmd("NOOP")
            with open(WORK / "stay.bin", "rb") as file:
                ftp.storbinary("STOR /media/stay-ftps", file)
            back = bytearray()
            ftp.retrbinary("RETR /media/stay-ftps", back.extend)
            must(bytes(back) == (WORK / "stay.bin").read_bytes(), "other bytes")
    except (ftplib.Error, OSError, Failed) as error:
        failed.append(f"FTP_TLS after {IDLE} s: {error}")


def stay():
    failed = []
    if IDLE:
        make("stay.bin", 5 * MIB)
        sessions = [threading.Thread(target=session, args=(failed,)) for session in (stay_over_ssh, stay_over_ftps)]
        for session in sessions:
            session.start()
        for session in sessions:
            session.join()
        print(f"two sessions stayed {IDLE} s: {failed or 'ok'}", flush=True)
    return failed


def main(wanted):
    chosen = [client for client in CLIENTS if not client.only_own
              and (not wanted or any(client.name.startswith(name) for name in wanted))]
    failed = move_all([client for client in chosen if client.name in LARGE_BY], LARGE)
    failed += move_all(chosen, MEDIUM)
    failed += stay()
    for failure in failed:
        print("FAILED:", failure)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
