"""One measure of oddness for all models: how far from the usual, among objects of like flux."""

from __future__ import annotations

import numpy as np

FEWEST = 50
"""Objects in a slice of flux, at least, where there are so many."""

SLICES = 8
"""Slices at most."""

HIGH = 0.8413
"""Quantile that lies one sigma above the median of a normal distribution."""


def fit_slices(score: np.ndarray, flux: np.ndarray) -> dict[str, list[float]]:
    """Measure median and spread of a score in slices of flux with equal numbers of objects.

    Parameters
    ----------
    score, flux : (n,) array
        Of what is mostly usual, such as the validation split.

    Returns
    -------
    dict
        ``flux`` (the slice's median, rising), ``median`` and ``spread`` of the score, each (k,);
        the spread is that above the median, where anomalies lie.
    """
    score, flux = np.asarray(score, float), np.asarray(flux, float)
    known = np.flatnonzero(np.isfinite(score) & np.isfinite(flux))
    if not len(known):
        return {"flux": [0.0], "median": [0.0], "spread": [1.0]}
    order = known[np.argsort(flux[known], kind="stable")]
    parts = np.array_split(order, int(np.clip(len(order) // FEWEST, 1, SLICES)))
    found: dict[str, list[float]] = {"flux": [], "median": [], "spread": []}
    for part in parts:
        middle, high = np.quantile(score[part], [0.5, HIGH])
        found["flux"].append(float(np.median(flux[part])))
        found["median"].append(float(middle))
        found["spread"].append(float(high - middle))
    # A slice of equal scores has no spread; that of the others stands for it.
    usual = max(float(np.median(found["spread"])), 1e-6 * (1 + max(map(abs, found["median"]))))
    found["spread"] = [max(one, 0.1 * usual) for one in found["spread"]]
    return found


def standardised(score: np.ndarray, flux: np.ndarray, fit: dict[str, list[float]]) -> np.ndarray:
    """Return scores (n,) from the median in units of the spread at each object's flux."""
    middle = np.interp(flux, fit["flux"], fit["median"])
    spread = np.interp(flux, fit["flux"], fit["spread"])
    return (np.asarray(score, float) - middle) / spread


def together(scores: np.ndarray) -> np.ndarray:
    """Return one score (n,) of several standardised ones (model, n).

    The root of the mean square, signs kept: what is rare in one way, such as its colours, is odd
    though the models that look at other things find it usual.
    """
    scores = np.asarray(scores, float)
    mean = (scores * np.abs(scores)).mean(0)
    return np.sign(mean) * np.sqrt(np.abs(mean))
