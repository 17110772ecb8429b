"""Sites, EVSEs and connectors as we keep them, and the rule by which news replaces what is held.

The nouns and their values are those of OCPI 2.2.1, mod_locations; of each object only what is
searched, shown or settled by is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, StrEnum

from roaming.evse_id import EvseId
from roaming.party import PartyId

EXAMPLES_MOST = 20
_SHOWN_MOST = 60
_PROVIDER_RULE = "must be an EVSE of the party that provides it"


class Status(StrEnum):
    """OCPI 2.2.1, mod_locations, Status enum."""

    AVAILABLE = "AVAILABLE"
    BLOCKED = "BLOCKED"
    CHARGING = "CHARGING"
    INOPERATIVE = "INOPERATIVE"
    OUTOFORDER = "OUTOFORDER"
    PLANNED = "PLANNED"
    REMOVED = "REMOVED"
    RESERVED = "RESERVED"
    UNKNOWN = "UNKNOWN"


# OCPI 2.2.1, mod_locations, ConnectorType enum, in upper case, for many write it so; MCS and
# SAE_J3400 are of OCPI 2.3.0.
CONNECTOR_TYPES = frozenset(
    {
        "CHADEMO",
        "CHAOJI",
        "DOMESTIC_A",
        "DOMESTIC_B",
        "DOMESTIC_C",
        "DOMESTIC_D",
        "DOMESTIC_E",
        "DOMESTIC_F",
        "DOMESTIC_G",
        "DOMESTIC_H",
        "DOMESTIC_I",
        "DOMESTIC_J",
        "DOMESTIC_K",
        "DOMESTIC_L",
        "DOMESTIC_M",
        "DOMESTIC_N",
        "DOMESTIC_O",
        "GBT_AC",
        "GBT_DC",
        "IEC_60309_2_SINGLE_16",
        "IEC_60309_2_THREE_16",
        "IEC_60309_2_THREE_32",
        "IEC_60309_2_THREE_64",
        "IEC_62196_T1",
        "IEC_62196_T1_COMBO",
        "IEC_62196_T2",
        "IEC_62196_T2_COMBO",
        "IEC_62196_T3A",
        "IEC_62196_T3C",
        "MCS",
        "NEMA_10_30",
        "NEMA_10_50",
        "NEMA_14_30",
        "NEMA_14_50",
        "NEMA_5_20",
        "NEMA_6_30",
        "NEMA_6_50",
        "PANTOGRAPH_BOTTOM_UP",
        "PANTOGRAPH_TOP_DOWN",
        "SAE_J3400",
        "TESLA_R",
        "TESLA_S",
    }
)
CONNECTOR_FORMATS = frozenset({"SOCKET", "CABLE"})
POWER_TYPES = frozenset({"AC_1_PHASE", "AC_2_PHASE", "AC_2_PHASE_SPLIT", "AC_3_PHASE", "DC"})
CAPABILITIES = frozenset(
    {
        "CHARGING_PROFILE_CAPABLE",
        "CHARGING_PREFERENCES_CAPABLE",
        "CHIP_CARD_SUPPORT",
        "CONTACTLESS_CARD_SUPPORT",
        "CREDIT_CARD_PAYABLE",
        "DEBIT_CARD_PAYABLE",
        "PED_TERMINAL",
        "REMOTE_START_STOP_CAPABLE",
        "RESERVABLE",
        "RFID_READER",
        "START_SESSION_CONNECTOR_REQUIRED",
        "TOKEN_GROUP_CAPABLE",
        "UNLOCK_CAPABLE",
    }
)
ALL_HOURS = "24/7"


@dataclass(frozen=True, slots=True)
class Connector:
    """`max_electric_power_w` is None where it was not told, or not believable."""

    id: str
    standard: str
    format: str | None
    power_type: str | None
    max_electric_power_w: int | None


@dataclass(frozen=True, slots=True)
class Site:
    """A location: where EVSEs stand. Known by its operator and that operator's id for it.

    `country` is ISO 3166-1 alpha-2; `time_zone` an IANA name, None where nobody told and the
    country has several; `opening` is in OpenStreetMap's opening_hours notation; coordinates are
    WGS 84.
    """

    operator: PartyId
    id: str
    latitude: float
    longitude: float
    country: str
    name: str | None = None
    operator_name: str | None = None
    address: str | None = None
    city: str | None = None
    postal_code: str | None = None
    time_zone: str | None = None
    opening: str | None = None
    access: str | None = None
    published: bool = True
    last_updated: datetime | None = None


@dataclass(frozen=True, slots=True)
class Evse:
    """One charge point. `status` None: the source does not tell, so whatever is known stays."""

    id: EvseId
    latitude: float
    longitude: float
    status: Status | None = None
    connectors: tuple[Connector, ...] = ()
    capabilities: tuple[str, ...] = ()
    uid: str | None = None
    physical_reference: str | None = None
    floor_level: str | None = None
    last_updated: datetime | None = None

    @property
    def connector_types(self) -> list[str]:
        return sorted({connector.standard for connector in self.connectors})

    @property
    def max_power_w(self) -> int | None:
        """Of the strongest connector."""
        return max((c.max_electric_power_w or 0 for c in self.connectors), default=0) or None


@dataclass(frozen=True, slots=True)
class Told:
    """One EVSE and its site as read; `warnings` name the fields that were left out, and why."""

    line: int
    site: Site
    evse: Evse
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rejection:
    """One EVSE, or a whole row, that was not taken. In a JSON array `line` counts the elements."""

    line: int
    field: str
    value: str
    rule: str

    @classmethod
    def of(cls, line: int, field: str, value: object, rule: str) -> Rejection:
        shown = "" if value is None else str(value)
        if len(shown) > _SHOWN_MOST:
            shown = shown[:_SHOWN_MOST] + "…"
        return cls(line, field, shown, rule)

    @property
    def reason(self) -> str:
        return f"{self.field}: {self.rule}"


@dataclass(frozen=True, slots=True)
class Held:
    """What we hold of an EVSE, as far as news is judged by it."""

    operator: PartyId
    fingerprint: bytes
    last_updated: datetime
    status: Status
    status_at: datetime


class Outcome(Enum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class Change:
    """An EVSE as it is to be held from now on."""

    told: Told
    held: Held


def fingerprint(site: Site, evse: Evse) -> bytes:
    """Sixteen bytes that stand for all master data of an EVSE and its site, not for its status.

    Times of change are left out: a delivery that only confirms is no change.
    """
    content = (
        (site.operator, site.id, site.latitude, site.longitude, site.name, site.operator_name),
        (site.address, site.city, site.postal_code, site.country, site.time_zone),
        (site.opening, site.access, site.published),
        (evse.id, evse.latitude, evse.longitude, evse.uid, evse.physical_reference),
        (evse.floor_level, evse.capabilities),
        [
            (c.id, c.standard, c.format, c.power_type, c.max_electric_power_w)
            for c in evse.connectors
        ],
    )
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).digest()


def judge(
    told: Told, held: Held | None, *, repeated: bool, now: datetime
) -> tuple[Outcome, Change | None]:
    """What a delivery means for what is held; a Change also where only its time is to be noted.

    The newest word counts, whichever order words arrive in. A row without a time of its own is as
    new as the import. Between two rows of one file (`repeated`) the same time does not suffice: so
    the first stands, and importing a file again changes nothing.
    """
    evse = told.evse
    when = evse.last_updated or now
    news = Held(
        told.site.operator,
        fingerprint(told.site, evse),
        when,
        evse.status or Status.UNKNOWN,
        when,
    )
    if held is None:
        return Outcome.CREATED, Change(told, news)
    if when < held.last_updated or (repeated and when == held.last_updated):
        return Outcome.UNCHANGED, None
    if evse.status is None or when < held.status_at:
        news = replace(news, status=held.status, status_at=held.status_at)
    if (news.fingerprint, news.status) != (held.fingerprint, held.status):
        return Outcome.UPDATED, Change(told, news)
    return Outcome.UNCHANGED, Change(told, news) if when > held.last_updated else None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of a file: read = created + updated + unchanged + rejected, counted in EVSEs.

    A repeat of an id inside one file is updated or unchanged, as its time says. `reasons` and
    `warnings` are `field: rule` with how often; `examples` are the first rejections.
    """

    read: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    reasons: dict[str, int]
    warnings: dict[str, int]
    examples: tuple[Rejection, ...]


@dataclass(slots=True)
class Tally:
    """Counts as an import goes along."""

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    examples: list[Rejection] = field(default_factory=list)

    @property
    def read(self) -> int:
        return self.outcomes.total() + self.reasons.total()

    def reject(self, rejection: Rejection) -> None:
        self.reasons[rejection.reason] += 1
        if len(self.examples) < EXAMPLES_MOST:
            self.examples.append(rejection)

    def report(self) -> ImportReport:
        return ImportReport(
            read=self.read,
            created=self.outcomes[Outcome.CREATED],
            updated=self.outcomes[Outcome.UPDATED],
            unchanged=self.outcomes[Outcome.UNCHANGED],
            rejected=self.reasons.total(),
            reasons=dict(self.reasons.most_common()),
            warnings=dict(self.warnings.most_common()),
            examples=tuple(self.examples),
        )


@dataclass(frozen=True, slots=True)
class News:
    """What a batch brought: the changes to be held, and what each EVSE in it came to."""

    changes: list[Change]
    outcomes: list[tuple[PartyId, EvseId, Outcome]]


@dataclass(slots=True)
class Intake:
    """One import as it goes along: whose word it is, what it has counted, which ids it has seen.

    `provider` may speak of its own EVSEs only: of those that it runs already, and of those whose
    id names it. None is the hub itself, which may speak of all. Of an id only a hash is kept, so
    that a million EVSEs fit; two ids with one hash would at worst make a tie between them decided
    by who came first.
    """

    now: datetime
    provider: PartyId | None = None
    tally: Tally = field(default_factory=Tally)
    seen: set[int] = field(default_factory=set)

    def take(self, rows: Iterable[Told | Rejection], held: Mapping[EvseId, Held]) -> News:
        """Judge row after row; a later row is judged by what an earlier one changed."""
        changes: dict[EvseId, Change] = {}
        outcomes: list[tuple[PartyId, EvseId, Outcome]] = []
        for row in rows:
            if isinstance(row, Rejection):
                self.tally.reject(row)
                continue
            evse_id = row.evse.id
            earlier = changes.get(evse_id)
            known = held.get(evse_id) if earlier is None else earlier.held
            if not self._may_tell(row, known):
                self.tally.reject(
                    Rejection.of(row.line, "evse_id", evse_id.display, _PROVIDER_RULE)
                )
                continue
            mark = hash(evse_id)
            repeated = mark in self.seen
            self.seen.add(mark)
            if repeated:
                self.tally.warnings["evse_id: told more than once, the newest counts"] += 1
            outcome, change = judge(row, known, repeated=repeated, now=self.now)
            self.tally.outcomes[outcome] += 1
            self.tally.warnings.update(row.warnings)
            outcomes.append((row.site.operator, evse_id, outcome))
            if change is not None:
                changes[evse_id] = change
        return News(list(changes.values()), outcomes)

    def _may_tell(self, told: Told, held: Held | None) -> bool:
        if self.provider is None:
            return True
        owner = told.evse.id.party if held is None else held.operator
        return self.provider == told.site.operator == owner


@dataclass(frozen=True, slots=True)
class Found:
    """What other wings ask of an EVSE: whose it is, where, which clock hangs there, its power."""

    evse_id: EvseId
    operator: PartyId
    country: str
    time_zone: str | None
    latitude: float
    longitude: float
    max_power_w: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """An EVSE as a dot on a map."""

    evse_id: EvseId
    operator: PartyId
    latitude: float
    longitude: float
    site_name: str | None
    city: str | None
    time_zone: str | None


def folded(text: str) -> str:
    """Text as it is compared: no accents, no case, single blanks. `Orléans` becomes `orleans`."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return " ".join(re.findall(r"[^\W_]+", plain))
