"""What a header may claim: no file makes ingest ask for more memory than there is.

Headers are only believed as far as the bytes of the file go; compressed files, whose bytes say
little, as far as ``LARGEST``.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits

from astroml.ingest.plain import LONGEST, MOST_AXES, NO_END
from astroml.ingest.reject import Reject

LARGEST = 2**27
"""Most pixels that are ever read at once, whatever a header claims."""

PACKERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""First bytes of a packed file -> how it is unpacked."""

FOREIGN = {b"\x1f\x9d": "LZW (.Z)", b"PK\x03\x04": "zip"}
"""First bytes of files packed in ways that are not read."""

CARD = 80

SIZES = re.compile(rb"(NAXIS\d* *|BITPIX  |PCOUNT  |GCOUNT  )=")
"""Cards that say how many bytes there are."""

WHOLE = re.compile(rb"[+-]?\d+")


def packing(path: Path):
    """Return how a packed file is opened; None if it is not packed.

    Raises
    ------
    Reject
        If it is packed in a way that is not read.
    """
    with open(path, "rb") as stream:
        begin = stream.read(6)
    for magic, name in FOREIGN.items():
        if begin.startswith(magic):
            raise Reject("read", path, f"is packed as {name}, which is not read; unpack it first")
    return next((how for magic, how in PACKERS.items() if begin.startswith(magic)), None)


def check_packing(path: Path) -> None:
    """Refuse a file packed in a foreign way, and a packed one whose header has no end.

    astropy would look for that end in memory, through all that comes out of a file that may be a
    thousand times smaller.
    """
    if not packing(path):
        return
    for block in _unpacked(path, 2880, LONGEST // 2880):
        if len(block) < 2880 or any(card.startswith(b"END     ") for card in _cards(block)):
            return
    raise Reject("read", path, NO_END)


def check_axes(path: Path) -> None:
    """Refuse a first header whose size makes no sense: astropy would count, or multiply text."""
    for block in _unpacked(path, 2880, LONGEST // 2880):
        for card in _cards(block):
            value = card[10:].split(b"/")[0].strip()
            many = card.startswith(b"NAXIS   ") and value.isdigit() and int(value) > MOST_AXES
            if many or (SIZES.match(card) and not WHOLE.fullmatch(value)):
                name, said = card[:8].decode().strip(), value.decode("ascii", "replace")
                raise Reject("read", path, f"its header says {name} = {said}")
            if card.startswith(b"END     "):
                return


def _cards(block: bytes) -> list[bytes]:
    return [block[at : at + CARD] for at in range(0, len(block) - CARD + 1, CARD)]


def check_stream(path: Path) -> None:
    """Refuse a packed file that ends early, as far as anything would be read."""
    for _ in _unpacked(path, 2**20, LARGEST // 2**20):
        pass


def _unpacked(path: Path, size: int, count: int) -> Iterator[bytes]:
    try:
        with (packing(path) or open)(path, "rb") as stream:
            for _ in range(count):
                if not (block := stream.read(size)):
                    return
                yield block
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as fault:
        raise Reject("read", path, f"its packing is broken ({fault})") from None


def check_length(path: Path, hdu: int | str, found, packed: bool) -> None:
    """Refuse a header that promises more pixels than the file has bytes for."""
    compressed = isinstance(found, fits.CompImageHDU)
    if compressed:
        _check_tiles(path, hdu, found)
    if packed:
        return
    stored = found._bintable if compressed else found
    promised, there = stored.size, os.path.getsize(path) - stored.fileinfo()["datLoc"]
    if promised > there:
        raise Reject(
            "read",
            path,
            f"HDU {hdu} is cut off: found {there} bytes of pixels, expected {promised}",
        )


def check_count(path: Path, name: str, count: int) -> None:
    """Refuse to read so many pixels at once."""
    if count > LARGEST:
        raise Reject(
            "read", path, f"{name}: claims {count} pixels, more than are ever read at once"
        )


def _check_tiles(path: Path, hdu: int | str, found: fits.CompImageHDU) -> None:
    """Refuse tiles larger than any survey's, and images with more tiles than the table has rows."""
    header = found._bintable.header
    axes = range(1, len(found.shape) + 1)
    sides = [header.get(f"ZNAXIS{n}") for n in axes]
    tile = [header.get(f"ZTILE{n}", sides[0] if n == 1 else 1) for n in axes]
    if any(type(side) is not int or side < 1 for side in (*sides, *tile)):
        raise Reject("read", path, f"HDU {hdu}: its tiles of {tile} make no sense")
    check_count(path, f"a tile of HDU {hdu}", int(np.prod(tile, dtype=object)))
    promised = int(np.prod([-(-side // step) for side, step in zip(sides, tile)], dtype=object))
    there = header.get("NAXIS2", 0)
    if promised > there:
        raise Reject(
            "read", path, f"HDU {hdu} is cut off: found {there} tiles, expected {promised}"
        )
