"""What may change about a service without a new version of it, and what may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum

from marketplace.services.handling import USUAL, BadHandling, Handling, Mode
from marketplace.services.lifecycle import complete
from marketplace.services.model import (
    LONGEST_VERSION,
    MOST_OPERATIONS,
    UNPUBLISHED,
    BadService,
    Endpoint,
    Operation,
    Protocol,
    Service,
    checked_endpoints,
)
from roaming.refusal import Clash, Malformed

LONGEST_NAME = 300
LONGEST_PATH = 1_000
SHOWN = 20


class Change(StrEnum):
    """What of a service has changed."""

    STATUS = "status"
    ENDPOINTS = "endpoints"
    HANDLING = "handling"
    INTERFACE = "interface"
    LOGIN = "login"


class OperationsRemoved(Clash):
    """The document lacks operations that others may be calling already."""


class OfTheHub(Clash):
    """The hub itself answers this service: there is no such thing to change about it."""


class WrongKind(Malformed):
    """The document, or the login, is for another protocol than the service's."""


class BadOperation(Malformed):
    """An operation of a document that cannot be kept in the catalogue."""


KINDS: Mapping[Protocol, str] = {Protocol.REST: "openapi", Protocol.SOAP: "wsdl"}
"""The kind of document by which each protocol is described."""


def with_endpoints(service: Service, endpoint: str | None, more: Sequence[Endpoint]) -> Service:
    """The service, answered elsewhere. BadService, ServiceIncomplete once it is published."""
    _not_of_hub(service, "endpoint")
    moved = checked_endpoints(replace(service, endpoint=endpoint, more_endpoints=tuple(more)))
    return _as_complete(moved)


def with_handling(service: Service, handling: Handling) -> Service:
    """The service, its calls carried otherwise. BadHandling names an operation it has not."""
    _is_carried(service, handling)
    known = {operation.name for operation in service.operations}
    for part, names in (("timeouts_s", handling.timeouts_s), ("maps", handling.maps)):
        unknown = names.keys() - known if known else ()
        if unknown:
            raise BadHandling(
                "the service has no such operation",
                field=f"handling.{part}.{min(unknown)}",
                value=min(unknown),
                rule="one of: " + ", ".join(sorted(known)[:SHOWN]),
            )
    return replace(service, handling=handling)


def with_mode(service: Service, mode: Mode) -> Service:
    handling = replace(service.handling, mode=mode)
    _is_carried(service, handling)
    return replace(service, handling=handling)


def _is_carried(service: Service, handling: Handling) -> None:
    if handling != USUAL and not service.callable:
        raise BadHandling(
            f"a service of protocol {service.protocol} is not called",
            field=f"handling.{next(iter(handling.to_json()))}",
            rule="nothing: it is subscribed to at the hub, under its contracts",
        )


def fits(service: Service, kind: str) -> None:
    """WrongKind where a document of this kind cannot describe the service; OfTheHub."""
    _not_of_hub(service, "interface")
    wanted = KINDS.get(service.protocol)
    if kind != wanted:
        raise WrongKind(
            f"a service of protocol {service.protocol} has no document of kind {kind}",
            field="kind",
            value=kind,
            rule="none" if wanted is None else wanted,
        )


def with_interface(
    service: Service, digest: bytes, operations: Sequence[Operation], version: str = ""
) -> Service:
    """The service, described by a document that has these operations, and calls itself `version`.

    Once others may call it nothing that they could be calling goes away: OperationsRemoved.
    BadService, BadOperation, BadHandling where what is said of an operation would be left over.
    """
    _check_operations(operations)
    if service.status not in UNPUBLISHED:
        removed = [one.name for one in service.operations if one not in operations]
        if removed:
            raise OperationsRemoved(
                f"{len(removed)} operations of a service that others may be calling would be gone"
                " or elsewhere",
                field="operations",
                value=", ".join(sorted(removed)[:SHOWN]),
                rule="a new major version for what leaves operations out or moves them",
            )
    told = "".join(letter for letter in version if letter.isprintable())
    described = replace(
        service,
        interface_digest=digest,
        operations=tuple(operations),
        version=told[:LONGEST_VERSION],
    )
    return with_handling(described, service.handling)


def with_login(service: Service, sealed: bytes | None) -> Service:
    """The service, whose provider asks the hub for this login, or for none. WrongKind."""
    _not_of_hub(service, "login")
    if service.protocol is not Protocol.SOAP:
        raise WrongKind(
            "a UsernameToken is sent in the header of an envelope",
            field="protocol",
            value=service.protocol,
            rule=Protocol.SOAP.value,
        )
    return replace(service, login=sealed)


def _as_complete(service: Service) -> Service:
    return service if service.status in UNPUBLISHED else complete(service)


def _not_of_hub(service: Service, field: str) -> None:
    if service.of_hub:
        raise OfTheHub("the hub itself answers this service", field=field, value=service.name)


def _check_operations(operations: Sequence[Operation]) -> None:
    """As `model.checked`, but for names and paths as a document has them."""
    if not 0 < len(operations) <= MOST_OPERATIONS:
        raise BadService(
            "the document has too many operations, or none that can be called",
            field="operations",
            value=len(operations),
            rule=f"1 to {MOST_OPERATIONS}",
        )
    for operation in operations:
        for text, most in ((operation.name, LONGEST_NAME), (operation.path, LONGEST_PATH)):
            if not 0 < len(text) <= most or not text.isprintable():
                raise BadOperation(
                    "an operation cannot be kept by this name or path",
                    field="operations",
                    value=text[:100],
                    rule=f"1 to {most} printable characters",
                )
    if len({operation.name for operation in operations}) != len(operations):
        raise BadOperation("an operation is named twice", field="operations", rule="unique names")
