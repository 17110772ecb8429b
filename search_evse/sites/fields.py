"""One field at a time: a field that breaks its rule is left out with a note, and costs only itself.

What is read here was written by others: text may hold control characters that PostgreSQL refuses,
numbers may be text, times may lie in the next century.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from roaming.country import alpha_2

EVSE_ID_RULE = "must be an EVSE id of eMI3, as FR*PD1*E123, or of DIN SPEC 91286"

# Chargers above 400 kW exist, as yet in a few depots; in the files seen, what is above is a typing
# error (16,000 kW) or voltage times current of a cabinet.
POWER_MOST_W = 400_000
POWER_LEAST_W = 1_000

# A millimetre. Kept that coarse, no difference of two places is so small that its square
# underflows, which PostgreSQL takes for an error.
PLACE_DECIMALS = 8

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_AHEAD_MOST = timedelta(days=1)


class Fields:
    """The fields of one object, and notes on those that were left out."""

    def __init__(self, values: Mapping[str, Any], notes: list[str]) -> None:
        self._values = values
        self.notes = notes

    def get(self, *names: str) -> Any:
        """The first of `names` that says anything; None where none does."""
        for name in names:
            value = self._values.get(name)
            if value is not None and value != "":
                return value
        return None

    def text(self, *names: str, most: int = 255) -> str | None:
        value = self.get(*names)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.note(names[0], "not text, left out")
            return None
        text = _CONTROL.sub(" ", str(value)).strip()
        if len(text) > most:
            self.note(names[0], f"longer than {most} characters, cut")
            text = text[:most]
        return text or None

    def number(self, *names: str) -> float | None:
        value = self.get(*names)
        if value is None:
            return None
        number = to_number(value)
        if number is None:
            self.note(names[0], "not a number, left out")
        return number

    def one_of(self, allowed: Collection[str], *names: str) -> str | None:
        value = self.get(*names)
        if value is None:
            return None
        word = value.strip().upper() if isinstance(value, str) else ""
        if word not in allowed:
            self.note(names[0], "not a word of the specification, left out")
            return None
        return word

    def yes(self, *names: str) -> bool | None:
        """True, False, or None where nothing (sensible) is said."""
        value = self.get(*names)
        if value is None or isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word in ("true", "1", "vrai", "oui"):
            return True
        if word in ("false", "0", "faux", "non"):
            return False
        self.note(names[0], "neither true nor false, left out")
        return None

    def time(self, *names: str, now: datetime) -> datetime | None:
        """A time in UTC; where no offset is given it is UTC (OCPI 2.2.1, types, DateTime)."""
        value = self.get(*names)
        if value is None:
            return None
        try:
            time = datetime.fromisoformat(str(value).strip())
            time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
        except (ValueError, OverflowError):
            self.note(names[0], "not a time, left out")
            return None
        if time > now + _AHEAD_MOST:
            # It would outrank every later delivery until that day comes.
            self.note(names[0], "in the future, left out")
            return None
        return time

    def power_w(self, value: float | None, name: str) -> int | None:
        """Power that can be believed."""
        if value is None:
            return None
        if value > POWER_MOST_W:
            self.note(name, f"over {POWER_MOST_W // 1000} kW, left out")
            return None
        if value < POWER_LEAST_W:
            self.note(name, f"under {POWER_LEAST_W // 1000} kW, left out")
            return None
        return round(value)

    def country(self, *names: str) -> str | None:
        value = self.text(*names)
        code = None if value is None else alpha_2(value)
        if value is not None and code is None:
            self.note(names[0], "not a country of ISO 3166-1, left out")
        return code

    def time_zone(self, *names: str) -> str | None:
        value = self.text(*names)
        if value is None or is_time_zone(value):
            return value
        self.note(names[0], "not an IANA time zone, left out")
        return None

    def note(self, name: str, rule: str) -> None:
        self.notes.append(f"{name}: {rule}")


def to_number(value: object) -> float | None:
    """A finite number from JSON or from text, with decimal point or comma."""
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | float):
            number = float(value)
        elif isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            number = float(value.strip().replace(",", "."))
        else:
            return None
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def coordinates(latitude: object, longitude: object) -> tuple[float, float] | str:
    """A place on this earth, to the millimetre, or the rule that it breaks."""
    if latitude in (None, "") or longitude in (None, ""):
        return "must be given"
    north, east = to_number(latitude), to_number(longitude)
    if north is None or east is None:
        return "must be two numbers in decimal degrees"
    if not -90 <= north <= 90 or not -180 <= east <= 180:
        return "must lie in the world: latitude -90 to 90, longitude -180 to 180"
    north, east = round(north, PLACE_DECIMALS), round(east, PLACE_DECIMALS)
    if north == 0 and east == 0:
        return "must be given (0, 0 stands for missing)"
    return north, east


@lru_cache(maxsize=1024)
def is_time_zone(name: str) -> bool:
    """Whether `name` is a zone of the IANA time zone database."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
