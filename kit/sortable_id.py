"""Identifiers that sort by the time they were given out: UUID version 7 (RFC 9562, section 5.7)."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID


def sortable_id(now: datetime) -> str:
    """A new UUID of version 7, its first 48 bits being `now` in milliseconds."""
    milliseconds = int(now.timestamp() * 1000) & (1 << 48) - 1
    low = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (low >> 62) << 64 | 0b10 << 62 | low & (1 << 62) - 1
    return str(UUID(int=value))


def is_id(text: str) -> bool:
    """Whether a text could be an id of ours at all; what could not is not looked for."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
