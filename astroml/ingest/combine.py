"""Several files of one band on one grid: exposures, or tiles that meet in the cutout."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_dilation, maximum_filter, minimum_filter

from astroml.ingest.measure import UNUSABLE, sky_noise
from astroml.ingest.resample import Planes
from astroml.store import MASK

STEEP = 1.2
"""A cosmic ray exceeds the others by this share of the flux's change to the next pixel, too: the
wings of a star in better seeing do not."""


def combine(parts: list[Planes], cosmic_sigma: float = 0.0) -> Planes:
    """Average by inverse variance; a pixel that is bad in one file comes from the others.

    Parameters
    ----------
    parts : list of Planes
        In one unit. Where one has no inverse variance, its background noise stands for it.
    cosmic_sigma : float
        Mask what exceeds all other files by so many sigma; 0: nothing.

    Returns
    -------
    Planes
        Masked where every file is, for every reason that one of them has.
    """
    weights = [_weight(part) for part in parts]
    image = np.stack([np.nan_to_num(part.image) for part in parts])
    weight = np.stack(weights)
    mask = np.stack([part.mask for part in parts])
    if cosmic_sigma and len(parts) > 1:
        struck = cosmic_rays(image, weight, cosmic_sigma)
        mask[struck] |= MASK["cosmic"]
        weight[struck] = 0
    total = weight.sum(axis=0)
    usable = total > 0
    mean = (weight * image).sum(axis=0) / np.where(usable, total, 1)
    bits = np.bitwise_or.reduce(mask, axis=0)
    kept = np.bitwise_or.reduce(np.where(weight > 0, mask, 0), axis=0) & MASK["interpolated"]
    given = any(part.ivar is not None for part in parts)
    return Planes(
        mean.astype(np.float32),
        total.astype(np.float32) if given else None,
        np.where(usable, kept, bits | (bits == 0) * MASK["nodata"]).astype(np.uint8),
    )


def cosmic_rays(image: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Find what only one file shows.

    Parameters
    ----------
    image, weight : (file, y, x) array
        Fluxes and their inverse variances, 0 where a file tells nothing.
    sigma : float
        Least excess over the brightest other file, in units of the noise of the difference.

    Returns
    -------
    (file, y, x) bool array
        Struck pixels and those next to them that exceed by half as much.
    """
    struck = np.zeros(image.shape, bool)
    for n in range(len(image)):
        others = np.delete(image, n, axis=0)
        seen = np.delete(weight, n, axis=0)
        rival = np.where(seen > 0, others, -np.inf).max(axis=0)
        least = np.where(seen > 0, seen, np.inf).min(axis=0)
        told = np.isfinite(rival) & (weight[n] > 0)
        flat = np.where(told, rival, 0.0)
        slope = maximum_filter(flat, 3) - minimum_filter(flat, 3)
        noise = np.sqrt(1 / np.where(told, weight[n], 1) + 1 / np.where(told, least, 1))
        excess = np.where(told, image[n] - flat - STEEP * slope, -np.inf) / noise
        core = excess > sigma
        near = binary_dilation(core, np.ones((3, 3), bool), iterations=2)
        struck[n] = core | (near & (excess > sigma / 2))
    return struck


def _usable(part: Planes) -> np.ndarray:
    good = ((part.mask & UNUSABLE) == 0) & np.isfinite(part.image)
    return good if part.ivar is None else good & (part.ivar > 0)


def _weight(part: Planes) -> np.ndarray:
    """Return inverse variances (y, x), 0 in unusable pixels."""
    good = _usable(part)
    if part.ivar is not None:
        return np.where(good, part.ivar, 0.0).astype(float)
    sigma = float(sky_noise(part.image[None], good[None])[0][0])
    return good / sigma**2 if sigma > 0 else good.astype(float)
