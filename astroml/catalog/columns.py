"""Columns of every catalog: those all tasks share, around the task's own."""

from __future__ import annotations

from dataclasses import replace

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


QUALITY = (
    Column(
        "masked_fraction", "float32", "", "meta.code.qual", "Masked part of the worst band, 0 to 1"
    ),
    Column("dx", "float32", "pix", "pos.cartesian.x;arith.diff", "Object from the centre, in x"),
    Column("dy", "float32", "pix", "pos.cartesian.y;arith.diff", "Object from the centre, in y"),
    Column(
        "centroid_dx",
        "float32",
        "pix",
        "pos.cartesian.x;arith.diff",
        "Centroid of the light from the object's position, in x; NaN where there is none",
    ),
    Column(
        "centroid_dy",
        "float32",
        "pix",
        "pos.cartesian.y;arith.diff",
        "Centroid of the light from the object's position, in y; NaN where there is none",
    ),
)
"""Columns of a catalog whose store measured them."""

QUALITY_PER_BAND = (
    Column("masked", "float32", "", "meta.code.qual", "Masked part of band {}, 0 to 1"),
    Column("sky", "float32", "", "instr.skyLevel", "Sky level of band {} in units of its noise"),
)
"""The same for each band: the name gets the band's behind it."""


def all_columns(task: str, known=()) -> tuple[Column, ...]:
    """Return every column of a task's catalog, in order.

    Parameters
    ----------
    task : str
        Name of the task.
    known : iterable of str
        Names of the columns at hand, of which those of quality are taken along.
    """
    flags, *made_by = LAST
    return (*FIRST, *tasks.load(task).COLUMNS, flags, *quality(known), *made_by)


def quality(known) -> list[Column]:
    """Return what the quality columns among some names mean, in the names' order."""
    whole = {column.name: column for column in QUALITY}
    found = []
    for name in known:
        kind, _, band = name.partition("_")
        shared = next((column for column in QUALITY_PER_BAND if column.name == kind), None)
        if name in whole:
            found.append(whole[name])
        elif shared and band:
            about = shared.description.format(band)
            found.append(replace(shared, name=name, description=about))
    return found


def arrow_type(column: Column) -> pa.DataType:
    """Return the Arrow type of a column."""
    kinds = {"str": pa.string(), "bool": pa.bool_()}
    return kinds.get(column.dtype) or getattr(pa, column.dtype)()
