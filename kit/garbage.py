"""Python's collector of reference cycles, told what a server holds for as long as it lives.

Untold, it looks through all contracts, agreements and routes again every few seconds, and nobody
is answered meanwhile: 0.2 s at 10,000 agreements, and so the slowest hundredth of all answers.
"""

from __future__ import annotations

import gc

# So many new objects, less those freed, until the youngest are looked through; so many times that
# until the next older are. Cycles are rare here, and a look at the youngest takes a millisecond.
THRESHOLDS = (20_000, 20, 50)


def look_when_ready() -> None:
    """Call at the start of a server: until `spare_what_is_held`, nothing is looked through."""
    gc.disable()


def spare_what_is_imported() -> None:
    """Call when all is imported: it stays, and so do the 3 MB that an import leaves behind. To look
    through it for those takes a tenth of a start."""
    gc.freeze()


def look_rarely() -> None:
    """Call at the start of a process: what is imported stays, and to look through it again and
    again is a quarter of the time that a start takes."""
    gc.set_threshold(*THRESHOLDS)


def spare_what_is_held() -> None:
    """Call once when a server is ready to answer. Cycles of what comes later are still freed."""
    gc.collect()
    gc.freeze()
    look_rarely()
    gc.enable()
