"""The partners, agreements, charge points and customers of a benchmark, loaded in bulk by COPY.

What a number stands for is fixed: the loader in another process makes the same ids from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
from rich.console import Console
from rich.progress import track
from sqlalchemy import Table

from clearinghouse.customers.store import customer_contract, customer_token
from kit.database import Database, Hot
from kit.encoding import encode_json
from marketplace.contracts.rows import contracts
from marketplace.offerings.model import RoamingTerms
from marketplace.offerings.store import keep_terms, offerings
from roaming.contract_id import check_digit
from roaming.party import PartyId
from search_evse.sites.store import evses, sites

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
TARIFFS = 20
EVSES_A_SITE = 4
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OPERATORS_BEGIN = _ALPHABET.index("A") * 36 * 36
_EVSPS_BEGIN = _ALPHABET.index("N") * 36 * 36


def party(number: int) -> PartyId:
    """One of 46,656 parties."""
    high, rest = divmod(number, 36 * 36)
    return PartyId("DE" + _ALPHABET[high] + _ALPHABET[rest // 36] + _ALPHABET[rest % 36])


@dataclass(frozen=True, slots=True)
class World:
    """So many of each. Every operator has an agreement with every EVSP."""

    operators: int
    evsps: int
    customers: int
    evses: int

    @property
    def agreements(self) -> int:
        return self.operators * self.evsps

    def operator(self, number: int) -> PartyId:
        return party(_OPERATORS_BEGIN + number)

    def evsp(self, number: int) -> PartyId:
        return party(_EVSPS_BEGIN + number)

    def contract_id(self, customer: int) -> str:
        """An eMAID with its check digit; the customers are dealt out to the EVSPs in turn."""
        code = f"{self.evsp(customer % self.evsps).compact}C{customer:08d}"
        return code + check_digit(code)

    def token_uid(self, customer: int) -> str:
        """A card's uid of seven bytes, spread like those of cards; no two are alike."""
        return f"04{customer * 0x9E3779B97F4B % 2**48:012X}"

    def evse_id(self, number: int) -> str:
        return f"{self.operator_of(number).compact}E{number:07d}"

    def operator_of(self, evse: int) -> PartyId:
        return self.operator(evse % self.operators)

    async def load(self, database: Database) -> None:
        """Into empty tables; statistics are brought up to date after it."""
        async with database.begin() as connection:
            terms = [RoamingTerms.parse(terms_of(n)) for n in range(TARIFFS)]
            digests = await keep_terms(connection, terms)
        async with bulk(database) as connection:
            await copy(connection, offerings, _OFFERING, self._offerings(digests))
            await copy(connection, contracts, _CONTRACT, self._contracts(digests))
            await copy(connection, sites, _SITE, self._sites())
            await copy(connection, evses, _EVSE, self._evses())
            await copy(
                *(connection, customer_contract, _CUSTOMER),
                self._watched("customer contracts", self._customers()),
            )
            await copy(
                *(connection, customer_token, _TOKEN),
                self._watched("tokens", self._tokens()),
            )
            await connection.execute("VACUUM ANALYZE")

    def _watched(self, name: str, rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
        return track(
            rows,
            f"loading {name}",
            total=self.customers,
            transient=True,
            console=Console(stderr=True),
        )

    def _pairs(self) -> Iterator[tuple[int, int]]:
        return product(range(self.operators), range(self.evsps))

    def _offerings(self, digests: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        for pair in self._pairs():
            yield (
                _id("offering", pair),
                str(self.operator(pair[0])),
                *("roaming", 1, digests[sum(pair) % TARIFFS], "parties"),
                [str(self.evsp(pair[1]))],
                *("published", BEGAN, _digest("offering", pair)),
            )

    def _contracts(self, digests: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        for pair in self._pairs():
            evsp = str(self.evsp(pair[1]))
            yield (
                _id("contract", pair),
                _id("offering", pair),
                str(self.operator(pair[0])),
                *(evsp, "roaming", 1, digests[sum(pair) % TARIFFS], BEGAN),
                *([["agreed", BEGAN, evsp, BEGAN, None]], [], 1),
            )

    def _sites(self) -> Iterator[tuple[Any, ...]]:
        for operator in range(min(self.operators, self.evses)):
            for site in range(0, -(-self.evses // self.operators), EVSES_A_SITE):
                yield (
                    str(self.operator(operator)),
                    *(f"S{site}", "DEU", "Europe/Berlin", *_place(site), BEGAN, "ladepark"),
                )

    def _evses(self) -> Iterator[tuple[Any, ...]]:
        connector = {
            "id": "1",
            "standard": "IEC_62196_T2",
            "format": "SOCKET",
            "power_type": "AC_3_PHASE",
            "max_electric_power_w": 22000,
        }
        for number in range(self.evses):
            own = number // self.operators
            site = own - own % EVSES_A_SITE
            yield (
                self.evse_id(number),
                str(self.operator_of(number)),
                f"S{site}",
                *(*_place(site), "AVAILABLE", BEGAN, [connector], ["IEC_62196_T2"], 22000),
                *(["RFID_READER"], True, BEGAN, _digest("evse", number)),
            )

    def _customers(self) -> Iterator[tuple[Any, ...]]:
        for number in range(self.customers):
            yield (
                self.contract_id(number),
                str(self.evsp(number % self.evsps)),
                *(BEGAN, None, "active", ["charging"], "list", BEGAN),
            )

    def _tokens(self) -> Iterator[tuple[Any, ...]]:
        for number in range(self.customers):
            evsp = str(self.evsp(number % self.evsps))
            yield self.token_uid(number), self.contract_id(number), evsp


_OFFERING = (
    *("offering_id", "provider", "service", "major", "terms_digest", "audience"),
    *("audience_names", "status", "published_at", "content"),
)
_CONTRACT = (
    *("contract_id", "offering_id", "provider", "requester", "service", "major"),
    *("terms_digest", "valid_from", "history", "suspended_by", "version"),
)
_SITE = (
    *("operator", "site_id", "country", "time_zone", "latitude", "longitude"),
    *("last_updated", "search_text"),
)
_EVSE = (
    *("evse_id", "operator", "site_id", "latitude", "longitude", "status", "status_at"),
    *("connectors", "connector_types", "max_power_w", "capabilities", "published"),
    *("last_updated", "fingerprint"),
)
_CUSTOMER = (
    *("contract_id", "evsp", "valid_from", "valid_until", "status", "services"),
    *("authorisation", "changed_at"),
)
_TOKEN = ("uid", "contract_id", "evsp")


def terms_of(number: int) -> dict[str, Any]:
    """One of TARIFFS sets of terms: energy by day and by night, and time after four hours."""
    return {
        "currency": "EUR",
        "tariff": {
            "elements": [
                {
                    "price_components": [
                        {"type": "ENERGY", "price": f"0.{45 + number}", "step_size": 1}
                    ],
                    "restrictions": {"start_time": "07:00", "end_time": "22:00"},
                },
                {
                    "price_components": [
                        {"type": "ENERGY", "price": f"0.{30 + number}", "step_size": 1}
                    ],
                },
                {
                    "price_components": [{"type": "TIME", "price": "6.00", "step_size": 60}],
                    "restrictions": {"min_duration": 14400},
                },
            ]
        },
        "vat_percent": 19,
        "time_zone": "Europe/Berlin",
        "payment_terms_days": 30,
        "clearing_strategy": "multilateral",
        "evses": None,
    }


@asynccontextmanager
async def bulk(database: Database) -> AsyncIterator[Hot]:
    """A connection that COPY can go over: jsonb in its binary form, and no limit of time."""
    connection = await asyncpg.connect(database.url)
    try:
        await connection.set_type_codec(
            "jsonb",
            encoder=lambda value: b"\x01" + encode_json(value),
            decoder=lambda sent: msgspec.json.decode(sent[1:]),
            schema="pg_catalog",
            format="binary",
        )
        yield connection
    finally:
        await connection.close()


async def copy(
    connection: Hot, table: Table, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]
) -> None:
    await connection.copy_records_to_table(
        table.name, schema_name=table.schema, columns=columns, records=rows
    )


def _id(kind: str, pair: tuple[int, int]) -> str:
    return str(UUID(bytes=_digest(kind, pair)[:16], version=4))


def _digest(kind: str, what: object) -> bytes:
    return hashlib.sha256(f"{kind} {what}".encode()).digest()


def _place(number: int) -> tuple[float, float]:
    return 47.5 + number * 0.618034 % 7, 6.0 + number * 0.414214 % 9
