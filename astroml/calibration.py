"""Probabilities from logits: fitted on a validation split, applied anywhere."""

from __future__ import annotations

import numpy as np


def platt(logit: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Fit slope and offset of a logit (Platt 1999).

    Parameters
    ----------
    logit, truth : (n,) array
        Truth is 0 or 1.
    """
    from scipy.optimize import minimize

    logit = np.asarray(logit, float)
    # Platt's own smoothing of the targets keeps the fit finite when the classes do not overlap.
    ones, zeros = truth.sum(), (1 - truth).sum()
    soft = np.where(truth == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def loss(terms):
        z = terms[0] * logit + terms[1]
        return np.mean(np.logaddexp(0, z) - soft * z)

    slope, offset = minimize(loss, x0=[1.0, 0.0], method="BFGS").x
    return float(slope), float(offset)


def probability(logit: np.ndarray, slope: float, offset: float) -> np.ndarray:
    """Return the calibrated probability (n,), without overflow."""
    return 1 / (1 + np.exp(-np.clip(slope * np.asarray(logit, float) + offset, -60, 60)))
