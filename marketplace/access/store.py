"""Clients, keys and revocations on PostgreSQL. The rows stay in this file."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    Table,
    Text,
    and_,
    delete,
    func,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from kit.database import Database, metadata
from kit.event_log import NewEvent, append
from marketplace.access import model
from marketplace.access.model import (
    TOKEN_LIFETIME,
    Certificate,
    Client,
    RetiringKey,
    Revocations,
    SecretKept,
    SigningKey,
)
from marketplace.partners.model import Role, roles_in_force
from marketplace.partners.standing import PartnerStatus, Standing
from marketplace.partners.store import partners, to_standing
from marketplace.services.model import Environment
from roaming.events import EventType
from roaming.party import PartyId

CHANNEL = "revocations"

clients = Table(
    "client",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("party", Text, ForeignKey(partners.c.party), nullable=False, index=True),
    # Null, as its certificates: the client shows who it is by a secret.
    Column("public_keys", JSONB(none_as_null=True)),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True)),
    # Tokens from before this moment no longer count.
    Column("tokens_from", DateTime(timezone=True)),
    Column("environment", Text, nullable=False, server_default=Environment.LIVE.value),
    Column("certificates", JSONB(none_as_null=True)),
    Column("name", Text),
    Column("expires_at", DateTime(timezone=True)),
    # Keys that were replaced, each with the moment up to which it is good.
    Column("retiring_keys", JSONB(none_as_null=True)),
    schema="marketplace",
)
client_secrets = Table(
    "client_secret",
    metadata,
    Column("secret_id", BigInteger, Identity(), primary_key=True),
    Column("client_id", Text, ForeignKey(clients.c.client_id), nullable=False, index=True),
    Column("hash", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    schema="marketplace",
)
used_assertions = Table(
    "used_assertion",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("jti", Text, primary_key=True),
    Column("until", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
revoked_tokens = Table(
    "revoked_token",
    metadata,
    Column("jti", Text, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Column("revoked_at", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)
Index("ix_client_tokens_from", clients.c.tokens_from)
# Who else holds tokens for a party: its people, since their first log-in.
token_holders = Table(
    "token_holder",
    metadata,
    Column("holder", Text(collation="C"), primary_key=True),
    Column("party", Text, ForeignKey(partners.c.party), nullable=False, index=True),
    Column("tokens_from", DateTime(timezone=True), index=True),
    schema="marketplace",
)
signing_keys = Table(
    "signing_key",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("public_jwk", JSONB, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("signs_from", DateTime(timezone=True), nullable=False),
    schema="marketplace",
)


class SqlKeeper:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def client(self, client_id: str, now: datetime) -> Client | None:
        found = await self._clients(clients.c.client_id == client_id, now)
        return found[0] if found else None

    async def clients_of(self, party: PartyId, now: datetime) -> Sequence[Client]:
        return await self._clients(clients.c.party == party, now)

    async def _clients(self, which: Any, now: datetime) -> list[Client]:
        in_force = (
            select(
                func.jsonb_agg(
                    func.jsonb_build_array(
                        client_secrets.c.secret_id,
                        client_secrets.c.hash,
                        client_secrets.c.created_at,
                        client_secrets.c.expires_at,
                    )
                )
            )
            .where(client_secrets.c.client_id == clients.c.client_id)
            .where(or_(client_secrets.c.expires_at.is_(None), client_secrets.c.expires_at > now))
            .scalar_subquery()
        )
        rows = await self._connection.execute(
            select(clients, partners.c.roles, partners.c.standing, in_force.label("secrets"))
            .join(partners, partners.c.party == clients.c.party)
            .where(
                which,
                clients.c.revoked_at.is_(None),
                or_(clients.c.expires_at.is_(None), clients.c.expires_at > now),
            )
            .order_by(clients.c.created_at, clients.c.client_id)
        )
        standing_rows = [(row, to_standing(row.standing)) for row in rows]
        return [
            _client(row, standing, now)
            for row, standing in standing_rows
            if standing.at(now) is not PartnerStatus.SUSPENDED
        ]

    async def client_to_change(
        self, party: PartyId, client_id: str, now: datetime
    ) -> Client | None:
        await self._connection.execute(
            select(clients.c.client_id).where(clients.c.client_id == client_id).with_for_update()
        )
        found = await self._clients(
            and_(clients.c.client_id == client_id, clients.c.party == party), now
        )
        return found[0] if found else None

    async def change(self, client: Client, now: datetime) -> None:
        current = client.public_keys[: len(client.public_keys) - len(client.retiring)]
        retiring = [
            {"key": dict(one.key), "until": one.until.isoformat()} for one in client.retiring
        ]
        await self._connection.execute(
            update(clients)
            .where(clients.c.client_id == client.client_id)
            .values(
                name=client.name,
                expires_at=client.expires_at,
                public_keys=[dict(key) for key in current] or None,
                retiring_keys=retiring or None,
            )
        )
        body = {
            "client_id": client.client_id,
            "name": client.name,
            "expires_at": client.expires_at,
            "kids": [key.get("kid") for key in current],
        }
        await self._tell(EventType.CLIENT_CHANGED, client.party, body, now)

    async def end_secret(self, client: Client, secret_id: int, now: datetime) -> None:
        await self._connection.execute(
            delete(client_secrets).where(
                client_secrets.c.client_id == client.client_id,
                client_secrets.c.secret_id == secret_id,
            )
        )
        body = {"client_id": client.client_id, "secret_id": secret_id}
        await self._tell(EventType.CLIENT_SECRET_ENDED, client.party, body, now)

    async def add_key_client(
        self,
        client_id: str,
        party: PartyId,
        keys: Sequence[Mapping[str, Any]] | None,
        certificates: Sequence[Certificate],
        now: datetime,
        environment: Environment,
    ) -> None:
        made = await self._connection.execute(
            insert(clients)
            .values(
                client_id=client_id,
                party=party,
                public_keys=None if keys is None else list(keys),
                created_at=now,
                environment=environment.value,
                certificates=[_shown(one) for one in certificates] or None,
            )
            .on_conflict_do_nothing()
            .returning(clients.c.client_id)
        )
        if made.first() is not None:
            body = {
                "client_id": client_id,
                "kids": [key.get("kid") for key in keys or ()],
                "certificates": [one.thumbprint for one in certificates],
                "environment": environment.value,
            }
            await self._tell(EventType.CLIENT_REGISTERED, party, body, now)

    async def add_secret(
        self, party: PartyId, secret_hash: str, now: datetime, environment: Environment
    ) -> str:
        return await add_client_secret(self._connection, party, secret_hash, now, environment)

    async def revoke_client(self, party: PartyId, client_id: str, now: datetime) -> bool:
        ended = await self._connection.execute(
            update(clients)
            .where(
                clients.c.client_id == client_id,
                clients.c.party == party,
                clients.c.revoked_at.is_(None),
            )
            .values(revoked_at=now, tokens_from=now)
            .returning(clients.c.client_id)
        )
        if ended.first() is None:
            known = await self._connection.execute(
                select(clients.c.client_id).where(
                    clients.c.client_id == client_id, clients.c.party == party
                )
            )
            return known.first() is not None
        await self._tell(EventType.CLIENT_REVOKED, party, {"client_id": client_id}, now)
        await _notify(self._connection)
        return True

    async def use_assertion(self, client_id: str, jti: str, until: datetime) -> bool:
        taken = await self._connection.execute(
            insert(used_assertions)
            .values(client_id=client_id, jti=jti, until=until)
            .on_conflict_do_nothing()
            .returning(used_assertions.c.jti)
        )
        return taken.first() is not None

    async def revoke_token(
        self, jti: str, client_id: str, party: PartyId, until: datetime, now: datetime
    ) -> None:
        if await end_token(self._connection, jti, client_id, until, now):
            body = {"client_id": client_id, "jti": jti}
            await self._tell(EventType.TOKEN_REVOKED, party, body, now)

    async def revocations(self, now: datetime) -> Revocations:
        tokens = await self._connection.execute(
            select(revoked_tokens.c.jti, revoked_tokens.c.until).where(revoked_tokens.c.until > now)
        )
        # Twice a token's life: what was issued before that has expired by every clock.
        since = now - 2 * TOKEN_LIFETIME
        ended = await self._connection.execute(
            union_all(
                select(clients.c.client_id, clients.c.tokens_from).where(
                    clients.c.tokens_from > since
                ),
                select(token_holders.c.holder, token_holders.c.tokens_from).where(
                    token_holders.c.tokens_from > since
                ),
            )
        )
        return Revocations(
            tokens=tuple((row.jti, row.until) for row in tokens),
            clients=tuple((holder, tokens_from) for holder, tokens_from in ended),
        )

    async def lock_keys(self) -> None:
        await self._connection.execute(
            select(func.pg_advisory_xact_lock(func.hashtextextended("signing-keys", 0)))
        )

    async def keys(self) -> Sequence[SigningKey]:
        rows = await self._connection.execute(
            select(signing_keys).order_by(signing_keys.c.signs_from, signing_keys.c.kid)
        )
        return [
            SigningKey(row.kid, row.public_jwk, bytes(row.sealed), row.created_at, row.signs_from)
            for row in rows
        ]

    async def add_key(self, key: SigningKey, now: datetime) -> None:
        await self._connection.execute(
            signing_keys.insert().values(
                kid=key.kid,
                public_jwk=dict(key.public_jwk),
                sealed=key.sealed,
                created_at=key.created_at,
                signs_from=key.signs_from,
            )
        )
        body = {"kid": key.kid, "signs_from": key.signs_from.isoformat()}
        await append(
            self._connection,
            [NewEvent("signing-keys", EventType.SIGNING_KEY_ADDED, "hub", body, now)],
        )
        await _notify(self._connection)

    async def drop_keys(self, kids: Sequence[str]) -> None:
        if kids:
            await self._connection.execute(
                delete(signing_keys).where(signing_keys.c.kid.in_(list(kids)))
            )

    async def forget_expired(self, now: datetime) -> None:
        for table, column in (
            (used_assertions, used_assertions.c.until),
            (revoked_tokens, revoked_tokens.c.until),
            (client_secrets, client_secrets.c.expires_at),
        ):
            await self._connection.execute(delete(table).where(column <= now))

    async def _tell(
        self, kind: EventType, party: PartyId, body: dict[str, Any], now: datetime
    ) -> None:
        await append(self._connection, [NewEvent(f"partner:{party}", kind, party, body, now)])


class SqlAccess:
    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqlKeeper]:
        async with self._database.begin() as connection:
            yield SqlKeeper(connection)


async def add_client_secret(
    connection: AsyncConnection,
    party: PartyId,
    secret_hash: str,
    now: datetime,
    environment: Environment = Environment.LIVE,
) -> str:
    """A further secret in the caller's transaction; also used when a party registers."""
    found = await connection.execute(
        select(clients.c.client_id)
        .where(
            clients.c.party == party,
            clients.c.public_keys.is_(None),
            clients.c.certificates.is_(None),
            clients.c.environment == environment.value,
            clients.c.revoked_at.is_(None),
        )
        .order_by(clients.c.created_at)
        .limit(1)
        .with_for_update()
    )
    client_id = found.scalar()
    made = client_id is None
    if client_id is None:
        place = "" if environment is Environment.LIVE else f"{environment}-"
        client_id = f"{party.compact.lower()}-{place}{secrets.token_hex(6)}"
        await connection.execute(
            clients.insert().values(
                client_id=client_id, party=party, created_at=now, environment=environment.value
            )
        )
    rows = await connection.execute(
        select(
            client_secrets.c.secret_id, client_secrets.c.created_at, client_secrets.c.expires_at
        ).where(client_secrets.c.client_id == client_id)
    )
    kept = [SecretKept(row.secret_id, row.created_at, row.expires_at) for row in rows]
    shorten, drop = model.secrets_to_end(kept, now)
    for secret_id, end in shorten:
        await connection.execute(
            update(client_secrets)
            .where(client_secrets.c.secret_id == secret_id)
            .values(expires_at=end)
        )
    await connection.execute(delete(client_secrets).where(client_secrets.c.secret_id.in_(drop)))
    await connection.execute(
        client_secrets.insert().values(client_id=client_id, hash=secret_hash, created_at=now)
    )
    body = {
        "client_id": client_id,
        "new_client": made,
        "secrets_dropped": len(drop),
        "environment": environment.value,
    }
    await append(
        connection,
        [NewEvent(f"partner:{party}", EventType.CLIENT_REGISTERED, party, body, now)],
    )
    return str(client_id)


async def end_tokens(connection: AsyncConnection, party: PartyId, now: datetime) -> None:
    """Tokens that the party's clients and people hold end in the caller's transaction; they
    themselves stay."""
    for table in (clients, token_holders):
        await connection.execute(
            update(table).where(table.c.party == party).values(tokens_from=now)
        )
    body = {"party": party}
    await append(
        connection,
        [NewEvent(f"partner:{party}", EventType.CLIENT_TOKENS_ENDED, party, body, now)],
    )
    await _notify(connection)


async def hold_tokens(connection: AsyncConnection, holder: str, party: PartyId) -> None:
    """This one may hold tokens for the party from now on."""
    await connection.execute(
        insert(token_holders).values(holder=holder, party=party).on_conflict_do_nothing()
    )


async def end_tokens_of(connection: AsyncConnection, holder: str, now: datetime) -> None:
    """Tokens that it holds end in the caller's transaction."""
    await connection.execute(
        update(token_holders).where(token_holders.c.holder == holder).values(tokens_from=now)
    )
    await _notify(connection)


async def end_token(
    connection: AsyncConnection, jti: str, holder: str, until: datetime, now: datetime
) -> bool:
    """One token ends in the caller's transaction. False: it had ended before."""
    taken = await connection.execute(
        insert(revoked_tokens)
        .values(jti=jti, client_id=holder, until=until, revoked_at=now)
        .on_conflict_do_nothing()
        .returning(revoked_tokens.c.jti)
    )
    if taken.first() is None:
        return False
    await _notify(connection)
    return True


def _client(row: Any, standing: Standing, now: datetime) -> Client:
    kept = sorted(row.secrets or (), key=lambda one: int(one[0]))
    told = [
        RetiringKey(one["key"], datetime.fromisoformat(one["until"]))
        for one in row.retiring_keys or ()
    ]
    retiring = tuple(one for one in told if one.until > now)
    return Client(
        client_id=row.client_id,
        party=PartyId(row.party),
        roles=roles_in_force(frozenset(Role(role) for role in row.roles), standing, now),
        secret_hashes=tuple(hashed for _, hashed, _, _ in kept),
        public_keys=(*(row.public_keys or ()), *(one.key for one in retiring)),
        created_at=row.created_at,
        environment=Environment(row.environment),
        certificates=tuple(_certificate(one) for one in row.certificates or ()),
        reads_only=standing.at(now) is PartnerStatus.LEFT,
        name=row.name,
        expires_at=row.expires_at,
        secrets=tuple(
            SecretKept(
                secret_id,
                datetime.fromisoformat(created),
                None if expires is None else datetime.fromisoformat(expires),
            )
            for secret_id, _, created, expires in kept
        ),
        retiring=retiring,
    )


def _shown(certificate: Certificate) -> dict[str, Any]:
    return {
        "x5t#S256": certificate.thumbprint,
        "self_signed": certificate.self_signed,
        "valid_until": certificate.valid_until.isoformat(),
    }


def _certificate(shown: Mapping[str, Any]) -> Certificate:
    until = datetime.fromisoformat(shown["valid_until"])
    return Certificate(shown["x5t#S256"], shown["self_signed"], until)


async def _notify(connection: AsyncConnection) -> None:
    await connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})
