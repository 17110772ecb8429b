"""The codes of countries, against the list that comes with the time zone database."""

from __future__ import annotations

from importlib import resources

from roaming.country import ALPHA_2_OF_ALPHA_3, alpha_2


def test_every_assigned_country_is_there_once() -> None:
    table = (resources.files("tzdata.zoneinfo") / "iso3166.tab").read_text("utf-8")
    assigned = {line[:2] for line in table.splitlines() if line and not line.startswith("#")}
    assert set(ALPHA_2_OF_ALPHA_3.values()) == assigned | {"XK"}
    assert len(ALPHA_2_OF_ALPHA_3) == len(assigned) + 1


def test_two_or_three_letters_in_any_case_name_a_country() -> None:
    assert (alpha_2("NLD"), alpha_2(" fr "), alpha_2("gbr")) == ("NL", "FR", "GB")
    assert (alpha_2("XX"), alpha_2("Holland"), alpha_2("")) == (None, None, None)
