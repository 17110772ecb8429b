"""A command loads what it works with: who asks for help or adds a partner waits for no more."""

from __future__ import annotations

import subprocess
import sys

import pytest

WEB = ("fastapi", "starlette", "aiohttp", "gridroam.wiring")
HEAVY = (*WEB, "alembic", "networkx", "xmlschema", "clearinghouse.netting")


@pytest.mark.parametrize(
    ("module", "spared"),
    [
        ("cli", (*HEAVY, "sqlalchemy", "pydantic")),
        ("signing", HEAVY),
        # What supervises others that serve, and refuses what cannot be served.
        ("serve", ("gridroam.wiring", "aiohttp", "xmlschema", "clearinghouse.cdrs")),
        ("office", HEAVY),
        ("office_events", HEAVY),
        ("office_deliveries", HEAVY),
        ("office_clearing", ("alembic", "networkx", "xmlschema", "gridroam.wiring")),
    ],
)
def test_a_command_loads_nothing_that_it_does_not_need(
    module: str, spared: tuple[str, ...]
) -> None:
    code = f"import sys, gridroam.cli, gridroam.{module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert f"gridroam.{module}" in loaded
    assert [name for name in spared if name in loaded] == []
