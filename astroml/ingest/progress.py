"""A progress bar in a terminal, plain lines everywhere else."""

from __future__ import annotations

import sys
import time

PAUSE = 10.0
"""Seconds between two plain lines."""


class Progress:
    """Tell how far a loop is, on standard error.

    Parameters
    ----------
    title : str
    total : int
        Objects in all.
    """

    def __init__(self, title: str, total: int):
        self.title, self.total, self.done = title, total, 0
        self.begin = self._said = time.monotonic()
        self._bar = None

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
            console = Console(stderr=True)
            self._bar = Bar(*columns, TimeRemainingColumn(), console=console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self.title, total=self.total)
        return self

    def __exit__(self, *fault) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """Count some objects as done."""
        self.done += count
        if self._bar:
            self._bar.advance(self._task, count)
        elif time.monotonic() - self._said > PAUSE:
            self._said = time.monotonic()
            print(f"{self.title}: {self.done}/{self.total}", file=sys.stderr, flush=True)

    @property
    def rate(self) -> float:
        """Objects per second since the beginning."""
        return self.done / max(time.monotonic() - self.begin, 1e-9)


def peak_memory() -> float:
    """Return the largest memory that this process, or one it started, ever held, MB."""
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in who) / unit
