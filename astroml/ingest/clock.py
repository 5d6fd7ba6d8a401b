"""Where time and memory go: seconds and resident memory per step, summed over all workers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from astroml.progress import peak_memory

STEPS = ("read", "align", "measure", "write")
"""Reading the files; alignment and calibration; noise and quality; the shard."""


class Clock:
    """Adds up steps.

    Attributes
    ----------
    seconds : dict
        step -> s.
    memory : dict
        step -> largest memory of a process at the end of the step, MB.
    """

    def __init__(self):
        self.seconds = dict.fromkeys(STEPS, 0.0)
        self.memory = dict.fromkeys(STEPS, 0.0)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what happens inside as one step."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - begun

    def weigh(self, name: str) -> None:
        """Note the memory that the process holds at the end of a step."""
        self.memory[name] = max(self.memory[name], resident_memory())

    def add(self, other: Clock) -> None:
        """Add what another process spent."""
        for name in STEPS:
            self.seconds[name] += other.seconds[name]
            self.memory[name] = max(self.memory[name], other.memory[name])

    def __str__(self) -> str:
        return "; ".join(
            f"{name} {self.seconds[name]:.1f} s, {self.memory[name]:.0f} MB" for name in STEPS
        )


def resident_memory() -> float:
    """Return the memory that this process holds now, MB; the largest so far where none tells."""
    try:
        with open("/proc/self/status", "rb") as status:
            line = next(line for line in status if line.startswith(b"VmRSS:"))
    except (OSError, StopIteration):
        return peak_memory()
    return int(line.split()[1]) / 1024
