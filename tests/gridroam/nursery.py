"""Where tests' processes of `gridroam` come from: one that has read all of its code, and forks.

To read it takes most of a command's time, and a run of all tests starts hundreds. What is born here
is a process like any other: its own output, arguments and environment, `main` as its operator has
it, the interpreter's ordinary end, and its exit code.

    python -m tests.gridroam.nursery LISTENING_FD

One connection a birth. In: a line of JSON (`arguments`, `environment`), and with it the file
descriptors of its standard output and error. Out: a line with the process id, and at its end a line
with how it ended, as `subprocess` tells it. The nursery ends with its standard input.
"""

from __future__ import annotations

import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

# What a start reads late is read early here.
import alembic.command  # noqa: F401

import gridroam.serve
import gridroam.wiring  # noqa: F401
from gridroam import bridging
from gridroam.cli import main

LONGEST = 1 << 20


def tend(listener: socket.socket) -> dict[str, Any] | None:
    """Fork for each that asks. Comes back in the child, with what it was asked; None at the end."""
    # Who was forked to wait for a child is waited for by nobody.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in readable:
            shutil.rmtree(Path(listener.getsockname()).parent)
            return None
        asking, _ = listener.accept()
        with asking:
            asked, descriptors, _, _ = socket.recv_fds(asking, LONGEST, 2)
            while not asked.endswith(b"\n"):
                asked += asking.recv(LONGEST)
            if os.fork() == 0:
                listener.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                child = os.fork()
                if child:
                    _wait_for(child, asking, descriptors)
                for number, given in enumerate([os.open(os.devnull, os.O_RDONLY), *descriptors]):
                    os.dup2(given, number)
                    os.close(given)
                return dict(json.loads(asked))
        for given in descriptors:
            os.close(given)


def _wait_for(child: int, asking: socket.socket, descriptors: list[int]) -> NoReturn:
    # Its output ends when it does, not when whoever waits for it does.
    for given in descriptors:
        os.close(given)
    asking.sendall(f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    # Nobody may ask any more.
    with suppress(BrokenPipeError):
        asking.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


if __name__ == "__main__":
    bridging.faces()
    gc.collect()
    gc.freeze()
    born = tend(socket.socket(fileno=int(sys.argv[1])))
    if born is not None:
        os.environ.clear()
        os.environ.update(born["environment"])
        sys.argv[1:] = born["arguments"]
        main()
