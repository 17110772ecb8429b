"""What each EVSP wishes of its deliveries, and the hub's own key at its host, on PostgreSQL."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import time
from typing import Any

from clearinghouse.cdrs import store as cdrs
from clearinghouse.cdrs.ports import CHANNEL
from clearinghouse.forwarding.model import (
    AT_ONCE,
    Cadence,
    Channel,
    Preference,
    Schedule,
    SftpPlace,
    Weekday,
)
from clearinghouse.forwarding.tables import preferences, sftp_keys
from kit import event_log, sftp
from kit.clock import Clock
from kit.database import Database, Few
from kit.event_log import NewEvent
from kit.secrets import SecretBox
from roaming.events import EventType
from roaming.party import PartyId


class SqlPreferences:
    """`connections_most`: as for the outbox, which asks here before each step."""

    def __init__(
        self, database: Database, box: SecretBox, clock: Clock, *, connections_most: int = 2
    ) -> None:
        self._few = Few(database, connections_most)
        self._box = box
        self._clock = clock

    async def of(self, evsp: PartyId) -> Preference:
        async with self._few.acquire() as connection:
            row = await connection.fetchrow(
                f"SELECT * FROM {preferences.fullname} WHERE evsp = $1", evsp
            )
        return AT_ONCE if row is None else _to_preference(row)

    async def keep(self, evsp: PartyId, preference: Preference) -> Preference:
        now = self._clock()
        key = sftp.new_key(f"gridroam-{evsp.compact}") if preference.sftp is not None else None
        async with self._few.hot() as connection:
            row = await connection.fetchrow(
                f"SELECT * FROM {preferences.fullname} WHERE evsp = $1 FOR UPDATE", evsp
            )
            known = None if row is None else _to_preference(row)
            if known is not None and replace(preference, changed_at=known.changed_at) == known:
                return known
            kept = replace(preference, changed_at=now)
            schedule = kept.schedule
            place = None if kept.sftp is None else asdict(kept.sftp)
            values = {
                "channel": kept.channel.value,
                "cadence": schedule.cadence.value,
                "time_zone": schedule.time_zone,
                "at": schedule.at.isoformat("minutes"),
                "weekday": schedule.weekday.value,
                "day_of_month": schedule.day_of_month,
                "sftp": place,
            }
            await connection.execute(
                f"INSERT INTO {preferences.fullname}"
                " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (evsp) DO UPDATE SET"
                " channel = $2, cadence = $3, time_zone = $4, at = $5, weekday = $6,"
                " day_of_month = $7, sftp = $8, changed_at = $9",
                evsp,
                *values.values(),
                now,
            )
            if key is not None:
                await connection.execute(
                    f"INSERT INTO {sftp_keys.fullname} VALUES ($1, $2, $3, $4)"
                    " ON CONFLICT DO NOTHING",
                    evsp,
                    key.public,
                    self._box.seal(key.private, purpose=f"sftp-key:{evsp}"),
                    now,
                )
            event = NewEvent(
                stream=f"deliveries:{evsp}",
                type=EventType.DELIVERY_PREFERENCE_CHANGED,
                party=evsp,
                body=values,
                occurred_at=now,
            )
            await event_log.append(connection, [event])
            await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, cdrs.notice_of([evsp]))
        return kept

    async def public_key(self, evsp: PartyId) -> str | None:
        async with self._few.acquire() as connection:
            key: str | None = await connection.fetchval(
                f"SELECT public_key FROM {sftp_keys.fullname} WHERE evsp = $1", evsp
            )
        return key

    async def private_key(self, evsp: PartyId) -> bytes:
        async with self._few.acquire() as connection:
            sealed = await connection.fetchval(
                f"SELECT sealed_private_key FROM {sftp_keys.fullname} WHERE evsp = $1", evsp
            )
        return self._box.unseal(bytes(sealed), purpose=f"sftp-key:{evsp}")


def _to_preference(row: Any) -> Preference:
    place = row["sftp"]
    return Preference(
        channel=Channel(row["channel"]),
        schedule=Schedule(
            cadence=Cadence(row["cadence"]),
            time_zone=row["time_zone"],
            at=time.fromisoformat(row["at"]),
            weekday=Weekday(row["weekday"]),
            day_of_month=row["day_of_month"],
        ),
        sftp=None if place is None else SftpPlace(**place),
        changed_at=row["changed_at"],
    )
