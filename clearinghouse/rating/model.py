"""Rating: what a charge costs under the roaming agreement that covers it.

The rules of the tariff itself are `roaming.pricing`'s. Here stands which terms apply: the
agreement's tariff, currency and VAT, and the clock by which "after 18:00" is read.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from clearinghouse.tax.model import AGREED_RATE, Treatment, category_of_agreed
from roaming.charge import Charge
from roaming.evse_id import EvseId
from roaming.money import BadMoney, Money
from roaming.pricing import Compiled, Price, PriceLine, price_charge
from roaming.refusal import Malformed
from roaming.tariff import BadTariff, Dimension, Tariff

UTC_NAME = "UTC"


class UnreadableTerms(Malformed):
    """The terms of an agreement do not say what a charge costs."""


class BadTimeZone(Malformed):
    """A time zone that is not in the IANA time zone database."""


class Agreement(Protocol):
    """A roaming agreement in force. `tariff` as agreed: OCPI 2.2.1 {"elements": [...]}.

    The terms of one contract id never change: other terms are another contract. `clearing_group`
    says with what other debts its charges are cleared: a strategy, or `strategy:name`.
    `tariff_group` names the charge points that this tariff and VAT are for; None: those without a
    group of their own, which `at` tells apart.
    """

    @property
    def contract_id(self) -> str: ...
    @property
    def currency(self) -> str: ...
    @property
    def tariff(self) -> Mapping[str, Any]: ...
    @property
    def vat_percent(self) -> Decimal | None: ...
    @property
    def time_zone(self) -> str | None: ...
    @property
    def clearing_group(self) -> str: ...
    @property
    def tariff_group(self) -> str | None: ...
    def covers(self, evse_id: EvseId) -> bool: ...
    def at(self, evse_id: EvseId) -> Agreement:
        """The same, as it prices at this charge point."""
        ...


class Tariffs:
    """Tariffs made ready to reckon with, one for all agreements that hold the very same object."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[tuple[int, str], tuple[Mapping[str, Any], Compiled]] = {}

    def of(self, agreement: Agreement) -> Compiled:
        """Raises BadTariff or BadMoney."""
        tariff, currency = agreement.tariff, agreement.currency
        held = self._held.get((id(tariff), currency))
        if held is None:
            if len(self._held) >= self._most:
                self._held.clear()
            # The object is held as well, so that no other one gets its id meanwhile.
            held = tariff, Compiled(Tariff.parse(tariff, currency=currency))
            self._held[id(tariff), currency] = held
        return held[1]


@dataclass(frozen=True, slots=True)
class Terms:
    """An agreement's terms, read: a tariff made ready to reckon with."""

    tariff: Compiled
    vat_percent: Decimal | None
    time_zone: str | None

    @classmethod
    def read(cls, agreement: Agreement, tariffs: Tariffs) -> Terms:
        """Raises UnreadableTerms, which says where."""
        try:
            tariff = tariffs.of(agreement)
        except (BadTariff, BadMoney) as error:
            raise UnreadableTerms(
                f"agreement {agreement.contract_id}: {error.detail}",
                field=error.field,
                value=error.value,
                rule=error.rule,
            ) from error
        zone = agreement.time_zone
        if zone is not None and not is_zone(zone):
            raise UnreadableTerms(
                f"agreement {agreement.contract_id}: no time zone {zone!r}",
                field="time_zone",
                value=zone,
                rule="a name of the IANA time zone database",
            )
        return cls(tariff, agreement.vat_percent, zone)


@dataclass(frozen=True, slots=True)
class Rated:
    """What a charge costs, and how that came about: `lines` as JSON, for a person to follow.

    `vat_rule` is one of docs/vat.md, `vat_category` EN 16931's, `vat_percent` None where each line
    has its own.
    """

    agreement_id: str
    time_zone: str
    excl_vat: Money
    vat: Money
    incl_vat: Money
    lines: Sequence[Mapping[str, Any]]
    clearing_group: str = ""
    vat_rule: str = AGREED_RATE
    vat_category: str | None = None
    vat_percent: Decimal | None = None

    def negated(self) -> Rated:
        """What a credit comes to: the same to the cent, the other way round."""
        return replace(
            self, excl_vat=-self.excl_vat, vat=-self.vat, incl_vat=-self.incl_vat, lines=()
        )

    @property
    def currency(self) -> str:
        return self.excl_vat.currency

    def amounts(self) -> dict[str, str]:
        """{"currency", "excl_vat", "vat", "incl_vat"}, amounts as decimal texts."""
        return {
            "currency": self.currency,
            "excl_vat": self.excl_vat.figure,
            "vat": self.vat.figure,
            "incl_vat": self.incl_vat.figure,
        }


def line_shown(line: PriceLine) -> dict[str, Any]:
    """A price line as JSON: {"dimension", "quantity", "unit", "price_per_unit", "amount", …}."""
    shown: dict[str, Any] = {
        "dimension": line.dimension.value,
        "quantity": _exact(line.quantity),
        "unit": _UNITS[line.dimension],
        "price_per_unit": f"{line.price_per_unit:f}",
        "amount": _exact(line.amount),
    }
    if line.vat_percent is not None:
        shown["vat_percent"] = f"{line.vat_percent:f}"
    return shown


def _limits(price: Price) -> list[dict[str, Any]]:
    """The line by which a min_price adds, or a max_price takes away; without it the sum is off."""
    if not price.adjustment:
        return []
    return [{"dimension": "PRICE_LIMIT", "amount": _exact(price.adjustment)}]


def _ruled(lines: Sequence[Mapping[str, Any]], vat: Treatment) -> list[Mapping[str, Any]]:
    """Each line says which rule its VAT is by; what the tariff says of VAT is for a driver."""
    said = {"vat_rule": vat.rule, "vat_category": vat.category, "vat_percent": f"{vat.percent:f}"}
    return [{**line, **said} for line in lines]


_UNITS = {
    Dimension.ENERGY: "Wh",
    Dimension.TIME: "s",
    Dimension.PARKING_TIME: "s",
    Dimension.FLAT: "charge",
}


def _exact(number: Fraction) -> str:
    """A decimal where there is an exact one ("0.125"), else the fraction itself ("1/3")."""
    numerator, denominator = number.numerator, number.denominator
    if denominator == 1:
        return str(numerator)
    for places in range(1, _PLACES_MOST):
        whole, left = divmod(10**places, denominator)
        if not left:
            return f"{Decimal(f'{numerator * whole}e-{places}'):f}"
    return f"{numerator}/{denominator}"


_PLACES_MOST = 25


class Rater:
    """Prices charges; keeps the terms of up to `most` agreements read, since reading costs most."""

    def __init__(self, most: int = 10_000) -> None:
        self._most = most
        self._terms: OrderedDict[str | tuple[str, str], Terms | UnreadableTerms] = OrderedDict()
        self._tariffs = Tariffs(most)

    def rate(
        self,
        agreement: Agreement,
        charge: Charge,
        *,
        cdr_zone: str | None,
        evse_zone: str | None,
        vat: Treatment | None = None,
    ) -> Rated:
        """The price of a charge. Its clock: the record's own zone, the agreement's, the EVSE's.

        `vat` None, or without a percentage of its own: the agreed one. Raises UnreadableTerms.
        """
        terms = self._terms_of(agreement)
        zone = cdr_zone or terms.time_zone or evse_zone or UTC_NAME
        ruled = None if vat is None or vat.percent is None else vat
        percent = terms.vat_percent if ruled is None else ruled.percent
        price = price_charge(terms.tariff, charge, time_zone=zone_of(zone), vat_percent=percent)
        lines = [*(line_shown(line) for line in price.lines), *_limits(price)]
        if agreement.tariff_group is not None:
            lines = [{**line, "tariff_group": agreement.tariff_group} for line in lines]
        return Rated(
            agreement_id=agreement.contract_id,
            time_zone=zone,
            excl_vat=price.excl_vat,
            vat=price.vat,
            incl_vat=price.incl_vat,
            lines=lines if ruled is None else _ruled(lines, ruled),
            clearing_group=agreement.clearing_group,
            vat_rule=AGREED_RATE if ruled is None else ruled.rule,
            vat_category=category_of_agreed(percent) if ruled is None else ruled.category,
            vat_percent=percent,
        )

    def _terms_of(self, agreement: Agreement) -> Terms:
        group = agreement.tariff_group
        key = agreement.contract_id if group is None else (agreement.contract_id, group)
        terms = self._terms.get(key)
        if terms is None:
            try:
                terms = Terms.read(agreement, self._tariffs)
            except UnreadableTerms as unreadable:
                terms = unreadable
            self._terms[key] = terms
            if len(self._terms) > self._most:
                self._terms.popitem(last=False)
        if isinstance(terms, UnreadableTerms):
            raise terms
        return terms


@lru_cache(maxsize=1024)
def is_zone(name: str) -> bool:
    """Whether `name` is in the IANA time zone database."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def zone_named(name: str) -> ZoneInfo:
    """The time zone of that name. Raises BadTimeZone."""
    if not is_zone(name):
        raise BadTimeZone(
            f"no time zone {name!r}",
            field="time_zone",
            value=name,
            rule="a name of the IANA time zone database, as Europe/Paris",
        )
    return zone_of(name)


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    return ZoneInfo(name)
