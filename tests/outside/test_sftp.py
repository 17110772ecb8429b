"""Files to a real SSH server: OpenSSH's own, as the current user, on a loopback port."""

from __future__ import annotations

import asyncio
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from clearinghouse.forwarding.client import SftpSender
from clearinghouse.forwarding.model import (
    Delivery,
    Place,
    Reply,
    SftpPlace,
    Verdict,
    sftp_place,
    verdict,
)
from kit import sftp
from kit.sftp import Ended, Host
from roaming.party import PartyId

KEY = sftp.new_key("gridroam-FRXYZ")


@dataclass(slots=True)
class SshServer:
    """`sshd` with one user, one authorised key and nothing but files."""

    folder: Path
    port: int
    host_key: str

    @property
    def inbox(self) -> Path:
        return self.folder / "in"

    def authorise(self, *keys: str) -> None:
        (self.folder / "authorized_keys").write_text("".join(f"{key}\n" for key in keys))

    def host(self, **changes: str) -> Host:
        told = {"user": getpass.getuser(), "host_key": self.host_key} | changes
        return Host("127.0.0.1", self.port, **told)

    async def put(self, name: str, content: bytes, **changes: str) -> Ended:
        return await sftp.put(
            *(self.host(**changes), KEY.private, str(self.inbox), name, content), timeout_s=20
        )

    def files(self) -> dict[str, bytes]:
        return {one.name: one.read_bytes() for one in self.inbox.iterdir()}


def prepared(folder: Path) -> SshServer:
    """Its keys and its configuration."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    (folder / "in").mkdir()
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host_key")], check=True
    )
    public = (folder / "host_key.pub").read_text().split()
    server = SshServer(folder, port, " ".join(public[:2]))
    server.authorise(KEY.public)
    if os.geteuid() == 0:
        # Where it drops what it may; only root's server looks for it.
        Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\n"
        "PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "Subsystem sftp internal-sftp\nForceCommand internal-sftp\n"
    )
    return server


@asynccontextmanager
async def serving(server: SshServer) -> AsyncIterator[SshServer]:
    sshd = shutil.which("sshd")
    assert sshd is not None, "make outside looks for it first"
    process = await asyncio.create_subprocess_exec(
        *(sshd, "-D", "-e", "-f", str(server.folder / "sshd_config")),
        stdin=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
                    writer.close()
                    break
                except OSError:
                    assert process.returncode is None, "sshd did not start"
                    await asyncio.sleep(0.05)
        yield server
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[SshServer]:
    async with serving(prepared(tmp_path)) as found:
        yield found


async def test_a_file_arrives_whole_and_under_its_own_name(server: SshServer) -> None:
    content = b'{"cdr_id":"A"}\n' * 50_000
    assert await server.put("D-1.ndjson", content) == Ended(0, "")
    assert server.files() == {"D-1.ndjson": content}


async def test_the_same_file_again_is_the_same_file(server: SshServer) -> None:
    await server.put("D-1.ndjson", b"half of it")
    (server.inbox / ".D-1.ndjson.part").write_bytes(b"what a broken line has left behind, longer")
    assert (await server.put("D-1.ndjson", b"all of it")).code == 0
    assert server.files() == {"D-1.ndjson": b"all of it"}


async def test_a_host_with_another_key_gets_nothing(server: SshServer, tmp_path: Path) -> None:
    other = sftp.new_key("another").public.rpartition(" ")[0]
    ended = await server.put("D-1.ndjson", b"x", host_key=other)
    assert ended.code == 255
    assert "verification failed" in ended.says
    assert server.files() == {}


async def test_a_key_that_is_not_authorised_is_told_so(server: SshServer) -> None:
    server.authorise(sftp.new_key("another").public)
    ended = await server.put("D-1.ndjson", b"x")
    assert ended.code == 255
    assert "Permission denied" in ended.says


async def test_a_folder_that_is_not_there_is_told_and_a_full_file_never_half(
    server: SshServer,
) -> None:
    server.inbox.rmdir()
    ended = await server.put("D-1.ndjson", b"x")
    assert ended.code == 1
    assert "No such file" in ended.says


async def test_a_server_that_is_down_is_a_reason_to_try_again_and_then_gets_its_file(
    tmp_path: Path,
) -> None:
    server = prepared(tmp_path)
    place = sftp_place(
        "localhost", server.port, getpass.getuser(), str(server.inbox), server.host_key
    )
    assert verdict(await delivered(place)) is Verdict.RETRY
    async with serving(server):
        reply = await delivered(place)
        assert verdict(reply) is Verdict.DELIVERED, reply.says
        assert list(server.files()) == ["FRXYZ-1.ndjson"]


async def delivered(place: SftpPlace) -> Reply:
    nothing = Delivery("FRXYZ-1", PartyId("FR*XYZ"), Place(0, 0), Place(1, 1), [])
    return await SftpSender(allow_loopback=True).send(place, KEY.private, nothing)


async def test_a_server_that_says_nothing_is_given_up(server: SshServer) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    mute = await asyncio.start_server(silent, "127.0.0.1", 0)
    host = Host("127.0.0.1", mute.sockets[0].getsockname()[1], "grid", server.host_key)
    ended = await sftp.put(host, KEY.private, "in", "D-1.ndjson", b"x", timeout_s=1.0)
    mute.close()
    assert (ended.code, ended.says) == (None, "no end within 1 s")
