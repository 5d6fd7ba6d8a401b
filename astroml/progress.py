"""Progress for whoever looks: a live bar on a terminal, a bar as a line now and then elsewhere.

Jobs of the workflow run side by side with their output in log files, where a live bar would be
noise: there a line is printed every ``PAUSE`` seconds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

PAUSE = 5.0
"""Seconds between two plain lines."""

WIDTH = 24
"""Characters of a plain bar."""


class Progress:
    """Tell how far a loop is.

    Used as ``with Progress("infer", total) as progress: progress.advance(64)``.

    Parameters
    ----------
    title : str
        The stage.
    total : int
        Steps or objects in all.
    done : int
        Those done before this run.
    """

    def __init__(self, title: str, total: int, done: int = 0):
        self.title, self.total, self.done, self.before = title, total, done, done
        self.live = None

    def __enter__(self) -> Progress:
        self.begin = self._said = time.monotonic()
        if sys.stdout.isatty():
            from rich import progress

            self.live = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TextColumn("{task.fields[rate]}"),
                progress.TimeRemainingColumn(),
                transient=True,
            )
            self.live.start()
            self._task = self.live.add_task(
                self.title, total=self.total, completed=self.done, rate=""
            )
        return self

    def __exit__(self, *fault) -> None:
        if self.live:
            self.live.stop()
            self.live = None

    def advance(self, count: int = 1) -> None:
        """Count some more as done."""
        self.done += count
        if self.live:
            self.live.update(self._task, advance=count, rate=f"{self.rate:.0f}/s")
        elif time.monotonic() - self._said > PAUSE:
            self._said = time.monotonic()
            print(self.plain(), flush=True)

    def plain(self) -> str:
        """Return the bar as text."""
        full = WIDTH * self.done // max(self.total, 1)
        bar = "#" * full + "." * (WIDTH - full)
        left = (self.total - self.done) / max(self.rate, 1e-9)
        speed = f"{self.rate:.0f}/s, {left:.0f} s left"
        return f"{self.title} [{bar}] {self.done}/{self.total}, {speed}"

    def line(self, text: str) -> None:
        """Print a line above the bar, at once."""
        if self.live:
            self.live.console.print(text, highlight=False)
        else:
            print(text, flush=True)

    def over(self, blocks: Iterable[dict], count: str) -> Iterator[dict]:
        """Pass blocks on, counting the rows of their entry ``count``."""
        for block in blocks:
            yield block
            self.advance(len(block[count]))

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return max(time.monotonic() - self.begin, 1e-9)

    @property
    def rate(self) -> float:
        """Steps per second of this run."""
        return (self.done - self.before) / self.seconds


def brief(facts: dict) -> str:
    """Return names and values in one line."""
    values = {k: v["value"] if isinstance(v, dict) else v for k, v in facts.items()}
    return ", ".join(f"{name} {v:.4g}" for name, v in values.items() if v is not None)


def peak_memory() -> float:
    """Return the largest memory that this process, or one it started, ever held, MB."""
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in who) / unit
