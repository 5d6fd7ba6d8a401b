"""The figures of the report, as numbers: labelled rows, and the whole catalog."""

from __future__ import annotations

import numpy as np

from astroml.tasks import Panel
from astroml.tasks.anomaly.columns import NAMES
from astroml.tasks.anomaly.metrics import (
    ENOUGH,
    LABELS,
    PERCENT,
    classes,
    in_top,
    played,
    present,
)
from astroml.tasks.anomaly.outliers import outlier_scores

FEWEST = 5
"""Interesting objects without which nothing is drawn of them."""

SLICES = 8
"""Bins in flux, at most, of ``IN_SLICE`` objects or more."""

IN_SLICE = 50


def panels(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> list[Panel]:
    """Return the figures of labelled rows: scores of each class, recall by model, gain by labels.

    Parameters
    ----------
    truth, rows
        As for ``score``.
    """
    yes, no, spoilt = classes(truth)
    if yes.sum() < FEWEST or no.sum() < FEWEST:
        return []
    rows = rows | outlier_scores(rows)
    drawn = [_scores(rows, yes, no, spoilt), _recall(rows, yes, yes | no | spoilt)]
    known = yes | no | spoilt
    if known.sum() >= ENOUGH[0]:
        drawn.append(_labels(rows, yes, known))
    return drawn


def _scores(rows: dict, yes: np.ndarray, no: np.ndarray, spoilt: np.ndarray) -> Panel:
    values = np.asarray(rows["anomaly_score"], float)
    samples = {"interesting": yes, "ordinary galaxies": no, "artefacts": spoilt}
    samples = {name: values[which] for name, which in samples.items() if which.sum() >= FEWEST}
    low, high = np.quantile(values, [0.002, 0.998])
    levels = np.linspace(low - 0.5, high + 0.5, 200)
    series = {
        f"{name} ({len(one):,})": (levels, (one[:, None] >= levels).mean(0))
        for name, one in samples.items()
    }
    return Panel(
        kind="lines",
        title="How odd are which objects?",
        alt="Share of interesting objects, ordinary galaxies and artefacts above each score.",
        text="Share of each class of the test set above a combined score; artefacts are pushed "
        "down to the usual by the artefact head.",
        x_label="anomaly_score",
        y_label="share above it",
        data={"series": series},
    )


def _recall(rows: dict, yes: np.ndarray, known: np.ndarray) -> Panel:
    """Return the share of interesting objects found in the top N, by each model and method."""
    total = int(known.sum())
    counts = np.unique(np.geomspace(1, total, 60).round().astype(int))
    one, series = np.ones(len(known)), {}
    for name in present(rows):
        values = np.asarray(rows[f"{name}_score"], float)
        inside = in_top(np.where(np.isfinite(values), values, -np.inf), known)
        found = np.array([inside(one, count)[yes].sum() for count in counts]) / yes.sum()
        series[NAMES[name]] = (100 * counts / total, found)
    series["by chance"] = (100 * counts / total, counts / total)
    return Panel(
        kind="lines",
        title="What each model finds",
        alt="Share of interesting objects in the top of the list, by model, against its length.",
        text=f"Share of the {int(yes.sum())} interesting objects of the test set among the "
        f"highest scores of {total:,}, for each model alone and combined.",
        x_label="top of the list, % of all objects",
        y_label="share of interesting objects",
        data={"series": series, "log": True},
    )


def _labels(rows: dict, yes: np.ndarray, known: np.ndarray) -> Panel:
    """Return recall in the top one percent against the number of labels given."""
    mine = {name: np.asarray(rows[name])[known] for name in ("embedding", "anomaly_score")}
    lists, labelled = played(mine, yes[known])
    top = max(1, round(PERCENT * len(yes[known])))
    given = np.minimum(np.arange(len(lists)) * LABELS[1], len(labelled))
    truth, series = yes[known], {}
    shares = [truth[np.argsort(-one, kind="stable")[:top]].sum() / truth.sum() for one in lists]
    series["top 1% of the list"] = (given, np.array(shares))
    others = np.ones(len(truth), bool)
    others[labelled] = False
    rest = max(1, round(PERCENT * others.sum()))
    if truth[others].any():
        shares = [
            truth[others][np.argsort(-one[others], kind="stable")[:rest]].sum()
            / truth[others].sum()
            for one in lists
        ]
        series["of objects never labelled"] = (given, np.array(shares))
    best = np.full(len(given), min(1.0, top / truth.sum()))
    series["a perfect list"] = (given, best)
    return Panel(
        kind="lines",
        title="What labels gain",
        alt="Recall in the top one percent against the number of labels.",
        text="A person who labels ten objects at a time, those of which most is expected: share "
        "of interesting objects in the top 1% of the list, and the same without all that are ever "
        "labelled. Labels are simulated: 5 for what is interesting, 0 for all else.",
        x_label="labels given",
        y_label="share of interesting objects found",
        data={"series": series},
    )


def catalog_panels(rows: dict[str, np.ndarray], objects: dict[str, np.ndarray]) -> list[Panel]:
    """Return the figures of a whole catalog: rank against flux, and maps of the learned space.

    Parameters
    ----------
    rows : dict
        Columns (n,) of the catalog.
    objects : dict
        Columns (n,) of the store, of the same objects.
    """
    drawn = [_flux(rows)] if len(rows["anomaly_rank"]) >= 2 * IN_SLICE else []
    place = np.stack([rows["umap_x"], rows["umap_y"]])
    if not np.isfinite(place).any():
        return drawn
    group = np.asarray(rows["residual_cluster"])
    names = {f"group {at}": group == at for at in range(group.max() + 1)}
    text = "Each dot is an object; near is alike in the learned space (UMAP; axes have no unit). "
    drawn.append(
        _map(
            "Groups of like residuals on a map of all objects",
            text + "Coloured: the oddest objects, in groups whose residuals are alike.",
            place,
            {"all others": group < 0} | names,
        )
    )
    if "kind" in objects:
        kind, label = objects["kind"].astype(str), objects.get("is_interesting")
        spoilt = np.asarray(objects.get("is_artefact", np.zeros(len(kind))), float) == 1
        odd = np.asarray(label, float) == 1 if label is not None else np.zeros(len(kind), bool)
        names = {name.replace("_", " "): odd & (kind == name) for name in np.unique(kind[odd])}
        if names or spoilt.any():
            usual = {"ordinary objects": ~odd & ~spoilt}
            names |= {"artefacts": spoilt} if spoilt.any() else {}
            drawn.append(
                _map("True kinds on the same map", text + "Known kinds.", place, usual | names)
            )
    return drawn


def _map(title: str, text: str, place: np.ndarray, which: dict[str, np.ndarray]) -> Panel:
    series = {name: tuple(place[:, mine]) for name, mine in which.items() if mine.any()}
    return Panel(
        kind="scatter",
        title=title,
        alt=f"Map of the embedding with {', '.join(series)}.",
        text=text,
        x_label="umap_x",
        y_label="umap_y",
        data={"series": series},
    )


def _flux(rows: dict[str, np.ndarray]) -> Panel:
    """Return the median rank of all objects in bins of flux, and how it scatters."""
    flux = np.asarray(rows["log_flux"], float)
    share = 100 * rows["anomaly_rank"] / len(flux)
    order = np.argsort(flux, kind="stable")
    order = order[np.isfinite(flux[order])]
    parts = np.array_split(order, int(np.clip(len(order) // IN_SLICE, 2, SLICES)))
    at = np.array([np.median(flux[part]) for part in parts])
    series = {}
    for name, level in (("highest tenth", 0.1), ("median", 0.5), ("lowest tenth", 0.9)):
        value = np.array([np.quantile(share[part], level) for part in parts])
        # Of a sample quantile, where ranks are spread evenly.
        error = [100 * np.sqrt(level * (1 - level) / len(part)) for part in parts]
        series[name] = (at, value, np.array(error))
        series[f"{100 * level:.0f}%"] = (at, np.full(len(at), 100 * level), None)
    return Panel(
        kind="points",
        title="Does flux decide?",
        alt="Quantiles of the rank in bins of flux, with lines where flux does not matter.",
        text="Rank in percent of the catalog, 0 the oddest, in bins of flux with equal numbers: "
        "median and tenths. Where flux decides nothing they lie on the dotted lines.",
        x_label="log_flux",
        y_label="anomaly_rank, % of all objects",
        data={"series": series, "bands": []},
    )
