"""`gridroam replay`: real charges against a real hub, from an empty home to the clearing statement.

The hub is a process of its own. Everything goes through its public faces, as partners would go,
except what a hub's operator does on its own machine: adding partners, importing charge points,
clearing the period.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from central_system.transactions.store import SqlTransactions
from clearinghouse.cdrs import store as cdr_store
from clearinghouse.forwarding.store import SqlOutbox
from clearinghouse.ledger.store import SqlLedger
from clearinghouse.netting.model import ClearingRun, Period, Strategy
from gridroam import office, office_clearing
from gridroam.core import Core
from gridroam.home import Home
from gridroam.rehearsal import evsp as evsp_endpoints
from gridroam.rehearsal import hub_process, inputs, play
from gridroam.rehearsal import report as reports
from gridroam.rehearsal.client import Partner
from gridroam.rehearsal.inputs import Agreement, Customer, Inputs
from gridroam.rehearsal.progress import Stages
from gridroam.rehearsal.report import Report
from kit import open_files
from kit.encoding import encode_json
from marketplace.partners.model import Role
from roaming.evse_id import EvseId
from roaming.money import Money
from roaming.party import PartyId

CUSTOMERS_AT_ONCE = 5_000
AGREEMENTS_AT_ONCE = 200
STATIONS_AT_ONCE = 2_000
LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """What is played, how, and where. `home` None: an empty one, removed afterwards."""

    evses: Path
    customers: Path
    agreements: Path
    charges: Path
    rate: float | None
    through: str
    home: Path | None
    port: int = 0
    names: Mapping[PartyId, str] | None = None


async def replay(plan: Plan, console: Console) -> Report:
    """Play, wait until everything has arrived, clear, and end."""
    async with _played(plan, console) as (report, _):
        return report


async def day(plan: Plan, console: Console, *, stay: bool, report: Path | None) -> None:
    """Play the shipped day and show its statement; then stay up with the console, if asked."""
    console.print("[bold]Gridroam[/] plays one day of real charges on real charge points.")
    async with _played(plan, console) as (played, running):
        url = running.url
        if report is not None:
            await asyncio.to_thread(report.write_bytes, encode_json(played.to_json()))
        reports.show(played, console)
        if stay:
            console.print(
                f"\nThe hub stays up: [bold]{url}/console[/] shows the day,"
                f" {url}/docs the API. Ctrl-C ends it."
            )
            with suppress(asyncio.CancelledError):
                raise await running.died()


@asynccontextmanager
async def _played(
    plan: Plan, console: Console
) -> AsyncIterator[tuple[Report, hub_process.RunningHub]]:
    """The report of a replay and its hub, which runs as long as the block lasts."""
    given = await asyncio.to_thread(
        inputs.read, plan.evses, plan.customers, plan.agreements, plan.charges
    )
    open_files.allow_many()
    async with AsyncExitStack() as stack:
        home = plan.home
        if home is None:
            home = Path(tempfile.mkdtemp(prefix="gridroam-replay-"))
            stack.push_async_callback(asyncio.to_thread, Home(home).remove)
        stages = stack.enter_context(Stages(console))
        with stages.stage("start", "Starting the hub and its PostgreSQL"):
            running = await stack.enter_async_context(
                hub_process.running(home, port=plan.port, options=["--log-format", "json"])
            )
        parts = await stack.enter_async_context(office.open_core(home, None))
        endpoints = await stack.enter_async_context(evsp_endpoints.listening())
        session = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=64))
        )
        console.print(f"Watch it at [bold]{running.url}/console[/]")
        rehearsal = _Rehearsal(plan, given, parts, running.url, session, endpoints, stages)
        report = await running.while_alive(rehearsal.run())
        report.hub_peak_memory_mb = running.peak_memory_mb()
        stages.close()
        yield report, running


class _Rehearsal:
    """The stages, in order."""

    def __init__(
        self,
        plan: Plan,
        given: Inputs,
        parts: Core,
        url: str,
        session: aiohttp.ClientSession,
        endpoints: evsp_endpoints.Endpoints,
        stages: Stages,
    ) -> None:
        self.plan = plan
        self.given = given
        self.parts = parts
        self.url = url
        self.session = session
        self.endpoints = endpoints
        self.stages = stages
        self.partners: dict[PartyId, Partner] = {}
        self.operators: dict[EvseId, PartyId] = {}
        self.report = Report(
            charges=len(given.charges), bad_lines=given.bad_lines, names=plan.names or {}
        )

    async def run(self) -> Report:
        await self._import_evses()
        await self._add_partners()
        await self._give_endpoints()
        await self._keep_customers()
        await self._agree()
        outcome = await self._play()
        await self._arrive()
        await self._clear()
        report = self.report
        report.accepted = outcome.accepted
        report.duplicates = outcome.duplicates
        report.refused = outcome.refused
        report.seconds = self.stages.seconds
        return report

    async def _import_evses(self) -> None:
        with self.stages.stage("import", "Importing charge points") as stage:
            told = await office.import_into(self.parts, self.plan.evses, progress=stage.at)
        self.report.imported = {
            name: getattr(told, name)
            for name in ("read", "created", "updated", "unchanged", "rejected", "reasons")
        }
        asked = {s[1] for c in self.given.charges if (s := play.station_of(c.evse_id)) is not None}
        found = await self.parts.evses.find_all(asked)
        self.operators = {evse_id: one.operator for evse_id, one in found.items()}

    async def _add_partners(self) -> None:
        roles: dict[PartyId, set[Role]] = defaultdict(set)
        for agreement in self.given.agreements:
            roles[agreement.operator].add(Role.EVSE_OPERATOR)
        for operator in self.operators.values():
            roles[operator].add(Role.EVSE_OPERATOR)
        for evsp in self.given.evsps:
            roles[evsp].add(Role.EVSP)
        names = self.plan.names or {}
        with self.stages.stage("partners", "Adding partners", len(roles)) as stage:
            for party, held in sorted(roles.items()):
                added = await office.register(
                    self.parts, party, frozenset(held), names.get(party, str(party))
                )
                self.partners[party] = Partner(
                    self.session, self.url, added.client_id, added.client_secret
                )
                stage.step()

    async def _give_endpoints(self) -> None:
        for evsp in self.given.evsps:
            await self.partners[evsp].call(
                "PUT",
                f"/marketplace/partners/{evsp}/endpoints/cdrs",
                {"url": self.endpoints.url_of(evsp)},
            )

    async def _keep_customers(self) -> None:
        by_evsp: dict[PartyId, list[Customer]] = defaultdict(list)
        for customer in self.given.customers:
            by_evsp[customer.evsp].append(customer)
        with self.stages.stage(
            "customers", "Keeping customer contracts", len(self.given.customers)
        ) as stage:
            for evsp, customers in by_evsp.items():
                for some in _chunks(_contracts(customers), CUSTOMERS_AT_ONCE):
                    told = await self.partners[evsp].call(
                        "POST",
                        "/services/clearing-house/customer-contracts/bulk",
                        b"\n".join(encode_json(line) for line in some),
                        headers={"Content-Type": "application/x-ndjson"},
                    )
                    if told["rejected"]:
                        self.report.notes.append(f"{evsp}: customers rejected: {told}")
                    stage.step(len(some))

    async def _agree(self) -> None:
        offered: dict[PartyId, list[Agreement]] = defaultdict(list)
        for agreement in self.given.agreements:
            if agreement.operator == agreement.evsp:
                self.report.notes.append(f"{agreement.evsp} needs no agreement with itself")
                continue
            offered[agreement.operator].append(agreement)
        with self.stages.stage(
            "agreements", "Agreeing on roaming", len(self.given.agreements)
        ) as stage:
            accepted: dict[PartyId, list[str]] = defaultdict(list)
            for operator, agreements in offered.items():
                for some in _chunks(agreements, AGREEMENTS_AT_ONCE):
                    for evsp, offering_id in await self._offer(operator, some):
                        accepted[evsp].append(offering_id)
            for evsp, offering_ids in accepted.items():
                for some in _chunks(offering_ids, AGREEMENTS_AT_ONCE):
                    await self.partners[evsp].call(
                        "POST", "/marketplace/contracts", {"offering_ids": some}
                    )
                    stage.step(len(some))

    async def _offer(
        self, operator: PartyId, agreements: Sequence[Agreement]
    ) -> list[tuple[PartyId, str]]:
        """Offer each EVSP its terms; to whom, and the offering's id."""
        offerings = [_offering(agreement) for agreement in agreements]
        # The same offerings again, in a replay that is played again, are the ones there are.
        shown = await self.partners[operator].call(
            "POST",
            "/marketplace/offerings",
            offerings,
            headers={"Idempotency-Key": _key_of(offerings)},
        )
        return [
            (agreement.evsp, offering["offering_id"])
            for agreement, offering in zip(agreements, shown, strict=True)
        ]

    async def _play(self) -> play.Outcome:
        label = "Playing charges through " + self.plan.through.upper()
        passwords = {} if self.plan.through == "api" else await self._enrol()
        with self.stages.stage("play", label, len(self.given.charges)) as stage:
            if self.plan.through == "api":
                return await play.through_api(
                    self.given.charges,
                    partners=self.partners,
                    operators=self.operators,
                    rate=self.plan.rate,
                    told=stage.step,
                )
            return await play.through_charge_points(
                self.given.charges,
                hub_url=self.url,
                passwords=passwords,
                operators=self.operators,
                rate=self.plan.rate,
                told=stage.step,
            )

    async def _enrol(self) -> dict[EvseId, str]:
        by_operator: dict[PartyId, list[EvseId]] = defaultdict(list)
        for evse, operator in sorted(self.operators.items()):
            by_operator[operator].append(evse)
        passwords: dict[EvseId, str] = {}
        with self.stages.stage("enrol", "Enrolling stations", len(self.operators)) as stage:
            for operator, evses in by_operator.items():
                for some in _chunks(evses, STATIONS_AT_ONCE):
                    fresh = {evse: hashlib.sha256(_salt(evse)).hexdigest()[:40] for evse in some}
                    await self.partners[operator].call(
                        "PUT",
                        "/central-system/stations",
                        [
                            {
                                "charge_point": evse,
                                "connectors": {"1": evse},
                                "password": fresh[evse],
                            }
                            for evse in some
                        ],
                    )
                    passwords |= fresh
                    stage.step(len(some))
        return passwords

    async def _arrive(self) -> None:
        """Wait until every record is priced and has reached its EVSP."""
        outbox = SqlOutbox(self.parts.database)
        with self.stages.stage("deliver", "Delivering CDRs to the EVSPs") as stage:
            while await self._underway(outbox):
                stage.at(self.endpoints.count)
                await asyncio.sleep(LOOK_EVERY_S)
            stage.at(self.endpoints.count)

    async def _underway(self, outbox: SqlOutbox) -> bool:
        if self.plan.through == "ocpp" and await self._unsent():
            return True
        return bool(await outbox.undelivered())

    async def _unsent(self) -> int:
        """Charges that are over, and whose CDR the central system has not handed in yet."""
        return await SqlTransactions(self.parts.database).unsent_cdrs()

    async def _clear(self) -> None:
        if not self.given.charges:
            return
        start = min(charge.end for charge in self.given.charges)
        end = max(charge.end for charge in self.given.charges)
        period = Period(start.astimezone(UTC), end.astimezone(UTC) + timedelta(microseconds=1))
        report = self.report
        currencies = sorted({a.terms["currency"] for a in self.given.agreements})
        ways = len(currencies) * len(Strategy)
        with self.stages.stage("clear", "Clearing the period each way", ways) as stage:
            for currency in currencies:
                for strategy in Strategy:
                    run = await office_clearing.clear(self.parts, period, currency, strategy)
                    _into(report, run)
                    stage.step()
        async with self.parts.database.hot() as connection:
            states, report.energy_wh = await cdr_store.count_by_state(connection)
        report.cdrs = Counter(states)
        report.cdrs["delivered"] = await SqlOutbox(self.parts.database).delivered_count()
        report.ledger_sum = await self._ledger_sum()

    async def _ledger_sum(self) -> str:
        currencies = {a.terms["currency"] for a in self.given.agreements} or {"EUR"}
        ledger = SqlLedger(self.parts.database)
        sums = [await ledger.ledger_sum(currency) for currency in sorted(currencies)]
        worst = max(sums, key=lambda one: abs(one.minor))
        return worst.figure


def names_in(parties: Path) -> dict[PartyId, str]:
    """The names of the parties of a day, for people to read."""
    return {PartyId(one["party"]): one["name"] for one in json.loads(parties.read_text())}


def _into(report: Report, run: ClearingRun) -> None:
    clearing = run.clearing

    def amount(minor: int) -> str:
        return Money(minor, run.currency).figure

    if clearing.strategy is Strategy.GROSS:
        report.gross += [
            {
                "debtor": debt.debtor,
                "creditor": debt.creditor,
                "currency": run.currency,
                "amount": amount(debt.amount_minor),
                "vat": amount(debt.vat_minor),
                "cdrs": debt.cdrs,
            }
            for debt in clearing.obligations
        ]
        return
    payments = [
        {
            "payer": payment.payer,
            "payee": payment.payee,
            "currency": run.currency,
            "amount": amount(payment.amount_minor),
        }
        for payment in clearing.payments
    ]
    if clearing.strategy is Strategy.BILATERAL:
        report.bilateral += payments
    elif clearing.strategy is Strategy.CYCLES:
        report.cycles += payments
    else:
        report.multilateral += payments
        if clearing.method is not None:
            report.multilateral_methods[run.currency] = clearing.method.value


def _contracts(customers: Sequence[Customer]) -> list[dict[str, Any]]:
    """One line for each contract, with all of its tokens."""
    lines: dict[str, dict[str, Any]] = {}
    for customer in customers:
        line = lines.setdefault(
            customer.contract_id,
            {
                "contract_id": customer.contract_id,
                "token_uids": [],
                "status": customer.status,
                "services": ["charging"],
                "authorisation": "list",
            },
        )
        line["token_uids"].append(customer.token_uid)
    return list(lines.values())


def _offering(agreement: Agreement) -> dict[str, Any]:
    return {
        "service": "roaming",
        "terms": agreement.terms,
        "audience": {"kind": "parties", "parties": [agreement.evsp]},
        "valid_from": agreement.valid_from.isoformat(),
        "valid_until": (
            None if agreement.valid_until is None else agreement.valid_until.isoformat()
        ),
    }


def _key_of(content: Any) -> str:
    return hashlib.sha256(encode_json(content)).hexdigest()


def _salt(evse: EvseId) -> bytes:
    # A virtual station's password guards nothing, and must be the same in every replay on a home.
    return f"rehearsal {evse}".encode()


def _chunks(items: Sequence[Any], size: int) -> list[Any]:
    return [items[n : n + size] for n in range(0, len(items), size)]
