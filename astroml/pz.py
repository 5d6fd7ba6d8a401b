"""p(z) as a histogram: its CDF, and what is read off it.

It is constant within each bin, so that its CDF is linear there. The median of one full bin is then
the bin's centre; values taken at left edges would be off by half a bin.
"""

from __future__ import annotations

import numpy as np


def cumulate(mass: np.ndarray) -> np.ndarray:
    """Return the CDF (n, bins + 1) at the edges, from exactly 0 to exactly 1."""
    cdf = np.zeros((len(mass), mass.shape[1] + 1))
    np.cumsum(mass, axis=1, out=cdf[:, 1:])
    return cdf / cdf[:, -1:]


def cdf_at(cdf: np.ndarray, edges: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return each CDF (n, bins + 1) at its redshift z (n,): 0 below the grid, 1 above."""
    low = find_bin(edges, z)
    row = np.arange(len(cdf))
    share = np.clip((z - edges[low]) / (edges[1] - edges[0]), 0, 1)
    return cdf[row, low] + share * (cdf[row, low + 1] - cdf[row, low])


def find_bin(edges: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the bin (n,) of each redshift, the first or last where it lies beyond the grid."""
    return np.clip(np.searchsorted(edges, z, side="right") - 1, 0, len(edges) - 2)


def quantile(cdf: np.ndarray, edges: np.ndarray, level: float) -> np.ndarray:
    """Return the redshift (n,) at which each CDF (n, bins + 1) reaches a level above 0."""
    high = np.argmax(cdf >= level, axis=1)
    row = np.arange(len(cdf))
    below, above = cdf[row, high - 1], cdf[row, high]
    return edges[high - 1] + (level - below) / (above - below) * (edges[high] - edges[high - 1])


def ks_distance(pit: np.ndarray) -> np.ndarray:
    """Return the Kolmogorov-Smirnov distance of values from uniform on 0 to 1, along the last axis.

    Parameters
    ----------
    pit : (..., n) array
        Values; n at least 1.
    """
    pit = np.sort(pit, axis=-1)
    rank = np.arange(pit.shape[-1])
    above, below = (rank + 1) / len(rank) - pit, pit - rank / len(rank)
    return np.maximum(above.max(-1), below.max(-1))
