"""What a charge costs under an OCPI 2.2.1 tariff: exact all the way, rounded once.

The rules (mod_tariffs, mod_cdrs §step_size; docs/pricing.md tells the whole story):

- At every moment, and for every dimension by itself, the first element in list order whose
  restrictions all match and that prices the dimension is the one that counts.
- Energy within one charging period flows evenly, so a period that crosses a boundary of the tariff
  is split exactly there, also at a boundary in kWh.
- Time is charging time (TIME) from start to end, but for periods that say parking (PARKING_TIME).
- FLAT is paid once a charge, by the first component that is active at any moment.
- `step_size` rounds the charge's total up, once for ENERGY and once for the kind of time that is
  paid for last; the extra is billed at the last component's price.
- `min_price` and `max_price` bound the exact total, then the total is rounded once, half up.

Where OCPI is silent we chose: a restriction on current matches only if the period states a current,
one on power looks at the period's mean power; a period without duration has no power, so it meets
no restriction on power. Local times, dates and weekdays are compared with the wall clock of the
place at each moment, so on the day the clock goes back a time band counts in both of its hours.

Laws: the lines plus `adjustment` are the exact total that `excl_vat` rounds; cutting a period in
two with its energy shared by time changes no price, but for what `step_size` and power say.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from roaming.charge import Charge
from roaming.money import Money
from roaming.refusal import Malformed
from roaming.rounding import half_up_of
from roaming.tariff import (
    DayOfWeek,
    Dimension,
    PriceComponent,
    PriceLimit,
    ReservationKind,
    Restrictions,
    Tariff,
    TariffElement,
)

Exact = int | Fraction
"""An exact number; whole numbers stay `int`, since that is ten times as quick."""

_MICROSECOND = timedelta(microseconds=1)
_SECOND_US = 1_000_000
_MINUTE_US = 60 * _SECOND_US
_HOUR_US = 3600 * _SECOND_US
_DAY_US = 24 * _HOUR_US

# OCPI's placeholder for an unknown start is 1970: that is no charge, and would be a costly one.
_MOST_DAYS = 366
_FIRST_YEAR, _LAST_YEAR = 1900, 9000


class BadCharge(Malformed):
    """Times or energy that no charge can have."""


@dataclass(frozen=True, slots=True)
class PriceLine:
    """What one price component adds.

    `quantity` is what is billed, after `step_size`: Wh for ENERGY, seconds for TIME and
    PARKING_TIME, 1 for FLAT. `price_per_unit` is as the tariff says it: per kWh, per hour, per
    charge. `amount` excludes VAT and is exact. `vat_percent` is the component's own.
    """

    dimension: Dimension
    quantity: Fraction
    price_per_unit: Decimal
    amount: Fraction
    vat_percent: Decimal | None
    reservation: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """The three totals agree: incl_vat = excl_vat + vat.

    `adjustment` is what the tariff's `min_price` adds to the lines, or its `max_price` takes away.
    """

    excl_vat: Money
    vat: Money
    incl_vat: Money
    lines: tuple[PriceLine, ...]
    adjustment: Fraction = Fraction(0)


class Compiled:
    """A tariff made ready to price many charges. Make it with `compile_tariff`, keep it."""

    __slots__ = ("charging", "currency", "expired", "maximum", "minimum", "reserved", "sole_vat")

    def __init__(self, tariff: Tariff) -> None:
        plain = [each for each in tariff.elements if each.restrictions.reservation is None]
        reserved = _reserving(tariff, ReservationKind.RESERVATION)
        # mod_tariffs, ReservationRestrictionType: where both kinds price a dimension, an expired
        # reservation costs what RESERVATION_EXPIRES says, wherever it stands in the list.
        expired = _reserving(tariff, ReservationKind.RESERVATION_EXPIRES) + reserved
        self.currency = tariff.currency
        self.charging = _Book(plain)
        self.reserved = _Book(reserved)
        self.expired = _Book(expired)
        self.minimum = _limit(tariff.min_price)
        self.maximum = _limit(tariff.max_price)
        rates = {part.vat or Decimal(0) for each in plain for part in each.price_components}
        self.sole_vat = Fraction(rates.pop() if len(rates) == 1 else 0)


@lru_cache(maxsize=1024)
def compile_tariff(tariff: Tariff) -> Compiled:
    """Make a tariff ready for pricing. Recently used tariffs are remembered."""
    return Compiled(tariff)


def price_charge(
    tariff: Tariff | Compiled,
    charge: Charge,
    *,
    time_zone: tzinfo,
    vat_percent: Decimal | None,
    reserved_from: datetime | None = None,
) -> Price:
    """The price of a charge, with the reservation before it if `reserved_from` is given.

    `time_zone` is that of the place. The exact total without VAT is rounded once, half up, to the
    currency's minor unit. With `vat_percent`, VAT is that share of the *rounded* total, rounded
    once, so that the two agree on an invoice. With None, VAT is each component's own on its exact
    amount, and their sum is rounded once. Raises BadCharge.
    """
    compiled = tariff if isinstance(tariff, Compiled) else compile_tariff(tariff)
    lines = _lines(compiled.charging, _Course.of(charge, time_zone))
    if reserved_from is not None:
        wait = Charge(reserved_from, charge.start, ())
        lines = _lines(compiled.reserved, _Course.of(wait, time_zone), reservation=True) + lines
    return _total(compiled, lines, vat_percent, compiled.minimum, compiled.maximum)


def price_reservation(
    tariff: Tariff | Compiled,
    start: datetime,
    end: datetime,
    *,
    expired: bool,
    time_zone: tzinfo,
    vat_percent: Decimal | None,
) -> Price:
    """The price of a reservation alone: one that no charge followed, or one billed apart.

    `end` is when charging began or, if `expired`, when the reservation ran out. `min_price` and
    `max_price` speak of charging sessions and do not apply. VAT as in `price_charge`.
    """
    compiled = tariff if isinstance(tariff, Compiled) else compile_tariff(tariff)
    book = compiled.expired if expired else compiled.reserved
    lines = _lines(book, _Course.of(Charge(start, end, ()), time_zone), reservation=True)
    return _total(compiled, lines, vat_percent, _NO_LIMIT, _NO_LIMIT)


class _Rate:
    """A price component in the units we count in: Wh and microseconds. Compared by identity."""

    __slots__ = ("dimension", "per_unit", "price", "step", "vat")

    def __init__(self, component: PriceComponent) -> None:
        self.dimension = component.type
        self.price = component.price
        self.vat = component.vat
        match component.type:
            case Dimension.ENERGY:
                self.per_unit = Fraction(component.price) / 1000
                self.step = component.step_size
            case Dimension.TIME | Dimension.PARKING_TIME:
                self.per_unit = Fraction(component.price) / _HOUR_US
                self.step = component.step_size * _SECOND_US
            case Dimension.FLAT:
                self.per_unit = Fraction(component.price)
                self.step = 0

    def line(self, quantity: Exact, reservation: bool) -> PriceLine:
        timed = self.dimension in (Dimension.TIME, Dimension.PARKING_TIME)
        return PriceLine(
            self.dimension,
            Fraction(quantity, _SECOND_US) if timed else Fraction(quantity),
            self.price,
            quantity * self.per_unit,
            self.vat,
            reservation,
        )


class _Moment(NamedTuple):
    """Where a charge stands: what restrictions other than the time of day are compared with."""

    day: int
    elapsed_us: Exact
    energy_wh: Exact
    power_w: Fraction | None
    current_a: Decimal | None


Bounds = tuple[Exact | None, Exact | None]
_UNBOUNDED: Bounds = (None, None)
_EVERY_DAY = (0, date.max.toordinal() + 1)


class _Gate:
    """Those restrictions of an element that must be looked at moment by moment.

    Lower bounds of 0 are left out: they say nothing, though senders fill them in.
    """

    __slots__ = ("current_a", "days", "elapsed_us", "energy_wh", "power_w")

    def __init__(self, given: Restrictions) -> None:
        first_day, end_day = _EVERY_DAY
        self.days = (
            given.start_date.toordinal() if given.start_date else first_day,
            given.end_date.toordinal() if given.end_date else end_day,
        )
        self.elapsed_us = _bounds(given.min_duration, given.max_duration, _SECOND_US)
        self.energy_wh = _bounds(given.min_kwh, given.max_kwh, 1000)
        self.power_w = _bounds(given.min_power, given.max_power, 1000)
        self.current_a = _bounds(given.min_current, given.max_current, 1)

    @property
    def has_dates(self) -> bool:
        return self.days != _EVERY_DAY

    @property
    def always_open(self) -> bool:
        bounds = (self.elapsed_us, self.energy_wh, self.power_w, self.current_a)
        return not self.has_dates and all(each == _UNBOUNDED for each in bounds)

    def opens(self, at: _Moment) -> bool:
        first_day, end_day = self.days
        return (
            first_day <= at.day < end_day
            and _within(at.elapsed_us, self.elapsed_us)
            and _within(at.energy_wh, self.energy_wh)
            and _within(at.power_w, self.power_w)
            and _within(at.current_a, self.current_a)
        )


def _bounds(least: Decimal | int | None, most: Decimal | int | None, factor: int) -> Bounds:
    return (_whole_if_can(least, factor) or None, _whole_if_can(most, factor))


def _whole_if_can(number: Decimal | int | None, factor: int) -> Exact | None:
    if number is None:
        return None
    exact = Fraction(number) * factor
    return exact.numerator if exact.denominator == 1 else exact


def _within(value: Exact | Decimal | None, bounds: Bounds) -> bool:
    least, most = bounds
    if least is None and most is None:
        return True
    if value is None:
        return False
    exact = Fraction(value) if isinstance(value, Decimal) else value
    return (least is None or least <= exact) and (most is None or exact < most)


class _WallTime:
    """When an element is active by the clock and the calendar of the place."""

    __slots__ = ("end_minute", "start_minute", "weekdays")

    def __init__(self, given: Restrictions) -> None:
        # No end, or 00:00 as an end, is the next midnight: a band that wraps around to minute 0.
        self.start_minute = _minute(given.start_time) if given.start_time else 0
        self.end_minute = _minute(given.end_time) if given.end_time else 0
        days = given.day_of_week or frozenset(DayOfWeek)
        self.weekdays = frozenset(index for index, day in enumerate(DayOfWeek) if day in days)

    @property
    def always(self) -> bool:
        # Equal times wrap around the whole day, as 00:00 to 00:00 does.
        return self.start_minute == self.end_minute and len(self.weekdays) == len(DayOfWeek)

    def holds(self, weekday: int, minute: int) -> bool:
        if weekday not in self.weekdays:
            return False
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute < self.end_minute
        return minute >= self.start_minute or minute < self.end_minute


def _minute(given: time) -> int:
    return given.hour * 60 + given.minute


Choice = tuple[_Gate | None, _Rate]


class _Rates(NamedTuple):
    """The rate of each dimension that counts at one moment."""

    energy: _Rate | None
    flat: _Rate | None
    parking: _Rate | None
    time: _Rate | None


_NOTHING = _Rates(None, None, None, None)


class _Choices:
    """Per dimension, the rates that may count, in list order; a gate of None is always open."""

    __slots__ = ("energy", "flat", "parking", "time")

    def __init__(self, elements: Iterable[_Element]) -> None:
        listed = list(elements)
        self.energy = _choices(listed, Dimension.ENERGY)
        self.flat = _choices(listed, Dimension.FLAT)
        self.parking = _choices(listed, Dimension.PARKING_TIME)
        self.time = _choices(listed, Dimension.TIME)

    def at(self, moment: _Moment) -> _Rates:
        return _Rates(
            _first(self.energy, moment),
            _first(self.flat, moment),
            _first(self.parking, moment),
            _first(self.time, moment),
        )


def _choices(elements: list[_Element], dimension: Dimension) -> tuple[Choice, ...]:
    found: list[Choice] = []
    for element in elements:
        rate = element.rates.get(dimension)
        if rate is not None:
            found.append((element.gate, rate))
            if element.gate is None:
                break
    return tuple(found)


class _Element:
    __slots__ = ("gate", "rates", "wall")

    def __init__(self, element: TariffElement) -> None:
        gate = _Gate(element.restrictions)
        self.gate = None if gate.always_open else gate
        self.wall = _WallTime(element.restrictions)
        self.rates: dict[Dimension, _Rate] = {}
        for component in element.price_components:
            # One component a dimension can be active: the first, as among elements.
            self.rates.setdefault(component.type, _Rate(component))


class _Book:
    """The elements of a tariff that price one thing (charging, or a reservation), looked up fast.

    A day is cut into bands at every time the elements name. Which elements the clock lets through
    in a band of a weekday is worked out once, the first time that a charge needs it.
    """

    __slots__ = (
        "_always",
        "_bands",
        "_elements",
        "asks_power",
        "band_starts",
        "by_time_alone",
        "duration_cuts",
        "energy_cuts",
    )

    def __init__(self, elements: Sequence[TariffElement]) -> None:
        self._elements = [_Element(element) for element in elements]
        gates = [element.gate for element in self._elements if element.gate is not None]
        walls = [element.wall for element in self._elements]
        self.duration_cuts = _cuts(gate.elapsed_us for gate in gates)
        self.energy_cuts = _cuts(gate.energy_wh for gate in gates)
        self.asks_power = any(gate.power_w != _UNBOUNDED for gate in gates)
        # By nothing but the clock: then between two cuts one rate holds, whatever flows.
        self.by_time_alone = not self.energy_cuts and all(
            gate.power_w == _UNBOUNDED and gate.current_a == _UNBOUNDED for gate in gates
        )
        self.band_starts: list[int] = []
        if not all(wall.always for wall in walls) or any(gate.has_dates for gate in gates):
            edges = {minute for wall in walls for minute in (wall.start_minute, wall.end_minute)}
            self.band_starts = sorted(edges | {0})
        self._always = _Choices(self._elements)
        self._bands: dict[tuple[int, int], _Choices] = {}

    def choices(self, day: int, minute: int) -> _Choices:
        """The rates that the wall clock lets through. `day` is a date's ordinal."""
        if not self.band_starts:
            return self._always
        weekday = (day + 6) % 7
        band = bisect_right(self.band_starts, minute) - 1
        known = self._bands.get((weekday, band))
        if known is None:
            start = self.band_starts[band]
            known = _Choices(each for each in self._elements if each.wall.holds(weekday, start))
            self._bands[weekday, band] = known
        return known


def _cuts(bounds: Iterable[Bounds]) -> list[Exact]:
    return sorted({bound for pair in bounds for bound in pair if bound is not None})


def _first(choices: tuple[Choice, ...], moment: _Moment) -> _Rate | None:
    for gate, rate in choices:
        if gate is None or gate.opens(moment):
            return rate
    return None


class _Span(NamedTuple):
    """A charging period; times in microseconds since the charge began."""

    begin: int
    end: int
    energy_wh: int
    parking: bool
    current_a: Decimal | None

    @property
    def power_w(self) -> Fraction | None:
        """The mean power, which a period without length does not have."""
        if self.begin == self.end:
            return None
        return Fraction(self.energy_wh * _HOUR_US, self.end - self.begin)


@dataclass(frozen=True, slots=True)
class _Course:
    """A charge on one time line that begins at 0, and the zone whose clock it ran by."""

    start: datetime
    length: int
    spans: list[_Span]
    time_zone: tzinfo

    @classmethod
    def of(cls, charge: Charge, time_zone: tzinfo) -> _Course:
        start = _in_utc(charge.start, "start")
        length = (_in_utc(charge.end, "end") - start) // _MICROSECOND
        if not 0 <= length <= _MOST_DAYS * _DAY_US:
            raise _bad("end", charge.end, f"not before start, and at most {_MOST_DAYS} days later")
        begins = [
            (_in_utc(period.start, f"periods[{index}].start") - start) // _MICROSECOND
            for index, period in enumerate(charge.periods)
        ]
        begins.append(length)
        spans = []
        # OCPI lets time run from the charge's start, also where no period speaks of it yet.
        if begins[0] > 0:
            spans.append(_Span(0, begins[0], 0, False, None))
        for index, period in enumerate(charge.periods):
            begin, end = begins[index], begins[index + 1]
            if not 0 <= begin <= end:
                rule = "periods in order of time, between the charge's start and end"
                raise _bad(f"periods[{index}].start", period.start, rule)
            if period.energy_wh < 0:
                raise _bad(f"periods[{index}].energy_wh", period.energy_wh, "not below zero")
            spans.append(_Span(begin, end, period.energy_wh, period.parking, period.current_a))
        if not spans:
            spans.append(_Span(0, length, 0, False, None))
        return cls(start, length, spans, time_zone)

    def shifts(self) -> list[tuple[int, int]]:
        """From when on, what to add to get to local microseconds since the day of ordinal 0.

        There is one pair, and one more for each time that the clock is changed on the way.
        """
        local = self.start.astimezone(self.time_zone)
        offset = self._offset(0)
        shift = local.toordinal() * _DAY_US + _minute(local.time()) * _MINUTE_US
        shift += local.second * _SECOND_US + local.microsecond
        found = [(0, shift)]
        known = 0
        while known < self.length:
            ahead = min(known + _DAY_US, self.length)
            new = self._offset(ahead)
            if new != offset:
                change = self._change_between(known, ahead)
                found.append((change, found[-1][1] + new - offset))
                offset = new
            known = ahead
        return found

    def _change_between(self, before: int, after: int) -> int:
        old = self._offset(before)
        while after - before > 1:
            middle = (before + after) // 2
            if self._offset(middle) == old:
                before = middle
            else:
                after = middle
        return after

    def _offset(self, at: int) -> int:
        moment = self.start + timedelta(microseconds=at)
        offset = moment.astimezone(self.time_zone).utcoffset()
        assert offset is not None, "an aware time has an offset"
        return offset // _MICROSECOND


def _in_utc(moment: datetime, field: str) -> datetime:
    # Python subtracts times of the same zone by their wall clocks, so all go to UTC first.
    if moment.utcoffset() is None or not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        rule = f"a time with its offset from UTC, from {_FIRST_YEAR} to {_LAST_YEAR}"
        raise _bad(field, moment, rule)
    return moment.astimezone(UTC)


def _bad(field: str, value: object, rule: str) -> BadCharge:
    return BadCharge(f"{field}: {value}: {rule}", field=field, value=str(value), rule=rule)


class _Wall:
    """The wall clock along a charge. Asked only forwards in time."""

    __slots__ = ("_at", "_shifts")

    def __init__(self, shifts: list[tuple[int, int]]) -> None:
        self._shifts = shifts
        self._at = 0

    def cuts(self, band_starts: list[int], length: int) -> Iterator[int]:
        """Every moment at which the local time enters another band."""
        ends = [start for start, _ in self._shifts[1:]] + [length]
        for (begin, shift), end in zip(self._shifts, ends, strict=True):
            yield begin
            first_day, last_day = (begin + shift) // _DAY_US, (end + shift) // _DAY_US
            for day in range(first_day, last_day + 1):
                midnight = day * _DAY_US - shift
                for minute in band_starts:
                    cut = midnight + minute * _MINUTE_US
                    if begin < cut < end:
                        yield cut

    def read(self, at: Exact) -> tuple[int, int]:
        """The ordinal of the local day, and the minute of it."""
        while self._at + 1 < len(self._shifts) and self._shifts[self._at + 1][0] <= at:
            self._at += 1
        day, microsecond = divmod(at + self._shifts[self._at][1], _DAY_US)
        return int(day), int(microsecond // _MINUTE_US)


def _lines(book: _Book, course: _Course, *, reservation: bool = False) -> tuple[PriceLine, ...]:
    return tuple(rate.line(used, reservation) for rate, used in _used(book, course).items())


def _used(book: _Book, course: _Course) -> dict[_Rate, Exact]:
    """How much of what each rate prices, in the order of first use, rounded up by `step_size`."""
    used: dict[_Rate, Exact] = {}
    flat: _Rate | None = None
    last_energy: _Rate | None = None
    last_time: _Rate | None = None
    energy_before = 0
    wall = _Wall(course.shifts()) if book.band_starts else None
    cuts = _time_cuts(book, wall, course.length)
    segment, rates = -1, _NOTHING
    for span in course.spans:
        if book.by_time_alone:
            ahead = bisect_right(cuts, span.begin)
            if bisect_left(cuts, span.end) <= ahead:
                # No cut within: the whole period counts at the rates of its stretch.
                if ahead != segment:
                    day, minute = wall.read(span.begin) if wall else (0, 0)
                    moment = _Moment(day, span.begin, 0, None, None)
                    segment, rates = ahead, book.choices(day, minute).at(moment)
                if flat is None and rates.flat is not None:
                    flat = rates.flat
                    used[flat] = 1
                rate = rates.parking if span.parking else rates.time
                if rate is not None and span.end > span.begin:
                    used[rate] = used.get(rate, 0) + span.end - span.begin
                    last_time = rate
                if rates.energy is not None and span.energy_wh > 0:
                    used[rates.energy] = used.get(rates.energy, 0) + span.energy_wh
                    last_energy = rates.energy
                energy_before += span.energy_wh
                continue
        power_w = span.power_w if book.asks_power else None
        scale = span.end - span.begin or 1
        shares: dict[_Rate, Exact] = {}
        for (begin, share), (end, next_share) in pairwise(_points(book, cuts, span, energy_before)):
            day, minute = wall.read(begin) if wall else (0, 0)
            choices = book.choices(day, minute)
            energy_wh = energy_before + Fraction(share, scale) if book.energy_cuts else 0
            moment = _Moment(day, begin, energy_wh, power_w, span.current_a)
            if flat is None and choices.flat:
                flat = _first(choices.flat, moment)
                if flat is not None:
                    used[flat] = 1
            timed = choices.parking if span.parking else choices.time
            if end > begin and timed:
                rate = _first(timed, moment)
                if rate is not None:
                    used[rate] = used.get(rate, 0) + end - begin
                    last_time = rate
            if next_share > share and choices.energy:
                rate = _first(choices.energy, moment)
                if rate is not None:
                    # It has its place in the order now, however the charge is cut into periods.
                    used.setdefault(rate, 0)
                    shares[rate] = shares.get(rate, 0) + next_share - share
                    last_energy = rate
        for rate, part in shares.items():
            whole, rest = divmod(part, scale)
            used[rate] += Fraction(part, scale) if rest else whole
        energy_before += span.energy_wh
    _step_up(used, last_energy)
    _step_up(used, last_time)
    return used


def _time_cuts(book: _Book, wall: _Wall | None, length: int) -> list[Exact]:
    if wall is None:
        return book.duration_cuts
    return sorted({*wall.cuts(book.band_starts, length), *book.duration_cuts})


def _points(
    book: _Book, cuts: list[Exact], span: _Span, energy_before: int
) -> list[tuple[Exact, Exact]]:
    """The period's begin and end and, between them, wherever another element may come to count.

    Each is a time and the energy that has flowed by then, in Wh times the period's length: a whole
    number, since energy flows evenly. A period without length counts as one microsecond.
    """
    scale = span.end - span.begin or 1
    points: list[tuple[Exact, Exact]] = [(span.begin, 0)]
    for cut in cuts[bisect_right(cuts, span.begin) : bisect_left(cuts, span.end)]:
        points.append((cut, span.energy_wh * (cut - span.begin)))
    points.append((span.end, span.energy_wh * scale))
    if book.energy_cuts and span.energy_wh > 0:
        for bound in book.energy_cuts:
            if energy_before < bound < energy_before + span.energy_wh:
                share = (bound - energy_before) * scale
                lasted = Fraction(share, span.energy_wh) if span.end > span.begin else 0
                points.append((span.begin + lasted, share))
        return sorted(set(points))
    return points


def _step_up(used: dict[_Rate, Exact], last: _Rate | None) -> None:
    """Bill whole steps: mod_cdrs §step_size, once, on the total, at the last rate's price."""
    if last is not None and last.step > 0:
        total = sum(amount for rate, amount in used.items() if rate.dimension is last.dimension)
        used[last] += -total % last.step


class _Limit(NamedTuple):
    excl_vat: Fraction | None
    incl_vat: Fraction | None


_NO_LIMIT = _Limit(None, None)
_ZERO = Fraction(0)


def _limit(limit: PriceLimit | None) -> _Limit:
    if limit is None:
        return _NO_LIMIT
    return _Limit(
        None if limit.excl_vat is None else Fraction(limit.excl_vat),
        None if limit.incl_vat is None else Fraction(limit.incl_vat),
    )


def _reserving(tariff: Tariff, kind: ReservationKind) -> list[TariffElement]:
    return [each for each in tariff.elements if each.restrictions.reservation is kind]


def _total(
    compiled: Compiled,
    lines: tuple[PriceLine, ...],
    vat_percent: Decimal | None,
    least: _Limit,
    most: _Limit,
) -> Price:
    """Bound and round. mod_tariffs: both bounds of a limit apply, without VAT and with it."""
    exact = lines[0].amount if len(lines) == 1 else sum([line.amount for line in lines], _ZERO)
    if vat_percent is not None:
        share = _share(vat_percent)
        bounded = exact
        if least is not _NO_LIMIT or most is not _NO_LIMIT:
            bounded = _bounded_net(exact, 1 + share, least, most)
        excl_vat = Money.of(bounded, compiled.currency)
        vat = Money(
            half_up_of(excl_vat.minor * share.numerator, share.denominator), compiled.currency
        )
    else:
        bounded, with_vat = _own_vat(compiled, lines, exact, least, most)
        excl_vat = Money.of(bounded, compiled.currency)
        vat = Money.of(with_vat - bounded, compiled.currency)
    # Almost no charge meets a bound, and then there is no need to subtract fractions.
    adjustment = bounded - exact if bounded is not exact else _ZERO
    return Price(excl_vat, vat, excl_vat + vat, lines, adjustment)


@lru_cache(maxsize=64)
def _share(percent: Decimal) -> Fraction:
    return Fraction(percent) / 100


def _bounded_net(exact: Fraction, factor: Fraction, least: _Limit, most: _Limit) -> Fraction:
    """The bounds with VAT are reckoned back to ones without, so that VAT stays what was agreed."""
    floors = [least.excl_vat, least.incl_vat and least.incl_vat / factor]
    ceilings = [most.excl_vat, most.incl_vat and most.incl_vat / factor]
    return _clamp(
        exact,
        max((each for each in floors if each is not None), default=None),
        min((each for each in ceilings if each is not None), default=None),
    )


def _own_vat(
    compiled: Compiled, lines: tuple[PriceLine, ...], exact: Fraction, least: _Limit, most: _Limit
) -> tuple[Fraction, Fraction]:
    """The bounded totals without and with VAT, where each component states its own VAT."""
    with_vat = exact + sum(
        (line.amount * Fraction(line.vat_percent) / 100 for line in lines if line.vat_percent),
        Fraction(0),
    )
    bounded = _clamp(exact, least.excl_vat, most.excl_vat)
    if bounded != exact:
        # VAT keeps its share of the total; where nothing was used, it is the tariff's only one.
        share = with_vat / exact if exact else 1 + compiled.sole_vat / 100
        with_vat = bounded * share
    if most.incl_vat is not None and with_vat > most.incl_vat:
        return min(bounded, most.incl_vat), most.incl_vat
    return bounded, _clamp(with_vat, least.incl_vat, most.incl_vat)


def _clamp(value: Fraction, least: Fraction | None, most: Fraction | None) -> Fraction:
    """Where the bounds contradict each other the upper one holds: the driver pays no more."""
    if least is not None and value < least:
        value = least
    return most if most is not None and value > most else value
