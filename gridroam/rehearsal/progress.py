"""Progress bars for people, silence for pipes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Stages:
    """The stages of a replay, each with its bar and its time."""

    def __init__(self, console: Console) -> None:
        self.seconds: dict[str, float] = {}
        self._progress = Progress(
            TextColumn("{task.description:<34}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[said]}"),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Stages:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bars as they are, so that other things can be printed."""
        self._progress.stop()

    @contextmanager
    def stage(self, name: str, label: str, total: int | None = None) -> Iterator[Stage]:
        """One stage; its seconds are kept under `name`."""
        begun = time.perf_counter()
        stage = Stage(self._progress, label, total)
        try:
            yield stage
        finally:
            stage.finish()
            self.seconds[name] = time.perf_counter() - begun


class Stage:
    """One bar."""

    def __init__(self, progress: Progress, label: str, total: int | None) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total, said="")
        self._done = 0

    def step(self, count: int = 1, said: str = "") -> None:
        self._done += count
        self._progress.update(self._task, completed=self._done, said=said)

    def at(self, done: int) -> None:
        self._done = done
        self._progress.update(self._task, completed=done)

    def finish(self) -> None:
        self._progress.update(self._task, completed=self._done, total=self._done or 1, said="")
