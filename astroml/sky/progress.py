"""A progress bar with objects per second on a terminal; silence elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Meter:
    """Count objects done, and say at the end how many, how long, how fast, on what.

    Used as ``with Meter("simulated", total, "on cpu") as meter: meter.add(64)``.
    """

    def __init__(self, verb: str, total: int, where: str):
        self.verb, self.total, self.where, self.done = verb, total, where, 0
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Meter:
        self.begin = time.perf_counter()
        self.bar.start()
        self.task = self.bar.add_task(self.verb, total=self.total, rate="")
        return self

    def add(self, objects: int) -> None:
        """Count some objects more."""
        self.done += objects
        rate = self.done / max(time.perf_counter() - self.begin, 1e-9)
        self.bar.update(self.task, advance=objects, rate=f"{rate:.0f} objects/s")

    def over(self, blocks: Iterable[dict]) -> Iterator[dict]:
        """Pass blocks on, counting the rows of their ``image``."""
        for block in blocks:
            yield block
            self.add(len(block["image"]))

    def __exit__(self, kind, fault, trace) -> None:
        self.bar.stop()
        if kind is None:
            took = time.perf_counter() - self.begin
            rate = self.done / max(took, 1e-9)
            speed = f"{took:.1f} s ({rate:.0f} objects/s)"
            print(f"{self.verb} {self.done} objects in {speed} {self.where}")
