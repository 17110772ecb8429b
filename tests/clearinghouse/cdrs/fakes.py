"""A small world around the intake: who owns which EVSE, who has agreed with whom."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp

from clearinghouse.cdrs import wire
from clearinghouse.cdrs.credentials import SqlAuthorisations, SqlCustomers
from clearinghouse.cdrs.flows import Intake
from clearinghouse.cdrs.model import Submission
from clearinghouse.cdrs.store import SqlBooks
from clearinghouse.meter_values.flows import MeterChecks
from clearinghouse.meter_values.store import SqlKeys
from clearinghouse.rating.model import Rater
from clearinghouse.tax.model import Business
from kit.database import Database
from kit.encoding import encode_json
from kit.http import CALLER, Answer, Caller, call_asgi
from roaming.contract_id import ContractId
from roaming.evse_id import EvseId
from roaming.party import PartyId
from roaming.token import TokenUid

OPERATOR, OTHER_OPERATOR = PartyId("FR*PD1"), PartyId("NL*ALF")
EVSP, OTHER_EVSP = PartyId("DE*BET"), PartyId("FR*GAM")
EVSE, OTHER_EVSE = EvseId("FR*PD1*E1"), EvseId("NL*ALF*E1")
CONTRACT = ContractId("DEBETC00000001")
OTHER_CONTRACT = ContractId("FRGAMC00000001")
TOKEN = TokenUid("04AABBCC")
NOON = datetime(2025, 1, 15, 12, tzinfo=UTC)
NOW = datetime(2025, 2, 1, tzinfo=UTC)
DOCS = Path(__file__).parents[3] / "docs" / "cdrs.md"

PER_KWH = {
    "elements": [{"price_components": [{"type": "ENERGY", "price": "0.50", "step_size": 1}]}]
}


@dataclass(frozen=True, slots=True)
class FakeAgreement:
    contract_id: str = "agreement-1"
    currency: str = "EUR"
    tariff: Mapping[str, Any] = field(default_factory=lambda: PER_KWH)
    vat_percent: Decimal | None = Decimal(20)
    time_zone: str | None = "Europe/Paris"
    covered: frozenset[EvseId] | None = None
    clearing_group: str = "multilateral"
    tariff_group: str | None = None
    elsewhere: Mapping[EvseId, FakeAgreement] = field(default_factory=dict)

    def at(self, evse_id: EvseId) -> FakeAgreement:
        return self.elsewhere.get(evse_id, self)

    def covers(self, evse_id: EvseId) -> bool:
        return self.covered is None or evse_id in self.covered


@dataclass(slots=True)
class World:
    """Both ports at once: the EVSEs and the agreements."""

    evses: dict[EvseId, tuple[PartyId, str | None, int | None, str | None]] = field(
        default_factory=lambda: {
            EVSE: (OPERATOR, "Europe/Paris", 22_000, "FR"),
            OTHER_EVSE: (OTHER_OPERATOR, None, None, None),
        }
    )
    agreements: dict[tuple[PartyId, PartyId], FakeAgreement] = field(
        default_factory=lambda: {
            (OPERATOR, EVSP): FakeAgreement(),
            (OTHER_OPERATOR, EVSP): FakeAgreement("agreement-2", time_zone=None),
            (OPERATOR, OTHER_EVSP): FakeAgreement("agreement-3"),
        }
    )
    papers: dict[PartyId, Business] = field(default_factory=dict)
    valid_from: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    valid_until: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def details_at(self, party: PartyId, at: datetime) -> Business | None:
        return self.papers.get(party)

    async def find_many(
        self, evse_ids: Collection[EvseId]
    ) -> Mapping[EvseId, tuple[PartyId, str | None, int | None, str | None]]:
        return {one: self.evses[one] for one in evse_ids if one in self.evses}

    def between(self, operator: PartyId, evsp: PartyId, at: datetime) -> FakeAgreement | None:
        if not self.valid_from <= at < self.valid_until:
            return None
        return self.agreements.get((operator, evsp))


def intake_of(database: Database, world: World | None = None) -> Intake:
    world = world or World()
    return Intake(
        books=SqlBooks(database),
        evses=world,
        agreements=world,
        customers=SqlCustomers(database),
        authorisations=SqlAuthorisations(database),
        meters=MeterChecks(SqlKeys(database)),
        rater=Rater(),
        clock=lambda: NOW,
        businesses=world,
    )


async def keep_customer(
    database: Database,
    contract_id: ContractId = CONTRACT,
    *,
    token_uid: TokenUid | None = TOKEN,
    status: str = "active",
    valid_until: datetime | None = None,
) -> None:
    async with database.hot() as connection:
        await connection.execute(
            "INSERT INTO clearinghouse.customer_contract (contract_id, evsp, valid_until, status,"
            " services, authorisation, changed_at)"
            " VALUES ($1, $2, $3, $4, '{charging}', 'list', now())"
            " ON CONFLICT (contract_id) DO UPDATE SET status = excluded.status",
            contract_id,
            contract_id.provider,
            valid_until,
            status,
        )
        if token_uid is not None:
            await connection.execute(
                "INSERT INTO clearinghouse.customer_token (uid, contract_id, evsp)"
                " VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                token_uid,
                contract_id,
                contract_id.provider,
            )


def told(cdr_id: str = "A-1", **changes: Any) -> dict[str, Any]:
    """A sound record of 10 kWh in one hour, as JSON, with changes."""
    record: dict[str, Any] = {
        "cdr_id": cdr_id,
        "evse_id": "FR*PD1*E1",
        "contract_id": str(CONTRACT),
        "start": "2025-01-15T12:00:00Z",
        "end": "2025-01-15T13:00:00Z",
        "energy_wh": 10_000,
        **changes,
    }
    return {name: value for name, value in record.items() if value is not None}


def period(minutes: int, energy_wh: int) -> dict[str, Any]:
    return {"start": (NOON + timedelta(minutes=minutes)).isoformat(), "energy_wh": energy_wh}


def submission(cdr_id: str = "A-1", *, operator: PartyId = OPERATOR, **changes: Any) -> Submission:
    body = encode_json(told(cdr_id, **changes))
    return wire.submission_of(operator, wire.decode_cdr(body))


def many(
    count: int,
    *,
    operator: PartyId = OPERATOR,
    prefix: str = "M",
    first: datetime = datetime(2025, 1, 1, tzinfo=UTC),
    **changes: Any,
) -> Sequence[Submission]:
    """So many different charges, an hour each, one after another in January 2025."""
    return [
        submission(
            f"{prefix}-{number}",
            operator=operator,
            start=(first + timedelta(minutes=number)).isoformat(),
            end=(first + timedelta(minutes=number + 60)).isoformat(),
            **changes,
        )
        for number in range(count)
    ]


class House:
    """The application, called as one party or another."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        party: PartyId | None = OPERATOR,
        roles: Sequence[str] = ("evse-operator",),
        query: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        scope = {}
        if party is not None:
            scope[CALLER] = Caller(party, frozenset(roles), "client", None, "request")
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await call_asgi(
            self._app, method, path, body=raw, query=query, headers=headers, extra_scope=scope
        )

    async def post(self, body: Any, **how: Any) -> tuple[int, Any]:
        answer = await self.call("POST", "/cdrs", body, **how)
        return answer.status, json.loads(answer.body)

    async def get(self, path: str, **how: Any) -> tuple[int, Any]:
        answer = await self.call("GET", path, b"", **how)
        return answer.status, json.loads(answer.body)
