"""Read tables of real photometry with spectroscopic redshifts, to be rendered."""

from __future__ import annotations

import glob
import gzip
import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from astroml.errors import AstromlError
from astroml.survey import NJY_PER_ZERO_MAG
from astroml.tasks.photoz import Table

SOFTENING = {"u": 1.4e-10, "g": 0.9e-10, "r": 1.2e-10, "i": 1.8e-10, "z": 7.4e-10}
"""Softening parameters b of SDSS's asinh magnitudes (Stoughton et al. 2002, AJ 123, 485)."""

NEAREST = 0.001
"""Redshifts below this are of stars, or say nothing of a distance."""

FARTHEST = 10.0
"""Redshifts above this are faults."""

KNOWN_BANDS = "ugrizyYJHK"
"""Bands whose magnitudes tell the rows of a table apart, whichever are rendered."""


def asinh_flux(mag: np.ndarray, band: str) -> np.ndarray:
    """Return the flux of an SDSS asinh magnitude, nJy.

    Lupton, Gunn & Szalay (1999, AJ 118, 1406), eq. 3: m = -2.5/ln 10 [asinh(f / 2 b f0) + ln b].
    The zero points are taken as AB, as those of SDSS images in nanomaggies are.

    Parameters
    ----------
    mag : (n,) array
        Asinh magnitudes.
    band : str
        One of ``SOFTENING``.
    """
    b = SOFTENING[band]
    return NJY_PER_ZERO_MAG * 2 * b * np.sinh(-0.4 * np.log(10) * np.asarray(mag) - np.log(b))


def read_tables(tables: Iterable[Table], bands: list[str]) -> dict[str, np.ndarray]:
    """Read the galaxies of some tables, and say how many rows were left out and why.

    Parameters
    ----------
    tables : list of Table
        Files and their columns.
    bands : list of str
        Bands that are wanted of each.

    Returns
    -------
    dict of arrays
        ``z`` (n,); ``flux`` (n, band) nJy, 0 where the table's is negative; ``mag_err`` (n, band),
        NaN where there is none; ``table`` (n,) text and ``table_row`` (n,), from 0, where each
        comes from; ``dereddened`` (n,) bool; ``group`` (n,), a hash of redshift and magnitudes:
        equal rows share it.

    Raises
    ------
    AstromlError
        If a file is not there, cannot be read or lacks a column, or no galaxy is left.
    """
    parts = [_read(one, path, bands) for one in tables for path in files(one.file)]
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not len(found["z"]):
        raise AstromlError("tables: no galaxy is left to render; see the lines above")
    return found


def files(name: str) -> list[Path]:
    """Return the files of a name that may hold environment variables and wildcards."""
    filled = os.path.expanduser(os.path.expandvars(name))
    if unset := re.search(r"\$\{?(\w+)\}?", filled):
        raise AstromlError(f"{name}: environment variable {unset[1]} is not set; export it first")
    paths = [Path(one) for one in sorted(glob.glob(filled))]
    if not paths:
        raise AstromlError(f"{filled}: no such table; name a file that exists")
    return paths


def _read(table: Table, path: Path, bands: list[str]) -> dict[str, np.ndarray]:
    columns = _columns(path, table.columns)
    names = {band: _named(table.mag, band) for band in bands}
    for name in (table.z_spec, *names.values()):
        if name not in columns:
            raise AstromlError(f"{path}: no column {name!r}; it has {', '.join(columns)}")
    if table.system == "sdss" and (odd := [band for band in bands if band not in SOFTENING]):
        raise AstromlError(f"{path}: SDSS has no band {', '.join(odd)}; use --bands u,g,r,i,z")
    z = columns[table.z_spec]
    mag = np.stack([columns[name] for name in names.values()], 1)
    present = np.isfinite(mag) & (mag > 0) & (mag < 100)
    safe = np.where(present, mag, 30.0)
    if table.system == "sdss":
        flux = np.stack([asinh_flux(safe[:, at], band) for at, band in enumerate(bands)], 1)
    else:
        flux = NJY_PER_ZERO_MAG * 10 ** (-0.4 * safe)
    absent = np.full(len(z), np.nan)
    errors = [columns.get(_named(table.mag_err, band), absent) for band in bands]
    kept = _keep(path, z, present, flux)
    hashed = [columns.get(_named(table.mag, band)) for band in KNOWN_BANDS]
    values = np.stack([z, *(one for one in hashed if one is not None)], 1)[kept]
    return {
        "z": z[kept],
        "flux": np.maximum(flux, 0)[kept],
        "mag_err": np.stack(errors, 1)[kept],
        "dereddened": np.full(len(kept), table.dereddened),
        "table": np.full(len(kept), path.name.split(".")[0].replace(",", "_")),
        "table_row": kept,
        "group": np.array([_hash(row) for row in np.round(values * 1e6)], np.int64),
    }


def _keep(path: Path, z, present, flux) -> np.ndarray:
    """Return the numbers of the rows that can be rendered, and print why others cannot."""
    reasons = {
        "no redshift": ~np.isfinite(z),
        f"redshift below {NEAREST}": z < NEAREST,
        f"redshift above {FARTHEST:g}": z > FARTHEST,
        "no magnitude in some band": ~present.all(1),
        "no light in any band": ~(flux > 0).any(1),
    }
    left = np.ones(len(z), bool)
    for reason, bad in reasons.items():
        if count := int((bad & left).sum()):
            print(f"{path.name}: {count} of {len(z)} rows left out: {reason}")
        left &= ~bad
    dark = int(((flux <= 0) & left[:, None]).sum())
    if dark:
        print(f"{path.name}: {dark} negative fluxes rendered as none")
    print(f"{path.name}: {left.sum()} of {len(z)} rows rendered")
    return np.flatnonzero(left)


def _hash(values: np.ndarray) -> int:
    """Return 62 bits that are the same for equal numbers on every machine."""
    text = ",".join(f"{value:.0f}" for value in values)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 2


def _named(template: str, band: str) -> str:
    return template.format(band=band, BAND=band.upper())


def _columns(path: Path, names: list[str] | None) -> dict[str, np.ndarray]:
    """Return the numeric columns (n,) of a table, float64; what is no number is NaN."""
    import pandas as pd

    if path.name.lower().endswith((".fits", ".fit", ".fits.gz")):
        from astropy.table import Table as FitsTable

        read = FitsTable.read(path)
        flat = {name: read[name] for name in read.colnames if read[name].ndim == 1}
        frame = {
            name: pd.Series(np.ma.filled(one.astype(object), None)) for name, one in flat.items()
        }
    else:
        told, separator, header = _layout(path, names)
        try:
            frame = pd.read_csv(
                path, sep=separator, header=None, names=told, skiprows=header,
                comment="#", index_col=False, skipinitialspace=True,
            )  # fmt: skip
        except (ValueError, UnicodeDecodeError, EOFError, OSError) as fault:
            about = " ".join(str(fault).split())[:200]
            raise AstromlError(f"{path}: cannot be read as a table ({about})") from None
        frame = {name: frame[name] for name in told}
    return {
        name: pd.to_numeric(one, errors="coerce").to_numpy(float) for name, one in frame.items()
    }


def _layout(path: Path, names: list[str] | None) -> tuple[list[str], str, int]:
    """Return the column names of a text table, what separates its values, and lines to skip."""
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            lines = [line.strip() for _, line in zip(range(100), stream)]
    except (OSError, UnicodeDecodeError, EOFError) as fault:
        raise AstromlError(f"{path}: cannot be read as a table ({fault})") from None
    first = next((line for line in lines if line), "")
    headed = first.startswith("#") or not _numeric(first)
    header = lines.index(first) + 1 if headed else 0
    values = next((line for line in lines[header:] if line and not line.startswith("#")), None)
    if values is None:
        raise AstromlError(f"{path}: it holds no rows")
    told = names or (_split(first.lstrip("#").strip()) if headed else [])
    if len(told) != len(_split(values)):
        raise AstromlError(
            f"{path}: {len(told)} column names, but {len(_split(values))} values in its first row; "
            "name all columns in order with the table's key 'columns'"
        )
    if twice := {name for name in told if told.count(name) > 1}:
        raise AstromlError(
            f"{path}: column {min(twice)!r} is there twice; name them with 'columns'"
        )
    return told, _separator(values), header


def _separator(line: str) -> str:
    return next((one for one in (",", ";", "\t") if one in line), r"\s+")


def _split(line: str) -> list[str]:
    return [one.strip() for one in re.split(_separator(line), line)]


def _numeric(line: str) -> bool:
    try:
        [float(one) for one in _split(line) if one]
    except ValueError:
        return False
    return True
