"""The second factor: codes of an authenticator (TOTP, RFC 6238), and codes for when it is lost."""

from __future__ import annotations

import secrets
from datetime import datetime

import pyotp
from pyotp.exceptions import OTPVerificationError

from marketplace.people.model import RECOVERY_CODES

ISSUER = "Gridroam"
# A phone's clock is off by half a minute now and then.
WINDOW = 1
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


def new_secret() -> str:
    """160 random bits in base32, as authenticators take them."""
    return pyotp.random_base32()


def provisioning_uri(secret: str, account: str) -> str:
    """What an authenticator reads out of a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=ISSUER)


def step_of(secret: str, code: str, *, after: int, now: datetime) -> int | None:
    """The time step of the code, if it is good and later than the one that was used last."""
    if len(code) != 6 or not (code.isascii() and code.isdigit()):
        return None
    try:
        step = pyotp.TOTP(secret).verify_and_get_timecode(code, for_time=now, valid_window=WINDOW)
    except OTPVerificationError:
        return None
    return step if step > after else None


def recovery_codes() -> list[str]:
    """Each is good once, in place of a code; 78 random bits as four groups of four letters."""
    return [
        "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))
        for _ in range(RECOVERY_CODES)
    ]
