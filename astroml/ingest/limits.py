"""What a header may claim: no file makes ingest ask for more memory than there is.

Headers are only believed as far as the bytes of the file go; compressed files, whose bytes say
little, as far as ``LARGEST``.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from astropy.io import fits

from astroml.ingest.reject import Reject

LARGEST = 2**27
"""Most pixels that are ever read at once, whatever a header claims."""

PACKERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
"""First bytes of a packed file -> how it is unpacked."""

FOREIGN = {b"\x1f\x9d": "LZW (.Z)", b"PK\x03\x04": "zip"}
"""First bytes of files packed in ways that are not read."""


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


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, unpacking it if it is packed; faults of its packing become a Reject."""
    try:
        with (packing(path) or open)(path, "rb") as stream:
            yield stream
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as fault:
        raise Reject("read", path, f"its packing is broken ({fault})") from None


def check_stream(path: Path) -> None:
    """Refuse a packed file that ends early, as far as anything would be read."""
    with unpacked(path) as stream:
        for _ in range(LARGEST // 2**20):
            if not stream.read(2**20):
                return


def check_length(path: Path, hdu: int | str, found, packed: bool) -> None:
    """Refuse a header that promises more pixels than the file has bytes for."""
    stored = found._bintable if isinstance(found, fits.CompImageHDU) else found
    if packed or stored._data_loaded:  # its header now says what the scaled pixels would take
        return
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
