"""How unlike the validation sample an object is, in what the network sees of it."""

from __future__ import annotations

import numpy as np

SHARE = 0.01
"""Share of objects like those of the validation sample that count as unlike."""

FOLDS = 5
"""Parts of the sample, each measured against the others: an object that its own mean and covariance
were taken from looks nearer than it is."""

FARTHEST = 1000.0
"""Largest value told, and that of objects of which nothing finite is known."""


def fit(summary: np.ndarray) -> dict:
    """Fit mean, covariance and unit of the distance.

    Parameters
    ----------
    summary : (n, k) array
        What the network saw of each object; any n.

    Returns
    -------
    dict
        ``mean`` and ``scale`` (k,), ``factor``, the rows of the lower Cholesky factor of the
        inverse covariance of (summary - mean) / scale, and ``unit``, the distance that ``SHARE`` of
        the objects exceed.
    """
    summary = np.asarray(summary, np.float64)
    summary = summary[np.isfinite(summary).all(1)]
    if not len(summary):
        summary = np.zeros((1, summary.shape[1]))
    shape = _shape(summary)
    if len(summary) < 2 * FOLDS:
        distances = _distance(summary, *shape)
    else:
        fold = np.arange(len(summary)) % FOLDS
        distances = np.zeros(len(summary))
        for part in range(FOLDS):
            distances[fold == part] = _distance(
                summary[fold == part], *_shape(summary[fold != part])
            )
    unit = float(np.quantile(distances, 1 - SHARE)) or 1.0  # zero if all objects are the same
    mean, scale, factor = shape
    return {
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "factor": [row[: place + 1].tolist() for place, row in enumerate(factor)],
        "unit": unit,
    }


def measure(summary: np.ndarray, fitted: dict) -> np.ndarray:
    """Return the Mahalanobis distance (n,) of each summary (n, k) over the unit of ``fit``."""
    summary = np.asarray(summary, np.float64)
    size = len(fitted["mean"])
    factor = np.zeros((size, size))
    for place, row in enumerate(fitted["factor"]):
        factor[place, : place + 1] = row
    with np.errstate(invalid="ignore", over="ignore"):
        distance = _distance(summary, np.array(fitted["mean"]), np.array(fitted["scale"]), factor)
        distance /= fitted["unit"]
    return np.minimum(np.nan_to_num(distance, nan=FARTHEST, posinf=FARTHEST), FARTHEST)


def _shape(summary: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, scale and Cholesky factor of the inverse of the shrunk covariance."""
    from sklearn.covariance import ledoit_wolf

    mean, scale = summary.mean(0), summary.std(0)
    scale[scale < 1e-6] = 1.0  # a value that never changes: the network sees numbers of order one
    scaled = (summary - mean) / scale
    covariance, size = np.eye(summary.shape[1]), len(summary)
    if size >= 2 and scaled.any():
        # Shrunk toward a sphere, so that few objects do (Ledoit & Wolf 2004, J. Multivar. Anal. 88)
        covariance = ledoit_wolf(scaled, assume_centered=True)[0]
        # and never quite flat, for what never changed may change one day.
        covariance += 1e-6 * np.eye(len(covariance))
    return mean, scale, np.linalg.cholesky(np.linalg.inv(covariance))


def _distance(
    summary: np.ndarray, mean: np.ndarray, scale: np.ndarray, factor: np.ndarray
) -> np.ndarray:
    return np.linalg.norm(((summary - mean) / scale) @ factor, axis=1)
