"""How far the light is from where the catalog says."""

from __future__ import annotations

import numpy as np

from astroml.ingest.measure import UNUSABLE

WINDOW = 1.0
"""Sigma, arcsec, of the Gaussian window that follows the light."""

NEAR = 0.4
"""Sigma, arcsec, of the window that then settles on it, with less of what lies around."""

STEPS = 10
"""Times that the window is moved at most."""

STILL = 1e-3
"""A step, px, after which the window is at rest."""


def centroid_offset(image, mask, sigma, dx, dy, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Measure the offset of the light near an object's position.

    Bands are added with the weight of their noise; the centroid is windowed (the window moves to
    the light until it stays there), so that neighbours matter little.

    Parameters
    ----------
    image : (n, band, y, x) float32 array
        nJy
    mask : (n, band, y, x) uint8 array
    sigma : (n, band) array
        Noise of one pixel, nJy.
    dx, dy : (n,) array
        Where the object should be, px from the centre.
    scale : float
        Pixel side, arcsec.

    Returns
    -------
    x, y : (n,) float32 array
        px; NaN where no light is significant.
    """
    side, wide = image.shape[-1], max(WINDOW / scale, 1.0)
    reach = int(np.ceil(4 * wide))
    first, last = max((side - 1) // 2 - reach, 0), min(side // 2 + reach + 1, side)
    part = np.s_[:, first:last, first:last]
    sigma = np.where(sigma > 0, sigma, np.inf).astype(float)
    least = sigma.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        weight = np.where(np.isfinite(sigma), (least / sigma) ** 2, 0.0)[:, :, None, None]
    shape = (len(image), last - first, last - first)
    light, variance = np.zeros(shape, np.float32), np.zeros(shape)
    for band in range(image.shape[1]):
        usable = (mask[:, band][part] & UNUSABLE) == 0
        seen, whole = image[:, band][part], usable.all()
        light += (seen if whole else np.where(usable, seen, 0)) * weight[:, band].astype("f4")
        variance += weight[:, band] if whole else usable * weight[:, band]
    light = light.astype(float)
    variance *= np.where(np.isfinite(least), least, 0)[..., None] ** 2
    axis = np.arange(first, last) - (side - 1) / 2
    found = _follow(light, variance, axis, np.array([dx, dy], float), wide)
    near = _follow(light, variance, axis, found, max(NEAR / scale, 1.0))
    x, y = np.where(np.isfinite(near), near, found)
    far = ~(np.hypot(x - dx, y - dy) < reach)
    return tuple(np.where(far, np.nan, one).astype(np.float32) for one in (x - dx, y - dy))


def _follow(light, variance, axis, begin, wide: float) -> np.ndarray:
    """Return where the window comes to rest, (2, n) px; NaN where it loses the light.

    Parameters
    ----------
    light, variance : (n, y, x) array
    axis : (x,) array
        Pixel positions, from the centre.
    begin : (2, n) array
        Where the window starts.
    wide : float
        Its sigma, px.
    """
    found = begin.copy()
    moving = np.flatnonzero(np.isfinite(begin).all(axis=0))
    for _ in range(STEPS):
        away = axis - found[:, moving, None]  # (2, n, x)
        across, up = np.exp(-0.5 * (away / wide) ** 2)
        # Products of a matrix and a vector, object by object: no result depends on its neighbours.
        rows = light[moving] @ np.stack([across, across * away[0]], axis=-1)  # (n, y, 2)
        total = (rows[:, :, 0] * up).sum(axis=1)
        noise = ((variance[moving] @ (across**2)[:, :, None])[:, :, 0] * up**2).sum(axis=1)
        bright = total > 5 * np.sqrt(noise)
        found[:, moving[~bright]] = np.nan
        step = np.array([(rows[:, :, 1] * up).sum(1), (rows[:, :, 0] * up * away[1]).sum(1)])
        # The window holds the light back, by nothing (points) or half (sources as wide as it).
        step = 4 / 3 * step[:, bright] / total[bright]
        moving = moving[bright]
        found[:, moving] += step
        moving = moving[np.hypot(*step) > STILL]
        if not len(moving):
            break
    return found
