"""The four files of a replay, read and checked line by line.

A charge or customer that cannot be read is told with its line and rule and costs only itself; an
agreement that cannot be read ends the replay, since money would be missing without a trace.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, Any

from roaming.contract_id import ContractId
from roaming.energy import wh_from_kwh
from roaming.party import PartyId
from roaming.refusal import Malformed
from roaming.token import TokenUid


@dataclass(frozen=True, slots=True)
class Customer:
    contract_id: ContractId
    token_uid: TokenUid
    evsp: PartyId
    status: str


@dataclass(frozen=True, slots=True)
class Agreement:
    operator: PartyId
    evsp: PartyId
    terms: dict[str, Any]
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class PlayedCharge:
    """One line of `--charges`; `evse_id` as written: a malformed one is played, and refused."""

    line: int
    evse_id: str
    token_uid: TokenUid
    start: datetime
    end: datetime
    energy_wh: int


@dataclass(frozen=True, slots=True)
class BadLine:
    file: str
    line: int
    reason: str


@dataclass(slots=True)
class Inputs:
    """What a replay plays. `bad_lines` are told in the report."""

    evses: Path
    customers: list[Customer]
    agreements: list[Agreement]
    charges: list[PlayedCharge]
    bad_lines: list[BadLine] = field(default_factory=list)

    @property
    def evsps(self) -> list[PartyId]:
        parties = {one.evsp for one in self.customers} | {one.evsp for one in self.agreements}
        return sorted(parties)


def read(evses: Path, customers: Path, agreements: Path, charges: Path) -> Inputs:
    """Read all files; Malformed names the file that is missing or is nothing of the kind."""
    for path in (evses, customers, agreements, charges):
        if not path.is_file():
            raise Malformed(f"no such file: {path}", field="file", value=path)
    bad: list[BadLine] = []
    return Inputs(
        evses=evses,
        customers=list(_lines(customers, _customer, bad)),
        agreements=_agreements(agreements),
        charges=sorted(_lines(charges, _charge, bad), key=lambda one: (one.start, one.line)),
        bad_lines=bad,
    )


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield lines
    else:
        with path.open(encoding="utf-8") as lines:
            yield lines


def _lines(
    path: Path, read_one: Callable[[int, dict[str, Any]], Any], bad: list[BadLine]
) -> Iterator[Any]:
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield read_one(number, json.loads(line, parse_float=Decimal))
            except Malformed as refusal:
                bad.append(BadLine(path.name, number, refusal.detail))
            except (KeyError, TypeError, ValueError, InvalidOperation) as error:
                bad.append(BadLine(path.name, number, f"{type(error).__name__}: {error}"))


def _customer(_: int, told: dict[str, Any]) -> Customer:
    if told["status"] not in {"active", "blocked"}:
        raise Malformed(
            f"status {told['status']!r} is neither active nor blocked",
            field="status",
            value=told["status"],
        )
    return Customer(
        ContractId(told["contract_id"]),
        TokenUid(told["token_uid"]),
        PartyId(told["evsp"]),
        told["status"],
    )


def _charge(number: int, told: dict[str, Any]) -> PlayedCharge:
    return PlayedCharge(
        line=number,
        evse_id=str(told["evse_id"]),
        token_uid=TokenUid(told["token_uid"]),
        start=_instant(told["start"]),
        end=_instant(told["end"]),
        energy_wh=wh_from_kwh(Decimal(str(told["energy_kwh"]))),
    )


def _agreements(path: Path) -> list[Agreement]:
    with _opened(path) as text:
        try:
            told = json.load(text, parse_float=Decimal)
        except ValueError as error:
            raise Malformed(f"{path.name} is not JSON: {error}", field=path.name) from None
    found = []
    for number, one in enumerate(told):
        try:
            found.append(_agreement(one))
        except (KeyError, TypeError, ValueError) as error:
            raise Malformed(
                f"{path.name}[{number}]: {type(error).__name__}: {error}",
                field=f"{path.name}[{number}]",
            ) from None
    return found


def _agreement(one: dict[str, Any]) -> Agreement:
    until = one.get("valid_until")
    return Agreement(
        operator=PartyId(one["operator"]),
        evsp=PartyId(one["evsp"]),
        terms={
            "currency": one["currency"],
            "tariff": one["tariff"],
            "vat_percent": str(one["vat_percent"]),
            "time_zone": one["time_zone"],
            **({"tariff_groups": one["tariff_groups"]} if one.get("tariff_groups") else {}),
        },
        valid_from=_instant(one["valid_from"]),
        valid_until=None if until is None else _instant(until),
    )


def _instant(text: str) -> datetime:
    """RFC 3339 with offset; a bare date is its first moment in UTC."""
    if len(text) == 10:
        text += "T00:00:00+00:00"
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise Malformed(
            f"time {text!r} has no offset", field="time", value=text, rule="RFC 3339 with offset"
        )
    return instant
