"""The catalogue's nouns: a service, its versions, and how it comes and goes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from marketplace.services.handling import USUAL, Handling
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed, NotYours, Unknown

ROAMING = "roaming"
LOAD_MANAGEMENT = "load-management"
LONGEST_TEXT = 10_000
LONGEST_URL = 2_000
MOST_OPERATIONS = 500
MOST_ENDPOINTS = 20
MOST_MAJOR = 9_999


class Status(StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"
    SUSPENDED = "suspended"
    RETIRED = "retired"


class Action(StrEnum):
    PUBLISH = "publish"
    SUSPEND = "suspend"
    RETIRE = "retire"


TRANSITIONS: Mapping[Status, Mapping[Action, Status]] = {
    Status.DRAFT: {Action.PUBLISH: Status.PUBLISHED, Action.RETIRE: Status.RETIRED},
    Status.PUBLISHED: {Action.SUSPEND: Status.SUSPENDED, Action.RETIRE: Status.RETIRED},
    Status.SUSPENDED: {Action.PUBLISH: Status.PUBLISHED, Action.RETIRE: Status.RETIRED},
    Status.RETIRED: {},
}
_REACHED = {
    Action.PUBLISH: Status.PUBLISHED,
    Action.SUSPEND: Status.SUSPENDED,
    Action.RETIRE: Status.RETIRED,
}


class Protocol(StrEnum):
    """What the service speaks. `topic`: it is subscribed to; `agreement`: it is agreed upon, and
    there is nothing to call.
    """

    REST = "rest"
    SOAP = "soap"
    TOPIC = "topic"
    AGREEMENT = "agreement"


class BadService(Malformed):
    """A service description that breaks a rule."""


class UnknownService(Unknown):
    """The catalogue has no such service, or none that the caller may see."""


class NotYourService(NotYours):
    """Only its provider changes a service."""


class ServiceExists(Clash):
    """The name is taken: by another provider, or by a different description."""


class ServiceCannot(Clash):
    """The service's status does not allow this."""


class ServiceIncomplete(Clash):
    """The service lacks what a call of it would need; `rule` says what."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to call: `name`, and the method and path template that it is called by."""

    name: str
    method: str
    path: str


class Environment(StrEnum):
    """Whose calls an endpoint takes: those that count, or those that are tried."""

    LIVE = "live"
    SANDBOX = "sandbox"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A further address at which a service is answered."""

    url: str
    environment: Environment = Environment.LIVE


@dataclass(frozen=True, slots=True)
class Service:
    """One major version of a service. `endpoint` None: the hub itself answers.

    `interface_digest` names its interface document. `login`: what the provider's own SOAP server
    asks the hub for, sealed. `held`: the hub has suspended it, and alone publishes it again.
    """

    name: str
    major: int
    provider: PartyId
    status: Status
    category: str
    description: str
    endpoint: str | None
    protocol: Protocol
    documentation: str
    operations: tuple[Operation, ...]
    registered_at: datetime
    more_endpoints: tuple[Endpoint, ...] = ()
    handling: Handling = USUAL
    interface_digest: bytes | None = None
    login: bytes | None = field(default=None, repr=False)
    held: bool = False

    @property
    def callable(self) -> bool:
        """Whether it is called at the gateway."""
        return self.protocol in (Protocol.REST, Protocol.SOAP)

    @property
    def of_hub(self) -> bool:
        """Whether the hub itself answers it."""
        return self.name in HUB_SERVICES or self.protocol is Protocol.AGREEMENT

    def seen_by(self, party: PartyId) -> bool:
        """A draft and what is retired are their provider's business."""
        return party == self.provider or self.status in (Status.PUBLISHED, Status.SUSPENDED)


# One pattern with the gateway's path: `/services/{name}/…`.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_OPERATION = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_PATH = re.compile(r"/[A-Za-z0-9._~{}/-]{0,199}")
_CATEGORY = re.compile(r"[a-z][a-z0-9-]{0,49}")


def is_name(text: str) -> bool:
    """Whether a text could name a service at all."""
    return _NAME.fullmatch(text) is not None


def checked(service: Service) -> Service:
    """The service itself; BadService names what is wrong with it. URLs are checked elsewhere."""
    if not is_name(service.name):
        raise BadService(
            "this cannot name a service",
            field="name",
            value=service.name[:100],
            rule="2 to 63 of a-z, 0-9 and -, begins with a letter, does not end with -",
        )
    if not 1 <= service.major <= MOST_MAJOR:
        raise BadService(
            "no such major version",
            field="major",
            value=service.major,
            rule=f"1 to {MOST_MAJOR}",
        )
    if not _CATEGORY.fullmatch(service.category):
        raise BadService(
            "this cannot name a category",
            field="category",
            value=service.category[:100],
            rule="1 to 50 of a-z, 0-9 and -, begins with a letter",
        )
    for name, text in (
        ("description", service.description),
        ("documentation", service.documentation),
    ):
        if len(text) > LONGEST_TEXT or "\x00" in text:
            raise BadService(
                f"the {name} cannot be kept",
                field=name,
                rule=f"at most {LONGEST_TEXT} characters and no NUL",
            )
    _check_operations(service.operations)
    return checked_endpoints(service)


def checked_endpoints(service: Service) -> Service:
    """The service itself, where it may be answered at these endpoints. BadService."""
    urls = [] if service.endpoint is None else [service.endpoint]
    urls += [one.url for one in service.more_endpoints]
    if urls and not service.callable:
        raise BadService(
            f"a service of protocol {service.protocol} is answered nowhere",
            field="endpoint",
            value=urls[0],
            rule="no endpoints: it is subscribed to at the hub",
        )
    if len(urls) > MOST_ENDPOINTS:
        raise BadService(
            "too many endpoints",
            field="more_endpoints",
            value=len(urls),
            rule=f"at most {MOST_ENDPOINTS} in all",
        )
    if len(set(urls)) != len(urls):
        raise BadService(
            "an endpoint is named twice", field="more_endpoints", rule="each address once"
        )
    return service


def _check_operations(operations: Sequence[Operation]) -> None:
    if len(operations) > MOST_OPERATIONS:
        raise BadService(
            "too many operations", field="operations", rule=f"at most {MOST_OPERATIONS}"
        )
    for n, operation in enumerate(operations):
        field = f"operations.{n}"
        if not _OPERATION.fullmatch(operation.name):
            raise BadService(
                "this cannot name an operation",
                field=f"{field}.name",
                value=operation.name[:100],
                rule="1 to 100 letters, digits, _, . and -, begins with a letter",
            )
        if operation.method not in METHODS:
            raise BadService(
                "no method that can be called",
                field=f"{field}.method",
                value=operation.method[:100],
                rule=", ".join(METHODS),
            )
        if not _PATH.fullmatch(operation.path):
            raise BadService(
                "no path template",
                field=f"{field}.path",
                value=operation.path[:100],
                rule="begins with /, as /cdrs/{cdr_id}",
            )
    if len({operation.name for operation in operations}) != len(operations):
        raise BadService("an operation is named twice", field="operations", rule="unique names")


def changed(service: Service, action: Action, *, by_hub: bool = False) -> Service:
    """The service after an action; the same one where it is there already.

    `by_hub`: the hub itself, about anybody's service. ServiceCannot, ServiceIncomplete.
    """
    if by_hub:
        held = {Action.SUSPEND: True, Action.PUBLISH: False}.get(action, service.held)
        return replace(_moved(service, action), held=held)
    if service.held and action is Action.PUBLISH:
        raise ServiceCannot(
            "the hub has suspended this service",
            field="status",
            value=service.status,
            rule="the hub's operator publishes it again",
        )
    return _moved(service, action)


def _moved(service: Service, action: Action) -> Service:
    if service.status is _REACHED[action]:
        return service
    target = TRANSITIONS[service.status].get(action)
    if target is None:
        raise ServiceCannot(
            f"a {service.status} service takes no {action}",
            field="status",
            value=service.status,
            rule=f"one of: {', '.join(TRANSITIONS[service.status]) or 'nothing any more'}",
        )
    after = replace(service, status=target)
    return complete(after) if target is Status.PUBLISHED else after


def complete(service: Service) -> Service:
    """The service itself, where others may call it as it stands; ServiceIncomplete."""
    lacks = []
    if service.callable and service.endpoint is None and not service.of_hub:
        lacks.append("endpoint")
    if service.protocol is Protocol.SOAP and service.interface_digest is None:
        lacks.append("interface")
    if lacks:
        raise ServiceIncomplete(
            f"nobody can call this service yet: it has no {' and no '.join(lacks)}",
            field=lacks[0],
            rule=" and ".join(_SUPPLIED[one] for one in lacks),
        )
    return service


_SUPPLIED = {
    "endpoint": "tell where it is answered: PUT …/endpoints",
    "interface": "upload its WSDL: PUT …/interface",
}


def same_description(one: Service, other: Service) -> bool:
    """Whether a registration (`other`) says what is known of a service.

    Only what stays as long as the service does is compared. Endpoints, handling, login and document
    have ways of their own to be changed, and a programme that registers its service at each start
    shall find it, however it was changed since. The same goes for operations that came out of a
    document.
    """
    operations = one.operations if one.interface_digest is None else other.operations
    return (
        other.name,
        other.major,
        other.provider,
        other.protocol,
        other.category,
        other.description,
        other.documentation,
        other.operations,
    ) == (
        one.name,
        one.major,
        one.provider,
        one.protocol,
        one.category,
        one.description,
        one.documentation,
        operations,
    )


HUB_SERVICES: Mapping[str, tuple[Protocol, str, str, tuple[str, ...]]] = {
    "search-evse": (
        Protocol.REST,
        "search",
        "Find charge points of all operators by place, connector, power, operator and status.",
        ("evse-operator", "evsp", "dso", "service-provider"),
    ),
    "clearing-house": (
        Protocol.REST,
        "clearing",
        "Authorise charges, take charge detail records in, price and clear them.",
        ("evse-operator", "evsp"),
    ),
    "contract-validation": (
        Protocol.REST,
        "contracts",
        "Ask whether a contract between two parties is in force (SRV 1967).",
        ("evse-operator", "evsp", "dso", "service-provider"),
    ),
    "own-events": (
        Protocol.TOPIC,
        "events",
        "All that the log tells of the subscriber itself: its audit trail and history.",
        ("evse-operator", "evsp", "dso", "service-provider"),
    ),
    "evse-status": (
        Protocol.TOPIC,
        "events",
        "Changes of status of the charge points of all operators, as they are told.",
        ("evse-operator", "evsp", "dso", "service-provider"),
    ),
    "evse-data": (
        Protocol.TOPIC,
        "events",
        "Which charge points of all operators came, changed or went in the master data.",
        ("evse-operator", "evsp", "dso", "service-provider"),
    ),
}
"""The hub's own services: protocol, category, description, and the roles that they are for."""

ROAMING_DESCRIPTION = (
    "The agreement by which an EVSE operator lets an EVSP's customers charge, and at what price."
)


def hub_services(hub: PartyId, now: datetime) -> list[Service]:
    """What the hub puts into the catalogue at its first start, roaming among it."""
    described = [
        (name, protocol, category, description)
        for name, (protocol, category, description, _) in HUB_SERVICES.items()
    ]
    described.append((ROAMING, Protocol.AGREEMENT, "roaming", ROAMING_DESCRIPTION))
    return [
        Service(
            name=name,
            major=1,
            provider=hub,
            status=Status.PUBLISHED,
            category=category,
            description=description,
            endpoint=None,
            protocol=protocol,
            documentation="/docs",
            operations=(),
            registered_at=now,
        )
        for name, protocol, category, description in described
    ]
