"""Money is whole minor units of a currency: sums are exact, and rounding happens once, on entry.

Law: adding is exact, and an amount and its negation sum to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from roaming.refusal import Malformed
from roaming.rounding import half_up_of

# ISO 4217, table A.1: places after the point. HRK and BGN are gone, but old charges name them.
_CODES_BY_PLACES = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP "
        "BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD "
        "FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW "
        "KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN "
        "NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD "
        "SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS "
        "VED VES WST XCD XCG YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_PLACES = {code: places for places, codes in _CODES_BY_PLACES.items() for code in codes.split()}
_TEXT = re.compile(r"(-?[0-9]{1,18}(?:\.[0-9]{1,4})?) ([A-Z]{3})")


class BadMoney(Malformed):
    """An amount or a currency that does not exist."""


@dataclass(frozen=True, slots=True)
class Money:
    """`minor` whole minor units of `currency` (ISO 4217): Money(1250, "EUR") is 12.50 EUR.

    Raises BadMoney for a currency that does not exist. Mixing currencies is a ValueError, since no
    business case asks for it.
    """

    minor: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.minor) is not int:
            raise TypeError(f"money is whole minor units, not {type(self.minor).__name__}")
        places_of(self.currency)

    @classmethod
    def of(cls, amount: Decimal | Fraction | int, currency: str) -> Money:
        """An exact amount in the currency's own unit, rounded once: half up, away from zero."""
        if isinstance(amount, float):
            raise TypeError("money is never a float")
        if isinstance(amount, Decimal) and not _is_sane(amount):
            raise _bad("amount", str(amount)[:60], "below 10^18, with at most 60 places")
        exact = amount if isinstance(amount, Fraction) else Fraction(amount)
        minor = half_up_of(exact.numerator * 10 ** places_of(currency), exact.denominator)
        return cls(minor, currency)

    @classmethod
    def parse(cls, text: str) -> Money:
        """What `str` writes, "12.50 EUR". Raises BadMoney, also for more places than there are."""
        shape = _TEXT.fullmatch(text)
        if shape is None:
            raise _bad("amount", text[:60], "a decimal number, a blank and a currency")
        amount = Decimal(shape[1])
        money = cls.of(amount, shape[2])
        if money.decimal != amount:
            raise _bad("amount", text, f"at most {places_of(shape[2])} places in {shape[2]}")
        return money

    @classmethod
    def zero(cls, currency: str) -> Money:
        return cls(0, currency)

    @classmethod
    def total(cls, amounts: Iterable[Money], currency: str) -> Money:
        """The sum, nothing if there are none. All must be in `currency`."""
        return sum(amounts, cls.zero(currency))

    @property
    def decimal(self) -> Decimal:
        """The amount in the currency's own unit, with all its places: Decimal("12.50")."""
        return Decimal(f"{self.minor}e-{places_of(self.currency)}")

    @property
    def figure(self) -> str:
        """The amount as it is told beside its currency, "12.50"."""
        places = places_of(self.currency)
        if not places:
            return str(self.minor)
        whole, rest = divmod(abs(self.minor), 10**places)
        return f"{'-' if self.minor < 0 else ''}{whole}.{rest:0{places}}"

    def __str__(self) -> str:
        return f"{self.figure} {self.currency}"

    def __add__(self, other: Money) -> Money:
        return Money(self.minor + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.minor - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        return self.minor < self._same(other)

    def __le__(self, other: Money) -> bool:
        return self.minor <= self._same(other)

    def _same(self, other: Money) -> int:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not add up")
        return other.minor


def _is_sane(amount: Decimal) -> bool:
    """Whether writing `amount` out takes little room; 1e999999999 would take all there is."""
    exponent = amount.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -60 and -(10**18) < amount < 10**18


def places_of(currency: str) -> int:
    """How many places after the point `currency` has: EUR 2, JPY 0. Raises BadMoney."""
    places = _PLACES.get(currency)
    if places is None:
        raise _bad("currency", currency, "a currency of ISO 4217 in upper case, as EUR")
    return places


def _bad(field: str, value: str, rule: str) -> BadMoney:
    return BadMoney(f"{field} {value!r}: {rule}", field=field, value=value, rule=rule)
