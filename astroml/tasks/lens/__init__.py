"""Strong gravitational lenses: is this galaxy a lens."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from astroml.config import Strict, TaskOptions, TrainOptions
from astroml.errors import AstromlError
from astroml.tasks import Column

SET = "galaxy"
"""The cutout set that the task looks at."""

LABEL = "is_lens"
"""Object column with the truth: 1 for a lens, 0 for anything else."""

NEGATIVES = ("twin", "elliptical", "spiral", "ring", "companion", "merger", "group", "edge_on")
"""Kinds of non-lenses: a twin is a lens galaxy without its arc, seed for seed."""


class Options(TaskOptions):
    """The lens finder."""

    width: int = Field(24, ge=4, description="Channels of the first stage; doubled at each next.")
    blocks: int = Field(1, ge=1, description="Residual blocks per stage.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout before the last layer.")
    train: TrainOptions = Field(TrainOptions(), description="The training loop.")


class Sky(Strict):
    """The simulated sky of the lens finder."""

    objects: int = Field(6000, ge=1, description="Objects drawn: lenses and negatives.")
    lens_fraction: float = Field(0.4, ge=0, le=1, description="Fraction that are lenses.")
    theta_e: tuple[float, float] = Field((0.5, 3.0), description="Range of theta_e, arcsec.")
    theta_e_law: str = Field(
        "flat", pattern="^(flat|sky)$", description="Flat (to train) or as on the sky (to test)."
    )
    negatives: dict[str, float] = Field(
        {
            "twin": 3.0,
            "elliptical": 1.0,
            "spiral": 1.5,
            "ring": 0.5,
            "companion": 1.5,
            "merger": 1.0,
            "group": 1.0,
            "edge_on": 0.5,
        },
        description="Relative numbers of the kinds of negatives.",
    )


COLUMNS = (
    Column(
        "lens_prob",
        "float32",
        "",
        "stat.probability",
        "Probability of being a strong lens, calibrated on the validation split at its share of "
        "lenses (not at the sky's)",
    ),
    Column("lens_score", "float32", "", "stat.value", "Network output before calibration, logit"),
)


def targets(objects: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read the labels from a store's object table.

    Parameters
    ----------
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    targets : dict
        ``is_lens`` (n,) float32; NaN where a label is missing.
    labelled : (n,) array of bool
        Rows that were given a label: all of them if the column is there, unless a text column
        ``labels`` names the tasks a row has labels for.
    """
    rows = len(objects["object_id"])
    if LABEL not in objects:
        return {LABEL: np.full(rows, np.nan, np.float32)}, np.zeros(rows, bool)
    labelled = np.ones(rows, bool)
    if "labels" in objects:
        labelled = np.array(["lens" in str(value).split() for value in objects["labels"]], bool)
    return {LABEL: objects[LABEL].astype(np.float32)}, labelled


def check(targets: dict[str, np.ndarray], split: str, options: Options | None = None) -> None:
    """Refuse the labelled rows of a split if nothing can be learnt or measured on them.

    Parameters
    ----------
    targets : dict
        ``is_lens`` (n,) of the split's labelled rows.
    split : str
        ``train`` or ``val``.
    options : Options, optional
        Not needed here.
    """
    values = targets[LABEL]
    if odd := int((~np.isin(values, (0, 1))).sum()):
        raise AstromlError(
            f"column {LABEL}: {odd} of {len(values)} labelled rows in split {split} are neither 0 "
            "nor 1; mend them, or leave them out with the column labels"
        )
    if (values == values[0]).all():
        raise AstromlError(
            f"column {LABEL}: all {len(values)} labelled rows in split {split} are "
            f"{values[0]:.0f}; add lenses and non-lenses, or use smaller sky cells (splits: nside)"
        )


def calibrate(output: dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> dict[str, float]:
    """Fit slope and offset of the logit on the validation split (Platt 1999).

    Parameters
    ----------
    output : dict
        ``lens_logit`` (n,) of the network.
    targets : dict
        ``is_lens`` (n,).

    Returns
    -------
    dict
        ``slope`` and ``offset``, for the weights' card.
    """
    from scipy.optimize import minimize

    logit, truth = output["lens_logit"].astype(float), targets[LABEL].astype(float)
    # Platt's own smoothing of the targets keeps the fit finite when the classes do not overlap.
    ones, zeros = truth.sum(), (1 - truth).sum()
    soft = np.where(truth == 1, (ones + 1) / (ones + 2), 1 / (zeros + 2))

    def loss(terms):
        z = terms[0] * logit + terms[1]
        return np.mean(np.logaddexp(0, z) - soft * z)

    slope, offset = minimize(loss, x0=[1.0, 0.0], method="BFGS").x
    return {"slope": float(slope), "offset": float(offset)}


def rows(output: dict, objects: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn network output into catalog rows, one per cutout.

    Parameters
    ----------
    output : dict
        ``lens_logit`` (n,), and ``calibration`` as ``calibrate`` returned it.
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    dict
        ``object_id`` and the columns of ``COLUMNS``, each (n,).
    """
    logit = np.asarray(output["lens_logit"], float)
    fit = output["calibration"]
    prob = 1 / (1 + np.exp(-np.clip(fit["slope"] * logit + fit["offset"], -60, 60)))
    return {
        "object_id": objects["object_id"],
        "lens_prob": prob.astype(np.float32),
        "lens_score": logit.astype(np.float32),
    }


FPR_LEVELS = {
    "1e-1": (0.1, 10),
    "1e-2": (0.01, 100),
    "1e-3": (1e-3, 10_000),
    "1e-4": (1e-4, 100_000),
}
"""False-positive rates at which completeness is stated, and the fewest negatives that allow it."""

AGAINST = {
    "theta_e": ("Einstein radius", "arcsec"),
    "arc_snr": ("arc S/N", ""),
}
"""Labels that completeness is drawn against, where a store has them: name and unit."""

CAVEAT = (
    "lens_prob is calibrated at the labelled sample's share of lenses, which is hundreds of times "
    "that of the sky: there, most objects above any threshold are not lenses. The table of metrics "
    "states the purity to expect, where the test set is large enough to know it."
)
"""What a reader of the report must know."""

PREVALENCE = 1e-3
"""Lenses per galaxy among preselected massive galaxies of the sky, for the purity to expect."""

METRICS = {
    "auroc": (
        "Area under the ROC curve",
        "Chance that a lens scores above a non-lens. High values alone are no evidence: finders at "
        "0.96 can be useless at the false-positive rates the sky demands.",
    ),
    "average_precision": (
        "Average precision",
        "Purity averaged over completeness, at the test set's share of lenses.",
    ),
    "tpr_zero_fp": (
        "Completeness with no false positive",
        "Share of lenses that score above every non-lens of the test set; falls as the set grows.",
    ),
    "tpr_at_fpr_*": (
        "Completeness at a false-positive rate of *",
        "Share of lenses above the threshold that this share of non-lenses passes.",
    ),
    "purity_on_sky": (
        "Purity to expect on the sky",
        "Share of true lenses above the threshold of false-positive rate 1e-2, if one in a "
        "thousand galaxies looked at is a lens and the sky looks like the test set.",
    ),
    "completeness": ("Completeness at 0.5", "Share of lenses with lens_prob above 0.5."),
    "ece": (
        "Calibration error",
        "Mean gap between lens_prob and the share of lenses found at it, in ten equal bins. Small "
        "samples have some by chance.",
    ),
    "brier": ("Brier score", "Mean squared difference of lens_prob and truth; 0 is perfect."),
    "fpr_*": ("False positives: *", "Share of this kind of non-lens with lens_prob above 0.5."),
}
"""metric (``*`` stands for any text) -> its name for people, and what it means."""


def score(
    truth: dict[str, np.ndarray], rows: dict[str, np.ndarray], bootstrap: int = 200, seed: int = 1
) -> dict[str, tuple[float, float]]:
    """Measure the finder on labelled rows.

    Parameters
    ----------
    truth : dict
        ``is_lens`` (n,), optionally ``kind`` (n,).
    rows : dict
        ``lens_prob`` and ``lens_score`` (n,), in the order of ``truth``.
    bootstrap : int
        Resamplings of the rows, from whose scatter the uncertainty comes.
    seed : int
        Seed of the resamplings.

    Returns
    -------
    dict
        metric -> (value, uncertainty), as ``METRICS`` explains them. The uncertainty is the
        standard deviation over the resamplings; for plain shares (``completeness``,
        ``fpr_<kind>``) at least half the 68% Wilson interval, so that 0 of 20 is not "0 +- 0".

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
    values = _metrics(is_lens, rows, truth.get("kind"))
    rng = np.random.default_rng(seed)
    draws: dict[str, list] = {name: [] for name in values}
    for _ in range(bootstrap):
        pick = rng.integers(0, len(is_lens), len(is_lens))
        if is_lens[pick].all() or not is_lens[pick].any():
            continue
        kind = truth["kind"][pick] if "kind" in truth else None
        sample = {name: np.asarray(rows[name])[pick] for name in ("lens_prob", "lens_score")}
        for name, value in _metrics(is_lens[pick], sample, kind).items():
            draws.setdefault(name, []).append(value)
    trials = _trials(is_lens, truth.get("kind"))
    return {
        name: (value, _error(value, draws[name], trials.get(name)))
        for name, value in values.items()
    }


def _trials(is_lens: np.ndarray, kind: np.ndarray | None) -> dict[str, int]:
    """Return the number of objects behind each plain share."""
    trials = {"completeness": int(is_lens.sum())}
    if kind is not None:
        names, counts = np.unique(kind[~is_lens], return_counts=True)
        trials |= {f"fpr_{name}": int(count) for name, count in zip(names, counts)}
    return trials


def _error(value: float, draws: list[float], trials: int | None) -> float:
    scatter = float(np.std(draws)) if len(draws) > 1 else np.nan
    if trials is None:
        return scatter
    # Half width of the Wilson interval at one sigma (Wilson 1927).
    wilson = np.sqrt(value * (1 - value) / trials + 0.25 / trials**2) / (1 + 1 / trials)
    return float(np.fmax(scatter, wilson))


def _metrics(is_lens: np.ndarray, rows: dict, kind: np.ndarray | None) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    rank, prob = rows["lens_score"], np.asarray(rows["lens_prob"], float)
    fpr, tpr, _ = roc_curve(is_lens, rank, drop_intermediate=False)
    values = {
        "auroc": roc_auc_score(is_lens, rank),
        "average_precision": average_precision_score(is_lens, rank),
        "tpr_zero_fp": tpr[fpr == 0].max(),
    }
    negatives = np.count_nonzero(~is_lens)
    for name, (level, fewest) in FPR_LEVELS.items():
        if negatives >= fewest:
            values[f"tpr_at_fpr_{name}"] = tpr[fpr <= level].max()
    if "tpr_at_fpr_1e-2" in values:
        true = PREVALENCE * values["tpr_at_fpr_1e-2"]
        values["purity_on_sky"] = true / (true + (1 - PREVALENCE) * 0.01)
    values["completeness"] = (prob[is_lens] > 0.5).mean()
    values["ece"] = _calibration_error(is_lens, prob)
    values["brier"] = np.mean((prob - is_lens) ** 2)
    if kind is not None:
        for name in np.unique(kind[~is_lens]):
            values[f"fpr_{name}"] = (prob[~is_lens & (kind == name)] > 0.5).mean()
    return {name: float(value) for name, value in values.items()}


def _calibration_error(is_lens: np.ndarray, prob: np.ndarray) -> float:
    """Return the expected calibration error in ten equal bins (Guo et al. 2017, eq. 3)."""
    bins = np.minimum((prob * 10).astype(int), 9)
    total = np.bincount(bins, minlength=10)
    gap = np.abs(np.bincount(bins, prob - is_lens, minlength=10))
    return gap.sum() / total.sum()
