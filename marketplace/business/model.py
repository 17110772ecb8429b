"""Business details: what stands on an invoice, and decides its VAT. Dated; the past stays known.

A change holds from a moment on (`valid_from`) and replaces nothing before it, since VAT is decided
by the time of the fact. Of two changes from the same moment the one recorded later holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException
from stdnum.eu import vat as eu_vat
from stdnum.exceptions import ValidationError
from stdnum.util import get_cc_module

from roaming.country import EU_MEMBERS, alpha_2
from roaming.party import PartyId
from roaming.refusal import Malformed, NotYours, Unknown

LONGEST_NAME = 200
LONGEST_EMAIL = 254
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")
# A bank may sit in a territory that shares the account numbers of another country (ISO 13616).
_BANKS_ABROAD = {
    "FR": {"BL", "GF", "GP", "MF", "MQ", "NC", "PF", "PM", "RE", "TF", "WF", "YT"},
    "GB": {"GG", "IM", "JE"},
    "FI": {"AX"},
}


class BadDetails(Malformed):
    """Business details that break a rule."""


class UnknownDetails(Unknown):
    """This party has not told its business details, or not for that time."""


class NotYourDetails(NotYours):
    """Business details are for the party itself, its contract partners and the hub."""


@dataclass(frozen=True, slots=True)
class BusinessDetails:
    """A party on paper, from `valid_from` until its next details.

    `country` is that of its seat, ISO 3166-1 alpha-2. `taxable_dealer`: its principal activity in
    respect of purchases of electricity is reselling it, and what it consumes itself is negligible
    (Directive 2006/112/EC, Art. 38(2)).
    """

    party: PartyId
    legal_name: str
    street: str
    city: str
    postal_code: str
    country: str
    vat_id: str | None
    tax_id: str | None
    taxable_dealer: bool
    iban: str | None
    bic: str | None
    invoice_email: str | None
    valid_from: datetime

    def __repr__(self) -> str:
        return f"BusinessDetails({self.party!s}, {self.legal_name!r}, from {self.valid_from})"

    def same_as(self, other: BusinessDetails) -> bool:
        """Whether both say the same, whenever they began."""
        return replace(self, valid_from=other.valid_from) == other


def business_details(
    party: PartyId,
    *,
    legal_name: str,
    street: str,
    city: str,
    postal_code: str,
    country: str,
    valid_from: datetime,
    vat_id: str | None = None,
    tax_id: str | None = None,
    taxable_dealer: bool = False,
    iban: str | None = None,
    bic: str | None = None,
    invoice_email: str | None = None,
) -> BusinessDetails:
    """Details as told, each field held to its rule and in its one spelling; BadDetails else."""
    seat = _country(country)
    account = None if iban is None else _iban(iban)
    return BusinessDetails(
        party=party,
        legal_name=_line("legal_name", legal_name),
        street=_line("street", street),
        city=_line("city", city),
        postal_code=_line("postal_code", postal_code, 20),
        country=seat,
        vat_id=None if vat_id is None else vat_id_of(seat, vat_id),
        tax_id=None if tax_id is None else _line("tax_id", tax_id, 40),
        taxable_dealer=taxable_dealer,
        iban=account,
        bic=None if bic is None else _bic(bic, account),
        invoice_email=None if invoice_email is None else _email(invoice_email),
        valid_from=_moment(valid_from),
    )


def vat_id_of(country: str, told: str) -> str:
    """A VAT identification number as invoices write it: its country's letters first, no blanks.

    Checked by its country's own rule, check digit included, for each country whose rule is known
    (all of the EU and most of its neighbours); elsewhere by its shape alone.
    """
    compact = re.sub(r"[\s.\-/]", "", told).upper()
    prefix = _VAT_PREFIX.get(country, country)
    rule = f"a VAT identification number of {country}, beginning with {prefix}"
    if not compact.isascii() or not compact.isalnum() or not compact.startswith(prefix):
        raise _bad("vat_id", told, rule)
    try:
        return _checked_vat_id(country, prefix, compact)
    except ValidationError as error:
        raise _bad("vat_id", told, f"{rule}: {error}") from None


def _checked_vat_id(country: str, prefix: str, compact: str) -> str:
    if country in EU_MEMBERS:
        return str(eu_vat.validate(compact))
    checker = get_cc_module(country.lower(), "vat")
    if checker is None:
        if not 4 <= len(compact) <= 20:
            raise _bad("vat_id", compact, f"4 to 20 letters and digits, beginning with {prefix}")
        return compact
    # Norway's and Britain's rules take the letters off, Switzerland's number begins with them.
    try:
        number = str(checker.validate(compact))
    except ValidationError:
        number = str(checker.validate(compact.removeprefix(prefix)))
    return number if number.startswith(prefix) else prefix + number


# Greece is EL in the VAT system; Monaco is France to it (Directive 2006/112/EC, Art. 7).
_VAT_PREFIX = {"GR": "EL", "MC": "FR"}


def _country(told: str) -> str:
    code = alpha_2(told) if len(told) == 2 else None
    if code is None:
        raise _bad("country", told, "two letters of ISO 3166-1, as FR")
    return code


def _iban(told: str) -> str:
    try:
        return str(IBAN(told, validate_bban=True).compact)
    except SchwiftyException as error:
        # Whose account it is, only its owner should read: what was told is not told again.
        raise BadDetails(
            f"no IBAN: {error}",
            field="iban",
            rule="ISO 13616, with its country's length and check digits",
        ) from None


def _bic(told: str, iban: str | None) -> str:
    try:
        bic = BIC(told)
    except SchwiftyException as error:
        raise _bad("bic", told, f"8 or 11 characters of ISO 9362: {error}") from None
    if iban is not None:
        where = str(bic.country_code)
        if where != iban[:2] and where not in _BANKS_ABROAD.get(iban[:2], ()):
            raise _bad("bic", told, f"a bank in the country of the IBAN, {iban[:2]}")
    return str(bic.compact)


def _email(told: str) -> str:
    told = told.strip()
    if len(told) > LONGEST_EMAIL or not told.isprintable() or not _EMAIL.fullmatch(told):
        raise _bad("invoice_email", told, f"an address, at most {LONGEST_EMAIL} characters")
    return told


def _line(field: str, told: str, longest: int = LONGEST_NAME) -> str:
    told = told.strip()
    if not 0 < len(told) <= longest or not told.isprintable():
        raise _bad(field, told, f"1 to {longest} printable characters on one line")
    return told


def _moment(told: datetime) -> datetime:
    if told.tzinfo is None or not _EARLIEST <= told < _LATEST:
        raise _bad("valid_from", told.isoformat(), "a time with its offset, from 2000 to 2199")
    return told.astimezone(UTC)


def _bad(field: str, value: Any, rule: str) -> BadDetails:
    return BadDetails(
        f"{field} does not follow its rule", field=field, value=str(value)[:100], rule=rule
    )
