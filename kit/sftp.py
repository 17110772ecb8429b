"""Files to a partner's host by OpenSSH's own `sftp`, a process for each file.

No library of SSH stands under our licence; the programme is on every server, and its users know it.
A file is written under another name and then renamed, so that nobody reads half of one. The host is
known by one key, which its owner has told us; our own key is in a file of this user's alone, for as
long as the call takes.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

MISSING = "the hub has no `sftp` programme: install OpenSSH's client (Debian: openssh-client)"
# The name that the host's key is kept under, whatever its address is today.
_ALIAS = "partner"
_MOST_SAID_BYTES = 400


@dataclass(frozen=True, slots=True)
class Key:
    """An Ed25519 key: a line for `authorized_keys`, and the private half as OpenSSH keeps it."""

    public: str
    private: bytes

    def __repr__(self) -> str:
        return f"Key({self.public!r})"


def new_key(comment: str) -> Key:
    made = Ed25519PrivateKey.generate()
    public = made.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    private = made.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return Key(f"{public} {comment}", private)


@dataclass(frozen=True, slots=True)
class Host:
    """Where to: `address` is numeric, and has been looked at. Every word is fit for a command."""

    address: str
    port: int
    user: str
    host_key: str


@dataclass(frozen=True, slots=True)
class Ended:
    """How `sftp` ended: 0, or not; None where it did not within its time."""

    code: int | None
    says: str


def batch(local: Path, directory: str, name: str) -> str:
    """What `sftp` is to do. An older file of the name goes first, where the host cannot replace."""
    part, final = f"{directory}/.{name}.part", f"{directory}/{name}"
    return f'put "{local}" "{part}"\n-rm "{final}"\nrename "{part}" "{final}"\n'


def command(sftp: str, host: Host, key_file: Path, known_hosts: Path) -> Sequence[str]:
    """No configuration, agent, password or other key of the user that the hub runs as."""
    options = {
        "BatchMode": "yes",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": "10",
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlias": _ALIAS,
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "LogLevel": "ERROR",
        "PreferredAuthentications": "publickey",
        "ProxyCommand": "none",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "UserKnownHostsFile": str(known_hosts),
    }
    address = f"[{host.address}]" if ":" in host.address else host.address
    return [
        *(sftp, "-F", "/dev/null", "-b", "-", "-i", str(key_file), "-P", str(host.port)),
        *(f"-o{name}={value}" for name, value in options.items()),
        *("--", f"{host.user}@{address}"),
    ]


async def put(
    host: Host, private_key: bytes, directory: str, name: str, content: bytes, *, timeout_s: float
) -> Ended:
    """Write one file. Never raises for what a partner does."""
    sftp = shutil.which("sftp")
    if sftp is None:
        return Ended(None, MISSING)
    with tempfile.TemporaryDirectory(prefix="gridroam-sftp-") as told:
        folder = Path(told)
        key_file, known_hosts, local = folder / "key", folder / "known_hosts", folder / "content"
        _write(key_file, private_key)
        _write(known_hosts, f"{_ALIAS} {host.host_key}\n".encode())
        await asyncio.to_thread(_write, local, content)
        process = await asyncio.create_subprocess_exec(
            *command(sftp, host, key_file, known_hosts),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            # It has `ssh` for a child, and both are to end together.
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(timeout_s):
                _, said = await process.communicate(batch(local, directory, name).encode())
        except TimeoutError:
            return Ended(None, f"no end within {timeout_s:g} s")
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
    if process.returncode == 0:
        # What it says then is that no older file had to go.
        return Ended(0, "")
    return Ended(process.returncode, said[-_MOST_SAID_BYTES:].decode("utf-8", "replace").strip())


def _write(path: Path, content: bytes) -> None:
    """For this user alone from its first moment on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
