"""A cut of the shipped day: few charges, of as many operators and EVSPs as that can be."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parents[2] / "examples" / "roaming_day"


@dataclass(frozen=True, slots=True)
class Day:
    """The four files of a replay."""

    folder: Path
    evses: str = "evses.csv.gz"

    @property
    def options(self) -> list[str]:
        return [
            *("--evses", str(self.folder / self.evses)),
            *("--customers", str(self.folder / "customers.jsonl")),
            *("--agreements", str(self.folder / "agreements.json")),
            *("--charges", str(self.folder / "charges.jsonl")),
        ]


WHOLE = Day(SHIPPED)


def cut(folder: Path, charges: int) -> Day:
    """Write a cut of `charges` charges, spread over the day, with what they need and no more."""
    every = _lines("charges.jsonl")
    step = len(every) / charges
    played = [every[int(number * step)] for number in range(charges)]
    cards = {charge["token_uid"] for charge in played}
    points = {charge["evse_id"] for charge in played}
    customers = [one for one in _lines("customers.jsonl") if one["token_uid"] in cards]
    evsps = {one["evsp"] for one in customers}
    operators = {f"{point[:2]}*{point[2:5]}" for point in points}
    agreements = [
        one
        for one in json.loads((SHIPPED / "agreements.json").read_text(encoding="utf-8"))
        if one["operator"] in operators and one["evsp"] in evsps
    ]
    assert len(operators) >= 5
    assert len(evsps) >= 5
    folder.mkdir()
    _write(folder / "charges.jsonl", played)
    _write(folder / "customers.jsonl", customers)
    (folder / "agreements.json").write_text(json.dumps(agreements), encoding="utf-8")
    rows = csv.DictReader(
        io.StringIO(gzip.decompress((SHIPPED / WHOLE.evses).read_bytes()).decode())
    )
    with (folder / "evses.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows.fieldnames or ())
        writer.writeheader()
        writer.writerows(row for row in rows if row["id_pdc_itinerance"] in points)
    return Day(folder, "evses.csv")


def _lines(name: str) -> list[dict[str, Any]]:
    text = (SHIPPED / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
