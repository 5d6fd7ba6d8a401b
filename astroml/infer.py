"""Weights and a store to catalog rows: in order, and the same whatever the batch size."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from astroml import tasks
from astroml.config import Infer, TaskOptions
from astroml.nets import weights as trained
from astroml.nets.device import place, start
from astroml.nets.forward import Forward, gather
from astroml.progress import Progress
from astroml.provenance import digest, replacing, stamp
from astroml.store import FLAGS, Store, open_store, quality_columns


def infer(
    task: str,
    store_paths: list[Path],
    weights: Path,
    out: Path,
    settings: Infer,
    *,
    device: str = "auto",
) -> None:
    """Score every cutout of a store and write the rows as Parquet.

    Parameters
    ----------
    task : str
        Name of the task.
    store_paths : list of Path
        Store: a folder of shards, or shards.
    weights : Path
        What ``train`` wrote.
    out : Path
        Parquet file to write: ``object_id``, ``ra``, ``dec``, the task's columns, ``flags``,
        the store's quality columns, ``weights`` and ``input`` (16 hex digits of the hash of the
        weights file and of the shard).
    settings : Infer
        Batch size and device.
    device : str
        ``auto``, ``cpu`` or ``cuda``; ``auto`` leaves the choice to ``settings``.
    """
    store = open_store(list(store_paths))
    state, card = trained.load(Path(weights))
    trained.check(card, weights, task, store.header, store.shards[0].parent)
    net, normalisation = trained.rebuild(state, card)
    fabric = start(settings.device if device == "auto" else device)
    forward = Forward(fabric, place(fabric, net), normalisation, settings.batch_size)
    made_by = digest(Path(weights))
    learnt_from = set(card.get("provenance", {}).get("inputs", {}).values())
    # Only what changes the rows: neither batch size nor device is told.
    facts = stamp("infer", {}, store.shards, task=task, weights=made_by)
    columns = tasks.load(task).COLUMNS
    quality = quality_columns(store.objects, store.header.bands)
    settings_of = tasks.load(task).Options.model_validate(card["options"])
    schema = schema_of(columns, store.objects["object_id"].dtype, quality, settings_of)
    schema = schema.with_metadata({"astroml": json.dumps(facts, sort_keys=True)})
    began, count = time.monotonic(), 0
    with (
        Progress("infer", len(store)) as progress,
        replacing(out) as part,
        pq.ParquetWriter(part, schema, compression="zstd") as writer,
    ):
        for shard, begin, end in zip(store.shards, store.starts, store.starts[1:]):
            rows = score_rows(task, store, np.arange(begin, end), forward, card, progress)
            made_from = digest(shard)
            if made_from in learnt_from:
                rows["flags"] = rows["flags"] | trained_on(task, store, rows["object_id"])
            rows |= {"weights": made_by, "input": made_from}
            # A row group per shard: the batch size must not show in the file.
            writer.write_table(as_table(rows, schema))
            count += len(rows["object_id"])
    spent = time.monotonic() - began
    print(f"wrote {out}: {count} rows, {len(store) / spent:.0f} objects/s")


def score_rows(
    task: str, store: Store, which: np.ndarray, forward: Forward, card: dict, progress: Progress
) -> dict[str, np.ndarray]:
    """Return the catalog rows of some rows of a store.

    Parameters
    ----------
    task : str
        Name of the task.
    store : Store
        The store.
    which : (k,) array of int
        Rows to score.
    forward : Forward
        The network.
    card : dict
        The weights' card, of which the calibration is used.
    progress : Progress
        Told of every batch.

    Returns
    -------
    dict
        ``object_id``, ``ra``, ``dec``, the task's columns, ``flags``, the store's quality columns;
        any number of rows.
    """
    parts = []
    for output in forward.over(store, which):
        parts.append(output)
        progress.advance(len(output["no_data"]))
    output = gather(parts)
    empty = output.pop("no_data") | replace_odd(output)
    objects = {name: values[which] for name, values in store.objects.items()}
    objects["flags"] = objects["flags"] | np.where(empty, FLAGS["no_data"], 0)
    module = tasks.load(task)
    facts = {
        "calibration": card["calibration"],
        "options": module.Options.model_validate(card["options"]),
    }
    rows = module.rows(output | facts, objects)
    where = rows_of(rows["object_id"], objects["object_id"])
    carried = ("ra", "dec", "flags", *quality_columns(objects, store.header.bands))
    shared = {name: objects[name][where] for name in carried}
    return shared | rows


def trained_on(task: str, store: Store, object_ids: np.ndarray) -> np.ndarray:
    """Return the flag of rows whose labels the weights were fitted or tuned on, (n,)."""
    _, labelled = tasks.load(task).targets(store.objects)
    seen = labelled & (store.objects["split"] != "test")
    where = rows_of(object_ids, store.objects["object_id"])
    return np.where(seen[where], FLAGS["trained"], 0)


def replace_odd(output: dict[str, np.ndarray]) -> np.ndarray:
    """Set what is not finite in a network's output to zero; return which rows had any, (n,)."""
    odd = False
    for values in output.values():
        bad = ~np.isfinite(values)
        values[bad] = 0
        odd = odd | bad.any(axis=tuple(range(1, bad.ndim)))
    return odd


def rows_of(wanted: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return where in ``ids`` each wanted id lies; a task may give any number of rows an object."""
    if np.array_equal(wanted, ids):
        return np.arange(len(ids))
    order = np.argsort(ids, kind="stable")
    return order[np.searchsorted(ids[order], wanted)]


def schema_of(
    columns: tuple[tasks.Column, ...], id_type: np.dtype, quality: list[str], settings: TaskOptions
) -> pa.Schema:
    """Return the typed columns of a task's rows; its options say how long its lists are."""
    object_id = pa.int64() if id_type.kind in "iu" else pa.string()
    fields = [("object_id", object_id), ("ra", pa.float64()), ("dec", pa.float64())]
    for column in columns:
        kind = pa.string() if column.dtype == "str" else pa.from_numpy_dtype(column.dtype)
        if column.length:
            kind = pa.list_(kind, getattr(settings, column.length))
        fields.append((column.name, kind))
    fields += [("flags", pa.int32()), *((name, pa.float32()) for name in quality)]
    return pa.schema([*fields, ("weights", pa.string()), ("input", pa.string())])


def as_table(rows: dict, schema: pa.Schema) -> pa.Table:
    """Return the rows with the schema's types, single values repeated."""
    n = len(rows["object_id"])

    def column(field: pa.Field) -> pa.Array:
        values = rows[field.name]
        if isinstance(values, str):
            return pa.array([values] * n, field.type)
        if values.ndim == 2:
            flat = pa.array(values.ravel(), field.type.value_type)
            return pa.FixedSizeListArray.from_arrays(flat, type=field.type)
        return pa.array(values, field.type)

    return pa.table([column(field) for field in schema], schema)
