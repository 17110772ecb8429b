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

    Whoever has not shown yet who it is counts as the client "".
    """

    def __init__(self, most_bytes: int, most_of_one: int) -> None:
        self._most = most_bytes
        self._most_of_one = most_of_one
        self._of = Counter[str]()
        self.bytes = 0

    def take(self, client_id: str, size: int) -> None:
        """Raises CallerTooBusy, HubBusy."""
        if self._of[client_id] + size > self._most_of_one:
            raise CallerTooBusy(
                "the bodies of calls under way are too much together",
                Reason.TOO_MANY_AT_ONCE,
                rule=f"at most {self._most_of_one} bytes at once that are read whole; then again",
            )
        if self.bytes + size > self._most:
            raise HubBusy("too much is being read whole at once", rule="try again shortly")
        self._of[client_id] += size
        self.bytes += size

    def give_back(self, client_id: str, size: int) -> None:
        self.bytes -= size
        self._of[client_id] -= size
        if not self._of[client_id]:
            del self._of[client_id]


class Holding:
    """What one call holds."""

    __slots__ = ("_client_id", "_pot", "bytes")

    def __init__(self, pot: Pot, client_id: str | None) -> None:
        self._pot = pot
        self._client_id = client_id or ""
        self.bytes = 0

    def more(self, size: int) -> None:
        """Raises what `Pot.take` raises."""
        self._pot.take(self._client_id, size)
        self.bytes += size

    def let_go(self) -> None:
        self._pot.give_back(self._client_id, self.bytes)
        self.bytes = 0
