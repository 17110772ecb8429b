"""The catalogue's nouns: a service and its versions. How they come and go is in `lifecycle`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
MOST_TAGS = 20
MOST_TESTERS = 1_000
LONGEST_VERSION = 100


class Status(StrEnum):
    """Where a version of a service stands; `lifecycle.TRANSITIONS` says what comes after what."""

    DRAFT = "draft"
    IN_TEST = "in-test"
    PUBLISHED = "published"
    SUSPENDED = "suspended"
    DEPRECATED = "deprecated"
    RETIRED = "retired"


UNPUBLISHED = frozenset({Status.DRAFT, Status.IN_TEST})
SEEN_BY_ALL = frozenset({Status.PUBLISHED, Status.SUSPENDED, Status.DEPRECATED})


class Category(StrEnum):
    """The four kinds of services that Green eMotion's marketplace knows (D3.7, glossary)."""

    CORE = "core"
    CLEARING_HOUSE = "clearing-house"
    BASIC_END_USER = "basic-end-user"
    VALUE_ADDED = "value-added"


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
class Version:
    """One major version of a service, as it is named."""

    name: str
    major: int

    def __str__(self) -> str:
        return f"{self.name}/v{self.major}"

    @classmethod
    def parse(cls, text: str, field: str) -> Version:
        """From `name/v2`. BadService."""
        name, _, major = text.rpartition("/v")
        if not (is_name(name) and major.isascii() and major.isdecimal() and len(major) <= 4):
            raise BadService(
                "this names no version of a service", field=field, value=text[:100], rule="name/v1"
            )
        return cls(name, int(major))


@dataclass(frozen=True, slots=True)
class Service:
    """One major version of a service. `endpoint` None: the hub itself answers.

    `interface_digest` names its interface document, `version` is what that document calls itself.
    `login`: what the provider's own SOAP server asks the hub for, sealed. `held`: the hub has
    suspended it, and alone publishes it again. `testers` see it while it is in test. `sunset`: when
    it ends, which was told at `deprecated_at`. `replaces`: the version whose place it takes.
    """

    name: str
    major: int
    provider: PartyId
    status: Status
    category: Category
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
    tags: tuple[str, ...] = ()
    version: str = ""
    replaces: Version | None = None
    testers: frozenset[PartyId] = frozenset()
    deprecated_at: datetime | None = None
    sunset: datetime | None = None

    @property
    def key(self) -> Version:
        return Version(self.name, self.major)

    @property
    def callable(self) -> bool:
        """Whether it is called at the gateway."""
        return self.protocol in (Protocol.REST, Protocol.SOAP)

    @property
    def of_hub(self) -> bool:
        """Whether the hub itself answers it."""
        return self.name in HUB_SERVICES or self.protocol is Protocol.AGREEMENT

    @property
    def has_sandbox(self) -> bool:
        """Whether calls of it may be tried."""
        return any(one.environment is Environment.SANDBOX for one in self.more_endpoints)

    def seen_by(self, party: PartyId) -> bool:
        """A draft and what is retired are their provider's business; what is in test, also that of
        the testers it has named.
        """
        if party == self.provider or self.status in SEEN_BY_ALL:
            return True
        return self.status is Status.IN_TEST and party in self.testers


# One pattern with the gateway's path: `/services/{name}/…`.
_NAME = re.compile(r"[a-z][a-z0-9-]{0,61}[a-z0-9]")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_OPERATION = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")
_PATH = re.compile(r"/[A-Za-z0-9._~{}/-]{0,199}")
_TAG = re.compile(r"[a-z0-9][a-z0-9-]{0,49}")


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
    _check_tags(service.tags)
    _check_testers(service.testers)
    if service.replaces == service.key:
        raise BadService(
            "a version takes the place of another", field="replaces", value=str(service.replaces)
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


def category_of(text: str) -> Category:
    """One of the four; BadService says which there are, and where other words go."""
    try:
        return Category(text)
    except ValueError:
        raise BadService(
            "this is none of the marketplace's categories",
            field="category",
            value=text[:100],
            rule=f"one of: {', '.join(Category)}; words of your own go into tags",
        ) from None


def _check_tags(tags: Sequence[str]) -> None:
    if len(tags) > MOST_TAGS or len(set(tags)) != len(tags):
        raise BadService(
            "too many tags, or one twice",
            field="tags",
            value=len(tags),
            rule=f"at most {MOST_TAGS}, each once",
        )
    for n, tag in enumerate(tags):
        if not _TAG.fullmatch(tag):
            raise BadService(
                "this cannot be a tag",
                field=f"tags.{n}",
                value=tag[:100],
                rule="1 to 50 of a-z, 0-9 and -, begins with a letter or a digit",
            )


def _check_testers(testers: Collection[PartyId]) -> None:
    if len(testers) > MOST_TESTERS:
        raise BadService(
            "too many testers", field="testers", value=len(testers), rule=f"at most {MOST_TESTERS}"
        )


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
        set(other.tags),
        other.replaces,
        other.description,
        other.documentation,
        other.operations,
    ) == (
        one.name,
        one.major,
        one.provider,
        one.protocol,
        one.category,
        set(one.tags),
        one.replaces,
        one.description,
        one.documentation,
        operations,
    )


HUB_SERVICES: Mapping[str, tuple[Protocol, Category, str, tuple[str, ...]]] = {
    "search-evse": (
        Protocol.REST,
        Category.BASIC_END_USER,
        "Find charge points of all operators by place, connector, power, operator and status.",
        ("evse-operator", "evsp", "dso", "service-provider"),
    ),
    "clearing-house": (
        Protocol.REST,
        Category.CLEARING_HOUSE,
        "Authorise charges, take charge detail records in, price and clear them.",
        ("evse-operator", "evsp"),
    ),
    "contract-validation": (
        Protocol.REST,
        Category.CORE,
        "Ask whether a contract between two parties is in force (SRV 1967).",
        ("evse-operator", "evsp", "dso", "service-provider"),
    ),
    "own-events": (
        Protocol.TOPIC,
        Category.CORE,
        "All that the log tells of the subscriber itself: its audit trail and history.",
        ("evse-operator", "evsp", "dso", "service-provider"),
    ),
    "evse-status": (
        Protocol.TOPIC,
        Category.BASIC_END_USER,
        "Changes of status of the charge points of all operators, as they are told.",
        ("evse-operator", "evsp", "dso", "service-provider"),
    ),
    "evse-data": (
        Protocol.TOPIC,
        Category.BASIC_END_USER,
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
    described.append((ROAMING, Protocol.AGREEMENT, Category.CLEARING_HOUSE, ROAMING_DESCRIPTION))
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
