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
from astroml.nets.device import start
from astroml.nets.forward import gather
from astroml.nets.members import Member, load_members
from astroml.progress import Progress
from astroml.provenance import digest, replacing, stamp
from astroml.store import FLAGS, Store, open_store, quality_columns


def infer(
    task: str,
    store_paths: list[Path],
    weights: Path | list[Path],
    out: Path,
    settings: Infer,
    *,
    device: str = "auto",
    late: dict | None = None,
) -> None:
    """Score every cutout of a store and write the rows as Parquet.

    Parameters
    ----------
    task : str
        Name of the task.
    store_paths : list of Path
        Store: a folder of shards, or shards.
    weights : Path or list of Path
        What ``train`` wrote; several are the networks of an ensemble.
    out : Path
        Parquet file to write: ``object_id``, ``ra``, ``dec``, the task's columns, ``flags``,
        the store's quality columns, ``weights`` and ``input`` (16 hex digits of the hash of the
        weights file, of several of all their hashes, and of the shard).
    settings : Infer
        Batch size and device.
    device : str
        ``auto``, ``cpu`` or ``cuda``; ``auto`` leaves the choice to ``settings``.
    late : dict, optional
        Options of the task that training did not read, in place of those in the weights' card.
    """
    store = open_store(list(store_paths))
    files = [Path(one) for one in ([weights] if isinstance(weights, str | Path) else weights)]
    fabric = start(settings.device if device == "auto" else device)
    members = load_members(task, files, store, fabric, settings.batch_size, late or {})
    hashes = [digest(file) for file in files]
    made_by = hashes[0] if len(hashes) == 1 else digest(hashes)
    # Only what changes the rows: neither batch size nor device is told.
    facts = stamp("infer", late or {}, store.shards, task=task, weights=made_by)
    columns = tasks.load(task).COLUMNS
    quality = quality_columns(store.objects, store.header.bands)
    id_type = store.objects["object_id"].dtype
    schema = schema_of(columns, id_type, quality, members[0].options)
    schema = schema.with_metadata({"astroml": json.dumps(facts, sort_keys=True)})
    began, count = time.monotonic(), 0
    with (
        Progress("infer", len(store) * len(members)) as progress,
        replacing(out) as part,
        pq.ParquetWriter(part, schema, compression="zstd") as writer,
    ):
        for shard, begin, end in zip(store.shards, store.starts, store.starts[1:]):
            which, made_from = np.arange(begin, end), digest(shard)
            parts = [score_rows(task, store, which, member, progress) for member in members]
            # What is not the task's own is the same in all parts.
            rows = parts[0] | (tasks.load(task).combine(parts) if len(parts) > 1 else {})
            if any(made_from in member.learnt_from for member in members):
                rows["flags"] = rows["flags"] | trained_on(task, store, rows["object_id"])
            rows |= {"weights": made_by, "input": made_from}
            # A row group per shard: the batch size must not show in the file.
            writer.write_table(as_table(rows, schema))
            count += len(rows["object_id"])
    spent = time.monotonic() - began
    print(f"wrote {out}: {count} rows, {len(store) / spent:.0f} objects/s")


def score_rows(
    task: str, store: Store, which: np.ndarray, member: Member, progress: Progress
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
    member : Member
        The network and its calibration.
    progress : Progress
        Told of every batch.

    Returns
    -------
    dict
        ``object_id``, ``ra``, ``dec``, the task's columns, ``flags``, the store's quality columns;
        any number of rows.
    """
    parts = []
    for output in member.forward.over(store, which):
        parts.append(output)
        progress.advance(len(output["no_data"]))
    output = gather(parts)
    empty = output.pop("no_data") | replace_odd(output)
    objects = {name: values[which] for name, values in store.objects.items()}
    objects["flags"] = objects["flags"] | np.where(empty, FLAGS["no_data"], 0)
    facts = {"calibration": member.calibration, "options": member.options}
    rows = tasks.load(task).rows(output | facts, objects)
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
