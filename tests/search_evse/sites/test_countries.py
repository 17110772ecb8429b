"""The clocks of countries exist, and so do the countries."""

from __future__ import annotations

from roaming.country import ALPHA_2_OF_ALPHA_3
from search_evse.sites.countries import TIME_ZONE_OF_COUNTRY
from search_evse.sites.fields import is_time_zone


def test_every_clock_named_for_a_country_exists() -> None:
    assert all(is_time_zone(zone) for zone in TIME_ZONE_OF_COUNTRY.values())
    assert set(TIME_ZONE_OF_COUNTRY) <= set(ALPHA_2_OF_ALPHA_3.values())
