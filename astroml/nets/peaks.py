"""Heat maps of centres: what they are taught, and the peaks that are found in them.

A cell is a pixel of the heat map, ``stride`` pixels of the image along each side; cell 0 begins
where the image does. Places in the image are pixels, 0 at the centre of the first.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, max_pool2d

NOWHERE = -20.0
"""Logit of a peak that is none."""

ALPHA, BETA = 2, 4
"""Exponents of the focal loss (Law & Deng 2018, eq. 1)."""


class Centres(NamedTuple):
    """Labelled places, as many slots for each image."""

    place: Tensor
    """(n, slot, 2): pixel x and y; 0 where there is none."""
    there: Tensor
    """(n, slot) bool."""


class Peaks(NamedTuple):
    """The highest local maxima of heat maps, highest first."""

    logit: Tensor
    """(n, k); ``NOWHERE`` where there are no more."""
    cell: Tensor
    """(n, k) int64: which cell, row by row; 0 where there are no more."""


def centres_of(truth: Tensor, slots: int) -> Centres:
    """Return where the codes 1 to ``slots`` of a plane (n, y, x) are; of several pixels the last.

    Parameters
    ----------
    truth : (n, y, x) tensor of uint8
        1 + k at the centre of object k.
    slots : int
        Objects per image at most; further codes are refused.
    """
    row, y, x = truth.nonzero(as_tuple=True)
    slot = truth[row, y, x].long() - 1
    if bool((slot >= slots).any()):
        raise ValueError(f"a plane of centres has code {int(slot.max()) + 1}, at most {slots}")
    place = torch.zeros((len(truth), slots, 2), device=truth.device)
    there = torch.zeros((len(truth), slots), dtype=torch.bool, device=truth.device)
    place[row, slot] = torch.stack([x, y], 1).to(place.dtype)
    there[row, slot] = True
    return Centres(place, there)


def in_cells(place: Tensor, stride: int) -> Tensor:
    """Return places (..., 2) in pixels as places in cells, whose centres are whole numbers."""
    return (place + 0.5) / stride - 0.5


def in_pixels(place: Tensor, stride: int) -> Tensor:
    """Return places (..., 2) in cells as places in pixels."""
    return (place + 0.5) * stride - 0.5


def splat(centres: Centres, stride: int, shape: tuple[int, int], sigma: float) -> Tensor:
    """Return heat maps (n, y, x): 1 in the cells of centres, a Gaussian around (Zhou et al. 2019).

    Where two meet, the higher counts.

    Parameters
    ----------
    centres : Centres
        In pixels of the image.
    stride : int
        Pixels along a cell.
    shape : tuple of int
        Cells along y and x.
    sigma : float
        Width of the Gaussian, cells.
    """
    middle = in_cells(centres.place, stride).round()
    x, y = (
        torch.exp(-0.5 * ((torch.arange(side, device=middle.device) - at) / sigma).square())
        for side, at in zip(shape[::-1], middle[..., None].unbind(2))
    )
    heat = y[..., :, None] * x[..., None, :] * centres.there[..., None, None]
    return heat.amax(1)


def focal_loss(logit: Tensor, heat: Tensor, counts: Tensor) -> Tensor:
    """Return the penalty-reduced focal loss per centre (Law & Deng 2018, eq. 1).

    Parameters
    ----------
    logit, heat : (n, y, x) tensors
        What is said, and what ``splat`` made.
    counts : (n, y, x) tensor of bool
        Cells that count.
    """
    centre = heat == 1
    prob = torch.sigmoid(logit)
    of_centre = (1 - prob) ** ALPHA * logsigmoid(logit)
    of_rest = (1 - heat) ** BETA * prob**ALPHA * logsigmoid(-logit)
    each = torch.where(centre, of_centre, of_rest) * counts
    return -each.sum() / (centre & counts).sum().clamp(min=1)


def find_peaks(logit: Tensor, number: int, reach: int = 2) -> Peaks:
    """Return the highest local maxima.

    Parameters
    ----------
    logit : (n, y, x) tensor
        Heat maps; cells at or below ``NOWHERE`` are never peaks.
    number : int
        Peaks per map.
    reach : int
        A peak is not lower than any cell within so many along each axis.
    """
    highest = max_pool2d(logit[:, None], 2 * reach + 1, 1, reach)[:, 0]
    is_peak = (logit == highest) & (logit > NOWHERE)
    flat = torch.where(is_peak, logit, NOWHERE).flatten(1)
    short = number - flat.shape[1]
    if short > 0:
        flat = torch.nn.functional.pad(flat, (0, short), value=NOWHERE)
    # Stable, so that of equal ones the first comes first on all devices.
    if torch.compiler.is_exporting():  # ONNX has no stable sort
        values, cell = torch.topk(flat, number, dim=1)
    else:
        values, cell = torch.sort(flat, dim=1, descending=True, stable=True)
        values, cell = values[:, :number], cell[:, :number]
    return Peaks(values, torch.where(values > NOWHERE, cell, 0))


def place_of(cell: Tensor, offset: Tensor, stride: int) -> Tensor:
    """Return where peaks are, (n, k, 2) as pixel x and y.

    Parameters
    ----------
    cell : (n, k) tensor of int
        Of ``find_peaks``.
    offset : (n, 2, y, x) tensor
        From the centre of each cell to that of the object, as x and y, cells.
    stride : int
        Pixels along a cell.
    """
    wide = offset.shape[-1]
    whole = torch.stack([cell % wide, cell // wide], 2)
    part = offset.flatten(2).gather(2, cell[:, None].expand(-1, 2, -1)).mT
    return in_pixels(whole + part, stride)
