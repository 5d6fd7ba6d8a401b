"""What leaves a galaxy what it is: the eight turns and mirrorings, and a shift of a pixel or so.

A turn is told by three coins: mirror along y, mirror along x, then swap y and x. What has a
direction turns with the image: ``turn`` sees to that.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

LOBES = 4
"""Half width of the interpolation kernel, px."""

REACH = 8
"""Largest shift, px."""

RIM = LOBES + REACH
"""Pixels added around a cutout before it is shifted."""

COINS = [(bool(at & 1), bool(at & 2), bool(at & 4)) for at in range(8)]
"""The coins of the dihedral group; the first leaves the image as it is."""


def random_view(
    flux: Tensor,
    valid: Tensor,
    shift: float,
    draw: torch.Generator,
    share: tuple[int, int] = (0, 1),
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
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
    share : tuple of int
        Which process this is, of how many: each of them draws the views of the whole batch and
        takes its own, so that an object is seen as one process would see it.

    Returns
    -------
    flux, valid : tensors like the input
    coin : (n, 3) tensor of bool
        How each was turned.
    move : (n, 2) tensor
        How each was shifted before, px.
    """
    rank, world = share
    n = len(flux) * world
    coin = torch.rand((n, 3), generator=draw)[rank::world].to(flux.device) < 0.5
    move = ((torch.rand((n, 2), generator=draw)[rank::world] * 2 - 1) * shift).to(flux.device)
    return *view(flux, valid, coin, move), coin, move


def view_plane(plane: Tensor, coin: Tensor, move: Tensor) -> Tensor:
    """Turn, mirror and shift planes of labels as ``view`` does images.

    Labels are codes, of which there is no mean: each pixel takes the one that is nearest, so that
    an edge is right to half a pixel. What comes from beyond the rim has no label.

    Parameters
    ----------
    plane : (n, y, x) tensor of uint8
        Codes.
    coin, move
        See ``view``.
    """
    if not bool(move.any()):
        return _turned(plane, coin)
    y, x = (
        _matrix(plane.shape[-1], coin[:, axis], move[:, axis], _nearest)[:, 0] for axis in (0, 1)
    )
    turned = y @ pad(plane.to(move.dtype), (RIM,) * 4) @ x.mT
    return torch.where(coin[:, 2, None, None], turned.mT, turned).round().to(plane.dtype)


def turn(values: dict[str, Tensor], coin: Tensor, turns: dict) -> dict[str, Tensor]:
    """Turn what has a direction as the images were turned.

    Parameters
    ----------
    values : dict
        Tensors (n,), of which those that ``turns`` names are turned.
    coin : (n, 3) tensor of bool
        How each image was turned; ``COINS``.
    turns : dict
        Pairs of names by kind. ``vector``: components along x and y. ``spin2``: (a cos 2 phi,
        a sin 2 phi), phi from x towards y, as ellipticity and shear. ``swapped``: of x and y, but
        without sign, as errors.

    Returns
    -------
    dict
        The values, those named replaced. A pair that is not there is left out.
    """
    mirror_y, mirror_x, swap = coin.unbind(-1)
    turned = dict(values)
    for kind, pairs in turns.items():
        for first, second in pairs:
            if first not in values or second not in values:
                continue
            one, two = values[first], values[second]
            if kind == "vector":
                one, two = torch.where(mirror_x, -one, one), torch.where(mirror_y, -two, two)
            if kind == "spin2":
                # A mirroring takes phi to -phi or pi - phi, a swap to pi / 2 - phi.
                two = torch.where(mirror_x ^ mirror_y, -two, two)
                turned[first], turned[second] = torch.where(swap, -one, one), two
            else:
                turned[first] = torch.where(swap, two, one)
                turned[second] = torch.where(swap, one, two)
    return turned


def turn_image(image: Tensor, coin: tuple[bool, bool, bool]) -> Tensor:
    """Turn all images (n, ..., y, x) alike, pixel by pixel."""
    axes = [axis for axis, mirror in zip((-2, -1), coin) if mirror]
    image = image.flip(axes) if axes else image
    return image.mT if coin[2] else image


def _turned(image: Tensor, coin: Tensor) -> Tensor:
    """Turn each image (n, ..., y, x) by its own coins (n, 3); much faster than with a shift."""
    turned = [turn_image(one, tuple(flip)) for one, flip in zip(image, coin.tolist())]
    return torch.stack(turned) if turned else image


def undo(coin: tuple[bool, bool, bool]) -> tuple[bool, bool, bool]:
    """Return the turn that brings a turned image back."""
    mirror_y, mirror_x, swap = coin
    return (mirror_x, mirror_y, swap) if swap else coin


def view(flux: Tensor, valid: Tensor, coin: Tensor, move: Tensor) -> tuple[Tensor, Tensor]:
    """Turn, mirror and shift each cutout as told.

    A shift and a mirroring along an axis are one matrix, so that a view is two products of
    matrices, and a transposition for half of the cutouts. What would come from beyond the rim is
    the rim's own value.

    Parameters
    ----------
    flux, valid : (n, band, y, x) tensors
        See ``random_view``.
    coin : (n, 3) tensor of bool
        Mirror along y, mirror along x, swap y and x: together the dihedral group.
    move : (n, 2) tensor
        Shift along y and x before that, px; at most ``REACH``.
    """
    if not bool(move.any()):
        return _turned(flux, coin), _turned(valid, coin)
    swap = coin[:, 2, None, None, None]

    def apply(image: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
        along_y = _matrix(image.shape[-1], coin[:, 0], move[:, 0], kernel)  # (n, 1, y, y + rim)
        along_x = _matrix(image.shape[-1], coin[:, 1], move[:, 1], kernel)
        image = along_y @ pad(image, (RIM,) * 4, mode="replicate") @ along_x.mT
        return torch.where(swap, image.mT, image)

    moved = apply(flux, _lanczos)
    if bool(valid.all()):
        return moved, valid
    lost = apply((~valid).to(flux.dtype), _triangle)
    # A pixel that took more than a little from a masked one is masked itself.
    return moved, lost < 0.05


def _matrix(size: int, mirror: Tensor, move: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Return (n, 1, size, size + 2 RIM): how each output pixel of an axis is made.

    All rows hold the same kernel, each one pixel further on: they are windows of one long row.
    """
    step = torch.arange(size - 1, -size - 2 * RIM, -1, device=move.device, dtype=move.dtype)
    weight = kernel(step + RIM - move[:, None])  # (n, 2 size - 1 + 2 RIM)
    weight = weight / weight.sum(1, keepdim=True)
    rows = weight.unfold(1, size + 2 * RIM, 1)  # from the last output pixel to the first
    return torch.where(mirror[:, None, None], rows, rows.flip(1))[:, None]


def _lanczos(x: Tensor) -> Tensor:
    """Sharp enough to leave the noise nearly white, short enough not to ring far."""
    return torch.sinc(x) * torch.sinc(x / LOBES) * (x.abs() < LOBES)


def _nearest(x: Tensor) -> Tensor:
    return ((x > -0.5) & (x <= 0.5)).to(x.dtype)


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)
