"""One measure of oddness for all models: how far from the usual, among objects of like flux."""

from __future__ import annotations

import numpy as np

FEWEST = 50
"""Objects in a slice of flux, at least, where there are so many."""

SLICES = 8
"""Slices at most."""

HIGH = 0.8413
"""Quantile that lies one sigma above the median of a normal distribution."""


CLOUDS = {"residual": 4, "density": 8}
"""Score -> normal distributions of the mixture that says how rare a place in its embedding is."""

INNER, PASSES = 0.98, 2
"""Share of a cloud of points that it is measured by, and how often that is chosen anew."""

BEGINNINGS = 4
"""Beginnings of a fit, of which the likeliest end is kept."""

NARROWEST = 1e-3
"""Least variance of a normal distribution of a cloud, as a part of the cloud's."""

WEIGHT = {
    "ae": 1.0,
    "vae": 1.0,
    "wgan": 0.1,
    "pixelcnn": 0.1,
    "colour": 1.0,
    "residual": 1.25,
    "density": 2.0,
}
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


def fit_cloud(points: np.ndarray, count: int) -> dict[str, list]:
    """Fit a mixture of normal distributions to a cloud of points (n, d), less its outermost.

    Parameters
    ----------
    points : (n, d) array
        Of what is mostly usual; those that are not finite are left out.
    count : int
        Distributions; fewer, where there are few points.

    Returns
    -------
    dict
        ``centre``, ``width`` (d,) that points are measured in; ``weight`` (k,), ``mean`` (k, d) and
        ``whiten`` (k, d, d) of each distribution: ``(points - mean) @ whiten`` has scatter 1 each
        way; ``usual``, the least of -ln p that is usual.
    """
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    points = np.asarray(points, float)
    points = points[np.isfinite(points).all(1)]
    size = points.shape[1]
    count = min(count, len(points) // (5 * size))
    if count < 1:
        one = {"weight": [1.0], "mean": [[0.0] * size], "whiten": [np.eye(size).tolist()]}
        return {"centre": [0.0] * size, "width": [1.0] * size, "usual": 0.0} | one
    low, centre, high = np.quantile(points, [1 - HIGH, 0.5, HIGH], axis=0)
    width = np.maximum((high - low) / 2, 1e-9)
    points = (points - centre) / width
    inner = points
    # Sums by several threads differ in their last digits from machine to machine.
    with threadpool_limits(1):
        for _ in range(PASSES):
            mixture = GaussianMixture(
                count, reg_covar=NARROWEST, n_init=BEGINNINGS, random_state=1
            ).fit(inner)
            away = -mixture.score_samples(points)
            inner = points[away <= np.quantile(away, INNER)]
    return {
        "centre": centre.tolist(),
        "width": width.tolist(),
        "weight": mixture.weights_.tolist(),
        "mean": mixture.means_.tolist(),
        "whiten": mixture.precisions_cholesky_.tolist(),
        "usual": float(np.quantile(away, 0.001)),
    }


def rarity(points: np.ndarray, cloud: dict[str, list]) -> np.ndarray:
    """Return how rare places (n, d) are in a cloud: ln (1 - ln p), p over that of the commonest."""
    points = (np.asarray(points, float) - cloud["centre"]) / cloud["width"]
    size, log_p = points.shape[1], []
    for weight, mean, whiten in zip(*(cloud[name] for name in ("weight", "mean", "whiten"))):
        whiten = np.asarray(whiten)
        away = np.square((points - mean) @ whiten).sum(1)
        norm = np.log(np.diag(whiten)).sum() - 0.5 * size * np.log(2 * np.pi)
        log_p.append(np.log(weight) + norm - 0.5 * away)
    return np.log1p(np.maximum(-np.logaddexp.reduce(log_p) - cloud["usual"], 0))


def together(scores: dict[str, np.ndarray]) -> np.ndarray:
    """Return one score (n,) of several standardised ones: their weighted mean; see ``WEIGHT``."""
    weight = [WEIGHT[name] for name in scores]
    return np.average(list(scores.values()), axis=0, weights=weight)


def without_artefacts(score: np.ndarray, artefact: np.ndarray) -> np.ndarray:
    """Return scores (n,) of which what lies above ``USUAL`` is lessened by the probability."""
    return np.where(score > USUAL, USUAL + (score - USUAL) * (1 - artefact), score)
