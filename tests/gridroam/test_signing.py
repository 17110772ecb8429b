"""A key made by hand, and a signature by it that the hub takes."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gridroam import signing
from gridroam.signing import BadDocument, BadKeyFile
from marketplace.access import detached
from marketplace.access.keys import client_keys

DOCUMENT = b'{"format":"gridroam-contract/1","terms":{}}'


def test_what_is_signed_by_a_new_key_holds_by_the_key_that_is_registered(tmp_path: Path) -> None:
    file, document = tmp_path / "key.jwk", tmp_path / "document.json"
    told = signing.new_key(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    [public] = client_keys(told["jwks"])
    document.write_bytes(DOCUMENT)
    jws = signing.sign(document, file)["jws"]
    assert detached.verify(jws, DOCUMENT, [public]) == public


def test_a_key_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    file = tmp_path / "key.jwk"
    signing.new_key(file)
    before = file.read_bytes()
    with pytest.raises(BadKeyFile):
        signing.new_key(file)
    assert file.read_bytes() == before


def test_what_is_no_key_and_what_is_no_document_is_refused(tmp_path: Path) -> None:
    file, document = tmp_path / "key.jwk", tmp_path / "document.json"
    public = signing.new_key(file)["jwks"]["keys"][0]
    document.write_bytes(DOCUMENT)
    for wrong in (b"", b"{}", b"\xff", json.dumps(public).encode(), b"-----BEGIN x-----"):
        other = tmp_path / "other"
        other.write_bytes(wrong)
        with pytest.raises(BadKeyFile):
            signing.sign(document, other)
        with pytest.raises(BadDocument):
            signing.sign(other, file)
    with pytest.raises(BadKeyFile):
        signing.sign(document, tmp_path / "nowhere")
