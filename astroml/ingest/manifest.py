"""The manifest: the table of objects that a run starts from.

Every row ends in the store or in the table of rejects. Faults of one row (no position, an id seen
before) reject that row; faults of the table (no such column, ids that lost digits) stop the run.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from astroml.errors import AstromlError

REQUIRED = ("object_id", "ra", "dec")
"""Columns that every manifest has."""

OWN = ("flags", "split", "dx", "dy", "masked_fraction", "centroid_dx", "centroid_dy")
"""Object columns that ingest writes itself."""

FORMATS = (".csv", ".ecsv", ".fits", ".fit", ".fits.gz", ".parquet", ".pq")
"""Endings of the files that can be read."""

INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
NUMBER = re.compile(r"[+-]?([0-9]+\.[0-9]*|\.?[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass
class Manifest:
    """The rows of a manifest, checked.

    Attributes
    ----------
    columns : dict
        name -> (n,) array: ``object_id`` int64 or text, ``ra`` and ``dec`` deg ICRS (ra within
        0 to 360), ``ebv`` mag, and whatever else the table holds.
    ids : (n,) array of str
        ``object_id`` as text; empty where the table gives none.
    faults : dict
        row -> reason, of the rows that cannot be used.
    placeless : bool
        Whether the table gives no sky positions; ``ra`` and ``dec`` are then 0.
    """

    path: Path
    columns: dict[str, np.ndarray]
    ids: np.ndarray
    faults: dict[int, str] = field(default_factory=dict)
    placeless: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, which: slice | np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of some rows."""
        return {name: values[which] for name, values in self.columns.items()}


def read_manifest(path: str | Path, sky: bool = True) -> Manifest:
    """Read and check a manifest.

    Parameters
    ----------
    path : path
        CSV, ECSV, FITS or Parquet table with ``object_id`` (integers or text), ``ra`` and ``dec``
        (deg), optional ``ebv`` (mag, 0 where absent), ``group``, labels, and what the survey's file
        names need.
    sky : bool
        Whether it must hold ``ra`` and ``dec``.

    Raises
    ------
    AstromlError
        If the table cannot be read, lacks a column, or holds ids that are floats.
    """
    path = Path(path)
    columns = _read_table(path)
    placeless = not sky and "object_id" in columns and not {"ra", "dec"} & set(columns)
    if placeless:
        columns |= {name: np.zeros(len(columns["object_id"])) for name in ("ra", "dec")}
    for name in REQUIRED:
        if name not in columns:
            raise AstromlError(f"{path}: no column {name!r}; {hint(name, columns)}")
    if taken := [name for name in columns if name in OWN or "/" in name or name in ("", ".")]:
        raise AstromlError(
            f"{path}: column {taken[0]!r} cannot be carried along, since the store uses that name; "
            "rename it"
        )
    columns["object_id"], ids = _check_ids(path, columns["object_id"])
    faults: dict[int, str] = {}
    _check_numbers(columns, len(ids), faults)
    _check_unique(ids, faults)
    return Manifest(path, columns, ids, dict(sorted(faults.items())), placeless)


def hint(name: str, known) -> str:
    """Say which known name was probably meant."""
    near = difflib.get_close_matches(name.lower(), [one.lower() for one in known], 1, 0.6)
    meant = next((one for one in known if near and one.lower() == near[0]), None)
    return f"did you mean {meant!r}?" if meant else f"it has {', '.join(known)}"


def fill_in(text: str | Path) -> str:
    """Fill environment variables, ``$NAME`` or ``${NAME}``, and a leading ``~`` into a path.

    ``ASTROML_REALDATA``, the folder of real survey files, is ``../shared/data`` where it is unset.
    """
    known = {"ASTROML_REALDATA": "../shared/data", **os.environ}

    def value(name: re.Match) -> str:
        key = name[1] or name[2]
        if key not in known:
            raise AstromlError(f"{text}: environment variable {key} is not set; export it first")
        return known[key]

    filled = re.sub(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", value, str(text))
    return os.path.expanduser(filled)


def chunk_rows(n: int, chunk: str) -> slice:
    """Return the rows of part ``'I/N'`` (I from 0) of ``n`` rows; the parts are contiguous."""
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", chunk)
    if not found or int(found[1]) >= int(found[2]):
        raise AstromlError(f"chunk: found {chunk!r}, expected 'I/N' with I from 0 to N-1")
    part, parts = int(found[1]), int(found[2])
    return slice(n * part // parts, n * (part + 1) // parts)


def _read_table(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise AstromlError(f"{path}: no such manifest; name a table that exists")
    name = path.name.lower()
    try:
        if name.endswith(".csv"):
            return _read_csv(path)
        if name.endswith((".parquet", ".pq")):
            return _read_parquet(path)
        if name.endswith(FORMATS):
            return _read_astropy(path, "ascii.ecsv" if name.endswith(".ecsv") else "fits")
    except AstromlError:
        raise
    except Exception as fault:
        about = " ".join(str(fault).split())[:200]
        raise AstromlError(f"{path}: cannot be read as a table ({about})") from None
    raise AstromlError(f"{path}: unknown kind of table, expected one of {', '.join(FORMATS)}")


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    import pyarrow as pa
    from pyarrow import csv

    # Ids are read as text, so that none is rounded and none loses its leading zeros.
    options = csv.ConvertOptions(column_types={"object_id": pa.string()})
    return _from_arrow(path, csv.read_csv(path, convert_options=options))


def _read_parquet(path: Path) -> dict[str, np.ndarray]:
    import pyarrow.parquet as pq

    return _from_arrow(path, pq.read_table(path))


def _from_arrow(path: Path, table) -> dict[str, np.ndarray]:
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise AstromlError(f"{path}: column {twice[0]!r} is there twice; rename one")
    columns = {}
    for name, column in zip(table.column_names, table.columns):
        empty = column.is_null().to_numpy(zero_copy_only=False)
        if str(column.type) == "null" and name not in ("object_id", "labels"):
            column = column.cast("float64")  # nan in every row: no text
        if empty.any() and str(column.type) == "bool":
            column = column.cast("int8")
        if empty.any() and name == "object_id" and "int" in str(column.type):
            column = column.cast("string")
        columns[name] = _plain(path, name, column.to_numpy(zero_copy_only=False), empty)
    return columns


def _read_astropy(path: Path, kind: str) -> dict[str, np.ndarray]:
    from astropy import units as u
    from astropy.table import Table

    table = Table.read(path, format=kind)
    columns = {}
    for name in table.colnames:
        column = table[name]
        empty = np.ma.getmaskarray(column)
        values = np.ma.getdata(column)
        if name in ("ra", "dec") and column.unit not in (None, u.deg):
            values = (np.asarray(values) * u.Unit(column.unit)).to_value(u.deg)
        columns[name] = _plain(path, name, np.asarray(values), empty)
    return columns


def _plain(path: Path, name: str, values: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Return one column (n,) in native byte order, empty cells as NaN or empty text."""
    if values.ndim != 1:
        raise AstromlError(f"{path}: column {name!r} holds arrays, expected one value per row")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind in "OUM":
        if any(isinstance(value, list | dict | np.ndarray) for value in values[:100]):
            raise AstromlError(f"{path}: column {name!r} holds lists, expected one value per row")
        return np.array(["" if gone else str(v) for v, gone in zip(values, empty)], dtype=str)
    values = values.astype(values.dtype.newbyteorder("="))
    if empty.any() and name == "object_id" and values.dtype.kind in "iu":
        return np.array(["" if gone else str(v) for v, gone in zip(values, empty)], dtype=str)
    return np.where(empty, np.nan, values.astype(float)) if empty.any() else values


def _check_ids(path: Path, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids as int64 or text, and as text."""
    if values.dtype.kind == "f" or values.dtype.kind not in "iuU":
        raise AstromlError(
            f"{path}: object_id is {values.dtype}, expected integers or text; floats lose the last "
            "digits of long ids, so write the table anew with integer ids"
        )
    if values.dtype.kind in "iu":
        if values.dtype.kind == "u" and (values > np.iinfo(np.int64).max).any():
            return values.astype(str), values.astype(str)
        return values.astype(np.int64), values.astype(str)
    ids = np.char.strip(values) if len(values) else values
    given = [str(one) for one in ids if one]
    if path.suffix.lower() == ".csv" and given and all(map(_is_int64, given)):
        return np.array([int(one) if one else -1 for one in ids], dtype=np.int64), ids
    broken = [one for one in given if not one.isdigit() and not _is_int64(one)]
    if broken and all(NUMBER.fullmatch(one) for one in given):
        raise AstromlError(
            f"{path}: object_id holds {broken[0]!r}, expected integers or text; floats lose the "
            "last digits of long ids, so write the table anew with integer ids"
        )
    return ids, ids


def _is_int64(text: str) -> bool:
    """Say whether text is an integer as a program would write it: leading zeros are not."""
    return bool(INTEGER.fullmatch(text)) and -(2**63) <= int(text) < 2**63


def _check_numbers(columns: dict[str, np.ndarray], n: int, faults: dict[int, str]) -> None:
    """Make ra, dec and ebv float64 in place; note the rows that have none."""
    columns.setdefault("ebv", np.zeros(n))
    limits = {"ra": (-180.0, 360.0), "dec": (-90.0, 90.0), "ebv": (-1.0, 100.0)}
    for name, (low, high) in limits.items():
        told = columns[name]
        values = np.array([_number(one) for one in told]) if told.dtype.kind == "U" else told
        values = values.astype(float)
        if name == "ebv":
            values = np.where(np.isnan(values), 0.0, values)
        with np.errstate(invalid="ignore"):
            wrong = ~((values >= low) & (values <= high))
        for row in np.flatnonzero(wrong):
            told_here = str(told[row]) or "nothing"
            faults.setdefault(
                int(row), f"{name} is {told_here}, expected a number from {low:g} to {high:g}"
            )
        columns[name] = values
    with np.errstate(invalid="ignore"):
        wrapped = np.mod(columns["ra"], 360.0)
    columns["ra"] = np.where(wrapped == 360.0, 0.0, wrapped)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _check_unique(ids: np.ndarray, faults: dict[int, str]) -> None:
    first: dict[str, int] = {}
    for row, one in enumerate(ids.tolist()):
        if not one:
            faults[row] = "object_id is empty"
        elif one in first:
            faults.setdefault(row, f"object_id {one} is already in row {first[one] + 1}")
        else:
            first[one] = row
