"""Search EVSE for callers that speak SOAP: SearchEVSE, ProvideEVSEMasterData and
ProvideEVSEStatusData, after Green eMotion's names.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any
from urllib.parse import quote

from bridge.written_face import Asked, Spoken, WrittenFace, camel, snake

_SINGULAR = {"evses": "evse", "connectors": "connector", "capabilities": "capability"}
# What is asked for several of is one parameter, parted by commas.
_SEVERAL = ("connector", "operator", "status", "capability")


def face() -> WrittenFace:
    """Reads the WSDL, which takes a while."""
    wsdl = files("search_evse").joinpath("search-evse.wsdl").read_bytes()
    return WrittenFace(
        wsdl,
        {
            "SearchEVSE": Spoken("search-evses", _ask_search, _tell_search),
            "GetEVSE": Spoken("look-up-evse", _ask_evse, _tell_evse),
            "ProvideEVSEMasterData": Spoken("provide-locations", _ask_locations, _tell_report),
            "ProvideEVSEStatusData": Spoken("report-statuses", _ask_statuses, _tell_statuses),
        },
    )


def _ask_search(payload: dict[str, Any]) -> Asked:
    asked = snake(payload, {"words": "q"})
    near = asked.pop("near", None)
    query = {
        name: ",".join(value) if name in _SEVERAL else _text(value)
        for name, value in asked.items()
        if value != []
    }
    if near is not None:
        query["near"] = f"{near['latitude']},{near['longitude']}"
    return Asked("GET", "/evses", query)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tell_search(told: dict[str, Any]) -> object:
    return camel(told, _SINGULAR)


def _ask_evse(payload: dict[str, Any]) -> Asked:
    return Asked("GET", f"/evses/{quote(payload['evseId'], safe='*')}")


def _tell_evse(told: dict[str, Any]) -> object:
    return {"evse": camel(told, _SINGULAR)}


def _ask_locations(payload: dict[str, Any]) -> Asked:
    return Asked("POST", "/locations", body=[_location(one) for one in payload["location"]])


def _location(told: dict[str, Any]) -> dict[str, Any]:
    """An OCPI Location, which tells the opening times in one object."""
    plural = {"evse": "evses", "connector": "connectors", "capability": "capabilities"}
    location: dict[str, Any] = snake(told, plural)
    hours = location.pop("regular_hours", [])
    if hours:
        location["opening_times"] = {"regular_hours": hours}
    for place in (location, *location.get("evses", ())):
        if "coordinates" in place:
            place["coordinates"] = {key: str(one) for key, one in place["coordinates"].items()}
    return location


def _tell_report(told: dict[str, Any]) -> object:
    reasons, warnings = told.pop("reasons"), told.pop("warnings")
    report = {
        **camel(told, {"examples": "example"}),
        "reason": [{"says": says, "times": times} for says, times in reasons.items()],
        "warning": [{"says": says, "times": times} for says, times in warnings.items()],
    }
    return {"report": report}


def _ask_statuses(payload: dict[str, Any]) -> Asked:
    return Asked("POST", "/statuses", body={"statuses": snake(payload["evseStatus"], {})})


def _tell_statuses(told: dict[str, Any]) -> object:
    return {"result": camel(told["statuses"], {})}
