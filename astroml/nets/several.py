"""Several processes that train one network, a GPU each: who reads what, and how they agree.

Each process sees its part of every batch, all take the mean of their gradients, and so all hold the
same weights. What one process does alone is done by the first.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterable

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, nn


class Together(DDPStrategy):
    """Lightning's processes, without PyTorch's wrapping of the network.

    The wrapping sees one call forward and one backward per step. Some tasks call parts of their
    network, or let parts take turns; so the loop takes the mean of the gradients itself, see
    ``agree``.
    """

    def setup_module(self, module: nn.Module) -> nn.Module:
        """Leave the network as it is."""
        return module


def hush(fabric: Fabric) -> None:
    """Let all but the first process print nothing, and part from the others at the end."""
    atexit.register(torch.distributed.destroy_process_group)
    if not fabric.is_global_zero:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def parts_of_batches(rows: np.ndarray, size: int, fabric: Fabric) -> tuple[np.ndarray, int]:
    """Return this process's rows of every batch, and how many of a batch are its own.

    All processes get as many: a batch that cannot be shared out evenly, such as the last, is first
    filled up with rows of its own.

    Parameters
    ----------
    rows : (k,) array of int
        Rows of all batches, in order.
    size : int
        Rows per batch.
    fabric : Fabric
        Tells which process this is, of how many.
    """
    world = fabric.world_size
    if world == 1 or not len(rows):
        return rows, size
    batches = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
    whole = [np.resize(batch, -(-len(batch) // world) * world) for batch in batches]
    return np.concatenate([batch[fabric.global_rank :: world] for batch in whole]), -(
        -size // world
    )


def whole_batches(rows: np.ndarray, size: int, fabric: Fabric) -> np.ndarray:
    """Return the rows of this process's batches, each batch as one process would see it."""
    number = np.arange(len(rows)) // size
    return rows[number % fabric.world_size == fabric.global_rank]


def agree(fabric: Fabric, values: Iterable[Tensor]) -> None:
    """Set tensors to their mean over all processes, in one exchange."""
    if fabric.world_size == 1:
        return
    values = list(values)
    mean = fabric.all_reduce(torch.cat([one.flatten() for one in values]))
    for one, part in zip(values, mean.split([one.numel() for one in values])):
        one.copy_(part.view(one.shape))


def add_up(fabric: Fabric, value: float) -> float:
    """Return the sum of a number over all processes."""
    if fabric.world_size == 1:
        return value
    one = torch.tensor(value, dtype=torch.float64, device=fabric.device)
    return float(fabric.all_reduce(one, reduce_op="sum"))
