"""Rows that ``infer`` wrote: read them, and put the store's labels beside them.

``score`` measures what ``report`` draws, so both read through here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from astroml import tasks
from astroml.errors import AstromlError
from astroml.store import FLAGS, Store


def read_rows(paths, keep: Callable | None = None) -> dict[str, np.ndarray]:
    """Read rows that infer wrote, in the order given.

    Parameters
    ----------
    paths : list of path
        Parquet files with the same columns.
    keep : callable, optional
        Says of a column, as Arrow's field, whether to read it; without it all are read. Lists are
        most of a file.

    Returns
    -------
    dict
        column -> (n,) array, (n, k) where a cell holds a list; text as numpy strings.
    """
    import pyarrow as pa

    paths = [Path(path) for path in paths]
    if not paths:
        raise AstromlError("no rows given; name the Parquet files that infer wrote")
    parts = []
    for path in paths:
        parts.append(read_parquet(path, "no such rows; run infer first", keep))
        if len(parts) > 1 and not len(parts[-1]):
            parts.pop()  # no row, so nothing told which quality columns there are
            continue
        if len(parts) > 1 and not len(parts[0]):
            parts.pop(0)
        if odd := set(parts[-1].column_names) ^ set(parts[0].column_names):
            raise AstromlError(
                f"{path}: columns {', '.join(sorted(odd))} differ from {paths[0]}; "
                "infer both with the same version"
            )
    # A part without rows cannot know whether ids are numbers or text.
    parts = [part for part in parts if len(part)] or parts[:1]
    table = pa.concat_tables(
        [part.select(parts[0].column_names) for part in parts], promote_options="permissive"
    )
    return {name: as_numpy(table[name]) for name in table.column_names}


def read_parquet(path: Path, missing: str, keep: Callable | None = None):
    """Read a Parquet file as an Arrow table; ``missing`` is what is said where there is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise AstromlError(f"{path}: {missing}")
    try:
        file = pq.ParquetFile(path)
        return file.read([field.name for field in file.schema_arrow if keep is None or keep(field)])
    except pa.ArrowInvalid as fault:
        raise AstromlError(f"{path}: not a Parquet file that can be read ({fault})") from None


def as_numpy(column) -> np.ndarray:
    """Return an Arrow column as (n,) array, (n, k) of lists; text as numpy strings."""
    length = getattr(column.type, "list_size", 0)
    if length:
        return column.combine_chunks().flatten().to_numpy().reshape(len(column), length)
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
    module = tasks.load(task)
    targets, labelled = module.targets(objects)
    keep = labelled & (True if split == "all" else objects["split"] == split)
    if "flags" in rows:
        usable = (np.asarray(rows["flags"]) & FLAGS["no_data"]) == 0
    else:
        usable = np.ones(len(rows["object_id"]), bool)
    place = order[np.searchsorted(ids, rows["object_id"])]  # row -> object
    chosen = keep[place] & usable
    place = place[chosen]
    truth = {name: column[place] for name, column in {**objects, **targets}.items()}
    optional = getattr(module, "OPTIONAL", ())
    for name in [name for name in targets if name not in optional]:
        if truth[name].dtype.kind == "f" and np.isnan(truth[name]).any():
            count = int(np.isnan(truth[name]).sum())
            raise AstromlError(f"label {name}: {count} of {len(place)} are NaN; mend the manifest")
    return truth, {name: column[chosen] for name, column in rows.items()}


def baselines(task: str, store: Store, object_ids: np.ndarray) -> dict[str, np.ndarray]:
    """Return what the task's other methods say of some objects; nothing if it has none.

    Parameters
    ----------
    task : str
        Name of the task.
    store : Store
        The labelled store.
    object_ids : (k,) array
        Objects wanted, all of them in the store's test split: of what they learnt from, other
        methods say too much, or nothing.

    Returns
    -------
    dict
        column -> (k,) array.
    """
    module = tasks.load(task)
    if not hasattr(module, "baselines"):
        return {}
    known = store.objects["object_id"]
    order = np.argsort(known, kind="stable")
    place = order[np.searchsorted(known, object_ids, sorter=order)]
    return {name: values[place] for name, values in module.baselines(store).items()}
