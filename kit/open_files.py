"""As many open files as the system lets a process have.

A charge point that is online is a socket for as long as it lives, and many systems begin with 1,024
files for a process; the ceiling above that is the administrator's.
"""

from __future__ import annotations

import resource

ENOUGH = 1 << 20


def allow_many() -> int:
    """Raise this process's limit (and that of its children) to the ceiling; what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft
