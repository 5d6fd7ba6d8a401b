"""What a person finds interesting, learnt from a few labels in the space of an embedding.

A Gaussian process of interest with a Matern and a white kernel, as Astronomaly's Protege has it
(Lochner & Bassett 2021; Lochner & Rudnick 2025), whose mean where nobody looked is the oddness.
"""

from __future__ import annotations

import warnings

import numpy as np

MOST = 5.0
"""Highest interest that a label can state; the lowest is 0."""

SHARE = 0.001
"""Share of objects whose oddness is taken for full: the scale of the mean before any label."""

SPACES = ("embedding", "residual_embedding")
"""Columns of places in which near is alike: of what an object looks like, and of what is left of it
when that is taken away. Interest is learnt in both together, as far as there are both."""

BLOCK = 20_000
"""Objects of which the process is asked at once."""


def expected(oddness: np.ndarray) -> np.ndarray:
    """Return the interest (n,) to expect before any label: half of the most for the oddest.

    It rises with the oddness in a straight line from 0 at the median; what is not known gets 0.
    """
    odd = np.nan_to_num(np.asarray(oddness, float), nan=-np.inf)
    known = np.isfinite(odd)
    if not known.any():
        return np.zeros(len(odd))
    middle, high = np.quantile(odd[known], [0.5, 1 - SHARE])
    return MOST / 2 * np.clip((odd - middle) / max(high - middle, 1e-9), 0, 1)


def learn(
    points: np.ndarray, prior: np.ndarray, labelled: np.ndarray, interest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a Gaussian process to the labels and ask it about every object.

    Parameters
    ----------
    points : (n, d) array
        Embedding of all objects, each dimension of scatter 1.
    prior : (n,) array
        Interest to expect where no label is near.
    labelled : (m,) array of int
        Rows with a label.
    interest : (m,) array
        Their labels, 0 to ``MOST``.

    Returns
    -------
    mean, error : (n,) array
        Interest to expect, and its standard deviation.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    reach = np.sqrt(points.shape[1])
    kernel = ConstantKernel(4.0, (0.1, 100.0)) * Matern(
        reach, (0.1 * reach, 10 * reach), nu=1.5
    ) + WhiteKernel(0.5, (0.05, 5.0))
    process = GaussianProcessRegressor(kernel, random_state=1)
    with warnings.catch_warnings():
        # A few labels often allow any length scale: one at the edge of its range is no fault.
        warnings.simplefilter("ignore", ConvergenceWarning)
        process.fit(points[labelled], interest - prior[labelled])
    parts = [
        process.predict(points[begin : begin + BLOCK], return_std=True)
        for begin in range(0, len(points), BLOCK)
    ]
    mean, error = (np.concatenate(each) for each in zip(*parts))
    return prior + mean, error


def improvement(mean: np.ndarray, error: np.ndarray, best: float) -> np.ndarray:
    """Return the expected improvement (n,) over the best so far (Jones et al. 1998, eq. 15)."""
    from scipy.stats import norm

    gain = mean - best
    error = np.maximum(error, 1e-9)
    return gain * norm.cdf(gain / error) + error * norm.pdf(gain / error)


def simulated(
    points: np.ndarray,
    oddness: np.ndarray,
    truth: np.ndarray,
    labels: int = 50,
    each: int = 10,
) -> tuple[list[np.ndarray], np.ndarray]:
    """Play a person who labels the top of the list, round by round.

    Parameters
    ----------
    points : (n, d) array
        As for ``learn``.
    oddness : (n,) array
        What the list is sorted by at first.
    truth : (n,) array
        Interest that the person would state of each object.
    labels : int
        Labels given in all.
    each : int
        Labels between one list and the next.

    Returns
    -------
    order : list of (n,) array
        Scores that sort the list after 0, ``each``, 2 ``each``, ... labels.
    labelled : (labels,) array of int
        The rows that were labelled, in that order.
    """
    prior = expected(oddness)
    wanted = np.nan_to_num(np.asarray(oddness, float), nan=-np.inf)
    lists, done = [wanted], np.zeros(0, int)
    while len(done) < min(labels, len(points)):
        free = wanted.copy()
        free[done] = -np.inf
        count = min(each, labels - len(done), len(points) - len(done))
        done = np.append(done, np.argsort(-free, kind="stable")[:count])
        mean, error = learn(points, prior, done, truth[done])
        lists.append(mean)
        wanted = improvement(mean, error, float(truth[done].max()))
    return lists, done
