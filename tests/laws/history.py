"""What may happen in a clearing house, as values; done on a real one, and reckoned on paper.

`House` does what a step says through the flows that routes use. `Paper` reckons the same in plain
Python, without the product's rules: prices by hand, months by hand, disputes by hand. After each
step the two must agree.
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
from kit.database import Database
from roaming.party import PartyId
from roaming.refusal import Refusal
from tests.clearinghouse.cdrs.fakes import (
    CONTRACT,
    EVSE,
    EVSP,
    OPERATOR,
    OTHER_CONTRACT,
    OTHER_EVSE,
    OTHER_EVSP,
    OTHER_OPERATOR,
    World,
    intake_of,
    submission,
)

HUB = PartyId("EU*GRD")
FIRST_DAY = datetime(2025, 1, 20, tzinfo=UTC)
# Who charges where: operator, EVSE, contract, EVSP.
PAIRS = (
    (OPERATOR, EVSE, CONTRACT, EVSP),
    (OPERATOR, EVSE, OTHER_CONTRACT, OTHER_EVSP),
    (OTHER_OPERATOR, OTHER_EVSE, CONTRACT, EVSP),
)


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
class Wait:
    days: int


@dataclass(frozen=True, slots=True)
class Lapse:
    """What is due is decided by silence."""


Step = Tell | TellCredit | Decline | Act | Approve | Close | Wait | Lapse
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
    """The books on paper: `sums` by (month, what), in cents."""

    charges: dict[int, Charge] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    sums: dict[tuple[str, str], int] = field(default_factory=dict)
    now: datetime = FIRST_DAY

    def open_month(self, month: str) -> str:
        while month in self.closed:
            month = next_month(month)
        return month

    def post(self, month: str, what: str, cents: int, count: int = 0) -> None:
        for key, amount in ((what, cents), (f"{what} count", count)):
            self.sums[month, key] = self.sums.get((month, key), 0) + amount

    def move(self, charge: Charge, month: str, sign: int) -> None:
        """Out of the charges and among the disputed, or (-1) back."""
        self.post(month, "charge", -sign * charge.cents, -sign)
        self.post(month, "vat", -sign * charge.vat)
        self.post(month, "disputed", sign * (charge.cents + charge.vat))

    def take(self, step: Step) -> bool:
        """Whether it changes the books."""
        match step:
            case Wait(days):
                self.now += timedelta(days=days)
                return False
            case Close(month):
                return self._close(month)
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
                or PAIRS[old.step.pair][0] != PAIRS[step.pair][0]
            ):
                return False
            old.replaced = True
        cents = half_up(step.energy_wh * 50, 1000)
        vat = half_up(cents * 20, 100)
        month = self.open_month(month_of(ended_at(step)))
        self.charges[step.number] = Charge(step, cents, vat, month, "charges", recorded_at=self.now)
        self.post(month, "charge", cents, 1)
        self.post(month, "vat", vat)
        return True

    def _credit(self, number: int) -> bool:
        charge = self.charges.get(number)
        if charge is None or charge.where != "charges":
            return False
        charge.where = "gone"
        month = self.open_month(month_of(ended_at(charge.step)))
        self.post(month, "charge", -charge.cents, -1)
        self.post(month, "vat", -charge.vat)
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
        self.move(charge, charge.held_from, 1)
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
                self.move(charge, self.open_month(charge.held_from), -1)
            case (_, "concede") | ("escalated", "uphold"):
                charge.where, charge.dispute = "gone", "credited"
                assert charge.held_from is not None
                month = self.open_month(charge.held_from)
                self.post(month, "disputed", -charge.cents - charge.vat)
            case _:
                return False
        return True

    def totals(self) -> dict[str, tuple[int, int, int, int]]:
        """By month: charges, VAT, disputed, count of records; without months of all zeros."""
        months = sorted({month for month, _ in self.sums})
        found = {
            month: (
                self.sums.get((month, "charge"), 0),
                self.sums.get((month, "vat"), 0),
                self.sums.get((month, "disputed"), 0),
                self.sums.get((month, "charge count"), 0),
            )
            for month in months
        }
        return {month: sums for month, sums in found.items() if any(sums)}


class House:
    """The real thing, on a database, with a clock of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now = FIRST_DAY

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
                    Month.parse(month), hub=HUB, books=Periods(self.database), clock=self.clock
                )
            case Tell():
                await self.hand_in([record(step)])
            case TellCredit(number, again):
                operator = PAIRS[number % len(PAIRS)][0]
                found = await Cdrs(self.database).find(operator, operator, cdr_id(number))
                if found is not None:
                    await self.hand_in([credit(found.submission, number, again)])
            case Decline(number):
                operator, _, _, evsp = PAIRS[number % len(PAIRS)]
                await dispute_flows.decline(
                    *(operator, cdr_id(number), Reason.WRONG_ENERGY, None),
                    evsp=evsp,
                    books=Disputes(self.database),
                    clock=self.clock,
                )
            case Act(number, action):
                await self._act(number, action)
            case Approve(number):
                operator, _, _, evsp = PAIRS[number % len(PAIRS)]
                await cdr_flows.approve(
                    [(operator, cdr_id(number))],
                    evsp=evsp,
                    books=Cdrs(self.database),
                    clock=self.clock,
                )
            case Lapse():
                await dispute_flows.lapse(books=Disputes(self.database), clock=self.clock)

    async def hand_in(self, records: Sequence[Submission]) -> None:
        agreed = World(valid_until=datetime(2035, 1, 1, tzinfo=UTC))
        intake = replace(intake_of(self.database, agreed), clock=self.clock)
        await cdr_flows.receive(records, intake=intake)

    async def _act(self, number: int, action: DisputeAction) -> None:
        operator, _, _, evsp = PAIRS[number % len(PAIRS)]
        books = Disputes(self.database)
        for one in await books.page(operator, state=None, after="", limit=1_000):
            if one.cdr_id == cdr_id(number) and one.outcome is None:
                caller = {"evsp": evsp, "operator": operator, "hub": HUB}[_BY[action]]
                await dispute_flows.act(
                    *(one.dispute_id, action, "because"),
                    caller=caller,
                    hub=HUB,
                    books=books,
                    clock=self.clock,
                )

    async def totals(self) -> dict[str, tuple[int, int, int, int]]:
        books = Periods(self.database)
        found = {}
        for period in await period_flows.known(books=books):
            for total in (await period_flows.show(period.month, books=books)).totals:
                found[str(period.month)] = (
                    total.charges_minor,
                    total.vat_minor,
                    total.disputed_minor,
                    total.cdrs,
                )
        return {month: sums for month, sums in found.items() if any(sums)}

    async def books(self) -> list[str]:
        """Every posting with its entries, without the numbers that the log gives out."""
        async with self.database.hot() as connection:
            rows = await connection.fetch(_BOOKS)
        return [row[0] for row in rows]

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


def cdr_id(number: int) -> str:
    return f"R-{number}"


def record(step: Tell) -> Submission:
    operator, evse, contract, _ = PAIRS[step.pair]
    end = ended_at(step)
    more = {} if step.replaces is None else {"replaces": cdr_id(step.replaces)}
    return submission(
        cdr_id(step.number),
        operator=operator,
        evse_id=evse.display,
        contract_id=str(contract),
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
