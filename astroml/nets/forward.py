"""Network output of a store's rows, in order, the same for every batch size."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from astroml.errors import AstromlError
from astroml.nets.augment import COINS, turn, turn_image, undo
from astroml.nets.batches import make_ready, measured, pinned, read_batches, to_device
from astroml.nets.normalise import Normalisation
from astroml.store import Store

CPU_STEP = 32
"""Cutouts per forward pass on a CPU. Always that many, the last pass filled up: the kernels of a
convolution depend on the shape of their input, and so would the last bits of the result."""


class Forward:
    """Run a trained network over rows of a store.

    Parameters
    ----------
    fabric : Fabric
        Device and precision.
    net : nn.Module
        The network, on the device.
    normalisation : Normalisation
        The stretch it was trained with.
    batch_size : int
        Cutouts read at once, and on a GPU cutouts per forward pass.
    views : int
        1, or 8: the network looks at each cutout in all turns of the dihedral group, its outputs
        are turned back and their mean is taken.
    turns : dict, optional
        Outputs that have a direction; see ``augment.turn``.
    """

    def __init__(
        self,
        fabric: Fabric,
        net: nn.Module,
        normalisation: Normalisation,
        batch_size: int,
        views: int = 1,
        turns: dict | None = None,
    ):
        self.fabric, self.net, self.normalisation = fabric, net.eval(), normalisation
        self.coins, self.turns = COINS[:views], turns or {}
        on_cpu = fabric.device.type == "cpu"
        self.step = CPU_STEP if on_cpu else batch_size
        self.read_size = -(-batch_size // self.step) * self.step

    def over(self, store: Store, rows: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        """Yield the output of each batch of rows, with ``no_data`` (n,) bool beside it.

        Of no rows comes one empty output, so that its names and types are known.
        """
        if not len(rows):
            yield self.of(_nothing(store))
        for batch in pinned(self.fabric, read_batches(store, rows, self.read_size)):
            yield self.of(batch)

    def of(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the output of one batch; halve the step where GPU memory does not suffice."""
        while True:
            try:
                return self._in_steps(batch)
            except torch.OutOfMemoryError:
                if self.step == 1:
                    raise AstromlError(
                        "GPU memory does not hold one cutout; use a smaller network or --device cpu"
                    ) from None
            # Not in the clause above: there the fault still holds what filled the memory.
            torch.cuda.empty_cache()
            self.step //= 2
            print(f"out of GPU memory: going on with {self.step} cutouts per pass")

    @torch.no_grad()
    def _in_steps(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        n = len(batch["image"])
        parts = [self._one_step(batch, begin) for begin in range(0, max(n, 1), self.step)]
        return {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}

    def _one_step(self, batch: dict[str, np.ndarray], begin: int) -> dict[str, np.ndarray]:
        end = begin + self.step
        part = to_device(self.fabric, {name: values[begin:end] for name, values in batch.items()})
        part = {name: _fill(values, self.step) for name, values in part.items()}
        ready = make_ready(part, self.normalisation)
        output = self.mean_of_views(ready)
        output = {name: _to_numpy(values) for name, values in output.items()}
        empty = ~ready["valid"].flatten(1).any(1)
        return output | {"no_data": empty.cpu().numpy()}

    def mean_of_views(self, ready: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's output, the mean over the views."""
        totals: dict[str, Tensor] = {}
        for coin in self.coins:
            seen = {name: turn_image(ready[name], coin) for name in ("image", "valid")}
            seen["image"] = seen["image"].contiguous(memory_format=torch.channels_last)
            with self.fabric.autocast():
                output = self.net(ready | seen)
            back = torch.tensor(undo(coin), device=self.fabric.device)
            for name, values in turn(output, back, self.turns).items():
                values = turn_image(values, undo(coin)) if values.ndim == 4 else values
                totals[name] = totals[name] + values.float() if name in totals else values
        if len(self.coins) == 1:
            return totals
        return {name: values / len(self.coins) for name, values in totals.items()}


def gather(
    parts: Iterable[dict[str, np.ndarray]], without: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Join the outputs of several batches; what is named in ``without`` is not kept."""
    parts = [
        {name: values for name, values in part.items() if name not in without} for part in parts
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _nothing(store: Store) -> dict[str, np.ndarray]:
    """Return a batch of no cutouts."""
    header = store.header
    bands, pixels = len(header.bands), (len(header.bands), header.size, header.size)
    return {
        "image": np.zeros((0, *pixels), np.float32),
        "mask": np.zeros((0, *pixels), np.uint8),
        "sigma": np.zeros((0, bands), np.float32),
        "psf_fwhm": np.zeros((0, bands), np.float32),
        "ebv": np.zeros(0, np.float32),
        "pixel_scale": np.zeros(0, np.float32),
    } | measured(store, np.zeros(0, int))


def _fill(values: Tensor, rows: int) -> Tensor:
    """Append zeros up to a number of rows."""
    missing = rows - len(values)
    if not missing:
        return values
    return torch.cat([values, values.new_zeros((missing, *values.shape[1:]))])


def _to_numpy(values: Tensor) -> np.ndarray:
    return (values.float() if values.is_floating_point() else values).cpu().numpy()
