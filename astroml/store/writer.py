"""Write a shard: block by block, closed whole or not there at all."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from astroml.provenance import replacing
from astroml.store.layout import PLANES, REQUIRED, Header

SLACK = 2**18
"""Bytes that HDF5 may need beside the arrays: header, attributes, groups."""

PER_CHUNK = 64
"""Bytes per row that the index of the chunks may need."""

PIXELS = {"image": np.float32, "mask": np.uint8, "ivar": np.float32}
LABELS = dict.fromkeys(PLANES, np.uint8)
PER_BAND = {"sigma": np.float32, "psf_fwhm": np.float32}


def write_shard(path: str | Path, header: Header, blocks: Iterable[dict]) -> int:
    """Write one shard and return its number of rows.

    Parameters
    ----------
    path : path
        The shard; it appears under this name only when it is whole.
    header : Header
        What all cutouts share.
    blocks : iterable of dict
        Each with ``image`` and ``mask`` (n, band, y, x), ``sigma`` and ``psf_fwhm`` (n, band),
        optionally ``ivar`` and ``truth`` (n, y, x), and ``objects``, a dict of columns (n,) with at
        least ``REQUIRED``. Blocks are written in the order they come; all hold the same columns.

    Raises
    ------
    AstromlError
        If the disk is full; nothing is left behind.
    """
    with shard_writer(path, header) as append:
        return sum(append(block) for block in blocks)


@contextmanager
def shard_writer(path: str | Path, header: Header) -> Iterator[Callable[[dict], int]]:
    """Give a function that appends a block to a shard and returns its rows.

    The shard is closed, and appears, when the ``with`` ends without a fault; see ``write_shard``.
    """
    with replacing(path) as part:
        part.touch()
        # Chunks are written once and whole: a cache of them would only copy.
        kind = {"libver": "latest", "rdcc_nbytes": 0}
        with _Room(part) as room, h5py.File(part, "w", **kind) as shard:
            shard.attrs.update(header.to_attrs())
            columns: dict[str, list] = {}
            for name, dtype in (PIXELS | PER_BAND).items():
                if name != "ivar":
                    _create(shard, header, name, dtype)

            def append(block: dict) -> int:
                planes = PIXELS | LABELS | PER_BAND
                room.reserve(shard, [block[name] for name in planes if name in block])
                return _append(shard, header, block, columns)

            yield append
            whole = {name: np.concatenate(parts) for name, parts in columns.items()}
            room.reserve(shard, list(whole.values()))
            for name, values in whole.items():
                _write_column(shard, name, values)
            if not columns:
                _write_empty(shard)
        room.trim()


class _Room:
    """Have the disk promise room before anything is written.

    HDF5 does not survive a full disk: it leaves the file open and may take the process along. So
    the disk fills up here, where it is an ordinary OSError.
    """

    def __init__(self, path: Path):
        self._path, self._end = path, 0

    def __enter__(self) -> _Room:
        self._file = os.open(self._path, os.O_RDWR)
        self._extend(SLACK)
        return self

    def __exit__(self, *fault) -> None:
        os.close(self._file)

    def reserve(self, shard: h5py.File, arrays: list[np.ndarray]) -> None:
        """Make sure that so many bytes, and what HDF5 adds to them, can be written."""
        extra = sum(len(array) for array in arrays) * PER_CHUNK
        self._extend(shard.id.get_filesize() + sum(one.nbytes for one in arrays) + extra + SLACK)

    def trim(self) -> None:
        """Give back what was not needed: the closed file knows its own end."""
        with open(self._path, "rb") as stream:
            head = stream.read(36)
        os.truncate(self._path, int.from_bytes(head[28:36], "little"))

    def _extend(self, end: int) -> None:
        if end <= self._end:
            return
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, self._end, end - self._end)
        elif shutil.disk_usage(self._path.parent).free < end - self._end:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end = end


def _create(shard: h5py.File, header: Header, name: str, dtype) -> None:
    shape = () if name in LABELS else (len(header.bands),)
    shape += () if name in PER_BAND else (header.size,) * 2
    # One cutout a chunk: measured the fastest layout for random single reads that can still grow.
    chunks = (1024, *shape) if name in PER_BAND else (1, *shape)
    # Labels are mostly zeros.
    packed = {"compression": "gzip", "compression_opts": 1} if name in LABELS else {}
    shard.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunks, **packed)


def _append(shard: h5py.File, header: Header, block: dict, columns: dict[str, list]) -> int:
    rows = len(block["image"])
    if "ivar" in block and "ivar" not in shard:
        _create(shard, header, "ivar", np.float32)
    before = len(shard["image"])
    for name in (*PIXELS, *PER_BAND):
        if name in shard:
            data = shard[name]
            data.resize(len(data) + rows, axis=0)
            data[len(data) - rows :] = block[name]
    for name in LABELS:
        if name in block and name not in shard:
            _create(shard, header, name, LABELS[name])
        if name in shard:
            # What a block does not have stays zero.
            shard[name].resize(before + rows, axis=0)
            if name in block:
                shard[name][before:] = block[name]
    if columns and set(columns) != set(block["objects"]):
        raise ValueError(f"blocks with different columns: {set(columns) ^ set(block['objects'])}")
    for name, values in block["objects"].items():
        columns.setdefault(name, []).append(np.asarray(values))
    return rows


def _write_column(shard: h5py.File, name: str, values: np.ndarray) -> None:
    if name == "object_id" and values.dtype.kind == "f":
        raise ValueError("object_id is float; ids are int64 or strings")
    if values.dtype.kind in "UO":
        encoded = [str(value).encode() for value in values]
        width = max(1, *map(len, encoded)) if encoded else 1
        kind = h5py.string_dtype("utf-8", width)
        shard.create_dataset(f"objects/{name}", data=np.array(encoded, dtype=kind))
    else:
        shard.create_dataset(f"objects/{name}", data=values)


def _write_empty(shard: h5py.File) -> None:
    kinds = {"object_id": "i8", "flags": "i4", "split": "U1"}
    for name in REQUIRED:
        _write_column(shard, name, np.zeros(0, kinds.get(name, "f8")))
