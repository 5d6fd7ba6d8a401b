"""What the report draws of the clusters, as numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from astroml.tasks import Panel
from astroml.tasks.cluster.against import (
    FAR,
    NEAR,
    PURITY,
    RICH,
    best_scores,
    counted,
    measured,
    sought,
    threshold_of,
)
from astroml.tasks.cluster.match import RADIUS, mpc_per_arcsec
from astroml.tasks.cluster.metrics import FEWEST, RICHNESS_EDGES
from astroml.tasks.cluster.redshift import pit

Z_GROUPS = ((0.1, 0.2), (0.2, 0.35), (0.35, 0.5), (0.5, 0.7))
"""Redshifts whose completeness is drawn apart."""

PIT_BINS = 10

PROB_EDGES = np.linspace(0, 1, 11)


def panels(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> list[Panel]:
    """Return the figures of labelled tiles.

    Parameters
    ----------
    truth, rows
        As for ``score``.
    """
    facts = measured(truth, rows)
    true, found = facts["true"], facts["found"]
    cut = threshold_of(facts)
    seen = np.flatnonzero((best_scores(facts) >= cut) & (true["richness"] >= RICH))
    drawn = [_completeness(facts, cut)] if len(true["tile"]) else []
    if (counted(facts) & (found["score"] >= cut)).sum() >= FEWEST:
        drawn.append(_purity(facts, cut))
    if len(seen) >= FEWEST:
        drawn += [_redshift(facts, seen), _richness(facts, seen), _centring(facts, seen)]
        drawn.append(_pit(facts, seen))
    if len(found["tile"]):
        drawn.append(_reliability(facts))
    return drawn


def _shares(edges, values: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the mean of values, the share and its error in bins that hold enough, each (k,)."""
    points = []
    for low, high in pairwise(edges):
        inside = (values >= low) & (values < high)
        if (n := inside.sum()) >= FEWEST:
            share = right[inside].mean()
            points.append((values[inside].mean(), share, np.sqrt(share * (1 - share) / n)))
    return tuple(np.array(points, float).reshape(-1, 3).T)


def _completeness(facts: dict, cut: float) -> Panel:
    true, best = facts["true"], best_scores(facts)
    series = {}
    for low, high in Z_GROUPS:
        some = (true["z"] >= low) & (true["z"] < high)
        points = _shares(RICHNESS_EDGES, true["richness"][some], best[some] >= cut)
        if len(points[0]):
            series[f"z {low:g} to {high:g}"] = points
    return Panel(
        kind="points",
        title="Completeness against richness",
        alt="Share of true clusters found against their richness, in ranges of redshift.",
        text=f"Found above the threshold of {PURITY:.0%} purity; bins of at least {FEWEST} "
        "clusters, errors are binomial.",
        x_label="true richness",
        y_label="share found",
        data={"series": series, "bands": [(0.9, 1.0)]},
    )


def _purity(facts: dict, cut: float) -> Panel:
    found = facts["found"]
    some = (found["score"] >= cut) & (found["z"] > NEAR) & (found["z"] < FAR)
    points = _shares(RICHNESS_EDGES, found["richness"][some], found["belongs"][some] >= 0)
    return Panel(
        kind="points",
        title="Purity against richness",
        alt="Share of detections that belong to a true cluster, against measured richness.",
        text=f"Detections above the threshold of {PURITY:.0%} purity of those with a richness of "
        f"{RICH} or more; it holds at the labelled sample's share of clusters, not the sky's.",
        x_label="measured richness",
        y_label="share of real clusters",
        data={"series": {"detections": points}, "bands": [(0.9, 1.0)]},
    )


def _redshift(facts: dict, seen: np.ndarray) -> Panel:
    true, found = facts["true"], facts["found"]
    return Panel(
        kind="density",
        title="Redshift against truth",
        alt=f"Density of {len(seen)} clusters in measured against true redshift.",
        text=f"{len(seen):,} clusters of richness {RICH} or more found; what lies farther than the "
        "matching window is not found.",
        x_label="true redshift",
        y_label="z_cluster",
        data={"x": true["z"][seen], "y": found["z"][true["row"][seen]]},
    )


def _richness(facts: dict, seen: np.ndarray) -> Panel:
    true, found = facts["true"], facts["found"]
    return Panel(
        kind="density",
        title="Richness against truth",
        alt=f"Density of {len(seen)} clusters in measured against true richness.",
        text=f"The same {len(seen):,} clusters.",
        x_label="log10 true richness",
        y_label="log10 richness",
        data={
            "x": np.log10(true["richness"][seen]),
            "y": np.log10(found["richness"][true["row"][seen]]),
        },
    )


def _centring(facts: dict, seen: np.ndarray) -> Panel:
    true, found = facts["true"], facts["found"]
    row = true["row"][seen]
    apart = np.hypot(found["x"][row] - true["x"][seen], found["y"][row] - true["y"][seen])
    apart *= mpc_per_arcsec(true["z"][seen])
    counts, edges = np.histogram(apart, 25, (0, RADIUS))
    return Panel(
        kind="bars",
        title="How well centred",
        alt=f"Histogram of the distance from the true centre; median {np.median(apart):.3f} Mpc.",
        text=f"Projected distance from the true centre at the true redshift; median "
        f"{np.median(apart):.3f} Mpc.",
        x_label="distance [Mpc]",
        y_label="clusters",
        data={"edges": edges, "counts": counts, "expected": None},
    )


def _pit(facts: dict, seen: np.ndarray) -> Panel:
    true, rows = facts["true"], facts["rows"]
    row = true["row"][seen]
    grid = (np.asarray(rows[name], float)[row] for name in ("z_pdf", "z_pdf_first", "z_pdf_step"))
    counts, edges = np.histogram(pit(*grid, true["z"][seen]), PIT_BINS, (0, 1))
    return Panel(
        kind="bars",
        title="Are the p(z) calibrated?",
        alt=f"Histogram of the PIT in {PIT_BINS} bins.",
        text="CDF of z_pdf at the true redshift. Flat is calibrated; a U is too narrow, a hill too "
        "wide, a slope biased.",
        x_label="PIT",
        y_label="clusters",
        data={"edges": edges, "counts": counts, "expected": len(seen) / PIT_BINS},
    )


def _reliability(facts: dict) -> Panel:
    prob = np.asarray(facts["rows"]["cluster_prob"], float)
    edges = np.append(PROB_EDGES[:-1], 1.001)  # 1 belongs to the last bin
    measured_ = _shares(edges, prob, facts["found"]["belongs"] >= 0)
    exact = np.array([0.0, 1.0])
    return Panel(
        kind="points",
        title="Can the probability be believed?",
        alt="Share of rows that belong to a true cluster against cluster_prob.",
        text="Of rows given a cluster_prob of 0.7, seven in ten should be clusters. It holds at "
        f"the labelled sample's share of clusters. {int(sought(facts).sum()):,} clusters of "
        f"richness {RICH} or more at {NEAR} < z < {FAR} are among the truth.",
        x_label="cluster_prob",
        y_label="share of real clusters",
        data={"series": {"measured": measured_, "exact": (exact, exact, None)}, "bands": []},
    )
