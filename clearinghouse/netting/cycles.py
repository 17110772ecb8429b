"""Debts that go round in circles cancel; nobody gets a new counterparty, and no debt grows.

What is cancelled of each debt is a circulation: each party is freed of as much as it gives up, so
that its net position stays. The most that can be cancelled in all is a maximum circulation, which
is found from its other side: what is left to pay is the flow along the debts, each no larger than
its debt, that serves every position and costs least when each unit costs one for each debt on its
way. That is a minimum-cost flow with whole numbers, solved exactly by the network simplex.

Two facts keep it small and true:

- A debt that is on no circle cannot be cancelled. So each strongly connected part of the graph of
  debts is solved by itself, and debts between parts stay as they are.
- To set off each pair first would be quicker, but can cost: where A owes B 10, B owes A 5, B owes C
  10 and C owes A 10, the great circle frees 30 and leaves B to pay A 5; with the pair set off
  first, 25 are freed and two payments of 5 are left.

Nodes and edges are put in by name, so that the same debts get the same answer on any machine.

networkx is imported where it is needed: every start would wait for it, and few clear by circles.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from roaming.party import PartyId

Debts = Mapping[tuple[PartyId, PartyId], int]
"""Debtor and creditor to what is owed, in minor units."""


def most_cancelled(debts: Debts) -> dict[tuple[PartyId, PartyId], int]:
    """How much of each debt is cancelled, the most in all; debts of which nothing is are left out.

    What a party owes itself is not looked at, nor is a debt of nothing.
    """
    import networkx as nx

    owed = {pair: debts[pair] for pair in sorted(debts) if debts[pair] > 0 and pair[0] != pair[1]}
    graph = nx.DiGraph(owed.keys())
    part_of: dict[PartyId, int] = {}
    for number, parties in enumerate(nx.strongly_connected_components(graph)):
        part_of |= dict.fromkeys(parties, number)
    parts: defaultdict[int, dict[tuple[PartyId, PartyId], int]] = defaultdict(dict)
    for pair, amount in owed.items():
        debtor, creditor = pair
        if part_of[debtor] == part_of[creditor]:
            parts[part_of[debtor]][pair] = amount
    cancelled: dict[tuple[PartyId, PartyId], int] = {}
    for part in parts.values():
        left = _least_paid(part)
        cancelled |= {
            pair: amount - left[pair] for pair, amount in part.items() if amount > left[pair]
        }
    return dict(sorted(cancelled.items()))


def _least_paid(debts: Debts) -> dict[tuple[PartyId, PartyId], int]:
    """What is left to pay of each debt. The debts are in order, and hang together in circles."""
    demand: defaultdict[PartyId, int] = defaultdict(int)
    for (debtor, creditor), amount in debts.items():
        demand[debtor] -= amount
        demand[creditor] += amount
    import networkx as nx

    network = nx.DiGraph()
    for party in sorted(demand):
        network.add_node(party, demand=demand[party])
    for (debtor, creditor), amount in debts.items():
        network.add_edge(debtor, creditor, capacity=amount, weight=1)
    _, flow = nx.network_simplex(network)
    return {(debtor, creditor): flow[debtor][creditor] for debtor, creditor in debts}


def circles(cancelled: Debts) -> list[tuple[tuple[PartyId, ...], int]]:
    """The circles that make up what was cancelled: who owes the next, and how much goes round.

    There are many ways to take a circulation apart; this one starts at the first name each time
    and follows the first debt by name. Each circle uses up one debt at least, so there are never
    more circles than debts.
    """
    left: dict[PartyId, dict[PartyId, int]] = {}
    for debtor, creditor in sorted(cancelled):
        left.setdefault(debtor, {})[creditor] = cancelled[debtor, creditor]
    found: list[tuple[tuple[PartyId, ...], int]] = []
    for start in sorted(left):
        while left[start]:
            way, seen = [start], {start: 0}
            while (onward := next(iter(left[way[-1]]))) not in seen:
                seen[onward] = len(way)
                way.append(onward)
            circle = way[seen[onward] :]
            legs = list(zip(circle, [*circle[1:], circle[0]], strict=True))
            amount = min(left[debtor][creditor] for debtor, creditor in legs)
            for debtor, creditor in legs:
                left[debtor][creditor] -= amount
                if not left[debtor][creditor]:
                    del left[debtor][creditor]
            found.append((tuple(circle), amount))
    return found
