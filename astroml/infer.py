"""Weights and a store to catalog rows: in order, and the same whatever the batch size."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from astroml import maps, tasks
from astroml.config import Infer, TaskOptions
from astroml.nets.device import start
from astroml.nets.forward import gather
from astroml.nets.members import Member, load_members
from astroml.progress import Progress
from astroml.provenance import digest, replacing, stamp
from astroml.store import FLAGS, Store, open_store, quality_columns

TOGETHER = 4
"""Batches of which the maps are held at once."""


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
        weights file, of several of all their hashes, and of the shard). Maps of a task that has
        ``MAPS`` come beside it, see ``maps``.
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
    began, count, lacking = time.monotonic(), 0, 0
    with (
        Progress("infer", len(store) * len(members)) as progress,
        replacing(out) as part,
        pq.ParquetWriter(part, schema, compression="zstd") as writer,
        drawing(task, out, store, facts) as draw,
    ):
        for shard, begin, end in zip(store.shards, store.starts, store.starts[1:]):
            which = np.arange(begin, end)
            # A shard is hashed once: that takes as long as reading it.
            made_from = facts["inputs"].get(shard.name) or digest(shard)
            rows = score_shard(task, store, which, members, progress, draw)
            if any(made_from in member.learnt_from for member in members):
                rows["flags"] = rows["flags"] | trained_on(task, store, rows["object_id"])
            rows |= {"weights": made_by, "input": made_from}
            # A row group per shard: the batch size must not show in the file.
            writer.write_table(as_table(rows, schema))
            count += len(rows["object_id"])
            lacking += int(np.count_nonzero(rows["flags"] & FLAGS["missing_band"]))
    spent = time.monotonic() - began
    print(f"wrote {out}: {count} rows, {len(store) / spent:.0f} objects/s")
    if lacking:
        print(f"{lacking} of {count} rows lack a band: flag missing_band, columns masked_<band>")


def drawing(task: str, out: Path, store: Store, facts: dict):
    """Return the writer of a task's maps, a context; of a task without maps it gives None."""
    names = getattr(tasks.load(task), "CHANNELS", {})
    if not names:
        return nullcontext()
    return maps.map_writer(maps.beside(out), names, len(store), store.header, facts)


def score_shard(
    task: str,
    store: Store,
    which: np.ndarray,
    members: list[Member],
    progress: Progress,
    draw: Callable | None = None,
) -> dict[str, np.ndarray]:
    """Return the catalog rows of some rows of a store by all networks, their maps drawn.

    Parameters
    ----------
    task, store, which, progress
        See ``score_rows``.
    members : list of Member
        The networks.
    draw : callable, optional
        ``(object_id, maps)``, given the mean of the networks' maps, block by block: maps of a whole
        shard would not fit.
    """
    step = TOGETHER * members[0].forward.read_size if draw else max(len(which), 1)
    blocks = []
    for begin in range(0, max(len(which), 1), step):
        some, drawn = which[begin : begin + step], []
        parts = [score_rows(task, store, some, member, progress, drawn) for member in members]
        # What is not the task's own is the same in all parts.
        blocks.append(parts[0] | (tasks.load(task).combine(parts) if len(parts) > 1 else {}))
        if draw:
            mean = {
                name: np.mean([one[name] for one in drawn], axis=0).round().astype(np.uint8)
                for name in drawn[0]
            }
            draw(store.objects["object_id"][some], mean)
    return gather(blocks)


def score_rows(
    task: str,
    store: Store,
    which: np.ndarray,
    member: Member,
    progress: Progress,
    drawn: list | None = None,
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
    drawn : list, optional
        Where the task's maps of these rows are put, (k, channel, y, x) uint8 by their names.

    Returns
    -------
    dict
        ``object_id``, ``ra``, ``dec``, the task's columns, ``flags``, the store's quality columns;
        any number of rows.
    """
    parts, named = [], getattr(tasks.load(task), "MAPS", {})
    for output in member.forward.over(store, which):
        output |= {name: maps.packed(np.nan_to_num(output.pop(of))) for name, of in named.items()}
        parts.append(output)
        progress.advance(len(output["no_data"]))
    output = gather(parts)
    if drawn is not None:
        drawn.append({name: output[name] for name in named})
    output = {name: values for name, values in output.items() if name not in named}
    empty = output.pop("no_data") | replace_odd(output)
    objects = {name: values[which] for name, values in store.objects.items()}
    objects["flags"] = objects["flags"] | np.where(empty, FLAGS["no_data"], 0)
    facts = {"calibration": member.calibration, "options": member.options}
    facts |= {"pixel_scale": store.header.pixel_scale, "size": store.header.size}
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
