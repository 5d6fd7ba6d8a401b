"""More like this, and what a person finds interesting: both by the embedding of a catalog."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from astroml import interest
from astroml.catalog import formats, query
from astroml.catalog.sheet import Sheet, read_sheet
from astroml.errors import AstromlError
from astroml.neighbours import nearest, whitened
from astroml.rows import as_numpy
from astroml.store.layout import FLAGS
from astroml.tasks import Column

EMBEDDING = "embedding"
"""Column that says what is alike."""

DISTANCE = Column(
    "distance",
    "float32",
    "",
    "stat.value",
    "Distance from the object asked for, in the embedding, each dimension in units of its scatter",
)

RERANKED = (
    Column(
        "interest_rank",
        "int64",
        "",
        "stat.rank",
        "Rank by interest, 1 the highest; labelled or not",
    ),
    Column(
        "interest",
        "float32",
        "",
        "stat.value",
        "Interest to expect from the labels, 0 to 5: mean of a Gaussian process on the embeddings; "
        "where no label is near, it follows the score",
    ),
    Column(
        "interest_err",
        "float32",
        "",
        "stat.error",
        "Standard deviation of interest, that of one person's label included",
    ),
    Column(
        "expected_improvement",
        "float32",
        "",
        "stat.value",
        "Mean gain over the best label so far: the highest are worth a label next",
    ),
    Column("label", "float32", "", "stat.value", "Interest that the labels state; NaN for none"),
)


def points_of(table, where: str, names=(EMBEDDING,)) -> tuple[np.ndarray, np.ndarray]:
    """Return places (n, d), each dimension of scatter 1, and which rows (n,) have one.

    They are the embedding, which has to be there, and those of the other columns named that are.
    """
    if EMBEDDING not in table.column_names:
        known = ", ".join(table.column_names)
        raise AstromlError(f"{where}: no column {EMBEDDING}; found {known}")
    points = np.hstack([as_numpy(table[name]) for name in names if name in table.column_names])
    usable = np.isfinite(points).all(1)
    if "flags" in table.column_names:
        usable &= (as_numpy(table["flags"]) & FLAGS["no_data"]) == 0
    scaled = np.zeros(points.shape, np.float32)
    scaled[usable] = whitened(points[usable])
    return scaled, usable


def places_of(ids: np.ndarray, wanted, where: str) -> np.ndarray:
    """Return the row of each wanted object, ids as they are or as text."""
    known = {one: row for row, one in enumerate(ids.astype(str).tolist())}
    for one in map(str, wanted):
        if one not in known:
            near = query.close(one, known) if len(known) <= 50 else "; name one of its object_id"
            raise AstromlError(f"object {one}: not in {where}{near}")
    return np.array([known[str(one)] for one in wanted], int)


def similar(sheet: Sheet, object_id, k: int = 20) -> Sheet:
    """Return the objects most like one, the nearest first, with ``distance`` as a first column.

    Parameters
    ----------
    sheet : Sheet
        Rows with an ``embedding``.
    object_id : int or str
        The object; it is not among those returned.
    k : int
        Objects, at most.
    """
    points, usable = points_of(sheet.table, sheet.name)
    ids = as_numpy(sheet.table["object_id"])
    (row,) = places_of(ids, [object_id], sheet.name)
    if not usable[row]:
        raise AstromlError(f"object {object_id}: it has no usable pixel, so nothing is like it")
    others = np.flatnonzero(usable & (np.arange(len(ids)) != row))
    if not len(others):
        raise AstromlError(f"{sheet.name}: no other object with an embedding")
    index, distance = nearest(points[others], points[row][None], k)
    return _with_columns(sheet, others[index[0]], {DISTANCE: distance[0]})


def rerank(sheet: Sheet, labels: dict, column: str = "anomaly_score") -> Sheet:
    """Return all rows in the order of the interest that a person's labels let expect.

    Parameters
    ----------
    sheet : Sheet
        Rows with an ``embedding``.
    labels : dict
        object_id -> interest, 0 to 5.
    column : str
        What the list is sorted by where no label is near.

    Returns
    -------
    Sheet
        With ``RERANKED`` as first columns; see ``interest``. Rows without a usable pixel come last.
    """
    table = sheet.table
    if column not in table.column_names:
        raise AstromlError(f"column {column!r}: not in {sheet.name}")
    ids = as_numpy(table["object_id"])
    points, usable = points_of(table, sheet.name, interest.SPACES)
    given = np.full(len(ids), np.nan, np.float32)
    given[places_of(ids, labels, sheet.name)] = list(labels.values())
    known = np.flatnonzero(np.isfinite(given) & usable)
    if not len(known):
        raise AstromlError("no label of an object with usable pixels; label one at least")
    prior = interest.expected(np.where(usable, as_numpy(table[column]), np.nan))
    mean, error = interest.learn(points, prior, known, given[known].astype(float))
    gain = interest.improvement(mean, error, float(given[known].max()))
    for values in (mean, error, gain):
        values[~usable] = np.nan
    order = np.lexsort((ids, -np.nan_to_num(mean, nan=-np.inf)))
    values = (np.arange(1, len(ids) + 1), *(one[order] for one in (mean, error, gain, given)))
    return _with_columns(sheet, order, dict(zip(RERANKED, values)))


def _with_columns(sheet: Sheet, rows: np.ndarray, added: dict[Column, np.ndarray]) -> Sheet:
    """Return some rows of a sheet, in the order given, with further columns behind object_id."""
    import pyarrow as pa

    table = sheet.table.take(pa.array(rows))
    names = {column.name for column in added}
    kept = [column for column in sheet.columns if column.name not in names]
    columns = (kept[0], *added, *kept[1:])
    made = {one.name: pa.array(values.astype(one.dtype)) for one, values in added.items()}
    arrays = [made[one.name] if one.name in made else table[one.name] for one in columns]
    table = pa.table(arrays, names=[one.name for one in columns])
    return Sheet(table, columns, sheet.name, sheet.text, sheet.about)


def read_labels(path: Path) -> dict:
    """Read a table of labels: columns ``object_id`` and ``interest``, 0 to 5; empty cells are none.

    Returns
    -------
    dict
        object_id as text -> interest.
    """
    from astroml.catalog.crossmatch import read_table

    table = read_table(Path(path))
    lost = [name for name in ("object_id", "interest") if name not in table.colnames]
    if lost:
        raise AstromlError(
            f"{path}: no column {' and '.join(lost)}; found {', '.join(table.colnames)}"
        )
    ids = [str(one) for one in table["object_id"]]
    if len(ids) != len(set(ids)):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise AstromlError(f"{path}: object {twice} is labelled twice; keep one line for it")
    labels = {}
    for one, value in zip(ids, table["interest"]):
        if np.ma.is_masked(value) or str(value) in ("", "nan"):
            continue
        labels[one] = checked(one, value, str(path))
    return labels


def checked(object_id, value, where: str) -> float:
    """Return a label as a number from 0 to 5."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if not 0 <= number <= interest.MOST:
        raise AstromlError(
            f"{where}: object {object_id}: found interest {value}, expected 0 to {interest.MOST:g}"
        )
    return number


def write_similar(catalog: Path, object_id: str, k: int, out: Path | None) -> None:
    """Find the objects most like one; print them, or write them."""
    _told(similar(read_sheet(catalog), object_id, k), out)


def write_reranked(catalog: Path, labels: Path, column: str, out: Path | None) -> None:
    """Sort a catalog by what a file of labels makes interesting; print its top, or write it."""
    if out:
        formats.writer_of(out)
    _told(rerank(read_sheet(catalog), read_labels(labels), column), out)


SHOWN = 20
"""Rows that are printed."""

PRINTED = ("object_id", "distance", *(one.name for one in RERANKED), "ra", "dec", "anomaly_score")
"""Columns that are printed, those that there are."""


def _told(found: Sheet, out: Path | None) -> None:
    """Write rows if a file is named, else print the first of them."""
    from rich.console import Console
    from rich.table import Table

    from astroml.catalog.answer import as_text, width_of_output

    if out:
        formats.write(found, out)
        print(f"wrote {out}: {len(found.table)} rows")
        return
    names = [name for name in PRINTED if name in found.table.column_names]
    shown = Table()
    for name in names:
        # An object_id that is cut off cannot be asked for.
        shown.add_column(name, justify="right", overflow="fold")
    for row in found.table.select(names).slice(0, SHOWN).to_pylist():
        shown.add_row(*(as_text(name, value) for name, value in row.items()))
    Console(width=width_of_output()).print(shown)
