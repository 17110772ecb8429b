"""Who owes whom after a day of charging, reckoned slowly and plainly from the raw files.

    python who_owes_whom.py FOLDER          prints the statement as JSON

FOLDER holds what a replay takes: `evses.csv.gz` (or `evses.csv`), `customers.jsonl`,
`agreements.json`, `charges.jsonl`. Nothing here is shared with the product, on purpose: it is
written from OCPI 2.2.1 (mod_tariffs; mod_cdrs for `step_size`) and from the page of the outside
interfaces, by other means. A charge is cut into pieces in which no restriction of the tariff can
change its mind, each piece is asked which price applies, and every quantity is a fraction.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

Json = Mapping[str, Any]

EVSE_ID = re.compile(r"[A-Z]{2}\*?[A-Z0-9]{3}\*?E[A-Z0-9*]{1,30}")
WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
PLACES = {"EUR": 2, "CHF": 2, "GBP": 2, "SEK": 2, "NOK": 2, "DKK": 2, "PLN": 2, "CZK": 2}
MICROSECOND = timedelta(microseconds=1)


# Pricing ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Period:
    """A stretch of a charge in which energy (Wh) flows evenly. `parking`: the car takes none."""

    start: datetime
    end: datetime
    energy_wh: Fraction
    parking: bool = False

    @property
    def seconds(self) -> Fraction:
        return Fraction((self.end - self.start) // MICROSECOND, 1_000_000)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a period that no boundary of the tariff crosses, and its middle."""

    seconds: Fraction
    energy_wh: Fraction
    parking: bool
    middle_local: datetime
    middle_seconds: Fraction
    middle_kwh: Fraction
    power_kw: Fraction | None


def price(tariff: Json, periods: Sequence[Period], zone: ZoneInfo) -> Fraction:
    """The exact price of a charge without VAT, in units of the currency."""
    pieces = list(cut(tariff, periods, zone))
    total = energy_price(tariff, pieces) + time_price(tariff, pieces) + flat_price(tariff, pieces)
    for limit, bound in (("min_price", max), ("max_price", min)):
        given = (tariff.get(limit) or {}).get("excl_vat")
        if given is not None:
            total = bound(total, Fraction(str(given)))
    return total


def cut(tariff: Json, periods: Sequence[Period], zone: ZoneInfo) -> Iterator[Piece]:
    """A period is a straight line through time and energy; it is cut by how far along it we are."""
    start = periods[0].start
    energy_before = Fraction(0)
    for period in periods:
        since_start = Fraction((period.start - start) // MICROSECOND, 1_000_000)
        marks = {Fraction(0), Fraction(1)}
        if period.seconds:
            marks |= {
                (second - since_start) / period.seconds
                for second in duration_boundaries(tariff)
                | wall_clock_boundaries(tariff, period, start, zone)
            }
            power_kw = period.energy_wh * 3600 / 1000 / period.seconds
        else:
            power_kw = None
        if period.energy_wh:
            marks |= {
                (boundary * 1000 - energy_before) / period.energy_wh
                for boundary in kwh_boundaries(tariff)
            }
        inside = sorted(mark for mark in marks if 0 <= mark <= 1)
        for here, there in pairwise(inside):
            middle = (here + there) / 2
            middle_seconds = since_start + middle * period.seconds
            yield Piece(
                seconds=(there - here) * period.seconds,
                energy_wh=(there - here) * period.energy_wh,
                parking=period.parking,
                middle_local=moment(start, middle_seconds).astimezone(zone),
                middle_seconds=middle_seconds,
                middle_kwh=(energy_before + middle * period.energy_wh) / 1000,
                power_kw=power_kw,
            )
        energy_before += period.energy_wh


def moment(start: datetime, seconds: Fraction) -> datetime:
    # Wall clock boundaries are whole minutes, so losing what is below a microsecond moves nothing.
    return start + int(seconds * 1_000_000) * MICROSECOND


def restrictions_of(tariff: Json) -> Iterator[Json]:
    for element in tariff["elements"]:
        yield element.get("restrictions") or {}


def duration_boundaries(tariff: Json) -> set[Fraction]:
    return {
        Fraction(str(each[name]))
        for each in restrictions_of(tariff)
        for name in ("min_duration", "max_duration")
        if each.get(name) is not None
    }


def kwh_boundaries(tariff: Json) -> set[Fraction]:
    return {
        Fraction(str(each[name]))
        for each in restrictions_of(tariff)
        for name in ("min_kwh", "max_kwh")
        if each.get(name) is not None
    }


def wall_clock_boundaries(
    tariff: Json, period: Period, start: datetime, zone: ZoneInfo
) -> set[Fraction]:
    """Seconds after `start` at which a time of day, a weekday or a date may begin or end.

    Every whole minute of the period is looked at: it is a boundary when the clock on the wall shows
    midnight or a time that the tariff names, or when that clock has just been put forward or back.
    """
    named = {"00:00"}
    calendar = False
    for each in restrictions_of(tariff):
        named |= {each[name] for name in ("start_time", "end_time") if each.get(name)}
        calendar = calendar or any(
            each.get(name)
            for name in ("start_time", "end_time", "start_date", "end_date", "day_of_week")
        )
    boundaries: set[Fraction] = set()
    if not calendar:
        return boundaries
    minute = period.start.astimezone(UTC).replace(second=0, microsecond=0)
    while minute <= period.end:
        shown = minute.astimezone(zone)
        before = (minute - timedelta(minutes=1)).astimezone(zone)
        if f"{shown:%H:%M}" in named or shown.utcoffset() != before.utcoffset():
            boundaries.add(Fraction((minute - start) // MICROSECOND, 1_000_000))
        minute += timedelta(minutes=1)
    return boundaries


def matches(restrictions: Json, piece: Piece) -> bool:
    """All that is set must hold. Lower bounds include their value, upper bounds do not."""
    local = piece.middle_local
    given = {name: value for name, value in restrictions.items() if value not in (None, [])}
    for name, value in given.items():
        match name:
            case "start_time" | "end_time":
                fits = in_day_time(given.get("start_time"), given.get("end_time"), local)
            case "start_date":
                fits = local.date().isoformat() >= value
            case "end_date":
                fits = local.date().isoformat() < value
            case "day_of_week":
                fits = WEEKDAYS[local.weekday()] in value
            case "min_duration":
                fits = piece.middle_seconds >= value
            case "max_duration":
                fits = piece.middle_seconds < value
            case "min_kwh":
                fits = piece.middle_kwh >= Fraction(str(value))
            case "max_kwh":
                fits = piece.middle_kwh < Fraction(str(value))
            case "min_power":
                fits = piece.power_kw is not None and piece.power_kw >= Fraction(str(value))
            case "max_power":
                fits = piece.power_kw is not None and piece.power_kw < Fraction(str(value))
            case "min_current" | "max_current" | "reservation":
                # The files tell of no current and of no reservation.
                fits = False
            case _:
                raise ValueError(f"unknown restriction {name}")
        if not fits:
            return False
    return True


def in_day_time(start: str | None, end: str | None, local: datetime) -> bool:
    """`end` 00:00 is the end of the day; an end before the start wraps around midnight."""
    now = f"{local:%H:%M:%S.%f}"
    begins = start or "00:00"
    ends = "24:00" if end in (None, "00:00") else end
    if ends < begins:
        return now >= begins or now < ends
    return begins <= now < ends


def component(tariff: Json, kind: str, piece: Piece) -> Json | None:
    """The first element that prices this dimension and matches; only that one counts."""
    for element in tariff["elements"]:
        for each in element["price_components"]:
            if each["type"] == kind and matches(element.get("restrictions") or {}, piece):
                found: Json = each
                return found
    return None


def rounded_up(quantity: Fraction, step: int) -> Fraction:
    return Fraction(-(-quantity // step) * step) if step else quantity


def stepped(used: Sequence[tuple[Fraction, Json]], per: int) -> Fraction:
    """The price of what was used: (quantity, its component) in order of time, `per` units priced.

    The sum is rounded up by the last component's `step_size`, and the extra is paid at its price.
    """
    if not used:
        return Fraction(0)
    last = used[-1][1]
    total = sum((quantity for quantity, _ in used), Fraction(0))
    extra = rounded_up(total, int(last.get("step_size") or 0)) - total
    lots = [*used, (extra, last)]
    return sum(
        (quantity * Fraction(str(each["price"])) / per for quantity, each in lots), Fraction(0)
    )


def energy_price(tariff: Json, pieces: Sequence[Piece]) -> Fraction:
    used = []
    for piece in pieces:
        if piece.energy_wh and (found := component(tariff, "ENERGY", piece)):
            used.append((piece.energy_wh, found))
    return stepped(used, 1000)


def time_price(tariff: Json, pieces: Sequence[Piece]) -> Fraction:
    """Charging time and parking time; `step_size` counts once, for the kind that came last."""
    used: dict[str, list[tuple[Fraction, Json]]] = {"TIME": [], "PARKING_TIME": []}
    last = None
    for piece in pieces:
        kind = "PARKING_TIME" if piece.parking else "TIME"
        if piece.seconds and (found := component(tariff, kind, piece)):
            used[kind].append((piece.seconds, found))
            last = kind
    total = Fraction(0)
    for kind, lots in used.items():
        if kind == last:
            total += stepped(lots, 3600)
        else:
            total += sum(
                (quantity * Fraction(str(each["price"])) / 3600 for quantity, each in lots),
                Fraction(0),
            )
    return total


def flat_price(tariff: Json, pieces: Sequence[Piece]) -> Fraction:
    """Paid once in a charge: by the first component that is active at any time."""
    for piece in pieces:
        if found := component(tariff, "FLAT", piece):
            return Fraction(str(found["price"]))
    return Fraction(0)


def half_up(exact: Fraction) -> int:
    return (exact * 2 + 1).__floor__() // 2


def price_and_vat(agreement: Json, periods: Sequence[Period], zone: ZoneInfo) -> tuple[int, int]:
    """In minor units: the price rounded once, and VAT on the rounded price, rounded once."""
    tariff = agreement["tariff"]
    scale = 10 ** PLACES[agreement["currency"]]
    amount = half_up(price(tariff, periods, zone) * scale)
    vat = half_up(Fraction(amount) * Fraction(str(agreement["vat_percent"])) / 100)
    for limit, bound in (("min_price", max), ("max_price", min)):
        given = (tariff.get(limit) or {}).get("incl_vat")
        if given is not None:
            vat = bound(amount + vat, half_up(Fraction(str(given)) * scale)) - amount
    return amount, vat


# The day ------------------------------------------------------------------------------------------


def settle(folder: Path | str) -> dict[str, Any]:
    """The statement of the files in `folder`, in the shape of a replay's report and a little more.

    `charges` counts the lines; `duplicates` are lines that repeat a charge (EVSE, card, times and
    energy), which is looked at once; the others are `accepted` or `refused`. A charge that ends
    before it starts is accepted as an authorisation, and its CDR is `rejected`. `energy_wh` is that
    of the accepted CDRs.
    `positions` are what each party gets (or, below zero, pays) in all. Amounts exclude VAT.
    """
    folder = Path(folder)
    known = read_evse_ids(folder)
    customers = read_customers(folder)
    agreements = read_agreements(folder)

    charges = duplicates = energy_wh = 0
    seen: set[tuple[str, str, datetime, datetime, Fraction]] = set()
    refused: Counter[str] = Counter()
    cdrs = {"accepted": 0, "rejected": 0}
    owed: dict[tuple[str, str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for charge in read_lines(folder / "charges.jsonl"):
        charges += 1
        start = datetime.fromisoformat(charge["start"])
        end = datetime.fromisoformat(charge["end"])
        energy_kwh = Fraction(str(charge["energy_kwh"]))
        evse_id = plain_evse_id(charge["evse_id"]) or charge["evse_id"]
        key = evse_id, plain_token(charge["token_uid"]), start, end, energy_kwh
        if key in seen:
            duplicates += 1
            continue
        seen.add(key)
        decision = decide(charge, start, known, customers, agreements)
        if isinstance(decision, str):
            refused[decision] += 1
            continue
        if end < start:
            cdrs["rejected"] += 1
            continue
        cdrs["accepted"] += 1
        wh = half_up(energy_kwh * 1000)
        energy_wh += wh
        agreement = decision
        amount, vat = price_and_vat(
            agreement, [Period(start, end, Fraction(wh))], ZoneInfo(agreement["time_zone"])
        )
        row = owed[agreement["evsp"], agreement["operator"], agreement["currency"]]
        row[0] += amount
        row[1] += vat
        row[2] += 1
    return {
        "charges": charges,
        "duplicates": duplicates,
        "accepted": sum(cdrs.values()),
        "refused": dict(sorted(refused.items())),
        "cdrs": cdrs,
        "energy_wh": energy_wh,
        **statement({key: (amount, vat, count) for key, (amount, vat, count) in owed.items()}),
    }


def decide(
    charge: Json,
    start: datetime,
    known: set[str],
    customers: Mapping[str, Json],
    agreements: Mapping[tuple[str, str], Sequence[Json]],
) -> Json | str:
    """The agreement the charge is billed under, or the first reason that forbids it."""
    evse_id = plain_evse_id(charge["evse_id"])
    if evse_id is None or evse_id not in known:
        return "evse-unknown"
    customer = customers.get(plain_token(charge["token_uid"]))
    if customer is None:
        return "unknown-contract"
    for agreement in agreements.get((evse_id[:5], plain_party(customer["evsp"])), ()):
        valid_from = datetime.fromisoformat(agreement["valid_from"])
        valid_until = datetime.fromisoformat(agreement["valid_until"])
        if valid_from <= start < valid_until:
            return "contract-blocked" if customer["status"] == "blocked" else agreement
    return "no-roaming-agreement"


def plain_evse_id(text: str) -> str | None:
    tidy = text.strip().upper()
    return tidy.replace("*", "") if EVSE_ID.fullmatch(tidy) else None


def plain_party(text: str) -> str:
    return text.strip().upper().replace("*", "").replace("-", "")


def plain_token(text: str) -> str:
    return text.strip().upper()


def read_evse_ids(folder: Path) -> set[str]:
    zipped = folder / "evses.csv.gz"
    if zipped.exists():
        text = gzip.decompress(zipped.read_bytes()).decode()
    else:
        text = (folder / "evses.csv").read_text(encoding="utf-8")
    ids = (plain_evse_id(row["id_pdc_itinerance"]) for row in csv.DictReader(text.splitlines(True)))
    return {each for each in ids if each is not None}


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line, parse_float=Decimal)


def read_customers(folder: Path) -> dict[str, Json]:
    customers: dict[str, Json] = {}
    for row in read_lines(folder / "customers.jsonl"):
        token = plain_token(row["token_uid"])
        if token in customers:
            raise ValueError(f"the card of {row['contract_id']} is another customer's as well")
        customers[token] = row
    return customers


def read_agreements(folder: Path) -> dict[tuple[str, str], list[Json]]:
    text = (folder / "agreements.json").read_text(encoding="utf-8")
    agreements: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for row in json.loads(text, parse_float=Decimal):
        pair = plain_party(row["operator"]), plain_party(row["evsp"])
        agreements[pair].append(row)
    return agreements


# Clearing -----------------------------------------------------------------------------------------


def statement(owed: Mapping[tuple[str, str, str], tuple[int, int, int]]) -> dict[str, Any]:
    """From (debtor, creditor, currency) -> (amount, VAT, CDRs) in minor units: the four ways."""
    currencies = sorted({currency for _, _, currency in owed})
    positions = {currency: net_positions(owed, currency) for currency in currencies}
    return {
        "gross": [
            {
                "debtor": debtor,
                "creditor": creditor,
                "currency": currency,
                "amount": money(amount, currency),
                "vat": money(vat, currency),
                "cdrs": count,
            }
            for (debtor, creditor, currency), (amount, vat, count) in sorted(owed.items())
        ],
        "bilateral": [
            payment(payer, payee, amount, currency)
            for currency in currencies
            for payer, payee, amount in bilateral(owed, currency)
        ],
        "multilateral": [
            payment(payer, payee, amount, currency)
            for currency in currencies
            for payer, payee, amount in multilateral(positions[currency])
        ],
        "cycles": [
            payment(payer, payee, amount, currency)
            for currency in currencies
            for payer, payee, amount in without_cycles(owed, currency)
        ],
        "positions": [
            {"party": party, "currency": currency, "amount": money(amount, currency)}
            for currency in currencies
            for party, amount in sorted(positions[currency].items())
        ],
        "ledger_sum": money(
            sum(sum(each.values()) for each in positions.values()), (*currencies, "EUR")[0]
        ),
    }


def payment(payer: str, payee: str, amount: int, currency: str) -> dict[str, str]:
    return {
        "payer": payer,
        "payee": payee,
        "currency": currency,
        "amount": money(amount, currency),
    }


def money(minor: int, currency: str) -> str:
    return f"{Decimal(minor).scaleb(-PLACES[currency]):.{PLACES[currency]}f}"


def net_positions(
    owed: Mapping[tuple[str, str, str], tuple[int, int, int]], currency: str
) -> dict[str, int]:
    positions: dict[str, int] = defaultdict(int)
    for (debtor, creditor, in_currency), (amount, _, _) in owed.items():
        if in_currency == currency:
            positions[debtor] -= amount
            positions[creditor] += amount
    return dict(positions)


def bilateral(
    owed: Mapping[tuple[str, str, str], tuple[int, int, int]], currency: str
) -> list[tuple[str, str, int]]:
    """One payment at most between any two parties."""
    net: dict[tuple[str, str], int] = defaultdict(int)
    for (debtor, creditor, in_currency), (amount, _, _) in owed.items():
        if in_currency == currency:
            if debtor < creditor:
                net[debtor, creditor] += amount
            else:
                net[creditor, debtor] -= amount
    payments = [(a, b, amount) if amount > 0 else (b, a, -amount) for (a, b), amount in net.items()]
    return sorted(each for each in payments if each[2])


def without_cycles(
    owed: Mapping[tuple[str, str, str], tuple[int, int, int]], currency: str
) -> list[tuple[str, str, int]]:
    """What is left to pay when debts that go round in circles are cancelled, the most in all.

    Klein's way: as long as something may be made better, make it better. Between two parties one
    more unit of a debt may be cancelled (gains 1), or one that was cancelled be owed again (costs
    1), and a closed walk that gains in all is one that may still be taken. When there is none
    left, no more can be cancelled (M. Klein, Management Science 14, 1967). To begin with, each pair
    is set off.
    """
    debts: dict[tuple[str, str], int] = defaultdict(int)
    for (debtor, creditor, in_currency), (amount, _, _) in owed.items():
        if in_currency == currency and debtor != creditor:
            debts[debtor, creditor] += amount
    left = dict(debts)
    for one, other in debts:
        if one < other and (other, one) in debts:
            both = min(debts[one, other], debts[other, one])
            left[one, other] -= both
            left[other, one] -= both
    while walk := gaining_walk(left, debts):
        amount = min(left[step] if gain > 0 else debts[step] - left[step] for step, gain in walk)
        for step, gain in walk:
            left[step] -= amount * gain
    return sorted((payer, payee, amount) for (payer, payee), amount in left.items() if amount)


def gaining_walk(
    left: Mapping[tuple[str, str], int], debts: Mapping[tuple[str, str], int]
) -> list[tuple[tuple[str, str], int]]:
    """A closed walk of debts to cancel (1) or to owe again (-1) that gains in all, or nothing.

    Bellman and Ford: let everyone start with 0, and better the sums along every arc; who can still
    be bettered after as many rounds as there are parties is led to by such a walk.
    """
    arcs = [(a, b, (a, b), 1) for (a, b), amount in sorted(left.items()) if amount]
    arcs += [
        (b, a, (a, b), -1) for (a, b), all_of_it in sorted(debts.items()) if left[a, b] < all_of_it
    ]
    parties = {party for arc in arcs for party in arc[:2]}
    gained = dict.fromkeys(parties, 0)
    came: dict[str, tuple[str, tuple[str, str], int]] = {}
    last = ""
    for _ in parties:
        last = ""
        for here, there, step, gain in arcs:
            if gained[here] + gain > gained[there]:
                gained[there] = gained[here] + gain
                came[there] = (here, step, gain)
                last = there
        if not last:
            return []
    if not parties:
        return []
    for _ in parties:
        last = came[last][0]
    walk, at = [], last
    while True:
        at, step, gain = came[at]
        walk.append((step, gain))
        if at == last:
            return walk


def multilateral(positions: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """The fewest payments that bring every position to zero.

    A set of n parties whose positions sum to zero is cleared by n - 1 payments, so the fewest are
    needed when the parties fall into the most such sets.
    """
    payments = []
    for group in most_zero_sets(positions):
        left = {party: positions[party] for party in group}
        while any(left.values()):
            payer = min(left, key=lambda party: (left[party], party))
            payee = max(left, key=lambda party: (left[party], party))
            amount = min(-left[payer], left[payee])
            left[payer] += amount
            left[payee] -= amount
            payments.append((payer, payee, amount))
    return sorted(payments)


def most_zero_sets(positions: Mapping[str, int]) -> list[list[str]]:
    """The parties with a position, in as many sets that sum to zero as there can be.

    All zero sets are found by meeting in the middle: each subset of the debtors with the subsets of
    the creditors of the same sum. Then a search tries every way to pick sets that do not overlap.
    Meant for a score of parties on either side; it is exact, and slow beyond.
    """
    parties = sorted(party for party, amount in positions.items() if amount)
    bit = {party: 1 << place for place, party in enumerate(parties)}
    creditors = subset_sums({bit[each]: positions[each] for each in parties if positions[each] > 0})
    debtors = subset_sums({bit[each]: -positions[each] for each in parties if positions[each] < 0})
    debtors_by_sum: dict[int, list[int]] = defaultdict(list)
    for members, amount in debtors.items():
        debtors_by_sum[amount].append(members)
    zero_sets = [
        members | others
        for members, amount in creditors.items()
        if members
        for others in debtors_by_sum.get(amount, ())
    ]
    # A zero set that holds a smaller one is never needed: what is left of it is a zero set as well.
    minimal: list[int] = []
    for each in sorted(zero_sets, key=lambda members: (members.bit_count(), members)):
        if not any(smaller & each == smaller for smaller in minimal):
            minimal.append(each)

    everyone = (1 << len(parties)) - 1
    best: dict[int, tuple[int, ...]] = {0: ()}

    def search(left: int) -> tuple[int, ...]:
        """The most sets that `left`, itself a zero set, falls into."""
        if left not in best:
            first = left & -left
            choices = [
                (each, *search(left & ~each))
                for each in minimal
                if each & first and each & left == each
            ]
            best[left] = max(choices, key=len)
        return best[left]

    return [[party for party in parties if bit[party] & group] for group in search(everyone)]


def subset_sums(amounts: Mapping[int, int]) -> dict[int, int]:
    """Every union of the keys, each a single bit, with the sum of its values."""
    sums = {0: 0}
    for member, amount in amounts.items():
        sums |= {members | member: total + amount for members, total in sums.items()}
    return sums


def unpaid(
    positions: Mapping[str, int], payments: Sequence[tuple[str, str, int]]
) -> dict[str, int]:
    """What these payments (payer, payee, amount) leave of the positions: {} when cleared."""
    left = dict(positions)
    for payer, payee, amount in payments:
        left[payer] = left.get(payer, 0) + amount
        left[payee] = left.get(payee, 0) - amount
    return {party: amount for party, amount in left.items() if amount}


if __name__ == "__main__":
    print(json.dumps(settle(sys.argv[1]), indent=1))
