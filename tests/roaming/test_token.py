"""Token uids: one spelling, and never shown whole by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roaming.identifier import BadIdentifier
from roaming.token import TokenUid

printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=36)


@given(printable)
def test_case_and_surrounding_blanks_have_no_meaning(text: str) -> None:
    token = TokenUid(text)
    assert TokenUid(f" {text.lower()} ") == TokenUid(text.upper()) == token
    assert TokenUid(token) is token


@given(st.from_regex(r"\A[A-Za-z0-9]{1,36}\Z"))
def test_three_characters_at_best_are_shown(text: str) -> None:
    shown = repr(TokenUid(text)).removeprefix("TokenUid('").removesuffix("…')")
    assert text.upper().startswith(shown)
    assert len(shown) <= min(3, len(text) // 3)


@pytest.mark.parametrize("wrong", ["", "   ", "04A2BF1177EE" * 4, "04A2\u00e9BF11", "04A2\x00BF11"])
def test_a_bad_uid_is_refused_without_telling_it(wrong: str) -> None:
    with pytest.raises(BadIdentifier) as refusal:
        TokenUid(wrong)
    assert refusal.value.field == "token_uid"
    assert "04A2" not in refusal.value.detail
    assert "04A2" not in str(refusal.value.value)


@pytest.mark.parametrize("wrong", [None, 12345678])
def test_what_is_no_text_is_refused(wrong: object) -> None:
    with pytest.raises(BadIdentifier):
        TokenUid(wrong)  # type: ignore[arg-type]
