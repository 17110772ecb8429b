"""A partner without tools of its own makes a key and signs with it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gridroam import office_keys
from marketplace.access import detached
from marketplace.access.keys import client_keys
from marketplace.access.model import BadSignature
from roaming.refusal import Malformed
from tests.gridroam.processes import gridroam


async def test_what_a_new_key_signs_holds_by_its_public_half_and_over_no_other_byte(
    tmp_path: Path,
) -> None:
    private, document = tmp_path / "own.pem", tmp_path / "contract.json"
    document.write_bytes(b'{"price":"0.01"}')
    told = (await gridroam("key", "new", str(private), tmp_path=tmp_path)).out
    assert json.loads(told) == json.loads((tmp_path / "own.pem.jwks").read_bytes())
    assert stat.S_IMODE(private.stat().st_mode) == 0o600

    signature = (
        await gridroam("sign", str(document), "--key", str(private), tmp_path=tmp_path)
    ).out
    [public] = client_keys(json.loads(told)["jwks"])
    assert detached.verify(signature.strip(), document.read_bytes(), [public]) == public
    with pytest.raises(BadSignature):
        detached.verify(signature.strip(), b'{"price":"0.02"}', [public])


async def test_a_key_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    private = tmp_path / "own.pem"
    private.write_text("mine")
    refused = await gridroam("key", "new", str(private), tmp_path=tmp_path)
    assert refused.code == 2
    assert "is there already" in refused.err
    assert private.read_text() == "mine"


@pytest.mark.parametrize("content", ["", "no key", '{"jwks": {}}'])
async def test_what_holds_no_private_key_signs_nothing(tmp_path: Path, content: str) -> None:
    held = tmp_path / "held"
    held.write_text(content)
    with pytest.raises(Malformed, match="holds no private key"):
        await office_keys.sign(held, held)
