"""Batches that GPU memory does not hold are learnt from in pieces, their gradients added up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TypeVar

import torch
from torch import Tensor

from astroml.errors import AstromlError

T = TypeVar("T")


class Pieces:
    """Cuts batches into as many pieces as GPU memory asks for: one, until it does not suffice."""

    def __init__(self):
        self.count = 1

    def learn(
        self, objectives: Callable, batch: dict[str, Tensor], descend: Callable
    ) -> list[tuple[str, Tensor]]:
        """Take a step down the loss of each part of a network; return these losses.

        Where memory does not hold the batch, it is taken again from the part that failed.

        Parameters
        ----------
        objectives : callable
            ``batch -> part, loss``, one after another.
        batch : dict
            Tensors of the same length.
        descend : callable
            ``(part, losses) -> loss``: sends each of the losses backward, takes the step and
            returns their sum.
        """
        taken: list[tuple[str, Tensor]] = []

        def steps(pieces: list[dict[str, Tensor]]) -> list[tuple[str, Tensor]]:
            for at, (part, losses) in enumerate(by_part(objectives, pieces)):
                if at < len(taken):
                    deque(losses, maxlen=0)
                else:
                    taken.append((part, descend(part, losses)))
            return taken

        return self.run(steps, batch)

    def run(self, work: Callable[[list[dict[str, Tensor]]], T], batch: dict[str, Tensor]) -> T:
        """Return ``work`` of a batch's pieces; halve them, and say so, while memory runs out."""
        number = len(batch["image"])
        while True:
            try:
                return work(cut(batch, self.count))
            except torch.OutOfMemoryError:
                if self.count >= number:
                    raise AstromlError(
                        "GPU memory does not hold one cutout and its gradients; use a smaller "
                        "network or --device cpu"
                    ) from None
            # Not in the clause above: there the fault still holds what filled the memory.
            torch.cuda.empty_cache()
            self.count *= 2
            print(
                f"out of GPU memory: going on with batches in {self.count} pieces, of at most "
                f"{-(-number // self.count)} cutouts; their gradients are added up"
            )


def cut(batch: dict[str, Tensor], count: int) -> list[dict[str, Tensor]]:
    """Return at most so many pieces of a batch, alike in size but for the last."""
    if count == 1:
        return [batch]
    number = len(batch["image"])
    size = -(-number // count)
    return [
        {name: values[begin : begin + size] for name, values in batch.items()}
        for begin in range(0, number, size)
    ]


def by_part(
    objectives: Callable, pieces: list[dict[str, Tensor]]
) -> Iterator[tuple[str, Iterator[Tensor]]]:
    """Yield each part of a network with its loss of every piece, weighted to sum to the batch's.

    A loss is made when it is asked for: if it is sent backward at once, memory holds one piece's
    network at a time. All losses of a part are to be taken before the next part.
    """
    number = sum(len(piece["image"]) for piece in pieces)
    weights = [len(piece["image"]) / number for piece in pieces]
    first, *others = (objectives(piece) for piece in pieces)
    for part, loss in first:
        rest = (next(other)[1] * weight for other, weight in zip(others, weights[1:]))
        yield part, chain([loss * weights[0]], rest)
