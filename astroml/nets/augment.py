"""What leaves a galaxy what it is: the eight turns and mirrorings, and a shift of a pixel or so."""

from __future__ import annotations

import torch
from torch import Tensor

LOBES = 4
"""Half width of the interpolation kernel, px."""


def random_view(
    flux: Tensor, valid: Tensor, shift: float, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Turn, mirror and shift each cutout at random.

    Parameters
    ----------
    flux : (n, band, y, x) tensor
        Finite pixels; y and x are equal.
    valid : (n, band, y, x) tensor of bool
        Pixels that may be used; it moves with the flux.
    shift : float
        Largest shift along each axis, px.
    draw : torch.Generator
        On the CPU, so that all devices see the same views.

    Returns
    -------
    flux, valid : tensors like the input
    """
    n = len(flux)
    coin = torch.rand((n, 3), generator=draw).to(flux.device) < 0.5
    move = ((torch.rand((n, 2), generator=draw) * 2 - 1) * shift).to(flux.device)
    return view(flux, valid, coin, move)


def view(flux: Tensor, valid: Tensor, coin: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
    """Turn, mirror and shift each cutout as told.

    A mirroring and a shift along an axis are one matrix, so that a view is two products of
    matrices, and a transposition for half of the cutouts.

    Parameters
    ----------
    flux, valid : (n, band, y, x) tensors
        See ``random_view``.
    coin : (n, 3) tensor of bool
        Mirror along y, mirror along x, swap y and x: together the dihedral group.
    move : (n, 2) tensor
        Shift along y and x, px.
    """
    size = flux.shape[-1]
    swap = coin[:, 2, None, None, None]

    def apply(image: Tensor, kernel) -> Tensor:
        along_y = _matrix(size, coin[:, 0], move[:, 0], kernel)[:, None]  # (n, 1, y, y)
        along_x = _matrix(size, coin[:, 1], move[:, 1], kernel)[:, None]  # (n, 1, x, x)
        image = along_y @ image @ along_x.mT
        return torch.where(swap, image.mT, image)

    moved = apply(flux, _lanczos)
    if bool(valid.all()):
        return moved, valid
    lost = apply((~valid).to(flux.dtype), _triangle)
    # A pixel that took more than a little from a masked one is masked itself.
    return moved, lost < 0.05


def _matrix(size: int, mirror: Tensor, move: Tensor, kernel) -> Tensor:
    """Return (n, size, size): how each output pixel along an axis is made from the input ones."""
    pixel = torch.arange(size, device=move.device, dtype=move.dtype)
    origin = torch.where(mirror[:, None], size - 1 - pixel, pixel) - move[:, None]  # (n, out)
    # What would come from beyond the rim comes from the rim; where the kernel reaches beyond it,
    # the part inside takes its share.
    weight = kernel(origin.clamp(0, size - 1)[:, :, None] - pixel)  # (n, out, in)
    return weight / weight.sum(-1, keepdim=True)


def _lanczos(x: Tensor) -> Tensor:
    """Sharp enough to leave the noise nearly white, short enough not to ring far."""
    return torch.sinc(x) * torch.sinc(x / LOBES) * (x.abs() < LOBES)


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)
