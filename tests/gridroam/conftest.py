"""A whole hub for whoever asks for one."""

from __future__ import annotations

from tests.hub import hub

__all__ = ["hub"]
