"""Contract validation for callers that speak SOAP: ContractValidation (SRV 1967)."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from bridge.written_face import Asked, Spoken, WrittenFace, camel, snake


def face() -> WrittenFace:
    """Reads the WSDL, which takes a while."""
    wsdl = files("marketplace.validation").joinpath("contract-validation.wsdl").read_bytes()
    return WrittenFace(wsdl, {"ValidateContract": Spoken("validate", _ask, _tell)})


def _ask(payload: dict[str, Any]) -> Asked:
    return Asked("GET", "/validate", {k: str(v) for k, v in snake(payload, {}).items()})


def _tell(told: dict[str, Any]) -> object:
    return camel(told, {})
