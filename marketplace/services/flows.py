"""What happens to services: they are registered, found, tried, published, and come to their end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from bridge.document import Document
from bridge.maps import ContentMap
from kit.outside_url import check_url
from marketplace.services import changes, lifecycle, model
from marketplace.services.changes import Change
from marketplace.services.handling import Handling, Mode
from marketplace.services.lifecycle import ENDING, Action, Wish
from marketplace.services.model import (
    BadService,
    Endpoint,
    NotYourService,
    Service,
    ServiceExists,
    Status,
    UnknownService,
)
from marketplace.services.ports import Catalogue, Memory, Reader, Search, Shelf
from roaming.party import PartyId
from roaming.refusal import Unknown

LONGEST_REASON = 1_000


class NoInterface(Unknown):
    """The service has no document, or the document no such file."""


async def register(
    catalogue: Catalogue,
    service: Service,
    *,
    memory: Memory,
    allow_loopback: bool,
    now: datetime,
) -> Service:
    """Put a draft of the caller's service (`service.provider`) into the catalogue.

    A name belongs to the provider who had it first, in all its versions. The same description again
    is the service as it stands, whatever of it was changed since.
    BadService, BadUrl, BadHandling, BadMap, ServiceExists.
    """
    model.checked(service)
    changes.with_handling(service, service.handling)
    _check_maps(service.handling)
    _check_urls(service.endpoint, service.more_endpoints, allow_loopback=allow_loopback)
    async with catalogue.open() as shelf:
        kept = await _add(shelf, service, now)
    await memory.refresh()
    return kept


async def ensure_hub_services(
    catalogue: Catalogue, hub: PartyId, *, memory: Memory, now: datetime
) -> None:
    """The hub's own services are in the catalogue after this. Safe at every start."""
    async with catalogue.open() as shelf:
        for service in model.hub_services(hub, now):
            await shelf.lock(service.name)
            known = {one.major for one in await shelf.versions(service.name)}
            if service.major not in known:
                await shelf.add(service, now)
    await memory.refresh()


async def _add(shelf: Shelf, service: Service, now: datetime) -> Service:
    await shelf.lock(service.name)
    versions = await shelf.versions(service.name)
    for known in versions:
        if known.provider != service.provider:
            raise ServiceExists(
                "the name is taken by another provider",
                field="name",
                value=service.name,
                rule="a name that nobody has in this marketplace",
            )
        if known.major == service.major:
            if model.same_description(known, service):
                return known
            raise ServiceExists(
                f"version {service.major} is registered with another description",
                field="major",
                value=service.major,
                rule="a new major version for a new description",
            )
    await _check_replaced(shelf, service, versions)
    await shelf.add(service, now)
    return service


async def _check_replaced(shelf: Shelf, service: Service, versions: Sequence[Service]) -> None:
    """BadService, unless what it replaces is a version of its provider's."""
    replaced = service.replaces
    if replaced is None:
        return
    if replaced.name != service.name:
        versions = await shelf.versions(replaced.name)
    if not any((o.major, o.provider) == (replaced.major, service.provider) for o in versions):
        raise BadService(
            "it replaces a version that is none of its provider's",
            field="replaces",
            value=str(replaced),
            rule="a registered version of your own",
        )


async def change(
    catalogue: Catalogue,
    caller: PartyId,
    name: str,
    major: int,
    action: Action,
    *,
    memory: Memory,
    now: datetime,
    wish: Wish | None = None,
    overseer: bool = False,
) -> Service:
    """Bring the caller's service to where an action leads; repeating it changes nothing.

    What ends a service gives notice to all who have a contract on it, in the same transaction.
    `overseer`: the caller is the hub, whose word on anybody's service is the last.
    BadService, BadSunset, ServiceCannot, ServiceIncomplete, NotYourService, UnknownService.
    """
    told = wish or Wish()
    _check_wish(action, told)
    changing = _Changing(catalogue, caller, name, major, memory, now, overseer)
    if action in ENDING:
        return await changing.end(action, told)
    return await changing.to(
        Change.STATUS,
        lambda known: model.checked(
            lifecycle.changed(known, action, by_hub=overseer, testers=told.testers)
        ),
    )


def _check_wish(action: Action, wish: Wish) -> None:
    """What is said of another action would go unheard."""
    for field, value, of in (
        ("testers", wish.testers, {Action.TEST}),
        ("sunset", wish.sunset, ENDING),
        ("reason", wish.reason, ENDING),
    ):
        if value is not None and action not in of:
            raise BadService(f"{action} has no {field}", field=field, rule=f"with {min(of)}")
    if wish.reason is not None and (len(wish.reason) > LONGEST_REASON or "\x00" in wish.reason):
        raise BadService(
            "the reason cannot be kept",
            field="reason",
            rule=f"at most {LONGEST_REASON} characters and no NUL",
        )


async def retire_due(catalogue: Catalogue, hub: PartyId, *, memory: Memory, now: datetime) -> bool:
    """Retire a version whose sunset has come. True: there may be more of them."""
    async with catalogue.open() as shelf:
        due = await shelf.due(now)
        if due is None:
            return False
        await shelf.lock(due.name)
        known = _version(await shelf.versions(due.name), due.name, due.major, None)
        after = lifecycle.at_sunset(known, now)
        if after != known:
            await shelf.end_contracts(after, hub, now, sunset=now, own_notice=False, reason=None)
            await shelf.save(after, Change.STATUS, hub, now)
    await memory.refresh()
    return True


async def set_endpoints(
    catalogue: Catalogue,
    caller: PartyId,
    name: str,
    major: int,
    endpoint: str | None,
    more_endpoints: Sequence[Endpoint],
    *,
    memory: Memory,
    allow_loopback: bool,
    now: datetime,
) -> Service:
    """Say where the caller's service is answered from now on; it stays the same version.

    BadService, BadUrl, ServiceIncomplete, OfTheHub, NotYourService, UnknownService.
    """
    _check_urls(endpoint, more_endpoints, allow_loopback=allow_loopback)
    changing = _Changing(catalogue, caller, name, major, memory, now)
    return await changing.to(
        Change.ENDPOINTS, lambda known: changes.with_endpoints(known, endpoint, more_endpoints)
    )


async def set_handling(
    catalogue: Catalogue,
    caller: PartyId,
    name: str,
    major: int,
    handling: Handling,
    *,
    memory: Memory,
    now: datetime,
) -> Service:
    """Say how calls of the caller's service are carried from now on, all of it at once.

    BadHandling, BadMap, NotYourService, UnknownService.
    """
    _check_maps(handling)
    changing = _Changing(catalogue, caller, name, major, memory, now)
    return await changing.to(Change.HANDLING, lambda known: changes.with_handling(known, handling))


async def set_mode(
    catalogue: Catalogue,
    hub: PartyId,
    name: str,
    major: int,
    mode: Mode,
    *,
    memory: Memory,
    now: datetime,
) -> Service:
    """The hub says how contracts are minded for anybody's service. UnknownService."""
    changing = _Changing(catalogue, hub, name, major, memory, now, overseer=True)
    return await changing.to(Change.HANDLING, lambda known: changes.with_mode(known, mode))


async def set_interface(
    catalogue: Catalogue,
    caller: PartyId,
    name: str,
    major: int,
    document: Document,
    *,
    reader: Reader,
    memory: Memory,
    now: datetime,
) -> Service:
    """Describe the caller's service by a document, in the place of the one before.

    The service's operations are those of the document from then on. BadDocument, WrongKind,
    BadOperation, OperationsRemoved, OfTheHub, NotYourService, UnknownService.
    """
    known = await _own(catalogue, caller, name, major)
    changes.fits(known, document.kind)
    digest = document.digest
    if known.interface_digest == digest:
        return known
    # Slow, and so before the transaction.
    operations, version = await reader.read(document)
    changing = _Changing(catalogue, caller, name, major, memory, now)
    return await changing.to(
        Change.INTERFACE,
        lambda known: changes.with_interface(known, digest, operations, version),
        keeping=document,
    )


async def set_login(
    catalogue: Catalogue,
    caller: PartyId,
    name: str,
    major: int,
    sealed: bytes | None,
    *,
    memory: Memory,
    now: datetime,
) -> Service:
    """Say by what login the caller's SOAP server knows the hub; None: by none.

    WrongKind, OfTheHub, NotYourService, UnknownService.
    """
    changing = _Changing(catalogue, caller, name, major, memory, now)
    return await changing.to(Change.LOGIN, lambda known: changes.with_login(known, sealed))


async def interface(catalogue: Catalogue, viewer: PartyId, name: str, major: int) -> Document:
    """The document of a service that the viewer may see. UnknownService, NoInterface."""
    service = await find(catalogue, viewer, name, major)
    found = None
    if service.interface_digest is not None:
        async with catalogue.open() as shelf:
            found = await shelf.document(service.interface_digest)
    if found is None:
        raise NoInterface(
            "the service is described by no document", field="service", value=f"{name} v{major}"
        )
    return found


async def _own(catalogue: Catalogue, caller: PartyId, name: str, major: int) -> Service:
    """The caller's own service. NotYourService, UnknownService."""
    known = await find(catalogue, caller, name, major)
    if known.provider != caller:
        raise NotYourService("only its provider changes a service", field="name", value=name)
    return known


class _Changing:
    """One change of one version of a service. `overseer`: the caller is the hub, who may any."""

    def __init__(
        self,
        catalogue: Catalogue,
        caller: PartyId,
        name: str,
        major: int,
        memory: Memory,
        now: datetime,
        overseer: bool = False,
    ) -> None:
        self._catalogue = catalogue
        self._caller = caller
        self._key = name, major
        self._memory = memory
        self._now = now
        self._overseer = overseer

    async def to(
        self,
        change: Change,
        changed: Callable[[Service], Service],
        *,
        keeping: Document | None = None,
    ) -> Service:
        """The service after it, kept and told of where it differs from before."""

        async def after(shelf: Shelf, known: Service) -> Service:
            found = changed(known)
            if found != known and keeping is not None:
                await shelf.keep(keeping, self._now)
            return found

        return await self._run(change, after)

    async def end(self, action: Action, wish: Wish) -> Service:
        """Deprecated or retired, and the contracts on it ended with it."""

        async def after(shelf: Shelf, known: Service) -> Service:
            last_end = await shelf.last_end(known, self._now)
            found = lifecycle.ended(known, action, self._now, wanted=wish.sunset, last_end=last_end)
            if found != known:
                retired = found.status is Status.RETIRED
                await shelf.end_contracts(
                    found,
                    self._caller,
                    self._now,
                    sunset=self._now if retired or found.sunset is None else found.sunset,
                    own_notice=action is Action.RETIRE,
                    reason=wish.reason,
                )
            return found

        return await self._run(Change.STATUS, after)

    async def _run(
        self, change: Change, changed: Callable[[Shelf, Service], Awaitable[Service]]
    ) -> Service:
        name, major = self._key
        if not model.is_name(name):
            raise _unknown(name, major)
        async with self._catalogue.open() as shelf:
            await shelf.lock(name)
            known = self._found(await shelf.versions(name))
            after = await changed(shelf, known)
            if after != known:
                await shelf.save(after, change, self._caller, self._now)
        await self._memory.refresh()
        return after

    def _found(self, versions: Sequence[Service]) -> Service:
        name, major = self._key
        if self._overseer:
            return _version(versions, name, major, None)
        known = _version(versions, name, major, self._caller)
        if known.provider != self._caller:
            raise NotYourService("only its provider changes a service", field="name", value=name)
        return known


async def find(catalogue: Catalogue, viewer: PartyId | None, name: str, major: int) -> Service:
    """One version of a service; UnknownService, also for another's draft.

    `viewer` None: the hub itself, which sees all.
    """
    if not model.is_name(name):
        raise _unknown(name, major)
    async with catalogue.open() as shelf:
        return _version(await shelf.versions(name), name, major, viewer)


async def versions(catalogue: Catalogue, viewer: PartyId | None, name: str) -> Sequence[Service]:
    """All versions of a service that the viewer may see, the newest first. UnknownService.

    `viewer` None: the hub itself, which sees all.
    """
    found: Sequence[Service] = []
    if model.is_name(name):
        async with catalogue.open() as shelf:
            found = await shelf.versions(name)
    seen = [one for one in reversed(found) if viewer is None or one.seen_by(viewer)]
    if not seen:
        raise _unknown(name, None)
    return seen


async def successors(
    catalogue: Catalogue, viewer: PartyId | None, of: Sequence[Service]
) -> Sequence[Service]:
    """The versions that take the place of these, as far as the viewer may see them."""
    async with catalogue.open() as shelf:
        found = await shelf.replacing([one.key for one in of])
    return [one for one in found if viewer is None or one.seen_by(viewer)]


async def search(
    catalogue: Catalogue,
    viewer: PartyId,
    search: Search,
    after: tuple[str, int] | None,
    limit: int,
) -> Sequence[Service]:
    """What is there for all, in test for the viewer, and the viewer's own in any status."""
    async with catalogue.open() as shelf:
        return await shelf.search(viewer, search, after, limit)


async def everything(
    catalogue: Catalogue, after: tuple[str, int] | None, limit: int
) -> Sequence[Service]:
    """For the hub itself: all versions of all services, by name and version."""
    async with catalogue.open() as shelf:
        return await shelf.everything(after, limit)


def _version(versions: Sequence[Service], name: str, major: int, viewer: PartyId | None) -> Service:
    for service in versions:
        if service.major == major and (viewer is None or service.seen_by(viewer)):
            return service
    raise _unknown(name, major)


def _unknown(name: str, major: int | None) -> UnknownService:
    return UnknownService(
        "the catalogue has no such service",
        field="service",
        value=name[:100] if major is None else f"{name[:100]} v{major}",
        rule="a service that GET /marketplace/services lists, or a draft of your own",
    )


def _check_urls(
    endpoint: str | None, more_endpoints: Sequence[Endpoint], *, allow_loopback: bool
) -> None:
    if endpoint is not None:
        check_url(endpoint, allow_loopback=allow_loopback, field="endpoint")
    for n, one in enumerate(more_endpoints):
        check_url(one.url, allow_loopback=allow_loopback, field=f"more_endpoints.{n}.url")


def _check_maps(handling: Handling) -> None:
    for operation, one in handling.maps.items():
        for side, expression in (("request", one.request), ("answer", one.answer)):
            if expression is not None:
                ContentMap.read(f"handling.maps.{operation}.{side}", expression)
