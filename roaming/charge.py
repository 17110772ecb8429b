"""What happened at a charge point, in the words that prices are reckoned from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class ChargingPeriod:
    """From `start` until the next period's start, or the charge's end for the last one.

    `current_a` is the sum over all phases, where it is known; only a tariff that asks for it needs
    it.
    """

    start: datetime
    energy_wh: int
    parking: bool = False
    current_a: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge from plug-in to release, its energy told period by period."""

    start: datetime
    end: datetime
    periods: tuple[ChargingPeriod, ...]

    @classmethod
    def whole(cls, start: datetime, end: datetime, energy_wh: int) -> Charge:
        """A charge of which only the beginning, the end and the energy are known."""
        return cls(start, end, (ChargingPeriod(start, energy_wh),))

    @property
    def energy_wh(self) -> int:
        return sum(period.energy_wh for period in self.periods)
