"""How a service call goes through the one door: seven steps, in the order of `pass_through`.

Every service is reached this way, the hub's own like a partner's. Nothing is let through that no
step has allowed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.calls import duties
from gateway.calls.endings import telling_of_end
from gateway.calls.holding import Pot
from gateway.calls.model import Call, Denial, Lane, Limits, Mode, Reason, RefusedCall, Service
from gateway.calls.paths import Operations
from gateway.calls.ports import (
    Answer,
    Assertions,
    Body,
    Carry,
    Catalogue,
    Contracts,
    Identity,
    Meter,
    Quotas,
    Refusals,
    Verifier,
    Words,
)
from gateway.calls.refusals import (
    CallerGone,
    CallerTooBusy,
    CallerUnknown,
    CallRefused,
    CertificateMismatch,
    ContractsTooOld,
    NotCovered,
    NotServedHere,
    OperationUnknown,
    OverLimit,
    QuotaUnreadable,
    SandboxNotServed,
    ScopeMissing,
    ServiceSuspended,
    ServiceUnknown,
    SignatureInvalid,
)
from gateway.usage.model import NotRecorded, UsageRecord
from kit.client_certificate import of_scope
from roaming.refusal import Refusal, Unauthenticated

# A detached JWS over the body, the caller's or ours; and how a caller asks for ours (RFC 7240).
SIGNATURE, PREFER = b"x-jws-signature", b"prefer"
_READS = frozenset(("GET", "HEAD"))
SERVICES = "services"
"""The scope of a token that calls services."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the steps work with. `local`: services of this process, by name and major version.

    `sandboxed`: those of them that a caller of the sandbox may read.
    """

    verifier: Verifier
    catalogue: Catalogue
    contracts: Contracts
    quotas: Quotas
    meter: Meter
    refusals: Refusals
    local: Mapping[tuple[str, int], Carry]
    operations: Mapping[tuple[str, int], Operations]
    remote: Carry
    assertions: Assertions
    limits: Limits
    lanes: dict[str, Lane]
    pot: Pot
    sandboxed: frozenset[str] = frozenset()
    bridge: Bridge | None = None
    signing: Signing | None = None


Opening = Callable[[Call, Body, Answer, Door], Awaitable[Carry]]
"""Steps 1 to 3 for a caller who speaks otherwise; how its call, once permitted, is carried."""


class Entrance(Protocol):
    """What stands at a path of its own behind a service's name, as `/soap`."""

    def words(self, call: Call, door: Door) -> Words | None:
        """How a no is told here; None: in a problem document."""
        ...

    async def enter(self, call: Call, body: Body, answer: Answer, door: Door) -> None: ...


class Bridge(Protocol):
    """For callers and providers that do not speak alike."""

    @property
    def entrances(self) -> Mapping[str, Entrance]:
        """By the path behind the service's name."""
        ...

    async def turn(self, call: Call, body: Body, door: Door) -> Carry:
        """How a permitted call is carried whose words are not those of its provider.

        Raises refusals of what cannot be said in the provider's words: before anything is counted.
        """
        ...


class Signing(Protocol):
    """For callers who sign what they ask, or want what they are answered signed."""

    async def begin(self, call: Call, body: Body, answer: Answer) -> tuple[Body, Answer]:
        """Body and answer for the rest of the way. Raises SignatureInvalid, BodyTooLarge."""
        ...


async def pass_through(
    call: Call, body: Body, answer: Answer, door: Door, opening: Opening | None = None
) -> None:
    """Carry one call from the caller to the service and the answer back; or say why not."""
    carry: Carry | None = None
    try:
        try:
            if opening is None:
                identify(call, door)
                admit(call, door)
                service = locate(call, door)
                permit(call, door)
                if SIGNATURE in call.headers or PREFER in call.headers:
                    body, answer = await sign(call, body, answer, door)
                if service.aside:
                    carry = telling_of_end(await turn(call, body, door), service)
            else:
                if SIGNATURE in call.headers:
                    raise _no_signature("an envelope is not signed in this way")
                carry = telling_of_end(await opening(call, body, answer, door), call.service)
            await reserve(call, door)
        except Refusal as refusal:
            tell(call, refusal, door)
            await answer.refuse(refusal)
            return
        try:
            await forward(call, body, answer, door, carry)
        except BaseException:
            call.status = call.status or 500
            raise
        finally:
            meter(call, door)
    finally:
        leave(call)


def identify(call: Call, door: Door) -> None:
    """1 Who is calling: the access token (RFC 6750, section 2.1: in the header and nowhere else).

    Raises CallerUnknown, and ScopeMissing for a token that is good for other things.
    """
    credentials = call.headers.get(b"authorization", b"")
    if credentials[:7].lower() != b"bearer ":
        raise CallerUnknown(
            "the call carries no access token",
            field="Authorization",
            rule="Authorization: Bearer <token>, with a token from /oauth/token",
        )
    try:
        identity = door.verifier.verify(credentials[7:].decode("latin-1"))
    except Unauthenticated as refusal:
        raise CallerUnknown(
            refusal.detail,
            field="Authorization",
            rule=refusal.rule or "ask /oauth/token for a new access token",
        ) from None
    stand_for(call, identity)


def stand_for(call: Call, identity: Identity) -> None:
    """The call is made by this client. Raises CertificateMismatch, ScopeMissing."""
    call.party = identity.party
    call.roles = identity.roles
    call.client_id = identity.client_id
    call.sandbox = identity.sandbox
    call.person = identity.person
    if identity.certificate is not None:
        holds(identity.certificate, call.scope)
    if SERVICES not in identity.scopes:
        raise ScopeMissing(SERVICES)
    if identity.person is not None:
        duties.require(call.method, f"{SERVICES}/{call.service_name}", identity.duties)


def holds(thumbprint: str, scope: Mapping[str, Any]) -> None:
    """A token that was stolen is of no use without the key of its certificate (RFC 8705, 3).

    Raises CertificateMismatch.
    """
    shown = of_scope(scope)
    if shown is None or shown.thumbprint != thumbprint:
        raise CertificateMismatch


def admit(call: Call, door: Door) -> None:
    """No client may take so much of this process that others starve. Raises CallerTooBusy."""
    assert call.client_id is not None
    now_s = call.started_ns / 1e9
    lane = door.lanes.get(call.client_id)
    if lane is None:
        lane = door.lanes[call.client_id] = Lane(door.limits.calls_per_second, now_s)
    reason = lane.take(now_s, door.limits)
    if reason is not None:
        if reason is Reason.RATE_EXCEEDED:
            rule = f"at most {door.limits.calls_per_second:g} calls a second"
        else:
            rule = f"at most {door.limits.calls_at_once} calls at once"
        raise CallerTooBusy(
            f"client {call.client_id} calls too much", reason, rule=f"{rule}; then try again"
        )
    call.lane = lane


def leave(call: Call) -> None:
    """The call no longer counts among its client's calls at once, and holds nothing any more."""
    if call.lane is not None:
        call.lane.leave()
        call.lane = None
    if call.holding is not None:
        call.holding.let_go()


def locate(call: Call, door: Door) -> Service:
    """2 Which service, version and operation. Refuses to go by a table that may be out of date.

    Raises ContractsTooOld, ServiceUnknown, ServiceSuspended, SandboxNotServed, NotServedHere,
    OperationUnknown.
    """
    service = find(call, door)
    if service.remote:
        call.operation = f"{call.method} {call.rest}"
        if service.operations is not None:
            name = service.operations.name(call.method, call.rest)
            if name is not None:
                call.operation, call.alias = name, call.operation
        return service
    call.operation = operations_here(service, door).name(call.method, call.rest)
    if call.operation is None:
        raise OperationUnknown(
            f"{service.name} has no {call.method} {call.rest[:200]}",
            field="path",
            value=call.rest[:200],
            rule="an operation of the service: see /openapi.json",
        )
    return service


def find(call: Call, door: Door) -> Service:
    """Which service and version. Raises ContractsTooOld, ServiceUnknown, ServiceSuspended."""
    age_s = door.contracts.age_s(call.at)
    if age_s > door.limits.oldest_contracts_s:
        raise ContractsTooOld(
            f"the contract table was last current {age_s:.0f} seconds ago",
            rule=f"at most {door.limits.oldest_contracts_s:g} seconds; try again shortly",
        )
    service = door.catalogue.find_service(call.service_name, call.major)
    if service is None or not (service.published or may_try(call, service)):
        raise ServiceUnknown(
            f"there is no service {call.service_name} version {call.major}",
            field="service",
            value=call.service_name,
            rule="a published service of the catalogue: GET /marketplace/services",
        )
    call.service = service
    if service.suspended:
        raise ServiceSuspended(
            f"{service.name} is suspended by its provider or the hub",
            field="service",
            value=service.name,
            rule=f"ask {service.provider}, its provider",
        )
    if call.sandbox:
        _has_sandbox(call, service, door)
    return service


def operations_here(service: Service, door: Door) -> Operations:
    """The operations of a service of this process. Raises NotServedHere."""
    key = (service.name, service.major)
    operations = door.operations.get(key)
    if operations is None or key not in door.local:
        raise NotServedHere(
            f"{service.name} is not part of this process", rule="call another process of the hub"
        )
    return operations


def may_try(call: Call, service: Service) -> bool:
    """Whether what is not published yet is there for this call, if a contract allows it."""
    return call.sandbox and (service.in_test or call.party == service.provider)


def _own_sandbox(call: Call, service: Service) -> bool:
    """A provider tries its own service, also before anybody else may see it."""
    return call.sandbox and call.party == service.provider


def _has_sandbox(call: Call, service: Service, door: Door) -> None:
    """Raises SandboxNotServed, rather than let a call that is tried out touch what is live."""
    if service.sandbox_endpoints:
        return
    if service.endpoint is not None:
        rule = f"ask {service.provider} for a sandbox endpoint, or call with a live client"
    elif service.name not in door.sandboxed:
        rule = "call it with a live client: what it does, counts"
    elif call.method not in _READS:
        rule = "GET and HEAD in the sandbox; what changes data is called with a live client"
    else:
        return
    raise SandboxNotServed(
        f"{service.name} has no sandbox for {call.method}",
        field="environment",
        value="sandbox",
        rule=rule,
    )


def permit(call: Call, door: Door) -> None:
    """3 Which contract: deny by default. Raises NotCovered with its reason.

    A provider needs none with itself for its own sandbox. What is tried out there under one has
    neither a price nor a quota.
    """
    service, party, operation = call.service, call.party, call.operation
    assert service is not None
    assert party is not None
    assert operation is not None
    if service.mode is Mode.OFF or _own_sandbox(call, service):
        return
    find = door.contracts.find_to_try if call.sandbox else door.contracts.find
    found = find(party, service.name, service.major, operation, call.at)
    if (
        call.alias is not None
        and isinstance(found, Denial)
        and found.reason is Reason.OPERATION_NOT_COVERED
    ):
        found = find(party, service.name, service.major, call.alias, call.at)
    if not isinstance(found, Denial):
        call.grant = found
    elif service.mode is Mode.SHADOW:
        _note(call, found.reason, found.contract_id, door, shadow=True)
    else:
        raise _not_covered(call, service, found)


def _not_covered(call: Call, service: Service, denial: Denial) -> NotCovered:
    what = f"{call.party} may not call {service.name} ({call.operation})"
    next_step = {
        Reason.NO_CONTRACT: f"agree a contract with {service.provider}: GET /marketplace/offerings",
        Reason.CONTRACT_SUSPENDED: "who suspended it resumes it: the history of GET"
        f" /marketplace/contracts/{denial.contract_id}",
        Reason.CONTRACT_EXPIRED: "agree a new contract: GET /marketplace/offerings",
        Reason.CONTRACT_TERMINATED: "agree a new contract: GET /marketplace/offerings",
        Reason.NOT_YET_VALID: "wait until the contract begins",
        Reason.OPERATION_NOT_COVERED: "agree a contract whose operations include this one",
        Reason.PARTNER_SUSPENDED: "one of the two is suspended: ask the hub's operator",
        Reason.PARTNER_LEFT: "one of the two has left the market: agree a contract with another",
    }.get(denial.reason, f"ask {service.provider}")
    return NotCovered(f"{what}: {denial.reason}", denial, rule=next_step)


async def turn(call: Call, body: Body, door: Door) -> Carry:
    """How it is carried aside from the straight way: what is asked is put into the provider's words
    before it is counted, since a bad question costs nobody.

    Raises what `Bridge.turn` raises, and NotServedHere where this process has no bridge.
    """
    service = call.service
    assert service is not None
    if not service.turned:
        return straight_to(service, door)
    if door.bridge is None:
        raise NotServedHere("this process has no bridge", rule="call another process of the hub")
    return await door.bridge.turn(call, body, door)


async def sign(call: Call, body: Body, answer: Answer, door: Door) -> tuple[Body, Answer]:
    """What the caller signed is verified before it goes anywhere. Raises what `begin` raises."""
    if door.signing is not None:
        return await door.signing.begin(call, body, answer)
    if SIGNATURE in call.headers:
        raise _no_signature("this process verifies no signatures")
    return body, answer


def _no_signature(why: str) -> SignatureInvalid:
    """Passed on unverified, it would be taken for one that we have verified."""
    return SignatureInvalid(why, field="X-JWS-Signature", rule="send it without")


async def reserve(call: Call, door: Door) -> None:
    """4 The contract's quota: one call is taken before it is made.

    Raises QuotaExceeded, PackUsedUp, QuotaUnreadable, and NotRecorded where nothing could be
    metered. Most contracts have no quota, and pay nothing for it.
    """
    grant = call.grant
    if door.meter.full:
        raise NotRecorded("usage cannot be recorded now", rule="try again shortly")
    if grant is None or not grant.quota:
        return
    try:
        call.allowance = await door.quotas.reserve(grant.contract_id, grant.quota, call.at)
    except (OverLimit, QuotaUnreadable) as refusal:
        if call.service is None or call.service.mode is not Mode.SHADOW:
            raise
        # What cannot be read would not have been refused for what the caller did.
        if isinstance(refusal, OverLimit):
            _note(call, refusal.reason, grant.contract_id, door, shadow=True)


async def forward(
    call: Call, body: Body, answer: Answer, door: Door, carry: Carry | None = None
) -> None:
    """5 To the service and back. A call that failed on the way gives its quota back.

    Not so a call whose caller went away: the service may have done the work.
    """
    service = call.service
    assert service is not None
    if carry is None:
        carry = straight_to(service, door)
    if service.remote:
        call.credentials = door.assertions.credentials(call)
    try:
        await carry(call, body, answer)
    except Refusal as refusal:
        if call.allowance is not None and not isinstance(refusal, CallerGone):
            door.quotas.release(call.allowance.leases)
        await answer.refuse(refusal)


def straight_to(service: Service, door: Door) -> Carry:
    """The way to a service for a call as it is."""
    return door.remote if service.remote else door.local[service.name, service.major]


def meter(call: Call, door: Door) -> None:
    """6 One usage record for each call that was forwarded. A billable one is written already, but
    for what has gone out since.
    """
    if not call.metered:
        call.metered = True
        door.meter.note(usage_of(call, billable=False))
    elif call.bytes_out > call.metered_bytes_out:
        door.meter.note(usage_of(call, billable=True))


async def meter_billable(call: Call, door: Door) -> None:
    """6 A call that costs money is recorded, durably, before its 2xx is given away.

    Raises NotRecorded; then the answer stays here, and the caller may ask again.
    """
    assert not call.metered, "a call is recorded once"
    await door.meter.commit(usage_of(call, billable=True))
    call.metered = True
    call.metered_bytes_out = call.bytes_out


def usage_of(call: Call, *, billable: bool) -> UsageRecord:
    assert call.service is not None
    assert call.party is not None
    assert call.operation is not None
    return UsageRecord(
        call.request_id,
        call.at,
        call.contract_id,
        call.party,
        call.service.provider,
        call.service.name,
        call.service.major,
        call.operation,
        call.method,
        call.meant,
        (time.perf_counter_ns() - call.started_ns) // 1000,
        call.bytes_in,
        call.bytes_out,
        billable,
        call.sandbox,
        call.units,
    )


def tell(call: Call, refusal: Refusal, door: Door) -> None:
    """A call refused for what its caller did or did not agree is an event in the log."""
    if isinstance(refusal, CallRefused):
        _note(call, refusal.reason, refusal.contract_id, door)


def _note(
    call: Call, reason: Reason, contract_id: str | None, door: Door, *, shadow: bool = False
) -> None:
    door.refusals.note(
        RefusedCall(
            at=call.at,
            caller=call.party,
            client_id=call.client_id,
            service=None if call.service is None else call.service.name,
            operation=call.operation,
            reason=reason,
            contract_id=contract_id or call.contract_id,
            request_id=call.request_id,
            shadow=shadow,
            sandbox=call.sandbox,
        )
    )
