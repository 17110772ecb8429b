"""Stations on PostgreSQL. What comes with messages is written many stations at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from central_system.stations.model import (
    LEASE,
    Boot,
    Connector,
    Due,
    Enrolled,
    Enrolment,
    EvseTaken,
    News,
    PasswordHash,
    Station,
    StationRef,
    StatusChange,
    evse_status,
    new_password,
    ocpi_status,
)
from kit import event_log
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent
from roaming.events import EventType
from roaming.evse_id import EvseId
from roaming.party import PartyId

CHANNEL = "central_system_stations"

_Identifier = Text(collation="C")

station = Table(
    "station",
    metadata,
    Column("operator", _Identifier, primary_key=True),
    Column("charge_point", _Identifier, primary_key=True),
    Column("password_salt", LargeBinary, nullable=False),
    Column("password_digest", LargeBinary, nullable=False),
    Column("enrolled_at", DateTime(timezone=True), nullable=False),
    Column("connection_id", Text),
    Column("connection_alive_at", DateTime(timezone=True)),
    Column("last_seen_at", DateTime(timezone=True)),
    Column("booted_at", DateTime(timezone=True)),
    Column("vendor", Text),
    Column("model", Text),
    Column("firmware", Text),
    schema="central_system",
)
Index("ix_station_connection_id", station.c.connection_id, unique=True)
connector = Table(
    "connector",
    metadata,
    Column("operator", _Identifier, primary_key=True),
    Column("charge_point", _Identifier, primary_key=True),
    Column("connector_id", Integer, primary_key=True, autoincrement=False),
    Column("evse_id", _Identifier),
    Column("status", Text),
    Column("error_code", Text),
    Column("status_at", DateTime(timezone=True)),
    Column("hub_status", Text),
    # Changes of hub_status are numbered; the hub knows of them up to told_number.
    Column("change_number", BigInteger, nullable=False, server_default=text("0")),
    Column("told_number", BigInteger, nullable=False, server_default=text("0")),
    ForeignKeyConstraint(
        ["operator", "charge_point"],
        ["central_system.station.operator", "central_system.station.charge_point"],
        ondelete="CASCADE",
    ),
    schema="central_system",
)
Index("ix_connector_operator_evse_id", connector.c.operator, connector.c.evse_id)
Index(
    "ix_connector_due",
    connector.c.operator,
    connector.c.evse_id,
    postgresql_where=text("told_number < change_number AND evse_id IS NOT NULL"),
)

_STATION = (
    "SELECT s.*, c.connectors FROM central_system.station AS s CROSS JOIN LATERAL ("
    " SELECT coalesce(json_agg(json_build_array(k.connector_id, k.evse_id, k.status, k.error_code,"
    " k.status_at) ORDER BY k.connector_id), '[]') AS connectors"
    " FROM central_system.connector AS k"
    " WHERE k.operator = s.operator AND k.charge_point = s.charge_point) AS c"
)


class SqlStations:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def enrol(
        self, operator: PartyId, asked: Sequence[Enrolment], now: datetime
    ) -> list[Enrolled]:
        async with self._database.hot() as connection:
            # One enrolment of an operator at a time, so that no EVSE gets two homes.
            await connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"enrol:{operator}"
            )
            await _refuse_taken(connection, operator, asked)
            made = await _put_stations(connection, operator, asked, now)
            changed = await _put_connectors(connection, operator, asked)
            outcome = [
                Enrolled(
                    charge_point=one.charge_point,
                    created=one.charge_point in made,
                    changed=one.charge_point in changed or one.password is not None,
                    password=made.get(one.charge_point),
                )
                for one in asked
            ]
            told = [one.charge_point for one in outcome if one.created or one.changed]
            if told:
                await event_log.append(connection, [_enrolled_event(operator, outcome, told, now)])
                await _notify(connection, f"{operator}/")
        return outcome

    async def find(self, ref: StationRef) -> Station | None:
        row = await self._database.pool.fetchrow(
            f"{_STATION} WHERE s.operator = $1 AND s.charge_point = $2",
            ref.operator,
            ref.charge_point,
        )
        return None if row is None else _to_station(row, None)

    async def page(
        self, operator: PartyId, *, after: str, limit: int, now: datetime
    ) -> list[Station]:
        rows = await self._database.pool.fetch(
            f"{_STATION} WHERE s.operator = $1 AND s.charge_point > $2"
            " ORDER BY s.charge_point LIMIT $3",
            operator,
            after,
            limit,
        )
        return [_to_station(row, now) for row in rows]

    async def connected(self, ref: StationRef, connection_id: str, now: datetime) -> None:
        async with self._database.hot() as connection:
            await connection.execute(
                "UPDATE central_system.station SET connection_id = $3, connection_alive_at = $4,"
                " last_seen_at = $4 WHERE operator = $1 AND charge_point = $2",
                ref.operator,
                ref.charge_point,
                connection_id,
                now,
            )
            await _notify(connection, f"{ref.operator}/{ref.charge_point}")

    async def disconnected(self, ref: StationRef, connection_id: str, now: datetime) -> None:
        await self._database.pool.execute(
            "UPDATE central_system.station SET connection_id = NULL, connection_alive_at = NULL,"
            " last_seen_at = greatest(last_seen_at, $4)"
            " WHERE operator = $1 AND charge_point = $2 AND connection_id = $3",
            ref.operator,
            ref.charge_point,
            connection_id,
            now,
        )

    async def connection_of(self, ref: StationRef) -> str | None:
        found: str | None = await self._database.pool.fetchval(
            "SELECT connection_id FROM central_system.station"
            " WHERE operator = $1 AND charge_point = $2",
            ref.operator,
            ref.charge_point,
        )
        return found

    async def news(self) -> AsyncIterator[News]:
        async with self._database.listen(CHANNEL) as payloads:
            async for payload in payloads:
                operator, _, charge_point = payload.partition("/")
                yield News(PartyId(operator) if operator else None, charge_point or None)

    async def renew(self, connection_ids: Collection[str], now: datetime) -> None:
        await self._database.pool.execute(
            "UPDATE central_system.station SET connection_alive_at = $2"
            " WHERE connection_id = ANY($1::text[])",
            list(connection_ids),
            now,
        )


class SqlStatuses:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, limit: int) -> list[Due]:
        rows = await self._database.pool.fetch(
            "SELECT k.operator, k.evse_id, k.charge_point, array_agg(k.hub_status) AS statuses,"
            " array_agg(k.connector_id) AS connectors, array_agg(k.change_number) AS numbers"
            " FROM central_system.connector AS k"
            " JOIN (SELECT DISTINCT operator, evse_id FROM central_system.connector"
            "  WHERE told_number < change_number AND evse_id IS NOT NULL LIMIT $1) AS d"
            " ON k.operator = d.operator AND k.evse_id = d.evse_id"
            " GROUP BY k.operator, k.evse_id, k.charge_point",
            limit,
        )
        return [
            Due(
                StationRef(PartyId(row["operator"]), row["charge_point"]),
                EvseId(row["evse_id"]),
                evse_status(one for one in row["statuses"] if one is not None),
                dict(zip(row["connectors"], row["numbers"], strict=True)),
            )
            for row in rows
        ]

    async def told(self, due: Due) -> None:
        await self._database.pool.execute(
            "UPDATE central_system.connector AS k SET told_number = n.number"
            " FROM unnest($3::int[], $4::bigint[]) AS n (connector_id, number)"
            " WHERE k.operator = $1 AND k.charge_point = $2 AND k.connector_id = n.connector_id",
            due.ref.operator,
            due.ref.charge_point,
            list(due.numbers),
            list(due.numbers.values()),
        )


async def take_statuses(
    connection: Hot, changes: Sequence[tuple[StationRef, StatusChange]]
) -> None:
    """Project statuses, in the caller's transaction. A connector nobody enrolled has none."""
    await connection.execute(
        "UPDATE central_system.connector AS k SET status = n.status, error_code = n.error_code,"
        " status_at = n.at, hub_status = n.hub_status,"
        " change_number = k.change_number + (k.hub_status IS DISTINCT FROM n.hub_status)::int"
        " FROM unnest($1::text[], $2::text[], $3::int[], $4::text[], $5::text[],"
        "  $6::timestamptz[], $7::text[])"
        "  AS n (operator, charge_point, connector_id, status, error_code, at, hub_status)"
        " WHERE k.operator = n.operator AND k.charge_point = n.charge_point"
        " AND k.connector_id = n.connector_id",
        [ref.operator for ref, _ in changes],
        [ref.charge_point for ref, _ in changes],
        [one.connector_id for _, one in changes],
        [one.status for _, one in changes],
        [one.error_code for _, one in changes],
        [one.at for _, one in changes],
        [ocpi_status(one.status) for _, one in changes],
    )


async def take_boots(
    connection: Hot, boots: Sequence[tuple[StationRef, Boot]], now: datetime
) -> None:
    await connection.execute(
        "UPDATE central_system.station AS s SET vendor = n.vendor, model = n.model,"
        " firmware = n.firmware, booted_at = $6, last_seen_at = $6"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])"
        "  AS n (operator, charge_point, vendor, model, firmware)"
        " WHERE s.operator = n.operator AND s.charge_point = n.charge_point",
        [ref.operator for ref, _ in boots],
        [ref.charge_point for ref, _ in boots],
        [one.vendor for _, one in boots],
        [one.model for _, one in boots],
        [one.firmware for _, one in boots],
        now,
    )


async def take_signs_of_life(connection: Hot, refs: Sequence[StationRef], now: datetime) -> None:
    await connection.execute(
        "UPDATE central_system.station AS s SET last_seen_at = $3"
        " FROM unnest($1::text[], $2::text[]) AS n (operator, charge_point)"
        " WHERE s.operator = n.operator AND s.charge_point = n.charge_point",
        [ref.operator for ref in refs],
        [ref.charge_point for ref in refs],
        now,
    )


async def _refuse_taken(connection: Hot, operator: PartyId, asked: Sequence[Enrolment]) -> None:
    homes = {evse: one.charge_point for one in asked for evse in one.connectors.values()}
    named = [one.charge_point for one in asked]
    taken = await connection.fetchrow(
        # A charge point named in this call gives up what it is not asked to keep.
        "SELECT evse_id, charge_point FROM central_system.connector"
        " WHERE operator = $1 AND evse_id = ANY($2::text[]) AND charge_point <> ALL($3::text[])"
        " LIMIT 1",
        operator,
        list(homes),
        named,
    )
    if taken is not None:
        evse = EvseId(taken["evse_id"])
        raise EvseTaken(
            f"{evse.display} is at charge point {taken['charge_point']} already",
            field="connectors",
            value=evse.display,
            rule="one charge point for an EVSE; enrol the other one without it first",
        )


async def _put_stations(
    connection: Hot, operator: PartyId, asked: Sequence[Enrolment], now: datetime
) -> dict[str, str | None]:
    """New stations, with the passwords that we made for them; None where one was given."""
    rows = await connection.fetch(
        "SELECT charge_point FROM central_system.station"
        " WHERE operator = $1 AND charge_point = ANY($2::text[])",
        operator,
        [one.charge_point for one in asked],
    )
    known = {row["charge_point"] for row in rows}
    made: dict[str, str | None] = {}
    written: list[tuple[str, PasswordHash]] = []
    for one in asked:
        password = one.password
        if one.charge_point not in known:
            made[one.charge_point] = new_password() if password is None else None
            password = password or made[one.charge_point]
        if password is not None:
            written.append((one.charge_point, PasswordHash.of(password)))
    await connection.execute(
        "INSERT INTO central_system.station"
        " (operator, charge_point, password_salt, password_digest, enrolled_at)"
        " SELECT $1, n.charge_point, n.salt, n.digest, $5"
        " FROM unnest($2::text[], $3::bytea[], $4::bytea[]) AS n (charge_point, salt, digest)"
        " ON CONFLICT (operator, charge_point) DO UPDATE"
        " SET password_salt = excluded.password_salt, password_digest = excluded.password_digest",
        operator,
        [name for name, _ in written],
        [one.salt for _, one in written],
        [one.digest for _, one in written],
        now,
    )
    return made


async def _put_connectors(
    connection: Hot, operator: PartyId, asked: Sequence[Enrolment]
) -> set[str]:
    """Charge points whose connectors are not as they were."""
    wanted: list[tuple[str, int, str | None]] = []
    for one in asked:
        wanted.append((one.charge_point, 0, None))
        wanted.extend((one.charge_point, number, evse) for number, evse in one.connectors.items())
    columns = [list(column) for column in zip(*wanted, strict=True)]
    n = "unnest($2::text[], $3::int[], $4::text[]) AS n (charge_point, connector_id, evse_id)"
    dropped = await connection.fetch(
        "DELETE FROM central_system.connector AS k WHERE operator = $1"
        " AND charge_point = ANY($2::text[]) AND NOT EXISTS (SELECT FROM"
        f" {n} WHERE n.charge_point = k.charge_point AND n.connector_id = k.connector_id)"
        " RETURNING charge_point",
        operator,
        *columns,
    )
    put = await connection.fetch(
        "INSERT INTO central_system.connector AS k (operator, charge_point, connector_id, evse_id)"
        f" SELECT $1, n.charge_point, n.connector_id, n.evse_id FROM {n}"
        " ON CONFLICT (operator, charge_point, connector_id) DO UPDATE"
        # The new EVSE of a connector has not been told of yet.
        " SET evse_id = excluded.evse_id,"
        " change_number = k.change_number + (k.hub_status IS NOT NULL)::int"
        " WHERE k.evse_id IS DISTINCT FROM excluded.evse_id RETURNING charge_point",
        operator,
        *columns,
    )
    return {row["charge_point"] for row in (*dropped, *put)}


def _enrolled_event(
    operator: PartyId, outcome: Sequence[Enrolled], told: Sequence[str], now: datetime
) -> NewEvent:
    return NewEvent(
        stream=f"stations:{operator}",
        type=EventType.STATION_ENROLLED,
        party=operator,
        body={
            "operator": operator,
            "created": sum(one.created for one in outcome),
            "charge_points": told,
        },
        occurred_at=now,
    )


async def _notify(connection: Hot, payload: str) -> None:
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)


def _to_station(row: Any, now: datetime | None) -> Station:
    alive_at = row["connection_alive_at"]
    return Station(
        ref=StationRef(PartyId(row["operator"]), row["charge_point"]),
        connectors=tuple(
            Connector(
                number,
                None if evse is None else EvseId(evse),
                status,
                error_code,
                None if at is None else datetime.fromisoformat(at),
            )
            for number, evse, status, error_code, at in row["connectors"]
        ),
        password=PasswordHash(row["password_salt"], row["password_digest"]),
        connected=now is not None and alive_at is not None and now - alive_at < LEASE,
        last_seen_at=row["last_seen_at"],
        booted_at=row["booted_at"],
        vendor=row["vendor"],
        model=row["model"],
        firmware=row["firmware"],
    )
