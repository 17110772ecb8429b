"""Energy is whole watt-hours; this is the way in from, and out to, kilowatt-hours."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from roaming.refusal import Malformed

_MOST_KWH = 10**9
_RULE = f"a decimal number of kWh between -{_MOST_KWH} and {_MOST_KWH}"


class BadEnergy(Malformed):
    """An amount of energy that is no number, or one that no charge can have."""


def wh_from_kwh(kwh: Decimal | str | int) -> int:
    """Whole watt-hours, rounded half up (away from zero). Raises BadEnergy.

    A float is a TypeError: read it as text, so that 0.1 is 0.1.
    """
    if isinstance(kwh, float | bool):
        raise TypeError(f"energy is no {type(kwh).__name__}: read kWh as Decimal or text")
    try:
        exact = Decimal(kwh)
    except (InvalidOperation, ValueError):
        raise _bad(kwh) from None
    if not exact.is_finite() or not -_MOST_KWH <= exact <= _MOST_KWH:
        raise _bad(kwh)
    sign, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    # Moving the exponent by hand is exact however many digits there are; arithmetic would first
    # round to the context's precision, and a half rounded twice may go the wrong way.
    watt_hours = Decimal((sign, digits, exponent + 3))
    return int(watt_hours.to_integral_value(rounding=ROUND_HALF_UP))


def kwh_from_wh(energy_wh: int) -> Decimal:
    """Kilowatt-hours to three places, exactly: 12500 Wh is Decimal("12.500")."""
    return Decimal(energy_wh).scaleb(-3)


def _bad(value: object) -> BadEnergy:
    shown = str(value)[:60]
    return BadEnergy(f"energy_kwh {shown!r}: {_RULE}", field="energy_kwh", value=shown, rule=_RULE)
