"""HATS: a catalog as a folder of sky tiles, which LSDB opens (hats.readthedocs.io).

A tile is a HEALPix pixel, of a higher order where the sky is crowded; its rows are one Parquet
file, ``dataset/Norder=<order>/Dir=<pixel by 10000>/Npix=<pixel>.parquet``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from astroml import __version__
from astroml.catalog.columns import HEALPIX
from astroml.catalog.formats import described, group_rows
from astroml.catalog.sheet import Sheet
from astroml.errors import AstromlError
from astroml.rows import as_numpy

TILE_ROWS = 1_000_000
"""Most rows of a tile, unless they lie within one pixel of the highest order."""

HIGHEST = 10
"""Highest order of a tile: 3.4 arcmin."""

DEEPEST = 29
"""Order of the catalog's cells."""


def write_hats(sheet: Sheet, folder: str | Path, rows: int = TILE_ROWS) -> list[tuple[int, int]]:
    """Write a catalog in the HATS layout.

    Rows without a position are left out, and how many is printed.

    Parameters
    ----------
    sheet : Sheet
        Rows along the sky.
    folder : path
        What is written; a HATS catalog that is there is replaced.
    rows : int
        Most rows of a tile.

    Returns
    -------
    list of (int, int)
        Order and pixel of each tile.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / "hats.properties").is_file():
        raise AstromlError(f"{folder}: is there and no HATS catalog; choose another folder")
    if HEALPIX.name not in sheet.table.column_names:
        raise AstromlError(
            f"{sheet.name}: no column {HEALPIX.name}; write the catalog anew with this version"
        )
    cell = as_numpy(sheet.table[HEALPIX.name])
    if lost := int((cell < 0).sum()):
        print(f"left out: {lost} rows without a position")
    table = described(sheet)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    (part / "dataset").mkdir(parents=True)
    tiles = split(cell, rows)
    _write_tiles(table, cell, tiles, part / "dataset")
    lines = ["Norder,Npix", *(f"{order},{pixel}" for order, pixel in tiles)]
    (part / "partition_info.csv").write_text("\n".join(lines) + "\n")
    text = properties(sheet, len(table) - lost, tiles, rows)
    for name in ("hats.properties", "properties"):  # the second for readers of HiPS
        (part / name).write_text(text)
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)
    return tiles


def split(cell: np.ndarray, rows: int) -> list[tuple[int, int]]:
    """Return the tiles that hold sorted cells (n,), each (order, pixel), along the sky.

    A tile with more than ``rows`` cells is split in four, down to the order ``HIGHEST``.
    """
    tiles = []
    waiting = [(0, pixel) for pixel in reversed(range(12))]
    while waiting:
        order, pixel = waiting.pop()
        begin, end = span(cell, order, pixel)
        if end - begin > rows and order < HIGHEST:
            waiting += [(order + 1, 4 * pixel + part) for part in (3, 2, 1, 0)]
        elif end > begin:
            tiles.append((order, pixel))
    return tiles


def span(cell: np.ndarray, order: int, pixel: int) -> tuple[int, int]:
    """Return where the sorted cells (n,) of a pixel begin and end."""
    shift = 2 * (DEEPEST - order)
    begin, end = np.searchsorted(cell, [pixel << shift, (pixel + 1) << shift])
    return int(begin), int(end)


def _write_tiles(table, cell: np.ndarray, tiles: list[tuple[int, int]], dataset: Path) -> None:
    found = []
    texts = [one.name for one in table.schema if str(one.type) == "string"]
    for order, pixel in tiles:
        begin, end = span(cell, order, pixel)
        name = f"Norder={order}/Dir={pixel // 10000 * 10000}/Npix={pixel}.parquet"
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            table.slice(begin, end - begin),
            dataset / name,
            compression="zstd",
            row_group_size=group_rows(table),
            use_dictionary=texts,
            metadata_collector=found,
        )
        found[-1].set_file_path(name)
    pq.write_metadata(table.schema, dataset / "_common_metadata")
    pq.write_metadata(table.schema, dataset / "_metadata", metadata_collector=found)


def properties(sheet: Sheet, count: int, tiles: list[tuple[int, int]], rows: int) -> str:
    """Return the text of ``hats.properties``; without a date, so that same rows give same bytes."""
    area = sum(4.0**-order / 12 for order, _ in tiles)
    facts = {
        "obs_collection": sheet.name,
        "dataproduct_type": "object",
        "hats_nrows": count,
        "hats_col_ra": "ra",
        "hats_col_dec": "dec",
        "hats_col_healpix": HEALPIX.name,
        "hats_col_healpix_order": DEEPEST,
        "hats_npix_suffix": ".parquet",
        "hats_order": max((order for order, _ in tiles), default=0),
        "hats_max_rows": rows,
        "moc_sky_fraction": f"{area:.10g}",
        "hats_builder": f"astroml {__version__}",
        "hats_version": "v0.1",
        "obs_description": " ".join(sheet.text.split()),
    }
    return "".join(f"{name}={value}\n" for name, value in facts.items())
