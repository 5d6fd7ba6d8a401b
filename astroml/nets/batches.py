"""Batches of a store, read ahead by one thread, and made ready on the device."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from astroml.nets.augment import turn, view_plane
from astroml.nets.normalise import Normalisation, usable
from astroml.store import Store
from astroml.store.layout import PHOTOMETRY, PHOTOMETRY_PER_BAND, PLANES

AHEAD = 3
"""Batches being read while the network works."""

NUMBERS = "fiub"
"""Kinds of arrays that can be sent to a device."""


def read_batches(
    store: Store,
    rows: np.ndarray,
    size: int,
    columns: dict[str, np.ndarray] | None = None,
    planes: tuple[str, ...] = (),
) -> Iterator[dict[str, np.ndarray]]:
    """Read rows in the order given, the next batches in the background.

    Parameters
    ----------
    store : Store
        The store.
    rows : (k,) array of int
        Rows to read.
    size : int
        Cutouts per batch; the last may be smaller.
    columns : dict, optional
        Further columns (len(store), ...), such as targets, of which each batch gets its rows.
    planes : tuple of str
        Planes of labels to read too, of ``PLANES``.

    Yields
    ------
    dict
        ``image``, ``mask`` (n, band, y, x); ``sigma``, ``psf_fwhm``, ``flux``, ``flux_err``,
        ``mw_transmission`` (n, band); ``ebv``, ``r_half`` (n,); ``pixel_scale`` (n,), arcsec; the
        planes (n, y, x); the columns. What was measured of the object is NaN where the store does
        not have it.
    """
    # Small columns are read whole and once: row by row they would cost as much as the pixels.
    span = np.arange(rows.min(), rows.max() + 1) if len(rows) else rows
    small = store.read(span, ("sigma", "psf_fwhm"))
    small["ebv"] = np.asarray(store.objects["ebv"][span], np.float32)
    small |= measured(store, span)
    small["pixel_scale"] = np.full(len(span), store.header.pixel_scale, np.float32)
    columns = columns or {}

    def read(part: np.ndarray) -> dict[str, np.ndarray]:
        batch = store.read(part, ("image", "mask", *planes))
        batch |= {name: values[part - span[0]] for name, values in small.items()}
        return batch | {name: values[part] for name, values in columns.items()}

    parts = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        pending = deque(reader.submit(read, part) for part in parts[:AHEAD])
        for following in [*parts[AHEAD:], *[None] * min(AHEAD, len(parts))]:
            batch = pending.popleft().result()
            if following is not None:
                pending.append(reader.submit(read, following))
            yield batch


def measured(store: Store, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the photometry of some rows of a store, NaN where it has none."""
    objects, nothing = store.objects, np.full(len(rows), np.nan, np.float32)

    def column(name: str) -> np.ndarray:
        return np.asarray(objects[name][rows], np.float32) if name in objects else nothing

    per_band = {
        kind: np.stack([column(f"{kind}_{band}") for band in store.header.bands], axis=1)
        for kind in PHOTOMETRY_PER_BAND
    }
    return per_band | {name: column(name) for name in PHOTOMETRY}


def ahead(batches: Iterator, start: Callable[[], None] | None = None) -> Iterator:
    """Pass batches on, the next one in the making in a background thread.

    Parameters
    ----------
    batches : iterator
        Where they come from; it may be endless.
    start : callable, optional
        Called once in that thread.
    """
    end = object()
    with ThreadPoolExecutor(1, "ahead", initializer=start) as maker:
        coming = maker.submit(next, batches, end)
        while (batch := coming.result()) is not end:
            coming = maker.submit(next, batches, end)
            yield batch


def pinned(fabric: Fabric, batches: Iterator[dict]) -> Iterator[dict]:
    """Pass batches on, for a GPU from memory that it copies by itself, the next one meanwhile."""
    if fabric.device.type != "cuda":
        return batches
    return ahead(map(_pin, batches), partial(torch.cuda.set_device, fabric.device))


def _pin(batch: dict) -> dict:
    return {
        name: torch.from_numpy(values).pin_memory() if values.dtype.kind in NUMBERS else values
        for name, values in batch.items()
    }


def woven(one: Iterator, of_one: int, two: Iterator, of_two: int) -> Iterator:
    """Yield so many of one and of the other, evenly mixed, in a fixed order."""
    total = of_one + of_two
    for at in range(total):
        yield next(two if (at + 1) * of_two // total > at * of_two // total else one)


def to_device(fabric: Fabric, batch: dict) -> dict[str, Tensor]:
    """Return the numbers of a batch as tensors on the device; on a CPU arrays stay as they are.

    What is no number, such as a name, is left out.
    """
    tensors = {
        name: values if isinstance(values, Tensor) else torch.from_numpy(values)
        for name, values in batch.items()
        if isinstance(values, Tensor) or values.dtype.kind in NUMBERS
    }
    if fabric.device.type == "cpu":
        return tensors
    return {name: _sent(values, fabric.device) for name, values in tensors.items()}


def _sent(values: Tensor, device: torch.device) -> Tensor:
    if values.device.type == device.type:
        return values
    return values.to(device, non_blocking=values.is_pinned())


def make_ready(
    batch: dict[str, Tensor], normalisation: Normalisation, augment=None, turns: dict | None = None
) -> dict[str, Tensor]:
    """Turn raw pixels into what a network sees.

    Parameters
    ----------
    batch : dict
        Tensors of ``read_batches``.
    normalisation : Normalisation
        The stretch.
    augment : callable, optional
        ``(flux, valid) -> (flux, valid, coin, move)``, applied to the flux before it is stretched;
        see ``augment.random_view``. Planes of labels turn along.
    turns : dict, optional
        Columns of the batch that turn with the image; see ``augment.turn``.

    Returns
    -------
    dict
        The batch with ``image`` (n, band, y, x) stretched, masked pixels 0, and ``valid`` (n, band,
        y, x) bool in place of ``mask``; ``scale`` (n, band), nJy, that the flux was divided by.
    """
    flux, valid = usable(batch["image"], batch["mask"])
    if augment is not None:
        flux, valid, coin, move = augment(flux, valid)
        batch = turn(batch, coin, turns or {})
        planes = [name for name in PLANES if name in batch]
        batch = batch | {name: view_plane(batch[name], coin, move) for name in planes}
    image = normalisation.stretch(flux).mul_(valid)
    image = image.contiguous(memory_format=torch.channels_last)
    rest = {name: values for name, values in batch.items() if name not in ("image", "mask")}
    scale = torch.tensor(normalisation.scale, dtype=image.dtype, device=image.device)
    return rest | {"image": image, "valid": valid, "scale": scale.expand(image.shape[0], -1)}
