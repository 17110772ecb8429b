"""Limits, holds and deposits on PostgreSQL.

Whoever takes a hold for an EVSP, or changes what it may owe, holds a lock on that EVSP until its
commit. A record that is booked needs no lock: it ends a hold and makes a debt in one commit, and
whoever adds up sees both or neither, since debts and holds are added up by one statement.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from clearinghouse.customers.model import Limits
from clearinghouse.exchange import store as exchange
from clearinghouse.exchange.model import OLDEST_DAYS, PIVOT, NoRate
from clearinghouse.exchange.model import Rates as PublishedRates
from clearinghouse.exposure import model
from clearinghouse.exposure.model import (
    OWED,
    Claim,
    Deposit,
    Figures,
    Level,
    Limit,
    Movement,
    Rates,
    Spending,
    SpendingKey,
    Sums,
    Weighed,
    Weighing,
)
from clearinghouse.ledger import store as ledger
from clearinghouse.ledger.model import Kind, Posting, mirrored
from clearinghouse.periods import store as periods
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId

_Identifier = Text(collation="C")

exposure_limit = Table(
    "exposure_limit",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("currency", Text, nullable=False),
    Column("cap_minor", BigInteger, nullable=False),
    Column("hold_minor", BigInteger, nullable=False),
    Column("hold_days", Integer, nullable=False),
    Column("level", Text, nullable=False),
    Column("set_by", Text, nullable=False),
    Column("set_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("level IN ('within', 'warned', 'exhausted')", name="level"),
    schema="clearinghouse",
)
exposure_hold = Table(
    "exposure_hold",
    metadata,
    Column("authorisation_id", _Identifier, primary_key=True),
    Column("operator", _Identifier, nullable=False),
    Column("evsp", _Identifier, nullable=False),
    Column("contract_id", _Identifier),
    Column("evse_id", _Identifier, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("charge_at", DateTime(timezone=True), nullable=False),
    Column("taken_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("ended_at", DateTime(timezone=True)),
    Column("ended_by", Text),
    CheckConstraint("ended_by IN ('cdr', 'expiry')", name="ended_by"),
    schema="clearinghouse",
)
_OPEN = "ended_at IS NULL"
Index("ix_exposure_hold_open", exposure_hold.c.evsp, postgresql_where=text(_OPEN))
Index(
    "ix_exposure_hold_of_contract",
    exposure_hold.c.contract_id,
    exposure_hold.c.charge_at,
    postgresql_where=text(_OPEN),
)
exposure_deposit = Table(
    "exposure_deposit",
    metadata,
    Column("reference", Text, primary_key=True),
    Column("evsp", _Identifier, nullable=False),
    Column("deposit", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("log_position", BigInteger, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    CheckConstraint("deposit IN ('prepayment', 'collateral')", name="deposit"),
    schema="clearinghouse",
)

Spent = Callable[
    [Hot, Collection[SpendingKey]],
    Awaitable[Mapping[SpendingKey, tuple[Sequence[Money], Sequence[Money]]]],
]
"""What customers have spent by their booked records, without VAT, in a day and in its month."""

# Sorted, so that two who hold several never wait for each other in a circle.
_LOCK = (
    "SELECT pg_advisory_xact_lock(hash) FROM (SELECT DISTINCT hashtextextended('exposure:' || e, 0)"
    " AS hash FROM unnest($1::text[]) AS e ORDER BY hash) AS sorted"
)
_LIMITS = f"SELECT * FROM {exposure_limit.fullname} WHERE evsp = ANY($1::text[])"
# One statement, one picture: a record that is being booked is seen as a hold or as a debt.
_SUMS = f"""
SELECT party AS evsp, CASE account WHEN 'prepayment-receivable' THEN 'prepaid'
    WHEN 'collateral-receivable' THEN 'collateral' ELSE 'owed' END AS what, currency,
  sum(CASE WHEN account IN ('prepayment-receivable', 'collateral-receivable') THEN amount_minor
    ELSE greatest(-amount_minor, 0) END)::bigint AS minor
FROM {ledger.balances.fullname} WHERE party = ANY($1::text[]) AND account = ANY($2::text[])
GROUP BY 1, 2, 3
UNION ALL
SELECT evsp, 'held', currency, sum(amount_minor)::bigint FROM {exposure_hold.fullname}
WHERE evsp = ANY($1::text[]) AND {_OPEN} AND expires_at > $3 GROUP BY 1, 3
"""
_COUNTED = [*sorted(OWED), Deposit.PREPAYMENT.account, Deposit.COLLATERAL.account]
_HELD_OF_CONTRACTS = f"""
SELECT k.contract_id, k.day, h.currency, sum(h.amount_minor)::bigint AS month_minor,
  coalesce(sum(h.amount_minor) FILTER (WHERE h.charge_at >= k.day
    AND h.charge_at < k.day + interval '1 day'), 0)::bigint AS day_minor
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::timestamptz[])
  AS k (contract_id, day, month, next_month)
JOIN {exposure_hold.fullname} AS h ON h.contract_id = k.contract_id
  AND h.charge_at >= k.month AND h.charge_at < k.next_month AND h.{_OPEN} AND h.expires_at > $5
GROUP BY 1, 2, 3
"""
_HOLD = f"""
INSERT INTO {exposure_hold.fullname} (authorisation_id, operator, evsp, contract_id, evse_id,
  currency, amount_minor, charge_at, taken_at, expires_at)
SELECT a, o, e, c, v, m, n, t, $10, $10::timestamptz + make_interval(days => d)
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[],
  $8::timestamptz[], $9::integer[]) AS u (a, o, e, c, v, m, n, t, d)
"""
# By the authorisation that a record names, where it was given to the record's own operator: nobody
# ends another's hold. One that names none ends the oldest hold of its contract at its EVSE that was
# asked for before the charge was over.
_RELEASE = f"""
UPDATE {exposure_hold.fullname} AS h SET ended_at = $5, ended_by = 'cdr'
WHERE h.{_OPEN} AND h.authorisation_id IN (SELECT b.authorisation_id
    FROM unnest($1::text[], $6::text[]) AS k (authorisation_id, operator)
    JOIN {exposure_hold.fullname} AS b USING (authorisation_id, operator) UNION ALL
  SELECT o.authorisation_id FROM unnest($2::text[], $3::text[], $4::timestamptz[])
    AS k (contract_id, evse_id, over_at)
  CROSS JOIN LATERAL (SELECT b.authorisation_id FROM {exposure_hold.fullname} AS b
    WHERE b.contract_id = k.contract_id AND b.evse_id = k.evse_id AND b.charge_at <= k.over_at
    AND b.{_OPEN} ORDER BY b.charge_at LIMIT 1) AS o)
"""
_SET = f"""
INSERT INTO {exposure_limit.fullname} (evsp, currency, cap_minor, hold_minor, hold_days, level,
  set_by, set_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (evsp) DO UPDATE SET currency = excluded.currency, cap_minor = excluded.cap_minor,
  hold_minor = excluded.hold_minor, hold_days = excluded.hold_days, level = excluded.level,
  set_by = excluded.set_by, set_at = excluded.set_at
"""
_LEVELS = (
    f"UPDATE {exposure_limit.fullname} AS l SET level = n.level"
    " FROM unnest($1::text[], $2::text[]) AS n (evsp, level) WHERE l.evsp = n.evsp"
)
# What a record ends at this moment is left to it.
_EXPIRE = f"""
UPDATE {exposure_hold.fullname} SET ended_at = $2, ended_by = 'expiry'
WHERE authorisation_id IN (SELECT authorisation_id FROM {exposure_hold.fullname}
  WHERE evsp = $1 AND {_OPEN} AND expires_at <= $2 FOR UPDATE SKIP LOCKED)
"""


async def nothing_spent(
    _: Hot, asked: Collection[SpendingKey]
) -> Mapping[SpendingKey, tuple[Sequence[Money], Sequence[Money]]]:
    return {}


async def _published(
    connection: Hot, to: str, currencies: Collection[str], now: datetime
) -> dict[tuple[str, str], Fraction]:
    """What one unit of each currency is in `to` today, of those for which a rate is published."""
    last = now.date()
    first = last - timedelta(days=OLDEST_DAYS)
    book = exchange.SqlBook(connection)
    rates = PublishedRates(await book.around({*currencies, to, PIVOT}, first, last))
    found: dict[tuple[str, str], Fraction] = {}
    for one in currencies:
        with suppress(NoRate):
            found[one, to] = rates.find(one, to, last).factor
    return found


async def release(
    connection: Hot,
    authorised: Sequence[tuple[PartyId, str]],
    others: Sequence[tuple[ContractId, EvseId, datetime]],
    now: datetime,
) -> None:
    """End the holds of records that are booked in this very transaction.

    `authorised`: operator and authorisation of those that name one; `others`: contract, EVSE and
    end of those that name none.
    """
    await connection.execute(
        _RELEASE,
        [one for _, one in authorised],
        [one for one, _, _ in others],
        [one for _, one, _ in others],
        [one for _, _, one in others],
        now,
        [one for one, _ in authorised],
    )


async def hold_alone(connection: Hot, evsps: Collection[PartyId]) -> None:
    """Before anything is looked at: until our commit nobody else takes holds for these EVSPs, nor
    moves their deposits."""
    await connection.execute(_LOCK, list(evsps))


class Holds:
    """Takes holds in somebody else's transaction, so that no decision is without its hold."""

    def __init__(self, hub: PartyId, spent: Spent = nothing_spent) -> None:
        self.hub = hub
        self._spent = spent

    async def take(
        self, connection: Hot, claims: Sequence[Claim], now: datetime
    ) -> tuple[list[Weighed], list[NewEvent]]:
        """Weigh claims one after the other, their EVSPs held alone; what they hold is kept. The
        events are for the caller to append, with its own."""
        if not claims:
            return [], []
        weighing = await self._weighing(connection, claims, now)
        outcomes = [weighing.weigh(claim) for claim in claims]
        held = [
            (claim, outcome.held, outcome.keeps_days)
            for claim, outcome in zip(claims, outcomes, strict=True)
            if outcome.held is not None
        ]
        if held:
            await connection.execute(
                _HOLD,
                [claim.authorisation_id for claim, _, _ in held],
                [claim.operator for claim, _, _ in held],
                [claim.evsp for claim, _, _ in held],
                [claim.contract_id for claim, _, _ in held],
                [claim.evse_id for claim, _, _ in held],
                [amount.currency for _, amount, _ in held],
                [amount.minor for _, amount, _ in held],
                [claim.charge_at for claim, _, _ in held],
                [days for _, _, days in held],
                now,
            )
        moved = [
            (limit, weighing.figures[evsp], evsp in weighing.refused)
            for evsp, limit in weighing.limits.items()
        ]
        return outcomes, await self.tell_levels(connection, moved, now)

    async def undo(self, connection: Hot, authorisation_ids: Collection[str]) -> None:
        """Hold nothing for these after all, in the transaction that took it."""
        if authorisation_ids:
            await connection.execute(
                f"DELETE FROM {exposure_hold.fullname} WHERE authorisation_id = ANY($1::text[])",
                list(authorisation_ids),
            )

    async def tell_levels(
        self, connection: Hot, moved: Sequence[tuple[Limit, Figures, bool]], now: datetime
    ) -> list[NewEvent]:
        """Keep how near its limit each EVSP is now; the events of what it reached."""
        events: list[NewEvent] = []
        changed: dict[PartyId, Level] = {}
        for limit, figures, refused in moved:
            after = model.level_after(limit.level, figures, refused=refused)
            if after is limit.level:
                continue
            changed[limit.evsp] = after
            for level in model.reached(limit.level, after):
                events += _level_events(limit.evsp, level, figures, self.hub, now)
        if changed:
            levels = [level.value for level in changed.values()]
            await connection.execute(_LEVELS, list(changed), levels)
        return events

    async def limits(self, connection: Hot, evsps: Collection[PartyId]) -> dict[PartyId, Limit]:
        rows = await connection.fetch(_LIMITS, list(evsps))
        return {PartyId(row["evsp"]): _to_limit(row) for row in rows}

    async def figures(
        self, connection: Hot, limits: Mapping[PartyId, Limit], now: datetime
    ) -> tuple[dict[PartyId, Figures], Rates]:
        """What counts against each of these limits."""
        if not limits:
            return {}, {}
        sums = await self._sums(connection, list(limits), now)
        rates: dict[tuple[str, str], Fraction] = {}
        for evsp, limit in limits.items():
            await self._know(rates, connection, limit.currency, sums[evsp].currencies, now)
        return {
            evsp: model.figures_of(limit.currency, limit.cap.minor, sums[evsp], rates)
            for evsp, limit in limits.items()
        }, rates

    async def _sums(
        self, connection: Hot, evsps: Sequence[PartyId], now: datetime
    ) -> Mapping[PartyId, Sums]:
        found: dict[PartyId, Sums] = defaultdict(Sums)
        for row in await connection.fetch(_SUMS, evsps, _COUNTED, now):
            evsp, what = PartyId(row["evsp"]), row["what"]
            known = found[evsp]
            amount = Money(row["minor"], row["currency"])
            found[evsp] = replace(known, **{what: (*getattr(known, what), amount)})
        return found

    async def _know(
        self,
        rates: dict[tuple[str, str], Fraction],
        connection: Hot,
        to: str,
        currencies: Collection[str],
        now: datetime,
    ) -> None:
        missing = {one for one in currencies if one != to and (one, to) not in rates}
        if missing:
            rates |= await _published(connection, to, missing, now)

    async def _weighing(self, connection: Hot, claims: Sequence[Claim], now: datetime) -> Weighing:
        limits = await self.limits(connection, {claim.evsp for claim in claims})
        figures, some = await self.figures(connection, limits, now)
        rates = dict(some)
        for claim in claims:
            limit = limits.get(claim.evsp)
            amounts = (claim.most, None if limit is None else limit.hold)
            named = {one.currency for one in amounts if one is not None}
            counted_in = {one.currency for one in (limit, claim.limits) if one is not None}
            for currency in counted_in:
                await self._know(rates, connection, currency, named, now)
        currencies = {
            key: claim.limits.currency
            for claim in claims
            if claim.limits is not None and (key := claim.spending_key) is not None
        }
        spendings = await self._spendings(connection, currencies, rates, now)
        return Weighing(limits, figures, spendings, rates)

    async def spending(
        self,
        connection: Hot,
        contract_id: ContractId,
        limits: Limits,
        at: datetime,
        now: datetime,
    ) -> Spending | None:
        """What a customer has spent on the day and in the month of `at`; None where neither is
        limited."""
        key = model.spending_key(contract_id, limits, at)
        if key is None:
            return None
        return (await self._spendings(connection, {key: limits.currency}, {}, now))[key]

    async def _spendings(
        self,
        connection: Hot,
        currencies: Mapping[SpendingKey, str],
        rates: dict[tuple[str, str], Fraction],
        now: datetime,
    ) -> dict[SpendingKey, Spending]:
        """What customers have spent, each in the currency of its limits."""
        if not currencies:
            return {}
        # Holds before records: a record that is booked between the two counts twice, not never.
        rows = await connection.fetch(
            _HELD_OF_CONTRACTS,
            [contract_id for contract_id, _ in currencies],
            [day for _, day in currencies],
            [model.month_of(day) for _, day in currencies],
            [model.next_month(day) for _, day in currencies],
            now,
        )
        days: dict[SpendingKey, list[Money]] = defaultdict(list)
        months: dict[SpendingKey, list[Money]] = defaultdict(list)
        for row in rows:
            key = (ContractId(row["contract_id"]), row["day"])
            days[key].append(Money(row["day_minor"], row["currency"]))
            months[key].append(Money(row["month_minor"], row["currency"]))
        for key, (day, month) in (await self._spent(connection, list(currencies))).items():
            days[key] += day
            months[key] += month
        found: dict[SpendingKey, Spending] = {}
        for key, currency in currencies.items():
            others = {one.currency for one in months[key]}
            await self._know(rates, connection, currency, others, now)
            found[key] = model.spending_of(currency, days[key], months[key], rates)
        return found


def _level_events(
    evsp: PartyId, level: Level, figures: Figures, hub: PartyId, now: datetime
) -> list[NewEvent]:
    """One for the EVSP and one for the hub: each reads its own."""
    return [
        NewEvent(
            stream=f"exposure:{evsp}" if party == evsp else f"exposure:{evsp}:{party}",
            type=model.TOLD_AS[level],
            party=str(party),
            body={"evsp": str(evsp), "level": level.value, **figures.told()},
            occurred_at=now,
        )
        for party in (evsp, hub)
    ]


class SqlBook:
    """One EVSP's exposure in one open transaction."""

    def __init__(self, connection: Hot, evsp: PartyId, holds: Holds) -> None:
        self._connection = connection
        self._evsp = evsp
        self._holds = holds

    async def limit(self) -> Limit | None:
        return (await self._holds.limits(self._connection, [self._evsp])).get(self._evsp)

    async def keep(self, limit: Limit, events: Sequence[NewEvent]) -> None:
        await self._connection.execute(
            _SET,
            limit.evsp,
            limit.currency,
            limit.cap.minor,
            limit.hold.minor,
            limit.hold_days,
            limit.level.value,
            limit.set_by,
            limit.set_at,
        )
        await event_log.append(self._connection, events)

    async def lift(self, events: Sequence[NewEvent]) -> None:
        await self._connection.execute(
            f"DELETE FROM {exposure_limit.fullname} WHERE evsp = $1", self._evsp
        )
        await event_log.append(self._connection, events)

    async def figures(self, now: datetime) -> Figures | None:
        limit = await self.limit()
        if limit is None:
            return None
        found, _ = await self._holds.figures(self._connection, {self._evsp: limit}, now)
        return found[self._evsp]

    async def look(self, now: datetime) -> None:
        """Tell it if the EVSP has come nearer its limit, or gone away from it."""
        limit = await self.limit()
        figures = await self.figures(now)
        if limit is not None and figures is not None:
            moved = [(limit, figures, False)]
            events = await self._holds.tell_levels(self._connection, moved, now)
            await event_log.append(self._connection, events)

    async def movement(self, reference: str) -> Movement | None:
        row = await self._connection.fetchrow(
            f"SELECT * FROM {exposure_deposit.fullname} WHERE reference = $1", reference
        )
        if row is None:
            return None
        amount = Money(row["amount_minor"], row["currency"])
        return Movement(reference, PartyId(row["evsp"]), Deposit(row["deposit"]), amount)

    async def deposited(self, deposit: Deposit, currency: str) -> Money:
        minor = await self._connection.fetchval(
            f"SELECT coalesce(sum(amount_minor), 0)::bigint FROM {ledger.balances.fullname}"
            " WHERE party = $1 AND account = $2 AND currency = $3",
            self._evsp,
            deposit.account.value,
            currency,
        )
        return Money(minor, currency)

    async def move(self, movement: Movement, event: NewEvent) -> None:
        [value_at] = await periods.value_dates(self._connection, [event.occurred_at])
        [cursor] = await event_log.append(self._connection, [event])
        entries = mirrored(
            movement.deposit.subject,
            creditor=self._evsp,
            debtor=self._holds.hub,
            amount=movement.amount,
        )
        posting = Posting(
            posting_id=cursor.position,
            kind=Kind.DEPOSIT,
            book=self._holds.hub,
            operator=None,
            cdr_id=None,
            value_at=value_at,
            entries=entries,
        )
        await ledger.post(self._connection, [posting], event.occurred_at)
        await self._connection.execute(
            f"INSERT INTO {exposure_deposit.fullname} VALUES ($1, $2, $3, $4, $5, $6, $7)",
            movement.reference,
            movement.evsp,
            movement.deposit.value,
            movement.amount.currency,
            movement.amount.minor,
            cursor.position,
            event.occurred_at,
        )

    async def expire(self, now: datetime) -> int:
        done = await self._connection.execute(_EXPIRE, self._evsp, now)
        return int(done.rpartition(" ")[2])


class SqlBooks:
    def __init__(self, database: Database, holds: Holds) -> None:
        self._database = database
        self._holds = holds

    @asynccontextmanager
    async def alone(self, evsp: PartyId) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            # The months first, as whoever settles one takes them: nobody waits in a circle.
            await periods.hold_open(connection)
            await hold_alone(connection, [evsp])
            yield SqlBook(connection, evsp, self._holds)

    @asynccontextmanager
    async def read(self, evsp: PartyId) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection, evsp, self._holds)

    async def watched(self, now: datetime) -> Sequence[PartyId]:
        rows = await self._database.pool.fetch(
            f"SELECT evsp FROM {exposure_limit.fullname} UNION SELECT evsp"
            f" FROM {exposure_hold.fullname} WHERE {_OPEN} AND expires_at <= $1 ORDER BY evsp",
            now,
        )
        return [PartyId(row["evsp"]) for row in rows]


def _to_limit(row: Any) -> Limit:
    return Limit(
        evsp=PartyId(row["evsp"]),
        cap=Money(row["cap_minor"], row["currency"]),
        hold=Money(row["hold_minor"], row["currency"]),
        hold_days=row["hold_days"],
        set_by=row["set_by"],
        set_at=row["set_at"],
        level=Level(row["level"]),
    )
