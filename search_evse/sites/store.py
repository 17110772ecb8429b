"""Sites and EVSEs in PostgreSQL. The rows stay in this file; only model types leave it.

Proximity needs no extension: `evse.place` holds degrees of longitude and of Mercator's latitude in
a core `point` with a GiST index. That projection keeps angles, so what is nearest on it is nearly
what is nearest on earth; `finder/store.py` makes it exactly so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Computed,
    DateTime,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.types import UserDefinedType

from kit import event_log
from kit.batching import Batcher
from kit.database import Database, Hot, metadata
from kit.event_log import NewEvent
from roaming.evse_id import EvseId
from roaming.party import PartyId
from search_evse.sites.model import Change, Connector, Found, Held, Place, Status, folded

# Woken when master data has changed, so that nobody answers from what he remembers.
CHANNEL = "evses"


class Point(UserDefinedType[str]):
    """PostgreSQL's core geometric type: two doubles."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "point"


sites = Table(
    "site",
    metadata,
    Column("operator", Text, primary_key=True),
    Column("site_id", Text, primary_key=True),
    Column("name", Text),
    Column("operator_name", Text),
    Column("address", Text),
    Column("city", Text),
    Column("postal_code", Text),
    Column("country", Text, nullable=False),
    Column("time_zone", Text),
    Column("latitude", Double, nullable=False),
    Column("longitude", Double, nullable=False),
    Column("opening", Text),
    Column("access", Text),
    Column("last_updated", DateTime(timezone=True), nullable=False),
    # As they are compared: without accents, case, blanks.
    Column("city_key", Text),
    Column("postal_key", Text),
    Column("search_text", Text, nullable=False),
    Column(
        "words", TSVECTOR, Computed("to_tsvector('simple'::regconfig, search_text)", persisted=True)
    ),
    Index("ix_site_words", "words", postgresql_using="gin"),
    Index("ix_site_city_key", "city_key"),
    Index("ix_site_postal_key", "postal_key", postgresql_ops={"postal_key": "text_pattern_ops"}),
    schema="search_evse",
)
evses = Table(
    "evse",
    metadata,
    Column("evse_id", Text, primary_key=True),
    Column("operator", Text, nullable=False),
    Column("site_id", Text, nullable=False),
    Column("latitude", Double, nullable=False),
    Column("longitude", Double, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_at", DateTime(timezone=True), nullable=False),
    Column("connectors", JSONB, nullable=False),
    Column("connector_types", ARRAY(Text), nullable=False),
    Column("max_power_w", Integer),
    Column("capabilities", ARRAY(Text), nullable=False),
    Column("uid", Text),
    Column("physical_reference", Text),
    Column("floor_level", Text),
    Column("published", Boolean, nullable=False),
    Column("last_updated", DateTime(timezone=True), nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column(
        "place",
        Point,
        Computed("point(longitude, degrees(asinh(tan(radians(latitude)))))", persisted=True),
    ),
    # A column, not an index condition on status: a status that comes and goes a hundred times a day
    # then touches no index (heap-only update).
    Column("findable", Boolean, Computed("published AND status <> 'REMOVED'", persisted=True)),
    ForeignKeyConstraint(
        ["operator", "site_id"], ["search_evse.site.operator", "search_evse.site.site_id"]
    ),
    Index("ix_evse_place", "place", postgresql_using="gist", postgresql_where="findable"),
    # One in twenty EVSEs is a fast one, and every second search is for those.
    Index(
        "ix_evse_place_fast",
        "place",
        postgresql_using="gist",
        postgresql_where="findable AND max_power_w >= 50000",
    ),
    Index("ix_evse_operator_evse_id", "operator", "evse_id"),
    Index("ix_evse_operator_site_id", "operator", "site_id"),
    schema="search_evse",
    postgresql_with={"fillfactor": "85"},
)

# What is not there yet has no row to lock: two imports of an operator's would each hold a row that
# the other waits for. So they go one after another, as they do at its events.
_ONE_AT_A_TIME = """
SELECT pg_advisory_xact_lock(key) FROM (
  SELECT DISTINCT hashtextextended('evses:' || operator, 0) AS key
  FROM unnest($1::text[]) AS operator ORDER BY key
) AS in_one_order
"""
_HELD = """
SELECT evse_id, operator, fingerprint, last_updated, status, status_at FROM search_evse.evse
WHERE evse_id = ANY($1::text[]) ORDER BY evse_id FOR UPDATE
"""
_SITE_COLUMNS = (
    "operator, site_id, name, operator_name, address, city, postal_code, country, time_zone, "
    "latitude, longitude, opening, access, last_updated, city_key, postal_key, search_text"
)
_EVSE_COLUMNS = (
    "evse_id, operator, site_id, latitude, longitude, status, status_at, connectors, "
    "connector_types, max_power_w, capabilities, uid, physical_reference, floor_level, published, "
    "last_updated, fingerprint"
)


def _upsert(table: str, columns: str, key: Collection[str]) -> str:
    """Another import may have written the row since it was read: then the newer one stays."""
    names = columns.split(", ")
    values = ", ".join(f"${n}" for n in range(1, len(names) + 1))
    news = ", ".join(f"{name} = excluded.{name}" for name in names if name not in key)
    return (
        f"INSERT INTO search_evse.{table} AS t ({columns}) VALUES ({values})"
        f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {news}"
        " WHERE t.last_updated <= excluded.last_updated"
    )


_WRITE_SITE = _upsert("site", _SITE_COLUMNS, ("operator", "site_id"))
_WRITE_EVSE = _upsert("evse", _EVSE_COLUMNS, ("evse_id",))


class SqlBook:
    def __init__(self, connection: Hot) -> None:
        self._connection = connection

    async def held(self, evse_ids: Collection[EvseId]) -> Mapping[EvseId, Held]:
        operators = {evse_id.party for evse_id in evse_ids}
        await self._connection.execute(_ONE_AT_A_TIME, list(operators))
        rows = await self._connection.fetch(_HELD, list(evse_ids))
        return {
            EvseId(row["evse_id"]): Held(
                operator=PartyId(row["operator"]),
                fingerprint=row["fingerprint"],
                last_updated=row["last_updated"],
                status=Status(row["status"]),
                status_at=row["status_at"],
            )
            for row in rows
        }

    async def write(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        # Sorted by key: two imports never wait for each other in a circle.
        site_rows = {(row[0], row[1]): row for row in map(_site_row, changes)}
        evse_rows = {row[0]: row for row in map(_evse_row, changes)}
        await self._connection.executemany(_WRITE_SITE, _by_key(site_rows))
        await self._connection.executemany(_WRITE_EVSE, _by_key(evse_rows))
        await self._connection.execute("SELECT pg_notify($1, '')", CHANNEL)

    async def tell(self, events: Sequence[NewEvent]) -> None:
        await event_log.append(self._connection, events)


class SqlBooks:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBook]:
        async with self._database.hot() as connection:
            yield SqlBook(connection)


def _by_key(rows: Mapping[Any, tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [rows[key] for key in sorted(rows)]


def _site_row(change: Change) -> tuple[Any, ...]:
    site = change.told.site
    searched = (site.name, site.operator_name, site.address, site.city, site.postal_code)
    return (
        site.operator,
        site.id,
        site.name,
        site.operator_name,
        site.address,
        site.city,
        site.postal_code,
        site.country,
        site.time_zone,
        site.latitude,
        site.longitude,
        site.opening,
        site.access,
        site.last_updated or change.held.last_updated,
        folded(site.city) if site.city else None,
        folded(site.postal_code).replace(" ", "") if site.postal_code else None,
        folded(" ".join(text for text in searched if text)),
    )


def _evse_row(change: Change) -> tuple[Any, ...]:
    evse, site, held = change.told.evse, change.told.site, change.held
    return (
        evse.id,
        site.operator,
        site.id,
        evse.latitude,
        evse.longitude,
        held.status,
        held.status_at,
        [_connector_json(connector) for connector in evse.connectors],
        evse.connector_types,
        evse.max_power_w,
        list(evse.capabilities),
        evse.uid,
        evse.physical_reference,
        evse.floor_level,
        site.published,
        held.last_updated,
        held.fingerprint,
    )


def _connector_json(connector: Connector) -> dict[str, Any]:
    return {
        "id": connector.id,
        "standard": connector.standard,
        "format": connector.format,
        "power_type": connector.power_type,
        "max_electric_power_w": connector.max_electric_power_w,
    }


_FIND = """
SELECT e.evse_id, e.operator, s.country, s.time_zone, e.latitude, e.longitude, e.max_power_w
FROM search_evse.evse e JOIN search_evse.site s USING (operator, site_id)
"""
_FIND_ALL = f"{_FIND} WHERE e.evse_id = ANY($1::text[])"
_PLACE = """
SELECT e.evse_id, e.operator, e.latitude, e.longitude, s.name, s.city, s.time_zone
FROM search_evse.evse e JOIN search_evse.site s USING (operator, site_id)
"""
_PLACES = f"{_PLACE} WHERE e.evse_id = ANY($1::text[])"
_HIDDEN = "SELECT evse_id FROM search_evse.evse WHERE evse_id = ANY($1::text[]) AND NOT published"
_ALL_PLACES = f"{_PLACE} WHERE e.findable ORDER BY e.evse_id LIMIT $1"


class EvseRegister:
    """Whose an EVSE is, and which clock hangs there, for the other wings: asked at every charge.

    What was found is remembered while `keep_fresh` runs, which forgets all of it whenever master
    data changes anywhere. What was not found is asked again each time, so that an EVSE is known as
    soon as it is imported. EVSEs that were removed are found, too: their last CDRs still come.
    """

    def __init__(self, database: Database, *, remember_most: int = 20_000) -> None:
        self._database = database
        self._remember_most = remember_most
        self._remembered: OrderedDict[str, Found] = OrderedDict()
        self._listening = False
        self._forgotten = 0
        self._asked: Batcher[EvseId, Found | None] = Batcher(self._find_asked, at_once=4)

    async def keep_fresh(self) -> None:
        """Run beside the register until cancelled; without it nothing is remembered."""
        try:
            async with self._database.listen(CHANNEL) as wakes:
                self._listening = True
                async for _ in wakes:
                    self._forget()
        finally:
            self._listening = False
            self._forget()

    async def find(self, evse_id: EvseId) -> Found | None:
        found = self._remembered.get(evse_id)
        if found is not None:
            self._remembered.move_to_end(evse_id)
            return found
        return await self._asked.put(evse_id)

    async def _find_asked(self, asked: Sequence[EvseId]) -> Sequence[Found | None]:
        """One query for all who ask while the last one runs."""
        found = await self.find_all(set(asked))
        return [found.get(one) for one in asked]

    async def find_all(self, evse_ids: Collection[EvseId]) -> dict[EvseId, Found]:
        """Those of `evse_ids` that are known, in one query at most."""
        found = {one: self._remembered[one] for one in evse_ids if one in self._remembered}
        missing = [one for one in evse_ids if one not in found]
        if missing:
            before = self._forgotten
            rows = await self._database.pool.fetch(_FIND_ALL, missing)
            asked = [_to_found(row) for row in rows]
            self._remember(asked, before)
            found.update((one.evse_id, one) for one in asked)
        return found

    async def places(self, evse_ids: Collection[EvseId]) -> list[Place]:
        """Where these EVSEs are, for a map; unknown ones are left out."""
        rows = await self._database.pool.fetch(_PLACES, list(evse_ids))
        return [_to_place(row) for row in rows]

    async def all_places(self, most: int) -> list[Place]:
        """Where EVSEs are, whichever; for a map of a whole hub, `most` of them."""
        return [_to_place(row) for row in await self._database.pool.fetch(_ALL_PLACES, most)]

    async def hidden(self, evse_ids: Collection[str]) -> set[str]:
        """Those of these EVSEs that their operators do not publish."""
        rows = await self._database.pool.fetch(_HIDDEN, list(evse_ids))
        return {row["evse_id"] for row in rows}

    def _remember(self, found: Iterable[Found], asked_after: int) -> None:
        # What was asked before the last change may be what it changed.
        if not self._listening or asked_after != self._forgotten:
            return
        for one in found:
            self._remembered[one.evse_id] = one
        while len(self._remembered) > self._remember_most:
            self._remembered.popitem(last=False)

    def _forget(self) -> None:
        self._forgotten += 1
        self._remembered.clear()


def _to_place(row: Any) -> Place:
    return Place(
        evse_id=EvseId(row["evse_id"]),
        operator=PartyId(row["operator"]),
        latitude=row["latitude"],
        longitude=row["longitude"],
        site_name=row["name"],
        city=row["city"],
        time_zone=row["time_zone"],
    )


def _to_found(row: Any) -> Found:
    return Found(
        evse_id=EvseId(row["evse_id"]),
        operator=PartyId(row["operator"]),
        country=row["country"],
        time_zone=row["time_zone"],
        latitude=row["latitude"],
        longitude=row["longitude"],
        max_power_w=row["max_power_w"],
    )
