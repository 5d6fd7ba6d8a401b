"""One measure of oddness for all models: how far from the usual, among objects of like flux."""

from __future__ import annotations

import numpy as np

FEWEST = 50
"""Objects in a slice of flux, at least, where there are so many."""

SLICES = 8
"""Slices at most."""

HIGH = 0.8413
"""Quantile that lies one sigma above the median of a normal distribution."""


INNER, TRIMMED = 0.9, 6
"""Share of a cloud of points that it is measured by, and how often that is chosen anew."""

WEIGHT = {"ae": 1.0, "vae": 1.0, "wgan": 0.1, "pixelcnn": 0.1, "colour": 0.5, "residual": 1.25}
"""Say of each model in the combined score. They were chosen by the labels of one simulated sky kept
for such choices: in it the WGAN and the PixelCNN, small as they are here, found less."""

USUAL = 1.0
"""Spreads above the median that count as usual: artefacts are pushed down to there, out of any list
of candidates, and what is taken for one though it is none is not worse off than most galaxies."""


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


def fit_cloud(points: np.ndarray) -> dict[str, list]:
    """Measure where most of a cloud of points (n, d) lies, without its outer tenth.

    Returns
    -------
    dict
        ``mean`` (d,) and ``whiten`` (d, d): ``(points - mean) @ whiten`` has scatter 1 each way.
    """
    points = np.asarray(points, float)
    points = points[np.isfinite(points).all(1)]
    size, inner = points.shape[1], np.ones(len(points), bool)
    if len(points) < 2 * size + 2:
        return {"mean": [0.0] * size, "whiten": np.eye(size).tolist()}
    for _ in range(TRIMMED + 1):
        mean, cov = points[inner].mean(0), np.atleast_2d(np.cov(points[inner].T))
        cov += (1e-6 * np.trace(cov) / size + 1e-12) * np.eye(size)
        whiten = np.linalg.inv(np.linalg.cholesky(cov)).T
        away = np.square((points - mean) @ whiten).sum(1)
        inner = away <= np.quantile(away, INNER)
    return {"mean": mean.tolist(), "whiten": whiten.tolist()}


def distance(points: np.ndarray, cloud: dict[str, list]) -> np.ndarray:
    """Return how far points (n, d) lie from the cloud: logarithm of Mahalanobis' distance."""
    away = (np.asarray(points, float) - cloud["mean"]) @ np.asarray(cloud["whiten"])
    return np.log(np.square(away).sum(1) + 1e-6)


def together(scores: dict[str, np.ndarray]) -> np.ndarray:
    """Return one score (n,) of several standardised ones: their weighted mean; see ``WEIGHT``."""
    weight = [WEIGHT[name] for name in scores]
    return np.average(list(scores.values()), axis=0, weights=weight)


def without_artefacts(score: np.ndarray, artefact: np.ndarray) -> np.ndarray:
    """Return scores (n,) of which what lies above ``USUAL`` is lessened by the probability."""
    return np.where(score > USUAL, USUAL + (score - USUAL) * (1 - artefact), score)
