"""What may happen in a clearing house, as values; done on a real one, and reckoned on paper.

`House` does what a step says through the flows that routes use. `Paper` reckons the same in plain
Python, without the product's rules: prices by hand, months by hand, disputes by hand, and what a
month comes to (`money`). After each step the two must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from clearinghouse.cdrs import flows as cdr_flows
from clearinghouse.cdrs.model import Submission
from clearinghouse.cdrs.store import SqlBooks as Cdrs
from clearinghouse.disputes import flows as dispute_flows
from clearinghouse.disputes.model import Action as DisputeAction
from clearinghouse.disputes.model import Reason
from clearinghouse.disputes.store import SqlBooks as Disputes
from clearinghouse.periods import flows as period_flows
from clearinghouse.periods.model import Month
from clearinghouse.periods.store import SqlBooks as Periods
from clearinghouse.settling import flows as settling_flows
from gridroam import clearing
from gridroam.answers import BusinessesForClearing
from kit.database import Database
from roaming import money as amounts
from roaming.refusal import Refusal
from tests.clearinghouse.cdrs.fakes import intake_of, submission
from tests.laws.money import Money
from tests.laws.world import HUB, PAIRS, Pair, hub_on, world

FIRST_DAY = datetime(2025, 1, 20, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tell:
    """An operator hands in a charge that ended so many hours after FIRST_DAY; by its number it is
    one of PAIRS'."""

    number: int
    ended_h: int
    energy_wh: int
    replaces: int | None = None

    @property
    def pair(self) -> int:
        return self.number % len(PAIRS)


@dataclass(frozen=True, slots=True)
class TellCredit:
    """An operator takes a charge back, under the id of a credit of its own."""

    number: int
    again: int = 0


@dataclass(frozen=True, slots=True)
class Decline:
    number: int


@dataclass(frozen=True, slots=True)
class Act:
    number: int
    action: DisputeAction


@dataclass(frozen=True, slots=True)
class Approve:
    number: int


@dataclass(frozen=True, slots=True)
class Close:
    month: str


@dataclass(frozen=True, slots=True)
class Settle:
    month: str


@dataclass(frozen=True, slots=True)
class Pay:
    """Of a settled month's payments one: all that is open, or so many tenths of it; below zero,
    that go back. `source` names the fact."""

    month: str
    nth: int
    part: int
    source: str


@dataclass(frozen=True, slots=True)
class Wait:
    days: int


@dataclass(frozen=True, slots=True)
class Lapse:
    """What is due is decided by silence."""


Step = Tell | TellCredit | Decline | Act | Approve | Close | Settle | Pay | Wait | Lapse
_BY = {
    DisputeAction.WITHDRAW: "evsp",
    DisputeAction.ACCEPT: "evsp",
    DisputeAction.ESCALATE: "evsp",
    DisputeAction.CONCEDE: "operator",
    DisputeAction.CONTEST: "operator",
    DisputeAction.UPHOLD: "hub",
    DisputeAction.DISMISS: "hub",
}


@dataclass(slots=True)
class Charge:
    """A charge on paper. `where`: charges, disputed, or gone."""

    step: Tell
    cents: int
    vat: int
    month: str
    where: str
    dispute: str | None = None
    held_from: str | None = None
    answered_until: datetime | None = None
    recorded_at: datetime = FIRST_DAY
    approved: bool = False
    replaced: bool = False


def ended_at(step: Tell) -> datetime:
    return FIRST_DAY + timedelta(hours=step.ended_h)


def month_of(at: datetime) -> str:
    return f"{at:%Y-%m}"


def next_month(month: str) -> str:
    year, number = map(int, month.split("-"))
    return f"{year + number // 12}-{number % 12 + 1:02d}"


def half_up(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


@dataclass(slots=True)
class Paper:
    """The books on paper: `sums` by (month, currency, what), in cents."""

    charges: dict[int, Charge] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    money: Money = field(default_factory=Money)
    sums: dict[tuple[str, str, str], int] = field(default_factory=dict)
    now: datetime = FIRST_DAY

    def open_month(self, month: str) -> str:
        while month in self.closed:
            month = next_month(month)
        return month

    def post(self, month: str, currency: str, what: str, cents: int) -> None:
        key = month, currency, what
        self.sums[key] = self.sums.get(key, 0) + cents

    def charge(self, charge: Charge, month: str, sign: int) -> None:
        """Into the charges of a month, or (-1) out of them."""
        currency = pair_of(charge.step.number).currency
        self.post(month, currency, "charge", sign * charge.cents)
        self.post(month, currency, "vat", sign * charge.vat)
        self.post(month, currency, "count", sign)
        moved = self.money.move(month, charge.step.number, charge.cents, charge.vat, sign)
        moved.charged_here |= charge.where == "new"

    def hold(self, charge: Charge, month: str, sign: int) -> None:
        currency = pair_of(charge.step.number).currency
        self.post(month, currency, "disputed", sign * (charge.cents + charge.vat))

    def use(self, charge: Charge, month: str, sign: int) -> None:
        self.money.use(month, charge.step.number, charge.step.energy_wh, sign)

    def take(self, step: Step) -> bool:
        """Whether it changes the books."""
        match step:
            case Wait(days):
                self.now += timedelta(days=days)
                return False
            case Close(month):
                return self._close(month)
            case Settle(month):
                if month not in self.closed or month in self.money.payments:
                    return False
                self.money.settle(month)
                return True
            case Pay(month, nth, part, source):
                payment = self.money.nth(month, nth)
                return payment is not None and payment.take(source, payment.asked(part))
            case Tell():
                return self._tell(step)
            case TellCredit(number):
                return self._credit(number)
            case Decline(number):
                return self._decline(number)
            case Act(number, action):
                return self._act(number, action.value)
            case Approve(number):
                charge = self.charges.get(number)
                if charge is not None and charge.where == "charges":
                    charge.approved = True
                return False
            case Lapse():
                return self._lapse()

    def _close(self, month: str) -> bool:
        if month in self.closed or self.now < datetime.fromisoformat(
            f"{next_month(month)}-01T00:00Z"
        ):
            return False
        for currency, what, cents in self.money.close(month, self.now.year):
            self.post(month, currency, what, cents)
        self.closed.add(month)
        return True

    def _tell(self, step: Tell) -> bool:
        if step.number in self.charges or ended_at(step) > self.now:
            return False
        twin = next(
            (
                number
                for number, one in self.charges.items()
                if one.where != "gone"
                and (one.step.pair, one.step.ended_h, one.step.energy_wh)
                == (step.pair, step.ended_h, step.energy_wh)
            ),
            None,
        )
        if twin is not None:
            return False
        if step.replaces is not None:
            old = self.charges.get(step.replaces)
            if (
                old is None
                or old.where != "gone"
                or old.replaced
                or pair_of(old.step.number).operator != pair_of(step.number).operator
            ):
                return False
            old.replaced = True
        cents = half_up(step.energy_wh * 50, 1000)
        vat = half_up(cents * pair_of(step.number).vat_percent, 100)
        month = self.open_month(month_of(ended_at(step)))
        charge = Charge(step, cents, vat, month, "new", recorded_at=self.now)
        self.charges[step.number] = charge
        self.charge(charge, month, 1)
        self.use(charge, month, 1)
        charge.where = "charges"
        return True

    def _credit(self, number: int) -> bool:
        charge = self.charges.get(number)
        if charge is None or charge.where != "charges":
            return False
        charge.where = "gone"
        month = self.open_month(month_of(ended_at(charge.step)))
        self.charge(charge, month, -1)
        self.use(charge, month, -1)
        return True

    def _decline(self, number: int) -> bool:
        charge = self.charges.get(number)
        if (
            charge is None
            or charge.where != "charges"
            or charge.approved
            or self.now > charge.recorded_at + timedelta(days=45)
        ):
            return False
        charge.where, charge.dispute = "disputed", "opened"
        charge.answered_until = self.now + timedelta(days=14)
        charge.held_from = self.open_month(charge.month)
        self.charge(charge, charge.held_from, -1)
        self.hold(charge, charge.held_from, 1)
        return True

    def _lapse(self) -> bool:
        due = [
            number
            for number, one in self.charges.items()
            if one.where == "disputed" and one.answered_until and one.answered_until <= self.now
        ]
        for number in due:
            self._act(
                number, "accept" if self.charges[number].dispute == "contested" else "concede"
            )
        return bool(due)

    def _act(self, number: int, action: str) -> bool:
        charge = self.charges.get(number)
        if charge is None or charge.where != "disputed":
            return False
        match (charge.dispute, action):
            case ("opened", "contest"):
                charge.dispute = "contested"
                charge.answered_until = self.now + timedelta(days=14)
            case ("contested", "escalate"):
                charge.dispute, charge.answered_until = "escalated", None
            case (
                ("opened", "withdraw")
                | ("contested", "accept")
                | ("escalated", "accept" | "dismiss")
            ):
                charge.where, charge.approved = "charges", True
                assert charge.held_from is not None
                month = self.open_month(charge.held_from)
                self.charge(charge, month, 1)
                self.hold(charge, month, -1)
            case (_, "concede") | ("escalated", "uphold"):
                charge.where, charge.dispute = "gone", "credited"
                assert charge.held_from is not None
                month = self.open_month(charge.held_from)
                self.hold(charge, month, -1)
                self.use(charge, month, -1)
            case _:
                return False
        return True

    def totals(self) -> dict[str, tuple[int, ...]]:
        """By month and currency; without those of all zeros."""
        found = {
            f"{month} {currency}": tuple(self.sums.get((month, currency, what), 0) for what in WHAT)
            for month, currency in sorted({(month, currency) for month, currency, _ in self.sums})
        }
        return {month: sums for month, sums in found.items() if any(sums)}


WHAT = ("charge", "vat", "fee", "fee vat", "disputed", "count")


class House:
    """The real thing, on a database, with a clock of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = FIRST_DAY
        self.core = hub_on(database, self.clock)
        self.settling = clearing.settling(self.core)

    async def open(self) -> House:
        """Who the partners are on paper is known after this."""
        await self.core.businesses.load()
        return self

    def clock(self) -> datetime:
        return self.now

    async def take(self, step: Step) -> None:
        """Do what the step says. A refusal is an answer like any other."""
        try:
            await self._take(step)
        except Refusal:
            return

    async def _take(self, step: Step) -> None:
        match step:
            case Wait(days):
                self.now += timedelta(days=days)
            case Close(month):
                await period_flows.close(
                    Month.parse(month),
                    hub=HUB,
                    books=clearing.periods(self.core),
                    clock=self.clock,
                )
            case Settle(month):
                await settling_flows.settle(Month.parse(month), house=self.settling)
            case Pay():
                await self._pay(step)
            case Tell():
                await self.hand_in([record(step)])
            case TellCredit(number, again):
                operator = pair_of(number).operator
                found = await Cdrs(self.database).find(operator, operator, cdr_id(number))
                if found is not None:
                    await self.hand_in([credit(found.submission, number, again)])
            case Decline(number):
                pair = pair_of(number)
                await dispute_flows.decline(
                    *(pair.operator, cdr_id(number), Reason.WRONG_ENERGY, None),
                    evsp=pair.evsp,
                    books=Disputes(self.database),
                    clock=self.clock,
                )
            case Act(number, action):
                await self._act(number, action)
            case Approve(number):
                pair = pair_of(number)
                await cdr_flows.approve(
                    [(pair.operator, cdr_id(number))],
                    evsp=pair.evsp,
                    books=Cdrs(self.database),
                    clock=self.clock,
                )
            case Lapse():
                await dispute_flows.lapse(books=Disputes(self.database), clock=self.clock)

    async def hand_in(self, records: Sequence[Submission]) -> None:
        intake = replace(
            intake_of(self.database, world()),
            clock=self.clock,
            businesses=BusinessesForClearing(self.core.businesses),
        )
        await cdr_flows.receive(records, intake=intake)

    async def _act(self, number: int, action: DisputeAction) -> None:
        pair = pair_of(number)
        books = Disputes(self.database)
        for one in await books.page(pair.operator, state=None, after="", limit=1_000):
            if one.cdr_id == cdr_id(number) and one.outcome is None:
                caller = {"evsp": pair.evsp, "operator": pair.operator, "hub": HUB}[_BY[action]]
                await dispute_flows.act(
                    *(one.dispute_id, action, "because"),
                    caller=caller,
                    hub=HUB,
                    books=books,
                    clock=self.clock,
                )

    async def _pay(self, step: Pay) -> None:
        """Money comes for a payment, as whoever reads the bank's statement says."""
        async with self.database.hot() as connection:
            rows = await connection.fetch(_PAYMENTS, step.month)
        if rows:
            row = rows[step.nth % len(rows)]
            owed, paid = row["amount_minor"], row["paid_minor"]
            came = owed * step.part // 10 if step.part else owed - paid
            await settling_flows.record_payment(
                row["payment_id"],
                amounts.Money(came, row["currency"]),
                FIRST_DAY,
                step.source,
                house=self.settling,
            )

    async def totals(self) -> dict[str, tuple[int, ...]]:
        books = Periods(self.database)
        found = {}
        for period in await period_flows.known(books=books):
            for total in (await period_flows.show(period.month, books=books)).totals:
                found[f"{period.month} {total.currency}"] = (
                    total.charges_minor,
                    total.vat_minor,
                    total.fees_minor,
                    total.fee_vat_minor,
                    total.disputed_minor,
                    total.cdrs,
                )
        return {month: sums for month, sums in found.items() if any(sums)}

    async def books(self) -> list[str]:
        """Every posting with its entries, without the numbers that the log gives out."""
        async with self.database.hot() as connection:
            rows = await connection.fetch(_BOOKS)
        return [row[0] for row in rows]

    async def kept(self) -> list[str]:
        """All that is kept beside the ledger about months, disputes, documents and payments, to
        the letter. A month without a row is open."""
        async with self.database.hot() as connection:
            rows = await connection.fetch(_KEPT)
        return [row[0] for row in rows]

    async def documents(self) -> list[str]:
        """Invoices with their bytes, what could not be invoiced, and the payments with references;
        in the order in which they came about."""
        async with self.database.hot() as connection:
            rows = await connection.fetch(_DOCUMENTS)
        return [row[0] for row in rows]

    async def faults_of_money(self, paper: Money) -> list[str]:
        """What is not with the documents and payments as it is on paper, or not as it must be."""
        async with self.database.hot() as connection:
            invoices = [tuple(row) for row in await connection.fetch(_INVOICES)]
            uninvoiced = {tuple(row) for row in await connection.fetch(_UNINVOICED)}
            payments = [tuple(row) for row in await connection.fetch(_PAID)]
            balances = await connection.fetch(_SETTLEMENT_BALANCES)
            left = await connection.fetch(_LEFT_IN_SETTLED)
            sums = await connection.fetch(_SUMS)
        on_paper = sorted(
            (month, one.group, one.currency, one.debtor, one.creditor, of.amount, of.paid, of.state)
            for month, of_month in paper.payments.items()
            for one, of in of_month.items()
        )
        netted = {
            (row["period_id"], row["clearing_group"], row["currency"]): row["owed"] - row["paid"]
            for row in sums
        }
        open_ = {tuple(row)[:-1]: row["amount_minor"] for row in balances}
        held = {
            "invoices are those on paper, with their numbers": invoices == paper.invoices,
            "what could not be invoiced is that on paper": uninvoiced == paper.uninvoiced,
            "payments are those on paper": sorted(payments) == on_paper,
            "what is open of payments is on their accounts": open_ == paper.open_between(),
            "a settled month leaves nothing": not left,
            "numbers have no gaps": gapless([one[0] for one in invoices]),
            "documents come to what pairs owe": all(
                row["documents"] == row["balance"] for row in sums
            ),
            "what pairs owe is paid or netted": netted == paper.netted,
        }
        return [law for law, holds in held.items() if not holds]

    async def places(self) -> dict[str, tuple[str, ...]]:
        """By booked charge, where its amount stands: open, closed, disputed or nowhere."""
        async with self.database.hot() as connection:
            rows = await connection.fetch(_PLACES)
        found: dict[str, list[str]] = {}
        for row in rows:
            places = found.setdefault(f"{row['operator']} {row['cdr_id']}", [])
            if row["place"] is not None:
                places.append(row["place"])
        return {record: tuple(places) for record, places in found.items()}


def gapless(numbers: Sequence[str]) -> bool:
    """`FRPD1-2025-000001`, and each series 1, 2, 3… in the order of issue."""
    series: dict[str, list[int]] = {}
    for number in numbers:
        name, counted = number.rsplit("-", 1)
        series.setdefault(name, []).append(int(counted))
    return all(counted == list(range(1, len(counted) + 1)) for counted in series.values())


def pair_of(number: int) -> Pair:
    return PAIRS[number % len(PAIRS)]


def cdr_id(number: int) -> str:
    return f"R-{number}"


def record(step: Tell) -> Submission:
    pair = pair_of(step.number)
    end = ended_at(step)
    more = {} if step.replaces is None else {"replaces": cdr_id(step.replaces)}
    return submission(
        cdr_id(step.number),
        operator=pair.operator,
        evse_id=pair.evse.display,
        contract_id=str(pair.contract),
        start=(end - timedelta(hours=1)).isoformat(),
        end=end.isoformat(),
        energy_wh=step.energy_wh,
        **more,
    )


def credit(of: Submission, number: int, again: int) -> Submission:
    return replace(
        of,
        cdr_id=f"{of.cdr_id}-C{again}",
        credit_reference_id=of.cdr_id,
        replaces=None,
        content=f"credit {number} {again}".encode().ljust(32),
    )


_BOOKS = """
SELECT concat_ws(' ', p.book, p.kind, p.operator, p.cdr_id, p.value_at AT TIME ZONE 'UTC',
  string_agg(concat_ws(' ', e.account, e.party, e.counterparty, e.currency, e.amount_minor, e.cdrs,
    e.clearing_group), '; ' ORDER BY e.entry_id))
FROM clearinghouse.ledger_posting AS p JOIN clearinghouse.ledger_entry AS e USING (posting_id)
GROUP BY p.posting_id ORDER BY p.book, p.book_no
"""
# A credit and the steps of a dispute count for the record that they are about. What a later month
# took back of a closed one is where that later month is.
_PLACES = """
WITH about AS (
  SELECT p.posting_id, p.operator, coalesce(c.credit_reference_id, p.cdr_id) AS cdr_id, p.value_at
  FROM clearinghouse.ledger_posting AS p JOIN clearinghouse.cdr AS c
    ON c.operator = p.operator AND c.cdr_id = p.cdr_id AND c.state <> 'rejected'
), summed AS (
  SELECT a.operator, a.cdr_id,
    sum(e.cdrs) FILTER (WHERE e.account = 'charge-receivable') AS charged,
    sum(e.cdrs) FILTER (WHERE e.account = 'disputed-charge-receivable') AS disputed,
    max(a.value_at) FILTER (WHERE e.account = 'charge-receivable' AND e.cdrs > 0) AS value_at
  FROM about AS a JOIN clearinghouse.ledger_entry AS e USING (posting_id) GROUP BY 1, 2
)
SELECT operator, cdr_id, place FROM summed LEFT JOIN LATERAL (
  SELECT CASE WHEN coalesce(d.state, 'open') = 'open' THEN 'open' ELSE 'closed' END AS place
    FROM (VALUES (1)) AS v LEFT JOIN clearinghouse.accounting_period AS d
      ON d.period_id = to_char(value_at AT TIME ZONE 'UTC', 'YYYY-MM') WHERE charged = 1
  UNION ALL SELECT 'disputed' WHERE disputed = 1
  UNION ALL SELECT 'wrong' WHERE charged NOT IN (0, 1) OR coalesce(disputed, 0) NOT IN (0, 1)
) AS place ON true
ORDER BY operator, cdr_id
"""
_PAYMENTS = """
SELECT payment_id, amount_minor, paid_minor, currency FROM clearinghouse.settlement_payment
WHERE period_id = $1 ORDER BY clearing_group, currency, payer, payee
"""
_KEPT_TABLES = (
    *("invoice", "invoice_series", "uninvoiced", "fee", "dispute", "settlement"),
    *("settlement_pair", "settlement_payment", "settlement_receipt"),
)
_KEPT = " UNION ALL ".join(
    [
        f"SELECT '{table} ' || count(*) || ' ' || coalesce(md5(string_agg(t::text, '' ORDER BY"
        f" t::text)), '') FROM clearinghouse.{table} AS t"
        for table in _KEPT_TABLES
    ]
    + ["SELECT p::text FROM clearinghouse.accounting_period AS p WHERE state <> 'open'"]
)
_DOCUMENTS = """
SELECT told FROM (
  SELECT 1 AS part, log_position AS place, concat_ws(' ', number, content, xml_sha256)
    AS told FROM clearinghouse.invoice
  UNION ALL SELECT 2, 0, u::text FROM clearinghouse.uninvoiced AS u
  UNION ALL SELECT 3, 0, p::text FROM clearinghouse.settlement_payment AS p
  UNION ALL SELECT 4, 0, r::text FROM clearinghouse.settlement_receipt AS r
  UNION ALL SELECT 5, 0, s::text FROM clearinghouse.settlement_pair AS s
) AS of_all ORDER BY part, place, told
"""
_INVOICES = """
SELECT number, kind, seller, buyer, currency, clearing_group, period_id, net_minor, vat_minor,
  vat_rounding_minor FROM clearinghouse.invoice ORDER BY log_position
"""
_UNINVOICED = """
SELECT period_id, seller, buyer, currency, clearing_group, kind, net_minor, vat_minor
FROM clearinghouse.uninvoiced
"""
_PAID = """
SELECT period_id, clearing_group, currency, payer, payee, amount_minor, paid_minor, state
FROM clearinghouse.settlement_payment
"""
_SETTLEMENT_BALANCES = """
SELECT account, party, counterparty, currency, amount_minor FROM clearinghouse.ledger_balance
WHERE account LIKE 'settlement-%' AND amount_minor <> 0
"""
_LEFT_IN_SETTLED = """
SELECT e.account, e.party FROM clearinghouse.ledger_entry AS e
JOIN clearinghouse.accounting_period AS p ON p.state = 'settled'
  AND to_char(e.value_at AT TIME ZONE 'UTC', 'YYYY-MM') = p.period_id
WHERE e.account ~ '^(charge|vat|fee|fee-vat)-(receivable|payable)$'
GROUP BY p.period_id, e.account, e.party, e.counterparty, e.currency
HAVING sum(amount_minor) <> 0
"""
# What was told to the two sides (invoices less credit notes, and what was not invoiced), what the
# pairs' balance was, what they owed either way, and what is paid.
_SUMS = """
WITH told AS (
  SELECT period_id, clearing_group, currency,
    (CASE kind WHEN '381' THEN -1 ELSE 1 END) * (net_minor + vat_minor) AS minor
    FROM clearinghouse.invoice
  UNION ALL SELECT period_id, clearing_group, currency, net_minor + vat_minor
    FROM clearinghouse.uninvoiced
)
SELECT period_id, clearing_group, s.currency,
  (SELECT coalesce(sum(minor), 0)::bigint FROM told AS t WHERE (t.period_id, t.clearing_group,
    t.currency) = (s.period_id, s.clearing_group, s.currency)) AS documents,
  (SELECT coalesce(sum(charge_minor + vat_minor + fee_minor + fee_vat_minor), 0)::bigint FROM
    clearinghouse.settlement_pair AS p WHERE (p.period_id, p.clearing_group, p.currency) =
    (s.period_id, s.clearing_group, s.currency)) AS balance,
  (SELECT coalesce(sum(abs(settled_minor)), 0)::bigint FROM
    clearinghouse.settlement_pair AS p WHERE (p.period_id, p.clearing_group, p.currency) =
    (s.period_id, s.clearing_group, s.currency)) AS owed,
  (SELECT coalesce(sum(amount_minor), 0)::bigint FROM
    clearinghouse.settlement_payment AS p WHERE (p.period_id, p.clearing_group, p.currency) =
    (s.period_id, s.clearing_group, s.currency)) AS paid
FROM clearinghouse.settlement AS s
"""
