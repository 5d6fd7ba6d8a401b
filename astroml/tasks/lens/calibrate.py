"""What the validation split says of a trained network: probabilities, errors, purity."""

from __future__ import annotations

import numpy as np

from astroml.calibration import platt
from astroml.tasks.lens.parameters import ARTEFACT, LABEL, PARAMETERS, sigma_of

FEWEST = 20
"""Lenses with a known parameter below which its errors are left as the network claims them."""

GROUP = 150
"""Lenses in each group of similar claimed errors, at least; they fix a factor to 7%."""

GROUPS = 4
"""Such groups at most."""

POINTS = 64
"""Points of the table of false-positive rates, at most."""


def calibrate(output: dict, targets: dict[str, np.ndarray]) -> dict:
    """Calibrate on the validation split.

    Parameters
    ----------
    output : dict
        Of the network: ``lens_logit``, ``artefact_logit`` and the parameters', each (n,).
    targets : dict
        ``is_lens`` (n,); optionally ``artefact`` and the parameters.

    Returns
    -------
    dict
        For the weights' card. ``slope`` and ``offset`` of the lens logit, ``artefact_slope`` and
        ``artefact_offset`` of the artefacts'; ``sigma``, parameter -> its ``sigma_factors``;
        ``roc``, see ``roc_table``.
    """
    truth = targets[LABEL].astype(float)
    slope, offset = platt(output["lens_logit"], truth)
    facts = {"slope": slope, "offset": offset, "artefact_slope": 1.0, "artefact_offset": 0.0}
    if ARTEFACT in targets:
        spoilt = np.asarray(targets[ARTEFACT], float)
        known = np.isfinite(spoilt)
        if 0 < spoilt[known].sum() < known.sum():
            slope, offset = platt(output["artefact_logit"][known], spoilt[known])
            facts |= {"artefact_slope": slope, "artefact_offset": offset}
    facts["sigma"] = {name: sigma_factors(name, output, targets) for name in PARAMETERS}
    facts["roc"] = roc_table(output["lens_logit"], truth)
    return facts


def sigma_factors(name: str, output: dict, targets: dict[str, np.ndarray]) -> dict[str, list]:
    """Return the factors on a parameter's claimed sigma so that 68% of residuals lie within.

    There is one for lenses of which little is claimed and one for those of which much is, for
    groups of at least ``GROUP`` lenses: a network is rarely wrong about both in the same way.

    Returns
    -------
    dict
        ``claimed``, median sigma of each group, rising, and ``factor``, one each.
    """
    nothing = {"claimed": [1.0], "factor": [1.0]}
    if name not in targets or f"{name}_mean" not in output:
        return nothing
    true = PARAMETERS[name].seen(targets[name])
    known = (targets[LABEL] > 0) & np.isfinite(true)
    if known.sum() < FEWEST:
        return nothing
    sigma = sigma_of(output, name)[known]
    pull = np.abs(true - output[f"{name}_mean"])[known] / sigma
    groups = np.array_split(
        np.argsort(sigma, kind="stable"), max(1, min(GROUPS, len(sigma) // GROUP))
    )
    return {
        "claimed": [float(np.median(sigma[one])) for one in groups],
        "factor": [float(np.quantile(pull[one], 0.6827)) for one in groups],
    }


def calibrated(sigma: np.ndarray, fit: dict[str, list]) -> np.ndarray:
    """Return errors (n,), of claimed ones (n,), with what ``sigma_factors`` returned."""
    return sigma * np.interp(np.log(sigma), np.log(fit["claimed"]), fit["factor"])


def roc_table(logit: np.ndarray, truth: np.ndarray) -> dict[str, list[float]]:
    """Tabulate the ROC curve at the scores of some non-lenses, more of them at the top.

    Returns
    -------
    dict
        ``threshold``, rising, and of all that score at least that high ``tpr`` and ``fpr``, the
        shares of lenses and of non-lenses. ``fpr`` is never below one over their number.
    """
    lenses, others = np.sort(logit[truth == 1]), np.sort(logit[truth == 0])[::-1]
    if not len(lenses) or not len(others):
        return {"threshold": [], "tpr": [], "fpr": []}
    which = np.unique(np.geomspace(1, len(others), POINTS).round().astype(int))[::-1]
    threshold = others[which - 1]
    missed = np.searchsorted(lenses, threshold, side="left") / len(lenses)
    passed = np.searchsorted(others[::-1], threshold, side="left")
    facts = {"threshold": threshold, "tpr": 1 - missed, "fpr": 1 - passed / len(others)}
    return {name: [float(f"{one:.6g}") for one in values] for name, values in facts.items()}


def purity(logit: np.ndarray, roc: dict[str, list[float]], prevalence: float) -> np.ndarray:
    """Return the share of lenses to expect among all that score at least as high, (n,).

    ``p tpr / (p tpr + (1 - p) fpr)`` at the next lower threshold of the table, p the prevalence; it
    never falls with the score, since a higher score is no weaker evidence: where the table runs out
    of non-lenses, the smallest rate that it can measure stands.
    """
    tpr, fpr = np.append(1.0, roc["tpr"]), np.append(1.0, roc["fpr"])
    expected = prevalence * tpr / (prevalence * tpr + (1 - prevalence) * fpr)
    expected = np.maximum.accumulate(expected)
    return expected[np.searchsorted(np.asarray(roc["threshold"], float), logit, side="right")]
