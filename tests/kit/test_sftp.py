"""How OpenSSH's `sftp` is called. A stand-in on the PATH shows what it was told; the real one, with
a real server, is tried by `make outside`."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from kit import sftp
from kit.sftp import Ended, Host
from tests.gridroam.processes import alive

HOST = Host("192.0.2.7", 2222, "grid", "ssh-ed25519 AAAAkey")
KEY = sftp.new_key("gridroam-FRXYZ")


class StandIn:
    """A programme `sftp` that keeps what it is given, and ends as it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programme = folder / "sftp"

    def ends(self, script: str) -> None:
        keeps = [
            f'printf "%s\\n" "$@" > "{self.folder}/arguments"',
            f'cat > "{self.folder}/batch"',
            f'env > "{self.folder}/environment"',
            'while [ "$1" != "-i" ]; do shift; done',
            f'cp -p "$2" "{self.folder}/key"',
            f'cp "$(dirname "$2")/known_hosts" "{self.folder}/known_hosts"',
            f'cp "$(dirname "$2")/content" "{self.folder}/content"',
            f'dirname "$2" > "{self.folder}/where"',
        ]
        self.programme.write_text("\n".join(["#!/bin/sh", *keeps, script]) + "\n")
        self.programme.chmod(0o755)

    def kept(self, name: str) -> str:
        return (self.folder / name).read_text()

    def folder_of_the_call_is_there(self) -> bool:
        return Path(self.kept("where").strip()).exists()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    made = StandIn(tmp_path)
    made.ends("exit 0")
    return made


async def put(*, timeout_s: float = 20.0) -> Ended:
    return await sftp.put(HOST, KEY.private, "in/cdrs", "D-1.ndjson", b"{}\n", timeout_s=timeout_s)


async def test_a_file_is_written_under_another_name_and_then_renamed(stand_in: StandIn) -> None:
    assert await put() == Ended(0, "")
    assert stand_in.kept("content") == "{}\n"
    first, second, third = stand_in.kept("batch").splitlines()
    assert first == f'put "{stand_in.kept("where").strip()}/content" "in/cdrs/.D-1.ndjson.part"'
    assert second == '-rm "in/cdrs/D-1.ndjson"'
    assert third == 'rename "in/cdrs/.D-1.ndjson.part" "in/cdrs/D-1.ndjson"'


async def test_it_trusts_the_one_key_and_uses_nothing_of_its_users(stand_in: StandIn) -> None:
    await put()
    arguments = stand_in.kept("arguments").splitlines()
    assert arguments[-2:] == ["--", "grid@192.0.2.7"]
    assert {"-oStrictHostKeyChecking=yes", "-oBatchMode=yes", "-oIdentityAgent=none"} <= {
        *arguments
    }
    assert arguments[arguments.index("-F") + 1] == "/dev/null"
    assert arguments[arguments.index("-P") + 1] == "2222"
    assert stand_in.kept("known_hosts") == "partner ssh-ed25519 AAAAkey\n"
    assert "SSH_AUTH_SOCK" not in stand_in.kept("environment")


async def test_the_key_is_for_this_user_alone_and_gone_after_the_call(stand_in: StandIn) -> None:
    await put()
    assert stand_in.kept("key").encode() == KEY.private
    assert stat.S_IMODE((stand_in.folder / "key").stat().st_mode) == 0o600
    assert not stand_in.folder_of_the_call_is_there()
    assert "PRIVATE" not in repr(KEY)


async def test_how_it_ended_is_told_in_its_own_words(stand_in: StandIn) -> None:
    stand_in.ends('echo "Permission denied (publickey)." >&2; exit 255')
    assert await put() == Ended(255, "Permission denied (publickey).")
    stand_in.ends('yes "much to say" | head -c 100000 >&2; exit 1')
    ended = await put()
    assert ended.code == 1
    assert len(ended.says) <= 400


async def test_a_host_that_hangs_is_given_up_with_all_of_its_processes(stand_in: StandIn) -> None:
    stand_in.ends(f'sleep 3600 & echo $! > "{stand_in.folder}/child"; wait')
    ended = await put(timeout_s=0.5)
    assert (ended.code, ended.says) == (None, "no end within 0.5 s")
    assert not alive(int(stand_in.kept("child")))


async def test_without_the_programme_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = await put()
    assert ended.code is None
    assert "openssh-client" in ended.says


def test_a_key_is_one_that_openssh_can_read() -> None:
    load_ssh_private_key(KEY.private, None)
    assert KEY.public.startswith("ssh-ed25519 AAAA")
    assert KEY.public.endswith(" gridroam-FRXYZ")


def test_an_address_of_six_is_written_so_that_no_part_of_it_is_a_path() -> None:
    host = Host("2001:db8::1", 22, "grid", "k")
    assert sftp.command("sftp", host, Path("k"), Path("h"))[-1] == "grid@[2001:db8::1]"
