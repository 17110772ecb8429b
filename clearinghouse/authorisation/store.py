"""Authorisations on PostgreSQL. Callers at the same moment share one look-up and one commit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    Table,
    Text,
    or_,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert

from clearinghouse.authorisation.model import (
    USUAL,
    Authorisation,
    Identification,
    IdentificationType,
    Policy,
    Question,
    Reason,
    Silence,
    identify,
)
from clearinghouse.customers.model import AuthorisationMode, CustomerContract, Limits, Status
from clearinghouse.customers.store import customer_contract, customer_token
from clearinghouse.exposure.model import Claim, Weighed
from clearinghouse.exposure.store import Holds, exposure_limit, hold_alone
from kit import event_log
from kit.batching import Batcher
from kit.clock import Clock
from kit.database import Database, Hot, metadata
from kit.encoding import encode_json
from kit.event_log import NewEvent
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId

_Identifier = Text(collation="C")

authorisation = Table(
    "authorisation",
    metadata,
    Column("authorisation_id", _Identifier, primary_key=True),
    Column("operator", _Identifier, nullable=False),
    Column("evse_id", _Identifier, nullable=False),
    Column("identification_type", Text, nullable=False),
    Column("identification_value", Text, nullable=False),
    Column("services", ARRAY(Text), nullable=False),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("at_given", Boolean, nullable=False),
    Column("charge_id", _Identifier),
    Column("decided_at", DateTime(timezone=True), nullable=False),
    Column("reason", Text),
    Column("contract_id", _Identifier),
    Column("evsp", _Identifier),
    Column("valid_until", DateTime(timezone=True)),
    Column("agreement_id", Text),
    # Not jsonb: an answer given again is the same to the letter, so its members keep their order.
    Column("price", JSON),
    Column("details", JSONB, nullable=False),
    Column("max_amount_minor", BigInteger),
    Column("max_amount_currency", Text),
    Column("certificate_digest", Text),
    schema="clearinghouse",
)
# One decision for one charge, whatever comes twice and in whatever process.
Index(
    "uq_authorisation_operator_charge_id",
    authorisation.c.operator,
    authorisation.c.charge_id,
    unique=True,
    postgresql_where=text("charge_id IS NOT NULL"),
)
evsp_policy = Table(
    "evsp_policy",
    metadata,
    Column("evsp", _Identifier, primary_key=True),
    Column("on_silence", Text, nullable=False),
    Column("accept_up_to_minor", BigInteger),
    Column("currency", Text),
    Column("asks_unknown", Boolean, nullable=False, server_default=text("false")),
    Column("ask_timeout_ms", Integer, nullable=False, server_default=text("3000")),
    CheckConstraint("on_silence IN ('refuse', 'accept')", name="on_silence"),
    schema="clearinghouse",
)

_CUSTOMER = (
    "c.contract_id, c.valid_from, c.valid_until, c.status, c.services, c.authorisation, c.limits,"
    " p.on_silence, p.accept_up_to_minor, p.currency, p.asks_unknown, p.ask_timeout_ms,"
    f" EXISTS (SELECT FROM {exposure_limit.fullname} AS l WHERE l.evsp = c.evsp) AS limited"
    f" FROM {customer_contract.fullname} AS c"
    f" LEFT JOIN {evsp_policy.fullname} AS p ON p.evsp = c.evsp"
)
_CUSTOMERS = (
    f"SELECT t.uid, {_CUSTOMER}"
    f" JOIN {customer_token.fullname} AS t ON t.contract_id = c.contract_id"
    " WHERE t.uid = ANY($1::text[])"
    f" UNION ALL SELECT NULL, {_CUSTOMER} WHERE c.contract_id = ANY($2::text[])"
)
_COLUMNS = tuple(column.name for column in authorisation.columns)
# In order of the charge id, so that two processes do not wait for each other in a circle.
_RECORD = f"""
INSERT INTO clearinghouse.authorisation ({", ".join(_COLUMNS)})
  SELECT n.authorisation_id, n.operator, n.evse_id, n.identification_type, n.identification_value,
    string_to_array(n.services, E'\\t'), n.at, n.at_given, n.charge_id, n.decided_at, n.reason,
    n.contract_id, n.evsp, n.valid_until, n.agreement_id, n.price::json, n.details::jsonb,
    n.max_amount_minor, n.max_amount_currency, n.certificate_digest
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::timestamptz[], $8::boolean[], $9::text[], $10::timestamptz[], $11::text[], $12::text[],
    $13::text[], $14::timestamptz[], $15::text[], $16::text[], $17::text[],
    $18::bigint[], $19::text[], $20::text[]) AS n
    ({", ".join(_COLUMNS)})
  ORDER BY n.operator, n.charge_id
ON CONFLICT (operator, charge_id) WHERE charge_id IS NOT NULL DO NOTHING
RETURNING authorisation_id
"""
_OF_CHARGES = (
    "SELECT a.* FROM clearinghouse.authorisation AS a"
    " JOIN unnest($1::text[], $2::text[]) AS n (operator, charge_id)"
    " ON a.operator = n.operator AND a.charge_id = n.charge_id"
)

_POLICY = "on_silence, accept_up_to_minor, currency, asks_unknown, ask_timeout_ms"

_Found = tuple[CustomerContract, Policy, bool]
_Key = tuple[PartyId, str | int | None]
_Decide = Callable[[Weighed], tuple[Authorisation, NewEvent]]


class SqlCustomers:
    """Whose identification it is: one query for all who ask while the last one runs."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._batches: Batcher[Identification, _Found | None] = Batcher(self._find_all, at_once=4)

    async def close(self) -> None:
        await self._batches.close()

    async def find(self, identification: Identification) -> _Found | None:
        return await self._batches.put(identification)

    async def _find_all(self, asked: Sequence[Identification]) -> Sequence[_Found | None]:
        rows = await self._database.pool.fetch(
            _CUSTOMERS,
            [one.token_uid for one in asked if one.token_uid is not None],
            [one.contract_id for one in asked if one.contract_id is not None],
        )
        by_token: dict[str | None, _Found] = {}
        by_contract: dict[str | None, _Found] = {}
        for row in rows:
            found = _to_customer(row)
            if row["uid"] is None:
                by_contract[found[0].contract_id] = found
            else:
                by_token[row["uid"]] = found
        return [by_contract.get(one.contract_id) or by_token.get(one.token_uid) for one in asked]


class SqlDecisions:
    """Decisions, many to a commit; each with its event in the same transaction."""

    def __init__(self, database: Database, holds: Holds, clock: Clock) -> None:
        self._database = database
        self._holds = holds
        self._clock = clock
        self._batches: Batcher[tuple[Authorisation, NewEvent], Authorisation] = Batcher(
            self._write, at_once=2
        )
        # Apart, so that who has no limit never waits for who has one.
        self._limited: Batcher[tuple[Claim, _Decide], Authorisation] = Batcher(self._write_limited)

    async def close(self) -> None:
        await self._batches.close()
        await self._limited.close()

    async def record(self, decided: Authorisation, event: NewEvent) -> Authorisation:
        return await self._batches.put((decided, event))

    async def record_within_limits(self, claim: Claim, decide: _Decide) -> Authorisation:
        return await self._limited.put((claim, decide))

    async def of_charge(self, operator: PartyId, charge_id: str) -> Authorisation | None:
        row = await self._database.pool.fetchrow(_OF_CHARGES, [operator], [charge_id])
        return None if row is None else _to_authorisation(row)

    async def find(self, authorisation_id: str, party: PartyId) -> Authorisation | None:
        row = await self._database.pool.fetchrow(
            "SELECT * FROM clearinghouse.authorisation"
            " WHERE authorisation_id = $1"
            " AND (operator = $2 OR evsp = $2 OR details->'asked' @> $3)",
            authorisation_id,
            party,
            [{"evsp": str(party)}],
        )
        return None if row is None else _to_authorisation(row)

    async def _write(
        self, batch: Sequence[tuple[Authorisation, NewEvent]]
    ) -> Sequence[Authorisation]:
        async with self._database.hot() as connection:
            return await self._keep(connection, batch)

    async def _write_limited(
        self, batch: Sequence[tuple[Claim, _Decide]]
    ) -> Sequence[Authorisation]:
        """Decisions with what they hold, in one commit: none is without its hold, and the other way
        round. An EVSP's writers wait for one another, so that a charge asked about twice at once is
        known to the second."""
        keys = [_key(claim.operator, claim.charge_id, n) for n, (claim, _) in enumerate(batch)]
        async with self._database.hot() as connection:
            await hold_alone(connection, {claim.evsp for claim, _ in batch})
            answers = await self._earlier(connection, [claim for claim, _ in batch])
            # Of those that came in this very moment, too, only the first is decided about.
            new: dict[_Key, tuple[Claim, _Decide]] = {}
            for key, one in zip(keys, batch, strict=True):
                if key not in answers:
                    new.setdefault(key, one)
            outcomes, events = await self._holds.take(
                connection, [claim for claim, _ in new.values()], self._clock()
            )
            made = [decide(hold) for (_, decide), hold in zip(new.values(), outcomes, strict=True)]
            kept = await self._keep(connection, made, events)
            answers |= dict(zip(new, kept, strict=True))
            # Decided meanwhile by who had no limit to look at: then nothing is to be held for it.
            vain = {one.authorisation_id for one, _ in made} - {
                one.authorisation_id for one in kept
            }
            await self._holds.undo(connection, vain)
        return [answers[key] for key in keys]

    async def _keep(
        self,
        connection: Hot,
        batch: Sequence[tuple[Authorisation, NewEvent]],
        more: Sequence[NewEvent] = (),
    ) -> Sequence[Authorisation]:
        """The decisions on record after this: of a charge that has one already, that one."""
        if not batch:
            return []
        columns = zip(*(_row(decided) for decided, _ in batch), strict=True)
        rows = await connection.fetch(_RECORD, *columns)
        recorded = {row["authorisation_id"] for row in rows}
        told = [event for one, event in batch if one.authorisation_id in recorded]
        await event_log.append(connection, [*told, *more])
        if len(recorded) == len(batch):
            return [decided for decided, _ in batch]
        earlier = await self._earlier(
            connection, [one.question for one, _ in batch if one.authorisation_id not in recorded]
        )
        return [
            one
            if one.authorisation_id in recorded
            else earlier[one.question.operator, one.question.charge_id]
            for one, _ in batch
        ]

    async def _earlier(
        self, connection: Hot, asked: Sequence[Question | Claim]
    ) -> dict[_Key, Authorisation]:
        named = [one for one in asked if one.charge_id is not None]
        if not named:
            return {}
        rows = await connection.fetch(
            _OF_CHARGES, [one.operator for one in named], [one.charge_id for one in named]
        )
        found = [_to_authorisation(row) for row in rows]
        return {(one.question.operator, one.question.charge_id): one for one in found}


class SqlPolicies:
    """What EVSPs want to hold when they are asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, evsp: PartyId) -> Policy:
        row = await self._database.pool.fetchrow(
            f"SELECT {_POLICY} FROM {evsp_policy.fullname} WHERE evsp = $1", evsp
        )
        return USUAL if row is None else _to_policy(row)

    async def asking_unknown(self, evsps: Collection[PartyId]) -> Collection[PartyId]:
        rows = await self._database.pool.fetch(
            f"SELECT evsp FROM {evsp_policy.fullname}"
            " WHERE asks_unknown AND evsp = ANY($1::text[]) ORDER BY evsp",
            list(evsps),
        )
        return [PartyId(row["evsp"]) for row in rows]

    async def keep(self, evsp: PartyId, policy: Policy, event: NewEvent) -> None:
        most = policy.accept_up_to
        values = {
            "on_silence": policy.on_silence.value,
            "accept_up_to_minor": None if most is None else most.minor,
            "currency": None if most is None else most.currency,
            "asks_unknown": policy.asks_unknown,
            "ask_timeout_ms": policy.ask_timeout_ms,
        }
        new = insert(evsp_policy).values(evsp=evsp, **values)
        differs = or_(
            *(evsp_policy.c[name].is_distinct_from(new.excluded[name]) for name in values)
        )
        async with self._database.begin() as connection:
            changed = await connection.execute(
                new.on_conflict_do_update(
                    index_elements=[evsp_policy.c.evsp],
                    set_={name: new.excluded[name] for name in values},
                    where=differs,
                ).returning(evsp_policy.c.evsp)
            )
            if changed.first() is not None:
                await event_log.append(connection, [event])


def _to_customer(row: Any) -> _Found:
    contract = CustomerContract(
        contract_id=ContractId(row["contract_id"]),
        token_uids=(),
        valid_from=row["valid_from"],
        valid_until=row["valid_until"],
        status=Status(row["status"]),
        services=tuple(row["services"]),
        authorisation=AuthorisationMode(row["authorisation"]),
        display_name=None,
        limits=None if row["limits"] is None else Limits(**row["limits"]),
    )
    policy = USUAL if row["on_silence"] is None else _to_policy(row)
    return contract, policy, row["limited"]


def _to_policy(row: Any) -> Policy:
    minor = row["accept_up_to_minor"]
    return Policy(
        on_silence=Silence(row["on_silence"]),
        accept_up_to=None if minor is None else Money(minor, row["currency"]),
        asks_unknown=row["asks_unknown"],
        ask_timeout_ms=row["ask_timeout_ms"],
    )


def _key(operator: PartyId, charge_id: str | None, place: int) -> _Key:
    """One for each charge; a question that names none is one by itself."""
    return operator, place if charge_id is None else charge_id


def _row(decided: Authorisation) -> tuple[Any, ...]:
    """In the order of the table's columns."""
    question = decided.question
    return (
        decided.authorisation_id,
        question.operator,
        question.evse_id,
        question.identification.type,
        question.identification.value,
        "\t".join(question.services),
        question.at,
        question.at_given,
        question.charge_id,
        decided.decided_at,
        decided.reason,
        decided.contract_id,
        decided.evsp,
        decided.valid_until,
        decided.agreement_id,
        None if decided.price is None else encode_json(decided.price).decode(),
        encode_json(decided.details).decode(),
        None if decided.max_amount is None else decided.max_amount.minor,
        None if decided.max_amount is None else decided.max_amount.currency,
        question.identification.certificate_digest,
    )


def _to_authorisation(row: Any) -> Authorisation:
    kind = IdentificationType(row["identification_type"])
    return Authorisation(
        authorisation_id=row["authorisation_id"],
        question=Question(
            operator=PartyId(row["operator"]),
            evse_id=EvseId(row["evse_id"]),
            identification=replace(
                identify(kind, row["identification_value"]),
                certificate_digest=row["certificate_digest"],
            ),
            services=tuple(row["services"]),
            at=row["at"],
            at_given=row["at_given"],
            charge_id=row["charge_id"],
        ),
        decided_at=row["decided_at"],
        reason=None if row["reason"] is None else Reason(row["reason"]),
        contract_id=None if row["contract_id"] is None else ContractId(row["contract_id"]),
        evsp=None if row["evsp"] is None else PartyId(row["evsp"]),
        valid_until=row["valid_until"],
        agreement_id=row["agreement_id"],
        price=row["price"],
        details=row["details"],
        max_amount=None
        if row["max_amount_minor"] is None
        else Money(row["max_amount_minor"], row["max_amount_currency"]),
    )
