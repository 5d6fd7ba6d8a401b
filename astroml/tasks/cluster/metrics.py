"""How good the finder of clusters is: metrics of labelled tiles, each with its uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from astroml.errors import AstromlError
from astroml.resampling import calibration, resampled, shares
from astroml.tasks.cluster.against import (
    FAR,
    LABEL,
    NEAR,
    PURITY,
    RICH,
    RICHER,
    at_purity,
    best_scores,
    counted,
    measured,
    sought,
    threshold_of,
)
from astroml.tasks.cluster.kinds import MIN_RICHNESS
from astroml.tasks.cluster.match import RADIUS, WINDOW, mpc_per_arcsec

SHARP = 0.03
"""Scatter of dz / (1 + z) up to which a band set is said to tell redshifts."""

FEWEST = 10
"""Clusters or detections without which a bin is not told."""

Z_EDGES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
RICHNESS_EDGES = (10, 15, 20, 30, 50, 80, 150)
PROB_EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
LIMIT_EDGES = np.round(np.arange(0.05, 1.51, 0.05), 2)
"""Bins; the last are those in which the end of the redshifts is looked for."""

AXES = {
    "z": "redshift of the cluster, true",
    "lambda": "richness of the cluster, true",
    "richness": "richness, as measured",
    "prob": "cluster_prob",
}
"""What metrics are binned in -> its name for people."""

ERROR = "gap between cluster_prob and the truth"
"""What ``error`` is called."""

CAVEAT = (
    f"A detection belongs to a cluster within {RADIUS} Mpc of its centre, at its redshift, and "
    f"{WINDOW} (1 + z) in redshift, one to one, the surest first. cluster_prob, purity and "
    "completeness hold at the labelled sample's numbers of clusters, richness by richness, and of "
    "tiles without, which are not the sky's; false detections per square degree are from tiles "
    "without a cluster. Poor groups count as none. Centres outside a tile are in no number."
)
"""What a reader of the report must know."""

_SAMPLE = f"Of clusters of richness {RICH} or more at {NEAR} < z < {FAR}"
_FOUND = f"{_SAMPLE} found at that threshold: "

METRICS = {
    "completeness": (
        f"Completeness at {PURITY:.0%} purity",
        f"{_SAMPLE}, the share found by the lowest threshold on cluster_score above which at least "
        f"{PURITY:.0%} of the detections are real. Found is what lies within {RADIUS} Mpc and "
        f"{WINDOW} (1 + z) in redshift.",
    ),
    "purity": (
        "Purity there",
        f"Of detections above that threshold, of measured richness {RICH} or more at measured "
        f"{NEAR} < z < {FAR}, the share that belongs to a cluster of richness {MIN_RICHNESS} or "
        "more.",
    ),
    "threshold": ("Threshold there", "Of cluster_prob."),
    "sigma_z": (
        "Scatter of redshift",
        f"{_FOUND}1.4826 times the median absolute deviation of dz / (1 + z). Those count too "
        "whose place alone is right.",
    ),
    "bias_z": ("Bias of redshift", "Median of dz / (1 + z) of the same."),
    "outliers_z": (
        "Outliers in redshift",
        f"Share of the same with |dz| above {WINDOW} (1 + z).",
    ),
    "coverage_68_z": (
        "Coverage of the redshift's error",
        "Share of the same whose true redshift lies within z_cluster_err; should be 0.68.",
    ),
    "z_limit": (
        "Where redshifts end",
        f"Redshift up to which, in bins of 0.05, clusters of richness {RICH} or more found have a "
        f"scatter of dz / (1 + z) of {SHARP} at most: what these bands can tell, or where the "
        "labelled clusters end.",
    ),
    "sigma_lnlambda": (
        "Scatter of richness",
        f"Half the width of the central 68% of ln (measured / true richness), of clusters of "
        f"richness {RICHER} or more at {NEAR} < z < {FAR} found.",
    ),
    "bias_lnlambda": ("Bias of richness", "Median of ln (measured / true richness) of the same."),
    "coverage_68_lambda": (
        "Coverage of the richness's error",
        f"{_FOUND}share whose true ln richness lies within ln_richness_err; should be 0.68.",
    ),
    "centring_mpc": (
        "Centring, Mpc",
        f"{_FOUND}median distance of the detection from the true centre.",
    ),
    "false_per_deg2": (
        "False detections per square degree",
        "Detections above that threshold, counted as for purity, in tiles without a cluster.",
    ),
    "false_per_deg2_*": ("False detections per square degree: *", "The same in tiles of a kind."),
    "ece": (
        "Calibration error",
        "Mean gap between cluster_prob and the share of rows that belong to a cluster, in ten "
        "equal bins. Small samples have some by chance.",
    ),
    "brier": ("Brier score", "Mean squared difference of cluster_prob and truth; 0 is perfect."),
}
"""metric (``*`` stands for any text) -> its name for people, and what it means."""


def score(
    truth: dict[str, np.ndarray], rows: dict[str, np.ndarray], bootstrap: int = 200, seed: int = 1
) -> dict[str, tuple[float, float]]:
    """Measure the finder on labelled tiles.

    Parameters
    ----------
    truth : dict
        ``object_id`` of tiles, each any number of times, their ``ra``, ``dec``, ``clusters`` and
        ``cluster_<ra, dec, z, richness>_<k>``; optionally ``kind`` and ``group``.
    rows : dict
        ``object_id``, ``x``, ``y``, ``z_cluster``, ``richness``, ``cluster_score``, each (d,);
        errors, ``cluster_prob`` and ``tile_side`` may be absent, and with them what needs them.
    bootstrap : int
        Resamplings of the tiles, from whose scatter the uncertainty comes.
    seed : int
        Seed of the resamplings.

    Returns
    -------
    dict
        metric -> (value, uncertainty), as ``METRICS`` explains them.

    Raises
    ------
    AstromlError
        If no labelled tile holds a cluster.
    """
    facts = measured(truth, rows)
    tiles = facts["tiles"]
    if not len(facts["true"]["tile"]):
        raise AstromlError(
            f"column {LABEL}: no cluster in {len(tiles['object_id'])} labelled tiles; metrics need "
            "some, label more"
        )
    n = len(tiles["object_id"])
    return resampled(_measures(facts), n, tiles.get("group"), bootstrap, seed)


def error(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> np.ndarray:
    """Return how far the probability of each row (d,) is from the truth, 0 or 1."""
    right = measured(truth, rows)["found"]["belongs"] >= 0
    return np.abs(np.asarray(rows["cluster_prob"], float) - right)


def _measures(facts: dict) -> list[Callable]:
    """Return the functions of the tiles' weights that give the metrics."""
    cut = threshold_of(facts)
    true, found = facts["true"], facts["found"]
    seen = best_scores(facts) >= cut
    measures = [_finding(facts), *_redshifts(facts, cut), *_richness(facts, seen)]
    near = np.flatnonzero(seen & sought(facts))
    row = true["row"][near]
    apart = np.hypot(found["x"][row] - true["x"][near], found["y"][row] - true["y"][near])
    apart *= mpc_per_arcsec(true["z"][near])
    measures.append(_medians({"centring_mpc": apart}, true["tile"][near]))
    if "tile_side" in facts["rows"]:
        measures.append(_false(facts, found["score"] >= cut))
    if "cluster_prob" in facts["rows"]:
        prob, right = np.asarray(facts["rows"]["cluster_prob"], float), found["belongs"] >= 0
        measures.append(_of(calibration(right.astype(float), prob), found["tile"]))
    measures.append(_of(shares(_clusters_in_bins(facts, seen)), true["tile"]))
    measures.append(_of(shares(_rows_in_bins(facts, found["score"] >= cut)), found["tile"]))
    return measures


def _of(measure: Callable, tile: np.ndarray) -> Callable:
    """Turn a measure of things in tiles into one of the tiles' weights."""
    return lambda weights: measure(weights[tile]) if weights[tile].sum() else {}


def _finding(facts: dict) -> Callable:
    """Return completeness, purity and threshold, each resampling with its own threshold."""
    found, some = facts["found"], np.flatnonzero(counted(facts))
    score, right = found["score"][some], (found["belongs"][some] >= 0).astype(float)
    wanted = np.flatnonzero(sought(facts))
    best, tile = best_scores(facts)[wanted], facts["true"]["tile"][wanted]
    prob = np.asarray(facts["rows"].get("cluster_prob", found["score"]), float)
    order = np.argsort(found["score"])

    def measure(weights: np.ndarray) -> dict:
        cut, purity = at_purity(score, right, weights[found["tile"][some]])
        mine = weights[tile]
        share = mine @ (best >= cut) / mine.sum() if mine.sum() else np.nan
        told = np.interp(cut, found["score"][order], prob[order]) if np.isfinite(cut) else np.nan
        values = {"completeness": share, "purity": purity, "threshold": told}
        return {name: (value, None) for name, value in values.items()}

    return measure


def _redshifts(facts: dict, cut: float) -> list[Callable]:
    """Return what redshifts are measured by, of clusters whose place was found."""
    true, found = facts["true"], facts["found"]
    padded = np.append(found["score"], -np.inf)
    seen = np.flatnonzero((padded[true["place_row"]] >= cut) & (true["richness"] >= RICH))
    row, z, tile = true["place_row"][seen], true["z"][seen], true["tile"][seen]
    dz = (found["z"][row] - z) / (1 + z)
    inside = (z > NEAR) & (z < FAR)
    measures = [_scatter("sigma_z", "bias_z", dz[inside], tile[inside])]
    cases = {"outliers_z": (inside, np.abs(dz) > WINDOW)}
    if "z_cluster_err" in facts["rows"]:
        error = np.asarray(facts["rows"]["z_cluster_err"], float)[row]
        cases["coverage_68_z"] = (inside, np.abs(dz) * (1 + z) <= error)
    measures += [_of(shares(cases), tile), _limit(dz, z, tile)]
    for low, high in pairwise(Z_EDGES):
        some = (z >= low) & (z < high)
        if some.sum() >= FEWEST:
            names = (f"{name}_z_{low:g}_{high:g}" for name in ("sigma_z", "bias_z"))
            measures.append(_scatter(*names, dz[some], tile[some]))
    return measures


def _limit(dz: np.ndarray, z: np.ndarray, tile: np.ndarray) -> Callable:
    """Return the redshift up to which, bin by bin, the scatter stays small."""
    bins = [np.flatnonzero((z >= low) & (z < high)) for low, high in pairwise(LIMIT_EDGES)]

    def measure(weights: np.ndarray) -> dict:
        limit = np.nan
        for some, high in zip(bins, LIMIT_EDGES[1:]):
            mine = weights[tile[some]]
            if mine.sum() < FEWEST:
                continue
            if _mad(dz[some], mine) > SHARP:
                break
            limit = high
        return {"z_limit": (limit, None)}

    return measure


def _richness(facts: dict, seen: np.ndarray) -> list[Callable]:
    """Return what richness is measured by, of clusters that were found."""
    true, rows = facts["true"], facts["rows"]
    row, measures = true["row"], []
    ln = np.full(len(row), np.nan)
    ln[seen] = np.log(facts["found"]["richness"][row[seen]] / true["richness"][seen])
    of = np.flatnonzero(seen & sought(facts, RICHER))
    measures.append(_spread("sigma_lnlambda", "bias_lnlambda", ln[of], true["tile"][of]))
    if "ln_richness_err" in rows:
        of = np.flatnonzero(seen & sought(facts))
        inside = np.abs(ln[of]) <= np.asarray(rows["ln_richness_err"], float)[row[of]]
        cases = {"coverage_68_lambda": (np.ones(len(of), bool), inside)}
        measures.append(_of(shares(cases), true["tile"][of]))
    for low, high in pairwise(RICHNESS_EDGES):
        of = np.flatnonzero(seen & (true["richness"] >= low) & (true["richness"] < high))
        if len(of) >= FEWEST:
            names = (f"{name}_lambda_{low}_{high}" for name in ("sigma_lnlambda", "bias_lnlambda"))
            measures.append(_spread(*names, ln[of], true["tile"][of]))
    return measures


def _false(facts: dict, passed: np.ndarray) -> Callable:
    """Return false detections per square degree of tiles without a cluster, and of each kind."""
    found, tiles = facts["found"], facts["tiles"]
    n = len(tiles["object_id"])
    area = np.zeros(n)
    area[found["tile"]] = (np.asarray(facts["rows"]["tile_side"], float) / 3600) ** 2  # deg2
    number = np.bincount(found["tile"], passed & counted(facts), minlength=n)
    groups = {"false_per_deg2": tiles["blank"]}
    if "kind" in tiles:
        for kind in np.unique(tiles["kind"][tiles["blank"]]):
            groups[f"false_per_deg2_{kind}"] = tiles["blank"] & (tiles["kind"] == kind)

    def measure(weights: np.ndarray) -> dict:
        values = {}
        for name, some in groups.items():
            seen = weights[some] @ area[some]
            values[name] = (weights[some] @ number[some] / seen if seen else np.nan, None)
        return values

    return measure


def _clusters_in_bins(facts: dict, seen: np.ndarray) -> dict:
    """Return who counts, and who is found, in bins of true redshift and richness."""
    true, cases = facts["true"], {}
    rich, inside = true["richness"] >= RICH, (true["z"] > NEAR) & (true["z"] < FAR)
    for axis, values, edges, those in (
        ("z", true["z"], Z_EDGES, rich),
        ("lambda", true["richness"], RICHNESS_EDGES, inside),
    ):
        for low, high in pairwise(edges):
            some = those & (values >= low) & (values < high)
            if some.sum() >= FEWEST:
                cases[f"completeness_{axis}_{low:g}_{high:g}"] = (some, seen)
    return cases


def _rows_in_bins(facts: dict, passed: np.ndarray) -> dict:
    """Return which rows count, and which are real, in bins of measured richness and score."""
    found, cases = facts["found"], {}
    inside, right = (found["z"] > NEAR) & (found["z"] < FAR), found["belongs"] >= 0
    axes = [("richness", found["richness"], RICHNESS_EDGES, inside & passed)]
    if "cluster_prob" in facts["rows"]:
        prob = np.minimum(np.asarray(facts["rows"]["cluster_prob"], float), 1 - 1e-9)
        axes.append(("prob", prob, PROB_EDGES, counted(facts)))
    for axis, values, edges, those in axes:
        for low, high in pairwise(edges):
            some = those & (values >= low) & (values < high)
            if some.sum() >= FEWEST:
                cases[f"purity_{axis}_{low:g}_{high:g}"] = (some, right)
    return cases


def _quantiles(values: np.ndarray, weights: np.ndarray, levels) -> np.ndarray:
    order = np.argsort(values)
    mine = weights[order]
    place = (np.cumsum(mine) - 0.5 * mine) / mine.sum()
    return np.interp(levels, place, values[order])


def _mad(values: np.ndarray, weights: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation: sigma, of a Gaussian."""
    middle = _quantiles(values, weights, 0.5)
    return 1.4826 * _quantiles(np.abs(values - middle), weights, 0.5)


def _scatter(sigma: str, bias: str, values: np.ndarray, tile: np.ndarray) -> Callable:
    """Return median and scaled median absolute deviation."""

    def measure(weights: np.ndarray) -> dict:
        mine = weights[tile]
        if not mine.sum():
            return {}
        return {sigma: (_mad(values, mine), None), bias: (_quantiles(values, mine, 0.5), None)}

    return measure


def _spread(sigma: str, bias: str, values: np.ndarray, tile: np.ndarray) -> Callable:
    """Return median and half the width of the central 68%."""

    def measure(weights: np.ndarray) -> dict:
        mine = weights[tile]
        if not mine.sum():
            return {}
        low, middle, high = _quantiles(values, mine, [0.16, 0.5, 0.84])
        return {sigma: ((high - low) / 2, None), bias: (middle, None)}

    return measure


def _medians(columns: dict[str, np.ndarray], tile: np.ndarray) -> Callable:
    def measure(weights: np.ndarray) -> dict:
        mine = weights[tile]
        if not mine.sum():
            return {}
        return {name: (_quantiles(one, mine, 0.5), None) for name, one in columns.items()}

    return measure
