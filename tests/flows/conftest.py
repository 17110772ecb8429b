"""Every story plays in a whole hub, in one small world of partners."""

from __future__ import annotations

from tests.hub import hub

__all__ = ["hub"]
