"""The words of an OCPI 2.2.1 tariff (mod_tariffs): read from a partner's JSON, and written back.

Law: `Tariff.parse(tariff.to_json()) == tariff`.

OCPI numbers are JSON numbers. They are read through their text, so 0.1 is exactly 0.1 whether it
comes as Decimal, float, int or str. What would change a price and is not understood is refused: an
unknown dimension, an unknown restriction. Other unknown fields are ignored, as OCPI asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn, TypeVar

from roaming.money import BadMoney, places_of
from roaming.refusal import Malformed

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Word = TypeVar("Word", bound=StrEnum)
Part = TypeVar("Part")

_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_DATE = re.compile(r"[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})?"
)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")

# A number is bounded in both directions, so that no partner can make exact reckoning explode.
_MOST = Decimal(10) ** 12
_MOST_PLACES = 18
_MOST_DIGITS = 40
_MOST_SECONDS = 10**10
_MOST_ELEMENTS = 5_000


class BadTariff(Malformed):
    """A tariff that does not follow OCPI 2.2.1. `field` is the path of what is wrong."""


class Dimension(StrEnum):
    """What is priced (TariffDimensionType)."""

    ENERGY = "ENERGY"
    FLAT = "FLAT"
    PARKING_TIME = "PARKING_TIME"
    TIME = "TIME"


class DayOfWeek(StrEnum):
    """In the order of `date.weekday()`."""

    MONDAY = "MONDAY"
    TUESDAY = "TUESDAY"
    WEDNESDAY = "WEDNESDAY"
    THURSDAY = "THURSDAY"
    FRIDAY = "FRIDAY"
    SATURDAY = "SATURDAY"
    SUNDAY = "SUNDAY"


class ReservationKind(StrEnum):
    """Which reservations an element prices (ReservationRestrictionType)."""

    RESERVATION = "RESERVATION"
    RESERVATION_EXPIRES = "RESERVATION_EXPIRES"


class TariffType(StrEnum):
    """When a tariff is meant to be used."""

    AD_HOC_PAYMENT = "AD_HOC_PAYMENT"
    PROFILE_CHEAP = "PROFILE_CHEAP"
    PROFILE_FAST = "PROFILE_FAST"
    PROFILE_GREEN = "PROFILE_GREEN"
    REGULAR = "REGULAR"


@dataclass(frozen=True, slots=True)
class PriceComponent:
    """`price` per kWh (ENERGY), per hour (TIME, PARKING_TIME) or per charge (FLAT), without VAT.

    `step_size` in Wh or seconds; 0 is no rounding. `vat` in percent; None is "no VAT applies".
    """

    type: Dimension
    price: Decimal
    step_size: int = 0
    vat: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Restrictions:
    """When an element is active: all that are given must match (TariffRestrictions).

    Times, dates and weekdays are local to the place of the charge. Lower bounds include their
    value, upper bounds do not. An `end_time` of 00:00 is the end of the day.
    """

    start_time: time | None = None
    end_time: time | None = None
    start_date: date | None = None
    end_date: date | None = None
    min_kwh: Decimal | None = None
    max_kwh: Decimal | None = None
    min_current: Decimal | None = None
    max_current: Decimal | None = None
    min_power: Decimal | None = None
    max_power: Decimal | None = None
    min_duration: int | None = None
    max_duration: int | None = None
    day_of_week: frozenset[DayOfWeek] = frozenset()
    reservation: ReservationKind | None = None


@dataclass(frozen=True, slots=True)
class TariffElement:
    price_components: tuple[PriceComponent, ...]
    restrictions: Restrictions = Restrictions()


@dataclass(frozen=True, slots=True)
class PriceLimit:
    """The least or the most that a charge costs, without and with VAT; at least one is given."""

    excl_vat: Decimal | None
    incl_vat: Decimal | None = None


@dataclass(frozen=True, slots=True)
class DisplayText:
    language: str
    text: str


class EnergySource(StrEnum):
    """Where energy comes from (mod_locations, EnergySourceCategory)."""

    NUCLEAR = "NUCLEAR"
    GENERAL_FOSSIL = "GENERAL_FOSSIL"
    COAL = "COAL"
    GAS = "GAS"
    GENERAL_GREEN = "GENERAL_GREEN"
    SOLAR = "SOLAR"
    WIND = "WIND"
    WATER = "WATER"


class Impact(StrEnum):
    """What energy does to the world (mod_locations, EnvironmentalImpactCategory)."""

    NUCLEAR_WASTE = "NUCLEAR_WASTE"
    CARBON_DIOXIDE = "CARBON_DIOXIDE"


@dataclass(frozen=True, slots=True)
class SourceShare:
    source: EnergySource
    percentage: Decimal


@dataclass(frozen=True, slots=True)
class ImpactAmount:
    """`amount` in g/kWh."""

    category: Impact
    amount: Decimal


@dataclass(frozen=True, slots=True)
class EnergyMix:
    is_green_energy: bool
    energy_sources: tuple[SourceShare, ...] = ()
    environ_impact: tuple[ImpactAmount, ...] = ()
    supplier_name: str | None = None
    energy_product_name: str | None = None


@dataclass(frozen=True, slots=True)
class Tariff:
    """One tariff. What an operator publishes has all of OCPI's required fields; the tariff inside
    a roaming agreement may be no more than its elements.
    """

    currency: str
    elements: tuple[TariffElement, ...]
    id: str | None = None
    country_code: str | None = None
    party_id: str | None = None
    type: TariffType | None = None
    tariff_alt_text: tuple[DisplayText, ...] = ()
    tariff_alt_url: str | None = None
    min_price: PriceLimit | None = None
    max_price: PriceLimit | None = None
    start_date_time: datetime | None = None
    end_date_time: datetime | None = None
    energy_mix: EnergyMix | None = None
    last_updated: datetime | None = None

    def __hash__(self) -> int:
        # A tariff is a cache key on the way of every charge, and hashing hundreds of elements
        # would cost more than pricing with them.
        return hash((self.id, self.currency, self.last_updated, len(self.elements)))

    @classmethod
    def parse(cls, raw: object, *, currency: str | None = None) -> Tariff:
        """Read OCPI JSON. Raises BadTariff, which names the path, the value and the rule.

        `currency` is that of the agreement around the tariff: it stands in for a missing one, and
        one that differs is refused.
        """
        return _tariff(_Node(raw, ""), currency)

    def to_json(self) -> dict[str, object]:
        """As OCPI JSON: only str, int, float, list and dict, and only what is given.

        A price is written as a JSON number when that has exactly its digits, else as text.
        """
        return {field.name: _to_json(value) for field, value in _given(self)}


class _Node:
    """A value in a partner's JSON together with its path, for errors that can be acted on."""

    __slots__ = ("path", "raw")

    def __init__(self, raw: object, path: str) -> None:
        self.raw = raw
        self.path = path

    def refuse(self, rule: str) -> NoReturn:
        shown = "nothing" if self.raw is None else _shown(self.raw)
        where = self.path or "tariff"
        raise BadTariff(f"{where}: {shown}: {rule}", field=where, value=shown, rule=rule)

    def names(self) -> Iterator[str]:
        return (key for key in self._mapping() if isinstance(key, str))

    def given(self, key: str) -> _Node | None:
        """The child, or None where it is absent or null: OCPI treats the two alike."""
        value = self._mapping().get(key)
        return None if value is None else self.child(key)

    def child(self, key: str) -> _Node:
        return _Node(self._mapping().get(key), f"{self.path}.{key}" if self.path else key)

    def optional(self, key: str, read: Callable[[_Node], Part]) -> Part | None:
        node = self.given(key)
        return None if node is None else read(node)

    def items(self) -> list[_Node]:
        if not isinstance(self.raw, Sequence) or isinstance(self.raw, str | bytes):
            self.refuse("a list")
        return [_Node(raw, f"{self.path}[{index}]") for index, raw in enumerate(self.raw)]

    def _mapping(self) -> Mapping[object, object]:
        if not isinstance(self.raw, Mapping):
            self.refuse("an object")
        return self.raw


def _shown(raw: object) -> str:
    try:
        return repr(raw)[:60]
    except ValueError:  # Python does not spell out integers of thousands of digits.
        return "a giant number"


def _tariff(node: _Node, currency: str | None) -> Tariff:
    return Tariff(
        currency=_currency(node, currency),
        elements=_elements(node.child("elements")),
        id=node.optional("id", _text(36)),
        country_code=node.optional("country_code", _text(2)),
        party_id=node.optional("party_id", _text(3)),
        type=node.optional("type", _word(TariffType)),
        tariff_alt_text=node.optional("tariff_alt_text", _list(_display_text)) or (),
        tariff_alt_url=node.optional("tariff_alt_url", _text(2048)),
        min_price=node.optional("min_price", _price_limit),
        max_price=node.optional("max_price", _price_limit),
        start_date_time=node.optional("start_date_time", _date_time),
        end_date_time=node.optional("end_date_time", _date_time),
        energy_mix=node.optional("energy_mix", _energy_mix),
        last_updated=node.optional("last_updated", _date_time),
    )


def _currency(node: _Node, agreed: str | None) -> str:
    own = node.optional("currency", _text(3))
    if own is not None and agreed is not None and own != agreed:
        node.child("currency").refuse(f"the currency of the agreement, {agreed}")
    currency = own if own is not None else agreed
    if currency is None:
        node.child("currency").refuse("a currency of ISO 4217, as EUR")
    try:
        places_of(currency)
    except BadMoney:
        _Node(currency, "currency").refuse("a currency of ISO 4217 in upper case, as EUR")
    return currency


def _elements(node: _Node) -> tuple[TariffElement, ...]:
    children = node.items()
    if not 0 < len(children) <= _MOST_ELEMENTS:
        node.refuse(f"one to {_MOST_ELEMENTS} elements")
    return tuple(_element(child) for child in children)


def _element(node: _Node) -> TariffElement:
    components = node.child("price_components")
    children = components.items()
    if not children:
        components.refuse("at least one price component")
    return TariffElement(
        tuple(_component(child) for child in children),
        node.optional("restrictions", _restrictions) or Restrictions(),
    )


def _component(node: _Node) -> PriceComponent:
    return PriceComponent(
        type=_word(Dimension)(node.child("type")),
        price=_number(node.child("price")),
        step_size=node.optional("step_size", _count) or 0,
        vat=node.optional("vat", _amount),
    )


_RESTRICTIONS = frozenset(field.name for field in fields(Restrictions))


def _restrictions(node: _Node) -> Restrictions:
    for key in node.names():
        unknown = None if key in _RESTRICTIONS else node.given(key)
        if unknown is not None:
            # Ignoring it would make the element apply more often than its author meant.
            unknown.refuse("no restriction of OCPI 2.2.1")
    return Restrictions(
        start_time=node.optional("start_time", _time_of_day),
        end_time=node.optional("end_time", _time_of_day),
        start_date=node.optional("start_date", _date),
        end_date=node.optional("end_date", _date),
        min_kwh=node.optional("min_kwh", _amount),
        max_kwh=node.optional("max_kwh", _amount),
        min_current=node.optional("min_current", _amount),
        max_current=node.optional("max_current", _amount),
        min_power=node.optional("min_power", _amount),
        max_power=node.optional("max_power", _amount),
        min_duration=node.optional("min_duration", _count),
        max_duration=node.optional("max_duration", _count),
        day_of_week=frozenset(node.optional("day_of_week", _list(_word(DayOfWeek))) or ()),
        reservation=node.optional("reservation", _word(ReservationKind)),
    )


def _price_limit(node: _Node) -> PriceLimit:
    if not isinstance(node.raw, Mapping):
        return PriceLimit(_amount(node))
    limit = PriceLimit(node.optional("excl_vat", _amount), node.optional("incl_vat", _amount))
    if limit == PriceLimit(None):
        node.child("excl_vat").refuse("an amount without VAT")
    return limit


def _display_text(node: _Node) -> DisplayText:
    return DisplayText(_text(10)(node.child("language")), _text(4096)(node.child("text")))


def _energy_mix(node: _Node) -> EnergyMix:
    green = node.child("is_green_energy")
    if not isinstance(green.raw, bool):
        green.refuse("true or false")
    return EnergyMix(
        is_green_energy=green.raw,
        energy_sources=node.optional("energy_sources", _list(_source)) or (),
        environ_impact=node.optional("environ_impact", _list(_impact)) or (),
        supplier_name=node.optional("supplier_name", _text(64)),
        energy_product_name=node.optional("energy_product_name", _text(64)),
    )


def _source(node: _Node) -> SourceShare:
    return SourceShare(_word(EnergySource)(node.child("source")), _amount(node.child("percentage")))


def _impact(node: _Node) -> ImpactAmount:
    return ImpactAmount(_word(Impact)(node.child("category")), _amount(node.child("amount")))


def _number(node: _Node) -> Decimal:
    raw = node.raw
    if isinstance(raw, bool) or not isinstance(raw, int | float | str | Decimal):
        node.refuse("a number")
    # int() to text is quadratic in its digits, so a giant is refused before it is spelt out.
    if isinstance(raw, int) and abs(raw) > _MOST:
        node.refuse(f"a number up to {_MOST:f}")
    text = str(raw)
    if len(text) > _MOST_DIGITS or not _NUMBER.fullmatch(text):
        node.refuse("a number as in JSON")
    try:
        number = Decimal(text)
    except InvalidOperation:
        node.refuse("a number as in JSON")
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), "no NaN and no infinity matches _NUMBER"
    if abs(number) > _MOST or exponent < -_MOST_PLACES:
        node.refuse(f"a number up to {_MOST:f} with at most {_MOST_PLACES} places")
    return number if number else Decimal(0)


def _amount(node: _Node) -> Decimal:
    number = _number(node)
    if number < 0:
        node.refuse("not below zero")
    return number


def _count(node: _Node) -> int:
    number = _amount(node)
    if number != number.to_integral_value() or number > _MOST_SECONDS:
        node.refuse(f"a whole number up to {_MOST_SECONDS}")
    return int(number)


def _list(read: Callable[[_Node], Part]) -> Callable[[_Node], tuple[Part, ...]]:
    return lambda node: tuple(read(child) for child in node.items())


def _text(most: int) -> Callable[[_Node], str]:
    def read(node: _Node) -> str:
        if not isinstance(node.raw, str) or not 0 < len(node.raw) <= most:
            node.refuse(f"text of 1 to {most} characters")
        return node.raw

    return read


def _word(kind: type[Word]) -> Callable[[_Node], Word]:
    def read(node: _Node) -> Word:
        if not isinstance(node.raw, str) or node.raw not in kind.__members__:
            node.refuse(f"one of {', '.join(kind)}")
        return kind[node.raw]

    return read


def _time_of_day(node: _Node) -> time:
    if not isinstance(node.raw, str) or not _TIME.fullmatch(node.raw):
        node.refuse("a time from 00:00 to 23:59")
    return time.fromisoformat(node.raw)


def _date(node: _Node) -> date:
    if not isinstance(node.raw, str) or not _DATE.fullmatch(node.raw):
        node.refuse("a date as 2026-12-24")
    try:
        return date.fromisoformat(node.raw)
    except ValueError:
        node.refuse("a date that exists")


def _date_time(node: _Node) -> datetime:
    """OCPI's DateTime: RFC 3339, in UTC where nothing is said (types, DateTime)."""
    rule = "a time as 2026-12-24T18:00:00Z"
    if not isinstance(node.raw, str) or not _DATE_TIME.fullmatch(node.raw):
        node.refuse(rule)
    try:
        moment = datetime.fromisoformat(node.raw)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        node.refuse(rule)


def _given(part: DataclassInstance) -> Iterator[tuple[Field[object], object]]:
    for field in fields(part):
        value = getattr(part, field.name)
        if value not in (None, (), frozenset(), Restrictions()):
            yield field, value


def _to_json(value: object) -> object:
    match value:
        case StrEnum():
            return value.value
        case Decimal():
            return _number_to_json(value)
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case time():
            return value.isoformat("minutes")
        case frozenset():
            return [day.value for day in DayOfWeek if day in value]
        case tuple():
            return [_to_json(item) for item in value]
        case str() | int():
            return value
    assert is_dataclass(value)
    assert not isinstance(value, type)
    return {field.name: _to_json(inner) for field, inner in _given(value)}


def _number_to_json(value: Decimal) -> int | float | str:
    if value == value.to_integral_value():
        return int(value)
    # Only spelling: a float's shortest text is the number that a JSON writer puts on the wire.
    number = float(value)
    return number if Decimal(repr(number)) == value else format(value, "f")
