"""People on PostgreSQL. What they show themselves by is hashed or sealed; the log holds neither
their names nor their addresses, since it forgets nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database, metadata
from kit.event_log import NewEvent, append
from kit.secrets import SecretBox
from marketplace.access.model import person_holder
from marketplace.access.store import end_token, end_tokens_of, hold_tokens
from marketplace.partners.model import Role, UnknownPartner, roles_in_force
from marketplace.partners.store import partners, to_standing
from marketplace.people.model import Credentials, Duty, Invitation, Person, PersonStatus
from marketplace.people.ports import PendingLogin, Standing
from roaming.events import EventType
from roaming.party import PartyId

_Identifier = Text(collation="C")
persons = Table(
    "person",
    metadata,
    Column("person_id", _Identifier, primary_key=True),
    Column("party", Text, ForeignKey(partners.c.party), nullable=False),
    Column("email", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("duties", ARRAY(Text), nullable=False),
    Column("status", Text, nullable=False),
    Column("invited_at", DateTime(timezone=True), nullable=False),
    Column("joined_at", DateTime(timezone=True)),
    Column("last_login_at", DateTime(timezone=True)),
    Column("invitation_hash", LargeBinary, unique=True),
    Column("invitation_until", DateTime(timezone=True)),
    Column("password_hash", Text),
    Column("sealed_secret", LargeBinary),
    Column("last_step", BigInteger, nullable=False),
    Column("recovery_hashes", ARRAY(LargeBinary), nullable=False),
    Column("failed", Integer, nullable=False),
    Column("failed_at", DateTime(timezone=True)),
    Column("issuer", Text),
    Column("subject", Text),
    schema="marketplace",
)
_THERE = persons.c.status != PersonStatus.REMOVED.value
Index(
    "uq_person_party_email",
    persons.c.party,
    persons.c.email,
    unique=True,
    postgresql_where=_THERE,
)
Index(
    "uq_person_party_issuer_subject",
    persons.c.party,
    persons.c.issuer,
    persons.c.subject,
    unique=True,
    postgresql_where=_THERE,
)
pending_logins = Table(
    "pending_login",
    metadata,
    Column("state_hash", LargeBinary, primary_key=True),
    Column("party", Text, nullable=False),
    Column("nonce", Text, nullable=False),
    # Sealed: whoever reads the table cannot finish another's log-in.
    Column("sealed_verifier", LargeBinary, nullable=False),
    Column("binding_hash", LargeBinary, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)


_NOTHING_TO_SHOW: Mapping[str, Any] = {
    "password_hash": None,
    "sealed_secret": None,
    "recovery_hashes": [],
    "issuer": None,
    "subject": None,
}


class SqlBook:
    def __init__(self, connection: AsyncConnection, box: SecretBox) -> None:
        self._connection = connection
        self._box = box

    async def hold(self, party: PartyId) -> None:
        found = await self._connection.execute(
            select(partners.c.party).where(partners.c.party == party)
        )
        if found.first() is None:
            raise UnknownPartner("no such partner", field="party", value=party)
        await self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended(f"people:{party}", 0)))
        )

    async def of(self, party: PartyId) -> Sequence[Person]:
        rows = await self._connection.execute(
            select(persons)
            .where(persons.c.party == party, _THERE)
            .order_by(persons.c.name, persons.c.person_id)
        )
        return [_person(row) for row in rows]

    async def find(self, party: PartyId, person_id: str) -> Person | None:
        row = (
            await self._connection.execute(
                select(persons).where(
                    persons.c.party == party, persons.c.person_id == person_id, _THERE
                )
            )
        ).first()
        return None if row is None else _person(row)

    async def standing(self, person_id: str) -> Standing | None:
        return await self._standing(persons.c.person_id == person_id)

    async def by_email(self, party: PartyId, email: str) -> Standing | None:
        return await self._standing(persons.c.party == party, persons.c.email == email)

    async def by_subject(self, party: PartyId, issuer: str, subject: str) -> Standing | None:
        return await self._standing(
            persons.c.party == party, persons.c.issuer == issuer, persons.c.subject == subject
        )

    async def by_invitation(self, token_hash: bytes) -> Standing | None:
        return await self._standing(persons.c.invitation_hash == token_hash)

    async def _standing(self, *which: Any) -> Standing | None:
        row = (
            await self._connection.execute(
                select(persons, func.now().label("asked_at"))
                .where(_THERE, *which)
                .with_for_update()
            )
        ).first()
        if row is None:
            return None
        # Nobody suspends the partner until we are done: who logs in for the first time would hold a
        # token that the suspension had not seen.
        partner = (
            await self._connection.execute(
                select(partners.c.roles, partners.c.standing)
                .where(partners.c.party == row.party)
                .with_for_update(read=True)
            )
        ).one()
        standing = to_standing(partner.standing)
        takes_part = standing.absent(None, row.asked_at) is None
        roles = roles_in_force(frozenset(map(Role, partner.roles)), standing, row.asked_at)
        return Standing(
            person=_person(row),
            credentials=Credentials(
                password_hash=row.password_hash,
                sealed_secret=None if row.sealed_secret is None else bytes(row.sealed_secret),
                last_step=row.last_step,
                recovery_hashes=frozenset(bytes(one) for one in row.recovery_hashes),
                failed=row.failed,
                failed_at=row.failed_at,
            ),
            roles=roles if takes_part else None,
            invitation=(
                None
                if row.invitation_hash is None
                else Invitation(bytes(row.invitation_hash), row.invitation_until)
            ),
        )

    async def invite(self, person: Person, invitation: Invitation) -> None:
        await self._connection.execute(
            persons.insert().values(
                person_id=person.person_id,
                party=person.party,
                email=person.email,
                name=person.name,
                duties=sorted(person.duties),
                status=person.status.value,
                invited_at=person.invited_at,
                invitation_hash=invitation.token_hash,
                invitation_until=invitation.until,
                last_step=0,
                recovery_hashes=[],
                failed=0,
            )
        )
        await self._tell(
            EventType.PERSON_INVITED, person, person.invited_at, until=invitation.until
        )

    async def invite_again(self, person: Person, invitation: Invitation, now: datetime) -> None:
        await self._set(
            person.person_id,
            invitation_hash=invitation.token_hash,
            invitation_until=invitation.until,
        )
        await self._tell(EventType.PERSON_INVITED, person, now, until=invitation.until, again=True)

    async def start_anew(self, person: Person, invitation: Invitation, now: datetime) -> None:
        await self._set(
            person.person_id,
            **_NOTHING_TO_SHOW,
            failed=0,
            failed_at=None,
            invitation_hash=invitation.token_hash,
            invitation_until=invitation.until,
        )
        await end_tokens_of(self._connection, person_holder(person.person_id), now)
        more: dict[str, object] = {"until": invitation.until, "again": True, "anew": True}
        await self._tell(EventType.PERSON_INVITED, person, now, **more)

    async def log_ins_ended(self, person: Person, now: datetime) -> None:
        await end_tokens_of(self._connection, person_holder(person.person_id), now)
        await self._tell(EventType.PERSON_LOGGED_OUT, person, now, everywhere=True)

    async def change(self, person: Person, now: datetime) -> None:
        await self._set(person.person_id, name=person.name, duties=sorted(person.duties))
        await end_tokens_of(self._connection, person_holder(person.person_id), now)
        await self._tell(EventType.PERSON_CHANGED, person, now)

    async def remove(self, person: Person, now: datetime) -> None:
        await self._set(
            person.person_id,
            status=PersonStatus.REMOVED.value,
            invitation_hash=None,
            invitation_until=None,
            **_NOTHING_TO_SHOW,
        )
        await end_tokens_of(self._connection, person_holder(person.person_id), now)
        await self._tell(EventType.PERSON_REMOVED, person, now)

    async def keep(self, person_id: str, credentials: Credentials) -> None:
        await self._set(
            person_id,
            password_hash=credentials.password_hash,
            sealed_secret=credentials.sealed_secret,
            last_step=credentials.last_step,
            recovery_hashes=sorted(credentials.recovery_hashes),
            failed=credentials.failed,
            failed_at=credentials.failed_at,
        )

    async def join(self, person: Person, credentials: Credentials, now: datetime, way: str) -> None:
        await self.keep(person.person_id, credentials)
        await self._set(
            person.person_id,
            status=PersonStatus.ACTIVE.value,
            joined_at=func.coalesce(persons.c.joined_at, now),
            invitation_hash=None,
            invitation_until=None,
        )
        await end_tokens_of(self._connection, person_holder(person.person_id), now)
        await self._tell(EventType.PERSON_JOINED, person, now, way=way)

    async def bind(self, person: Person, issuer: str, subject: str, now: datetime) -> None:
        await self._set(person.person_id, issuer=issuer, subject=subject)

    async def logged_in(self, person: Person, now: datetime, way: str) -> None:
        await self._set(person.person_id, last_login_at=now)
        await hold_tokens(self._connection, person_holder(person.person_id), person.party)
        await self._tell(EventType.PERSON_LOGGED_IN, person, now, way=way)

    async def refused(self, person: Person, now: datetime, why: str) -> None:
        await self._tell(EventType.PERSON_LOGIN_REFUSED, person, now, why=why)

    async def logged_out(self, person: Person, jti: str, until: datetime, now: datetime) -> None:
        if await end_token(self._connection, jti, person_holder(person.person_id), until, now):
            await self._tell(EventType.PERSON_LOGGED_OUT, person, now)

    async def password_changed(
        self, person: Person, credentials: Credentials, now: datetime
    ) -> None:
        await self.keep(person.person_id, credentials)
        await end_tokens_of(self._connection, person_holder(person.person_id), now)
        await self._tell(EventType.PERSON_PASSWORD_CHANGED, person, now)

    async def begin_login(self, state_hash: bytes, pending: PendingLogin) -> None:
        await self._connection.execute(
            pending_logins.insert().values(
                state_hash=state_hash,
                party=pending.party,
                nonce=pending.nonce,
                sealed_verifier=self._box.seal(
                    pending.verifier.encode(), purpose=_seal_of(state_hash)
                ),
                binding_hash=pending.binding_hash,
                until=pending.until,
            )
        )

    async def take_login(self, state_hash: bytes) -> PendingLogin | None:
        row = (
            await self._connection.execute(
                delete(pending_logins)
                .where(pending_logins.c.state_hash == state_hash)
                .returning(*pending_logins.c)
            )
        ).first()
        if row is None:
            return None
        verifier = self._box.unseal(bytes(row.sealed_verifier), purpose=_seal_of(state_hash))
        return PendingLogin(
            PartyId(row.party), row.nonce, verifier.decode(), bytes(row.binding_hash), row.until
        )

    async def forget_expired(self, now: datetime) -> None:
        await self._connection.execute(delete(pending_logins).where(pending_logins.c.until <= now))

    async def _set(self, person_id: str, **values: Any) -> None:
        await self._connection.execute(
            update(persons).where(persons.c.person_id == person_id).values(**values)
        )

    async def _tell(self, kind: EventType, person: Person, now: datetime, **more: object) -> None:
        body = {"person_id": person.person_id, "duties": sorted(person.duties), **more}
        stream = f"people:{person.party}"
        await append(self._connection, [NewEvent(stream, kind, person.party, body, now)])


class SqlPeople:
    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlBook]:
        async with self._database.begin() as connection:
            yield SqlBook(connection, self._box)


def _seal_of(state_hash: bytes) -> str:
    return f"pending-login:{state_hash.hex()}"


def _person(row: Any) -> Person:
    return Person(
        person_id=row.person_id,
        party=PartyId(row.party),
        email=row.email,
        name=row.name,
        duties=frozenset(Duty(duty) for duty in row.duties),
        status=PersonStatus(row.status),
        invited_at=row.invited_at,
        joined_at=row.joined_at,
        last_login_at=row.last_login_at,
        subject=row.subject,
    )
