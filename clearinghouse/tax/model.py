"""VAT as data: facts about a supply in, exactly one rule out.

Charging is a supply of electricity, a good (CJEU C-282/22), made along the chain from the operator
to the EVSP to the driver (C-60/23). `RULES` is read from the top to the bottom; the conditions are
such that at most one holds, and the last one, `agreed-rate`, holds where none of them does: what we
cannot justify, the partners have to agree. docs/vat.md prints these tables, and says what is left
to an adviser.

Laws: every set of facts has exactly one rule; a reverse charge never has a percentage; the same
facts have the same rule; a rate changes at midnight of the country that it is of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, Protocol
from zoneinfo import ZoneInfo

from roaming.country import EU_MEMBERS

AGREED_RATE = "agreed-rate"


class Category(StrEnum):
    """EN 16931, BT-118 and BT-151 (UNCL 5305)."""

    STANDARD = "S"
    ZERO = "Z"
    EXEMPT = "E"
    REVERSE_CHARGE = "AE"
    EXPORT = "G"
    OUTSIDE = "O"


class Supply(StrEnum):
    ELECTRICITY = "electricity"
    SERVICE = "service"


class Side(StrEnum):
    """Who accounts for the VAT to a tax office."""

    SELLER = "seller"
    BUYER = "buyer"
    NOBODY = "nobody"
    AGREED = "as agreed"


class Business(Protocol):
    """What VAT asks of a party on paper."""

    @property
    def country(self) -> str: ...
    @property
    def vat_id(self) -> str | None: ...
    @property
    def taxable_dealer(self) -> bool: ...


class Facts(NamedTuple):
    """All that a rule may look at. Countries are VAT territories, None where nobody told.

    `day` is that of the supply in the seller's country, since it is the seller's rate that changes.
    """

    supply: Supply
    seller: str | None
    seller_vat_id: str | None
    seller_dealer: bool
    buyer: str | None
    buyer_vat_id: str | None
    buyer_dealer: bool
    point: str | None
    day: date


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a rule says of one supply. `percent` None: as the partners agreed."""

    rule: str
    category: Category | None
    percent: Decimal | None
    accounts: Side
    exemption_reason: str | None
    vatex: str | None
    says: str
    source: str


# A country's clock, and its standard rates with their first days. European Commission, "VAT rates
# applied in the Member States" and Taxes in Europe Database; CH: MWSTG Art. 25; GB: VATA 1994 s. 2;
# NO: Stortingets vedtak om merverdiavgift. Rates of before the first day are not known here.
_STANDARD_RATES = """
AT Europe/Vienna 1984-01-01 20
BE Europe/Brussels 1996-01-01 21
BG Europe/Sofia 1999-01-01 20
CH Europe/Zurich 2018-01-01 7.7 2024-01-01 8.1
CY Asia/Nicosia 2014-01-13 19
CZ Europe/Prague 2013-01-01 21
DE Europe/Berlin 2007-01-01 19 2020-07-01 16 2021-01-01 19
DK Europe/Copenhagen 1992-01-01 25
EE Europe/Tallinn 2009-07-01 20 2024-01-01 22 2025-07-01 24
ES Europe/Madrid 2012-09-01 21
FI Europe/Helsinki 2013-01-01 24 2024-09-01 25.5
FR Europe/Paris 2014-01-01 20
GB Europe/London 2011-01-04 20
GR Europe/Athens 2016-06-01 24
HR Europe/Zagreb 2012-03-01 25
HU Europe/Budapest 2012-01-01 27
IE Europe/Dublin 2012-01-01 23 2020-09-01 21 2021-03-01 23
IT Europe/Rome 2013-10-01 22
LT Europe/Vilnius 2009-09-01 21
LU Europe/Luxembourg 2015-01-01 17 2023-01-01 16 2024-01-01 17
LV Europe/Riga 2012-07-01 21
MT Europe/Malta 2004-01-01 18
NL Europe/Amsterdam 2012-10-01 21
NO Europe/Oslo 2005-01-01 25
PL Europe/Warsaw 2011-01-01 23
PT Europe/Lisbon 2011-01-01 23
RO Europe/Bucharest 2017-01-01 19 2025-08-01 21
SE Europe/Stockholm 1990-07-01 25
SI Europe/Ljubljana 2013-07-01 22
SK Europe/Bratislava 2011-01-01 20 2025-01-01 23
"""


def _read_rates(
    text: str,
) -> tuple[dict[str, ZoneInfo], dict[str, tuple[tuple[date, Decimal], ...]]]:
    zones, rates = {}, {}
    for line in text.split("\n"):
        if line:
            country, zone, *rest = line.split()
            zones[country] = ZoneInfo(zone)
            rates[country] = tuple(
                (date.fromisoformat(first), Decimal(percent))
                for first, percent in zip(rest[::2], rest[1::2], strict=True)
            )
    return zones, rates


_ZONES, STANDARD_RATES = _read_rates(_STANDARD_RATES)

# There electricity has a rate of its own, and whether charging a car has it is not ours to say.
OWN_ELECTRICITY_RATE = frozenset({"GR", "HR", "IE", "LU", "MT"})


@dataclass(frozen=True, slots=True)
class DomesticReverseCharge:
    """A country where a dealer accounts for the VAT of what it buys at home (Art. 199a(1)(e)).

    `until`: Art. 199a itself ends there (Directive (EU) 2022/890). What holds afterwards is not
    known here, so the agreed rate does.
    """

    first_day: date
    until: date
    both_dealers: bool
    source: str


_END_OF_199A = date(2027, 1, 1)
DOMESTIC_REVERSE_CHARGE: Mapping[str, DomesticReverseCharge] = {
    "AT": DomesticReverseCharge(
        date(2014, 1, 1), _END_OF_199A, False, "§ 19(1d) UStG 1994, § 2 no. 2 UStBBKV"
    ),
    "DE": DomesticReverseCharge(
        date(2013, 9, 1),
        _END_OF_199A,
        True,
        "§ 13b(2) no. 5(b) and (5) UStG; both show certificate USt 1 TH",
    ),
    "FR": DomesticReverseCharge(
        date(2012, 4, 1), _END_OF_199A, False, "CGI art. 283, 2 quinquies; BOI-RES-TVA-000232"
    ),
    "IT": DomesticReverseCharge(
        date(2015, 1, 1), _END_OF_199A, False, "DPR 633/1972 art. 17(6)(d-quater)"
    ),
}

# Parts of one VAT territory under another country code: Art. 7 of the Directive.
_TERRITORY = {"MC": "FR", "IM": "GB"}


def territory(country: str | None) -> str | None:
    """The country whose VAT law holds there."""
    return None if country is None else _TERRITORY.get(country, country)


def standard_rate(country: str | None, day: date) -> Decimal | None:
    """The standard rate of a VAT territory on a day; None where it is not known here."""
    found = None
    for first, percent in STANDARD_RATES.get(country or "", ()):
        if first <= day:
            found = percent
    return found


def in_eu(country: str | None, day: date) -> bool:
    """Whether the VAT Directive holds there."""
    if country == "GB":
        return day < date(2021, 1, 1)
    if country == "HR":
        return day >= date(2013, 7, 1)
    return country in EU_MEMBERS


def day_in(country: str | None, at: datetime) -> date:
    """The day that the seller's calendar shows; UTC's where its clock is not known."""
    return at.astimezone(_ZONES.get(country or "", UTC)).date()


def facts_of(
    seller: Business | None,
    buyer: Business | None,
    point: str | None,
    at: datetime,
    supply: Supply = Supply.ELECTRICITY,
) -> Facts:
    """The facts of a supply; None where a party has told no business details."""
    at_home = None if seller is None else territory(seller.country)
    return Facts(
        supply=supply,
        seller=at_home,
        seller_vat_id=None if seller is None else seller.vat_id,
        seller_dealer=seller is not None and seller.taxable_dealer,
        buyer=None if buyer is None else territory(buyer.country),
        buyer_vat_id=None if buyer is None else buyer.vat_id,
        buyer_dealer=buyer is not None and buyer.taxable_dealer,
        point=territory(point),
        day=day_in(at_home, at),
    )


class Rate(StrEnum):
    STANDARD = "standard rate of the seller's country"
    NOTHING = "0"
    AGREED = "as agreed"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table. `when` says in words what `holds` asks."""

    name: str
    when: str
    holds: Callable[[Facts], bool]
    category: Category | None
    rate: Rate
    accounts: Side
    says: str
    source: str


def _both_told(facts: Facts) -> bool:
    return None not in (facts.seller, facts.seller_vat_id, facts.buyer)


def _to_dealer(facts: Facts) -> bool:
    return _both_told(facts) and facts.supply is Supply.ELECTRICITY and facts.buyer_dealer


def _to_consumer(facts: Facts) -> bool:
    return _both_told(facts) and facts.supply is Supply.ELECTRICITY and not facts.buyer_dealer


def _service(facts: Facts) -> bool:
    return _both_told(facts) and facts.supply is Supply.SERVICE


def _identified_elsewhere(facts: Facts) -> bool:
    """The buyer has a VAT id of a member state that is not the seller's."""
    return (
        facts.buyer_vat_id is not None
        and facts.seller != facts.buyer
        and in_eu(facts.buyer, facts.day)
    )


def _sold_abroad(facts: Facts) -> bool:
    return in_eu(facts.seller, facts.day) and not in_eu(facts.buyer, facts.day)


def _reversed_at_home(facts: Facts) -> bool:
    rule = DOMESTIC_REVERSE_CHARGE.get(facts.buyer or "")
    return (
        rule is not None
        and facts.seller == facts.buyer
        and facts.buyer_vat_id is not None
        and rule.first_day <= facts.day < rule.until
        and (facts.seller_dealer or not rule.both_dealers)
    )


def _taxed_at_home(facts: Facts) -> bool:
    """A dealer buys at home, and it is clear that the seller accounts for it, and at which rate."""
    rule = DOMESTIC_REVERSE_CHARGE.get(facts.buyer or "")
    return (
        facts.seller == facts.buyer
        and not _reversed_at_home(facts)
        and (rule is None or facts.day < rule.until)
        and _rate_is_clear(facts)
    )


def _taxed_at_the_point(facts: Facts) -> bool:
    # Outside the EU we answer for the plain case only, where nothing crosses a border.
    inside = in_eu(facts.seller, facts.day) or facts.buyer == facts.seller
    return facts.seller == facts.point and inside and _rate_is_clear(facts)


def _rate_is_clear(facts: Facts) -> bool:
    return (
        facts.seller not in OWN_ELECTRICITY_RATE
        and standard_rate(facts.seller, facts.day) is not None
    )


def _identified_at_the_point(facts: Facts) -> bool:
    return (
        facts.point == facts.buyer
        and facts.seller != facts.point
        and facts.buyer_vat_id is not None
        and in_eu(facts.point, facts.day)
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "reverse-charge-dealer",
        "electricity to a taxable dealer with a VAT id of another member state than the seller's",
        lambda facts: _to_dealer(facts) and _identified_elsewhere(facts),
        Category.REVERSE_CHARGE,
        Rate.NOTHING,
        Side.BUYER,
        "Sold from {seller} to a taxable dealer in {buyer}: supplied in {buyer}, where the buyer"
        " accounts for the VAT.",
        "Directive 2006/112/EC Art. 38, 195",
    ),
    Rule(
        "domestic-reverse-charge",
        "electricity to a taxable dealer at home, where the country has the dealer account for it",
        lambda facts: _to_dealer(facts) and _reversed_at_home(facts),
        Category.REVERSE_CHARGE,
        Rate.NOTHING,
        Side.BUYER,
        "Sold within {buyer} to a taxable dealer, who accounts for the VAT by the law of {buyer}.",
        "Directive 2006/112/EC Art. 38, 199a(1)(e) and the country's law",
    ),
    Rule(
        "domestic-dealer",
        "electricity to a taxable dealer at home, where the country has the seller account for it",
        lambda facts: _to_dealer(facts) and _taxed_at_home(facts),
        Category.STANDARD,
        Rate.STANDARD,
        Side.SELLER,
        "Sold within {seller} to a taxable dealer: the standard rate of {seller}.",
        "Directive 2006/112/EC Art. 38, 96, 193",
    ),
    Rule(
        "outside-dealer",
        "electricity from a member state to a taxable dealer outside the EU",
        lambda facts: _to_dealer(facts) and _sold_abroad(facts),
        Category.OUTSIDE,
        Rate.NOTHING,
        Side.NOBODY,
        "Sold from {seller} to a taxable dealer in {buyer}: supplied there, outside the VAT of the"
        " EU.",
        "Directive 2006/112/EC Art. 38",
    ),
    Rule(
        "reverse-charge-consumption",
        "electricity to another buyer, who has a VAT id of the charge point's member state; the"
        " seller sits elsewhere",
        lambda facts: _to_consumer(facts) and _identified_at_the_point(facts),
        Category.REVERSE_CHARGE,
        Rate.NOTHING,
        Side.BUYER,
        "Consumed in {point}, sold from {seller}: the buyer, who has a VAT id of {point}, accounts"
        " for the VAT.",
        "Directive 2006/112/EC Art. 39, 195",
    ),
    Rule(
        "consumption",
        "electricity to another buyer at a charge point in the seller's country (outside the EU:"
        " in the buyer's, too)",
        lambda facts: _to_consumer(facts) and _taxed_at_the_point(facts),
        Category.STANDARD,
        Rate.STANDARD,
        Side.SELLER,
        "Consumed in {point}, where the seller sits: the standard rate of {seller}.",
        "Directive 2006/112/EC Art. 39, 96, 193",
    ),
    Rule(
        "reverse-charge-service",
        "a service to a business with a VAT id of another member state than the seller's",
        lambda facts: _service(facts) and _identified_elsewhere(facts),
        Category.REVERSE_CHARGE,
        Rate.NOTHING,
        Side.BUYER,
        "A service from {seller} to a business in {buyer}: supplied in {buyer}, where the buyer"
        " accounts for the VAT.",
        "Directive 2006/112/EC Art. 44, 196",
    ),
    Rule(
        "domestic-service",
        "a service to a business in the seller's own country",
        lambda facts: (
            _service(facts)
            and facts.seller == facts.buyer
            and standard_rate(facts.seller, facts.day) is not None
        ),
        Category.STANDARD,
        Rate.STANDARD,
        Side.SELLER,
        "A service within {seller}: the standard rate of {seller}.",
        "Directive 2006/112/EC Art. 44, 96, 193",
    ),
    Rule(
        "outside-service",
        "a service from a member state to a business outside the EU",
        lambda facts: _service(facts) and _sold_abroad(facts),
        Category.OUTSIDE,
        Rate.NOTHING,
        Side.NOBODY,
        "A service from {seller} to a business in {buyer}: supplied there, outside the VAT of the"
        " EU.",
        "Directive 2006/112/EC Art. 44",
    ),
)
FALLBACK = Rule(
    AGREED_RATE,
    "whatever else: a side without business details, a seller without a VAT id, or a case that the"
    " rules above do not decide",
    lambda facts: True,
    None,
    Rate.AGREED,
    Side.AGREED,
    "The percentage that the partners agreed.",
    "the roaming agreement",
)

_REASONS = {
    Category.REVERSE_CHARGE: ("Reverse charge", "VATEX-EU-AE"),
    Category.OUTSIDE: ("Not subject to VAT", "VATEX-EU-O"),
}


@lru_cache(maxsize=65_536)
def treatment(facts: Facts) -> Treatment:
    """What the one rule that holds says of these facts."""
    rule = next((one for one in RULES if one.holds(facts)), FALLBACK)
    percent: Decimal | None = None
    if rule.rate is Rate.STANDARD:
        percent = standard_rate(facts.seller, facts.day)
    elif rule.rate is Rate.NOTHING:
        percent = Decimal(0)
    reason, vatex = _REASONS.get(rule.category, (None, None)) if rule.category else (None, None)
    return Treatment(
        rule=rule.name,
        category=rule.category,
        percent=percent,
        accounts=rule.accounts,
        exemption_reason=reason,
        vatex=vatex,
        says=rule.says.format(seller=facts.seller, buyer=facts.buyer, point=facts.point),
        source=_source(rule, facts),
    )


def _source(rule: Rule, facts: Facts) -> str:
    if rule.name != "domestic-reverse-charge":
        return rule.source
    law = DOMESTIC_REVERSE_CHARGE[facts.buyer or ""].source
    return f"Directive 2006/112/EC Art. 38, 199a(1)(e); {law}"


def category_of_agreed(percent: Decimal | None) -> Category | None:
    """The category of a percentage that was agreed and not derived; None where none was."""
    if percent is None:
        return None
    return Category.STANDARD if percent else Category.ZERO
