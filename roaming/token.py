"""What a driver holds against the reader: the uid of a card, a key fob or an app."""

from __future__ import annotations

import re
from typing import Self

from roaming.identifier import refused, tidied

_FIELD = "token_uid"
_RULE = "1 to 36 printable ASCII characters"
_SHAPE = re.compile(r"[ -~]{1,36}")


class TokenUid(str):
    """A token uid in upper case, without surrounding blanks.

    OCPI 2.2.1 mod_tokens: CiString(36), so case has no meaning. It is personal data: `repr` and
    refusals show three characters at best. Raises BadIdentifier.
    """

    __slots__ = ()

    def __new__(cls, value: str) -> Self:
        if type(value) is cls:
            return value
        if not isinstance(value, str):
            raise refused(_FIELD, value, _RULE)
        if len(value) <= 36 and value.isascii() and value.isalnum():
            return str.__new__(cls, value.upper())
        if not value.isascii():
            raise refused(_FIELD, _veiled(value), _RULE)
        text = tidied(_FIELD, value, _RULE)
        if _SHAPE.fullmatch(text) is None:
            raise refused(_FIELD, _veiled(value), _RULE)
        return super().__new__(cls, text)

    def __repr__(self) -> str:
        return f"TokenUid({_veiled(self)!r})"


def _veiled(text: str) -> str:
    return f"{text[: min(3, len(text) // 3)]}…"
