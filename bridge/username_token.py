"""WS-Security UsernameToken Profile 1.1: how a SOAP caller, or a SOAP provider, takes credentials.

Read: the text of a password only. A digest could be checked only by who keeps the password itself,
and this house keeps hashes; TLS guards the text on its way. Written: either kind, as the provider
wants it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from lxml import etree

from roaming.refusal import Unauthenticated

_OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
WSSE = _OASIS + "wssecurity-secext-1.0.xsd"
WSU = _OASIS + "wssecurity-utility-1.0.xsd"
PASSWORD_TEXT = _OASIS + "username-token-profile-1.0#PasswordText"
PASSWORD_DIGEST = _OASIS + "username-token-profile-1.0#PasswordDigest"
BASE64 = _OASIS + "soap-message-security-1.0#Base64Binary"
SECURITY = f"{{{WSSE}}}Security"
_LONGEST = 1_024
# What stands beside a token in the header and is understood here.
_UNDERSTOOD = frozenset((f"{{{WSSE}}}UsernameToken", f"{{{WSU}}}Timestamp"))


class BadUsernameToken(Unauthenticated):
    """A security header without a token that can be checked here."""


class StaleUsernameToken(Unauthenticated):
    """A token of another time than now, or one that was used already."""


@dataclass(frozen=True, slots=True)
class UsernameToken:
    """Who calls, and how it shows that. A nonce and a time are there if the caller sent them."""

    username: str
    password: str = field(repr=False)
    nonce: bytes | None = None
    created: datetime | None = None
    expires: datetime | None = None


def _bad(field: str, value: object, rule: str) -> BadUsernameToken:
    return BadUsernameToken(
        f"the security header cannot be used: {rule}", field=field, value=value, rule=rule
    )


def read(security: etree._Element) -> UsernameToken:
    """The token of a `wsse:Security` element. Raises BadUsernameToken."""
    children = [one for one in security if isinstance(one.tag, str)]
    if _must_understand(security):
        for one in children:
            if one.tag not in _UNDERSTOOD:
                name = etree.QName(one).localname
                raise _bad("wsse:Security", name, "a UsernameToken, and a Timestamp at most")
    tokens = security.findall(f"{{{WSSE}}}UsernameToken")
    if len(tokens) != 1:
        raise _bad("wsse:Security", len(tokens), "one UsernameToken")
    [token] = tokens
    username = _text(token, WSSE, "Username")
    if not username:
        raise _bad("wsse:Username", "", "the id of a client")
    return UsernameToken(
        username=username,
        password=_password(token),
        nonce=_nonce(token),
        created=_time(token, "Created"),
        expires=_time(security.find(f"{{{WSU}}}Timestamp"), "Expires"),
    )


def _must_understand(security: etree._Element) -> bool:
    return any(
        etree.QName(name).localname == "mustUnderstand" and value.strip() in ("1", "true")
        for name, value in security.attrib.items()
    )


def _text(parent: etree._Element, namespace: str, name: str) -> str:
    found = parent.findall(f"{{{namespace}}}{name}")
    if len(found) > 1:
        raise _bad(f"wsse:{name}", len(found), "one at most")
    text = (found[0].text or "") if found else ""
    if len(text) > _LONGEST:
        raise _bad(f"wsse:{name}", f"{len(text)} characters", f"at most {_LONGEST} characters")
    return text if name == "Password" else text.strip(" \t\r\n")


def _password(token: etree._Element) -> str:
    password = _text(token, WSSE, "Password")
    found = token.find(f"{{{WSSE}}}Password")
    said = "" if found is None else found.get("Type", PASSWORD_TEXT)
    kind = said.rpartition("#")[2].rpartition(":")[2]
    if kind == "PasswordDigest":
        rule = (
            "Type #PasswordText: a digest is checked against the password itself, and this hub "
            "keeps only a hash of it; TLS guards the password on its way"
        )
        raise _bad("wsse:Password", "PasswordDigest", rule)
    if found is not None and kind != "PasswordText":
        raise _bad("wsse:Password", said[:200], "Type #PasswordText")
    if not password:
        raise _bad("wsse:Password", "", "the secret of the client, as Type #PasswordText")
    return password


def _nonce(token: etree._Element) -> bytes | None:
    text = _text(token, WSSE, "Nonce")
    try:
        return base64.b64decode(text, validate=True) if text else None
    except (binascii.Error, ValueError):
        raise _bad("wsse:Nonce", text[:100], "Base64") from None


def _time(parent: etree._Element | None, name: str) -> datetime | None:
    text = "" if parent is None else _text(parent, WSU, name)
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise _bad(f"wsu:{name}", text[:100], "a time as 2024-01-31T10:00:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


class Window:
    """When a token is good: made lately, and its nonce not seen before in this process."""

    def __init__(
        self,
        *,
        oldest: timedelta = timedelta(minutes=5),
        skew: timedelta = timedelta(minutes=1),
        most_nonces: int = 100_000,
    ) -> None:
        self._oldest = oldest
        self._skew = skew
        self._most = most_nonces
        self._seen: OrderedDict[tuple[str, bytes], datetime] = OrderedDict()

    def check(self, token: UsernameToken, now: datetime) -> None:
        """Once for each message, after the password was found right. Raises StaleUsernameToken."""
        created, expires = token.created, token.expires
        if created is not None and not now - self._oldest <= created <= now + self._skew:
            rule = f"made within the last {self._oldest.total_seconds():.0f} seconds"
            raise _stale("wsu:Created", created.isoformat(), rule)
        if expires is not None and expires < now - self._skew:
            raise _stale("wsu:Expires", expires.isoformat(), "a time to come")
        if token.nonce is not None:
            self._check_nonce((token.username, token.nonce), now)

    def _check_nonce(self, nonce: tuple[str, bytes], now: datetime) -> None:
        while self._seen:
            first = next(iter(self._seen))
            if (
                len(self._seen) < self._most
                and self._seen[first] >= now - self._oldest - self._skew
            ):
                break
            del self._seen[first]
        if nonce in self._seen:
            raise _stale("wsse:Nonce", "", "another nonce for every message")
        self._seen[nonce] = now


def _stale(field: str, value: str, rule: str) -> StaleUsernameToken:
    return StaleUsernameToken(
        f"the UsernameToken is not good now: {rule}", field=field, value=value, rule=rule
    )


def digest(nonce: bytes, created: str, password: str) -> str:
    """Section 3.1: what a provider that keeps the password works out on its side."""
    hashed = hashlib.sha1(nonce + created.encode() + password.encode(), usedforsecurity=False)
    return base64.b64encode(hashed.digest()).decode()


def text_token(username: str, password: str) -> etree._Element:
    """A `wsse:UsernameToken` with the password as it is."""
    token = etree.Element(f"{{{WSSE}}}UsernameToken", nsmap={"wsse": WSSE, "wsu": WSU})
    etree.SubElement(token, f"{{{WSSE}}}Username").text = username
    etree.SubElement(token, f"{{{WSSE}}}Password", Type=PASSWORD_TEXT).text = password
    return token


def digest_token(username: str, password: str, *, nonce: bytes, now: datetime) -> etree._Element:
    """A `wsse:UsernameToken` that shows knowledge of the password; `nonce` is random, 16 bytes."""
    created = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    token = text_token(username, digest(nonce, created, password))
    token[1].set("Type", PASSWORD_DIGEST)
    encoded = base64.b64encode(nonce).decode()
    etree.SubElement(token, f"{{{WSSE}}}Nonce", EncodingType=BASE64).text = encoded
    etree.SubElement(token, f"{{{WSU}}}Created").text = created
    return token


def header(token: etree._Element, soap_namespace: str) -> str:
    """A security header that holds the token and must be understood, for an envelope of this
    namespace."""
    security = etree.Element(SECURITY, nsmap={"wsse": WSSE, "env": soap_namespace})
    security.set(f"{{{soap_namespace}}}mustUnderstand", "1")
    security.append(token)
    return etree.tostring(security, encoding="unicode")
