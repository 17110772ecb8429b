"""A market of the size that the marketplace is made for, laid into its tables by SQL.

Its busiest partner provides a tenth of all contracts and has made a tenth of them with others; a
fifth of the offerings name it. Of the public offerings one in fifty is for the sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.world import party
from kit.database import Database
from marketplace.offerings.model import ServiceTerms
from marketplace.offerings.store import keep_terms
from roaming.party import PartyId

WORDS = (
    *("forecast", "parking", "weather", "tariff", "session", "location", "flexibility", "battery"),
    *("invoice", "route", "reservation", "solar", "carbon", "fleet", "roaming", "maintenance"),
)


@dataclass(frozen=True, slots=True)
class LargeMarket:
    services: int = 10_000
    partners: int = 5_000
    offerings: int = 100_000
    contracts: int = 200_000

    @classmethod
    def quick(cls) -> LargeMarket:
        return cls(100, 50, 1_000, 2_000)

    @property
    def busiest(self) -> PartyId:
        return party(10_000)

    @property
    def ordinary(self) -> PartyId:
        return party(10_000 + self.partners // 2)

    @property
    def sizes(self) -> dict[str, int]:
        return {
            "services": self.services,
            "partners": self.partners,
            "offerings": self.offerings,
            "contracts": self.contracts,
        }

    def name(self, number: int) -> str:
        return f"s-{number % self.services:05d}"

    def word(self, number: int) -> str:
        return WORDS[number % len(WORDS)]

    def tag(self, number: int) -> str:
        return f"tag-{number % 500}"

    def id(self, number: int) -> str:
        return f"00000000-0000-7000-8000-{number:012x}"


_PARTNERS = """
INSERT INTO marketplace.partner (party, name, roles, registered_at)
SELECT party, 'Partner ' || n || 'x of the bench', '{evsp,service-provider}', now()
FROM unnest($1::text[]) WITH ORDINALITY AS p (party, n)
"""
_SERVICES = """
INSERT INTO marketplace.service (name, major, provider, status, category, description, endpoint,
  protocol, documentation, operations, registered_at, tags, words)
SELECT s.name, 1, provider, status, category, said, 'https://p.example/', 'rest', '', operations,
  now(), tags, lower(concat_ws(' ', s.name, category, array_to_string(tags, ' '), provider, said,
    operations #>> '{0,0}'))
FROM (SELECT 's-' || lpad(n::text, 5, '0') AS name,
    ($2::text[])[1 + CASE WHEN n % 10 = 0 THEN 0 ELSE n % array_length($2::text[], 1) END]
      AS provider,
    CASE WHEN n % 50 = 7 THEN 'deprecated' ELSE 'published' END AS status,
    (ARRAY['core', 'clearing-house', 'basic-end-user', 'value-added'])[1 + n % 4] AS category,
    (SELECT string_agg(($3::text[])[1 + (n * 7 + k * k) % array_length($3::text[], 1)], ' ')
      FROM generate_series(1, 30) AS k) || ' number ' || n AS said,
    (SELECT jsonb_agg(jsonb_build_array('operation' || n || 'of' || k, 'GET', '/o' || k))
      FROM generate_series(1, 5) AS k) AS operations,
    ARRAY['tag-' || n % 500, 'all'] AS tags
  FROM generate_series(0, $1::int - 1) AS n) AS s
"""
_OFFERINGS = """
INSERT INTO marketplace.offering (offering_id, provider, service, major, terms_digest, audience,
  audience_names, status, published_at, content, environment)
SELECT '00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'), provider, s.name, 1, $2,
  CASE WHEN n % 10 = 3 THEN 'public' WHEN n % 10 < 5 THEN 'roles' ELSE 'parties' END,
  CASE WHEN n % 10 = 3 THEN '{}' WHEN n % 10 < 5 THEN ARRAY[(ARRAY['evsp', 'dso'])[1 + n % 2]]
    WHEN n % 10 < 7 THEN ARRAY[$3]
    ELSE ARRAY[($4::text[])[1 + n % array_length($4::text[], 1)]] END,
  'published', now(), sha256(n::text::bytea), CASE n % 500 WHEN 13 THEN 'sandbox' ELSE 'live' END
FROM generate_series(0, $1::int - 1) AS n
JOIN marketplace.service AS s ON s.name = 's-' || lpad((n % $5::int)::text, 5, '0')
"""
_CONTRACTS = """
INSERT INTO marketplace.contract (contract_id, offering_id, provider, requester, service, major,
  terms_digest, valid_from, history, suspended_by, version)
SELECT '00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'),
  '00000000-0000-7000-8000-' || lpad(to_hex(n % $2::int), 12, '0'), provider, requester, s.name, 1,
  $3, '2026-01-01Z', jsonb_build_array(jsonb_build_array('agreed', '2026-01-01T00:00:00+00:00',
    requester, '2026-01-01T00:00:00+00:00', NULL)), '{}', 1
FROM (SELECT n, CASE WHEN n % 10 = 1 THEN $4
    ELSE ($5::text[])[1 + (n / 3) % array_length($5::text[], 1)] END AS requester
  FROM generate_series(0, $1::int - 1) AS n) AS c
JOIN marketplace.service AS s ON s.name = 's-' || lpad((n % $6::int)::text, 5, '0')
"""


async def load(database: Database, market: LargeMarket) -> None:
    """Into empty tables; statistics are brought up to date after it."""
    everyone = [str(party(10_000 + number)) for number in range(market.partners)]
    busiest, others = everyone[0], everyone[1:]
    async with database.begin() as connection:
        [digest] = await keep_terms(connection, [ServiceTerms(notice_days=30)])
    async with database.hot() as connection:
        await connection.execute(_PARTNERS, everyone)
        await connection.execute(_SERVICES, market.services, everyone, list(WORDS))
        await connection.execute(
            _OFFERINGS, market.offerings, digest, busiest, others, market.services
        )
        await connection.execute(
            *(_CONTRACTS, market.contracts, market.offerings, digest, busiest, others),
            market.services,
        )
    async with database.pool.acquire() as connection:
        await connection.execute("VACUUM ANALYZE")
