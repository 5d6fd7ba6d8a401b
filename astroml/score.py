"""Measure rows against labels: join them by object, keep one split, ask the task for its metrics.

The workflow calls this only on labelled stores.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from astroml import maps, tasks
from astroml.errors import AstromlError
from astroml.provenance import digest, replacing, stamp
from astroml.rows import baselines, join, read_rows
from astroml.store import SPLITS, open_store


def score(
    task: str,
    rows_paths,
    store_paths,
    out: str | Path,
    *,
    split: str = "test",
    bootstrap: int = 200,
) -> dict:
    """Measure rows against the store's labels and write the metrics as JSON.

    Parameters
    ----------
    task : str
        Name of the task.
    rows_paths, store_paths : list of path
        Rows that infer wrote, of every shard, and the labelled store.
    out : path
        The JSON file: task, split, n, metrics (name -> value and error), provenance.
    split : str
        Split that is measured; ``all`` takes every row.
    bootstrap : int
        Resamplings behind each uncertainty.

    Returns
    -------
    dict
    """
    if split not in (*SPLITS, "all"):
        raise AstromlError(f"--split: found {split!r}, expected one of {', '.join(SPLITS)}, all")
    if bootstrap < 2:
        raise AstromlError(f"--bootstrap: found {bootstrap}, expected at least 2")
    store = open_store(store_paths)
    where = store.shards[0] if len(store.shards) == 1 else store.shards[0].parent
    try:
        truth, rows = join(task, read_rows(rows_paths), store.objects, split)
    except AstromlError as fault:
        raise AstromlError(f"{where}: {fault}") from None
    n = len(rows["object_id"])
    if not n:
        raise AstromlError(
            f"{where}: no labelled object for {task} in the {split} split of {len(store)}; "
            "label some in the manifest, or choose another split"
        )
    # Of rows that they learnt from, other methods say too much.
    others = baselines(task, store, truth["object_id"]) if split == "test" else {}
    rows |= others
    if hasattr(tasks.load(task), "MAPS"):
        drawn = [maps.beside(path) for path in rows_paths]
        rows |= maps.overlap(drawn, store, truth["object_id"])
    try:
        values = tasks.load(task).score(truth, rows, bootstrap=bootstrap)
    except AstromlError as fault:
        raise AstromlError(f"{where}, {split} split: {fault}") from None
    options = {"task": task, "split": split, "bootstrap": bootstrap}
    labels = digest({name: truth[name].tolist() for name in ("object_id", *_targets(task, truth))})
    made = stamp("score", options, [Path(path) for path in rows_paths], labels=labels)
    metrics = {
        name: {"value": _number(value), "error": _number(error)}
        for name, (value, error) in values.items()
    }
    result = {"task": task, "split": split, "n": n, "metrics": metrics, "provenance": made}
    with replacing(out) as part:
        part.write_text(json.dumps(result, indent=1) + "\n")
    if others:
        write_baselines(Path(out).with_suffix(".baselines.parquet"), truth["object_id"], others)
    show(result)
    return result


def _targets(task: str, truth: dict[str, np.ndarray]) -> list[str]:
    return list(tasks.load(task).targets(truth)[0])


def _number(value: float) -> float | None:
    """Return a float that JSON can hold: what could not be measured is null."""
    return float(value) if math.isfinite(value) else None


def write_baselines(path: Path, object_ids: np.ndarray, columns: dict[str, np.ndarray]) -> None:
    """Keep what the task's other methods say beside the metrics: the report draws it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as part:
        pq.write_table(pa.table({"object_id": object_ids} | columns), part)


def show(result: dict) -> None:
    """Print a result of ``score`` as a table, and metrics in bins as further, compact ones."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    parted, whole = [], {}
    for name, metric in result["metrics"].items():
        if found := tasks.BIN.fullmatch(name):
            quantity, _, axis = found["stem"].rpartition("_")
            parted.append((axis, f"{found['low']} to {found['high']}", quantity, metric))
        else:
            whole[name] = metric
    table = Table(title=f"{result['task']}: {result['n']} objects, split: {result['split']}")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("error", justify="right")
    for name, metric in whole.items():
        table.add_row(name, *map(_text, metric.values()))
    console.print(table)
    for axis in dict.fromkeys(axis for axis, *_ in parted):
        _show_bins(console, axis, [rest for where, *rest in parted if where == axis])


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _show_bins(console, axis: str, cells: list) -> None:
    """Print one line per bin, as many metrics as fit beside each other; the file has them all."""
    from rich.table import Table

    names = list(dict.fromkeys(quantity for _, quantity, _ in cells))
    shown = names[: max(1, (console.width - 16) // 18)]
    left = f"; {len(names) - len(shown)} more metrics in the file" if shown != names else ""
    table = Table(title=f"in bins of {axis}{left}", box=None, padding=(0, 1))
    table.add_column(axis, no_wrap=True)
    for name in shown:
        table.add_column(name, justify="right", no_wrap=True)
    for where in dict.fromkeys(where for where, *_ in cells):
        here = {quantity: metric for place, quantity, metric in cells if place == where}
        texts = [" ± ".join(map(_text, here[name].values())) for name in shown]
        table.add_row(where, *texts)
    console.print(table)
