"""Rows held against the true clusters of their tiles, and the threshold of a purity."""

from __future__ import annotations

import numpy as np

from astroml.tasks.cluster.match import listed, match, match_places, true_clusters

LABEL = "clusters"
"""Object column with the truth: how many clusters have their centre in the tile."""

PURITY = 0.9
"""Purity at whose threshold completeness is stated."""

RICH = 20
"""Richness from which clusters are asked for, and detections counted."""

RICHER = 30
"""Richness from which the scatter of richness is stated."""

NEAR, FAR = 0.1, 0.5
"""Redshifts between which it is all stated."""


def measured(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> dict[str, dict]:
    """Match rows to clusters.

    Parameters
    ----------
    truth, rows
        See ``score``.

    Returns
    -------
    dict
        ``tiles``: ``object_id``, ``blank`` and, where known, ``kind`` and ``group`` (n,);
        ``true``: ``tile``, ``x``, ``y``, ``z``, ``richness`` (c,) of the clusters, and ``row`` and
        ``place_row``, which row belongs to each, by place and redshift or by place alone, -1 for
        none; ``found``: ``tile``, ``x``, ``y``, ``z``, ``richness``, ``score`` (d,) of the rows,
        and ``belongs``, the cluster of each, -1 for none; ``rows``, as given.
    """
    ids, first = np.unique(truth["object_id"], return_index=True)
    tiles = {name: np.asarray(truth[name])[first] for name in ("kind", "group") if name in truth}
    tiles |= {"object_id": ids, "blank": np.asarray(truth[LABEL], float)[first] == 0}
    slots = true_clusters({name: np.asarray(values)[first] for name, values in truth.items()})
    true = listed(slots)
    names = {"x": "x", "y": "y", "z": "z_cluster", "richness": "richness", "score": "cluster_score"}
    found = {name: np.asarray(rows[column], float) for name, column in names.items()}
    found["tile"] = np.searchsorted(ids, rows["object_id"])
    found["belongs"] = match(found, true)
    places = match_places(found, true, found["belongs"])
    for name, belongs in (("row", found["belongs"]), ("place_row", places)):
        true[name] = np.full(len(true["tile"]), -1)
        true[name][belongs[belongs >= 0]] = np.flatnonzero(belongs >= 0)
    return {"tiles": tiles, "true": true, "found": found, "rows": rows}


def counted(facts: dict) -> np.ndarray:
    """Return which rows (d,) are counted for purity: rich and in the range, as measured."""
    found = facts["found"]
    return (found["richness"] >= RICH) & (found["z"] > NEAR) & (found["z"] < FAR)


def sought(facts: dict, least: float = RICH) -> np.ndarray:
    """Return which clusters (c,) are asked for: rich and in the range, by truth."""
    true = facts["true"]
    return (true["richness"] >= least) & (true["z"] > NEAR) & (true["z"] < FAR)


def at_purity(
    score: np.ndarray, right: np.ndarray, weights: np.ndarray, wanted: float = PURITY
) -> tuple[float, float]:
    """Return the lowest threshold of at least some purity, and the purity there.

    Parameters
    ----------
    score, right, weights : (d,) array
        Of the detections; ``right`` is 1 for real ones.
    wanted : float
        Purity.

    Returns
    -------
    threshold : float
        Detections with this score or more; infinite where no threshold is pure enough.
    purity : float
        NaN where there is no threshold.
    """
    order = np.argsort(-score, kind="stable")
    order = order[weights[order] > 0]
    if not len(order):
        return np.inf, np.nan
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)  # of equal scores
    every = np.cumsum(weights[order])[last]
    purity = np.cumsum(weights[order] * right[order])[last] / every
    enough = np.flatnonzero(purity >= wanted - 1e-9)
    if not len(enough):
        return np.inf, np.nan
    return float(score[order][last[enough[-1]]]), float(purity[enough[-1]])


def threshold_of(facts: dict) -> float:
    """Return the lowest score of at least ``PURITY`` of all rows."""
    some, found = counted(facts), facts["found"]
    right = (found["belongs"] >= 0).astype(float)
    return at_purity(found["score"][some], right[some], np.ones(some.sum()))[0]


def best_scores(facts: dict) -> np.ndarray:
    """Return the score (c,) of the row that belongs to each cluster; -inf for none."""
    row = facts["true"]["row"]
    padded = np.append(facts["found"]["score"], -np.inf)
    return padded[row]
