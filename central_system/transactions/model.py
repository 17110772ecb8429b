"""A charge as the charge point tells it, and the record that it becomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from central_system.hub.model import Decision
from central_system.stations.model import StationRef
from roaming.energy import BadEnergy, wh_from_kwh
from roaming.evse_id import EvseId

# A record may hold 5,000 periods and 256 KiB; beyond this, neighbours are put together.
PERIODS_MOST = 1_000
# No meter of a charge point has turned this far: a terawatt-hour.
METER_MOST_WH = 10**12


class CdrState(StrEnum):
    """What became of a charge's record. NONE: it makes none; WAITING: the hub has yet to answer."""

    NONE = "none"
    WAITING = "waiting"
    ACCEPTED = "accepted"
    FLAGGED = "flagged"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Start:
    """A StartTransaction with the decision about its card. The same start again is the same charge.

    `evse_id` is None while no EVSE is enrolled for the connector.
    """

    ref: StationRef
    connector_id: int
    evse_id: EvseId | None
    id_tag: str
    started_at: datetime
    meter_start_wh: int
    decision: Decision

    @property
    def key(self) -> tuple[object, ...]:
        """What makes it the same start."""
        return (
            self.ref.operator,
            self.ref.charge_point,
            self.connector_id,
            self.id_tag,
            self.started_at,
            self.meter_start_wh,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """The register for imported energy at a moment."""

    at: datetime
    energy_wh: int


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of a running charge; of one that is over or unknown they change nothing."""

    ref: StationRef
    transaction_id: int
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """A StopTransaction, with the readings it brought along."""

    ref: StationRef
    transaction_id: int
    stopped_at: datetime
    meter_stop_wh: int
    reason: str
    readings: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True)
class Charge:
    """A transaction as it is kept. `meter_stop_wh` and `stopped_at` are None while it runs."""

    transaction_id: int
    start: Start
    stopped_at: datetime | None = None
    meter_stop_wh: int | None = None
    stop_reason: str | None = None
    cdr_state: CdrState | None = None

    @property
    def energy_wh(self) -> int | None:
        return (
            None if self.meter_stop_wh is None else self.meter_stop_wh - self.start.meter_start_wh
        )


@dataclass(frozen=True, slots=True)
class Kept:
    """A charge after a message; `changed` is False when the message only repeated another."""

    charge: Charge
    changed: bool


def cdr_state_at_stop(start: Start, meter_stop_wh: int) -> CdrState:
    """Whether a charge that is over makes a record.

    The operator's own cards are its own affair. A charge that nobody allowed and that took nothing
    is no charge; one that took energy all the same is for the clearing house to judge.
    """
    if start.decision.accepted and not start.decision.by_hub:
        return CdrState.NONE
    if not start.decision.accepted and meter_stop_wh == start.meter_start_wh:
        return CdrState.NONE
    return CdrState.WAITING


def cdr_of(charge: Charge, evse_id: EvseId, readings: Sequence[Reading]) -> dict[str, Any]:
    """The record in the shape of INTERFACES, the same whenever it is made."""
    assert charge.stopped_at is not None
    assert charge.energy_wh is not None
    start = charge.start
    record: dict[str, Any] = {
        "cdr_id": f"{start.ref.charge_point}-{charge.transaction_id}",
        "evse_id": evse_id.display,
        "token_uid": start.id_tag,
        "start": start.started_at.isoformat(),
        "end": charge.stopped_at.isoformat(),
        "energy_wh": charge.energy_wh,
        "periods": [
            {"start": at.isoformat(), "energy_wh": energy_wh}
            for at, energy_wh in periods_of(charge, readings)
        ],
    }
    if start.decision.authorisation_id is not None:
        record["authorisation_id"] = start.decision.authorisation_id
    return record


def periods_of(charge: Charge, readings: Sequence[Reading]) -> list[tuple[datetime, int]]:
    """Start and Wh of each period; together they are the energy of the charge, exactly.

    Periods are cut at readings strictly between start and stop, whose register rises from the
    first to the last. A reading that falls back, or runs ahead of the last one, is a slip of the
    meter: it cuts nothing.
    """
    assert charge.stopped_at is not None
    assert charge.meter_stop_wh is not None
    last_wh = charge.start.meter_start_wh
    cuts = [Reading(charge.start.started_at, last_wh)]
    for one in sorted(readings, key=lambda reading: (reading.at, reading.energy_wh)):
        if not cuts[-1].at < one.at < charge.stopped_at:
            continue
        if not cuts[-1].energy_wh <= one.energy_wh <= charge.meter_stop_wh:
            continue
        cuts.append(one)
    step = -(-len(cuts) // PERIODS_MOST)
    cuts = cuts[::step]
    ends = [*(one.energy_wh for one in cuts[1:]), charge.meter_stop_wh]
    return [(one.at, end - one.energy_wh) for one, end in zip(cuts, ends, strict=True)]


def register_wh(sample: Mapping[str, Any]) -> int | None:
    """The imported energy that a SampledValue tells, in whole Wh; None where it tells other things.

    OCPP 1.6 section 4.7: what is left out means measurand Energy.Active.Import.Register, unit Wh,
    a plain number, at the outlet. A value of one phase is not the charge's. A value that is no
    number is left alone: a sanity check must not keep MeterValues.conf back.
    """
    if (
        sample.get("measurand", "Energy.Active.Import.Register") != "Energy.Active.Import.Register"
        or sample.get("format", "Raw") != "Raw"
        or sample.get("location", "Outlet") != "Outlet"
        or "phase" in sample
    ):
        return None
    unit = sample.get("unit", "Wh")
    if unit not in ("Wh", "kWh"):
        return None
    try:
        value = Decimal(sample["value"].strip())
        energy_wh = wh_from_kwh(value if unit == "kWh" else value.scaleb(-3))
    except (ArithmeticError, BadEnergy):
        return None
    return energy_wh if abs(energy_wh) <= METER_MOST_WH else None
