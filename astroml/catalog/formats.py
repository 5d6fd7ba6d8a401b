"""The formats a catalog is written in, each with unit, UCD and description of every column."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from astroml import __version__
from astroml.catalog.sheet import Sheet, as_astropy
from astroml.errors import AstromlError
from astroml.provenance import replacing

VOTABLE_TYPES = {
    "bool": "boolean",
    "uint8": "unsignedByte",
    "int16": "short",
    "int32": "int",
    "int64": "long",
    "float32": "float",
    "float64": "double",
    "str": "char",
}

GROUP_ROWS, GROUP_BYTES = 65_536, 2**25
"""Largest row group of a Parquet file: rows, and bytes before compression. It is the least that a
search reads, so wide rows, such as those with a p(z), have fewer to a group."""


def write(sheet: Sheet, path: str | Path) -> None:
    """Write a file whole, as the ending of its name says."""
    path = Path(path)
    writer = writer_of(path)
    with replacing(path) as part:
        writer(sheet, part)


def writer_of(path: Path) -> Callable[[Sheet, Path], None]:
    """Return what writes a file of this name."""
    if path.suffix not in WRITERS:
        known = ", ".join(WRITERS)
        raise AstromlError(f"{path}: found {path.suffix!r}, expected one of {known}")
    return WRITERS[path.suffix]


def write_parquet(sheet: Sheet, path: Path) -> None:
    """Write Parquet that astropy, VOParquet readers and plain Arrow readers all understand.

    The file's metadata hold astropy's ``table_meta_yaml``, the data-less VOTable of the VOParquet
    convention (IVOA Note 1.0), and ``astroml.provenance``; each Arrow field has unit, ucd and
    description. A NaN is written as null, which readers give back as NaN.
    """
    table = described(sheet)
    # Numbers hardly repeat: a dictionary of them makes the file larger and slower to search.
    texts = [column.name for column in sheet.columns if column.dtype == "str"]
    rows = group_rows(table)
    pq.write_table(table, path, compression="zstd", row_group_size=rows, use_dictionary=texts)


def group_rows(table: pa.Table) -> int:
    """Return how many rows of a table make a row group."""
    width = table.nbytes / max(len(table), 1)
    return max(1, min(GROUP_ROWS, int(GROUP_BYTES / max(width, 1))))


def described(sheet: Sheet) -> pa.Table:
    """Return the table with all that is known of it in its schema."""
    from astropy.table import meta

    table, columns = sheet.table, sheet.columns
    empty = as_astropy(Sheet(table.slice(0, 0), columns, sheet.name))
    facts = {"table_meta_yaml": "\n".join(meta.get_yaml_from_table(empty))}
    widths = {
        column.name: max(1, pc.max(pc.utf8_length(table[column.name])).as_py() or 0)
        for column in columns
        if column.dtype == "str"
    }
    lengths = {
        one.name: getattr(one.type, "list_size", "*")
        for one in table.schema
        if pa.types.is_nested(one.type)
    }
    facts |= {f"table::len::{name}": str(width) for name, width in widths.items()}
    facts["IVOA.VOTable-Parquet.version"] = "1.0"
    facts["IVOA.VOTable-Parquet.content"] = votable_header(sheet, widths | lengths)
    facts["astroml.provenance"] = json.dumps(sheet.about)
    fields = [
        pa.field(
            column.name,
            table.schema.field(column.name).type,
            metadata={"unit": column.unit, "ucd": column.ucd, "description": column.description},
        )
        for column in columns
    ]
    arrays = [_null_if_nan(one) for one in table.columns]
    return pa.table(arrays, names=table.column_names).cast(pa.schema(fields, metadata=facts))


def _null_if_nan(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return numbers with null for NaN, which SQL takes for the largest of all numbers."""
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def votable_header(sheet: Sheet, sizes: dict) -> str:
    """Return the VOTable without data that describes a catalog, as XML.

    ``sizes`` gives the length of the lists of each column of lists, and the longest text of each
    text column: with a plain ``*`` astropy would read objects, which it cannot put together with
    the text in the file.
    """
    from astropy import units as u

    root = ElementTree.Element(
        "VOTABLE", version="1.4", xmlns="http://www.ivoa.net/xml/VOTable/v1.3"
    )
    resource = ElementTree.SubElement(root, "RESOURCE", type="results")
    ElementTree.SubElement(resource, "COOSYS", ID="icrs", system="ICRS")
    table = ElementTree.SubElement(resource, "TABLE", name=sheet.name)
    ElementTree.SubElement(table, "DESCRIPTION").text = sheet.text
    for column in sheet.columns:
        facts = {"name": column.name, "datatype": VOTABLE_TYPES.get(column.dtype, "char")}
        if column.ucd:
            facts["ucd"] = column.ucd
        if column.name in sizes:
            facts["arraysize"] = str(sizes[column.name])
        if column.unit:
            facts["unit"] = u.Unit(column.unit).to_string("vounit")
        if column.name in ("ra", "dec"):
            facts["ref"] = "icrs"
        field = ElementTree.SubElement(table, "FIELD", facts)
        ElementTree.SubElement(field, "DESCRIPTION").text = column.description
    ElementTree.indent(root)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + ElementTree.tostring(root, "unicode")


def write_fits(sheet: Sheet, path: Path) -> None:
    """Write a FITS binary table with TUNITn, TUCDn and TCOMMn cards, and astropy's own header.

    ``Table.read`` gives back units, descriptions and UCDs (``meta['ucd']``); HISTORY says what
    made the file.
    """
    from astropy.io import fits

    _refuse_beyond_ascii(sheet)
    buffer = io.BytesIO()
    data = as_astropy(sheet)
    data.meta = {}
    data.write(buffer, format="fits")
    buffer.seek(0)
    with fits.open(buffer) as units:
        header = units[1].header
        for number, column in enumerate(sheet.columns, start=1):
            after = f"TUNIT{number}" if f"TUNIT{number}" in header else f"TFORM{number}"
            header.set(f"TCOMM{number}", column.description, after=after)
            header.set(f"TUCD{number}", column.ucd, after=after)
            # TFORM says all of a list; some readers take TDIM for an image in each cell.
            header.remove(f"TDIM{number}", ignore_missing=True)
        header["EXTNAME"] = sheet.name
        header["RADESYS"] = ("ICRS", "frame of ra and dec")
        header["ORIGIN"] = f"astroml {__version__}"
        header["HISTORY"] = json.dumps(sheet.about)
        units.writeto(path, output_verify="exception")


def _refuse_beyond_ascii(sheet: Sheet) -> None:
    for column in sheet.columns:
        if column.dtype == "str":
            values = sheet.table[column.name]
            odd = values.filter(pc.invert(pc.string_is_ascii(values)))
            if len(odd):
                raise AstromlError(
                    f"column {column.name}: {odd[0]} has a letter beyond ASCII, which FITS tables "
                    "cannot hold; write Parquet only, or rename it in the manifest"
                )


def write_votable(sheet: Sheet, path: Path) -> None:
    """Write a VOTable (binary) with units, UCDs, descriptions and the frame of ra and dec."""
    from astropy.io.votable.tree import CooSys, Info, VOTableFile

    document = VOTableFile.from_table(as_astropy(sheet))
    resource = document.resources[0]
    resource.coordinate_systems.append(CooSys(ID="icrs", system="ICRS"))
    resource.infos.append(Info(name="provenance", value=json.dumps(sheet.about)))
    table = resource.tables[0]
    table.description = sheet.text or None
    for one in table.fields:
        if one.name in ("ra", "dec"):
            one.ref = "icrs"
    document.to_xml(str(path), tabledata_format="binary2")


def write_ecsv(sheet: Sheet, path: Path) -> None:
    """Write ECSV: text with a header of units, UCDs (in ``meta``) and descriptions."""
    data = as_astropy(sheet)
    data.meta["provenance"] = sheet.about
    data.write(path, format="ascii.ecsv", delimiter=",")


def write_csv(sheet: Sheet, path) -> None:
    """Write CSV: names and values alone; a list is text, what is not known an empty cell."""
    from pyarrow import csv

    arrays = []
    for one in sheet.table.columns:
        if pa.types.is_nested(one.type):
            one = pa.array([cell and json.dumps(cell) for cell in one.to_pylist()], pa.string())
        arrays.append(_null_if_nan(one))
    table = pa.table(arrays, names=sheet.table.column_names)
    csv.write_csv(table, path, csv.WriteOptions(quoting_style="needed", quoting_header="none"))


WRITERS = {
    ".parquet": write_parquet,
    ".fits": write_fits,
    ".vot": write_votable,
    ".ecsv": write_ecsv,
    ".csv": write_csv,
}
"""What writes a catalog, by the ending of the file's name."""
