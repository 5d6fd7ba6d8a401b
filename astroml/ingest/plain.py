"""Plain FITS images, read without ceremony.

Opening a small file and parsing its header costs astropy more than everything else that happens to
a cutout. Most survey files are plain: uncompressed, unscaled images with short cards. This module
reads those and nothing else; whatever it does not know it leaves to astropy (``files``).
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
from astropy.io import fits

BLOCK = 2880
"""Bytes of a FITS block."""

SMALL = 2**23
"""Files of at most so many bytes are read at once."""

WIDEST = 2**27
"""Most pixels of whole rows that are read for a part of them."""

KEPT = 2**29
"""Largest plane that is kept in memory, bytes."""

PATIENCE = 3
"""Rectangles read from one large plane before it is read whole and kept."""

LONGEST = 1000 * BLOCK
"""Longest header that is looked through, bytes."""

TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""BITPIX -> numpy dtype."""

NO_END = f"its header has no END card within {LONGEST // 1000} kB"

MOST_AXES = 999
"""Most axes that the standard allows."""

SCALED = (b"BSCALE  ", b"BZERO   ", b"BLANK   ", b"GROUPS  ", b"ZIMAGE  ", b"INHERIT ")
"""Cards that make an HDU more than plain."""


class Unusual(Exception):
    """The file is not plain; astropy will know."""


class Broken(Exception):
    """A header that nobody should try to follow; the message says why."""


class Cards:
    """A header whose values are parsed when asked for; of a repeated card the first counts.

    Attributes
    ----------
    raw : bytes
        The cards before END.
    asked : set of str
        Keys of the cards whose values were asked for.
    whole : bool
        Whether somebody looked at more than these.
    """

    def __init__(self, raw: bytes):
        self.raw, self.asked, self.whole = raw, set(), False
        starts = range(len(raw) - 80, -1, -80)
        self._fields = {
            raw[at : at + 8]: raw[at + 10 : at + 80]
            for at in starts
            if raw[at + 8 : at + 10] == b"= "
        }

    def __contains__(self, key: str) -> bool:
        return key.ljust(8).encode() in self._fields

    def __getitem__(self, key: str):
        self.asked.add(key)
        return card_value(self._fields[key.ljust(8).encode()])

    def get(self, key: str, default=None):
        """Return the value of a card, ``default`` if it is not there."""
        if len(key) > 8:
            self.whole = True
            return self.full().get(key, default) if b"HIERARCH" in self.raw else default
        self.asked.add(key)
        field = self._fields.get(key.ljust(8).encode())
        return default if field is None else card_value(field)

    def full(self) -> fits.Header:
        """Return the same header as astropy has it."""
        self.whole = True
        return fits.Header.fromstring(self.raw)

    def plain(self) -> bool:
        """Say whether nothing but the pixels themselves describes the pixels."""
        return not any(key in self._fields for key in SCALED)


class Source:
    """The bytes of a file: all of a small one, pieces of a large one."""

    def __init__(self, path: Path, size: int):
        self._file = open(path, "rb")  # noqa: SIM115, closed by ``close``
        self.size = size
        self._all = None
        self.kept = 0
        if size <= SMALL:
            self._all = memoryview(self._file.read())
            self.size = len(self._all)
            self._file.close()
            self.kept = self.size

    def bytes(self, start: int, count: int):
        """Return some bytes; Unusual if the file ends before."""
        if start + count > self.size:
            raise Unusual
        if self._all is not None:
            return self._all[start : start + count]
        found = os.pread(self._file.fileno(), count, start)
        if len(found) < count:
            raise Unusual
        return found

    def keep(self, count: int) -> None:
        """Note that pixels are kept; those of a small file are anyway."""
        self.kept += 0 if self._all is not None else count

    def close(self) -> None:
        """Let the file go."""
        self._file.close()


class PlainImage:
    """An image HDU: ``header`` (Cards), ``shape``, ``dtype``, and pixels by slices.

    The first of them stands at byte ``start`` of the file.
    """

    def __init__(self, source: Source, header: Cards, shape: tuple[int, ...], start: int):
        self.header, self.shape, self.start = header, shape, start
        self.dtype = np.dtype(TYPES[header["BITPIX"]])
        self._source = source
        self._reads, self._kept = Counter(), {}

    def check(self) -> None:
        """Raise Unusual if the file ends before the pixels do."""
        count = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        if self.start + count > self._source.size:
            raise Unusual

    def read(self, where: tuple) -> np.ndarray:
        """Return a rectangle (y, x): ``where`` is (rows, columns) or (plane, rows, columns)."""
        high, wide = self.shape[-2:]
        rows, columns = where[-2:]
        if (rows.stop - rows.start) * wide > WIDEST:
            raise ValueError(f"rows of {wide} pixels, more than are ever read at once")
        plane = where[0] if len(where) == 3 else 0
        first, count = (plane * high + rows.start) * wide, (rows.stop - rows.start) * wide
        size = self.dtype.itemsize
        if plane in self._kept:
            return self._kept[plane][rows, columns]
        self._reads[plane] += 1
        if self._reads[plane] > PATIENCE and size * high * wide <= KEPT:
            first, count = plane * high * wide, high * wide
        raw = self._source.bytes(self.start + first * size, count * size)
        found = np.frombuffer(raw, self.dtype).reshape(-1, wide)
        if len(found) < high:
            return found[:, columns]
        self._kept[plane] = found
        self._source.keep(found.nbytes)
        return found[rows, columns]


class PlainFile:
    """The image HDUs of a plain FITS file.

    Parameters
    ----------
    path : Path
    size : int
        Bytes of the file.

    Raises
    ------
    Unusual
        If the file does not begin as FITS.

    Attributes
    ----------
    headers : list of (int, Cards)
        Those seen so far, with the byte at which each begins.
    """

    def __init__(self, path: Path, size: int):
        self._source = Source(path, size)
        self._hdus: list[PlainImage | None] = []
        self.headers: list[tuple[int, Cards]] = []
        self.primary: Cards | None = None
        self._names: list[str] = []
        self._next = 0
        if size < BLOCK or bytes(self._source.bytes(0, 9)) != b"SIMPLE  =":
            self.close()
            raise Unusual

    def image(self, hdu: int | str) -> PlainImage:
        """Return an HDU by number or name; Unusual if there is none or it is no plain image."""
        while True:
            if isinstance(hdu, str) and hdu.upper() in self._names:
                found = self._hdus[self._names.index(hdu.upper())]
            elif isinstance(hdu, int) and 0 <= hdu < len(self._hdus):
                found = self._hdus[hdu]
            else:
                self._step()
                continue
            if found is None:
                raise Unusual
            return found

    @property
    def raw(self):
        """All bytes of the file."""
        return self._source.bytes(0, self._source.size)

    @property
    def kept(self) -> int:
        """Bytes of pixels kept in memory."""
        return self._source.kept

    def close(self) -> None:
        """Let the file go."""
        self._source.close()

    def _step(self) -> None:
        """Look at the next HDU."""
        header, start = self._header(self._next)
        self.headers.append((self._next, header))
        self.primary = self.primary or header
        if type(axes := header.get("NAXIS", 0)) is not int or not 0 <= axes <= MOST_AXES:
            raise Broken(f"its header says NAXIS = {axes}, expected 0 to {MOST_AXES}")
        kind = header.get("XTENSION", "IMAGE" if not self._hdus else None)
        if kind not in ("IMAGE", "BINTABLE", "TABLE") or header.get("BITPIX") not in TYPES:
            raise Unusual
        sides = [header.get(f"NAXIS{n}") for n in range(axes, 0, -1)]
        if any(type(side) is not int or side < 0 for side in sides):
            raise Unusual
        more = header.get("PCOUNT", 0), header.get("GCOUNT", 1)
        if any(type(number) is not int or number < 0 for number in more):
            raise Unusual
        count = int(np.prod(sides, dtype=object)) if sides else 0
        size = abs(header["BITPIX"]) // 8 * more[1] * (more[0] + count)
        image = None
        if kind == "IMAGE" and more == (0, 1) and header.plain() and len(sides) in (2, 3) and count:
            image = PlainImage(self._source, header, tuple(sides), start)
        self._names.append(str(header.get("EXTNAME", "PRIMARY" if not self._hdus else "")).upper())
        self._hdus.append(image)
        self._next = start + -(-size // BLOCK) * BLOCK

    def _header(self, start: int) -> tuple[Cards, int]:
        """Return the header that begins at a byte, and where it ends."""
        raw = b""
        while len(raw) < LONGEST:
            block = bytes(self._source.bytes(start + len(raw), BLOCK))
            for at in range(0, BLOCK, 80):
                if block[at : at + 8] == b"END     ":
                    return Cards(raw + block[:at]), start + len(raw) + BLOCK
            raw += block
        raise Broken(NO_END)


def card_value(field: bytes):
    """Parse what stands behind ``= `` in a card."""
    text = field.decode("ascii", "replace").strip()
    if text.startswith("'"):
        body = text[1:].replace("''", "\0")
        return body.partition("'")[0].replace("\0", "'").rstrip()
    text = text.partition("/")[0].strip()
    if text in ("T", "F"):
        return text == "T"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text.upper().replace("D", "E"))
    except ValueError:
        return None
