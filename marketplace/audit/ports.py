"""What the audit needs: the log, with who acts for whom."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from marketplace.audit.model import Entry, Question


class Audit(Protocol):
    async def read(self, question: Question) -> Sequence[Entry]:
        """The newest first; none of a transaction that is not finished."""
        ...
