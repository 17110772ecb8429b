"""What a provider's own SOAP server asks the hub for: a UsernameToken, sealed while it is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum

from kit.secrets import SecretBox
from roaming.refusal import Malformed

LONGEST = 200


class BadLogin(Malformed):
    """A login that breaks a rule. What it was is told to nobody."""


class PasswordKind(StrEnum):
    """How the password is sent (WS-Security UsernameToken Profile 1.1): as it is, or digested with
    a nonce and the time.
    """

    TEXT = "text"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Login:
    username: str
    password: str = field(repr=False)
    kind: PasswordKind = PasswordKind.DIGEST


def checked(login: Login) -> Login:
    """The login itself; BadLogin."""
    for name, text in (("username", login.username), ("password", login.password)):
        # What XML can carry, and nothing that a header line could be broken with.
        if not 0 < len(text) <= LONGEST or not text.isprintable():
            raise BadLogin(
                f"this cannot be a {name}", field=name, rule=f"1 to {LONGEST} printable characters"
            )
    return login


def seal(box: SecretBox, login: Login, name: str, major: int) -> bytes:
    told = {"username": login.username, "password": login.password, "kind": login.kind.value}
    return box.seal(json.dumps(told).encode(), purpose=_purpose(name, major))


def unseal(box: SecretBox, sealed: bytes, name: str, major: int) -> Login:
    """What was sealed for this very version of a service; SealBroken otherwise."""
    told = json.loads(box.unseal(sealed, purpose=_purpose(name, major)))
    return Login(told["username"], told["password"], PasswordKind(told["kind"]))


def _purpose(name: str, major: int) -> str:
    return f"service-login:{name}:{major}"
