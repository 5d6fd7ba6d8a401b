"""The only door to FITS files: a few stay open, and every fault becomes a reason."""

from __future__ import annotations

import os
import stat
import warnings
from collections import OrderedDict
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from astropy.io import fits

from astroml.ingest.coding import check_tiles
from astroml.ingest.headers import Walk
from astroml.ingest.limits import check_count, check_length, check_stream, packing
from astroml.ingest.plain import KEPT, PATIENCE, Broken, PlainFile, Unusual
from astroml.ingest.reject import Absent, Reject
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
        Files that stay open at most.
    room : int
        Bytes of pixels that stay in memory at most, but for those of the file in use.
    """

    def __init__(self, keep: int = 64, room: int = 2**30):
        self._keep, self._room = keep, room
        self._open: OrderedDict[Path, _Opened] = OrderedDict()

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *fault) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def refresh(self) -> Files:
        """Let go of the files that have changed on disk."""
        for path in [path for path, one in self._open.items() if one.changed()]:
            self._open.pop(path).close()
        self._make_room()
        return self

    def image(self, path: Path, hdu: int | str) -> Image:
        """Return an image HDU by number or name.

        Raises
        ------
        Absent
            If there is no such file or HDU, or if it holds no image.
        Reject
            If the file is broken.
        """
        return self._opened(path).image(hdu)

    def primary(self, path: Path):
        """Return the header of a file's first HDU."""
        return self._opened(path).primary()

    def _opened(self, path: Path) -> _Opened:
        if path not in self._open:
            self._open[path] = _Opened(path)
            self._make_room()
        self._open.move_to_end(path)
        return self._open[path]

    def _make_room(self) -> None:
        """Close the files that were not used for longest."""
        while len(self._open) > 1 and (
            len(self._open) > self._keep
            or sum(one.kept for one in self._open.values()) > self._room
        ):
            self._open.popitem(last=False)[1].close()


@cache
def shared_files() -> Files:
    """Return the files that all blocks of this process share: each is opened and read once."""
    return Files()


class _Opened:
    """One open file: read plainly if it can be, by astropy otherwise."""

    def __init__(self, path: Path):
        self.path = path
        self._images: dict[int | str, Image] = {}
        self._hdus: fits.HDUList | None = None
        self._plain: PlainFile | None = None
        self._kept: dict[int | str, int] = {}
        self._walk: Walk | None = None
        size = _size(path)
        self._state = _state(path)
        try:
            self._plain = PlainFile(path, size)
        except Unusual:
            pass
        except OSError as fault:
            raise Reject("read", path, (fault.strerror or str(fault)).lower()) from None

    def close(self) -> None:
        if self._plain:
            self._plain.close()
        if self._hdus is not None:
            self._hdus.close()
        if self._walk:
            self._walk.close()

    def changed(self) -> bool:
        try:
            return _state(self.path) != self._state
        except OSError:
            return True

    @property
    def kept(self) -> int:
        """Bytes of pixels in memory."""
        return (self._plain.kept if self._plain else 0) + sum(self._kept.values())

    def primary(self):
        if self._plain and self._plain.primary is not None:
            return self._plain.primary
        return self._follow(0)[0].header

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
            except Broken as fault:
                raise Reject("read", self.path, str(fault)) from None
            except Unusual:
                pass
        hdus = self._follow(hdu)
        return _guarded(self.path, f"HDU {hdu}", lambda: _find(self.path, hdus, hdu, self._kept))

    def _follow(self, hdu: int | str) -> fits.HDUList:
        """Return what astropy makes of the file, once its headers up to an HDU are sane."""
        if self._hdus is None:
            self._walk = self._walk or Walk(self.path)
            self._walk.open()
            self._hdus = _open(self.path)
        self._walk.reach(hdu)
        return self._hdus


def _state(path: Path) -> tuple:
    """Return what changes when a file does."""
    state = os.stat(path)
    return state.st_mtime_ns, state.st_size, state.st_ino


def _size(path: Path) -> int:
    """Return the bytes of an ordinary file that has some."""
    try:
        state = os.stat(path)
    except FileNotFoundError as fault:
        raise Absent("read", path, fault.strerror.lower()) from None
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
    # astropy closes what it is given with the HDUs, but leaves open what it opens and cannot read.
    source = path if packing(path) else open(path, "rb")  # noqa: SIM115
    try:
        return _guarded(path, "", lambda: fits.open(source, memmap=False, lazy_load_hdus=True))
    except Reject as fault:
        check_stream(path) if source is path else source.close()
        if "SIMPLE" in fault.reason:
            raise Reject("read", path, "not a FITS file") from None
        raise


def _find(path: Path, hdus: fits.HDUList, hdu: int | str, kept: dict) -> Image:
    try:
        found = hdus[hdu]
    except (KeyError, IndexError):
        for n, one in enumerate(hdus):
            if not hasattr(one, "fileinfo"):
                raise Reject("read", path, f"no HDU {hdu}; HDU {n} is damaged") from None
            check_length(path, n, one, bool(getattr(hdus._file, "compression", None)))
        names = ", ".join(one.name or str(n) for n, one in enumerate(hdus))
        if not getattr(hdus._file, "compression", None) and (left := _left_over(path, hdus)):
            about = f"no HDU {hdu}; it has {names}, and {left} bytes behind them make no sense"
            raise Reject("read", path, about) from None
        raise Absent("read", path, f"no HDU {hdu}; it has {names}") from None
    kinds = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
    if not isinstance(found, kinds) or isinstance(found, fits.GroupsHDU) or len(found.shape) < 2:
        raise Absent("read", path, f"HDU {hdu} holds no image")
    if min(found.shape) < 1:
        raise Reject("read", path, f"HDU {hdu} holds no image: its shape is {found.shape}")
    packed = bool(getattr(hdus._file, "compression", None))
    check_length(path, hdu, found, packed)
    if isinstance(found, fits.CompImageHDU):
        check_tiles(path, hdu, found)

    size, reads = int(np.prod(found.shape, dtype=object)), 0

    def pixels(where: tuple) -> np.ndarray:
        nonlocal reads
        reads += 1
        few = reads <= PATIENCE or size * 4 > KEPT
        if hdu not in kept and size > WHOLE and not packed and few:
            return np.asarray(found.section[where])
        check_count(path, f"HDU {hdu}", size)
        whole = found.data
        kept[hdu] = whole.nbytes
        return whole[where]

    return Image(path, f"HDU {hdu}", found.header, tuple(found.shape), pixels)


def _left_over(path: Path, hdus: fits.HDUList) -> int:
    """Return the bytes behind the last HDU that could be read."""
    last = hdus[-1].fileinfo()
    return max(os.path.getsize(path) - last["datLoc"] - last["datSpan"], 0)


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
