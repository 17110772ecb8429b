"""How a command ends: its exit code, one line for what went wrong, and order after a signal.

0 done; 1 the work failed; 2 wrong arguments or input. A command that SIGTERM or Ctrl-C ends takes
back what it has begun (processes, folders) and ends with 128 + the signal's number, as a shell
tells it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

from typer.exceptions import Abort, TyperException

from kit.actor import OFFICE, acting_as
from kit.embedded_postgres import PostgresFailed
from roaming.refusal import Refusal, Unavailable

Result = TypeVar("Result")

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
SHOWN = 600
# Set it to see where a failure comes from.
TRACEBACK = "GRIDROAM_TRACEBACK"


class WorkFailed(RuntimeError):
    """The work of a command failed; its message says so in one line."""


def keep_libraries_quiet() -> None:
    """What they would say on the way, the one line at the end says; a hub's own logs are set up
    by `gridroam.logging`."""
    if not os.environ.get(TRACEBACK):
        logging.getLogger().addHandler(logging.NullHandler())


def run(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run to the end. The first signal to end cancels the work; it may tidy up undisturbed."""
    told: list[int] = []

    async def until_told() -> Result:
        task = asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            if not told:
                task.cancel()
            told.append(number)

        loop = asyncio.get_running_loop()
        for number in ENDING_SIGNALS:
            # nohup, and shells for what they start in the background, have some ignored already.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, end, number)
        with acting_as(OFFICE):
            return await work()

    try:
        return asyncio.run(until_told())
    except asyncio.CancelledError:
        if not told:
            raise
        raise SystemExit(128 + told[0]) from None


def leave(error: BaseException) -> NoReturn:
    """End the process because of `error`: one line on standard error, and the code it stands for.

    Not for bugs only, but for them as well: whoever runs a hub reads what happened, not our code.
    """
    if os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    code, line = told(error)
    if line:
        with suppress(BrokenPipeError):
            sys.stderr.write(f"{line}\n")
    raise SystemExit(code) from None


def told(error: BaseException) -> tuple[int, str]:
    """The exit code and the line for a failure; no line where all has been said."""
    if isinstance(error, BrokenPipeError):
        write_no_more()
        return 0, ""
    if isinstance(error, KeyboardInterrupt | Abort):
        return 128 + signal.SIGINT, ""
    if isinstance(error, TyperException):
        return error.exit_code, _usage_line(error)
    if isinstance(error, Refusal):
        return 1 if isinstance(error, Unavailable) else 2, _refusal_line(error)
    if isinstance(error, WorkFailed):
        return 1, _one_line(str(error))
    if isinstance(error, PostgresFailed):
        return 1, _one_line(f"PostgreSQL: {error}")
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return 1, _one_line(f"{where}{error.strerror or error}")
    if _is_of_the_database(error):
        return 1, _one_line(f"the database: {error}")
    bug = _one_line(f"a bug, please tell: {type(error).__name__}: {error}")
    return 1, f"{bug} ({TRACEBACK}=1 shows where)"


def _is_of_the_database(error: BaseException) -> bool:
    # Here, since it takes half of a command that asks no database: its help, a signature.
    from sqlalchemy.exc import SQLAlchemyError

    from kit.server_away import AWAY

    return isinstance(error, (*AWAY, SQLAlchemyError))


def write_no_more() -> None:
    """The reader of our output has seen enough: that is no failure, not even at the last flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _usage_line(error: TyperException) -> str:
    said = error.format_message()
    context = getattr(error, "ctx", None)
    if "\n" in said or context is None:
        # The whole help, for a command without any argument.
        return said
    return _one_line(f"{said} ({context.command_path} --help)")


def _refusal_line(refusal: Refusal) -> str:
    said, value, rule = refusal.detail, refusal.value, refusal.rule
    if refusal.field and not said.startswith(refusal.field):
        said = f"{refusal.field}: {said}"
    if isinstance(value, str) and value not in said:
        said += f": {value!r}"
    return _one_line(said if not rule or rule in said else f"{said} ({rule})")


def _one_line(said: str) -> str:
    line = f"gridroam: {' '.join(said.split())}"
    return line if len(line) <= SHOWN else f"{line[: SHOWN // 2]} … {line[-SHOWN // 2 :]}"
