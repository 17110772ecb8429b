"""Which charge points a roaming agreement is about, and which of them have a tariff of their own.

Law: of an agreement's groups the first that covers a charge point counts, and a charge point that
none covers has the agreement's own tariff. An entry that lies wholly within an earlier group, or
outside the agreement, would never count, and is refused: whoever wrote it meant something else.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from marketplace.offerings.reading import BadTerms, bad, only, text
from roaming.evse_id import EvseId
from roaming.tariff import BadTariff, Tariff

MOST_PATTERNS = 10_000
MOST_GROUPS = 100

_PATTERN = re.compile(r"[A-Z]{2}[A-Z0-9]{3}(?:E[A-Z0-9]{0,31})?")
_NAME = re.compile(r"[^\W_](?:[\w .,&()/+-]{0,62}[\w.)+])?")


class Coverage:
    """Some charge points, or all: made once, asked before every charge."""

    __slots__ = ("_beginnings", "_exact")

    def __init__(self, evses: Collection[str] | None) -> None:
        self._exact: frozenset[str] | None = None
        self._beginnings: tuple[str, ...] = ()
        if evses is not None:
            self._exact = frozenset(one for one in evses if not one.endswith("*"))
            self._beginnings = tuple(one[:-1] for one in evses if one.endswith("*"))

    @property
    def whole(self) -> bool:
        """Whether it is about all charge points of the operator."""
        return self._exact is None

    def __contains__(self, evse_id: EvseId) -> bool:
        if self._exact is None:
            return True
        return evse_id in self._exact or evse_id.startswith(self._beginnings)


@dataclass(frozen=True, slots=True)
class TariffGroup:
    """Charge points with a tariff of their own: `evses` as in the terms around it."""

    name: str
    evses: tuple[str, ...]
    tariff: Tariff
    vat_percent: Decimal | None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "evses": list(self.evses),
            "tariff": self.tariff.to_json(),
            "vat_percent": None if self.vat_percent is None else format(self.vat_percent, "f"),
        }


@dataclass(frozen=True, slots=True)
class Idle:
    """An entry of a group that could never count: `group` and `entry` by their places. `because`:
    the name of the earlier group that has all of it, or None: the agreement has nothing of it."""

    group: int
    entry: int
    because: str | None


def idle(groups: Sequence[TariffGroup], evses: Collection[str] | None) -> Iterator[Idle]:
    """Every entry that could never count, in order."""
    whole = None if evses is None else _Entries(evses)
    earlier: dict[str, str] = {}
    for n, group in enumerate(groups):
        for m, entry in enumerate(group.evses):
            holder = next((earlier[one] for one in _wider(entry) if one in earlier), None)
            if holder is not None or not (whole is None or whole.meets(entry)):
                yield Idle(n, m, holder)
        for entry in group.evses:
            earlier.setdefault(entry, group.name)


def _wider(entry: str) -> Iterator[str]:
    """All entries that have every charge point which this one stands for; itself first."""
    yield entry
    beginning = entry.removesuffix("*")
    for length in range(len(beginning), -1, -1):
        yield beginning[:length] + "*"


class _Entries:
    """Entries to compare others with, however many there are."""

    def __init__(self, entries: Collection[str]) -> None:
        self._held = frozenset(entries)
        self._ordered = sorted(entries)

    def meets(self, entry: str) -> bool:
        """Whether a charge point can be of this entry and of one of those."""
        if any(one in self._held for one in _wider(entry)):
            return True
        beginning = entry.removesuffix("*")
        place = bisect_left(self._ordered, beginning)
        narrower = self._ordered[place : place + 1]
        return entry.endswith("*") and any(one.startswith(beginning) for one in narrower)


def tariff_groups(
    raw: object,
    currency: str,
    *,
    evses: Collection[str] | None,
    vat_percent: Decimal | None,
) -> tuple[TariffGroup, ...]:
    """The groups of an agreement's terms, of whose `evses` and VAT they are; None: no group.

    BadTerms names the path of what is wrong, also of an entry that would never count.
    """
    if raw is None:
        return ()
    if not isinstance(raw, list) or not 0 < len(raw) <= MOST_GROUPS:
        raise bad("terms.tariff_groups", raw, f"left out, or a list of 1 to {MOST_GROUPS}")
    groups: list[TariffGroup] = []
    for n, one in enumerate(raw):
        field = f"terms.tariff_groups.{n}"
        group = _group(one, field, currency, vat_percent)
        if any(group.name == other.name for other in groups):
            raise bad(f"{field}.name", group.name, "a name that no other group has")
        groups.append(group)
        if sum(len(group.evses) for group in groups) > MOST_PATTERNS:
            raise bad(f"{field}.evses", None, f"at most {MOST_PATTERNS} in all groups together")
    for found in idle(groups, evses):
        raise bad(
            f"terms.tariff_groups.{found.group}.evses",
            groups[found.group].evses[found.entry],
            "charge points that terms.evses has"
            if found.because is None
            else f"what group {found.because!r} before it has not: the first group counts",
        )
    return tuple(groups)


def _group(raw: object, field: str, currency: str, vat_percent: Decimal | None) -> TariffGroup:
    """`vat_percent`: what holds where the group says nothing of VAT."""
    if not isinstance(raw, Mapping):
        raise bad(field, raw, "an object with name, evses and tariff")
    only(raw, field, ["name", "evses", "tariff", "vat_percent"])
    name = raw.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise bad(f"{field}.name", name, "1 to 64 letters, digits, spaces and .,&()/+-")
    evses = patterns(raw.get("evses"), f"{field}.evses")
    if evses is None:
        raise bad(f"{field}.evses", None, f"a list of 1 to {MOST_PATTERNS}")
    try:
        tariff = Tariff.parse(raw.get("tariff"), currency=currency)
    except BadTariff as error:
        path = f"{field}.tariff.{error.field}"
        raise BadTerms(
            f"{path}: {error.detail}", field=path, value=error.value, rule=error.rule
        ) from None
    own = percent(raw, field) if "vat_percent" in raw else vat_percent
    return TariffGroup(name, evses, tariff, own)


def patterns(raw: object, field: str) -> tuple[str, ...] | None:
    """EVSE ids and beginnings of them, in their normal form and order; None: all there are."""
    if raw is None:
        return None
    if not isinstance(raw, list) or not 0 < len(raw) <= MOST_PATTERNS:
        raise bad(field, raw, f"null, or a list of 1 to {MOST_PATTERNS}")
    return tuple(sorted({_pattern(one, f"{field}.{n}") for n, one in enumerate(raw)}))


def _pattern(raw: object, field: str) -> str:
    """An EVSE id in any spelling, or the beginning of one and a `*`."""
    told = text(raw, field).strip()
    if not told.endswith("*"):
        return EvseId(told)
    beginning = told.upper().replace("*", "").replace("-", "")
    if not told.isascii() or not _PATTERN.fullmatch(beginning):
        raise bad(field, raw, "an EVSE id, or the operator and the beginning of one, then *")
    return beginning + "*"


def percent(raw: Mapping[str, Any], path: str) -> Decimal | None:
    """The VAT that was agreed, which has to be said; None: the tariff's price components say it."""
    field, rule = f"{path}.vat_percent", "a number from 0 to 100, at most 3 places; or null"
    if "vat_percent" not in raw:
        raise bad(field, None, rule)
    value = raw["vat_percent"]
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise bad(field, value, rule)
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        raise bad(field, value, rule) from None
    if not found.is_finite() or not 0 <= found <= 100 or found != round(found, 3):
        raise bad(field, value, rule)
    # One spelling for one number: 20.0 and 20 are the same terms.
    return Decimal(0) if found == 0 else Decimal(format(found.normalize(), "f"))
