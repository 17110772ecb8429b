"""The rules of business details: each field in its one spelling, or refused by its rule."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from marketplace.business.model import BadDetails, BusinessDetails, business_details, vat_id_of
from tests.marketplace.fakes import EVSP, NOW

TOLD: dict[str, Any] = {
    "legal_name": " EVL Mobility GmbH ",
    "street": "Unter den Linden 1",
    "city": "Berlin",
    "postal_code": "10117",
    "country": "de",
    "vat_id": "DE 136 695 976",
    "taxable_dealer": True,
    "iban": "DE89 3704 0044 0532 0130 00",
    "bic": "cobadeff",
    "invoice_email": "invoices@evl.example",
    "valid_from": NOW,
}


def details(**other: Any) -> BusinessDetails:
    return business_details(EVSP, **TOLD | other)


def test_each_field_gets_its_one_spelling() -> None:
    told = details()
    assert told.legal_name == "EVL Mobility GmbH"
    assert (told.country, told.vat_id) == ("DE", "DE136695976")
    assert (told.iban, told.bic) == ("DE89370400440532013000", "COBADEFF")


# Examples that the authorities or python-stdnum publish.
@pytest.mark.parametrize(
    ("country", "told", "kept"),
    [
        ("AT", "AT U13585627", "ATU13585627"),
        ("BE", "BE 0428.759.497", "BE0428759497"),
        ("FR", "FR 40 303 265 045", "FR40303265045"),
        ("GR", "EL 094259216", "EL094259216"),
        ("NL", "NL4495445B01", "NL004495445B01"),
        ("SE", "SE556188840401", "SE556188840401"),
        ("GB", "GB 980 7806 84", "GB980780684"),
        ("CH", "CHE-107.787.577 MWST", "CHE107787577MWST"),
        ("NO", "NO 995 525 828 MVA", "NO995525828MVA"),
        ("MC", "FR 53 0000 04605", "FR53000004605"),
        ("UA", "UA 123456789012", "UA123456789012"),
    ],
)
def test_a_vat_id_is_held_to_the_rule_of_its_country(country: str, told: str, kept: str) -> None:
    assert vat_id_of(country, told) == kept
    assert vat_id_of(country, kept) == kept


@pytest.mark.parametrize(
    ("country", "told"),
    [
        ("DE", "DE136695975"),
        ("DE", "136695976"),
        ("DE", "ATU13585627"),
        ("GR", "GR094259216"),
        ("FR", "FR41303265045"),
        ("GB", "GB980780685"),
        ("CH", "CHE-107.787.578 MWST"),
        ("NO", "NO995525829MVA"),
        ("MC", "FR40303265045"),
        ("UA", "UA1"),
        ("DE", "DE\uff1136695976"),
        ("DE", ""),
    ],
)
def test_a_wrong_vat_id_is_refused_by_name(country: str, told: str) -> None:
    with pytest.raises(BadDetails) as refused:
        vat_id_of(country, told)
    assert refused.value.field == "vat_id"
    assert refused.value.rule is not None
    assert "letters and digits" in refused.value.rule or f"of {country}" in refused.value.rule


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("legal_name", " "),
        ("legal_name", "a\nb"),
        ("street", "x" * 201),
        ("city", ""),
        ("postal_code", "1" * 21),
        ("country", "DEU"),
        ("country", "XX"),
        ("tax_id", ""),
        ("iban", "DE89370400440532013001"),
        ("iban", "DE8937040044053201300"),
        ("iban", "not an account"),
        ("bic", "COBADEF"),
        ("bic", "BNPAFRPP"),
        ("invoice_email", "nobody"),
        ("invoice_email", "a b@c.example"),
        ("valid_from", datetime(2026, 1, 1)),  # noqa: DTZ001  what must be refused
        ("valid_from", datetime(1999, 12, 31, tzinfo=UTC)),
        ("valid_from", datetime(2200, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_breaks_a_rule_is_refused_by_name(field: str, told: Any) -> None:
    with pytest.raises(BadDetails) as refused:
        details(**{field: told})
    assert (refused.value.field, bool(refused.value.rule)) == (field, True)


def test_a_wrong_account_number_is_not_told_again() -> None:
    with pytest.raises(BadDetails) as refused:
        details(iban="DE89370400440532013001")
    assert refused.value.value is None
    assert "0532013001" not in f"{refused.value.detail} {refused.value.rule}"
    assert "0532013000" not in repr(details())


def test_a_bank_may_sit_where_its_country_has_it_sit() -> None:
    reunion = details(iban="FR1420041010050500013M02606", bic="BNPARERXXXX")
    assert reunion.bic == "BNPARERXXXX"


def test_only_the_country_names_and_address_must_be_told() -> None:
    few = ("legal_name", "street", "city", "postal_code", "country", "valid_from")
    told = business_details(EVSP, **{name: TOLD[name] for name in few})
    assert (told.vat_id, told.iban, told.taxable_dealer) == (None, None, False)


def test_the_same_details_from_another_day_say_the_same() -> None:
    later = details(valid_from=NOW.replace(year=2027))
    assert details().same_as(later)
    assert not details().same_as(details(city="Potsdam", valid_from=later.valid_from))
