"""Where tiles lie on the sky, and where what is in them lies."""

from __future__ import annotations

import math

import numpy as np

from astroml.sky.conditions import PATCH, stream

STEP = 1.15
"""Smallest distance of neighbouring tiles, in their sides: no two of a population overlap."""

APART, WIDEST = 0.25, 60.0
"""Distance, deg, that gives each tile a sky cell of its own, so that a few tiles too can be split,
and the patch that has no room for it."""


def grid(n: int, side: float, seed: int) -> dict[str, np.ndarray]:
    """Lay tiles out in rows on the sky, so that none overlaps with another."""
    rng = stream(seed, PATCH, 0)
    ra_0, dec_0 = rng.uniform(0, 360), rng.uniform(-30, 30)
    wide = math.ceil(math.sqrt(n))
    row, column = np.divmod(np.arange(n), wide)
    step = max(STEP * side / 3600, min(APART, WIDEST / wide))
    dec = dec_0 + (row - wide / 2) * step
    ra = ra_0 + (column - wide / 2) * step / np.cos(np.radians(dec))
    return {"ra": ra % 360, "dec": dec}


def sky_position(ra, dec, x, y) -> tuple[np.ndarray, np.ndarray]:
    """Return where offsets on tiles lie on the sky, deg.

    The inverse of the tangent-plane projection (Calabretta & Greisen 2002, A&A 395, 1077).

    Parameters
    ----------
    ra, dec : array
        Of the tiles' centres, deg.
    x, y : array
        Offsets, arcsec: x to the right, which is west, and y up, which is north.
    """
    ra, dec, xi, eta = (np.radians(one) for one in (ra, dec, -x / 3600, y / 3600))
    depth = np.cos(dec) - eta * np.sin(dec)
    there = np.arctan2(xi, depth)
    up = np.arctan2(np.sin(dec) + eta * np.cos(dec), np.hypot(xi, depth))
    return np.degrees(ra + there) % 360, np.degrees(up)
