"""Gather rows into a catalog: one checked table, written with its meaning in every format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from astroml import maps, tasks
from astroml.catalog import formats, join
from astroml.catalog.columns import HEALPIX, all_columns, arrow_type, quality
from astroml.catalog.hats import write_hats
from astroml.catalog.sheet import Sheet, along_the_sky, read_sheet
from astroml.errors import AstromlError
from astroml.provenance import replacing, stamp
from astroml.rows import as_numpy, read_parquet
from astroml.store.layout import FLAGS
from astroml.tasks import Column


def write_catalog(task: str, rows_paths, outs, hats=None) -> int:
    """Gather a task's rows into its catalog and return the number of rows.

    Parameters
    ----------
    task : str
        Name of the task.
    rows_paths : list of path
        Parquet files that infer wrote, in the order wanted.
    outs : list of path
        Files to write; the ending says how: one of ``formats.WRITERS``, or of the task's
        ``EXPORTS``; ``_masks.h5`` for the maps of a task that has any.
    hats : path, optional
        Folder to write as a HATS catalog.

    Raises
    ------
    AstromlError
        If a column is missing, unknown, of another type or null, an object comes twice, or lists
        differ in length.
    """
    exports = getattr(tasks.load(task), "EXPORTS", {})
    rows_paths, outs = ([Path(one) for one in paths] for paths in (rows_paths, outs))
    drawn = [out for out in outs if has_maps(task) and out.name.endswith(maps.ENDING)]
    for out in drawn:
        with replacing(out) as part:
            count = maps.gather_maps(rows_paths, part)
    outs = [out for out in outs if out not in drawn]
    if not outs and not hats:
        return count
    for out in outs:
        if out.suffix not in {*formats.WRITERS, *exports}:
            known = " or ".join((*formats.WRITERS, *exports))
            raise AstromlError(f"{out}: found {out.suffix!r}, expected {known}")
    table, columns = gather(task, rows_paths)
    about = stamp("catalog", {"task": task}, rows_paths)
    text = tasks.load(task).__doc__.strip().splitlines()[0]
    _write_own(table, exports, outs)
    others = [out for out in outs if out.suffix not in exports]
    _write(Sheet(table, columns, task, text, about), others, hats)
    return len(table)


def export(catalogs, outs, hats=None) -> int:
    """Write catalogs that are there in other formats; several are joined by object.

    Parameters
    ----------
    catalogs : list of path
        Parquet files that ``write_catalog`` wrote.
    outs : list of path
        Files to write, the ending says how; of one catalog named as its task those of the task's
        ``EXPORTS`` too.
    hats : path, optional
        Folder to write as a HATS catalog.

    Returns
    -------
    int
        Number of rows.
    """
    outs = [Path(out) for out in outs]
    task = Path(catalogs[0]).stem if len(catalogs) == 1 else None
    own = getattr(tasks.load(task), "EXPORTS", {}) if task in tasks.names() else {}
    for out in outs:
        if out.suffix not in own:
            formats.writer_of(out)
    sheet = join.join(catalogs) if len(catalogs) > 1 else read_sheet(catalogs[0])
    _write_own(sheet.table, own, outs)
    _write(sheet, [out for out in outs if out.suffix not in own], hats)
    return len(sheet.table)


def _write_own(table: pa.Table, exports: dict, outs: list[Path]) -> None:
    """Write the files that only the task knows how to."""
    for out in outs:
        if out.suffix in exports:
            with replacing(out) as part:
                exports[out.suffix](
                    {name: as_numpy(table[name]) for name in table.column_names}, part
                )


def _write(sheet: Sheet, outs: list[Path], hats) -> None:
    for out in outs:
        formats.write(sheet, out)
    if hats:
        write_hats(sheet, hats)


def has_maps(task: str) -> bool:
    """Return whether infer draws maps of a task."""
    return hasattr(tasks.load(task), "MAPS")


def gather(task: str, paths: list[Path]) -> tuple[pa.Table, tuple[Column, ...]]:
    """Read, check and concatenate a task's rows.

    Returns
    -------
    table : pyarrow.Table
        Columns in the catalog's order, rows along the sky.
    columns : tuple of Column
        What they mean; ``object_id`` is text where the manifest's ids are text.
    """
    if not paths:
        raise AstromlError("no rows given; name the Parquet files that infer wrote")
    columns = all_columns(task, max(map(_names, paths), key=len))
    made = {HEALPIX.name, *(one.name for one in getattr(tasks.load(task), "RANK_COLUMNS", ()))}
    of_rows = tuple(column for column in columns if column.name not in made)
    parts = [_read(path, of_rows) for path in paths]
    ids = {str(part.schema.field("object_id").type) for part in parts if len(part)}
    if len(ids) > 1:
        raise AstromlError(
            f"{paths[0].parent}: object_id is a number in some files, text in others"
        )
    text = ids == {"string"} or (not ids and parts[0].schema.field("object_id").type == pa.string())
    if text:
        columns = (replace(columns[0], dtype="str"), *columns[1:])
        of_rows = (columns[0], *of_rows[1:])
    lengths = _lengths(parts, of_rows, paths)
    schema = pa.schema(
        [(column.name, arrow_type(column, lengths.get(column.name, 0))) for column in of_rows]
    )
    table = pa.concat_tables([part if len(part) else schema.empty_table() for part in parts])
    if not getattr(tasks.load(task), "MANY_ROWS", False):
        _refuse_duplicates(table["object_id"], paths)
    if hasattr(tasks.load(task), "unique"):
        table = _merge(task, table)
    table = along_the_sky(_of_whole(task, table))
    return table.select([column.name for column in columns]), columns


def _merge(task: str, table: pa.Table) -> pa.Table:
    """Return the rows that stay where objects overlap on the sky, and say how many did not."""
    rows = {name: as_numpy(table[name]) for name in table.column_names}
    stays = tasks.load(task).unique(rows)
    print(f"{task}: merged {(~stays).sum()} of {len(stays)} rows, seen in overlapping objects too")
    return table.filter(pa.array(stays, pa.bool_()))


def _of_whole(task: str, table: pa.Table) -> pa.Table:
    """Return the table with the columns that only all rows together can tell, and their ranks."""
    module = tasks.load(task)
    if hasattr(module, "whole"):
        # In one order, whatever the files were: what is drawn at random is drawn by place.
        table = table.sort_by("object_id")
        rows = {name: as_numpy(table[name]) for name in table.column_names}
        for name, values in module.whole(rows).items():
            table = table.append_column(name, pa.array(values))
    for name, ranked in getattr(module, "RANKS", {}).items():
        table = table.append_column(name, pa.array(_rank(table, ranked), pa.int64()))
    return table


def _rank(table: pa.Table, column: str) -> np.ndarray:
    """Return the rank (n,) by a column, 1 the highest; without pixels or a value the last."""
    ids, flags, values = (as_numpy(table[name]) for name in ("object_id", "flags", column))
    known = np.isfinite(values) & (flags & FLAGS["no_data"] == 0)
    order = np.lexsort((ids, np.where(known, -values.astype(float), np.inf), ~known))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(1, len(order) + 1)
    return rank


def _lengths(
    parts: list[pa.Table], columns: tuple[Column, ...], paths: list[Path]
) -> dict[str, int]:
    """Return how many values a cell of each column of lists holds, the same in every file."""
    lengths = {}
    for column in columns:
        if not column.length:
            continue
        sizes = [part.schema.field(column.name).type.list_size for part in parts]
        for path, size in zip(paths, sizes):
            if size != sizes[0]:
                raise AstromlError(
                    f"{path}: column {column.name}: found lists of {size} values, but of "
                    f"{sizes[0]} in {paths[0]}; infer all with the same weights"
                )
        lengths[column.name] = sizes[0]
    return lengths


def _names(path: Path) -> list[str]:
    """Return the names of a file's columns; none if it cannot be read, which ``_read`` tells."""
    try:
        return pq.read_schema(path).names
    except (OSError, pa.ArrowInvalid):
        return []


def _read(path: Path, columns: tuple[Column, ...]) -> pa.Table:
    """Read one file of rows and hold it against the columns."""
    table = read_parquet(path, "no such rows; run infer first")
    names = [column.name for column in columns]
    if not len(table):  # no object, so nothing told which quality columns there are
        for column in quality(set(names) - set(table.column_names)):
            table = table.append_column(column.name, pa.array([], arrow_type(column)))
    lost = [name for name in names if name not in table.column_names]
    extra = [name for name in table.column_names if name not in names]
    if lost or extra:
        clauses = [f"missing {', '.join(lost)}"] * bool(lost)
        clauses += [f"unknown {', '.join(extra)}"] * bool(extra)
        raise AstromlError(f"{path}: columns {'; '.join(clauses)}; infer again with this version")
    arrays = [_check(table[column.name], column, path) for column in columns]
    return pa.table(arrays, names=names)


def _check(values: pa.ChunkedArray, column: Column, path: Path) -> pa.ChunkedArray:
    """Return the values in the column's type; only text may be stored in several ways."""
    if column.length:
        return _check_lists(values, column, path)
    kind, wanted = values.type, arrow_type(column)
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_string(plain) or pa.types.is_large_string(plain):
        values = values.cast(pa.string())
        if column.name == "object_id":
            wanted = pa.string()
    if values.type != wanted:
        text = " or string" if column.name == "object_id" else ""
        raise AstromlError(f"{path}: column {column.name}: found {kind}, expected {wanted}{text}")
    if values.null_count and pa.types.is_floating(wanted):
        return pc.fill_null(values, float("nan"))
    if values.null_count:
        raise AstromlError(f"{path}: column {column.name}: {values.null_count} values are null")
    return values


def _check_lists(values: pa.ChunkedArray, column: Column, path: Path) -> pa.ChunkedArray:
    """Return lists of one length in the column's type."""
    kind, inner = values.type, arrow_type(column)
    if not pa.types.is_fixed_size_list(kind) or kind.value_type != inner:
        raise AstromlError(
            f"{path}: column {column.name}: found {kind}, expected {inner} lists of one length"
        )
    if values.null_count:
        raise AstromlError(f"{path}: column {column.name}: {values.null_count} values are null")
    flat = values.combine_chunks().flatten()
    if flat.null_count and not pa.types.is_floating(inner):
        raise AstromlError(f"{path}: column {column.name}: {flat.null_count} values are null")
    if flat.null_count:
        flat = pc.fill_null(flat, float("nan"))
    wanted = arrow_type(column, kind.list_size)
    return pa.chunked_array([pa.FixedSizeListArray.from_arrays(flat, type=wanted)])


def _refuse_duplicates(ids: pa.ChunkedArray, paths: list[Path]) -> None:
    counts = pc.value_counts(ids)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise AstromlError(
            f"{paths[0].parent}: {len(twice)} objects come more than once, such as "
            f"{twice[0]['values']}; give each file of rows once, and unique ids in the manifest"
        )
