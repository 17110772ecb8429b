"""Databases for hubs that are processes of their own."""

from __future__ import annotations

from tests.gridroam.conftest import hub_database_url

__all__ = ["hub_database_url"]
