"""What reports ask of the marketplace: contracts, their prices, and the level of service agreed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal

from fastapi import APIRouter

from gateway.reports import routes, tasks
from gateway.reports.model import Agreement, Level, Listed, Question
from gateway.reports.store import SqlDays, SqlRoller
from gridroam.core import Core
from kit.clock import Clock
from kit.encoding import encode_json
from kit.worker import Worker
from marketplace.contracts.life import end_to_tell
from marketplace.contracts.model import Contract
from marketplace.contracts.register import SqlRegister
from marketplace.framework.model import Clauses
from marketplace.offerings.model import ServiceTerms

AT_ONCE = 1_000
_NOTHING = Decimal(0)
SERVICE_LEVEL = "service-level"
"""The module whose parameters reports hold a service to."""


def router(parts: Core) -> APIRouter:
    return routes.router(SqlDays(parts.database), agreements(parts), parts.clock, hub=parts.hub)


def roller(parts: Core) -> Worker:
    return tasks.roller(SqlRoller(parts.database), parts.clock)


def agreements(parts: Core) -> AgreementsForReports:
    return AgreementsForReports(SqlRegister(parts.database), parts.clock)


class AgreementsForReports:
    """Contracts of services, out of the marketplace's register."""

    def __init__(self, register: SqlRegister, clock: Clock) -> None:
        self._register = register
        self._clock = clock

    async def concerning(self, question: Question) -> Sequence[Agreement]:
        agreed: list[Agreement] = []
        async for several in self._contracts(question, binding=True):
            amended = [one.contract_id for one, _ in several if one.replaces is not None]
            asked = await self._register.asked_once(amended)
            agreed += [
                found
                for one, clauses in several
                if (found := agreement(one, clauses, asked.get(one.contract_id, _NOTHING)))
                and _in_time(found, question)
            ]
        return agreed

    async def listed(self, question: Question) -> AsyncIterator[Sequence[Listed]]:
        now = self._clock()
        async for several in self._contracts(question, binding=False):
            yield [listed(one, now) for one, _ in several]

    async def _contracts(
        self, question: Question, *, binding: bool
    ) -> AsyncIterator[Sequence[tuple[Contract, Clauses | None]]]:
        after = ""
        while True:
            page = await self._register.page(
                question.party,
                since=datetime.combine(question.first, time(), UTC),
                until=datetime.combine(question.behind, time(), UTC),
                service=question.service,
                contract_id=question.contract_id,
                binding=binding,
                after=after,
                limit=AT_ONCE,
            )
            found = [
                (one, clauses)
                for one, clauses in page
                if question.partner is None or one.concerns(question.partner)
            ]
            if found:
                yield found
            if len(page) < AT_ONCE:
                return
            after = page[-1][0].contract_id


def agreement(
    contract: Contract, clauses: Clauses | None, asked_once: Decimal = _NOTHING
) -> Agreement | None:
    """The contract in the reports' words; None where it is about no calls, or about what is
    tried out: that is never billed, not its days either. `asked_once`: what the contracts whose
    place it took asked as a one-time price."""
    terms = contract.terms
    if not isinstance(terms, ServiceTerms) or contract.sandbox:
        return None
    prices = terms.prices
    costs = prices is not None or (terms.pack is not None and terms.pack.price_minor > 0)
    return Agreement(
        contract_id=contract.contract_id,
        service=contract.service,
        major=contract.major,
        provider=contract.provider,
        requester=contract.requester,
        begins_at=contract.valid_from,
        ends_at=contract.ends,
        currency=terms.currency if costs else None,
        plan=None if prices is None else prices.after(asked_once),
        level=None if clauses is None else level(clauses),
    )


def level(clauses: Clauses) -> Level | None:
    """What the clause says of it; None where the contract has no such clause."""
    for clause in clauses.chosen:
        if clause.name == SERVICE_LEVEL:
            told = clause.parameters
            return Level(
                told.get("availability_percent"),
                told.get("latency_p95_ms"),
                told.get("error_share_percent"),
            )
    return None


def listed(contract: Contract, now: datetime) -> Listed:
    terms = contract.terms
    plan = terms.prices if isinstance(terms, ServiceTerms) else None
    return Listed(
        contract_id=contract.contract_id,
        service=contract.service,
        major=contract.major,
        provider=contract.provider,
        requester=contract.requester,
        status=contract.status_at(now).value,
        valid_from=contract.valid_from,
        ends_at=end_to_tell(contract),
        currency=terms.currency,
        prices=None if plan is None else encode_json(plan.to_json()).decode(),
        notice_days=terms.notice_days,
    )


def _in_time(found: Agreement, question: Question) -> bool:
    """A contract that was terminated ends before its term does."""
    return found.ends_at is None or found.ends_at.astimezone(UTC).date() >= question.first
