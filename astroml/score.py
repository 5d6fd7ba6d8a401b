"""Measure rows against labels: join them by object, keep one split, ask the task for its metrics.

The workflow calls this only on labelled stores; the report reads rows and truth through the same
``read_rows`` and ``join``, so that its figures show what the metrics measured.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from astroml import tasks
from astroml.errors import AstromlError
from astroml.provenance import digest, replacing, stamp
from astroml.store import FLAGS, SPLITS, open_store


def read_rows(paths) -> dict[str, np.ndarray]:
    """Read rows that infer wrote, in the order given.

    Parameters
    ----------
    paths : list of path
        Parquet files with the same columns.

    Returns
    -------
    dict
        column -> (n,) array; text as numpy strings.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = [Path(path) for path in paths]
    if not paths:
        raise AstromlError("no rows given; name the Parquet files that infer wrote")
    parts = []
    for path in paths:
        if not path.is_file():
            raise AstromlError(f"{path}: no such rows; run infer first")
        try:
            parts.append(pq.ParquetFile(path).read())
        except pa.ArrowInvalid as fault:
            raise AstromlError(f"{path}: not a Parquet file that can be read ({fault})") from None
        if odd := set(parts[-1].column_names) ^ set(parts[0].column_names):
            raise AstromlError(
                f"{path}: columns {', '.join(sorted(odd))} differ from {paths[0]}; "
                "infer both with the same version"
            )
    table = pa.concat_tables(
        [part.select(parts[0].column_names) for part in parts], promote_options="permissive"
    )
    return {name: _as_numpy(table[name]) for name in table.column_names}


def _as_numpy(column) -> np.ndarray:
    values = column.to_numpy()
    return values if values.dtype.kind != "O" else np.array([str(one) for one in values], dtype=str)


def join(
    task: str, rows: dict[str, np.ndarray], objects: dict[str, np.ndarray], split: str = "test"
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return truth and rows of the labelled objects of a split, in the rows' order.

    Parameters
    ----------
    task : str
        Name of the task.
    rows : dict
        What ``read_rows`` returned.
    objects : dict
        The object table of the store that the rows were made from.
    split : str
        One of ``SPLITS``, or ``all``.

    Returns
    -------
    truth : dict
        Every object column and the task's targets, (k,), one entry per row.
    rows : dict
        Columns (k,). Rows flagged ``no_data`` are left out: their scores mean nothing.

    Raises
    ------
    AstromlError
        If an object has no row, a row no object, or a label is not a number.
    """
    ids, order = np.unique(objects["object_id"], return_index=True)
    if len(ids) != len(objects["object_id"]):
        raise AstromlError("object_id: a value comes twice in the store; ids are unique")
    if len(lost := np.setdiff1d(ids, rows["object_id"])):
        raise AstromlError(
            f"{len(lost)} of {len(ids)} objects of the store have no row, such as {lost[0]}; "
            "give the rows of every shard"
        )
    if len(strange := np.setdiff1d(rows["object_id"], ids)):
        raise AstromlError(
            f"{len(strange)} rows belong to no object of the store, such as {strange[0]}; "
            "give the store that the rows were made from"
        )
    targets, labelled = tasks.load(task).targets(objects)
    keep = labelled & (True if split == "all" else objects["split"] == split)
    if "flags" in rows:
        usable = (np.asarray(rows["flags"]) & FLAGS["no_data"]) == 0
    else:
        usable = np.ones(len(rows["object_id"]), bool)
    place = order[np.searchsorted(ids, rows["object_id"])]  # row -> object
    chosen = keep[place] & usable
    place = place[chosen]
    truth = {name: column[place] for name, column in {**objects, **targets}.items()}
    for name in targets:
        if truth[name].dtype.kind == "f" and np.isnan(truth[name]).any():
            count = int(np.isnan(truth[name]).sum())
            raise AstromlError(f"label {name}: {count} of {len(place)} are NaN; mend the manifest")
    return truth, {name: column[chosen] for name, column in rows.items()}


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
    rows_paths : list of path
        Rows that infer wrote, of every shard.
    store_paths : path or list of path
        The labelled store.
    out : path
        The JSON file: task, split, n, metrics (name -> value and error), provenance.
    split : str
        Split that is measured; ``all`` takes every row.
    bootstrap : int
        Resamplings behind each uncertainty.

    Returns
    -------
    dict
        What was written.
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
    try:
        values = tasks.load(task).score(truth, rows, bootstrap=bootstrap)
    except AstromlError as fault:
        raise AstromlError(f"{where}, {split} split: {fault}") from None
    options = {"task": task, "split": split, "bootstrap": bootstrap}
    labels = digest({name: truth[name].tolist() for name in ("object_id", *_targets(task, truth))})
    result = {
        "task": task,
        "split": split,
        "n": n,
        "metrics": {
            name: {"value": _number(value), "error": _number(error)}
            for name, (value, error) in values.items()
        },
        "provenance": stamp("score", options, [Path(path) for path in rows_paths], labels=labels),
    }
    with replacing(out) as part:
        part.write_text(json.dumps(result, indent=1) + "\n")
    show(result)
    return result


def _targets(task: str, truth: dict[str, np.ndarray]) -> list[str]:
    return list(tasks.load(task).targets(truth)[0])


def _number(value: float) -> float | None:
    """Return a float that JSON can hold: what could not be measured is null."""
    return float(value) if math.isfinite(value) else None


def show(result: dict) -> None:
    """Print a result of ``score`` as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result['task']}: {result['n']} objects, split: {result['split']}")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("error", justify="right")
    for name, metric in result["metrics"].items():
        texts = ["-" if one is None else f"{one:.4f}" for one in metric.values()]
        table.add_row(name, *texts)
    Console().print(table)
