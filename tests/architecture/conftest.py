"""What holds of the whole hub is tried on a whole hub."""

from __future__ import annotations

from tests.hub import hub

__all__ = ["hub"]
