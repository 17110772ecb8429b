"""The limit of open files goes up to its ceiling, and no further."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, sys
from kit import open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
print(open_files.allow_many(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(("soft", "hard"), [(256, 512), (512, 512)])
def test_it_goes_up_to_the_ceiling(soft: int, hard: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(soft), str(hard)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(hard)] * 3
