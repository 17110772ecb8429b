"""Which positions make up groups that sum to zero: the more groups, the fewer payments.

Positions that sum to zero are settled by one payment less than there are of them; so n positions in
k such groups take n - k payments, and where k is the most there can be, no fewer will do. To find
the most groups is as hard as to find subsets by their sums: effort is bounded, and an answer says
whether it is proven. Effort is counted, never timed, so that the same amounts get the same answer
on any machine.

Three ways, each exact as far as it goes:

1. `pairs`: a debt that equals a claim is a group of its own in some best answer. Were the two in
   different groups, the rests of these would sum to zero together, and the number of groups would
   not change.
2. `weigh_all`: positions with equal amounts are alike, so it matters only how many of each amount
   are in a group. Where such choices are few, as with up to 20 positions, all are weighed at once.
3. `search`: of k groups of n positions the smallest has at most n / k, the next at most its share
   of the rest, and so on; the last is what is left, and sums to zero by itself. So "is there one
   group more?" looks at small groups only, and these are found by meeting in the middle: sums over
   one half of the positions that cancel out sums over the other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from math import comb, prod

WEIGHED = 20 << 20
"""Choices times positions that are weighed at once: 20 positions of any amounts are."""

SEARCHED = 100
"""Above so many positions one group more is not searched for: there are too many to choose from."""

SMALLEST = 3
"""Positions in a group where there is no pair."""

SUM, MEETING, GROUP, QUESTION = 3, 3, 30, 20
"""What a search spends on a sum formed, one that meets another, a group written down, a question
asked. To look at a group costs 1, which is about 0.1 µs."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Groups of indices, each summing to zero. `proven`: there cannot be more groups."""

    groups: tuple[tuple[int, ...], ...]
    proven: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far a search may go; about 1 s, at most 2 s, and 100 MB of memory.

    `effort`: to be spent in all. `sums`: to be formed over half of the positions at one time, those
    of few positions first. `groups`: to be kept at one time, small ones first.
    """

    effort: int = 16_000_000
    sums: int = 270_000
    groups: int = 20_000


BOUNDS = Bounds()


def most_zero_groups(amounts: Sequence[int], bounds: Bounds = BOUNDS) -> Grouping:
    """Split amounts, none of them 0, that sum to 0 into as many groups that do as can be found."""
    assert sum(amounts) == 0
    assert all(amounts)
    paired, rest = pairs(amounts)
    left = [amounts[index] for index in rest]
    if len(left) * prod(count + 1 for count in Counter(left).values()) <= WEIGHED:
        found = Grouping(tuple(weigh_all(left)), True)
    else:
        found = search(left, bounds)
    groups = [tuple(rest[index] for index in group) for group in found.groups]
    return Grouping(tuple(sorted([*paired, *groups])), found.proven)


def pairs(amounts: Sequence[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """Way 1: pairs of opposite amounts, and the indices of what is left, in their order."""
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for index in reversed(range(len(amounts))):
        alike[amounts[index]].append(index)
    paired: list[tuple[int, int]] = []
    for amount in [amount for amount in alike if amount < 0 and -amount in alike]:
        while alike[amount] and alike[-amount]:
            paired.append((alike[amount].pop(), alike[-amount].pop()))
    return paired, sorted(chain.from_iterable(alike.values()))


def weigh_all(amounts: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Way 2: the groups between choices that sum to zero, each within the next, in a longest chain.

    A choice says how many are taken of each amount: a number whose digit for an amount runs from 0
    to its count. A set of choices is a whole number with the bit of each choice set, so "each with
    one more of this amount" is one shift of them all. What a choice has more than the one before it
    in a chain sums to zero too: it is a group.
    """
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for index, amount in enumerate(amounts):
        alike[amount].append(index)
    counts = [len(members) for members in alike.values()]
    sums, places = [0], []
    for amount, count in zip(alike, counts, strict=True):
        places.append(len(sums))
        sums = [so_far + times * amount for times in range(count + 1) for so_far in sums]
    bits = bytearray(len(sums) // 8 + 1)
    for choice, total in enumerate(sums):
        if choice and not total:
            bits[choice >> 3] |= 1 << (choice & 7)
    zeros = int.from_bytes(bits, "little")

    room = [  # the choices that can have one more
        _repeated((1 << place * count) - 1, place * (count + 1), len(sums))
        for place, count in zip(places, counts, strict=True)
    ]
    ends = [1]  # ends[k]: the choices at which a chain of k groups can end
    while longer := _with_more(ends[-1], places, counts, room) & zeros:
        ends.append(longer)

    taken = counts
    for before in reversed(ends[:-1]):
        within = 1
        for place, count in zip(places, taken, strict=True):
            for _ in range(count):
                within |= within << place
        smaller = before & within
        inner = (smaller & -smaller).bit_length() - 1
        kept = [inner // place % (count + 1) for place, count in zip(places, counts, strict=True)]
        group = [
            members[less:more]
            for members, less, more in zip(alike.values(), kept, taken, strict=True)
        ]
        yield tuple(sorted(chain.from_iterable(group)))
        taken = kept


def _repeated(pattern: int, period: int, length: int) -> int:
    while period < length:
        pattern |= pattern << period
        period *= 2
    return pattern & ((1 << length) - 1)


def _with_more(
    choices: int, places: Sequence[int], counts: Sequence[int], room: Sequence[int]
) -> int:
    """Every choice that holds one of `choices` and something besides."""
    found = 0
    for place, free in zip(places, room, strict=True):
        found |= (choices & free) << place
    for place, count, free in zip(places, counts, room, strict=True):
        for _ in range(count):
            found |= (found & free) << place
    return found


def search(amounts: Sequence[int], bounds: Bounds = BOUNDS) -> Grouping:
    """Way 3: pick small groups, then look for one group more until there is none, or no effort.

    The amounts hold no pair of opposites.
    """
    found = _Search(amounts, bounds, bounds.effort)
    try:
        proven = found.run()
    except _EffortSpent:
        proven = False
    return Grouping(tuple(tuple(_bits(group)) for group in found.best), proven)


class _EffortSpent(Exception):
    """The search has gone as far as it may."""


@dataclass(frozen=True, slots=True)
class _Pool:
    """Groups as masks, and their sizes, small ones first; none of up to `all_up_to` is missing."""

    groups: Sequence[int]
    sizes: Sequence[int]
    all_up_to: int

    def between(self, least: int, most: int) -> Sequence[int]:
        return self.groups[bisect_left(self.sizes, least) : bisect_right(self.sizes, most)]


@dataclass(slots=True)
class _Search:
    """Sets of positions are masks: the bit of a position is its index."""

    amounts: Sequence[int]
    bounds: Bounds
    effort: int
    best: list[int] = field(init=False)
    owing: int = field(init=False)
    blind: bool = False  # groups were missing where some were ruled out
    ruled_out: set[tuple[int, int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.best = [(1 << len(self.amounts)) - 1]
        self.owing = sum(1 << index for index, amount in enumerate(self.amounts) if amount < 0)

    def run(self) -> bool:
        """Whether `best` is proven to be so; it is kept also where effort ends."""
        (whole,) = self.best
        pool = self._small_groups(whole, whole.bit_count() // 2)
        self._pick(whole, pool)
        while len(self.best) < self._most(whole):
            if len(self.amounts) > SEARCHED:
                return False
            self.blind = False
            self.ruled_out.clear()
            more = self._split(whole, len(self.best) + 1, SMALLEST, pool)
            if more is None:
                return not self.blind
            self.best = more
        return True

    def _most(self, whole: int) -> int:
        """There cannot be more groups: each has one who owes, one who is owed, and a third."""
        size, owing = whole.bit_count(), (whole & self.owing).bit_count()
        return min(owing, size - owing, size // SMALLEST)

    def _pick(self, whole: int, pool: _Pool) -> None:
        """Take the smallest group of what is left, again and again."""
        picked: list[int] = []
        while True:
            before = whole
            for group in pool.groups:
                if group & whole == group and group != whole:
                    picked.append(group)
                    whole ^= group
            self.best = [*picked, whole]
            if whole == before:
                return
            pool = self._small_groups(whole, whole.bit_count() // 2)

    def _split(self, whole: int, into: int, least: int, pool: _Pool) -> list[int] | None:
        """So many groups of at least `least` positions each, or None where none were found."""
        if into == 1:
            return [whole]
        size = whole.bit_count()
        most = size // into
        if least > most or self._most(whole) < into or (whole, into, least) in self.ruled_out:
            return None
        if pool.all_up_to < most and self._seen_whole(size) > pool.all_up_to:
            pool = self._small_groups(whole, (size - least * (into - 2)) // 2)
        if pool.all_up_to < most:
            self.blind = True
        candidates = pool.between(least, most)
        self._spend(QUESTION + len(candidates))
        for group in [group for group in candidates if group & whole == group]:
            others = self._split(whole ^ group, into - 1, group.bit_count(), pool)
            if others is not None:
                return [group, *others]
        self.ruled_out.add((whole, into, least))
        return None

    def _small_groups(self, whole: int, largest: int) -> _Pool:
        """The groups within `whole` of up to `largest` positions, as far as the bounds allow."""
        members = list(_bits(whole))
        halves = members[::2], members[1::2]
        most = min(largest, self._most_of_half(len(members)))
        self._spend(SUM * sum(comb(len(half), few) for half in halves for few in range(most + 1)))
        sums = [
            _by_count([sign * self.amounts[index] for index in half], most)
            for half, sign in zip(halves, (1, -1), strict=True)
        ]
        common = set(chain.from_iterable(sums[0])) & set(chain.from_iterable(sums[1]))
        met = [[_ranks(of_count, common) for of_count in of_half] for of_half in sums]
        meetings = (ranks for of_half in met for of_count in of_half for ranks in of_count.values())
        self._spend(MEETING * sum(map(len, meetings)))

        below = [[comb(last, few) for last in range(len(halves[0]))] for few in range(most + 1)]
        groups: list[int] = []
        sizes: list[int] = []
        all_up_to = min(largest, self._seen_whole(len(members)))
        for size in range(SMALLEST, largest + 1):
            room = self.bounds.groups - len(groups)
            for here, one, there, other in islice(_meetings(met[0], met[1], size), room):
                groups.append(
                    _chosen(halves[0], here, one, below) | _chosen(halves[1], there, other, below)
                )
                sizes.append(size)
            if len(groups) == self.bounds.groups:
                all_up_to = min(all_up_to, size - 1)
                break
        self._spend(GROUP * len(groups))
        return _Pool(groups, sizes, all_up_to)

    def _most_of_half(self, positions: int) -> int:
        """Of how many positions at most to form sums over half of so many."""
        half = (positions + 1) // 2
        most, sums = 0, 1
        while most < half and sums + comb(half, most + 1) <= self.bounds.sums:
            most += 1
            sums += comb(half, most)
        return most

    def _seen_whole(self, positions: int) -> int:
        """Among so many positions, all groups of up to so many can be seen."""
        most = self._most_of_half(positions)
        return positions if most == (positions + 1) // 2 else most

    def _spend(self, effort: int) -> None:
        self.effort -= effort
        if self.effort < 0:
            raise _EffortSpent


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _by_count(amounts: Sequence[int], most: int) -> list[list[int]]:
    """The sums of all choices of 0, 1, 2… of the amounts; `_chosen` knows whose sum is where."""
    sums: list[list[int]] = [[0], *([] for _ in range(min(most, len(amounts))))]
    for amount in amounts:
        for count in reversed(range(len(sums) - 1)):
            sums[count + 1] += [so_far + amount for so_far in sums[count]]
    return sums


def _chosen(members: Sequence[int], count: int, rank: int, below: Sequence[Sequence[int]]) -> int:
    """The choice of so many members, as a mask, whose sum `_by_count` puts at this rank.

    Before a choice come all whose last member is an earlier one, of which there are `below`, then
    those with the same last and a lower rank among the others: the combinatorial number system
    (Knuth, The Art of Computer Programming, 7.2.1.3, theorem L).
    """
    mask = 0
    for left in range(count, 0, -1):
        last = bisect_right(below[left], rank) - 1
        rank -= below[left][last]
        mask |= 1 << members[last]
    return mask


def _ranks(sums: Sequence[int], common: set[int]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for rank, total in enumerate(sums):
        if total in common:
            found.setdefault(total, []).append(rank)
    return found


def _meetings(
    one: Sequence[Mapping[int, Sequence[int]]],
    other: Sequence[Mapping[int, Sequence[int]]],
    size: int,
) -> Iterator[tuple[int, int, int, int]]:
    """Count and rank in the one half, and in the other, for each equal sum of `size` in all."""
    for here in range(max(0, size - len(other) + 1), min(size, len(one) - 1) + 1):
        there = size - here
        for total in sorted(one[here].keys() & other[there].keys()):
            for first in one[here][total]:
                for second in other[there][total]:
                    yield here, first, there, second
