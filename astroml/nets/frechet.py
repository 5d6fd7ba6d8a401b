"""How far apart two sets of images are, in numbers that a network makes of them."""

from __future__ import annotations

import numpy as np


def frechet_distance(one: np.ndarray, two: np.ndarray) -> float:
    """Return the squared Frechet distance between the normal distributions of two sets.

    Dowson & Landau 1982, eq. 4; of images known by Heusel et al. 2017.

    Parameters
    ----------
    one, two : (n, k), (m, k) arrays
        Rows of numbers, two or more of each.
    """
    one, two = np.asarray(one, float), np.asarray(two, float)
    first, second = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (one, two))
    # The trace of (A B)^1/2 is that of (A^1/2 B A^1/2)^1/2, which is symmetric.
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    both = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    apart = np.square(one.mean(0) - two.mean(0)).sum()
    return float(apart + np.trace(first) + np.trace(second) - 2 * both)
