"""Columns of every catalog: those all tasks share, around the task's own."""

from __future__ import annotations

import pyarrow as pa

from astroml import tasks
from astroml.store.layout import FLAG_MEANING, FLAGS
from astroml.tasks import Column

FIRST = (
    Column("object_id", "int64", "", "meta.id;meta.main", "Object, as the manifest names it"),
    Column("ra", "float64", "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS"),
    Column("dec", "float64", "deg", "pos.eq.dec;meta.main", "Declination, ICRS"),
)
LAST = (
    Column(
        "flags",
        "int32",
        "",
        "meta.code.qual",
        "Quality, bits added up: "
        + "; ".join(f"{bit} {name} ({FLAG_MEANING[name]})" for name, bit in FLAGS.items()),
    ),
    Column("weights", "str", "", "meta.id;meta.software", "Hash of the weights that made the row"),
    Column("input", "str", "", "meta.id;meta.dataset", "Hash of the shard that the row is from"),
)


def all_columns(task: str) -> tuple[Column, ...]:
    """Return every column of a task's catalog, in order."""
    return (*FIRST, *tasks.load(task).COLUMNS, *LAST)


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type of a column."""
    kinds = {"str": pa.string(), "bool": pa.bool_()}
    return kinds.get(column.dtype) or getattr(pa, column.dtype)()
