"""Bodies that are held whole: how much of a process's memory they may take together. Pure.

What is passed on as it comes takes none. What has to be read to its end before it can be put into
other words does, for as long as its call lasts; and nobody's calls may take so much that there is
none left for those of others.
"""

from __future__ import annotations

from collections import Counter

from gateway.calls.model import Reason
from gateway.calls.refusals import CallerTooBusy, HubBusy


class Pot:
    """That of one process: so many bytes in all, and so many for one client.

    Strangers, who have yet to show who they are, have one client's share together, and those of
    one address an eighth of it: who fills that keeps nobody else from logging in.
    """

    def __init__(self, most_bytes: int, most_of_one: int) -> None:
        self._most = most_bytes
        self._most_of_one = most_of_one
        self._of = Counter[str]()
        self.bytes = 0

    def of_client(self, client_id: str) -> Holding:
        return Holding(self, ((client_id, self._most_of_one),))

    def of_stranger(self, address: str) -> Holding:
        # No client's id begins so.
        shares = (("@", self._most_of_one), (f"@{address}", self._most_of_one // 8))
        return Holding(self, shares)

    def take(self, shares: Shares, size: int) -> None:
        """Raises CallerTooBusy, HubBusy."""
        for name, most in shares:
            if self._of[name] + size > most:
                raise CallerTooBusy(
                    "the bodies of calls under way are too much together",
                    Reason.TOO_MANY_AT_ONCE,
                    rule=f"at most {most} bytes at once that are read whole; then try again",
                )
        if self.bytes + size > self._most:
            raise HubBusy("too much is being read whole at once", rule="try again shortly")
        self.bytes += size
        for name, _ in shares:
            self._of[name] += size

    def give_back(self, shares: Shares, size: int) -> None:
        self.bytes -= size
        for name, _ in shares:
            self._of[name] -= size
            if not self._of[name]:
                del self._of[name]


class Holding:
    """What one call holds, of the shares that it counts in."""

    __slots__ = ("_pot", "_shares", "bytes")

    def __init__(self, pot: Pot, shares: Shares) -> None:
        self._pot = pot
        self._shares = shares
        self.bytes = 0

    def more(self, size: int) -> None:
        """Raises what `Pot.take` raises."""
        self._pot.take(self._shares, size)
        self.bytes += size

    def let_go(self) -> None:
        if self.bytes:
            self._pot.give_back(self._shares, self.bytes)
            self.bytes = 0


Shares = tuple[tuple[str, int], ...]
"""Whose, and the most of it."""
