"""Random histories of partners who negotiate, sign, hold, end, renew and change contracts: at every
moment the book allows exactly what paper does.

Law: no call is ever allowed outside [valid from, valid until), while its contract or one of the two
parties is suspended, or to a party that has not agreed; and what was true of a moment once it was
past stays true, but for what two sign late and agree to have begun before.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey

from gridroam.core import Core, core
from kit.database import Database
from marketplace.access import detached
from marketplace.contracts import flows as contract_flows
from marketplace.contracts.entries import ContractInForce
from marketplace.contracts.model import Action, UnknownContract
from marketplace.framework.document import OnPaper
from marketplace.negotiations import flows
from marketplace.negotiations.drafting import Subject
from marketplace.negotiations.drafting import Wish as Asked
from marketplace.negotiations.model import OPEN, Negotiation, State, UnknownNegotiation
from marketplace.negotiations.model import Action as Step
from marketplace.negotiations.store import SqlNegotiations
from marketplace.partners import flows as partner_flows
from marketplace.partners.model import roles_of
from marketplace.partners.standing import Action as Turn
from marketplace.services import flows as service_flows
from marketplace.services.lifecycle import Action as Publishing
from marketplace.services.model import Category, Protocol, Service, Status
from roaming.party import PartyId
from roaming.refusal import Refusal
from tests.laws.agreements import DAY, Agreed, Paper, Wish
from tests.marketplace.fakes import HandClock

HUB, PROVIDER = PartyId("EU*GRD"), PartyId("NL*FCS")
REQUESTERS = (PartyId("FR*PD1"), PartyId("DE*EVL"))
STRANGER = PartyId("NL*XYZ")
SERVICE = "load-forecast"
# The end of January, so that months are of every length.
BEGAN = datetime(2027, 12, 30, 18, tzinfo=UTC)
STEPS, MOST_STEPS = 130, 500
PASSED = timedelta(hours=12)


class Keys:
    """Everybody's key, and everybody on paper by name."""

    def __init__(self) -> None:
        self.of = {party: ECKey.generate_key("P-256") for party in (*REQUESTERS, PROVIDER, HUB)}

    async def on_paper(self, party: PartyId, at: datetime) -> OnPaper:
        return OnPaper(party, str(party))

    async def keys_of(self, party: PartyId) -> Sequence[Mapping[str, Any]]:
        return [self.of[party].as_dict(private=False)] if party in self.of else []

    def sign(
        self, header: Mapping[str, Any], content: bytes, at: datetime
    ) -> tuple[str, Mapping[str, Any]]:
        key = self.of[HUB]
        return detached.sign(header, content, "hub", key), key.as_dict(private=False)


@dataclass(slots=True)
class Market:
    """The real one, beside the paper one."""

    parts: Core
    clock: HandClock
    chance: random.Random
    paper: Paper
    keys: Keys
    talks: list[Negotiation]
    wishes: dict[tuple[str, int], Wish]
    seen: dict[tuple[PartyId, datetime], str | None]
    done: Counter[str]

    @property
    def negotiations(self) -> SqlNegotiations:
        return SqlNegotiations(self.parts.database)

    @property
    def has_seen_all(self) -> bool:
        """Whether each of the things that a law of contracts is about has happened."""
        renewed = any(one.renewals for one in self.paper.contracts.values())
        return renewed and all(self.done[thing] for thing in _MUST_HAVE_BEEN)

    async def step(self) -> None:
        absent = any(away[-1][1] is None for away in self.paper.absences.values())
        if absent and self.chance.random() < 0.3:
            await self.hold_partner()
        name, weight = zip(*_STEPS.items(), strict=True)
        [chosen] = self.chance.choices(name, weight)
        try:
            await getattr(self, chosen)()
        except Refusal as refusal:
            self.done[type(refusal).__name__] += 1
        else:
            self.done[chosen] += 1
        self.compare()

    async def begin(self) -> None:
        requester = self.chance.choice(REQUESTERS)
        by = self.chance.choice([requester, PROVIDER])
        # Who asked is left to answer: of a few negotiations more comes than of many.
        if sum(one.state in OPEN for one in self.talks) > 4:
            return
        held = [
            one.contract_id
            for one in self.paper.of(requester, PROVIDER)
            if one.ends is None or one.ends > self.clock.now
        ]
        replaces = self.chance.choice(held) if held and self.chance.random() < 0.7 else None
        subject = Subject(
            service=SERVICE,
            requester=requester if by == PROVIDER else None,
            replaces=replaces,
        )
        asked, wish = self.wish()
        begun = await flows.begin(self.negotiations, by, roles(by), subject, asked, self.clock.now)
        self.talks.append(begun)
        self.wishes[begun.negotiation_id, 1] = wish

    def wish(self) -> tuple[Asked, Wish]:
        now, chance = self.clock.now, self.chance
        begins = chance.choice([None, None, now + chance.randint(1, 20) * DAY])
        until = chance.choice([None, (begins or now) + chance.randint(2, 40) * DAY])
        wish = Wish(begins, until, chance.choice([0, 1, 1, 2]), chance.choice([0, 0, 3, 20]))
        terms = {"renews_months": wish.renews_months, "notice_days": wish.notice_days}
        return Asked(terms=terms, clauses={}, validity=(begins, until)), wish

    def talk(self) -> Negotiation:
        """One of the latest."""
        if not self.talks:
            raise UnknownNegotiation("none yet")
        going_on = [one for one in self.talks if one.state in OPEN]
        return self.chance.choice(
            going_on if going_on and self.chance.random() < 0.9 else self.talks
        )

    def somebody(self, one: Negotiation) -> PartyId:
        return self.chance.choice([*(one.requester, one.provider) * 3, STRANGER])

    def keep(self, one: Negotiation) -> None:
        self.talks = [
            one if known.negotiation_id == one.negotiation_id else known for known in self.talks
        ]

    async def propose(self) -> None:
        one = self.talk()
        by, answers = self.somebody(one), one.latest.number - self.chance.choice([0, 0, 0, 1])
        asked, wish = self.wish()
        after = await flows.propose(
            self.negotiations, by, one.negotiation_id, answers, asked, self.clock.now
        )
        assert one.concerns(by)
        self.wishes[after.negotiation_id, after.latest.number] = wish
        self.keep(after)

    async def accept(self) -> None:
        one = self.talk()
        by, number = self.somebody(one), one.latest.number - self.chance.choice([0, 0, 0, 0, 1])
        if self.chance.random() < 0.8:
            by = one.requester if one.latest.by == one.provider else one.provider
        after = await flows.accept(
            self.negotiations, self.keys, by, one.negotiation_id, number, self.clock.now
        )
        assert one.concerns(by)
        assert after.latest.number == number
        self.keep(after)

    async def leave(self) -> None:
        one = self.talk()
        by, action = self.somebody(one), self.chance.choice([Step.WITHDRAW, Step.REFUSE])
        after = await flows.end(
            self.negotiations, by, one.negotiation_id, action, None, self.clock.now
        )
        assert one.concerns(by)
        self.keep(after)

    async def sign(self) -> None:
        for one in [one for one in self.talks if one.state in OPEN]:
            by = self.somebody(one)
            if one.state is State.AGREED and self.chance.random() < 0.7:
                [first] = one.signatures
                by = one.requester if first.party == one.provider else one.provider
            if one.state not in (State.ACCEPTED, State.AGREED):
                continue
            try:
                await self.sign_one(one, by)
            except Refusal as refusal:
                self.done[type(refusal).__name__] += 1

    async def sign_one(self, one: Negotiation, by: PartyId) -> None:
        body = await flows.document(self.negotiations, one.requester, one.negotiation_id)
        key = self.keys.of.get(by, self.keys.of[HUB])
        after = await flows.sign(
            self.negotiations,
            self.keys,
            self.keys,
            HUB,
            by,
            one.negotiation_id,
            detached.sign({}, body, key.thumbprint(), key),
            memory=self.parts.book,
            now=self.clock.now,
        )
        assert one.concerns(by)
        self.keep(after)
        if after.contract_id is not None and after.contract_id not in self.paper.contracts:
            self.agree(after)

    def agree(self, one: Negotiation) -> None:
        assert one.contract_id is not None
        wish = self.wishes[one.negotiation_id, one.latest.number]
        begins = wish.begins or self.clock.now
        if one.replaces is not None:
            self.paper.contracts[one.replaces].ends_by(begins)
        self.paper.contracts[one.contract_id] = Agreed(
            one.contract_id, one.requester, one.provider, begins, wish.until, wish
        )
        # Two may agree, late, that something has been so all along: no call was allowed by it.
        for requester, at in [*self.seen]:
            if requester == one.requester and begins <= at < self.clock.now:
                assert one.replaces is None
                assert self.seen.pop((requester, at)) is None
        self.done["contracts"] += 1
        self.done["amendments"] += one.replaces is not None

    async def amend(self) -> None:
        """One asks, the other accepts and both sign; other things come between."""
        now, chance = self.clock.now, self.chance
        lasting = [
            one for one in self.paper.contracts.values() if one.ends is None or one.ends > now
        ]
        if not lasting:
            return
        old = chance.choice(lasting)
        asker, other = chance.sample([old.requester, old.provider], 2)
        subject = Subject(
            service=SERVICE,
            requester=old.requester if asker == PROVIDER else None,
            replaces=old.contract_id,
        )
        asked, wish = self.wish()
        one = await flows.begin(self.negotiations, asker, roles(asker), subject, asked, now)
        self.talks.append(one)
        self.wishes[one.negotiation_id, 1] = wish
        await self.meanwhile()
        one = await flows.accept(
            self.negotiations, self.keys, other, one.negotiation_id, 1, self.clock.now
        )
        self.keep(one)
        for by in chance.sample([asker, other], 2):
            await self.meanwhile()
            await self.sign_one(one, by)

    async def meanwhile(self) -> None:
        if self.chance.random() < 0.15:
            await self.chance.choice([self.change, self.pass_time])()
            self.compare()

    async def change(self) -> None:
        if not self.paper.contracts:
            return
        one = self.chance.choice([*self.paper.contracts.values()][-4:])
        by = self.chance.choice([one.requester, one.provider, STRANGER])
        held_by = [who for who, _, end in one.holds if end is None]
        if held_by and self.chance.random() < 0.5:
            # What nobody resumes is not amended, and soon nothing is in force.
            by, action = held_by[0], Action.RESUME
        else:
            action = self.chance.choice([*Action])
        if by == STRANGER:
            with pytest.raises(UnknownContract):
                await self.ask(one, by, action)
            return
        changed = await self.ask(one, by, action)
        now = self.clock.now
        if action is Action.SUSPEND and not any(
            (who, end) == (by, None) for who, _, end in one.holds
        ):
            one.holds.append((by, now, None))
        if action is Action.RESUME:
            one.holds = [
                (who, since, now if (who, end) == (by, None) else end)
                for who, since, end in one.holds
            ]
        if action is Action.TERMINATE:
            one.ends_by(now + one.wish.notice_days * DAY)
        if action is Action.DO_NOT_RENEW:
            assert one.until is not None
            one.ends_by(one.until)
        self.done[action] += 1
        assert changed.contract_id == one.contract_id

    async def ask(self, one: Agreed, by: PartyId, action: Action) -> Any:
        return await contract_flows.change(
            self.parts.contracts,
            by,
            one.contract_id,
            action,
            memory=self.parts.book,
            now=self.clock.now,
        )

    async def hold_partner(self) -> None:
        gone = [party for party, away in self.paper.absences.items() if away[-1][1] is None]
        # Nobody is away for long: without both sides nothing happens.
        party = self.chance.choice(gone or [*REQUESTERS, PROVIDER])
        away = self.paper.absences.setdefault(party, [])
        action = Turn.RESTORE if away and away[-1][1] is None else Turn.SUSPEND
        await partner_flows.change_standing(
            self.parts.partners,
            HUB,
            party,
            action,
            hub=HUB,
            memory=self.parts.book,
            now=self.clock.now,
        )
        if action is Turn.SUSPEND:
            away.append([self.clock.now, None])
        else:
            away[-1][1] = self.clock.now

    async def pass_time(self) -> None:
        until = self.clock.now + self.chance.choice([1, 1, 2, 4, 16, 60]) * PASSED
        while self.clock.now < until:
            before = self.clock.now
            self.clock.now = before + PASSED
            # What is so of a moment that has passed stays so.
            moment = before + self.chance.random() * PASSED
            for requester in REQUESTERS:
                self.seen[requester, moment] = self.found(requester, moment)
            self.paper.time_passes(self.clock.now)
            await contract_flows.tend(
                self.parts.contracts, memory=self.parts.book, now=self.clock.now
            )
            await flows.lapse(self.negotiations, HUB, self.clock.now)
        for one in [one for one in self.talks if one.state in OPEN]:
            self.keep(await flows.find(self.negotiations, one.requester, one.negotiation_id))

    def found(self, requester: PartyId, at: datetime) -> str | None:
        found = self.parts.book.find(requester, PROVIDER, SERVICE, 1, at)
        return found.contract_id if isinstance(found, ContractInForce) else None

    def compare(self) -> None:
        now = self.clock.now
        moments = [now + days * DAY for days in (-30, -1, 0, 1, 20, 45)]
        for one in self.paper.contracts.values():
            moments += [one.begins, *([] if one.ends is None else [one.ends])]
        for at in [one + tick for one in moments for tick in (-_TICK, timedelta(0))]:
            for requester in REQUESTERS:
                expected = self.paper.in_force(requester, PROVIDER, at)
                assert self.found(requester, at) == expected, (requester, at, self.paper)
            assert self.found(STRANGER, at) is None
        for (requester, at), before in self.seen.items():
            assert self.found(requester, at) == before


_TICK = timedelta(microseconds=1)
_STEPS: Mapping[str, int] = {
    "begin": 4,
    "propose": 2,
    "accept": 6,
    "sign": 8,
    "leave": 1,
    "amend": 3,
    "change": 5,
    "hold_partner": 1,
    "pass_time": 5,
}

_MUST_HAVE_BEEN = (
    "contracts",
    "amendments",
    Action.SUSPEND,
    Action.RESUME,
    Action.TERMINATE,
)


def roles(party: PartyId) -> frozenset[str]:
    return frozenset({"service-provider"} if party == PROVIDER else {"evse-operator"})


async def market(database: Database, seed: int) -> Market:
    clock = HandClock(BEGAN)
    parts = core(database, bytes(32), hub=HUB, clock=clock)
    await parts.open_the_market()
    for party in (*REQUESTERS, PROVIDER, STRANGER):
        await partner_flows.register(
            parts.partners,
            party,
            roles_of(roles(party)),
            str(party),
            hasher=parts.checker,
            now=BEGAN,
        )
    await parts.book.load()
    described = Service(
        name=SERVICE,
        major=1,
        provider=PROVIDER,
        status=Status.DRAFT,
        category=Category.VALUE_ADDED,
        description="What a charge point will draw",
        endpoint="https://forecasts.example/live",
        protocol=Protocol.REST,
        documentation="",
        operations=(),
        registered_at=BEGAN,
    )
    shelf, memory = parts.catalogue, parts.book
    await service_flows.register(shelf, described, memory=memory, allow_loopback=False, now=BEGAN)
    await service_flows.change(
        shelf, PROVIDER, SERVICE, 1, Publishing.PUBLISH, memory=memory, now=BEGAN
    )
    chance = random.Random(seed)
    return Market(parts, clock, chance, Paper(), Keys(), [], {}, {}, Counter())


@pytest.mark.parametrize("seed", [1, 2, 4, 5])
async def test_whatever_partners_do_the_book_allows_what_paper_does(
    database: Database, seed: int
) -> None:
    found = await market(database, seed)
    for n in range(MOST_STEPS):
        if n >= STEPS and found.has_seen_all:
            break
        await found.step()
    assert found.has_seen_all, found.done
