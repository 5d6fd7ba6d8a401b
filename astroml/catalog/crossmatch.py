"""Match two tables on the sphere, such as a catalog with the lenses that are known."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from astroml.catalog import known
from astroml.errors import AstromlError
from astroml.provenance import replacing

RA = ("ra", "raj2000", "raicrs", "alphaj2000", "rightascension", "raj2000deg")
DEC = ("dec", "dej2000", "decj2000", "deicrs", "decicrs", "deltaj2000", "declination", "dej2000deg")
"""Names of columns with positions, in order of preference, without case, marks and units."""

WRITERS = {
    ".csv": "ascii.csv", ".ecsv": "ascii.ecsv", ".fits": "fits", ".vot": "votable",
    ".parquet": "parquet",
}  # fmt: skip
"""How the result can be written, by the ending of its name."""

SHOWN = 20
"""Rows that are printed."""


def nearest(ra, dec, other_ra, other_dec, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest of some positions to each of others.

    Positions are points of the unit sphere in a k-d tree, so that neither the seam at RA 0 nor the
    poles are special.

    Parameters
    ----------
    ra, dec : (n,) array
        Positions that are searched, deg.
    other_ra, other_dec : (m,) array
        Positions that are looked for, deg.
    radius : float
        Largest separation, arcsec.

    Returns
    -------
    index : (m,) array of int
        Row of the nearest within the radius; -1 where there is none.
    separation : (m,) array
        arcsec; NaN where there is none.
    """
    from scipy.spatial import cKDTree

    good = np.isfinite(ra) & np.isfinite(dec)
    wanted = np.isfinite(other_ra) & np.isfinite(other_dec)
    index, separation = np.full(len(wanted), -1), np.full(len(wanted), np.nan)
    if not good.any() or not wanted.any():
        return index, separation
    rows = np.flatnonzero(good)
    points = _points(np.asarray(other_ra)[wanted], np.asarray(other_dec)[wanted])
    tree = cKDTree(_points(np.asarray(ra)[rows], np.asarray(dec)[rows]))
    chord, at = tree.query(points)
    arcsec = np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1))) * 3600
    near = arcsec <= radius
    places = np.flatnonzero(wanted)[near]
    index[places], separation[places] = rows[at[near]], arcsec[near]
    return index, separation


def _points(ra, dec) -> np.ndarray:
    """Return unit vectors (n, 3)."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def read_table(path: Path):
    """Read any table that astropy reads; of Parquet files, the columns with one value per cell."""
    from astropy.table import Table

    if not path.is_file():
        raise AstromlError(f"{path}: no such table")
    if path.suffix in (".parquet", ".pq"):
        return _read_parquet(path)
    # astropy knows most kinds by their names or first bytes, but not text that is compressed.
    kind = "ascii.csv" if re.search(r"\.csv(\.\w+)?$", path.name) else None
    try:
        return Table.read(path, format=kind)
    except Exception as fault:  # one kind for each of a dozen readers
        why = " ".join(str(fault).split())[:200]
        raise AstromlError(f"{path}: not a table that astropy reads ({why})") from None


def _read_parquet(path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    from astropy.table import Table

    try:
        arrow = pq.ParquetFile(path).read()
    except pa.ArrowInvalid as fault:
        raise AstromlError(f"{path}: not a Parquet file that can be read ({fault})") from None
    table = Table()
    for field in arrow.schema:
        if pa.types.is_nested(field.type):
            continue
        values = arrow[field.name].to_numpy()
        table[field.name] = values.astype(str) if values.dtype.kind == "O" else values
        unit = (field.metadata or {}).get(b"unit", b"").decode()
        table[field.name].unit = unit or None
    return table


def positions(table, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Return RA and Dec (n,), deg, of a table; NaN where a row has none.

    Columns are known by name, whatever the case, marks and units in it; by default degrees, else
    the column's unit, or hours, minutes and seconds where they are text.
    """
    names = {}
    for name in reversed(table.colnames):
        names[_plain(name)] = name
    found = [next((names[one] for one in known_as if one in names), None) for known_as in (RA, DEC)]
    if None in found:
        raise AstromlError(
            f"{where}: no columns ra and dec among {', '.join(table.colnames[:20])}; rename them"
        )
    return tuple(_degrees(table[name], where, hours) for name, hours in zip(found, (15, 1)))


def _plain(name: str) -> str:
    """Return a column's name without case, marks, and units in brackets or at its end."""
    bare = re.sub(r"[\[(].*?[\])]", "", name.lower())
    bare = re.sub(r"[^a-z0-9]", "", bare)
    return bare.removesuffix("deg") or bare


def _degrees(column, where: str, hours: int) -> np.ndarray:
    from astropy import units
    from astropy.coordinates import Angle

    values = np.ma.asarray(column)
    if values.dtype.kind in "US":
        try:
            return values.filled("nan").astype(float)
        except ValueError:
            unit = units.hourangle if hours == 15 else units.deg
            try:
                return Angle(list(values.filled("nan")), unit).deg
            except Exception as fault:
                raise AstromlError(f"{where}, column {column.name}: {fault}") from None
    unit = units.Unit(column.unit) if column.unit else units.deg
    try:
        factor = unit.to(units.deg)
    except units.UnitConversionError:
        raise AstromlError(
            f"{where}, column {column.name}: unit {unit}, expected an angle"
        ) from None
    return np.ma.filled(values.astype(float), np.nan) * factor


def crossmatch(catalog: Path, other: Path, *, radius: float, out: Path | None = None):
    """Match a table with another, and write or show which objects are in both.

    Each entry of the other table gets the nearest object of the catalog within the radius. Several
    entries may name one object: each is a row, and ``entries`` says how many share it.

    Parameters
    ----------
    catalog, other : Path
        Tables with positions. Of lenscat's table, what comes from catalogs of clusters alone is
        left out, and its texts are read; see ``known``.
    radius : float
        Largest separation, arcsec.
    out : Path, optional
        What to write: ``.csv``, ``.ecsv``, ``.fits``, ``.vot``, ``.parquet``.

    Returns
    -------
    astropy.table.Table
        The entry's columns as ``known`` or the other table has them, ``separation`` (arcsec),
        ``entries``, then the catalog's columns; the other's get ``_other`` where both have a name.
        The catalog's score, nearest first where there is none, orders the rows.
    """
    if out is not None and out.suffix not in WRITERS:
        raise AstromlError(f"{out}: found {out.suffix!r}, expected one of {', '.join(WRITERS)}")
    names = (str(catalog), str(other))
    mine, theirs = read_table(catalog), read_table(other)
    table, said = match(mine, theirs, radius=radius, names=names)
    print("\n".join(said))
    if out is None and len(table):
        table[:SHOWN].pprint(max_width=-1, max_lines=SHOWN + 4)
    elif out is not None:
        with replacing(out) as part:
            table.write(str(part), format=WRITERS[out.suffix], overwrite=True)
        print(f"wrote {out}")
    return table


def match(mine, theirs, *, radius: float, names=("the catalog", "the other table")) -> tuple:
    """Match two astropy Tables; see ``crossmatch``.

    Returns
    -------
    table : astropy.table.Table
    said : list of str
        What was left out and how many matched, a line each.
    """
    if not radius > 0:
        raise AstromlError(f"--radius: found {radius:g}, expected more than 0 arcsec")
    place, said = positions(theirs, names[1]), []
    if known.is_lenscat(theirs):
        theirs, keep, left_out = known.read(theirs)
        place = tuple(values[keep] for values in place)
        said.append(f"left out: {left_out} entries that come from catalogs of clusters alone")
    index, separation = nearest(*positions(mine, names[0]), *place, radius)
    table = _joined(mine, theirs, index, separation)
    objects = len(np.unique(index[index >= 0]))
    said.append(
        f"matched: {len(table)} of {len(theirs)} entries with {objects} of {len(mine)} objects "
        f"within {radius:g} arcsec"
    )
    return table, said


def _joined(mine, theirs, index: np.ndarray, separation: np.ndarray):
    """Put the entries that matched beside their objects."""
    entries = np.flatnonzero(index >= 0)
    table = theirs[entries]
    for name in set(table.colnames) & set(mine.colnames):
        table.rename_column(name, f"{name}_other")
    rows = index[entries]
    table["separation"] = separation[entries]
    table["separation"].unit = "arcsec"
    table["entries"] = np.bincount(rows, minlength=1)[rows] if len(rows) else rows
    for name in mine.colnames:
        table[name] = mine[name][rows]
    scores = [name for name in mine.colnames if name.endswith(("_prob", "_score"))]
    order = -np.asarray(table[scores[0]]) if scores else np.asarray(table["separation"])
    return table[np.argsort(order, kind="stable")]
