"""What would hold other calls up is done in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Done = TypeVar("Done")

# A message of this size is read or written in a millisecond or two.
LONG_BYTES = 32 * 1024
# A map is a partner's own, and may take long over a message of any size.
UNKNOWN = LONG_BYTES + 1


async def aside(size: int, work: Callable[[], Done]) -> Done:
    """What `work` returns or raises; `size` in bytes says how long it may take."""
    return work() if size <= LONG_BYTES else await asyncio.to_thread(work)
