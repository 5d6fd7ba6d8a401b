"""Nearest neighbours in a learned space: exact where that is quick, an index beyond."""

from __future__ import annotations

import numpy as np

EXACT = 2 * 10**9
"""Distances that are worked out one by one, at most: 45,000 objects with each other, or one with
any number, for which no index pays."""


def whitened(points: np.ndarray) -> np.ndarray:
    """Return points (n, d) with mean 0 and scatter 1 in each dimension, float32.

    A dimension that is the same for all becomes 0: it tells nothing.
    """
    points = np.asarray(points, np.float64)
    if not len(points):
        return points.astype(np.float32)
    scatter = points.std(0)
    usable = scatter > 1e-9 * (1 + np.abs(points.mean(0)))
    return np.where(usable, (points - points.mean(0)) / np.where(usable, scatter, 1), 0).astype(
        np.float32
    )


def nearest(
    points: np.ndarray, wanted: np.ndarray, k: int, exact: int = EXACT
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of some points to each of others.

    Parameters
    ----------
    points : (n, d) array
        What is searched, n at least 1.
    wanted : (m, d) array
        Places whose neighbours are sought.
    k : int
        Neighbours of each, at most n.
    exact : int
        Most distances that are all worked out; beyond, an approximate index is built (NN-descent,
        Dong et al. 2011, by pynndescent), which misses a few in a hundred neighbours.

    Returns
    -------
    index : (m, k) array of int
        Rows of ``points``, the nearest first.
    distance : (m, k) array
        Euclidean.
    """
    k = min(k, len(points))
    if len(points) * len(wanted) <= exact:
        from sklearn.neighbors import NearestNeighbors

        distance, index = (
            NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors(wanted)
        )
        return index, distance
    from pynndescent import NNDescent

    # One thread: with more of them the result would depend on their race.
    found = NNDescent(points, n_neighbors=max(k, 30), random_state=1, n_jobs=1)
    return found.query(wanted, k=k, epsilon=0.2)
