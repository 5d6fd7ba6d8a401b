"""Cutouts straight from the bytes of a shard: HDF5 says once where each lies.

Without a filter, and with one cutout a chunk, a cutout is a piece of the file as it stands. Read
through HDF5 each costs a selection, tens of microseconds; as bytes it costs its copy.
"""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

MAPPED = 2**30
"""Bytes read through memory maps before these are let go. The pages are the disk's cache, which the
system takes back when it needs memory, but they count as the process's own until then."""

OPEN = 64
"""Maps held at once: each takes a file handle."""

RUN = 4
"""Mean length of runs of neighbouring rows from which on the file is read, not mapped."""


@dataclass(frozen=True)
class Place:
    """Where the cutouts of a dataset lie in a shard."""

    starts: np.ndarray
    """(n,) int64: first byte of each."""
    shape: tuple[int, ...]
    """Of one cutout."""
    dtype: np.dtype

    size: int
    """Bytes of one cutout."""


@dataclass
class Shards:
    """What is known of the shards of a store, and their maps."""

    places: dict[Path, tuple] = field(default_factory=dict)
    """File -> what told it from others, and its places."""
    maps: dict[Path, mmap.mmap] = field(default_factory=dict)
    touched: int = 0
    """Bytes read through the maps that are open."""

    def __reduce__(self):
        # Maps do not cross processes; the rest is found again.
        return Shards, ()

    def read(self, path: Path, names, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Read some rows (k,) of a shard.

        Returns
        -------
        dict
            name -> (k, ...) array, of those names whose cutouts lie open in the file.
        """
        places = self._places(path)
        known = [name for name in names if name in places]
        if not known or not len(rows):
            return {}
        runs = np.flatnonzero(np.diff(rows) != 1) + 1
        if len(rows) >= RUN * (len(runs) + 1):
            with open(path, "rb", buffering=0) as file:
                return {name: _read_runs(file.fileno(), places[name], rows) for name in known}
        window = self._map(path, len(rows) * sum(places[name].size for name in known))
        return {name: _gather(window, places[name], rows) for name in known}

    def _places(self, path: Path) -> dict[str, Place]:
        """Return where the cutouts of a shard lie, found anew when the file is another."""
        if path in self.maps:
            return self.places[path][1]
        about = os.stat(path)
        key = about.st_ino, about.st_mtime_ns, about.st_size
        if path not in self.places or self.places[path][0] != key:
            self.places[path] = key, find_places(path)
        return self.places[path][1]

    def _map(self, path: Path, count: int) -> mmap.mmap:
        """Return a shard's map, of which so many bytes will be read."""
        self.touched += count
        if self.touched > MAPPED or (len(self.maps) >= OPEN and path not in self.maps):
            self.maps, self.touched = {}, count
        if path not in self.maps:
            with open(path, "rb") as file:
                self.maps[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self.maps[path]


def find_places(path: Path) -> dict[str, Place]:
    """Return dataset -> where its cutouts lie, of those that can be read as bytes."""
    with h5py.File(path) as shard:
        if shard.userblock_size:
            return {}
        found = {name: _place(data) for name, data in shard.items() if hasattr(data, "chunks")}
    return {name: place for name, place in found.items() if place is not None}


def _place(data: h5py.Dataset) -> Place | None:
    filters = data.id.get_create_plist().get_nfilters()
    if data.chunks != (1, *data.shape[1:]) or filters or not data.dtype.isnative:
        return None
    starts = np.full(len(data), -1, np.int64)

    def note(chunk) -> None:
        starts[chunk.chunk_offset[0]] = chunk.byte_offset

    if len(data):
        data.id.chunk_iter(note)
    return (
        None
        if (starts < 0).any()
        else Place(
            starts, data.shape[1:], data.dtype, data.dtype.itemsize * math.prod(data.shape[1:])
        )
    )


def _gather(window: mmap.mmap, place: Place, rows: np.ndarray) -> np.ndarray:
    """Copy cutouts out of a map: each is one window on the bytes of the file."""
    windows = np.ndarray((len(window) - place.size + 1, place.size), np.uint8, window, 0, (1, 1))
    return windows[place.starts[rows]].view(place.dtype).reshape(len(rows), *place.shape)


def _read_runs(file: int, place: Place, rows: np.ndarray) -> np.ndarray:
    """Read cutouts that mostly follow each other, each piece of the file at once."""
    out = np.empty((len(rows), *place.shape), place.dtype)
    starts = place.starts[rows]
    breaks = np.flatnonzero(np.diff(starts) != place.size) + 1
    for begin, end in zip([0, *breaks.tolist()], [*breaks.tolist(), len(rows)]):
        left, at = memoryview(out[begin:end].reshape(-1).view(np.uint8)), int(starts[begin])
        while len(left):
            count = os.preadv(file, [left], at)
            if not count:
                raise OSError(f"the file ends {len(left)} bytes early")
            left, at = left[count:], at + count
    return out
