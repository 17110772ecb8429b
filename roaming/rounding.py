"""The one rounding rule of the house."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction


def half_up(value: int | Decimal | Fraction) -> int:
    """The nearest whole number; a half goes away from zero, as invoices are rounded.

    So `half_up(-x) == -half_up(x)`, and a credit cancels its charge exactly.
    """
    exact = Fraction(value)
    nearest = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    return nearest if exact >= 0 else -nearest
