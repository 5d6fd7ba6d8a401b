"""Progress for whoever looks: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys

from rich import progress


class Progress:
    """A bar with rate and time left on a terminal; without one, only ``line`` is seen.

    Parameters
    ----------
    total : int
        Steps in all.
    done : int
        Steps done before this run.
    """

    def __init__(self, total: int, done: int = 0):
        self.bar = progress.Progress(
            progress.SpinnerColumn(),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeRemainingColumn(),
            disable=not sys.stdout.isatty(),
            transient=True,
        )
        self.task = self.bar.add_task("", total=total, completed=done)

    def __enter__(self) -> Progress:
        self.bar.start()
        return self

    def __exit__(self, *fault) -> None:
        self.bar.stop()

    def step(self, steps: int = 1) -> None:
        """Count some steps."""
        self.bar.advance(self.task, steps)

    def line(self, text: str) -> None:
        """Print a line above the bar, at once."""
        if self.bar.disable:
            print(text, flush=True)
        else:
            self.bar.console.print(text, highlight=False)
