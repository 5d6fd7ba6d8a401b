"""p(z) of a cluster in equal bins: what is read off it, and how wide it must be."""

from __future__ import annotations

import numpy as np

from astroml.pz import cdf_at, cumulate, quantile

HALF = 0.34
"""Probability on each side of the median, of the interval that an error spans."""

COVERED = 2 * HALF

TEMPERATURES = np.geomspace(0.1, 10, 161)
"""Temperatures that are tried."""

FEWEST = 20
"""Clusters without which no width is fitted."""


def bin_edges(z_range: tuple[float, float], bins: int) -> np.ndarray:
    """Return the edges (bins + 1,) of equal bins."""
    return np.linspace(*z_range, bins + 1)


def as_mass(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return the probability of each bin (n, bins): the softmax at a temperature, >1 widens it."""
    logits = np.asarray(logits, float) / temperature
    power = np.exp(logits - logits.max(-1, keepdims=True, initial=-np.inf))
    return power / power.sum(-1, keepdims=True)


def describe(mass: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the median (n,) and half the width of the central 68% (n,)."""
    cdf = cumulate(mass)
    low, middle, high = (quantile(cdf, edges, 0.5 + shift) for shift in (-HALF, 0, HALF))
    return middle, (high - low) / 2


def pit(density: np.ndarray, first: np.ndarray, step: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the CDF of each p(z) at a redshift, (n,).

    Parameters
    ----------
    density : (n, bins) array
        Per unit redshift, at the centres ``first + k step``.
    first, step, z : (n,) array
    """
    # One grid for all: with its first bin at 0 and steps of 1, each redshift has its own place.
    mass = np.asarray(density, float) * step[:, None]
    edges = np.arange(mass.shape[1] + 1) - 0.5
    return cdf_at(cumulate(mass), edges, (z - first) / step)


def fit_temperature(logits: np.ndarray, z: np.ndarray, edges: np.ndarray) -> float:
    """Return the temperature at which z lies within the error of 68% of the clusters.

    Parameters
    ----------
    logits : (n, bins) array
        Of the bins.
    z : (n,) array
        The truth.
    edges : (bins + 1,) array
    """
    if len(z) < FEWEST:
        return 1.0
    shares = []
    for temperature in TEMPERATURES:
        middle, error = describe(as_mass(logits, temperature), edges)
        shares.append(np.mean(np.abs(z - middle) <= error))
    # The share rises with the temperature, but for the steps of a finite sample.
    rising = np.maximum.accumulate(shares)
    enough = np.flatnonzero(rising >= COVERED)
    falling = np.flatnonzero(np.array(shares) <= COVERED)
    if not len(enough):
        return float(TEMPERATURES[-1])
    last = falling[-1] if len(falling) else enough[0]
    return float(np.sqrt(TEMPERATURES[enough[0]] * TEMPERATURES[max(last, enough[0])]))
