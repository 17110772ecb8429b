"""Partners and endpoints: the rules."""

from __future__ import annotations

from datetime import timedelta

import pytest

from marketplace.partners import model
from marketplace.partners.model import (
    BadEndpoint,
    BadPartner,
    Partner,
    Purpose,
    Role,
)
from tests.marketplace.fakes import EVSP, NOW

URL = "https://evsp.example/cdrs"


def test_roles_are_known_words_and_at_least_one() -> None:
    assert model.roles_of(["evsp", "evse-operator", "evsp"]) == {Role.EVSP, Role.EVSE_OPERATOR}
    with pytest.raises(BadPartner, match="boss"):
        model.roles_of(["evsp", "boss"])
    with pytest.raises(BadPartner):
        model.roles_of([])


def test_a_later_registration_brings_name_and_roles_up_to_date() -> None:
    first = model.registered(None, EVSP, frozenset({Role.EVSP}), " Evil ", NOW)
    assert first == Partner(EVSP, "Evil", frozenset({Role.EVSP}), NOW)
    later = NOW + timedelta(days=1)
    again = model.registered(first, EVSP, frozenset({Role.DSO}), "Good", later)
    assert (again.name, again.registered_at) == ("Good", NOW)
    assert again.roles == {Role.DSO}


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "a\nb", "x" * 201])
def test_a_partner_has_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(BadPartner):
        model.registered(None, EVSP, frozenset({Role.EVSP}), name, NOW)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "other"},
        {"content-length": "0"},
        {"X Y": "a"},
        {"X-Key\r\nHost": "a"},
        {"X-Key": "a\r\nHost: b"},
        {"X-Key": ""},
        {"X-Key": "é"},
        {"X-Key": "a" * 4_001},
        {f"X-{n}": "a" for n in range(11)},
    ],
    ids=lambda headers: str(headers)[:50],
)
def test_headers_that_cannot_be_sent_are_refused_without_telling_them(
    headers: dict[str, str],
) -> None:
    with pytest.raises(BadEndpoint) as refused:
        model.endpoint(EVSP, Purpose.CDRS, URL, headers)
    assert str(refused.value.field).startswith("headers")


def test_an_endpoint_does_not_show_its_secrets() -> None:
    endpoint = model.endpoint(EVSP, Purpose.CDRS, URL, {"Authorization": "Token abc"})
    assert "abc" not in repr(endpoint)
    assert endpoint.headers == {"Authorization": "Token abc"}
