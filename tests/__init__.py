"""Tests of all of the hub, on real parts: a PostgreSQL, sockets, processes."""

import os
import sys

# Containers often forbid to keep compiled code. Each process that a test starts would compile the
# whole hub again, and that is a third of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
