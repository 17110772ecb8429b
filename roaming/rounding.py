"""The one rounding rule of the house."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction


def half_up(value: int | Decimal | Fraction) -> int:
    """The nearest whole number; a half goes away from zero, as invoices are rounded.

    So `half_up(-x) == -half_up(x)`, and a credit cancels its charge exactly.
    """
    exact = value if isinstance(value, Fraction) else Fraction(value)
    return half_up_of(exact.numerator, exact.denominator)


def half_up_of(numerator: int, denominator: int) -> int:
    """`half_up` of a fraction with a positive denominator, in lowest terms or not."""
    nearest = (2 * abs(numerator) + denominator) // (2 * denominator)
    return nearest if numerator >= 0 else -nearest
