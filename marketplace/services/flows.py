"""What happens to services: they are registered, found, published, suspended, retired."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kit.outside_url import check_url
from marketplace.services import model
from marketplace.services.model import (
    Action,
    NotYourService,
    Service,
    ServiceExists,
    UnknownService,
)
from marketplace.services.ports import Catalogue, Memory, Shelf
from roaming.party import PartyId


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
    is the service as it stands. BadService, BadUrl, ServiceExists.
    """
    model.checked(service)
    if service.endpoint is not None:
        check_url(service.endpoint, allow_loopback=allow_loopback, field="endpoint")
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
    await shelf.add(service, now)
    return service


async def change(
    catalogue: Catalogue,
    caller: PartyId,
    name: str,
    major: int,
    action: Action,
    *,
    memory: Memory,
    now: datetime,
) -> Service:
    """Publish, suspend or retire the caller's service; repeating it changes nothing.

    ServiceCannot, NotYourService, UnknownService.
    """
    if not model.is_name(name):
        raise _unknown(name, major)
    async with catalogue.open() as shelf:
        await shelf.lock(name)
        known = _version(await shelf.versions(name), name, major, caller)
        if known.provider != caller:
            raise NotYourService("only its provider changes a service", field="name", value=name)
        changed = model.changed(known, action)
        if changed is not known:
            await shelf.save_status(changed, caller, now)
    await memory.refresh()
    return changed


async def find(catalogue: Catalogue, viewer: PartyId, name: str, major: int) -> Service:
    """One version of a service; UnknownService, also for another's draft."""
    if not model.is_name(name):
        raise _unknown(name, major)
    async with catalogue.open() as shelf:
        return _version(await shelf.versions(name), name, major, viewer)


async def search(
    catalogue: Catalogue,
    viewer: PartyId,
    words: str,
    after: tuple[str, int] | None,
    limit: int,
) -> Sequence[Service]:
    """Published and suspended services of all, and the viewer's own in any status."""
    async with catalogue.open() as shelf:
        return await shelf.search(viewer, words.replace("\x00", " "), after, limit)


def _version(versions: Sequence[Service], name: str, major: int, viewer: PartyId) -> Service:
    for service in versions:
        if service.major == major and service.seen_by(viewer):
            return service
    raise _unknown(name, major)


def _unknown(name: str, major: int) -> UnknownService:
    return UnknownService(
        "the catalogue has no such service", field="service", value=f"{name[:100]} v{major}"
    )
