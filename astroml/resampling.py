"""Metrics with uncertainties: each a function of weights, so that a resampling is other weights.

A measure takes weights (n,), one per object, and returns name -> (value, number that it is a share
of, or None): with ones it is the value, with the counts of a resampling one draw of the bootstrap.
What can be sorted is sorted once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def resampled(
    measures: list[Callable], n: int, group: np.ndarray | None, draws: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Return metric -> (value, uncertainty).

    Parameters
    ----------
    measures : list of callable
        Functions of weights.
    n : int
        Objects.
    group : (n,) array of int, optional
        What is drawn together, such as an object and its twin; -1 is none.
    draws : int
        Resamplings, whose scatter is the uncertainty; of a plain share it is at least half the 68%
        Wilson interval, so that 0 of 20 is not "0 +- 0".
    seed : int
        Seed of the resamplings.
    """
    value, trials = evaluate(measures, np.ones(n))
    unit = units(group, n)
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in value}
    for _ in range(draws):
        counts = np.bincount(rng.integers(0, unit.max() + 1, unit.max() + 1))
        weights = np.pad(counts, (0, unit.max() + 1 - len(counts)))[unit].astype(float)
        for name, one in evaluate(measures, weights)[0].items():
            drawn[name].append(one)
    return {name: (value[name], error(value[name], drawn[name], trials[name])) for name in value}


def units(group: np.ndarray | None, n: int) -> np.ndarray:
    """Return the number (n,) of what each object is resampled with; a group of -1 is none."""
    if group is None or np.asarray(group).dtype.kind not in "iu":
        return np.arange(n)
    own = -1 - np.arange(n)
    return np.unique(np.where(group >= 0, group, own), return_inverse=True)[1]


def evaluate(measures: list, weights: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    """Return the metrics, and of plain shares the number that they are shares of."""
    values, trials = {}, {}
    for measure in measures:
        for name, (value, of) in measure(weights).items():
            values[name], trials[name] = float(value), of
    return values, trials


def curve(rank: np.ndarray, yes: np.ndarray, no: np.ndarray) -> Callable:
    """Return a function of weights: true and false positives above each threshold, falling."""
    which = np.flatnonzero(yes | no)
    order = which[np.argsort(-rank[which], kind="stable")]
    last = np.append(np.flatnonzero(np.diff(rank[order])), len(order) - 1)  # of equal scores
    hit = yes[order]

    def passed(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ordered = weights[order]
        every = np.cumsum(ordered)[last]
        true = np.cumsum(ordered * hit)[last]
        return true, every - true

    return passed


def auroc(true: np.ndarray, false: np.ndarray) -> float:
    """Return the area under the curve by trapezoids: ties count half."""
    true, false = np.append(0, true), np.append(0, false)
    with np.errstate(invalid="ignore"):
        return np.trapezoid(true, false) / (true[-1] * false[-1])


def area(name: str, rank: np.ndarray, yes: np.ndarray, no: np.ndarray) -> Callable:
    """Return the measure of the area under the ROC curve of some against others."""
    passed = curve(rank, yes, no)
    return lambda weights: {name: (auroc(*passed(weights)), None)}


def shares(cases: dict[str, tuple[np.ndarray, np.ndarray]]) -> Callable:
    """Return plain shares: of each case (who counts, who is it) the weighted share."""
    chosen = {}
    for name, (counts, is_it) in cases.items():
        of = np.flatnonzero(counts)
        chosen[name] = of, is_it[of].astype(float)

    def measure(weights: np.ndarray) -> dict:
        found = {}
        for name, (of, is_it) in chosen.items():
            total = weights[of].sum()
            if total:
                found[name] = (weights[of] @ is_it / total, len(of))
        return found

    return measure


def calibration(yes: np.ndarray, prob: np.ndarray) -> Callable:
    """Return the expected calibration error in ten equal bins (Guo et al. 2017, eq. 3); Brier."""
    bins, gap = np.minimum((prob * 10).astype(int), 9), prob - yes

    def measure(weights: np.ndarray) -> dict:
        total = weights.sum()
        gaps = np.abs(np.bincount(bins, weights * gap, minlength=10))
        return {"ece": (gaps.sum() / total, None), "brier": (weights @ gap**2 / total, None)}

    return measure


def error(value: float, draws: list[float], trials: int | None) -> float:
    """Return the uncertainty of a value of which there are resampled ones; see ``resampled``."""
    draws = [drawn for drawn in draws if np.isfinite(drawn)]
    scatter = float(np.std(draws)) if len(draws) > 1 else np.nan
    if trials is None:
        return scatter
    # Half width of the Wilson interval at one sigma (Wilson 1927).
    wilson = np.sqrt(value * (1 - value) / trials + 0.25 / trials**2) / (1 + 1 / trials)
    return float(np.fmax(scatter, wilson))
