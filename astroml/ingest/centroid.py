"""How far the light is from where the catalog says."""

from __future__ import annotations

import numpy as np

from astroml.ingest.measure import UNUSABLE

WINDOW = 1.0
"""Sigma, arcsec, of the Gaussian window that follows the light."""

NEAR = 0.4
"""Sigma, arcsec, of the window that then settles on it, with less of what lies around."""

STEPS = 10
"""Times that the window is moved."""


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
    part = np.s_[:, :, first:last, first:last]
    sigma = np.where(sigma > 0, sigma, np.inf).astype(float)
    least = sigma.min(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        weight = np.where(np.isfinite(sigma), (least / sigma) ** 2, 0.0)[:, :, None, None]
    usable = (mask[part] & UNUSABLE) == 0
    light = (np.where(usable, image[part], 0) * weight).sum(axis=1)
    error = (
        np.sqrt((usable * weight).sum(axis=1)) * np.where(np.isfinite(least), least, 0)[..., None]
    )
    axis = np.arange(first, last) - (side - 1) / 2
    found = _follow(light, error, axis, np.array([dx, dy], float), wide)
    near = _follow(light, error, axis, found, max(NEAR / scale, 1.0))
    x, y = np.where(np.isfinite(near), near, found)
    far = ~(np.hypot(x - dx, y - dy) < reach)
    return tuple(np.where(far, np.nan, one).astype(np.float32) for one in (x - dx, y - dy))


def _follow(light, error, axis, begin, wide: float) -> np.ndarray:
    """Return where a window of sigma ``wide``, px, comes to rest, (2, n) px; NaN without light."""
    x, y = begin
    for _ in range(STEPS):
        across = np.exp(-0.5 * ((axis - x[:, None]) / wide) ** 2)
        up = np.exp(-0.5 * ((axis - y[:, None]) / wide) ** 2)
        total = np.einsum("nyx,ny,nx->n", light, up, across)
        noise = np.sqrt(np.einsum("nyx,ny,nx->n", error**2, up**2, across**2))
        bright = total > 5 * noise
        safe = np.where(bright, total, 1)
        # The window holds the light back, by nothing (points) or half (sources as wide as it).
        step_x = np.einsum("nyx,ny,nx->n", light, up, across * (axis - x[:, None])) / safe
        step_y = np.einsum("nyx,ny,nx->n", light, up * (axis - y[:, None]), across) / safe
        x = np.where(bright, x + 4 / 3 * step_x, np.nan)
        y = np.where(bright, y + 4 / 3 * step_y, np.nan)
    return np.array([x, y])
