"""Fresh objects to train on: drawn for one epoch, seen once, never written."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch

from astroml import tasks
from astroml.config import Strict, TrainOptions
from astroml.errors import AstromlError
from astroml.nets.batches import ahead
from astroml.store import Store
from astroml.survey import Survey


class Fresh:
    """Batches of a task's simulated sky, as a store's survey would see it.

    They are drawn on the device, the next one in a background thread. On a CPU the thread and the
    network share its cores.

    Parameters
    ----------
    task : str
        Name of the task, whose ``sky.fresh`` draws.
    run : TrainOptions
        Objects per epoch, batch size, seed.
    store : Store
        Bands and pixels are its own.
    sky : Strict or None
        The task's ``Sky``; None for its defaults.
    survey : Survey or None
        Seeing and noise.
    """

    def __init__(
        self, task: str, run: TrainOptions, store: Store, sky: Strict | None, survey: Survey | None
    ):
        self.module, header = tasks.load(task, "sky"), store.header
        if not hasattr(self.module, "fresh"):
            raise AstromlError(
                f"task {task} has no sky that can be drawn while training; set train.fresh to 0"
            )
        if survey is None:
            raise AstromlError("train.fresh needs a survey; name one with --survey")
        self.targets = tasks.load(task).targets
        self.survey = survey.like(header, store.shards[0].parent)
        self.sky = sky or tasks.load(task).Sky()
        self.run, self.size = run, header.size
        self.batches = math.ceil(run.fresh / run.batch_size)
        """Batches per epoch."""
        self.facts = {
            "sky": self.sky.model_dump(mode="json"),
            "survey": self.survey.model_dump(mode="json"),
        }
        """What decides the objects, besides the seed."""
        self._running: Iterator | None = None
        self._next = -1

    def over(self, epoch: int, device: str) -> Iterator[dict]:
        """Yield the batches of an epoch, as ``read_batches`` does, with labels."""
        begin = epoch * self.batches
        if self._running is None or self._next != begin:
            self._running = ahead(self._drawn(begin, device), self._share(device))
            self._next = begin
        for _ in range(self.batches):
            self._next += 1
            yield next(self._running)

    def _drawn(self, begin: int, device: str) -> Iterator[dict]:
        for number in itertools.count(begin):
            batch = self.module.fresh(
                self.sky, self.survey, self.size, self.run.batch_size, self.run.seed, number, device
            )
            yield self.targets(batch)[0] | batch

    def _share(self, device: str):
        """Give the thread that draws as many threads of a CPU as the network has.

        Each rests while it waits for the other; halves would leave a core idle.
        """
        if device != "cpu":
            return None
        threads = torch.get_num_threads()
        return lambda: torch.set_num_threads(threads)

    def close(self) -> None:
        """Stop drawing."""
        if self._running is not None:
            self._running.close()
            self._running = None
