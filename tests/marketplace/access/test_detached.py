"""A signature holds over the body that was signed, by a key of the one who signed it; no other."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from marketplace.access.detached import LONGEST_CONTENT, sign, verify
from marketplace.access.keys import client_keys
from marketplace.access.model import BadSignature

KEY = ECKey.generate_key("P-256")
BODY = b'{"of":"interest"}'


def public(*keys: ECKey | RSAKey | OKPKey, **members: str) -> list[dict[str, Any]]:
    return client_keys({"keys": [key.as_dict(private=False) | members for key in keys]})


def by_joserfc(
    key: ECKey | RSAKey | OKPKey, content: bytes, alg: str = "ES256", **more: Any
) -> str:
    header = {"alg": alg, "b64": False, "crit": ["b64"], **more}
    registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
    return jws.detach_content(jws.serialize_compact(header, content, key, registry=registry))


@given(content=some.binary(max_size=2_000), header=some.dictionaries(some.text(), some.text()))
def test_what_is_signed_verifies_and_one_bit_more_or_less_does_not(
    content: bytes, header: dict[str, str]
) -> None:
    more = {f"x-{name}"[:20]: value[:50] for name, value in list(header.items())[:5]}
    made = sign(more, content, "k", KEY)
    assert verify(made, content, public(KEY))["x"] == KEY.as_dict()["x"]
    for other in (content + b"x", content[:-1] if content else b"\0", content.swapcase() + b" "):
        with pytest.raises(BadSignature):
            verify(made, other, public(KEY))


def test_others_verify_what_the_hub_signs() -> None:
    made = sign({"request_id": "r-1", "status": 200}, BODY, "k", KEY)
    registry = JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    found = jws.deserialize_compact(made, KEY, registry=registry, payload=BODY)
    assert found.headers()["crit"] == ["b64"]
    assert (found.headers()["kid"], found.headers()["status"]) == ("k", 200)


@pytest.mark.parametrize(
    ("key", "alg"),
    [
        (ECKey.generate_key("P-256"), "ES256"),
        (ECKey.generate_key("P-384"), "ES384"),
        (RSAKey.generate_key(2048), "PS256"),
        (RSAKey.generate_key(2048), "RS256"),
        (OKPKey.generate_key("Ed25519"), "Ed25519"),
    ],
    ids=["ES256", "ES384", "PS256", "RS256", "Ed25519"],
)
def test_clients_sign_with_any_key_that_they_may_register(
    key: ECKey | RSAKey | OKPKey, alg: str
) -> None:
    assert verify(by_joserfc(key, BODY, alg), BODY, public(key))


def test_of_several_keys_the_one_that_signed_is_found() -> None:
    other = ECKey.generate_key("P-256")
    both = public(other) + public(KEY, kid="mine")
    assert verify(by_joserfc(KEY, BODY), BODY, both)["kid"] == "mine"
    assert verify(by_joserfc(KEY, BODY, kid="mine"), BODY, both)["kid"] == "mine"
    with pytest.raises(BadSignature):
        verify(by_joserfc(KEY, BODY, kid="mine"), BODY, public(KEY, kid="another"))
    with pytest.raises(BadSignature):
        verify(by_joserfc(KEY, BODY), BODY, public(other))
    with pytest.raises(BadSignature):
        verify(by_joserfc(KEY, BODY), BODY, [])


def test_the_longest_body_verifies() -> None:
    content = b"x." * (LONGEST_CONTENT // 2)
    assert verify(sign({}, content, "k", KEY), content, public(KEY))


def header_of(**members: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()


GOOD = by_joserfc(KEY, BODY)
_, _, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(
    "made",
    [
        "",
        "x",
        "..",
        "a.b.c.d",
        "é..x",
        GOOD + "x",
        GOOD[:-2],
        GOOD.replace("..", "." + base64.urlsafe_b64encode(BODY).rstrip(b"=").decode() + "."),
        GOOD.replace("..", ".x."),
        jws.detach_content(jws.serialize_compact({"alg": "ES256"}, BODY, KEY)),
        header_of(alg="none", b64=False, crit=["b64"]) + "..",
        header_of(alg="HS256", b64=False, crit=["b64"]) + ".." + SIGNATURE,
        header_of(alg="ES256", b64=False) + ".." + SIGNATURE,
        header_of(alg="ES256", b64="false", crit=["b64"]) + ".." + SIGNATURE,
        header_of(alg="ES256", b64=False, crit=["b64", "exp"], exp=1) + ".." + SIGNATURE,
        header_of(alg="ES256", b64=False, crit=["b64"], pad="x" * 5_000) + ".." + SIGNATURE,
        header_of(b64=False, crit=["b64"]) + ".." + SIGNATURE,
        base64.urlsafe_b64encode(b"[]").decode() + ".." + SIGNATURE,
        base64.urlsafe_b64encode(b"1").decode() + ".." + SIGNATURE,
    ],
    ids=range(19),
)
def test_what_is_no_signature_over_a_body_as_it_is_is_refused(made: str) -> None:
    with pytest.raises(BadSignature) as refused:
        verify(made, BODY, public(KEY))
    assert refused.value.rule
