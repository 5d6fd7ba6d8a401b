"""Noise and defects: correlated background, the sources' own photons, bad pixels, trails, edges."""

from __future__ import annotations

import math

import torch

from astroml.store import MASK

BLOCK = 16
"""Objects that share one stream of pixel noise; blocks start at multiples of this."""

CLEAN, COLUMN, COSMIC, EDGE, TRAIL = range(5)
"""Kinds of defect of an object."""


def kernel(correlation: float) -> torch.Tensor:
    """Return the taps of a Gaussian of sigma ``correlation`` px whose squares sum to 1."""
    reach = math.ceil(4 * correlation)
    taps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    taps = torch.exp(-0.5 * (taps / max(correlation, 1e-6)) ** 2)
    return taps / torch.sqrt((taps**2).sum())


def unit_noise(rows, bands: int, size: int, correlation: float, seed: int) -> torch.Tensor:
    """Draw noise of mean 0 and variance 1 per pixel, correlated between neighbours.

    Blocks of ``BLOCK`` rows share a generator seeded by ``(seed, block)``, so that a row's noise
    does not depend on which rows are drawn with it.

    Parameters
    ----------
    rows : sequence of int
        Absolute row numbers.
    bands, size : int
        Bands and side, px.
    correlation : float
        Gaussian sigma of the smoothing, px; the variance is restored.
    seed : int
        Seed.

    Returns
    -------
    (n, band, y, x) tensor
        On the CPU, whatever the device, so that every device gets the same noise.
    """
    taps = kernel(correlation)
    reach = len(taps) // 2
    side = size + 2 * reach
    out = torch.empty(len(rows), bands, size, size)
    rows = torch.as_tensor(rows)
    for block in torch.unique(rows // BLOCK).tolist():
        generator = torch.Generator().manual_seed((seed * 1_000_003 + block) % 2**63)
        white = torch.randn(BLOCK, bands, side, side, generator=generator)
        here = rows // BLOCK == block
        field = white[rows[here] % BLOCK]
        if reach:
            for axis in (2, 3):
                field = sum(
                    tap * field.narrow(axis, at, size) for at, tap in enumerate(taps.tolist())
                )
        out[here] = field
    return out


def noise_level(light, sigma, gain) -> torch.Tensor:
    """Return the standard deviation of each pixel: background and the photons of the sources.

    Parameters
    ----------
    light : (n, band, y, x) tensor
        Expected flux.
    sigma : (n, band) tensor
        Background noise of one pixel, in the unit of ``light``.
    gain : (band,) tensor
        Photoelectrons per unit of flux. Their Poisson noise is taken as Gaussian of the same
        variance: at the counts of sky-limited coadds the two are alike.

    Returns
    -------
    (n, band, y, x) tensor
    """
    photons = light.clamp(min=0) / gain[:, None, None]
    return torch.sqrt(sigma[..., None, None] ** 2 + photons)


def spoil(image, mask, sigma, defect: dict) -> None:
    """Put defects into images and their bits into masks, in place.

    Parameters
    ----------
    image : (n, band, y, x) tensor
        Noisy images.
    mask : (n, band, y, x) uint8 tensor
        Bits of ``store.MASK``.
    sigma : (n, band) tensor
        Background noise of one pixel.
    defect : dict of (n,) numpy arrays
        ``defect`` (kind), and three numbers in [0, 1): ``defect_place``, ``defect_angle`` and
        ``defect_band``. A bad column and a cosmic ray are masked, in one band; an edge is zero and
        masked as without data in all bands; a trail is in one band and in no mask, as in surveys.
    """
    size = image.shape[-1]
    axis = torch.arange(size, device=image.device, dtype=torch.float32)
    for row in (defect["defect"] != CLEAN).nonzero()[0]:
        place, angle = float(defect["defect_place"][row]), float(defect["defect_angle"][row])
        band = int(defect["defect_band"][row] * image.shape[1])
        kind, level = defect["defect"][row], sigma[row, band]
        if kind == COLUMN:
            column = int(place * size)
            image[row, band, :, column] += (40 * angle - 10) * level
            mask[row, band, :, column] |= MASK["bad"]
        elif kind == EDGE:
            wide, side = 1 + int(0.25 * place * size), int(angle * 4)
            begin = 0 if side < 2 else size - wide
            image[row].narrow(1 + side % 2, begin, wide).zero_()
            mask[row].narrow(1 + side % 2, begin, wide).bitwise_or_(MASK["nodata"])
        else:
            across, along = _line(axis, place, angle)
            if kind == TRAIL:
                image[row, band] += (4 + 16 * angle) * level * torch.exp(-0.5 * (across / 1.8) ** 2)
            else:
                hit = (across.abs() < 0.8) & (along.abs() < 2 + 6 * place)
                image[row, band] += torch.where(hit, 60 * level, 0.0)
                mask[row, band][hit] |= MASK["cosmic"]


def _line(axis, place: float, angle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return distances across and along a straight line through the image, px, each (y, x)."""
    turn, middle = math.pi * angle, (len(axis) - 1) / 2
    x, y = axis[None, :] - middle, axis[:, None] - middle
    across = math.cos(turn) * y - math.sin(turn) * x - (place - 0.5) * len(axis)
    along = math.cos(turn) * x + math.sin(turn) * y - (angle - 0.5) * len(axis)
    return across, along
