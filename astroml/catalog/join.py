"""All of a run's catalogs as one: a row per object, with what every task says of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from astroml import tasks
from astroml.catalog.columns import FIRST, HEALPIX
from astroml.catalog.sheet import Sheet, along_the_sky, read_sheet
from astroml.errors import AstromlError
from astroml.provenance import stamp

KEYS = ("object_id", HEALPIX.name)
"""What two rows of one object share: a simulated galaxy and a simulated halo may have one id, but
not one place."""

SHARED = (*(column.name for column in FIRST), HEALPIX.name)


def join(paths) -> Sheet:
    """Join catalogs by object: a full outer join, in the order of the sky.

    A column that several catalogs have gets the task's name in front, such as ``lens_flags``;
    others keep their names. What a task does not say of an object is null, of text empty. Columns
    of lists stay in their own catalogs, and so do tasks with several rows per object
    (``MANY_ROWS``).

    Parameters
    ----------
    paths : list of path
        Parquet files, ``<task>.parquet``.
    """
    paths = [Path(path) for path in paths]
    if many := [path for path in paths if has_many_rows(path.stem)]:
        raise AstromlError(
            f"{many[0]}: has several rows per object, so it joins no other; leave it out"
        )
    sheets = [_flat(read_sheet(path)) for path in paths]
    kinds = {str(sheet.table.schema.field("object_id").type) for sheet in sheets if sheet.table}
    if len(kinds) > 1:
        raise AstromlError(
            f"{paths[0].parent}: object_id is a number in some catalogs, text in others"
        )
    names = Counter(column.name for sheet in sheets for column in sheet.columns)
    sheets = [_prefixed(sheet, {name for name in names if names[name] > 1}) for sheet in sheets]
    columns = [column for sheet in sheets for column in sheet.columns]
    twice = [name for name, count in Counter(one.name for one in columns).items() if count > 1]
    if own := sorted(set(twice) - set(SHARED)):
        raise AstromlError(f"{paths[0].parent}: two catalogs have a column {own[0]}; rename one")
    table = sheets[0].table
    for sheet in sheets[1:]:
        table = _outer(table, sheet.table)
    known = {column.name: column for column in columns}
    order = [*SHARED[:-1], *(name for name in known if name not in SHARED), SHARED[-1]]
    for at, one in enumerate(table.schema):
        if pa.types.is_string(one.type):  # astropy would read a null as the text None
            table = table.set_column(at, one.name, pc.fill_null(table[one.name], ""))
    table = along_the_sky(table).select(order)
    text = "Every object, with what each task says of it: " + ", ".join(one.name for one in sheets)
    about = stamp("catalog", {"task": "all"}, paths)
    return Sheet(table, tuple(known[name] for name in order), "all", text, about)


def has_many_rows(task: str) -> bool:
    """Return whether a task's catalog may have several rows of one object."""
    return task in tasks.names() and getattr(tasks.load(task), "MANY_ROWS", False)


def _flat(sheet: Sheet) -> Sheet:
    """Return a catalog without its columns of lists."""
    if lost := set(SHARED) - set(sheet.table.column_names):
        raise AstromlError(
            f"{sheet.name}: the catalog has no column {sorted(lost)[0]}; write it anew with this "
            "version"
        )
    columns = tuple(column for column in sheet.columns if not column.length)
    return replace(sheet, table=sheet.table.select([one.name for one in columns]), columns=columns)


def _prefixed(sheet: Sheet, names: set[str]) -> Sheet:
    """Return a catalog whose columns among ``names`` have the task's name in front."""
    columns = tuple(
        replace(one, name=f"{sheet.name}_{one.name}")
        if one.name in names and one.name not in SHARED
        else one
        for one in sheet.columns
    )
    table = sheet.table.rename_columns([one.name for one in columns]).replace_schema_metadata()
    bare = pa.schema([pa.field(one.name, one.type) for one in table.schema])
    return replace(sheet, table=table.cast(bare), columns=columns)


def _outer(left: pa.Table, right: pa.Table) -> pa.Table:
    """Join two tables by ``KEYS``; a position is taken from whichever has the object."""
    ids = pa.string() if pa.string() in (left["object_id"].type, right["object_id"].type) else None
    if ids:  # a catalog without rows cannot know that ids are text
        left, right = (
            one.set_column(0, "object_id", one["object_id"].cast(ids)) for one in (left, right)
        )
    joined = left.join(
        right,
        keys=list(KEYS),
        join_type="full outer",
        right_suffix="_again",
        coalesce_keys=True,
        use_threads=False,
    )
    for name in ("ra", "dec"):
        both = pc.coalesce(joined[name], joined[f"{name}_again"])
        joined = joined.drop_columns([f"{name}_again"])
        joined = joined.set_column(joined.column_names.index(name), name, both)
    return joined
