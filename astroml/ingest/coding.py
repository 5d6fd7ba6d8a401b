"""Tile-compressed images: what may be asked of the decoders.

They are C, and trust what a header and the tiles themselves say: a wrong number there makes them
write where they should not, which ends the process. So these numbers are checked before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from astroml.ingest.limits import check_count
from astroml.ingest.reject import Reject

BYTES = (1, 2, 4, 8)
"""Bytes of a pixel that a decoder may be asked for."""

LONGEST_RUN = 2**16
"""Most pixels that are coded together."""

HCOMPRESS = 0xDD99
"""First two bytes of a tile in HCOMPRESS coding."""

STREAM = np.dtype([("magic", ">u2"), ("sides", ">i4", 2), ("scale", ">i4"), ("sum", ">i8"),
                   ("planes", "u1", 3)])  # fmt: skip
"""What such a tile begins with."""


def check_tiles(path: Path, hdu: int | str, found: fits.CompImageHDU) -> None:
    """Refuse tiles larger than any survey's, too few of them, and tiles that no decoder survives.

    Parameters
    ----------
    path : Path
    hdu : int or str
        How the HDU is called.
    found : astropy.io.fits.CompImageHDU

    Raises
    ------
    Reject
        With what is wrong.
    """
    header = found._bintable.header
    axes = range(1, len(found.shape) + 1)
    sides = [header.get(f"ZNAXIS{n}") for n in axes]
    tile = [header.get(f"ZTILE{n}", sides[0] if n == 1 else 1) for n in axes]
    if any(type(side) is not int or side < 1 for side in (*sides, *tile)):
        raise Reject("read", path, f"HDU {hdu}: its tiles of {tile} make no sense")
    check_count(path, f"a tile of HDU {hdu}", int(np.prod(tile, dtype=object)))
    counts = [-(-side // step) for side, step in zip(sides, tile)]
    promised, there = int(np.prod(counts, dtype=object)), header.get("NAXIS2", 0)
    if promised > there:
        raise Reject(
            "read", path, f"HDU {hdu} is cut off: found {there} tiles, expected {promised}"
        )
    _check_settings(path, hdu, header)
    if str(header.get("ZCMPTYPE", "")).strip() == "HCOMPRESS_1":
        _check_hcompress(path, hdu, found, _tile_sizes(sides, tile))


def _check_settings(path: Path, hdu: int | str, header: fits.Header) -> None:
    """Refuse a BLOCKSIZE or BYTEPIX, in ZNAMEn and ZVALn, that makes no sense."""
    for n in range(1, 1000):
        if f"ZNAME{n}" not in header:
            return
        name, value = str(header[f"ZNAME{n}"]).strip().upper(), header.get(f"ZVAL{n}")
        whole = type(value) is int
        fits_in = {
            "BLOCKSIZE": whole and 1 <= value <= LONGEST_RUN,
            "BYTEPIX": whole and value in BYTES,
        }
        if not fits_in.get(name, True):
            raise Reject("read", path, f"HDU {hdu}: its tiles say {name} = {value!r}")


def _tile_sizes(sides: list[int], tile: list[int]) -> np.ndarray:
    """Return the pixels of each tile (n,), in the order of the table's rows."""
    sizes = np.ones(1, np.int64)
    for side, step in zip(sides, tile):
        lengths = np.minimum(step, side - np.arange(0, side, step))
        sizes = (lengths[:, None] * sizes).ravel()
    return sizes


def _check_hcompress(path: Path, hdu: int | str, found, sizes: np.ndarray) -> None:
    """Refuse tiles whose own beginning tells another size than the header."""
    table = found._bintable
    kind = table.columns.dtype.newbyteorder(">")
    rows = table._get_raw_data(len(sizes), kind, table._data_offset)
    for n, (length, start) in enumerate(rows["COMPRESSED_DATA"].tolist()):
        if not length:
            continue  # coded in another way, in another column
        heap = table._data_offset + table._theap
        if not (length >= STREAM.itemsize and 0 <= start <= table.size - table._theap - length):
            raise Reject("read", path, f"HDU {hdu}: tile {n} lies outside the table")
        begin = table._get_raw_data(1, STREAM, heap + start)[0]
        if begin["magic"] != HCOMPRESS or int(np.prod(begin["sides"], dtype=object)) != sizes[n]:
            raise Reject(
                "read",
                path,
                f"HDU {hdu}: tile {n} is coded as {begin['sides'].tolist()} pixels, "
                f"expected {sizes[n]}",
            )
