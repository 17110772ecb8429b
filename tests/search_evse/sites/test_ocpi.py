"""OCPI locations, real ones first, then what a partner may make of them."""

from __future__ import annotations

from typing import Any

import pytest

from roaming.party import PartyId
from search_evse.sites.model import Rejection, Status, Told
from search_evse.sites.ocpi import looks_like_a_location, read_location, snake_keys
from tests.search_evse.cuts import NOW, dutch_locations


def read(thing: object, operator: PartyId | None = None) -> list[Told | Rejection]:
    return list(read_location(7, thing, operator=operator, now=NOW))


def one(thing: object, operator: PartyId | None = None) -> Told:
    rows = read(thing, operator)
    assert len(rows) == 1
    assert isinstance(rows[0], Told)
    return rows[0]


def location(evse: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A location as OCPI 2.2.1 spells it."""
    return {
        "country_code": "BE",
        "party_id": "BEC",
        "id": "LOC1",
        "publish": True,
        "name": "Gent Zuid",
        "address": "F.Rooseveltlaan 3A",
        "city": "Gent",
        "postal_code": "9000",
        "country": "BEL",
        "coordinates": {"latitude": "51.047599", "longitude": "3.729944"},
        "evses": [
            {
                "uid": "3256",
                "evse_id": "BE*BEC*E041503001",
                "status": "AVAILABLE",
                "capabilities": ["RESERVABLE"],
                "connectors": [
                    {
                        "id": "1",
                        "standard": "IEC_62196_T2",
                        "format": "CABLE",
                        "power_type": "AC_3_PHASE",
                        "max_voltage": 220,
                        "max_amperage": 16,
                    }
                ],
                "last_updated": "2015-06-28T08:12:01Z",
                **(evse or {}),
            }
        ],
        "operator": {"name": "BeCharged"},
        "time_zone": "Europe/Brussels",
        "last_updated": "2015-06-29T20:39:09Z",
        **more,
    }


def test_a_location_of_the_specification_is_taken_whole() -> None:
    row = one(location())
    assert row.warnings == ()
    assert (row.site.operator, row.site.id, row.site.country) == ("BE*BEC", "LOC1", "BE")
    assert (row.site.operator_name, row.site.time_zone) == ("BeCharged", "Europe/Brussels")
    assert (row.evse.id, row.evse.status) == ("BEBECE041503001", Status.AVAILABLE)
    assert row.evse.connectors[0].max_electric_power_w == 220 * 16 * 3


def test_camel_case_names_are_the_same_fields() -> None:
    row = read(dutch_locations()[0])[0]
    assert isinstance(row, Told)
    assert (row.site.id, row.site.postal_code) == ("5296", "9461VA")
    assert (row.site.operator_name, row.site.opening) == ("Shell Recharge", "24/7")
    assert row.site.time_zone == "Europe/Amsterdam"
    assert row.warnings == ("time_zone: missing, taken from the country",)


def test_the_specifications_spelling_wins_over_camel_case() -> None:
    assert snake_keys({"postalCode": "A", "postal_code": "B"}) == {"postal_code": "B"}


def test_real_ids_that_break_the_rule_are_refused_one_by_one() -> None:
    dotted, null = read(dutch_locations()[1]), read(dutch_locations()[2])
    assert [row.value for row in dotted if isinstance(row, Rejection)] == [
        "NL.SPI.ECO01064*1",
        "NL.SPI.ECO01057*1",
    ]
    assert [row for row in null if isinstance(row, Told)] == []
    assert {row.reason for row in null if isinstance(row, Rejection)} == {"evse_id: must be given"}


def test_a_note_on_the_location_is_made_once() -> None:
    rows = read(dutch_locations()[-1])
    assert [row.warnings for row in rows if isinstance(row, Told)] == [
        ("time_zone: missing, taken from the country",),
        (),
        (),
        (),
    ]


def test_seven_megawatts_cost_only_the_power() -> None:
    row = read(dutch_locations()[4])[0]
    assert isinstance(row, Told)
    assert row.evse.connectors[0].max_electric_power_w is None
    assert "max_electric_power: over 400 kW, left out" in row.warnings


def test_an_evse_at_zero_zero_stands_where_its_site_stands() -> None:
    row = read(dutch_locations()[5])[1]
    assert isinstance(row, Told)
    assert (row.evse.latitude, row.evse.longitude) == (row.site.latitude, row.site.longitude)
    assert any(warning.startswith("evse.coordinates: ") for warning in row.warnings)


def test_an_operator_given_from_outside_runs_everything() -> None:
    assert one(location(), PartyId("DE*ABC")).site.operator == "DE*ABC"


def test_the_operator_is_the_party_of_the_evse_id_where_nothing_else_is_said() -> None:
    assert one(location(country_code=None, party_id=None)).site.operator == "BE*BEC"
    broken = one(location(party_id="TOOLONG"))
    assert broken.site.operator == "BE*BEC"
    assert broken.warnings == ("party_id: not a party with country_code, taken from the EVSE id",)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"id": None}, "id: must be given"),
        ({"evses": {}}, "evses: must be a list"),
        ({"evses": ["EVSE"]}, "evse: must be a JSON object"),
        ({"coordinates": None}, "coordinates: must be given"),
        (
            {"coordinates": {"latitude": "91", "longitude": "3"}},
            "coordinates: must lie in the world",
        ),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_with_its_reason(
    more: dict[str, Any], reason: str
) -> None:
    rows = read(location(**more))
    assert len(rows) == 1
    assert isinstance(rows[0], Rejection)
    assert rows[0].reason.startswith(reason)
    assert rows[0].line == 7


@pytest.mark.parametrize(
    ("evse", "more", "warning"),
    [
        ({"status": "IN_USE"}, {}, "status: not a word of the specification, left out"),
        ({"connectors": None}, {}, "connectors: not a list, left out"),
        ({"connectors": [5]}, {}, "connector: not a JSON object, left out"),
        ({"connectors": [{"standard": "USB"}]}, {}, "standard: not a word of the specification"),
        ({"connectors": [{}]}, {}, "standard: missing, connector left out"),
        ({"capabilities": ["FLYING"]}, {}, "capabilities: not a word of the specification"),
        ({"capabilities": "RFID_READER"}, {}, "capabilities: not a list, left out"),
        ({"last_updated": "soon"}, {}, "last_updated: not a time, left out"),
        ({}, {"name": []}, "name: not text, left out"),
        ({}, {"country": "Utopia"}, "country: not a country of ISO 3166-1, left out"),
        ({}, {"time_zone": "Mars/Olympus"}, "time_zone: not an IANA time zone, left out"),
        ({}, {"time_zone": None, "country": "ESP"}, "time_zone: missing"),
        (
            {},
            {"opening_times": {"twentyfourseven": False, "regular_hours": [{"weekday": 9}]}},
            "opening_times.regular_hours: not weekday, begin and end, left out",
        ),
    ],
)
def test_a_bad_field_costs_only_itself(
    evse: dict[str, Any], more: dict[str, Any], warning: str
) -> None:
    row = one(location(evse, **more))
    assert row.evse.id == "BEBECE041503001"
    assert any(note.startswith(warning) for note in row.warnings)


def test_opening_hours_are_written_as_openstreetmap_does() -> None:
    hours = [{"weekday": day, "period_begin": "07:00", "period_end": "18:00"} for day in (1, 6)]
    told = {"twentyfourseven": False, "regular_hours": hours}
    assert one(location(opening_times=told)).site.opening == "Mo 07:00-18:00; Sa 07:00-18:00"


@pytest.mark.parametrize(
    ("power_type", "voltage", "power_w"),
    [
        ("AC_1_PHASE", 230, 7_360),
        ("AC_2_PHASE", 230, 14_720),
        ("AC_3_PHASE", 230, 22_080),
        # Line to line, which OCPI does not mean and many write.
        ("AC_3_PHASE", 400, 22_170),
        ("DC", 400, 12_800),
    ],
)
def test_power_left_out_is_what_voltage_and_current_give(
    power_type: str, voltage: int, power_w: int
) -> None:
    connector = {
        "standard": "IEC_62196_T2",
        "power_type": power_type,
        "max_voltage": voltage,
        "max_amperage": 32,
    }
    row = one(location({"connectors": [connector]}))
    assert row.evse.connectors[0].max_electric_power_w == power_w


def test_an_unpublished_location_is_marked_so() -> None:
    assert one(location(publish=False)).site.published is False


def test_a_charge_record_does_not_look_like_a_location() -> None:
    assert looks_like_a_location(location())
    assert looks_like_a_location(dutch_locations()[0])
    assert not looks_like_a_location({"evse_id": "FR*PD1*E1", "energy_kwh": 3, "id": "1"})
    assert not looks_like_a_location([location()])
