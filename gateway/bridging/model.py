"""What is said when two sides do not speak alike, and every way to say no. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from roaming.refusal import Malformed, TooMuch, Unauthenticated, Unavailable, Unknown

JSON = "application/json"
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9._-]+)", re.IGNORECASE)
# A declaration of its own, or a byte order mark.
_DECLARED = re.compile(rb"<\?xml[^>]*\sencoding\s*=|\xef\xbb\xbf|\xff\xfe|\xfe\xff")


def media_type_of(content_type: str) -> str:
    """`text/xml; charset=utf-8` -> `text/xml`."""
    return content_type.partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Told:
    """A provider's answer, whole."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    content: bytes

    @property
    def units(self) -> tuple[tuple[bytes, bytes], ...]:
        """What the provider tells that its answer took, which is said in no content."""
        return tuple(one for one in self.headers if one[0] == b"gridroam-units")

    @property
    def content_type(self) -> str:
        for name, value in self.headers:
            if name == b"content-type":
                return value.decode("latin-1")
        return ""

    @property
    def media_type(self) -> str:
        return media_type_of(self.content_type)

    @property
    def xml(self) -> bytes:
        """The content as XML that says of itself how it is encoded, or is in UTF-8.

        Of XML that says nothing, HTTP's word holds (RFC 7303, section 3).
        """
        found = _CHARSET.search(self.content_type)
        if found is None or _DECLARED.match(self.content):
            return self.content
        try:
            return self.content.decode(found[1]).encode()
        except (LookupError, UnicodeError):
            return self.content

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_json(self) -> bool:
        return is_json(self.media_type)


def is_json(media_type: str) -> bool:
    return media_type == JSON or media_type.endswith("+json")


class NotJson(Malformed):
    """What came is not announced as JSON, or is not alone in its body."""


class BodyTooSlow(Malformed):
    """A body that is read whole did not come whole in time."""


class LoginRefused(Unauthenticated):
    """A name and secret came that do not belong together, or not any more."""


class TooManyAttempts(TooMuch):
    """Too many wrong secrets came from there for this client."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too many failed attempts", rule=f"again in {retry_after_s} seconds")
        self.retry_after_s = retry_after_s


class NoSuchDocument(Unknown):
    """The service has no interface document of this kind, or no such file in it."""


class InterfaceUnreadable(Unavailable):
    """The interface document cannot be made use of; all other services go on."""
