"""A provider's login: sealed for one version of one service, and seen by nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kit.secrets import SealBroken, SecretBox
from marketplace.services.login import (
    LONGEST,
    BadLogin,
    Login,
    PasswordKind,
    checked,
    seal,
    unseal,
)

BOX = SecretBox(b"k" * 32)
texts = some.text(min_size=1, max_size=LONGEST).filter(str.isprintable)


@given(texts, texts, some.sampled_from(PasswordKind))
def test_what_is_sealed_comes_back_for_its_own_service_alone(
    username: str, password: str, kind: PasswordKind
) -> None:
    login = checked(Login(username, password, kind))
    sealed = seal(BOX, login, "parking", 1)
    assert unseal(BOX, sealed, "parking", 1) == login
    for name, major in (("parking", 2), ("parking2", 1), ("other", 1)):
        with pytest.raises(SealBroken):
            unseal(BOX, sealed, name, major)


def test_a_password_is_in_no_text_of_it() -> None:
    assert "secret" not in f"{Login('hub', 'secret')!r}"


@pytest.mark.parametrize("wrong", ["", "x" * (LONGEST + 1), "a\nb", "\x00", "\ud800"], ids=repr)
def test_what_no_xml_can_carry_is_refused_without_being_told(wrong: str) -> None:
    for login, field in ((Login(wrong, "p"), "username"), (Login("u", wrong), "password")):
        with pytest.raises(BadLogin) as refused:
            checked(login)
        assert (refused.value.field, refused.value.value) == (field, None)
