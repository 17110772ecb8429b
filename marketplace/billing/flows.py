"""How a month is billed: a run is begun, goes through contracts page by page, and asks its fee.

Each page is one transaction, and the run knows the last contract that is done with: broken off
anywhere it goes on there, and whoever goes on bills nothing twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from documents.en16931 import to_xml
from documents.invoice import MOST_PLACES, Business, Kind, Vat, VatTotal, missing, number_of
from kit.sortable_id import sortable_id
from marketplace.billing import fees as fee_rules
from marketplace.billing import model, papers
from marketplace.billing.fees import Fee, Share
from marketplace.billing.model import Contract, Draft, Run, State, Tally, Uninvoiced
from marketplace.billing.papers import About, Issued, Ready
from marketplace.billing.ports import Book, House, MonthOf
from roaming.money import places_of
from roaming.month import Month
from roaming.party import PartyId

CONTRACTS_AT_ONCE = 500
LEASE = timedelta(minutes=5)


async def begin(month: Month, up_to: datetime | None, by: PartyId, *, house: House) -> Run:
    """Begin to bill a month up to a cut-off, its end if none is told; the run that is open already
    where it is the same. Raises BadCutOff, OtherRunUnderWay."""
    now = house.clock()
    async with house.books.open() as book:
        await book.lock()
        before = await book.billed_up_to(back(month, model.LOOK_BACK + 1))
        asked = model.cut_off(month, up_to, before.get(month), now)
        going_on = await book.open_run()
        if going_on is not None:
            if (going_on.month, going_on.up_to) == (month, asked):
                return going_on
            raise model.OtherRunUnderWay(
                f"{going_on.month} is being billed",
                field="month",
                value=str(month),
                rule=f"when run {going_on.run_id} is done",
            )
        run = Run(
            run_id=sortable_id(now),
            month=month,
            up_to=asked,
            earlier=tuple(sorted(one for one in before if one != month)),
            by=by,
            begun_at=now,
        )
        await book.begin(run)
    return run


async def work(
    run_id: str,
    holder: str,
    *,
    house: House,
    told: Callable[[Run], None] = lambda run: None,
    contracts_at_once: int = CONTRACTS_AT_ONCE,
) -> Run:
    """Do what is left of a run, if nobody else does; the run as it is after that."""
    while True:
        run = await step(run_id, holder, house=house, contracts_at_once=contracts_at_once)
        if run is None:
            return await show(run_id, house=house)
        told(run)
        if run.state is State.DONE:
            return run


async def step(
    run_id: str, holder: str, *, house: House, contracts_at_once: int = CONTRACTS_AT_ONCE
) -> Run | None:
    """One part of a run; None where somebody else works on it, or it is done already."""
    now = house.clock()
    async with house.books.open() as book:
        run = await book.run(run_id)
        if run is None or not await book.lease(run_id, holder, now + LEASE, now):
            return None
        by_quarter = [] if run.summed else await book.by_quarter(run)
    if not run.summed:
        spans = [(month, run.cut_off(month)) for month in run.months]
        await house.usage.add_up(run_id, spans, by_quarter)
        return await _advanced(run, replace(run, summed=True), house)
    if run.state is State.CONTRACTS:
        return await _bill_contracts(run, house, contracts_at_once)
    return await _bill_fee(run, house)


async def show(run_id: str, *, house: House) -> Run:
    async with house.books.open() as book:
        run = await book.run(run_id)
    if run is None:
        raise model.UnknownRun(f"no billing run {run_id}", field="run_id", value=run_id)
    return run


async def _advanced(before: Run, after: Run, house: House) -> Run | None:
    async with house.books.open() as book:
        if await _is_as(before, book):
            await book.advance(after, house.clock())
            return after
    return None


async def _is_as(run: Run, book: Book) -> bool:
    """Whether a run is still where we think it is: a lease may have run out under our hands."""
    await book.lock()
    return await book.run(run.run_id) == run


async def _bill_contracts(run: Run, house: House, limit: int) -> Run | None:
    async with house.books.open() as book:
        contracts = await book.contracts(run, limit)
    if not contracts:
        return await _advanced(run, replace(run, state=State.FEES, after=""), house)
    ids = [one.contract_id for one in contracts]
    used = await house.usage.of_run(run.run_id, ids)
    spans = [(month, run.cut_off(month)) for month in run.months]
    packed = [one.contract_id for one in contracts if one.terms.pack is not None]
    bought = await house.packs.bought(packed, spans)
    now = house.clock()
    async with house.books.open() as book:
        if not await _is_as(run, book):
            return None
        taken = await book.taken(ids, run.months)
        drafts = [
            draft
            for one in contracts
            if (
                draft := model.drawn(
                    one,
                    run,
                    used.get(one.contract_id, {}),
                    bought.get(one.contract_id, {}),
                    _of(one, run, taken),
                )
            )
            is not None
        ]
        page = _Page(run, now, house)
        for draft in drafts:
            page.take(draft)
        issued = await page.issue(book)
        await book.note_uninvoiced(ids, run.months, page.uninvoiced)
        after = replace(
            run,
            after=ids[-1],
            tally=run.tally
            + Tally(
                contracts=len(ids),
                invoices=sum(one.invoice.kind is Kind.INVOICE for one in issued),
                credit_notes=sum(one.invoice.kind is Kind.CREDIT_NOTE for one in issued),
                not_invoiced=len(page.uninvoiced),
            ),
        )
        await book.advance(after, now)
    return after


async def _bill_fee(run: Run, house: House) -> Run | None:
    """The marketplace's fee of the next provider; behind the last one the run is done."""
    now = house.clock()
    async with house.books.open() as book:
        if not await _is_as(run, book):
            return None
        provider = next(iter(await book.providers_with_fees(run.after, 1)), None)
        if provider is None:
            after = replace(run, state=State.DONE, finished_at=now)
            await book.advance(after, now)
        else:
            page = _Page(run, now, house)
            shares = page.take_fee(provider, await book.shares_due(provider))
            issued = await page.issue(book)
            for one in issued:
                numbers = [share.number for share in shares[one.invoice.currency]]
                await book.take_shares(numbers, one.invoice.number)
            await book.note_unpaid_fee(house.hub, provider, page.uninvoiced)
            made = Tally(
                invoices=sum(one.invoice.kind is Kind.INVOICE for one in issued),
                credit_notes=sum(one.invoice.kind is Kind.CREDIT_NOTE for one in issued),
                not_invoiced=len(page.uninvoiced),
            )
            after = replace(run, after=str(provider), tally=run.tally + made)
            await book.advance(after, now)
    if after.state is State.DONE:
        await house.usage.forget(run.run_id)
    return after


class _Page:
    """What one transaction of a run issues, and what it cannot."""

    def __init__(self, run: Run, now: datetime, house: House) -> None:
        self._run = run
        self._now = now
        self._house = house
        self._ready: list[Ready] = []
        self._categories: dict[str, str] = {}
        self.uninvoiced: list[Uninvoiced] = []

    def take(self, draft: Draft) -> None:
        """Make documents of a draft, or note what is wanted for them."""
        contract, run = draft.contract, self._run
        seller, buyer = self._sides(contract.provider, contract.requester)
        months = sorted({month for month, _ in draft.items})
        vats = {
            month: self._vat(
                contract.provider, contract.requester, model.supplied_at(month, run.up_to)
            )
            for month in months
        }
        known = {month: vat for month, vat in vats.items() if vat is not None}
        undecided = self._undecided(contract.provider, contract.requester, known, months)
        wanted = wanted_for(contract.currency, seller, buyer, undecided)
        made: list[Ready] = []
        if seller is not None and buyer is not None and len(known) == len(vats):
            made = papers.ready(draft, run, seller, buyer, known)
            lines = [line for one in made for line, _ in one.lines]
            wanted += missing(seller, buyer, lines)
        if wanted:
            self.uninvoiced.append(
                Uninvoiced(
                    *(contract.provider, contract.requester, contract.currency, draft.by_month),
                    wanted=tuple(wanted),
                    noted_at=self._now,
                    contract_id=contract.contract_id,
                )
            )
            return
        self._categories[contract.contract_id] = contract.category
        self._ready += made

    def take_fee(self, provider: PartyId, shares: Sequence[Share]) -> Mapping[str, Sequence[Share]]:
        """The fee on what a provider sold, by currency; what comes to nothing waits."""
        by_currency: dict[str, list[Share]] = {}
        for share in shares:
            by_currency.setdefault(share.currency, []).append(share)
        hub = self._house.hub
        month = self._run.month
        for currency, some in by_currency.items():
            owed = sum(share.fee_minor for share in some)
            if not owed:
                continue
            seller, buyer = self._sides(hub, provider)
            vat = self._vat(hub, provider, model.supplied_at(month, self._run.up_to))
            known = {} if vat is None else {month: vat}
            undecided = self._undecided(hub, provider, known, [month])
            wanted = wanted_for(currency, seller, buyer, undecided)
            if seller is not None and buyer is not None and vat is not None:
                lines = fee_rules.fee_lines(some)
                made = papers.ready_fee(lines, self._run, seller, buyer, currency, vat)
                wanted += missing(seller, buyer, [line for line, _ in made.lines])
                if not wanted:
                    self._ready.append(made)
            if wanted:
                self.uninvoiced.append(
                    Uninvoiced(
                        *(hub, provider, currency, ((month, owed),)),
                        wanted=tuple(wanted),
                        noted_at=self._now,
                    )
                )
        return by_currency

    async def issue(self, book: Book) -> list[Issued]:
        """Number, write and keep all that was taken."""
        if not self._ready:
            return []
        year = self._now.year
        ready = await self._parted(book)
        counts = Counter((one.seller.party, year, one.kind) for one in ready)
        last = dict(await book.take_numbers(counts))
        vat = await book.vat_credited([one.corrects[0].number for one in ready if one.corrects])
        fees = await book.fees() if self._categories else []
        issued = []
        for one in ready:
            series = one.seller.party, year, one.kind
            last[series] += 1
            issued.append(self._issued(one, last[series], vat, fees))
        # A page has hundreds: not the event loop's.
        xmls = await asyncio.to_thread(lambda: [to_xml(one.invoice) for one in issued])
        await book.keep(issued, xmls, self._now)
        return issued

    async def _parted(self, book: Book) -> list[Ready]:
        """What is taken back of a contract, by the invoices that took it; the rest as it is."""
        credited = [
            one.contract_id
            for one in self._ready
            if one.kind is Kind.CREDIT_NOTE and one.contract_id is not None
        ]
        left = await book.left(credited, self._run.months)
        ready: list[Ready] = []
        for one in self._ready:
            if one.kind is Kind.CREDIT_NOTE and one.contract_id is not None:
                ready += papers.parted(one, left.get(one.contract_id, {}))
            else:
                ready.append(one)
        return ready

    def _issued(
        self,
        one: Ready,
        counted: int,
        vat: Mapping[str, tuple[VatTotal, ...]],
        fees: Sequence[Fee],
    ) -> Issued:
        number = number_of(one.seller.party, self._now.year, counted, one.kind, papers.SERIES)
        months = [kept.month for _, kept in one.lines]
        corrects = one.corrects[0].number if one.corrects else None
        invoice = papers.write(
            *(one, number, self._now.date()),
            hub=self._house.hub,
            days=papers.supplied(months, self._run.up_to),
            vat_before=vat.get(corrects or "", ()),
        )
        return Issued(
            invoice=invoice,
            about=one.about,
            month=self._run.month,
            lines=tuple(kept for _, kept in one.lines),
            contract_id=one.contract_id,
            run_id=self._run.run_id,
            corrects=corrects,
            share=self._share(one, number, fees),
        )

    def _share(self, one: Ready, number: str, fees: Sequence[Fee]) -> Share | None:
        """How a sale is parted; the marketplace asks nothing of itself."""
        provider = one.seller.party
        if one.about is not About.SERVICE or provider == self._house.hub:
            return None
        assert one.contract_id is not None
        category = self._categories[one.contract_id]
        fee = fee_rules.applying(fees, provider, category, one.currency, self._run.month)
        if fee is None:
            return None
        return fee_rules.share_of(fee, number, provider, one.currency, one.net_minor)

    def _sides(self, seller: PartyId, buyer: PartyId) -> tuple[Business | None, Business | None]:
        known = self._house.businesses
        return known.business_at(seller, self._now), known.business_at(buyer, self._now)

    def _undecided(
        self,
        seller: PartyId,
        buyer: PartyId,
        vats: Mapping[Month, Vat],
        months: Sequence[Month],
    ) -> list[str]:
        """What is wanted for the months whose VAT no rule decides: by what they were then."""
        told = []
        for month in months:
            if month in vats:
                continue
            at = model.supplied_at(month, self._run.up_to)
            untold = [
                who
                for who, party in (("seller", seller), ("buyer", buyer))
                if self._house.businesses.business_at(party, at) is None
            ]
            if untold:
                details = "business details that held then, told with their valid_from"
                told.append(f"{month}: {' and '.join(untold)}: {details}")
            else:
                told.append(f"{month}: VAT details by which a rule decides (see docs/vat.md)")
        return told

    def _vat(self, seller: PartyId, buyer: PartyId, at: datetime) -> Vat | None:
        return self._house.taxes.vat_of(seller, buyer, at)


def wanted_for(
    currency: str, seller: Business | None, buyer: Business | None, undecided: Sequence[str]
) -> list[str]:
    """What keeps an invoice from being issued before its lines are looked at; in words.
    `undecided`: what VAT wants."""
    wanted = [
        f"{who}: business details"
        for who, business in (("seller", seller), ("buyer", buyer))
        if business is None
    ]
    if places_of(currency) > MOST_PLACES:
        wanted.append(f"a currency of at most {MOST_PLACES} places, as EN 16931 has them")
    return wanted or list(undecided)


def _of(
    contract: Contract, run: Run, taken: Mapping[MonthOf, Mapping[str, model.Item]]
) -> dict[Month, Mapping[str, model.Item]]:
    return {month: taken.get((contract.contract_id, month), {}) for month in run.months}


def back(month: Month, count: int) -> list[Month]:
    """So many months, the last of them this one."""
    months = [month]
    while len(months) < count:
        months.append(Month.of(months[-1].starts_at - timedelta(days=1)))
    return months
