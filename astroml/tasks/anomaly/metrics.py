"""How good the search is: metrics of labelled rows, each with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from astroml.interest import MOST, SPACES, simulated
from astroml.neighbours import whitened
from astroml.resampling import area, curve, resampled
from astroml.tasks.anomaly.columns import NAMES
from astroml.tasks.anomaly.outliers import outlier_scores

TOP = (50, 100)
"""Lengths of the top of the list that are looked at, beside one percent."""

PERCENT = 0.01

LABELS = (50, 10)
"""Labels that a person is taken to give, and how many between one list and the next."""

ENOUGH = (500, 5)
"""Objects, and interesting ones among them, without which no labelling is played."""

_AGAINST = " Interesting objects against ordinary galaxies; artefacts are in neither."

METRICS = {
    "auroc": (
        "Area under the ROC curve",
        "Chance that an interesting object scores above an ordinary galaxy, by the combined score."
        + _AGAINST,
    ),
    "auroc_baseline": (
        "Area under the ROC curve, PCA + isolation forest",
        "The same by an isolation forest on principal components of the pixels.",
    ),
    "auroc_artefact": (
        "Area under the ROC curve, artefact head",
        "Chance that an artefact has a higher artefact_prob than an ordinary galaxy.",
    ),
    "auroc_of_*": (
        "Area under the ROC curve: *",
        "The same of this kind alone, by the combined score.",
    ),
    "auroc_*": ("Area under the ROC curve, *", "The same by one model or method alone."),
    "average_precision": (
        "Average precision",
        "Share of interesting objects above a score, averaged over those found; of all objects, "
        "artefacts too, at the test set's shares.",
    ),
    "average_precision_*": ("Average precision, *", "The same by one model or method alone."),
    "precision_top_*": (
        "Precision in the top *",
        "Share of interesting objects among so many that score highest, artefacts pushed down.",
    ),
    "precision_top1pct": (
        "Precision in the top 1%",
        "Share of interesting objects among the one percent that score highest.",
    ),
    "precision_top1pct_*": (
        "Precision in the top 1%, *",
        "The same by one model or method alone; artefacts are not pushed down there.",
    ),
    "recall_top_*": ("Recall in the top *", "Share of the interesting objects found there."),
    "recall_top1pct": ("Recall in the top 1%", "Share of the interesting objects found there."),
    "recall_top1pct_of_*": (
        "Recall in the top 1%: *",
        "Share of the objects of this kind found there.",
    ),
    "recall_top1pct_before_labels": (
        "Recall in the top 1% before labels",
        "Where a labelling is played: share of the interesting objects in the top 1% of the list.",
    ),
    "recall_top1pct_after_labels": (
        "Recall in the top 1% after 50 labels",
        "The same when a person has labelled 50 objects, ten at a time, those of which a Gaussian "
        "process on the embedding expects most.",
    ),
    "recall_unlabelled_before": (
        "Recall in the top 1%, unlabelled, before",
        "The same of the first list, without the 50 that are labelled in the end.",
    ),
    "recall_unlabelled_after": (
        "Recall in the top 1%, unlabelled, after 50 labels",
        "The same of the last list, without those 50: what the labels say of the others.",
    ),
    "recall_top1pct_*": ("Recall in the top 1%, *", "The same by one model or method alone."),
    "artefact_share_top1pct": (
        "Artefacts in the top 1%",
        "Share of artefacts among the one percent that score highest.",
    ),
    "artefact_share_top1pct_*": (
        "Artefacts in the top 1%, *",
        "The same by one model or method alone, where nothing pushes them down.",
    ),
    "rank_score": (
        "Rank-weighted score",
        "Interesting objects among the first N, weighed by N + 1 - rank, over what a perfect list "
        "has; N is their number (Lochner & Bassett 2021).",
    ),
    "spearman_rank_magnitude": (
        "Rank against magnitude",
        "Spearman correlation of rank and i magnitude of ordinary galaxies: 0 where flux does not "
        "decide; without labels, of all objects and their flux.",
    ),
    "spearman_rank_magnitude_*": (
        "Rank against magnitude, *",
        "The same by one model or method alone.",
    ),
}
"""metric (``*`` stands for any text) -> its name for people, and what it means."""


def score(
    truth: dict[str, np.ndarray], rows: dict[str, np.ndarray], bootstrap: int = 200, seed: int = 1
) -> dict[str, tuple[float, float]]:
    """Measure the search on rows of which some have labels.

    Parameters
    ----------
    truth : dict
        ``is_interesting`` and ``is_artefact`` (n,), NaN where it is not known; optionally ``kind``,
        ``mag_i`` and ``group``, each (n,).
    rows : dict
        The columns of ``COLUMNS``, in the order of ``truth``. What only a whole catalog can say is
        said of these rows.
    bootstrap : int
        Resamplings, from whose scatter the uncertainty comes: of groups.
    seed : int
        Seed of the resamplings.

    Returns
    -------
    dict
        metric -> (value, uncertainty), as ``METRICS`` explains them. Without a label of both
        classes only what needs none is measured.
    """
    rows = rows | outlier_scores(rows)
    n = len(rows["anomaly_score"])
    if not n:
        return {}
    yes, no, spoilt = classes(truth)
    known = np.isfinite(np.asarray(truth["is_interesting"], float))
    measures = []
    if yes.any() and no.any():
        measures += _found(truth, rows, yes, no, spoilt, known)
    magnitude = _magnitude(truth, rows)
    for name in present(rows):
        usual = no if no.any() else ~spoilt
        values = np.asarray(rows[f"{name}_score"], float)
        measures.append(
            _correlation(_named("spearman_rank_magnitude", name), values, magnitude, usual)
        )
    return resampled(measures, n, truth.get("group"), bootstrap, seed)


def classes(truth: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which rows (n,) are interesting, which ordinary galaxies, and which artefacts."""
    spoilt = np.asarray(truth["is_artefact"], float) == 1
    label = np.asarray(truth["is_interesting"], float)
    return label == 1, (label == 0) & ~spoilt, spoilt


def present(rows: dict[str, np.ndarray]) -> list[str]:
    """Return the scores that the rows have, the combined one first."""
    return [
        name
        for name in NAMES
        if f"{name}_score" in rows and np.isfinite(np.asarray(rows[f"{name}_score"], float)).any()
    ]


def _named(metric: str, name: str) -> str:
    """Return a metric's name for one score: plain for the combined one, baseline for PCA's."""
    return {"anomaly": metric, "pca": f"{metric}_baseline"}.get(name, f"{metric}_{name}")


def _magnitude(truth: dict, rows: dict) -> np.ndarray:
    """Return i magnitudes (n,), or what falls with the flux where they are not known."""
    magnitude = np.asarray(truth.get("mag_i", np.nan), float)
    return magnitude if np.isfinite(magnitude).any() else -np.asarray(rows["log_flux"], float)


def _found(truth, rows, yes, no, spoilt, known) -> list[Callable]:
    """Return what is measured by labels of both classes."""
    measures = []
    for name in present(rows):
        values = _low_if_unknown(rows[f"{name}_score"])
        own = name == "anomaly"
        measures.append(area(_named("auroc", name), values, yes, no))
        measures.append(_average_precision(_named("average_precision", name), values, yes, known))
        tops = TOP if own else ()
        measures.append(_top(name, values, yes, spoilt, known, tops))
        if own:
            measures.append(_rank_score(values, yes, known))
            measures += _of_kinds(truth, values, yes, no, known)
    if spoilt.any():
        head = np.asarray(rows["artefact_prob"], float)
        measures.append(area("auroc_artefact", head, spoilt, no))
    if known.sum() >= ENOUGH[0] and yes.sum() >= ENOUGH[1]:
        measures.append(_gain(rows, yes, known))
    return measures


def _low_if_unknown(score: np.ndarray) -> np.ndarray:
    score = np.asarray(score, float)
    return np.where(np.isfinite(score), score, -np.inf)


def in_top(score: np.ndarray, which: np.ndarray) -> Callable:
    """Return a function of weights (n,) and a number: how much of each object is in the top."""
    which = np.flatnonzero(which)
    order = which[np.argsort(-score[which], kind="stable")]

    def inside(weights: np.ndarray, count: float) -> np.ndarray:
        mine = weights[order]
        before = np.cumsum(mine) - mine
        found = np.zeros(len(weights))
        found[order] = np.clip(count - before, 0, mine)
        return found

    return inside


def _top(name, values, yes, spoilt, known, tops) -> Callable:
    """Return precision, recall and share of artefacts in the top of a list."""
    inside, interesting = in_top(values, known), int(yes.sum())

    def measure(weights: np.ndarray) -> dict:
        total, wanted = weights[known].sum(), weights[yes].sum()
        percent = max(1.0, round(PERCENT * total))
        found = {}
        for word, count in [("top1pct", percent)] + [(f"top_{n}", n) for n in tops if n < total]:
            there = inside(weights, count)
            found[_named(f"precision_{word}", name)] = (there[yes].sum() / count, int(count))
            if wanted:
                recall = there[yes].sum() / wanted
                found[_named(f"recall_{word}", name)] = (recall, interesting)
            if word == "top1pct" and spoilt.any():
                key = _named("artefact_share_top1pct", name)
                found[key] = (there[spoilt].sum() / count, int(count))
        return found

    return measure


def _average_precision(key: str, values, yes, known) -> Callable:
    passed = curve(values, yes, known & ~yes)

    def measure(weights: np.ndarray) -> dict:
        true, false = passed(weights)
        if not true[-1]:
            return {}
        precision = true / np.maximum(true + false, 1e-9)
        return {key: ((np.diff(true, prepend=0) * precision).sum() / true[-1], None)}

    return measure


def _rank_score(values, yes, known) -> Callable:
    """Return S = sum_i w_i I_i / S0, w_i = N + 1 - i, of a list of N as there are interesting."""
    which = np.flatnonzero(known)
    order = which[np.argsort(-values[which], kind="stable")]

    def measure(weights: np.ndarray) -> dict:
        mine, wanted = weights[order], weights[yes].sum()
        if not wanted:
            return {}
        rank = np.cumsum(mine) - (mine - 1) / 2  # mean rank of what is drawn several times
        weight = np.maximum(wanted + 1 - rank, 0)
        return {"rank_score": ((mine * yes[order]) @ weight / (wanted * (wanted + 1) / 2), None)}

    return measure


def _of_kinds(truth, values, yes, no, known) -> list[Callable]:
    """Return AUROC and recall in the top one percent of each interesting kind."""
    if "kind" not in truth:
        return []
    kind = np.asarray(truth["kind"]).astype(str)
    inside, measures = in_top(values, known), []
    for name in np.unique(kind[yes]):
        mine = yes & (kind == name)
        measures.append(area(f"auroc_of_{name}", values, mine, no))

        def recall(weights: np.ndarray, mine=mine, name=name) -> dict:
            total = weights[mine].sum()
            if not total:
                return {}
            there = inside(weights, max(1.0, round(PERCENT * weights[known].sum())))
            return {f"recall_top1pct_of_{name}": (there[mine].sum() / total, int(mine.sum()))}

        measures.append(recall)
    return measures


def _correlation(key: str, values, magnitude, which) -> Callable:
    """Return the Spearman correlation of rank, 1 the highest value, and magnitude."""
    from scipy.stats import rankdata

    which = np.flatnonzero(which & np.isfinite(values) & np.isfinite(magnitude))
    rank, place = rankdata(-values[which]), rankdata(magnitude[which])

    def measure(weights: np.ndarray) -> dict:
        mine = weights[which]
        if np.count_nonzero(mine) < 3:
            return {}
        one, other = (part - np.average(part, weights=mine) for part in (rank, place))
        scatter = np.sqrt((mine @ one**2) * (mine @ other**2))
        return {key: (mine @ (one * other) / scatter, None)} if scatter else {}

    return measure


def played(rows: dict, yes: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Play a person who finds interesting what is, and nothing else; see ``interest.simulated``."""
    points = np.hstack([whitened(np.asarray(rows[name])) for name in SPACES if name in rows])
    odd = np.asarray(rows["anomaly_score"], float)
    return simulated(points, odd, MOST * yes, *LABELS)


def _gain(rows: dict, yes: np.ndarray, known: np.ndarray) -> Callable:
    """Return recall in the top one percent before and after labels, of all and of the others."""
    wanted = [name for name in (*SPACES, "anomaly_score") if name in rows]
    lists, labelled = played({name: np.asarray(rows[name])[known] for name in wanted}, yes[known])
    whole = [np.full(len(known), -np.inf) for _ in (0, 1)]
    for values, source in zip(whole, (lists[0], lists[-1])):
        values[known] = source
    other = known.copy()
    other[np.flatnonzero(known)[labelled]] = False
    cases = {
        "recall_top1pct_before_labels": (whole[0], known),
        "recall_top1pct_after_labels": (whole[1], known),
        "recall_unlabelled_before": (whole[0], other),
        "recall_unlabelled_after": (whole[1], other),
    }
    inside = {key: in_top(*case) for key, case in cases.items()}

    def measure(weights: np.ndarray) -> dict:
        found = {}
        for key, (_, which) in cases.items():
            wanted = weights[yes & which].sum()
            count = max(1.0, round(PERCENT * weights[which].sum()))
            if wanted:
                there = inside[key](weights, count)[yes & which].sum()
                found[key] = (there / wanted, int((yes & which).sum()))
        return found

    return measure


def overlap(one: dict, other: dict, column: str = "anomaly_score", share: float = PERCENT) -> float:
    """Return the share of objects in the top of one list that are in the top of another too.

    Parameters
    ----------
    one, other : dict
        Rows of the same objects: ``object_id`` and the column, each (n,).
    column : str
        What the lists are sorted by.
    share : float
        Of the objects, in the top.
    """
    tops = []
    for rows in (one, other):
        values = _low_if_unknown(rows[column])
        order = np.lexsort((rows["object_id"], -values))
        tops.append(rows["object_id"][order[: max(1, round(share * len(order)))]])
    return len(np.intersect1d(*tops)) / len(tops[0])
