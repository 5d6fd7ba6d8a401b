"""The selection function: which share of injected signals is found, against their strength.

``inject`` fills a grid, ``infer`` scores it, and this counts: a table and its figure.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

from astroml import tasks
from astroml.errors import AstromlError
from astroml.provenance import replacing, stamp
from astroml.rows import join, read_rows
from astroml.store import open_store

AXES = {
    "theta_e": ("Einstein radius, arcsec", np.arange(0.5, 3.01, 0.5)),
    "arc_snr": ("arc S/N", np.array([5.0, 10, 20, 40, 80, 200])),
    "lens_mag": ("lens galaxy, mag", np.array([16.0, 18, 19, 20, 21, 23])),
}
"""Labels that the table is binned in: what the figure calls them, and edges of the bins."""


def wilson(found, n) -> tuple[np.ndarray, np.ndarray]:
    """Return the 68% interval of shares (Wilson 1927, JASA 22, 209); 0 to 1 where n is 0.

    Parameters
    ----------
    found, n : (k,) array
        Successes and trials.
    """
    found, n = np.asarray(found, float), np.asarray(n, float)
    trials = np.maximum(n, 1)
    share = found / trials
    middle = (share + 0.5 / trials) / (1 + 1 / trials)
    half = np.sqrt(share * (1 - share) / trials + 0.25 / trials**2) / (1 + 1 / trials)
    low, high = np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
    return np.where(n > 0, low, 0.0), np.where(n > 0, high, 1.0)


def threshold_at(scores: np.ndarray, fpr: float) -> float:
    """Return the lowest score that at most a share ``fpr`` of the negatives lies above.

    Raises
    ------
    AstromlError
        If there are too few negatives to know: fewer than 1 / fpr.
    """
    if len(scores) * fpr < 1:
        raise AstromlError(
            f"--fpr {fpr:g}: {len(scores)} negatives in the store cannot show it, it takes "
            f"{int(np.ceil(1 / fpr))}; inject with pairs: true, more hosts, or give --threshold"
        )
    return float(np.sort(scores)[::-1][int(np.floor(len(scores) * fpr))])


def completeness(truth: dict[str, np.ndarray], found: np.ndarray, edges: dict) -> dict:
    """Count what was found in each cell of a grid.

    Parameters
    ----------
    truth : dict
        Labels (n,) of the injected signals, one for each axis.
    found : (n,) array of bool
        Which were found.
    edges : dict
        Axis -> edges of its bins, rising; what lies outside is not counted.

    Returns
    -------
    dict
        Columns, one entry per cell, the last axis fastest: ``<axis>_low``, ``<axis>_high``, ``n``,
        ``found``, ``completeness`` (NaN where n is 0), and its 68% interval
        ``completeness_low``, ``completeness_high``.
    """
    sides = list(edges.values())
    points = np.stack([np.asarray(truth[name], float) for name in edges], axis=1)
    n = np.histogramdd(points, sides)[0].ravel().astype(np.int64)
    hits = np.histogramdd(points[found], sides)[0].ravel().astype(np.int64)
    columns = {}
    for end, cut in (("low", slice(None, -1)), ("high", slice(1, None))):
        mesh = np.meshgrid(*(side[cut] for side in sides), indexing="ij")
        columns |= {f"{name}_{end}": one.ravel() for name, one in zip(edges, mesh)}
    columns = {
        f"{name}_{end}": columns[f"{name}_{end}"] for name in edges for end in ("low", "high")
    }
    low, high = wilson(hits, n)
    share = np.where(n > 0, hits / np.maximum(n, 1), np.nan)
    interval = {"completeness_low": low, "completeness_high": high}
    return columns | {"n": n, "found": hits, "completeness": share} | interval


def selection(
    task: str,
    rows_paths,
    store_paths,
    out: Path,
    *,
    figure: Path | None = None,
    threshold: float | None = None,
    fpr: float | None = None,
    column: str = "lens_prob",
) -> dict:
    """Write the completeness of injected signals as a table, and draw it.

    Parameters
    ----------
    task : str
        Name of the task.
    rows_paths, store_paths : list of path
        Rows that infer wrote, and the injected store that it read.
    out : path
        ``.parquet`` or ``.csv``.
    figure : path, optional
        ``.png``
    threshold, fpr : float, optional
        What counts as found: a ``column`` of the rows above a threshold, or above that which this
        share of the store's negatives passes. Without either, above 0.5.
    column : str
        Column of the rows.

    Returns
    -------
    dict
        The table's columns.
    """
    if out.suffix not in (".parquet", ".csv"):
        raise AstromlError(f"{out}: found {out.suffix!r}, expected .parquet or .csv")
    if threshold is not None and fpr is not None:
        raise AstromlError("--threshold and --fpr: both given; give one")
    if fpr is not None and not 0 < fpr < 1:
        raise AstromlError(f"--fpr: found {fpr:g}, expected a share between 0 and 1")
    store, label = open_store(store_paths), tasks.load(task).LABEL
    if lost := [name for name in (label, *AXES) if name not in store.objects]:
        raise AstromlError(
            f"{store.shards[0]}: no column {', '.join(lost)}; it is no store that inject wrote"
        )
    truth, rows = join(task, read_rows(rows_paths), store.objects, "all")
    if column not in rows:
        raise AstromlError(f"column {column!r}: not in the rows, which have {', '.join(rows)}")
    positive, scores = truth[label] == 1, np.asarray(rows[column], float)
    if not positive.any():
        raise AstromlError(f"{store.shards[0]}: no injected signal among its rows")
    if fpr is not None:
        threshold = threshold_at(scores[~positive], fpr)
    threshold = 0.5 if threshold is None else threshold
    mine = {name: truth[name][positive] for name in AXES}
    found = scores[positive] > threshold
    table = completeness(mine, found, {name: edges for name, (_, edges) in AXES.items()})
    facts = {"threshold": threshold, "fpr": fpr, "column": column}
    paths = [Path(path) for path in rows_paths]
    made = stamp("selection", {"task": task, **facts}, paths)
    _write(table, out, made)
    share = f"{found.sum()} of {len(found)} signals above {column} {threshold:.4g}"
    print(f"found {share}; {int(table['n'].sum())} lie in the grid; wrote {out}")
    if figure is not None:
        _draw(mine, found, Path(figure), f"{column} above {threshold:.3g}")
    return table


def _write(table: dict[str, np.ndarray], out: Path, made: dict) -> None:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    arrow = pa.table(table).replace_schema_metadata({"provenance": json.dumps(made)})
    with replacing(out) as part:
        write = pq.write_table if out.suffix == ".parquet" else pa.csv.write_csv
        write(arrow, str(part))


def _draw(truth: dict[str, np.ndarray], found: np.ndarray, out: Path, title: str) -> None:
    """Draw completeness over theta_e and S/N as a map, and against each of the labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    figure.suptitle(f"Completeness: {title}")
    plane, *lines = figure.subplots(1, 3)
    (x, y), (right, up) = list(AXES)[:2], [AXES[name] for name in list(AXES)[:2]]
    table = completeness(truth, found, {x: right[1], y: up[1]})
    share = table["completeness"].reshape(len(right[1]) - 1, -1)
    image = plane.pcolormesh(right[1], up[1], share.T, vmin=0, vmax=1, cmap="viridis")
    plane.set(xlabel=right[0], ylabel=up[0], yscale="log")
    centres = [(edges[1:] + edges[:-1]) / 2 for edges in (right[1], up[1])]
    for (i, j), value in np.ndenumerate(share):
        if np.isfinite(value):
            ink = "w" if value < 0.6 else "k"
            plane.text(
                centres[0][i], centres[1][j], f"{value:.2f}", ha="center", va="center", c=ink
            )
    figure.colorbar(image, ax=plane, label="completeness")
    for axes, split, name in zip(lines, ("theta_e", "arc_snr"), ("arc_snr", "lens_mag")):
        _lines(axes, truth, found, name, split)
    with replacing(out) as part:
        figure.savefig(part, format="png", dpi=120, metadata={"Software": None})


def _lines(axes, truth, found, name: str, split: str) -> None:
    """Draw completeness against one label, a line for each bin of another."""
    (text, edges), (other, groups) = AXES[name], AXES[split]
    for low, high in pairwise(groups):
        mine = (truth[split] >= low) & (truth[split] < high)
        table = completeness({name: truth[name][mine]}, found[mine], {name: edges})
        some = table["n"] > 0
        share = table["completeness"][some]
        error = share - table["completeness_low"][some], table["completeness_high"][some] - share
        middle = (edges[1:] + edges[:-1])[some] / 2
        # Rounding may leave an end of the interval on the wrong side of the share.
        error = np.maximum(error, 0)
        axes.errorbar(middle, share, error, marker="o", capsize=2, label=f"{low:g} to {high:g}")
    axes.set(xlabel=text, ylabel="completeness", ylim=(-0.03, 1.03))
    if name == "arc_snr":
        axes.set_xscale("log")
    axes.legend(title=other, fontsize=8, title_fontsize=8)
    axes.grid(alpha=0.3)
