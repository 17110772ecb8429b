"""How a version of a service comes and goes: one table, and the rules around its end.

Whoever has a contract is told in time: a service with running contracts is not retired at once, but
deprecated until the last of them can have ended. A sunset that was told stays, so that everybody
may rely on it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from datetime import date as Day
from enum import StrEnum
from zoneinfo import ZoneInfo

from marketplace.services.model import Protocol, Service, ServiceCannot, Status
from roaming.party import PartyId
from roaming.refusal import Clash, Malformed

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Action(StrEnum):
    TEST = "test"
    PUBLISH = "publish"
    SUSPEND = "suspend"
    DEPRECATE = "deprecate"
    RETIRE = "retire"


TRANSITIONS: Mapping[Status, Mapping[Action, Status]] = {
    Status.DRAFT: {
        Action.TEST: Status.IN_TEST,
        Action.PUBLISH: Status.PUBLISHED,
        Action.RETIRE: Status.RETIRED,
    },
    Status.IN_TEST: {
        Action.TEST: Status.IN_TEST,
        Action.PUBLISH: Status.PUBLISHED,
        Action.RETIRE: Status.RETIRED,
    },
    Status.PUBLISHED: {
        Action.PUBLISH: Status.PUBLISHED,
        Action.SUSPEND: Status.SUSPENDED,
        Action.DEPRECATE: Status.DEPRECATED,
        Action.RETIRE: Status.RETIRED,
    },
    Status.SUSPENDED: {
        Action.PUBLISH: Status.PUBLISHED,
        Action.SUSPEND: Status.SUSPENDED,
        Action.RETIRE: Status.RETIRED,
    },
    Status.DEPRECATED: {
        Action.PUBLISH: Status.DEPRECATED,
        Action.DEPRECATE: Status.DEPRECATED,
        Action.SUSPEND: Status.SUSPENDED,
        Action.RETIRE: Status.RETIRED,
    },
    Status.RETIRED: {Action.RETIRE: Status.RETIRED},
}
"""What each action leads to. Two things are said by rule: what has a sunset is deprecated where it
would be published (again), and `retire` waits for running contracts as `ended` tells."""

ENDING = frozenset({Action.DEPRECATE, Action.RETIRE})


class ServiceIncomplete(Clash):
    """The service lacks what a call of it would need; `rule` says what."""


class BadSunset(Malformed):
    """A day on which the service cannot end; `rule` says which could be."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is said along with an action. `testers` go with `test`; `sunset` with `deprecate` and
    `retire`; `reason` is told to those whose contracts end.
    """

    testers: frozenset[PartyId] | None = None
    sunset: datetime | None = None
    reason: str | None = None


def sunset_of(told: str, time_zone: str = "UTC") -> datetime:
    """The moment that is meant: a time with its offset, or the first moment of a day in a zone.

    Where clocks go forward at midnight, the day begins when they have gone. BadSunset.
    """
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        raise BadSunset(
            "no time zone",
            field="time_zone",
            value=time_zone[:100],
            rule="an IANA time zone, as Europe/Paris",
        ) from None
    try:
        if _DAY.fullmatch(told):
            return datetime.combine(Day.fromisoformat(told), time(), zone).astimezone(UTC)
        moment = datetime.fromisoformat(told)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise BadSunset(
        "neither a day nor a moment",
        field="sunset",
        value=told[:100],
        rule="a day, as 2028-02-29, or a time with its offset",
    )


def changed(
    service: Service,
    action: Action,
    *,
    by_hub: bool = False,
    testers: Collection[PartyId] | None = None,
) -> Service:
    """The service after an action on which no contract has a word; the same one where nothing
    changes.

    `by_hub`: the hub itself, about anybody's service. ServiceCannot, ServiceIncomplete.
    """
    held = service.held
    if by_hub:
        held = {Action.SUSPEND: True, Action.PUBLISH: False}.get(action, held)
    elif held and action is Action.PUBLISH:
        raise ServiceCannot(
            "the hub has suspended this service",
            field="status",
            value=service.status,
            rule="the hub's operator publishes it again",
        )
    target = _target(service, action)
    if target is Status.PUBLISHED and service.sunset is not None:
        target = Status.DEPRECATED
    after = replace(service, status=target, held=held)
    if testers is not None and action is Action.TEST:
        after = replace(after, testers=frozenset(testers))
    if after == service:
        return service
    if target is Status.IN_TEST:
        return _fit_to_try(after)
    return complete(after) if action is Action.PUBLISH else after


def ended(
    service: Service,
    action: Action,
    now: datetime,
    *,
    wanted: datetime | None,
    last_end: datetime | None,
) -> Service:
    """The service after `deprecate` or `retire`; the same one where nothing changes.

    `last_end`: when the last of its running live contracts can have ended, notice being given now;
    None: none runs. `wanted`: the sunset asked for. ServiceCannot, BadSunset.
    """
    target = _target(service, action)
    if service.status is Status.RETIRED:
        return service
    if last_end is not None and last_end <= now:
        # None of them asks for any notice.
        last_end = None
    if service.sunset is not None:
        return _ended_again(service, action, wanted, last_end)
    if action is Action.RETIRE and wanted is None and last_end is None:
        return replace(service, status=target)
    if action is Action.DEPRECATE and wanted is None:
        raise BadSunset(
            "a deprecated service says when it ends",
            field="sunset",
            rule=_not_before(last_end or now),
        )
    sunset = wanted or last_end
    assert sunset is not None, "without a wish it is that of the contracts"
    if sunset <= now or (last_end is not None and sunset < last_end):
        raise BadSunset(
            "contracts run longer than that" if sunset > now else "the sunset lies ahead",
            field="sunset",
            value=sunset.isoformat(),
            rule=_not_before(last_end or now),
        )
    status = Status.DEPRECATED if service.status is Status.PUBLISHED else service.status
    return replace(service, status=status, sunset=sunset, deprecated_at=now)


def at_sunset(service: Service, now: datetime) -> Service:
    """The service when its day has come; the same one before."""
    if service.status is Status.RETIRED or service.sunset is None or now < service.sunset:
        return service
    return replace(service, status=Status.RETIRED)


def complete(service: Service) -> Service:
    """The service itself, where others may call it as it stands; ServiceIncomplete."""
    lacks = []
    if service.callable and service.endpoint is None and not service.of_hub:
        lacks.append("endpoint")
    return _lacking_nothing(service, lacks, "nobody can call this service yet")


def _fit_to_try(service: Service) -> Service:
    if not service.callable:
        raise ServiceCannot(
            f"a service of protocol {service.protocol} has no sandbox",
            field="protocol",
            value=service.protocol,
            rule="publish it, and offer it to those who are to try it",
        )
    lacks = [] if service.has_sandbox else ["sandbox"]
    return _lacking_nothing(service, lacks, "nobody can try this service yet")


def _lacking_nothing(service: Service, lacks: list[str], what: str) -> Service:
    if service.protocol is Protocol.SOAP and service.interface_digest is None:
        lacks.append("interface")
    if lacks:
        raise ServiceIncomplete(
            f"{what}: it has no {' and no '.join(lacks)}",
            field=lacks[0],
            rule=" and ".join(_SUPPLIED[one] for one in lacks),
        )
    return service


_SUPPLIED = {
    "endpoint": "tell where it is answered: PUT …/endpoints",
    "sandbox": "tell where it is answered in the sandbox: PUT …/endpoints",
    "interface": "upload its WSDL: PUT …/interface",
}


def _target(service: Service, action: Action) -> Status:
    target = TRANSITIONS[service.status].get(action)
    if target is None:
        raise ServiceCannot(
            f"a service that is {service.status} takes no {action}",
            field="status",
            value=service.status,
            rule=f"one of: {', '.join(TRANSITIONS[service.status])}",
        )
    return target


def _ended_again(
    service: Service, action: Action, wanted: datetime | None, last_end: datetime | None
) -> Service:
    if wanted not in (None, service.sunset):
        raise ServiceCannot(
            "its sunset is told, and others rely on it",
            field="sunset",
            value=None if wanted is None else wanted.isoformat(),
            rule=f"{service.sunset and service.sunset.isoformat()}, as told",
        )
    if action is Action.RETIRE and wanted is None and last_end is None:
        return replace(service, status=Status.RETIRED)
    return service


def _not_before(moment: datetime) -> str:
    return f"a time with offset or a day, not before {moment.isoformat()}"
