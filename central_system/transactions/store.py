"""Charges on PostgreSQL, many messages to a commit, and the outbox of their records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from central_system.hub.model import Decision
from central_system.stations.model import StationRef
from central_system.transactions.model import (
    CdrState,
    Charge,
    Kept,
    Reading,
    Readings,
    Start,
    Stop,
    cdr_of,
    cdr_state_at_stop,
)
from kit.database import Database, Hot, metadata
from roaming.evse_id import EvseId
from roaming.party import PartyId

_Identifier = Text(collation="C")

transaction = Table(
    "transaction",
    metadata,
    # An OCPP integer; positive, as the errata sheet recommends (6.46).
    Column("transaction_id", Integer, Identity(), primary_key=True),
    Column("operator", _Identifier, nullable=False),
    Column("charge_point", _Identifier, nullable=False),
    Column("connector_id", Integer, nullable=False),
    Column("evse_id", _Identifier),
    Column("id_tag", _Identifier, nullable=False),
    Column("started_at", DateTime(timezone=True), nullable=False),
    Column("meter_start_wh", BigInteger, nullable=False),
    Column("accepted", Boolean, nullable=False),
    Column("by_hub", Boolean, nullable=False),
    Column("reason", Text),
    Column("authorisation_id", Text),
    Column("valid_until", DateTime(timezone=True)),
    Column("stopped_at", DateTime(timezone=True)),
    Column("meter_stop_wh", BigInteger),
    Column("stop_reason", Text),
    Column("cdr_state", Text),
    Column("cdr_reasons", ARRAY(Text)),
    UniqueConstraint(
        "operator", "charge_point", "connector_id", "id_tag", "started_at", "meter_start_wh"
    ),
    schema="central_system",
)
Index(
    "ix_transaction_waiting",
    transaction.c.operator,
    transaction.c.transaction_id,
    postgresql_where=text("cdr_state = 'waiting'"),
)
reading = Table(
    "reading",
    metadata,
    Column(
        "transaction_id",
        Integer,
        ForeignKey("central_system.transaction.transaction_id"),
        primary_key=True,
    ),
    Column("at", DateTime(timezone=True), primary_key=True),
    Column("energy_wh", BigInteger, nullable=False),
    schema="central_system",
)

_BEGIN = """
INSERT INTO central_system.transaction (operator, charge_point, connector_id, evse_id, id_tag,
    started_at, meter_start_wh, accepted, by_hub, reason, authorisation_id, valid_until)
  SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[],
    $6::timestamptz[], $7::bigint[], $8::boolean[], $9::boolean[], $10::text[], $11::text[],
    $12::timestamptz[])
ON CONFLICT (operator, charge_point, connector_id, id_tag, started_at, meter_start_wh) DO NOTHING
RETURNING *
"""
_BEGUN = """
SELECT t.* FROM central_system.transaction AS t
  JOIN unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::timestamptz[], $6::bigint[])
    AS n (operator, charge_point, connector_id, id_tag, started_at, meter_start_wh)
  USING (operator, charge_point, connector_id, id_tag, started_at, meter_start_wh)
"""
_OF_STATIONS = """
SELECT t.* FROM central_system.transaction AS t
  JOIN unnest($1::int[], $2::text[], $3::text[]) AS n (transaction_id, operator, charge_point)
  USING (transaction_id, operator, charge_point)
"""
_END = """
UPDATE central_system.transaction AS t SET stopped_at = n.stopped_at,
    meter_stop_wh = n.meter_stop_wh, stop_reason = n.reason, cdr_state = n.cdr_state
  FROM unnest($1::int[], $2::timestamptz[], $3::bigint[], $4::text[], $5::text[])
    AS n (transaction_id, stopped_at, meter_stop_wh, reason, cdr_state)
  WHERE t.transaction_id = n.transaction_id AND t.stopped_at IS NULL
RETURNING t.*
"""
_READ = """
INSERT INTO central_system.reading (transaction_id, at, energy_wh)
  SELECT t.transaction_id, n.at, n.energy_wh
  FROM unnest($1::int[], $2::text[], $3::text[], $4::timestamptz[], $5::bigint[])
    AS n (transaction_id, operator, charge_point, at, energy_wh)
  JOIN central_system.transaction AS t USING (transaction_id, operator, charge_point)
  WHERE t.stopped_at IS NULL
ON CONFLICT DO NOTHING
"""
# A connector that was enrolled after the charge began gives its EVSE to the charge.
_WAITING = (
    " FROM central_system.transaction AS t LEFT JOIN central_system.connector AS k"
    " USING (operator, charge_point, connector_id)"
    " WHERE t.cdr_state = 'waiting' AND coalesce(t.evse_id, k.evse_id) IS NOT NULL"
)


async def begin(connection: Hot, starts: Sequence[Start]) -> list[Kept]:
    """Begin charges in the caller's transaction; a start that is known stays as it was."""
    decisions = [one.decision for one in starts]
    rows = await connection.fetch(
        _BEGIN,
        [one.ref.operator for one in starts],
        [one.ref.charge_point for one in starts],
        [one.connector_id for one in starts],
        [one.evse_id for one in starts],
        [one.id_tag for one in starts],
        [one.started_at for one in starts],
        [one.meter_start_wh for one in starts],
        [one.accepted for one in decisions],
        [one.by_hub for one in decisions],
        [one.reason for one in decisions],
        [one.authorisation_id for one in decisions],
        [one.valid_until for one in decisions],
    )
    new = {charge.start.key: charge for charge in map(_to_charge, rows)}
    known: dict[tuple[object, ...], Charge] = {}
    repeated = [one for one in starts if one.key not in new]
    if repeated:
        columns = [list(column) for column in zip(*(one.key for one in repeated), strict=True)]
        charges = map(_to_charge, await connection.fetch(_BEGUN, *columns))
        known = {charge.start.key: charge for charge in charges}
    kept = []
    for one in starts:
        fresh = new.pop(one.key, None)
        charge = known[one.key] if fresh is None else fresh
        known[one.key] = charge
        kept.append(Kept(charge, changed=fresh is not None))
    return kept


async def take_readings(connection: Hot, told: Sequence[Readings]) -> None:
    """Keep readings of running charges in the caller's transaction. The first of a moment holds."""
    flat = [(one, single) for one in told for single in one.readings]
    if not flat:
        return
    await connection.execute(
        _READ,
        [one.transaction_id for one, _ in flat],
        [one.ref.operator for one, _ in flat],
        [one.ref.charge_point for one, _ in flat],
        [single.at for _, single in flat],
        [single.energy_wh for _, single in flat],
    )


async def end(connection: Hot, stops: Sequence[Stop]) -> list[Kept | None]:
    """End charges in the caller's transaction; None for one that the station never began.

    The first stop holds: its record may have been sent already.
    """
    running = await _of_stations(connection, stops)
    await take_readings(
        connection, [Readings(one.ref, one.transaction_id, one.readings) for one in stops]
    )
    first: dict[int, Stop] = {}
    for one in stops:
        if one.transaction_id in running:
            first.setdefault(one.transaction_id, one)
    ended = await _end(connection, list(first.values()), running)
    kept: list[Kept | None] = []
    for one in stops:
        fresh = ended.pop(one.transaction_id, None)
        if fresh is not None:
            running[one.transaction_id] = fresh
        charge = running.get(one.transaction_id)
        if charge is None or charge.start.ref != one.ref:
            kept.append(None)
        else:
            kept.append(Kept(charge, changed=fresh is not None))
    return kept


async def _of_stations(connection: Hot, stops: Sequence[Stop]) -> dict[int, Charge]:
    rows = await connection.fetch(
        _OF_STATIONS,
        [one.transaction_id for one in stops],
        [one.ref.operator for one in stops],
        [one.ref.charge_point for one in stops],
    )
    return {row["transaction_id"]: _to_charge(row) for row in rows}


async def _end(
    connection: Hot, stops: Sequence[Stop], running: Mapping[int, Charge]
) -> dict[int, Charge]:
    rows = await connection.fetch(
        _END,
        [one.transaction_id for one in stops],
        [one.stopped_at for one in stops],
        [one.meter_stop_wh for one in stops],
        [one.reason for one in stops],
        [
            cdr_state_at_stop(running[one.transaction_id].start, one.meter_stop_wh).value
            for one in stops
        ],
    )
    return {row["transaction_id"]: _to_charge(row) for row in rows}


class SqlTransactions:
    """The outbox of records, and charges to look at."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unsent_cdrs(self) -> int:
        """How many records the clearing house has yet to answer."""
        found: int = await self._database.pool.fetchval(f"SELECT count(*){_WAITING}")
        return found

    async def find(self, ref: StationRef, transaction_id: int) -> Charge | None:
        row = await self._database.pool.fetchrow(
            _OF_STATIONS, [transaction_id], [ref.operator], [ref.charge_point]
        )
        return None if row is None else _to_charge(row)

    async def operators(self) -> list[PartyId]:
        rows = await self._database.pool.fetch(
            f"SELECT DISTINCT t.operator{_WAITING} ORDER BY t.operator"
        )
        return [PartyId(row["operator"]) for row in rows]

    async def next(self, operator: PartyId, limit: int) -> list[tuple[int, Mapping[str, Any]]]:
        rows = await self._database.pool.fetch(
            f"SELECT t.*, coalesce(t.evse_id, k.evse_id) AS at_evse{_WAITING}"
            " AND t.operator = $1 ORDER BY t.transaction_id LIMIT $2",
            operator,
            limit,
        )
        readings = await self._readings([row["transaction_id"] for row in rows])
        found: list[tuple[int, Mapping[str, Any]]] = []
        for row in rows:
            charge = _to_charge(row)
            taken = readings.get(charge.transaction_id, [])
            found.append((charge.transaction_id, cdr_of(charge, EvseId(row["at_evse"]), taken)))
        return found

    async def answered(self, answers: Sequence[tuple[int, CdrState, Sequence[str]]]) -> None:
        await self._database.pool.execute(
            "UPDATE central_system.transaction AS t SET cdr_state = n.state,"
            " cdr_reasons = string_to_array(n.reasons, ' ')"
            " FROM unnest($1::int[], $2::text[], $3::text[]) AS n (transaction_id, state, reasons)"
            " WHERE t.transaction_id = n.transaction_id AND t.cdr_state = 'waiting'",
            [number for number, _, _ in answers],
            [state.value for _, state, _ in answers],
            [" ".join(reasons) for _, _, reasons in answers],
        )

    async def _readings(self, transaction_ids: Sequence[int]) -> dict[int, list[Reading]]:
        rows = await self._database.pool.fetch(
            "SELECT transaction_id, at, energy_wh FROM central_system.reading"
            " WHERE transaction_id = ANY($1::int[])",
            transaction_ids,
        )
        found = defaultdict(list)
        for row in rows:
            found[row["transaction_id"]].append(Reading(row["at"], row["energy_wh"]))
        return found


def _to_charge(row: Any) -> Charge:
    return Charge(
        transaction_id=row["transaction_id"],
        start=Start(
            ref=StationRef(PartyId(row["operator"]), row["charge_point"]),
            connector_id=row["connector_id"],
            evse_id=None if row["evse_id"] is None else EvseId(row["evse_id"]),
            id_tag=row["id_tag"],
            started_at=row["started_at"],
            meter_start_wh=row["meter_start_wh"],
            decision=Decision(
                row["accepted"],
                row["reason"],
                row["authorisation_id"],
                row["valid_until"],
                row["by_hub"],
            ),
        ),
        stopped_at=row["stopped_at"],
        meter_stop_wh=row["meter_stop_wh"],
        stop_reason=row["stop_reason"],
        cdr_state=None if row["cdr_state"] is None else CdrState(row["cdr_state"]),
    )
