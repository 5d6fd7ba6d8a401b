"""A table with what its columns mean: what every writer takes, and what a Parquet file gives."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from astroml import __version__
from astroml.catalog.columns import HEALPIX
from astroml.rows import as_numpy, read_parquet
from astroml.tasks import Column

TYPES = {"string": "str", "large_string": "str", "float": "float32", "double": "float64"}
"""Arrow's names of types that a ``Column`` calls otherwise."""


@dataclass(frozen=True)
class Sheet:
    """Rows, and what a reader must know of them."""

    table: pa.Table
    columns: tuple[Column, ...]
    """One per column of the table, in its order."""
    name: str
    text: str = ""
    """What the table is, in a sentence."""
    about: dict = field(default_factory=dict)
    """What made it, as ``provenance.stamp`` tells."""


def meaning(schema: pa.Schema) -> tuple[Column, ...]:
    """Return what each column of a Parquet file or of an Arrow table means, as its fields say."""
    columns = []
    for one in schema:
        facts = {name.decode(): text.decode() for name, text in (one.metadata or {}).items()}
        listed = pa.types.is_nested(one.type)
        kind = str(one.type.value_type if listed else one.type)
        columns.append(
            Column(
                one.name,
                TYPES.get(kind, kind),
                facts.get("unit", ""),
                facts.get("ucd", ""),
                facts.get("description", ""),
                length="values" if listed else "",
            )
        )
    return tuple(columns)


def read_sheet(path: str | Path) -> Sheet:
    """Read a catalog that ``write_parquet`` wrote."""
    path = Path(path)
    table = read_parquet(path, "no such catalog; run astroml catalog first")
    about = (table.schema.metadata or {}).get(b"astroml.provenance", b"{}")
    return Sheet(table, meaning(table.schema), path.stem, about=json.loads(about))


def even_lists(table: pa.Table) -> pa.Table:
    """Return a table whose columns of lists say their one length, which DuckDB does not tell."""
    for at, one in enumerate(table.schema):
        if pa.types.is_list(one.type):
            lengths = pc.unique(pc.drop_null(pc.list_value_length(table[one.name])))
            if len(lengths) == 1:
                kind = pa.list_(one.type.value_type, lengths[0].as_py())
                table = table.set_column(at, one.name, table[one.name].cast(kind))
    return table


def as_astropy(sheet: Sheet):
    """Return an astropy Table with unit, UCD (in ``meta``) and description of each column.

    Nulls of numbers with a NaN become it; those of other columns are masked.
    """
    from astropy.table import MaskedColumn, Table

    data = Table(meta={"task": sheet.name, "version": __version__})
    for column in sheet.columns:
        values = sheet.table[column.name]
        if lost := values.null_count:
            values, mask = _filled(values), np.asarray(pc.is_null(values))
        array = as_numpy(values)
        if lost and array.dtype.kind not in "f":
            array = MaskedColumn(array, mask=mask)
            if array.dtype.kind == "i":  # a number that no catalog has, for FITS
                array.fill_value = np.iinfo(array.dtype).min
        data[column.name] = array
        info = data[column.name].info
        info.unit = column.unit or None
        info.description = column.description or None
        if column.ucd:
            info.meta = {"ucd": column.ucd}
    return data


def _filled(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values of which none is null."""
    kind = values.type
    if pa.types.is_fixed_size_list(kind):
        empty = pa.scalar([float("nan")] * kind.list_size, kind)
        return pa.chunked_array(
            [pa.array([one or empty.as_py() for one in values.to_pylist()], kind)]
        )
    if pa.types.is_floating(kind):
        return pc.fill_null(values, float("nan"))
    return pc.fill_null(values, "" if pa.types.is_string(kind) else pa.scalar(0).cast(kind))


def cells(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Return the HEALPix cell (n,) of each position: nested, order 29; -1 where there is none.

    Parameters
    ----------
    ra, dec : (n,) array
        deg, ICRS.
    """
    from astropy import units as u
    from astropy_healpix.core import lonlat_to_healpix

    known = np.isfinite(ra) & np.isfinite(dec)
    found = np.full(len(known), -1, np.int64)
    lon, lat = np.radians(np.asarray(ra)[known]), np.radians(np.asarray(dec)[known])
    found[known] = lonlat_to_healpix(lon * u.rad, lat * u.rad, 2**29, order="nested")
    return found


def along_the_sky(table: pa.Table) -> pa.Table:
    """Return the rows in the order of their cells, which become the last column.

    Neighbours on the sky become neighbours in the file, so that a search around a place reads
    little. Rows of one place come in the order of their ids, then as they were.
    """
    cell = cells(*(as_numpy(table[name]) for name in ("ra", "dec")))
    if HEALPIX.name in table.column_names:
        table = table.drop_columns([HEALPIX.name])
    table = table.append_column(HEALPIX.name, pa.array(cell, pa.int64()))
    ids = as_numpy(table["object_id"])
    return table.take(pa.array(np.lexsort((ids, cell)))).combine_chunks()
