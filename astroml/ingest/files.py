"""The only door to FITS files: a few stay open, and every fault becomes a reason."""

from __future__ import annotations

import os
import stat
import warnings
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import numpy as np
from astropy.io import fits

from astroml.ingest.limits import check_count, check_length, check_packing, endless
from astroml.ingest.plain import Endless, PlainFile, Unusual
from astroml.ingest.reject import Reject
from astroml.ingest.tan import sky_to_pixels

WHOLE = 2**22
"""Images of at most so many pixels are read whole; of larger ones only the part that is needed."""


class Image:
    """One image HDU: header, shape and, on demand, pixels.

    Attributes
    ----------
    path : Path
    name : str
        How people would call the HDU.
    header : Cards or astropy.io.fits.Header
    shape : tuple of int
        (y, x), or (plane, y, x).
    measured : dict
        plane -> what was measured on it, so that shared planes are measured once.
    """

    def __init__(self, path: Path, name: str, header, shape: tuple, pixels):
        self.path, self.name, self.header, self.shape = path, name, header, shape
        self.measured: dict[int | None, float] = {}
        self._pixels = pixels

    @cached_property
    def wcs(self):
        """Map from sky to pixels, or None if the header has none."""
        try:
            return sky_to_pixels(self.header)
        except Exception as fault:
            about = f"{self.name}: its WCS makes no sense ({fault})"
            raise Reject("read", self.path, about) from None

    @property
    def small(self) -> bool:
        """Whether a plane is read whole anyway."""
        return self.shape[-1] * self.shape[-2] <= WHOLE

    def read(self, plane: int | None, rows: slice, columns: slice) -> np.ndarray:
        """Read a rectangle.

        Parameters
        ----------
        plane : int or None
            Position on the first axis of a cube; None for an image.
        rows, columns : slice
            With both ends.

        Returns
        -------
        (y, x) array
            As the file has it, scaled; any byte order; not to be written to.
        """
        where = (rows, columns) if plane is None else (plane, rows, columns)
        check_count(self.path, self.name, (rows.stop - rows.start) * (columns.stop - columns.start))
        return _guarded(self.path, self.name, lambda: self._pixels(where))


class Files:
    """Some FITS files, the last few of them open.

    Parameters
    ----------
    keep : int
        Files that stay open, with the pixels that were read whole.
    """

    def __init__(self, keep: int = 8):
        self._keep = keep
        self._open: OrderedDict[Path, _Opened] = OrderedDict()

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *fault) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def image(self, path: Path, hdu: int | str) -> Image:
        """Return an image HDU by number or name.

        Raises
        ------
        Reject
            If there is no such file or HDU, or if it holds no image.
        """
        if path not in self._open:
            self._open[path] = _Opened(path)
            while len(self._open) > self._keep:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(path)
        return self._open[path].image(hdu)


class _Opened:
    """One open file: read plainly if it can be, by astropy otherwise."""

    def __init__(self, path: Path):
        self.path = path
        self._images: dict[int | str, Image] = {}
        self._hdus: fits.HDUList | None = None
        self._plain: PlainFile | None = None
        size = _size(path)
        try:
            self._plain = PlainFile(path, size)
        except Unusual:
            check_packing(path)
        except OSError as fault:
            raise Reject("read", path, (fault.strerror or str(fault)).lower()) from None

    def close(self) -> None:
        if self._plain:
            self._plain.close()
        if self._hdus is not None:
            self._hdus.close()

    def image(self, hdu: int | str) -> Image:
        if hdu not in self._images:
            self._images[hdu] = self._find(hdu)
        return self._images[hdu]

    def _find(self, hdu: int | str) -> Image:
        if self._plain:
            try:
                found = self._plain.image(hdu)
                found.check()
                return Image(self.path, f"HDU {hdu}", found.header, found.shape, found.read)
            except Endless:
                raise endless(self.path) from None
            except Unusual:
                pass
        if self._hdus is None:
            self._hdus = _open(self.path)
        return _guarded(self.path, f"HDU {hdu}", lambda: _find(self.path, self._hdus, hdu))


def _size(path: Path) -> int:
    """Return the bytes of an ordinary file that has some."""
    try:
        state = os.stat(path)
    except OSError as fault:
        raise Reject("read", path, (fault.strerror or str(fault)).lower()) from None
    except ValueError as fault:
        raise Reject("read", path, f"not a file name ({fault})") from None
    if stat.S_ISDIR(state.st_mode):
        raise Reject("read", path, "is a directory, expected a FITS file")
    if not stat.S_ISREG(state.st_mode):
        raise Reject("read", path, "is no ordinary file (a pipe, a socket or a device)")
    if state.st_size == 0:
        raise Reject("read", path, "the file is empty (0 bytes)")
    return state.st_size


def _open(path: Path) -> fits.HDUList:
    try:
        return _guarded(path, "", lambda: fits.open(path, memmap=False, lazy_load_hdus=True))
    except Reject as fault:
        if "SIMPLE" in fault.reason:
            raise Reject("read", path, "not a FITS file") from None
        raise


def _find(path: Path, hdus: fits.HDUList, hdu: int | str) -> Image:
    try:
        found = hdus[hdu]
    except (KeyError, IndexError):
        for n, one in enumerate(hdus):
            if not hasattr(one, "fileinfo"):
                raise Reject("read", path, f"no HDU {hdu}; HDU {n} is damaged") from None
            check_length(path, n, one, bool(getattr(hdus._file, "compression", None)))
        names = ", ".join(one.name or str(n) for n, one in enumerate(hdus))
        raise Reject("read", path, f"no HDU {hdu}; it has {names}") from None
    kinds = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
    if not isinstance(found, kinds) or isinstance(found, fits.GroupsHDU) or len(found.shape) < 2:
        raise Reject("read", path, f"HDU {hdu} holds no image")
    if 0 in found.shape:
        raise Reject("read", path, f"HDU {hdu} holds no image: its shape is {found.shape}")
    packed = bool(getattr(hdus._file, "compression", None))
    check_length(path, hdu, found, packed)

    def pixels(where: tuple) -> np.ndarray:
        size = int(np.prod(found.shape, dtype=object))
        if size > WHOLE and not packed:
            return np.asarray(found.section[where])
        check_count(path, f"HDU {hdu}", size)
        return found.data[where]

    return Image(path, f"HDU {hdu}", found.header, tuple(found.shape), pixels)


def _guarded(path: Path, name: str, work):
    """Run ``work``; whatever a broken file makes of it becomes a Reject."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work()
    except Reject:
        raise
    except MemoryError:
        raise Reject("read", path, f"{name}: claims more pixels than fit in memory") from None
    except Exception as fault:
        about = f"{type(fault).__name__}: {fault}" if str(fault) else type(fault).__name__
        raise Reject("read", path, f"{name} cannot be read ({about[:200]})".strip()) from None
