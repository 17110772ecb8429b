"""What every benchmark takes and gives. Only ratios are results; figures are for the reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: ours against a peer, and against the limit of the thing itself.

    `ratio_to_limit` is ours / limit_value, in `unit`. A peer that could not start has no value;
    `params` says why, and the size of the data.
    """

    name: str
    ours: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    limit: str | None = None
    limit_value: float | None = None
    ratio_to_limit: float | None = None
    params: dict[str, Any] = {}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """`database_url`: an empty PostgreSQL database with all tables, to be filled and thrown away.

    `scratch`: an empty folder. `quick`: a tenth of the work, to see that it runs.
    """

    database_url: str
    scratch: Path
    quick: bool = False
