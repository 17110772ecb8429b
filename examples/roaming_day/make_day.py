"""Makes the roaming day: cuts the real charges, and invents the customers and agreements by rule.

    python make_day.py --shared DIR                 the day that ships with the project, made anew
    python make_day.py --shared DIR --out X --all   every charge of the source, for a long replay

DIR holds the three source files that README.md names. The same sources give the same bytes:
nothing is drawn from a random generator, each choice is a SHA-256 of the seed and of the name of
the choice. That also makes it the same choice on every version of Python.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import io
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo

SEED = "gridroam roaming day 1"
DAY = date(2024, 12, 19)
ZONE = ZoneInfo("Europe/Paris")

SESSIONS = "fr_sessions_2024-12_2025-01.jsonl.gz"
CHARGE_POINTS = "fr_irve_static_2025-03.csv.gz"
TARIFFS = "nl_ndw_ocpi_tariffs_2026-06.jsonl.gz"

CUSTOMERS_OF_THE_DAY = 1_050
CUSTOMERS_OF_ALL = 20_000
BLOCKED_PER_MILLE = 30
SEVEN_BYTE_CARDS_PERCENT = 30
MISSING_AGREEMENTS_PERCENT = 10
GIVES_UP_PERCENT = 60
STRANGER_CHARGES = 5

VALID = ("2024-01-01T00:00:00+01:00", "2026-01-01T00:00:00+01:00")
EXPIRED = ("2023-01-01T00:00:00+01:00", "2024-12-01T00:00:00+01:00")
EXPIRED_PAIR = ("FR*PD1", "NL*XPW")


@dataclass(frozen=True, slots=True)
class Evsp:
    """`share` is this EVSP's part of all customers, in percent."""

    party: str
    name: str
    share: int
    is_operator: bool = False


# Seven are invented as a whole. Three are parties of the source, to which only the role is lent.
EVSPS = (
    Evsp("DE*XNF", "Nordlicht Fahrstrom", 19),
    Evsp("NL*XPW", "Polderwind Laden", 14),
    Evsp("BE*XZS", "Zilverspoor Mobiliteit", 12),
    Evsp("FR*ELC", "Electra", 12, is_operator=True),
    Evsp("FR*IOY", "Ionity", 10, is_operator=True),
    Evsp("ES*XRB", "Rutabrava Recargas", 9),
    Evsp("IT*XLV", "Lampavento Viaggi", 8),
    Evsp("FR*DRV", "DRIVECO", 7, is_operator=True),
    Evsp("AT*XGF", "Gletscherfunken", 5),
    Evsp("LU*XMB", "Moselbogen Mobil", 4),
)

TARIFF_IDS = (
    "GRP-282632",
    "GRP-265191",
    "GRP-264572",
    "p-ac-67ea9b04fdd85923d6133235",
    "p-ac-6602ecf097ce0f001c7fe0d3",
    "p-ac-65a594e72ef956001b13ad51",
    "240a269d-cd9a-4204-aac6-b7df79688966",
    "0bbe8225-a258-433c-b058-8dfdfee7c706",
    "35af75bf8b996e114825dcb66e06c4d6",
    "GRP-266367",
    "GRP-282477",
    "0c03c3000a1cfda8da982781ba01e9dc",
    "349",
    "NLCPIT2oW5*1*0",
    "NLCPIT3Dmr*1*0",
    "18ab600c-c44e-46eb-95e6-b8d75e785ab7",
    "p-ac-679759f46b0fd4230fec2bc1",
    "t-6187927bdf50bd1f62e09796-1",
    "1119",
)
# Free of charge for good, and free until a price begins with the year 2025.
FREE_TARIFF_IDS = ("GRP-264509", "1005")
FREE_PERCENT = 5


@dataclass(frozen=True, slots=True)
class Session:
    """A charge of the source: times in milliseconds since 1970, energy in kWh as it is written."""

    evse_id: str
    start_ms: int
    end_ms: int
    energy_kwh: str

    @property
    def key(self) -> str:
        return f"{self.evse_id}|{self.start_ms}|{self.end_ms}|{self.energy_kwh}"

    @property
    def operator(self) -> str:
        return f"{self.evse_id[:2]}*{self.evse_id[2:5]}"


@dataclass(frozen=True, slots=True)
class Customer:
    contract_id: str
    token_uid: str
    evsp: str
    blocked: bool


def draw(below: int, *choice: object) -> int:
    """A number from 0 to `below` - 1 that depends on the seed and the choice's name alone."""
    text = "|".join([SEED, *map(str, choice)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()) % below


def read_sessions(path: Path) -> list[Session]:
    sessions = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            # Read through its text, the energy stays exactly what the source says.
            row = json.loads(line, parse_float=str, parse_int=str)
            sessions.append(
                Session(row["id_pdc_itinerance"], int(row["start"]), int(row["end"]), row["energy"])
            )
    return sorted(sessions, key=lambda each: (each.start_ms, each.key))


def local_time(milliseconds: int) -> datetime:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return (moment + timedelta(milliseconds=milliseconds % 1000)).astimezone(ZONE)


def rfc3339(milliseconds: int) -> str:
    precision = "milliseconds" if milliseconds % 1000 else "seconds"
    return local_time(milliseconds).isoformat(timespec=precision)


def read_records(path: Path) -> Iterator[str]:
    """The records of a CSV file as they are written, header first; one may span several lines."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        record = ""
        for line in lines:
            record += line
            if record.count('"') % 2 == 0:
                yield record
                record = ""


def cut_charge_points(records: Iterable[str], evse_ids: set[str]) -> list[str]:
    """The header and the rows of these charge points, letter by letter as delivered."""
    kept: list[str] = []
    found: set[str] = set()
    place = 0
    for record in records:
        cells = next(csv.reader(io.StringIO(record, newline="")))
        if not kept:
            place = cells.index("id_pdc_itinerance")
            kept.append(record)
        elif cells[place] in evse_ids:
            kept.append(record)
            found.add(cells[place])
    if found != evse_ids:
        raise SystemExit(f"no charge point {sorted(evse_ids - found)[:5]} in the source")
    return kept


def names_of_operators(records: Sequence[str]) -> dict[str, str]:
    """By party id, what most of its charge points call their operator."""
    names: dict[str, Counter[str]] = defaultdict(Counter)
    for row in csv.DictReader(io.StringIO("".join(records), newline="")):
        evse_id = row["id_pdc_itinerance"]
        names[f"{evse_id[:2]}*{evse_id[2:5]}"][row["nom_operateur"]] += 1
    return {party: seen.most_common(1)[0][0] for party, seen in names.items()}


def list_parties(operators: dict[str, str]) -> list[dict[str, object]]:
    """Who takes part, for people to read; `invented` says what of it is not in the source."""
    rows: list[dict[str, object]] = []
    evsps = {evsp.party: evsp for evsp in EVSPS}
    for party in sorted(operators.keys() | evsps.keys()):
        roles = ["evse-operator"] * (party in operators) + ["evsp"] * (party in evsps)
        lent = ["evsp"] if party in evsps else []
        whole = party not in operators
        rows.append(
            {
                "party": party,
                "name": evsps[party].name if whole else operators[party],
                "roles": roles,
                "invented": ["party", *lent] if whole else lent,
            }
        )
    return rows


def _exact(text: str) -> float:
    """A JSON number that Python writes again as it was written, or a halt."""
    if repr(float(text)) != text:
        raise SystemExit(f"the number {text} would not be written as delivered")
    return float(text)


def read_tariffs(path: Path) -> dict[str, list[object]]:
    """The elements of the chosen tariffs by tariff id, untouched."""
    chosen: dict[str, list[object]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            tariff = json.loads(line, parse_float=_exact)
            if tariff["id"] in (*TARIFF_IDS, *FREE_TARIFF_IDS):
                if tariff["min_price"] or tariff["max_price"] or tariff["currency"] != "EUR":
                    raise SystemExit(f"tariff {tariff['id']} holds more than elements in EUR")
                chosen[tariff["id"]] = tariff["elements"]
    if missing := {*TARIFF_IDS, *FREE_TARIFF_IDS} - chosen.keys():
        raise SystemExit(f"{path.name}: no tariff {sorted(missing)}")
    return chosen


# The check digit of an eMAID (ISO 15118-1, eMI3): each of the 15 characters is a pair of bits and a
# pair of trits. The pairs at place n are multiplied with the n-th power of BITS modulo 2 and of
# TRITS modulo 3, and the check digit is the one character that brings both sums to zero.
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BITS = ((0, 1), (1, 1))
TRITS = ((0, 1), (1, 2))
Pair = tuple[int, int]


def _moved(pair: Pair, matrix: tuple[Pair, Pair], places: int, modulus: int) -> Pair:
    for _ in range(places):
        pair = (
            (pair[0] * matrix[0][0] + pair[1] * matrix[1][0]) % modulus,
            (pair[0] * matrix[0][1] + pair[1] * matrix[1][1]) % modulus,
        )
    return pair


WEIGHTS = {
    (place, character): (
        *_moved((number // 18, number // 9 % 2), BITS, place, 2),
        *_moved((number // 3 % 3, number % 3), TRITS, place, 3),
    )
    for place in range(1, 16)
    for number, character in enumerate(ALPHABET)
}


def check_digit(code: str) -> str:
    """The 15th character for the first 14 of an eMAID in upper case without separators."""
    for last in ALPHABET:
        columns = zip(*(WEIGHTS[place] for place in enumerate(code + last, start=1)), strict=True)
        b1, b2, t1, t2 = (sum(column) for column in columns)
        if b1 % 2 == b2 % 2 == t1 % 3 == t2 % 3 == 0:
            return last
    raise AssertionError(f"every code has a check digit, but {code} has none")


def invent_customers(how_many: int) -> list[Customer]:
    shares = [evsp.party for evsp in EVSPS for _ in range(evsp.share)]
    customers: list[Customer] = []
    contract_ids: set[str] = set()
    token_uids = {stranger_card()}
    for number in range(how_many):
        evsp = shares[draw(100, "evsp", number)]
        for attempt in count():
            instance = f"C{draw(10**8, 'contract', number, attempt):08d}"
            code = evsp.replace("*", "") + instance
            token_uid = invent_card("card", number, attempt)
            if code not in contract_ids and token_uid not in token_uids:
                break
        contract_ids.add(code)
        token_uids.add(token_uid)
        blocked = draw(1000, "blocked", number) < BLOCKED_PER_MILLE
        customers.append(Customer(code + check_digit(code), token_uid, evsp, blocked))
    return customers


def invent_card(*choice: object) -> str:
    """An RFID uid: four bytes, or seven of which the first names the maker (04, as most do)."""
    if draw(100, "size", *choice) < SEVEN_BYTE_CARDS_PERCENT:
        return f"04{draw(2**48, 'uid', *choice):012X}"
    return f"{draw(2**32, 'uid', *choice):08X}"


def stranger_card() -> str:
    """The card that nobody issued."""
    return invent_card("stranger")


def has_agreement(operator: str, evsp: str) -> bool:
    """Whether there is any agreement, even one that has run out."""
    missing = draw(100, "missing", operator, evsp) < MISSING_AGREEMENTS_PERCENT
    return operator != evsp and ((operator, evsp) == EXPIRED_PAIR or not missing)


def tariff_of(operator: str, evsp: str) -> str:
    """Each operator has three tariffs and asks each EVSP one of them; a few charge for nothing."""
    if draw(100, "free", operator, evsp) < FREE_PERCENT:
        return FREE_TARIFF_IDS[draw(len(FREE_TARIFF_IDS), "which free", operator, evsp)]
    first = draw(len(TARIFF_IDS), "offer", operator)
    chosen = first + 7 * draw(3, "price", operator, evsp)
    return TARIFF_IDS[chosen % len(TARIFF_IDS)]


def invent_agreements(
    operators: Iterable[str], elements: dict[str, list[object]]
) -> list[dict[str, object]]:
    agreements: list[dict[str, object]] = []
    for operator in sorted(operators):
        for evsp in sorted(each.party for each in EVSPS):
            if not has_agreement(operator, evsp):
                continue
            valid_from, valid_until = EXPIRED if (operator, evsp) == EXPIRED_PAIR else VALID
            agreements.append(
                {
                    "operator": operator,
                    "evsp": evsp,
                    "currency": "EUR",
                    "tariff": {"elements": elements[tariff_of(operator, evsp)]},
                    "vat_percent": 20,
                    "valid_from": valid_from,
                    "valid_until": valid_until,
                    "time_zone": "Europe/Paris",
                }
            )
    return agreements


def assign_cards(sessions: Sequence[Session], customers: Sequence[Customer]) -> list[str]:
    """The card of each charge. `sessions` in order of start.

    A customer is drawn anew while he is still charging elsewhere, while the operator is his own
    EVSP, and in most cases where his EVSP has no agreement with the operator: drivers learn.
    Identical charges are one charge that was reported twice, so they have the same card.
    """
    cards: dict[str, str] = {}
    charging_until: dict[str, int] = {}
    a_stranger_in = max(1, len(sessions) // STRANGER_CHARGES)
    for session in sessions:
        if session.key in cards:
            continue
        if draw(a_stranger_in, "is a stranger", session.key) == 0:
            cards[session.key] = stranger_card()
            continue
        for attempt in count():
            customer = customers[draw(len(customers), "customer", session.key, attempt)]
            if customer.evsp == session.operator:
                continue
            if charging_until.get(customer.contract_id, 0) > session.start_ms:
                continue
            if not has_agreement(session.operator, customer.evsp) and (
                draw(100, "gives up", session.key, attempt) < GIVES_UP_PERCENT
            ):
                continue
            break
        charging_until[customer.contract_id] = session.end_ms
        cards[session.key] = customer.token_uid
    return [cards[session.key] for session in sessions]


def charge_line(session: Session, card: str) -> str:
    head = json.dumps(
        {
            "evse_id": session.evse_id,
            "token_uid": card,
            "start": rfc3339(session.start_ms),
            "end": rfc3339(session.end_ms),
        }
    )
    return f'{head[:-1]}, "energy_kwh": {session.energy_kwh}}}\n'


def customer_line(customer: Customer) -> str:
    status = "blocked" if customer.blocked else "active"
    row = {
        "contract_id": customer.contract_id,
        "token_uid": customer.token_uid,
        "evsp": customer.evsp,
        "status": status,
    }
    return json.dumps(row) + "\n"


def gzipped(text: str) -> bytes:
    """The same bytes for the same text: no time, no name."""
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as archive:
        archive.write(text.encode())
    return buffer.getvalue()


def json_rows(rows: Iterable[object]) -> str:
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


def make(shared: Path, out: Path, *, everything: bool) -> str:
    """Writes the files of a replay to `out` and says what is in them."""
    source = shared / "data" / "real" if (shared / "data" / "real").is_dir() else shared
    sessions = read_sessions(source / SESSIONS)
    if not everything:
        sessions = [each for each in sessions if local_time(each.start_ms).date() == DAY]
    customers = invent_customers(CUSTOMERS_OF_ALL if everything else CUSTOMERS_OF_THE_DAY)
    taking_part = {each.operator for each in sessions}
    agreements = invent_agreements(taking_part, read_tariffs(source / TARIFFS))
    cards = assign_cards(sessions, customers)
    records = list(read_records(source / CHARGE_POINTS))
    if not everything:
        records = cut_charge_points(records, {each.evse_id for each in sessions})
    names = {
        party: name for party, name in names_of_operators(records).items() if party in taking_part
    }

    out.mkdir(parents=True, exist_ok=True)
    (out / "evses.csv.gz").write_bytes(gzipped("".join(records)))
    _write(out / "customers.jsonl", "".join(map(customer_line, customers)))
    _write(out / "agreements.json", json_rows(agreements))
    _write(out / "charges.jsonl", "".join(map(charge_line, sessions, cards)))
    _write(out / "parties.json", json_rows(list_parties(names)))
    return (
        f"{len(sessions)} charges on {len({each.evse_id for each in sessions})} charge points of "
        f"{len(taking_part)} operators, {len(customers)} customers of "
        f"{len(EVSPS)} EVSPs ({sum(each.blocked for each in customers)} blocked), "
        f"{len(agreements)} agreements\n"
    )


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--shared", type=Path, required=True, help="folder of the source files")
    parser.add_argument("--out", type=Path, help="folder to write to; default: this file's own")
    parser.add_argument("--all", action="store_true", help="every charge of the source, not a day")
    choice = parser.parse_args()
    if choice.all and choice.out is None:
        parser.error("--all writes tens of megabytes: say where with --out")
    sys.stdout.write(
        make(choice.shared, choice.out or Path(__file__).parent, everything=choice.all)
    )


if __name__ == "__main__":
    main()
