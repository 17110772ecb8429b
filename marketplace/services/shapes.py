"""What the catalogue's routes take and show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from kit.http import Caller
from marketplace.services.handling import Handling
from marketplace.services.lifecycle import Wish, sunset_of
from marketplace.services.login import PasswordKind
from marketplace.services.model import (
    Category,
    Endpoint,
    Environment,
    Operation,
    Protocol,
    Service,
    Status,
    Version,
    category_of,
)
from roaming.party import PartyId

PREFIX = "/marketplace/services"


class OperationShape(BaseModel):
    """One thing to call."""

    model_config = ConfigDict(extra="forbid")
    name: str
    method: str
    path: str


class ServiceEndpoint(BaseModel):
    """A further address. Those of `sandbox` take the calls of sandbox clients, and no others."""

    model_config = ConfigDict(extra="forbid")
    url: str
    environment: Environment = Environment.LIVE


class EndpointsAsked(BaseModel):
    """Where a service is answered from now on. Null: nowhere yet."""

    model_config = ConfigDict(extra="forbid")
    endpoint: str | None = None
    more_endpoints: list[ServiceEndpoint] = Field(default_factory=list)


class HandlingShape(BaseModel):
    """How calls are carried. What is left out is as usual: contracts enforced, 30 seconds, no maps.

    `timeouts_s` and `maps` go by the names of operations. `health_path`: below each endpoint, as
    `/health`, where `GET` answers 2xx while it is well; null: it is not asked. `headers`: further
    headers that are passed on, of what is asked and of what is answered.
    """

    model_config = ConfigDict(extra="forbid")
    mode: Literal["off", "shadow", "enforce"] = "enforce"
    timeout_s: float = 30.0
    timeouts_s: dict[str, float] = Field(default_factory=dict)
    maps: dict[str, dict[str, str | None]] = Field(default_factory=dict)
    health_path: str | None = None
    headers: list[str] = Field(default_factory=list)


class LoginAsked(BaseModel):
    """A WS-Security UsernameToken that the provider's own SOAP server wants to see."""

    model_config = ConfigDict(extra="forbid")
    username: str
    password: str
    kind: PasswordKind = PasswordKind.DIGEST


class ServiceAsked(BaseModel):
    """A service of the calling party. `endpoint` is where the gateway forwards its calls; it may
    follow until the service is published. A topic has none.

    `tags` are words of one's own to be found by. `replaces`: the version whose place it takes, as
    `name/v1`. `documentation`: a text, or where there is one.
    """

    model_config = ConfigDict(extra="forbid")
    name: str
    major: int = 1
    category: Annotated[str, Field(json_schema_extra={"enum": list(Category)})]
    tags: list[str] = Field(default_factory=list)
    replaces: str | None = None
    description: str
    protocol: Literal["rest", "soap", "topic"] = "rest"
    endpoint: str | None = None
    more_endpoints: list[ServiceEndpoint] = Field(default_factory=list)
    handling: dict[str, Any] = Field(default_factory=dict)
    documentation: str = ""
    operations: list[OperationShape] = Field(default_factory=list)

    def of(self, caller: Caller, now: datetime) -> Service:
        return Service(
            name=self.name,
            major=self.major,
            provider=caller.party,
            status=Status.DRAFT,
            category=category_of(self.category),
            tags=tuple(self.tags),
            replaces=None if self.replaces is None else Version.parse(self.replaces, "replaces"),
            description=self.description,
            endpoint=self.endpoint,
            protocol=Protocol(self.protocol),
            documentation=self.documentation,
            operations=tuple(Operation(one.name, one.method, one.path) for one in self.operations),
            registered_at=now,
            more_endpoints=endpoints_of(self.more_endpoints),
            handling=Handling.parse(self.handling),
        )


class ServiceShown(BaseModel):
    """A service in the catalogue. Where and how it is answered is between its provider and the hub:
    `endpoint`, `more_endpoints`, `handling`, `login` (whether there is one), `held` (whether the
    hub has suspended it, and alone publishes it again) and `testers` are null for others.

    `version` is what its interface document calls itself; `interface`: where that is. `sandbox`:
    whether calls may be tried. `sunset`: when it ends, as was told at `deprecated_at`.
    """

    name: str
    major: int
    provider: str
    status: str
    category: str
    tags: list[str]
    version: str
    replaces: str | None
    description: str
    protocol: str
    documentation: str
    operations: list[OperationShape]
    registered_at: datetime
    path: str | None
    interface: str | None
    sandbox: bool
    deprecated_at: datetime | None
    sunset: datetime | None
    endpoint: str | None = None
    more_endpoints: list[ServiceEndpoint] | None = None
    handling: dict[str, Any] | None = None
    login: bool | None = None
    held: bool | None = None
    testers: list[str] | None = None

    @classmethod
    def of(cls, service: Service, *, whole: bool) -> ServiceShown:
        """`whole`: as its provider, or the hub, sees it."""
        version = "" if service.major == 1 else f"/v{service.major}"
        document = f"{PREFIX}/{service.name}/v{service.major}/interface"
        found = cls(
            name=service.name,
            major=service.major,
            provider=service.provider,
            status=service.status,
            category=service.category,
            tags=list(service.tags),
            version=service.version,
            replaces=None if service.replaces is None else str(service.replaces),
            description=service.description,
            protocol=service.protocol,
            documentation=service.documentation,
            operations=[
                OperationShape(name=one.name, method=one.method, path=one.path)
                for one in service.operations
            ],
            registered_at=service.registered_at,
            path=f"/services/{service.name}{version}" if service.callable else None,
            interface=document if service.interface_digest is not None else None,
            sandbox=service.has_sandbox,
            deprecated_at=service.deprecated_at,
            sunset=service.sunset,
        )
        if whole:
            found.endpoint = service.endpoint
            found.more_endpoints = [
                ServiceEndpoint(url=one.url, environment=one.environment)
                for one in service.more_endpoints
            ]
            found.handling = {
                "mode": service.handling.mode.value,
                "timeout_s": service.handling.timeout_s,
                **service.handling.to_json(),
            }
            found.login = service.login is not None
            found.held = service.held
            found.testers = sorted(service.testers)
        return found


class VersionShown(ServiceShown):
    """One version with all that is known of it, and where the rest is.

    `successor`: the version that takes its place. `offerings`: on what terms it may be had. For its
    provider, `health` says where it is told how its endpoints are, and `endpoints` tells it.
    """

    successor: str | None
    offerings: str
    health: str | None = None
    endpoints: list[dict[str, Any]] | None = None

    @classmethod
    def with_links(
        cls,
        service: Service,
        successor: Service | None,
        *,
        whole: bool,
        endpoints: Sequence[dict[str, Any]] | None,
    ) -> VersionShown:
        own = whole and service.callable and not service.of_hub
        return cls(
            **ServiceShown.of(service, whole=whole).model_dump(),
            successor=None if successor is None else str(successor.key),
            offerings=f"/marketplace/offerings?service={service.name}&major={service.major}",
            health=f"{PREFIX}/{service.key}/health" if own else None,
            endpoints=None if endpoints is None else list(endpoints),
        )


class VersionsShown(BaseModel):
    """A service, its newest version first."""

    name: str
    provider: str
    versions: list[VersionShown]


class ChangeAsked(BaseModel):
    """What is said along with an action. `testers`: who sees it in test. `sunset`: when it ends, a
    time or a day, whose first moment in `time_zone` is meant. `reason`: told to those whose
    contracts end.
    """

    model_config = ConfigDict(extra="forbid")
    testers: list[str] | None = None
    sunset: str | None = None
    time_zone: str = "UTC"
    reason: str | None = None

    @property
    def wish(self) -> Wish:
        return Wish(
            None if self.testers is None else frozenset(map(PartyId, self.testers)),
            None if self.sunset is None else sunset_of(self.sunset, self.time_zone),
            self.reason,
        )


class FileShown(BaseModel):
    path: str
    bytes: int


class InterfaceShown(BaseModel):
    """A service's document. Each file is found below it, by its path."""

    kind: str
    root: str
    digest: str
    files: list[FileShown]


def endpoints_of(asked: list[ServiceEndpoint]) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(one.url, one.environment) for one in asked)
