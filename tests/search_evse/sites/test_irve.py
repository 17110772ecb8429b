"""French IRVE rows, as they are in the national file."""

from __future__ import annotations

import csv

import pytest

from roaming.party import PartyId
from search_evse.sites.irve import read_row
from search_evse.sites.model import Rejection, Told
from tests.search_evse.cuts import FRENCH, NOW

with FRENCH.open(newline="") as file:
    ROWS = {row["id_pdc_itinerance"]: row for row in csv.DictReader(file)}


def read(evse_id: str, **changed: str) -> Told | Rejection:
    return read_row(2, {**ROWS[evse_id], **changed}, operator=None, now=NOW)


def taken(evse_id: str, **changed: str) -> Told:
    row = read(evse_id, **changed)
    assert isinstance(row, Told)
    return row


def connectors(row: Told) -> list[tuple[str, str | None, str | None, int | None]]:
    return [
        (each.standard, each.format, each.power_type, each.max_electric_power_w)
        for each in row.evse.connectors
    ]


def test_a_plain_row_is_taken_whole() -> None:
    row = taken("FRTSLE0005PN")
    assert row.warnings == ()
    assert (row.site.operator, row.site.id, row.site.name) == (
        "FR*TSL",
        "FRTSLP29984",
        "Noyelles-Godault, France",
    )
    assert (row.evse.latitude, row.evse.longitude) == (50.410222, 2.974629)
    assert (row.site.time_zone, row.site.country, row.site.opening) == (
        "Europe/Paris",
        "FR",
        "24/7",
    )
    assert connectors(row) == [("IEC_62196_T2_COMBO", "CABLE", "DC", 250_000)]
    assert row.evse.status is None


def test_a_station_id_is_not_the_id_of_a_charge_point() -> None:
    row = read("FRV75PPX13272")
    assert isinstance(row, Rejection)
    assert (row.field, row.value) == ("id_pdc_itinerance", "FRV75PPX13272")


@pytest.mark.parametrize(
    ("evse_id", "warning"),
    [
        ("FRYAWE12348400332", "puissance_nominale: over 400 kW, left out"),
        ("FRPD1EEPSSTGALF22011", "puissance_nominale: under 1 kW, left out"),
    ],
)
def test_power_that_cannot_be_costs_only_the_power(evse_id: str, warning: str) -> None:
    row = taken(evse_id)
    assert row.warnings == (warning,)
    assert [power_w for *_, power_w in connectors(row)] == [None]


def test_a_point_off_greenland_is_kept_and_noted() -> None:
    assert taken("FRHXWE2603121").warnings == ("coordonneesXY: outside mainland France, kept",)


@pytest.mark.parametrize("evse_id", ["FRZUNEINKMO000002ER01", "FRBMPE4954"])
def test_a_point_without_a_known_connector_is_kept_without(evse_id: str) -> None:
    row = taken(evse_id)
    assert row.evse.connectors == ()
    assert row.warnings == ("prise_type: none of a known type",)


def test_each_connector_gets_no_more_power_than_its_standard_carries() -> None:
    assert connectors(taken("FRLIBE4324923")) == [
        ("IEC_62196_T2_COMBO", "CABLE", "DC", 50_000),
        ("CHADEMO", "CABLE", "DC", 50_000),
        ("IEC_62196_T2", "SOCKET", "AC_3_PHASE", 43_500),
        ("DOMESTIC_E", "SOCKET", "AC_1_PHASE", 3_700),
    ]
    assert connectors(taken("FRV75EPX11092")) == [
        ("IEC_62196_T2", "SOCKET", "AC_1_PHASE", 7_000),
        ("DOMESTIC_E", "SOCKET", "AC_1_PHASE", 3_700),
    ]


def test_postal_code_and_city_are_read_off_the_address() -> None:
    site = taken("FRV75EPX11092").site
    assert (site.address, site.postal_code, site.city) == (
        "2 Avenue de Taillebourg, 75011 Paris",
        "75011",
        "Paris",
    )
    assert taken("FRECHECSQXX1").site.city == "Lézignan-Corbières"
    assert taken("FRLIBE3227837").site.city is None


@pytest.mark.parametrize(
    ("insee", "zone"),
    [
        ("97105", "America/Guadeloupe"),
        ("97209", "America/Martinique"),
        ("97302", "America/Cayenne"),
        ("97411", "Indian/Reunion"),
        ("97608", "Indian/Mayotte"),
        ("98818", "Pacific/Noumea"),
        ("2A004", "Europe/Paris"),
    ],
)
def test_overseas_departments_keep_their_own_time(insee: str, zone: str) -> None:
    assert taken("FRTSLE0005PN", code_insee_commune=insee).site.time_zone == zone


@pytest.mark.parametrize(
    "point", ["", "[]", "[2.97]", "[2.97, 50.41, 3]", "50.41 2.97", "[2.97, 95.0]", "[0.0, 0.0]"]
)
def test_a_point_that_is_no_place_is_refused(point: str) -> None:
    row = read("FRTSLE0005PN", coordonneesXY=point)
    assert isinstance(row, Rejection)
    assert row.field == "coordonneesXY"


def test_payment_and_reservation_become_capabilities() -> None:
    row = taken("FRTSLE0005PN", paiement_cb="True", reservation="1")
    assert row.evse.capabilities == ("CREDIT_CARD_PAYABLE", "DEBIT_CARD_PAYABLE", "RESERVABLE")


def test_an_operator_given_from_outside_runs_the_point() -> None:
    row = read_row(2, ROWS["FRTSLE0005PN"], operator=PartyId("FR*GRD"), now=NOW)
    assert isinstance(row, Told)
    assert row.site.operator == "FR*GRD"
