"""A row of a French IRVE file ("schema-irve-statique" of data.gouv.fr) as a site and an EVSE.

One row is one charge point; the columns of its station are repeated in each. Its power is that of
the whole point, so a connector gets no more of it than its standard carries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.refusal import Malformed
from search_evse.sites.fields import EVSE_ID_RULE, Fields, coordinates
from search_evse.sites.model import Connector, Evse, Rejection, Site, Told

COLUMN_OF_ID = "id_pdc_itinerance"

# IEC 62196-2 type 2 carries 63 A in three phases; NF C 61-314 type E 16 A in one.
_TYPE_2_MOST_W = 43_500
_DOMESTIC_MOST_W = 3_700
_ONE_PHASE_MOST_W = 7_400

# Departments and territories by the first three digits of the INSEE code of their communes, with
# the clock that most of their people keep.
_TIME_ZONE_OVERSEAS = {
    "971": "America/Guadeloupe",
    "972": "America/Martinique",
    "973": "America/Cayenne",
    "974": "Indian/Reunion",
    "975": "America/Miquelon",
    "976": "Indian/Mayotte",
    "977": "America/St_Barthelemy",
    "978": "America/Marigot",
    "984": "Indian/Kerguelen",
    "986": "Pacific/Wallis",
    "987": "Pacific/Tahiti",
    "988": "Pacific/Noumea",
}
_MAINLAND_SOUTH_NORTH_WEST_EAST = (41.2, 51.2, -5.3, 9.7)
_POINT = re.compile(r"\s*\[?\s*([^,;\s]+)\s*[,;]\s*([^,;\s\]]+)\s*\]?\s*")
# "75 Rue Botzaris, 75019 Paris", "1 rue X 93100 MONTREUIL (93) Île-de-France FRANCE"
_POSTAL_CODE_AND_CITY = re.compile(r"(?:^|[\s,])([0-9]{5})[\s,]+([^\W\d_][^\d,()]*)")


class _Address(NamedTuple):
    address: str | None
    postal_code: str | None
    city: str | None


def read_row(
    line: int, row: Mapping[str, str], *, operator: PartyId | None, now: datetime
) -> Told | Rejection:
    """The charge point of one row, or why it is not taken."""
    fields = Fields(row, [])
    told_id = fields.text(COLUMN_OF_ID)
    if told_id is None:
        return Rejection.of(line, COLUMN_OF_ID, None, "must be given")
    try:
        evse_id = EvseId(told_id)
    except Malformed:
        return Rejection.of(line, COLUMN_OF_ID, told_id, EVSE_ID_RULE)
    told_place = fields.get("coordonneesXY")
    point = _POINT.fullmatch(told_place or "")
    # The schema has longitude first.
    place = coordinates(*((point[2], point[1]) if point else (told_place, told_place)))
    if isinstance(place, str):
        return Rejection.of(line, "coordonneesXY", told_place, place)
    insee = fields.text("code_insee_commune") or ""
    overseas = _TIME_ZONE_OVERSEAS.get(insee[:3])
    if overseas is None and not _on_the_mainland(*place):
        fields.note("coordonneesXY", "outside mainland France, kept")
    updated = fields.time("date_maj", now=now)
    where = _address_of(fields)
    site = Site(
        operator=operator or evse_id.party,
        id=fields.text("id_station_itinerance", "id_station_local") or evse_id,
        latitude=place[0],
        longitude=place[1],
        name=fields.text("nom_station", "nom_enseigne"),
        operator_name=fields.text("nom_operateur", "nom_enseigne"),
        address=where.address,
        city=where.city,
        postal_code=where.postal_code,
        country="FR",
        time_zone=overseas or "Europe/Paris",
        opening=fields.text("horaires"),
        access=_access_of(fields),
        last_updated=updated,
    )
    evse = Evse(
        id=evse_id,
        latitude=place[0],
        longitude=place[1],
        connectors=_connectors_of(fields),
        capabilities=_capabilities_of(fields),
        uid=fields.text("id_pdc_local"),
        last_updated=updated,
    )
    return Told(line, site, evse, tuple(fields.notes))


def _on_the_mainland(latitude: float, longitude: float) -> bool:
    south, north, west, east = _MAINLAND_SOUTH_NORTH_WEST_EAST
    return south <= latitude <= north and west <= longitude <= east


def _address_of(fields: Fields) -> _Address:
    """The schema has no column for postal code and city; many addresses end in both."""
    address = fields.text("adresse_station")
    found = _POSTAL_CODE_AND_CITY.search(address or "")
    return _Address(address, found[1] if found else None, found[2].strip() if found else None)


def _access_of(fields: Fields) -> str | None:
    told = [
        fields.text(name)
        for name in ("condition_acces", "accessibilite_pmr", "restriction_gabarit")
    ]
    return "; ".join(text for text in told if text) or None


def _capabilities_of(fields: Fields) -> tuple[str, ...]:
    capabilities: list[str] = []
    if fields.yes("paiement_cb"):
        capabilities += ["CREDIT_CARD_PAYABLE", "DEBIT_CARD_PAYABLE"]
    if fields.yes("reservation"):
        capabilities.append("RESERVABLE")
    return tuple(capabilities)


def _connectors_of(fields: Fields) -> tuple[Connector, ...]:
    kilowatts = fields.number("puissance_nominale")
    power_w = fields.power_w(None if kilowatts is None else kilowatts * 1000, "puissance_nominale")
    combo, chademo, type_2, domestic = (
        fields.yes(f"prise_type_{name}") is True for name in ("combo_ccs", "chademo", "2", "ef")
    )
    direct = combo or chademo
    connectors: list[Connector] = []

    def add(standard: str, form: str, power_type: str, power_w: int | None) -> None:
        number = str(len(connectors) + 1)
        connectors.append(Connector(number, standard, form, power_type, power_w))

    if combo:
        add("IEC_62196_T2_COMBO", "CABLE", "DC", power_w)
    if chademo:
        add("CHADEMO", "CABLE", "DC", power_w)
    if type_2:
        form = "CABLE" if fields.yes("cable_t2_attache") else "SOCKET"
        own_w = _capped(power_w, _TYPE_2_MOST_W) if direct else power_w
        phases = 1 if own_w is not None and own_w <= _ONE_PHASE_MOST_W else 3
        add("IEC_62196_T2", form, f"AC_{phases}_PHASE", own_w)
    if domestic:
        own_w = _capped(power_w, _DOMESTIC_MOST_W) if direct or type_2 else power_w
        add("DOMESTIC_E", "SOCKET", "AC_1_PHASE", own_w)
    if not connectors:
        fields.note("prise_type", "none of a known type")
    return tuple(connectors)


def _capped(power_w: int | None, most_w: int) -> int | None:
    return None if power_w is None else min(power_w, most_w)
