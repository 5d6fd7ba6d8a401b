"""Fresh objects to train on: drawn for one epoch, seen once, never written."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from lightning_fabric import Fabric

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
        self.pixel_scale = float(header.pixel_scale)
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

    def over(self, epoch: int, fabric: Fabric) -> Iterator[dict]:
        """Yield the batches of an epoch, as ``read_batches`` does, with labels.

        Of several processes each draws as much of a batch as is its own.
        """
        begin = epoch * self.batches
        if self._running is None or self._next != begin:
            self._running = ahead(self._drawn(begin, fabric), self._share(fabric.device))
            self._next = begin
        for _ in range(self.batches):
            self._next += 1
            yield next(self._running)

    def _drawn(self, begin: int, fabric: Fabric) -> Iterator[dict]:
        rank, world = fabric.global_rank, fabric.world_size
        size, seed = -(-self.run.batch_size // world), self.run.seed
        for number in itertools.count(begin):
            which = number * world + rank
            batch = self.module.fresh(
                self.sky, self.survey, self.size, size, seed, which, str(fabric.device)
            )
            scale = torch.full((size,), self.pixel_scale, device=fabric.device)
            yield self.targets(batch)[0] | batch | {"pixel_scale": scale}

    def _share(self, device: torch.device) -> Callable[[], None]:
        """Give the thread that draws the network's GPU, or as many threads of a CPU as it has.

        On a CPU each rests while it waits for the other; halves would leave a core idle.
        """
        if device.type == "cuda":
            return partial(torch.cuda.set_device, device)
        return partial(torch.set_num_threads, torch.get_num_threads())

    def close(self) -> None:
        """Stop drawing."""
        if self._running is not None:
            self._running.close()
            self._running = None
