"""How good the finder is: metrics of labelled rows, each with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from astroml.errors import AstromlError
from astroml.resampling import area, auroc, calibration, curve, resampled, shares
from astroml.tasks.lens.baselines import RIVAL
from astroml.tasks.lens.parameters import LABEL, PARAMETERS

FPR_LEVELS = {
    "1e-1": (0.1, 10),
    "1e-2": (0.01, 100),
    "1e-3": (1e-3, 10_000),
    "1e-4": (1e-4, 100_000),
}
"""False-positive rates at which completeness is stated, and the fewest negatives that allow it."""

TPR10 = (1e-4, 10_000)
"""False-positive rate that ``tpr10`` stays below, 10 in 100,000, and the fewest negatives."""

PREVALENCE = 1e-3
"""Lenses per galaxy among preselected massive galaxies of the sky, for the purity to expect."""

DETECTABLE = (1.2, 20.0)
"""theta_e over the seeing's FWHM, and arc S/N, above which experts find lenses at all."""

OUTLIER = 0.2
"""Relative error of theta_e beyond which it is an outlier."""

_OF_DETECTABLE = (
    " Of detectable lenses: theta_e above 1.2 times the seeing's FWHM and arc S/N above 20, where "
    "the labels tell them, else of all lenses."
)

METRICS = {
    "auroc": (
        "Area under the ROC curve",
        "Chance that a lens scores above a non-lens. High values alone are no evidence: finders at "
        "0.96 can be useless at the false-positive rates the sky demands." + _OF_DETECTABLE,
    ),
    "auroc_all": (
        "Area under the ROC curve, all lenses",
        "The same for all lenses, those among them that are too small or too faint for experts.",
    ),
    "auroc_baseline": (
        "Area under the ROC curve, hand-made features",
        "The same of a gradient-boosting classifier on fluxes, colours, ring excess and asymmetry "
        "of the same cutouts, trained on the train split." + _OF_DETECTABLE,
    ),
    "auroc_baseline_all": (
        "Area under the ROC curve, hand-made features, all lenses",
        "That classifier's for all lenses.",
    ),
    "tpr_at_fpr_1e-3_baseline": (
        "Completeness at a false-positive rate of 1e-3, hand-made features",
        "That classifier's share of detectable lenses above the threshold that this share of "
        "non-lenses passes.",
    ),
    "average_precision": (
        "Average precision",
        "Purity averaged over completeness, at the test set's share of detectable lenses.",
    ),
    "tpr_zero_fp": (
        "Completeness with no false positive",
        "Share of detectable lenses that score above every non-lens of the test set; falls as the "
        "set grows.",
    ),
    "tpr10": (
        "Completeness below ten false positives in 100,000",
        "Highest share of detectable lenses at a threshold that fewer than one in 10,000 "
        "non-lenses pass (TPR10 of the Bologna challenge, Metcalf et al. 2019).",
    ),
    "tpr_at_fpr_*": (
        "Completeness at a false-positive rate of *",
        "Share of detectable lenses above the threshold that this share of non-lenses passes.",
    ),
    "purity_on_sky": (
        "Purity to expect on the sky",
        "Share of true lenses above the threshold of false-positive rate 1e-2, if one in a "
        "thousand galaxies looked at is a detectable lens and the sky looks like the test set.",
    ),
    "completeness": ("Completeness at 0.5", "Share of detectable lenses with lens_prob above 0.5."),
    "ece": (
        "Calibration error",
        "Mean gap between lens_prob and the share of lenses found at it, in ten equal bins. Small "
        "samples have some by chance.",
    ),
    "brier": ("Brier score", "Mean squared difference of lens_prob and truth; 0 is perfect."),
    "fpr_*": ("False positives: *", "Share of this kind of non-lens with lens_prob above 0.5."),
    "theta_e_bias": (
        "theta_e: bias",
        "Median of (measured - true) / true of the Einstein radius, of detectable lenses, found or "
        "not.",
    ),
    "theta_e_scatter": (
        "theta_e: scatter",
        "Half the width of the central 68% of (measured - true) / true.",
    ),
    "theta_e_outliers": (
        "theta_e: outliers",
        "Share of detectable lenses whose theta_e is wrong by more than 20%.",
    ),
}
"""metric (``*`` stands for any text) -> its name for people, and what it means."""

for _name in PARAMETERS:
    METRICS.setdefault(
        f"{_name}_bias", (f"{_name}: bias", "Median of measured - true, of detectable lenses.")
    )
    METRICS.setdefault(
        f"{_name}_scatter",
        (f"{_name}: scatter", "Half the width of the central 68% of measured - true."),
    )
    METRICS[f"{_name}_coverage_68"] = (
        f"{_name}: coverage",
        "Share of detectable lenses whose true value lies within the claimed error; 0.68 is right.",
    )


def score(
    truth: dict[str, np.ndarray], rows: dict[str, np.ndarray], bootstrap: int = 200, seed: int = 1
) -> dict[str, tuple[float, float]]:
    """Measure the finder on labelled rows.

    Parameters
    ----------
    truth : dict
        ``is_lens`` (n,); optionally ``kind``, ``group``, the parameters, ``arc_snr`` and ``seeing``
        (arcsec), each (n,).
    rows : dict
        ``lens_prob`` and ``lens_score`` (n,), in the order of ``truth``; optionally the parameters
        and their errors, and ``lens_prob_gbdt``, see ``baselines``.
    bootstrap : int
        Resamplings, from whose scatter the uncertainty comes: of groups, so that a lens and its
        twin are drawn together.
    seed : int
        Seed of the resamplings.

    Returns
    -------
    dict
        metric -> (value, uncertainty), as ``METRICS`` explains them. The uncertainty is the
        standard deviation over the resamplings; for plain shares at least half the 68% Wilson
        interval, so that 0 of 20 is not "0 +- 0". What is said of detectable lenses is left out
        where there are none.

    Raises
    ------
    AstromlError
        If the labels hold one class only.
    """
    is_lens = truth[LABEL].astype(bool)
    if is_lens.all() or not is_lens.any():
        kind = "lenses" if is_lens.any() else "non-lenses"
        raise AstromlError(
            f"all {len(is_lens)} labelled objects are {kind}; metrics need both, label more"
        )
    measures = _measures(truth, rows, is_lens, detectable(truth))
    return resampled(measures, len(is_lens), truth.get("group"), bootstrap, seed)


def detectable(truth: dict[str, np.ndarray]) -> np.ndarray:
    """Return which lenses (n,) an expert could find; all of them where the labels do not tell."""
    is_lens = truth[LABEL].astype(bool)
    if not {"theta_e", "arc_snr", "seeing"} <= set(truth):
        return is_lens
    resolved = truth["theta_e"] > DETECTABLE[0] * truth["seeing"]
    return is_lens & resolved & (truth["arc_snr"] > DETECTABLE[1])


def _measures(truth: dict, rows: dict, is_lens: np.ndarray, seen: np.ndarray) -> list[Callable]:
    """Return the functions of weights that give the metrics, in the order of ``METRICS``."""
    rank, prob = np.asarray(rows["lens_score"]), np.asarray(rows["lens_prob"], float)
    measures = []
    if seen.any():
        measures.append(_ranking(rank, seen, ~is_lens))
    measures.append(area("auroc_all", rank, is_lens, ~is_lens))
    rival = np.asarray(rows.get(RIVAL, np.nan), float)
    if np.isfinite(rival).all():
        if seen.any():
            measures.append(_of_baseline(_ranking(rival, seen, ~is_lens)))
        measures.append(area("auroc_baseline_all", rival, is_lens, ~is_lens))
    if seen.any():
        measures.append(shares({"completeness": (seen, prob > 0.5)}))
    measures.append(calibration(is_lens, prob))
    if "kind" in truth:
        kinds = np.unique(truth["kind"][~is_lens])
        each = {f"fpr_{name}": (~is_lens & (truth["kind"] == name), prob > 0.5) for name in kinds}
        measures.append(shares(each))
    for name in PARAMETERS:
        if name in truth and name in rows and f"{name}_err" in rows:
            known = seen & np.isfinite(truth[name])
            if known.any():
                measures.append(_parameter(name, truth[name], rows, known))
    return measures


def _ranking(rank: np.ndarray, yes: np.ndarray, no: np.ndarray) -> Callable:
    """Return the metrics that need nothing but the order of the scores."""
    passed, negatives = curve(rank, yes, no), np.count_nonzero(no)
    # A threshold is passed by whole objects: the small number keeps rounding from losing one.
    levels = {
        f"tpr_at_fpr_{name}": level + 1e-12
        for name, (level, fewest) in FPR_LEVELS.items()
        if negatives >= fewest
    }
    if negatives >= TPR10[1]:
        levels = {"tpr10": TPR10[0] - 1e-12} | levels

    def measure(weights: np.ndarray) -> dict:
        true, false = passed(weights)
        if not (true[-1] and false[-1]):
            return {}

        def tpr(level: float) -> float:
            at = np.searchsorted(false, level * false[-1], side="right")
            return true[at - 1] / true[-1] if at else 0.0

        purity = true / np.maximum(true + false, 1e-9)
        found = {
            "auroc": auroc(true, false),
            "average_precision": (np.diff(true, prepend=0) * purity).sum() / true[-1],
            "tpr_zero_fp": tpr(0.0),
        } | {name: tpr(level) for name, level in levels.items()}
        if "tpr_at_fpr_1e-2" in found:
            real = PREVALENCE * found["tpr_at_fpr_1e-2"]
            found["purity_on_sky"] = real / (real + (1 - PREVALENCE) * 0.01)
        return {name: (value, None) for name, value in found.items()}

    return measure


def _of_baseline(measure: Callable) -> Callable:
    """Return those metrics of a ranking that the baseline is told by, under its names."""

    def renamed(weights: np.ndarray) -> dict:
        found = measure(weights)
        told = [name for name in ("auroc", "tpr_at_fpr_1e-3") if name in found]
        return {f"{name}_baseline": found[name] for name in told}

    return renamed


def _parameter(name: str, truth: np.ndarray, rows: dict, known: np.ndarray) -> Callable:
    """Return bias, scatter and coverage of a parameter; relative ones and outliers of theta_e."""
    which = np.flatnonzero(known)
    true = np.asarray(truth, float)[which]
    wrong = np.asarray(rows[name], float)[which] - true
    covered = np.abs(wrong) < np.asarray(rows[f"{name}_err"], float)[which]
    residual = wrong / true if PARAMETERS[name].log else wrong
    order = np.argsort(residual)
    ordered = residual[order]
    cases = {f"{name}_coverage_68": covered}
    if PARAMETERS[name].log:
        cases = {f"{name}_outliers": np.abs(residual) > OUTLIER} | cases

    def measure(weights: np.ndarray) -> dict:
        mine = weights[which]
        total = mine.sum()
        if not total:
            return {}
        above = np.cumsum(mine[order])
        place = (above - 0.5 * mine[order]) / total
        low, middle, high = np.interp([0.1587, 0.5, 0.8413], place, ordered)
        found = {f"{name}_bias": (middle, None), f"{name}_scatter": ((high - low) / 2, None)}
        return found | {key: (mine @ which_ / total, len(which)) for key, which_ in cases.items()}

    return measure
