"""How good the finder of tidal features is: metrics of labelled rows, each with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from astroml.errors import AstromlError
from astroml.resampling import auroc, calibration, curve, resampled, shares
from astroml.tasks.tidal.kinds import CLASSES

LABEL = "is_tidal"
"""Object column with the truth: 1 where a galaxy has a tidal feature, else 0."""

PREVALENCES = (6, 17, 23)
"""Percent of galaxies with features that surveys found: HSC Wide (Kado-Fong et al. 2018), DECaLS
(Hood et al. 2018), and ultra-deep HSC images of GAMA galaxies."""

STATED = 17
"""The prevalence, percent, at which completeness is stated where nothing else is said."""

CONTAMINATIONS = (10, 20)
"""Percent of what is selected that has no feature."""

BRIGHT = 26.5
"""Mean surface brightness in r, mag/arcsec2, of which ``bright`` features are the brighter side."""

SHARP = 26.0
"""The same for masks."""

EDGES = np.arange(24.5, 29.01, 0.5)
"""Bins of surface brightness, mag/arcsec2."""

FEWEST = 10
"""Features without which a bin is not told."""

AGAINST = {"mu_feature": ("mean surface brightness of the feature", "mag/arcsec2, r")}
"""Labels that completeness is drawn against, where a store has them: name and unit."""

AXES = {"mu": "surface brightness of the feature, mag/arcsec2 in r"}
"""What metrics are binned in -> its name for people."""

CAVEAT = (
    "tidal_prob is calibrated at the labelled sample's share of disturbed galaxies, which is above "
    "the sky's. Completeness at a contamination is stated for a sky on which 6, 17 or 23% of "
    "galaxies have features, as surveys of growing depth find; a sky is not like the test set in "
    "what lies in the foreground either. Features fainter than the noise are not found by anyone."
)
"""What a reader of the report must know."""

_BRIGHT = f" Of features brighter than {BRIGHT} mag/arcsec2 in r, where the labels tell it."

METRICS = {
    "auroc": (
        "Area under the ROC curve",
        "Chance that a galaxy with a feature, of any surface brightness, scores above one without.",
    ),
    "auroc_bright": (
        "Area under the ROC curve, bright features",
        "The same." + _BRIGHT,
    ),
    "average_precision": (
        "Average precision",
        f"Purity averaged over completeness, if {STATED}% of the galaxies have features.",
    ),
    **{
        f"completeness_at_{c}pct_contamination": (
            f"Completeness at {c}% contamination, bright features",
            "Largest share of features found by a threshold at which this part of all found has "
            f"none, if {STATED}% of the galaxies have such features: positives and negatives of "
            "the test set are weighted to that." + _BRIGHT,
        )
        for c in CONTAMINATIONS
    },
    **{
        f"completeness_{which}_at_{c}pct_contamination_{p}pct": (
            f"Completeness at {c}% contamination, {words} features, prevalence {p}%",
            "The same at another prevalence" + (", of all features." if which == "all" else "."),
        )
        for which, words in (("bright", "bright"), ("all", "all"))
        for c in CONTAMINATIONS
        for p in PREVALENCES
    },
    **{
        f"completeness_{name}": (
            f"Completeness at 20% contamination: {name}",
            f"By {name}_prob, if {STATED}% of the galaxies have such a feature; every other object "
            "of the test set, with features of other classes or none, counts as contamination."
            + _BRIGHT,
        )
        for name in CLASSES
    },
    "recall": (
        "Recall",
        "Share of features above the threshold of 20% contamination of bright features at a "
        f"prevalence of {STATED}%.",
    ),
    "false_positive_rate": (
        "False positives at that threshold",
        "Share of the objects without a feature above the threshold of recall.",
    ),
    "fpr_*": ("False positives: *", "The same of this kind of object without a feature."),
    "dice": (
        "Dice coefficient of the mask",
        "Twice the pixels that mask and truth share over the sum of both; mean over features "
        f"brighter than {SHARP} mag/arcsec2 in r, found or not.",
    ),
    **{
        f"dice_{name}": (f"Dice coefficient of the mask: {name}", "The same of this class.")
        for name in CLASSES
    },
    "iou": ("Overlap of the mask", "Pixels that mask and truth share over those that either has."),
    "flux_bias": (
        "Flux of the feature: bias",
        "Median of (measured - true) / true. What lies outside the mask is missing." + _BRIGHT,
    ),
    "flux_scatter": (
        "Flux of the feature: scatter",
        "Half the width of the central 68% of (measured - true) / true.",
    ),
    "ece": (
        "Calibration error",
        "Mean gap between tidal_prob and the share of features found at it, in ten equal bins. "
        "Small samples have some by chance.",
    ),
    "brier": ("Brier score", "Mean squared difference of tidal_prob and truth; 0 is perfect."),
}
"""metric (``*`` stands for any text) -> its name for people, and what it means."""


def score(
    truth: dict[str, np.ndarray], rows: dict[str, np.ndarray], bootstrap: int = 200, seed: int = 1
) -> dict[str, tuple[float, float]]:
    """Measure the finder on labelled rows.

    Parameters
    ----------
    truth : dict
        ``is_tidal`` (n,); optionally the classes, ``mu_feature`` (mag/arcsec2), ``feature_flux``
        (nJy), ``kind`` and ``group``, each (n,).
    rows : dict
        The task's columns (n,), in the order of ``truth``; optionally ``dice`` and ``iou``, what
        mask and truth share, NaN where not known.
    bootstrap : int
        Resamplings, from whose scatter the uncertainty comes: of groups, so that a galaxy and its
        twin are drawn together.
    seed : int
        Seed of the resamplings.

    Returns
    -------
    dict
        metric -> (value, uncertainty), as ``METRICS`` explains them.

    Raises
    ------
    AstromlError
        If the labels hold one class only.
    """
    yes = np.asarray(truth[LABEL]).astype(bool)
    if yes.all() or not yes.any():
        kind = "have features" if yes.any() else "have none"
        raise AstromlError(f"all {len(yes)} labelled objects {kind}; metrics need both, label more")
    measures = _measures(truth, rows, yes)
    return resampled(measures, len(yes), truth.get("group"), bootstrap, seed)


def brighter(truth: dict[str, np.ndarray], limit: float) -> np.ndarray:
    """Return which objects (n,) have features brighter than a limit; all where none is told."""
    yes = np.asarray(truth[LABEL]).astype(bool)
    return yes & (truth["mu_feature"] < limit) if "mu_feature" in truth else yes


def _measures(truth: dict, rows: dict, yes: np.ndarray) -> list[Callable]:
    """Return the functions of weights that give the metrics, in the order of ``METRICS``."""
    rank, bright = np.asarray(rows["tidal_score"], float), brighter(truth, BRIGHT)
    measures = [_ranking(rank, yes, ~yes, "auroc", "all")]
    if bright.any():
        measures.append(_ranking(rank, bright, ~yes, "auroc_bright", "bright"))
    for name in CLASSES:
        if name in truth:
            of, known = np.asarray(truth[name]) == 1, np.isfinite(truth[name])
            if (of & bright).any() and (known & ~of).any():
                measures.append(_of_class(name, rows, of & bright, known & ~of))
    cut = threshold(rank, bright if bright.any() else yes, ~yes, STATED, 20)
    measures.append(shares(_cases(truth, yes, rank >= cut)))
    sharp = brighter(truth, SHARP)
    for name in ("dice", "iou"):
        if name in rows and (known := sharp & np.isfinite(rows[name])).any():
            measures.append(_mean(name, np.asarray(rows[name], float), known))
    for kind in [kind for kind in CLASSES if kind in truth and "dice" in rows]:
        known = sharp & np.isfinite(rows["dice"]) & (np.asarray(truth[kind]) == 1)
        if known.any():
            measures.append(_mean(f"dice_{kind}", np.asarray(rows["dice"], float), known))
    if "feature_flux" in truth and "feature_flux" in rows:
        known = bright & (np.asarray(truth["feature_flux"]) > 0)
        if known.any():
            measures.append(_flux(truth["feature_flux"], rows["feature_flux"], known))
    measures.append(calibration(yes, np.asarray(rows["tidal_prob"], float)))
    return measures


def contaminated(true: np.ndarray, false: np.ndarray, prevalence: float) -> np.ndarray:
    """Return which part of all selected has no feature, at each threshold of a ROC curve.

    ``(1 - p) fpr / (p tpr + (1 - p) fpr)``, p the prevalence, whatever the sample's own share is.

    Parameters
    ----------
    true, false : (k,) array
        Weights of positives and negatives above each threshold, the last of all of them.
    prevalence : float
        Percent of galaxies that have features.
    """
    p = prevalence / 100
    right, wrong = p * true / true[-1], (1 - p) * false / false[-1]
    return wrong / np.maximum(right + wrong, 1e-300)


def completeness(true: np.ndarray, false: np.ndarray, prevalence: float, most: float) -> float:
    """Return the largest share of positives above a threshold of at most so much contamination.

    Parameters
    ----------
    true, false, prevalence
        See ``contaminated``.
    most : float
        Contamination, percent.
    """
    allowed = contaminated(true, false, prevalence) <= most / 100 + 1e-9
    return float((true[allowed] / true[-1]).max(initial=0.0))


def threshold(
    rank: np.ndarray, yes: np.ndarray, no: np.ndarray, prevalence: float, most: float
) -> float:
    """Return the lowest score of at most so much contamination; infinite where there is none."""
    true, false = curve(rank, yes, no)(np.ones(len(rank)))
    scores = np.unique(rank[yes | no])[::-1]
    allowed = np.flatnonzero(contaminated(true, false, prevalence) <= most / 100 + 1e-9)
    return float(scores[allowed[-1]]) if len(allowed) else np.inf


def _ranking(rank: np.ndarray, yes: np.ndarray, no: np.ndarray, area: str, which: str) -> Callable:
    """Return the metrics that need nothing but the order of the scores."""
    passed = curve(rank, yes, no)

    def measure(weights: np.ndarray) -> dict:
        true, false = passed(weights)
        if not (true[-1] and false[-1]):
            return {}
        found = {area: auroc(true, false)}
        if which == "all":
            purity = 1 - contaminated(true, false, STATED)
            found["average_precision"] = np.diff(true, prepend=0) @ purity / true[-1]
        for c in CONTAMINATIONS:
            if which == "bright":
                name = f"completeness_at_{c}pct_contamination"
                found[name] = completeness(true, false, STATED, c)
        for c in CONTAMINATIONS:
            for p in PREVALENCES:
                name = f"completeness_{which}_at_{c}pct_contamination_{p}pct"
                found[name] = completeness(true, false, p, c)
        return {name: (value, None) for name, value in found.items()}

    return measure


def _of_class(name: str, rows: dict, yes: np.ndarray, no: np.ndarray) -> Callable:
    passed = curve(np.asarray(rows[f"{name}_prob"], float), yes, no)

    def measure(weights: np.ndarray) -> dict:
        true, false = passed(weights)
        if not (true[-1] and false[-1]):
            return {}
        return {f"completeness_{name}": (completeness(true, false, STATED, 20), None)}

    return measure


def _cases(truth: dict, yes: np.ndarray, found: np.ndarray) -> dict:
    """Return the plain shares: recall, in bins of surface brightness too, and false positives."""
    cases = {"recall": (yes, found)}
    if "mu_feature" in truth:
        for low, high in pairwise(EDGES):
            inside = yes & (truth["mu_feature"] >= low) & (truth["mu_feature"] < high)
            if inside.sum() >= FEWEST:
                cases[f"recall_mu_{low:.1f}_{high:.1f}"] = (inside, found)
    cases["false_positive_rate"] = (~yes, found)
    if "kind" in truth:
        for name in np.unique(truth["kind"][~yes]):
            cases[f"fpr_{name}"] = (~yes & (truth["kind"] == name), found)
    return cases


def _mean(name: str, values: np.ndarray, known: np.ndarray) -> Callable:
    of = np.flatnonzero(known)

    def measure(weights: np.ndarray) -> dict:
        total = weights[of].sum()
        return {name: (weights[of] @ values[of] / total, None)} if total else {}

    return measure


def _flux(true: np.ndarray, measured: np.ndarray, known: np.ndarray) -> Callable:
    """Return median and scatter of the relative error of the flux."""
    of = np.flatnonzero(known)
    wrong = np.asarray(measured, float)[of] / np.asarray(true, float)[of] - 1
    order = np.argsort(wrong)

    def measure(weights: np.ndarray) -> dict:
        mine = weights[of][order]
        if not mine.sum():
            return {}
        place = (np.cumsum(mine) - 0.5 * mine) / mine.sum()
        low, middle, high = np.interp([0.1587, 0.5, 0.8413], place, wrong[order])
        return {"flux_bias": (middle, None), "flux_scatter": ((high - low) / 2, None)}

    return measure
