"""The width of a point spread function, measured from its image."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

FINE_ENOUGH = 4.0
"""Width, px, from which the pixels alone tell it."""

FINE = 8
"""Points per pixel of the finer grid on which the area above half the peak is counted."""


def fwhm(image: np.ndarray) -> float:
    """Measure the full width at half maximum.

    It is the diameter of the circle that has the area in which a smooth surface through the pixels
    exceeds half its peak. Where that is less than four pixels, no surface through the pixels knows
    the peak, and the width is that of an elliptical Moffat profile fitted to them.

    Parameters
    ----------
    image : (y, x) array
        The point spread function on zero background; any normalisation.

    Returns
    -------
    float
        px. NaN if the image holds no peak.
    """
    image = np.nan_to_num(np.asarray(image, float), nan=0.0, posinf=0.0, neginf=0.0)
    if image.ndim != 2 or min(image.shape) < 5 or image.max() <= 0:
        return np.nan
    peak_y, peak_x = np.unravel_index(np.argmax(image), image.shape)
    # A window that surely holds the half-peak contour, with room for the spline.
    reach = int(2 + 1.5 * np.sqrt((image > 0.4 * image.max()).sum()))
    y0, x0 = max(peak_y - reach, 0), max(peak_x - reach, 0)
    window = np.pad(image[y0 : peak_y + reach + 1, x0 : peak_x + reach + 1], 3)
    high, wide = (int(side) for side in window.shape)
    grid = np.mgrid[0 : high - 1 : 1 / FINE, 0 : wide - 1 : 1 / FINE]
    surface = map_coordinates(window, grid, order=5, mode="constant")
    area = _area_above(surface, surface.max() / 2) / FINE**2
    width = float(2 * np.sqrt(area / np.pi))
    return width if width >= FINE_ENOUGH else _moffat_width(window, width)


def _moffat_width(window: np.ndarray, guess: float) -> float:
    """Fit an elliptical Moffat profile; return the geometric mean of its two widths, px."""
    from scipy.optimize import least_squares  # a tenth of a second that few runs need

    y, x = np.indices(window.shape)
    peak = np.unravel_index(np.argmax(window), window.shape)

    def residual(p):
        dx, dy = x - p[1], y - p[2]
        r2 = (dx**2 + dy**2 + p[5] * (dx**2 - dy**2) + 2 * p[6] * dx * dy) * 4 / p[3] ** 2
        beta = 1 + np.exp(p[4])
        profile = (1 + np.maximum(r2, 0) * (2 ** (1 / beta) - 1)) ** -beta
        return (p[0] * profile - window).ravel() / window.max()

    start = [window.max(), peak[1], peak[0], guess, 1.0, 0.0, 0.0]
    high = [np.inf, window.shape[1], window.shape[0], 3 * guess, 3.5, 0.6, 0.6]
    low = [0.0, 0.0, 0.0, 0.2, -2.0, -0.6, -0.6]
    p = least_squares(residual, start, bounds=(low, high), max_nfev=200).x
    squeeze = np.sqrt(1 - p[5] ** 2 - p[6] ** 2)
    return float(p[3] / np.sqrt(squeeze))


def _area_above(surface: np.ndarray, level: float) -> float:
    """Count the cells above a level; those it passes through count by their share."""
    slope = np.hypot(*np.gradient(surface)) + 1e-12 * level
    return float(np.clip(0.5 + (surface - level) / slope, 0, 1)[surface > 0.1 * level].sum())
