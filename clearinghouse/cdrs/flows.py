"""How records are taken in: a whole batch in one commit, and nobody is answered before it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from clearinghouse.cdrs import batch, life, model, rules
from clearinghouse.cdrs.batch import Outcome
from clearinghouse.cdrs.life import CannotBecome, State, Step
from clearinghouse.cdrs.model import Cdr, Customer, Key, Reason, Submission, UnknownCdr
from clearinghouse.cdrs.ports import Agreements, Authorisations, Books, Customers, Evses, Meters
from clearinghouse.cdrs.rules import Facts
from clearinghouse.meter_values.model import Check
from clearinghouse.rating.model import Rated, Rater, UnreadableTerms
from clearinghouse.tax.flows import treat
from clearinghouse.tax.ports import Businesses
from kit.clock import Clock
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.events import EventType
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.pricing import BadCharge
from roaming.token import TokenUid

# Pricing is pure reckoning: between slices the other callers of this process get their turn.
_SLICE = 32


@dataclass(frozen=True, slots=True)
class Intake:
    """Everything that taking in records needs, put together once."""

    books: Books
    evses: Evses
    agreements: Agreements
    customers: Customers
    authorisations: Authorisations
    meters: Meters
    rater: Rater
    clock: Clock
    businesses: Businesses


@dataclass(frozen=True, slots=True)
class _Known:
    """What was looked up for a batch."""

    evses: Mapping[EvseId, model.Evse]
    authorisations: Mapping[str, model.Authorisation]
    contracts: Mapping[ContractId, Customer]
    tokens: Mapping[TokenUid, Customer]
    meters: Mapping[bytes, Check]
    """By the content of the record."""


async def receive(
    submissions: Sequence[Submission],
    *,
    intake: Intake,
    actors: Mapping[Key, str | None] = MappingProxyType({}),
) -> list[Outcome]:
    """Validate, price and book a batch of records; the outcome of each, in order. `actors`: who
    handed each in.

    A record that is known already costs a look; the rest share one transaction, which holds the
    records, their ledger entries and their events.
    """
    async with intake.books.read() as book:
        booked = await book.booked({_key(one) for one in submissions})
    fresh = [one for one in submissions if _key(one) not in booked]
    outcomes = iter(await _book(fresh, intake, actors) if fresh else ())
    return [
        batch.outcome_of_known(booked[_key(one)], one) if _key(one) in booked else next(outcomes)
        for one in submissions
    ]


async def approve(
    keys: Sequence[Key], *, evsp: PartyId, books: Books, clock: Clock
) -> dict[Key, State | CannotBecome | UnknownCdr]:
    """The EVSP agrees with what it owes. By record: the state it had, or why it cannot be approved.

    What is approved already is told again, and nothing is written.
    """
    outcomes: dict[Key, State | CannotBecome | UnknownCdr] = {}
    # As intake writes: the operators' other writers wait, and nobody in a circle.
    async with books.write({operator for operator, _ in keys}) as book:
        held = await book.held(evsp, set(keys))
        moved: dict[Key, State] = {}
        for key in keys:
            operator, cdr_id = key
            if key not in held:
                outcomes[key] = UnknownCdr(
                    f"no cdr {cdr_id} of {operator}", field="cdr_id", value=cdr_id
                )
                continue
            try:
                reached = life.after(held[key], Step.APPROVE)
            except CannotBecome as refusal:
                outcomes[key] = refusal
                continue
            outcomes[key] = held[key]
            if reached is not held[key]:
                moved[key] = reached
        if moved:
            now = clock()
            await book.move(moved, [_approved(*key, evsp, now) for key in moved])
    return outcomes


def _approved(operator: PartyId, cdr_id: str, evsp: PartyId, now: datetime) -> NewEvent:
    return NewEvent(
        stream=stream_of(operator),
        type=EventType.CDR_APPROVED,
        party=operator,
        body={"cdr_id": cdr_id, "debtor": evsp, "creditor": operator},
        occurred_at=now,
    )


async def _book(
    submissions: Sequence[Submission], intake: Intake, actors: Mapping[Key, str | None]
) -> list[Outcome]:
    known = await _look_up(submissions, intake)
    candidates: list[Cdr] = []
    now = intake.clock()
    for index, submission in enumerate(submissions):
        if submission.credit_reference_id is not None:
            candidates.append(_credit(submission, now))
        else:
            candidates.append(_examine(submission, known, intake, now))
        if index % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
    async with intake.books.write({one.operator for one in submissions}) as book:
        # Looked at again, now that no other writer of these operators is under way.
        referred = {key for cdr in candidates if (key := batch.referred_key(cdr)) is not None}
        booked = await book.booked({*(cdr.key for cdr in candidates), *referred})
        fingerprints = await book.fingerprints(
            {cdr.fingerprint for cdr in candidates if cdr.fingerprint is not None}
        )
        candidates = batch.with_overlaps(
            candidates,
            await book.overlapping([cdr for cdr in candidates if cdr.fingerprint is not None]),
        )
        rejected = await book.rejected(
            {
                cdr.key
                for cdr in candidates
                if not cdr.booked
                or cdr.fingerprint in fingerprints
                or batch.referred_key(cdr) is not None
            }
        )
        dates = await book.value_dates([cdr.submission.end for cdr in candidates])
        settled = batch.settle_batch(
            [
                cdr if date == cdr.submission.end else replace(cdr, moved_to=date)
                for cdr, date in zip(candidates, dates, strict=True)
            ],
            booked,
            rejected,
            fingerprints,
        )
        if settled.to_write:
            events = [event_of(cdr, actors.get(cdr.key)) for cdr in settled.to_write]
            await book.record(settled.to_write, events, settled.changed)
    return settled.outcomes


async def _look_up(submissions: Sequence[Submission], intake: Intake) -> _Known:
    found = await intake.evses.find_many({one.evse_id for one in submissions})
    return _Known(
        evses={
            evse_id: model.Evse(operator, time_zone, max_power_w, country)
            for evse_id, (operator, time_zone, max_power_w, country) in found.items()
        },
        authorisations=await intake.authorisations.find(
            {one.authorisation_id for one in submissions if one.authorisation_id is not None}
        ),
        contracts=await intake.customers.by_contract(
            {one.contract_id for one in submissions if one.contract_id is not None}
        ),
        tokens=await intake.customers.by_token(
            {
                one.token_uid
                for one in submissions
                if one.contract_id is None and one.token_uid is not None
            }
        ),
        meters=await _checked(submissions, intake),
    )


async def _checked(submissions: Sequence[Submission], intake: Intake) -> Mapping[bytes, Check]:
    bringing = [one for one in submissions if one.signed_meter_values]
    if not bringing:
        return {}
    checks = await intake.meters.check(
        [((one.operator, one.evse_id), one.signed_meter_values) for one in bringing]
    )
    return {
        one.content: check for one, check in zip(bringing, checks, strict=True) if check is not None
    }


def _examine(cdr: Submission, known: _Known, intake: Intake, now: datetime) -> Cdr:
    facts = Facts(
        now=now,
        evse=known.evses.get(cdr.evse_id),
        authorisation=known.authorisations.get(cdr.authorisation_id or ""),
        customer=_customer(cdr, known),
        agreed=False,
        meter=known.meters.get(cdr.content),
    )
    home = rules.home(cdr, facts)
    agreement = None
    if home is not None:
        agreement = intake.agreements.between(cdr.operator, home[0], cdr.start)
        agreed = agreement is not None and agreement.covers(cdr.evse_id)
        facts = replace(facts, agreed=agreed)
    state, reasons = rules.examine(cdr, facts)
    rated: Rated | None = None
    if state is not State.REJECTED:
        assert home is not None
        assert agreement is not None
        assert facts.evse is not None
        point = facts.evse.country or cdr.evse_id.party.country
        try:
            rated = intake.rater.rate(
                agreement.at(cdr.evse_id),
                cdr.charge,
                cdr_zone=cdr.time_zone,
                evse_zone=facts.evse.time_zone,
                vat=treat(intake.businesses, cdr.operator, home[0], point, cdr.end),
            )
        except (UnreadableTerms, BadCharge) as unreadable:
            state, reasons = rules.examine(cdr, replace(facts, rateable=False))
            reasons = tuple(
                Reason(one.name, unreadable.detail) if one.name == "tariff-unreadable" else one
                for one in reasons
            )
    if rated is not None and cdr.total_cost is not None:
        state, reasons = rules.examine(cdr, replace(facts, price=rated.excl_vat))
    evsp, contract_id = home or (None, None)
    # Where an EVSP said yes without naming a contract, the card is what tells its charges apart.
    owed_by = contract_id or cdr.token_uid or cdr.authorisation_id or ""
    return Cdr(
        submission=cdr,
        state=state,
        reasons=reasons,
        evsp=evsp,
        contract_id=contract_id,
        rated=rated,
        fingerprint=None if rated is None else model.fingerprint(cdr, owed_by),
        recorded_at=now,
        notices=rules.notices(cdr, facts),
        meter=facts.meter,
    )


def _credit(credit: Submission, now: datetime) -> Cdr:
    """A credit before it is known what it takes back: nothing is priced, its amounts are that's."""
    return Cdr(
        submission=credit,
        state=State.ACCEPTED,
        reasons=(),
        evsp=None,
        contract_id=None,
        rated=None,
        fingerprint=None,
        recorded_at=now,
    )


def _customer(cdr: Submission, known: _Known) -> Customer | None:
    """By the contract id where there is one, else by the token, else by the authorisation."""
    if cdr.contract_id is not None:
        return known.contracts.get(cdr.contract_id)
    if cdr.token_uid is not None:
        return known.tokens.get(cdr.token_uid)
    return None


def _key(submission: Submission) -> Key:
    return submission.operator, submission.cdr_id


def event_of(cdr: Cdr, actor: str | None) -> NewEvent:
    """What the log tells of a record. The token uid is personal data and stays out of it; so does
    the contract id."""
    told = cdr.submission
    body: dict[str, object] = {
        "cdr_id": told.cdr_id,
        "evse_id": told.evse_id,
        "state": cdr.state.value,
        "reasons": [reason.name for reason in cdr.reasons],
        "energy_wh": told.energy_wh,
        "start": told.start,
        "end": told.end,
        "debtor": cdr.evsp,
        "creditor": told.operator,
    }
    if cdr.rated is not None:
        body["price"] = cdr.rated.amounts()
    if told.credit_reference_id is not None:
        body["credit_reference_id"] = told.credit_reference_id
    if told.replaces is not None:
        body["replaces"] = told.replaces
    if cdr.moved_to is not None:
        body["value_at"] = cdr.moved_to
    return NewEvent(
        stream=stream_of(told.operator),
        type=EventType.CDR_ACCEPTED if cdr.booked else EventType.CDR_REJECTED,
        party=told.operator,
        body=body,
        occurred_at=told.end,
        correlation_id=told.authorisation_id,
        actor=actor,
    )


def stream_of(operator: PartyId) -> str:
    return f"cdrs:{operator}"
