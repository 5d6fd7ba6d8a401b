"""Read a store: one or more shards seen as one table of cutouts."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from astroml.errors import AstromlError
from astroml.store.direct import Shards
from astroml.store.layout import FORMAT, Header


def open_store(path: str | Path | list) -> Store:
    """Open a folder of shards, one shard, or a list of shards.

    Raises
    ------
    AstromlError
        If nothing is there, a file is no shard, or the shards do not belong together.
    """
    paths = [Path(one) for one in path] if isinstance(path, list | tuple) else [Path(path)]
    shards = []
    for one in paths:
        # Shards are numbered: 10.h5 comes after 9.h5.
        inside = sorted(one.glob("*.h5"), key=lambda file: (len(file.name), file.name))
        shards += inside if one.is_dir() else [one]
    if not shards:
        raise AstromlError(f"{path}: no shard (*.h5) in it; run ingest first")
    headers = [_read_header(shard) for shard in shards]
    for shard, header in zip(shards, headers):
        if wrong := headers[0].differences(header):
            raise AstromlError(f"{shard} does not belong with {shards[0]}: {'; '.join(wrong)}")
    return Store(shards, headers[0])


def _read_header(path: Path) -> Header:
    try:
        with h5py.File(path) as shard:
            found = shard.attrs.get("format")
            if found != FORMAT:
                raise AstromlError(
                    f"{path}: found store format {found}, expected {FORMAT}; ingest it anew"
                )
            return Header.from_attrs(shard.attrs)
    except FileNotFoundError:
        raise AstromlError(f"{path}: no such shard; run ingest first") from None
    except OSError as fault:
        raise AstromlError(f"{path}: not an HDF5 file that can be read ({fault})") from None


class Store:
    """Cutouts and object columns of several shards, in order.

    Handles do not cross processes: paths are kept, and files are opened when they are read.
    """

    def __init__(self, shards: list[Path], header: Header):
        self.shards = shards
        self.header = header
        self._direct = Shards()

    @cached_property
    def objects(self) -> dict[str, np.ndarray]:
        """Object columns, each (n,); text as numpy strings.

        ``seeing`` is made up where it is not stored: the mean FWHM over the bands, arcsec, NaN
        where none is known.
        """
        tables = [_read_columns(shard) for shard in self.shards]
        full = [table for table in tables if len(table["object_id"])] or tables[:1]
        if odd := set.union(*map(set, full)) ^ set.intersection(*map(set, full)):
            raise AstromlError(
                f"{self.shards[0].parent}: columns {', '.join(sorted(odd))} not in every shard; "
                "ingest all chunks from one manifest"
            )
        return {name: np.concatenate([table[name] for table in full]) for name in full[0]}

    def __len__(self) -> int:
        return len(self.objects["object_id"])

    @cached_property
    def starts(self) -> np.ndarray:
        """First row of each shard, and the number of rows, (shards + 1,)."""
        rows = []
        for shard in self.shards:
            with h5py.File(shard) as data:
                rows.append(len(data["image"]))
        return np.concatenate([[0], np.cumsum(rows)]).astype(int)

    def has(self, name: str) -> bool:
        """Say whether every shard holds a dataset, such as the optional ``ivar``."""
        for shard in self.shards:
            with h5py.File(shard) as data:
                if name not in data:
                    return False
        return True

    def read(self, rows, names=("image", "mask", "sigma", "psf_fwhm")) -> dict[str, np.ndarray]:
        """Read some rows, in the order given.

        Parameters
        ----------
        rows : (k,) array of int
            Any order. Cutouts are read as bytes of the file, see ``direct``; what cannot be is read
            run by run, never by fancy index, which is fifty times slower on chunked data.
        names : tuple of str
            Datasets to read.

        Returns
        -------
        dict
            name -> (k, ...) array.
        """
        rows = np.asarray(rows, dtype=int)
        if not len(rows):
            return self._read_shard(0, rows, names)
        shard_of = np.searchsorted(self.starts, rows, side="right") - 1
        if (shard_of == shard_of[0]).all():
            return self._read_shard(shard_of[0], rows - self.starts[shard_of[0]], names)
        parts: dict[str, np.ndarray] = {}
        for shard in np.unique(shard_of):
            inside = np.flatnonzero(shard_of == shard)
            found = self._read_shard(shard, rows[inside] - self.starts[shard], names)
            for name, values in found.items():
                if name not in parts:
                    parts[name] = np.empty((len(rows), *values.shape[1:]), values.dtype)
                parts[name][inside] = values
        return parts

    def _read_shard(self, shard: int, rows: np.ndarray, names) -> dict[str, np.ndarray]:
        found = self._direct.read(self.shards[shard], names, rows)
        if rest := [name for name in names if name not in found]:
            with h5py.File(self.shards[shard]) as data:
                found |= {name: _read_runs(data[name], rows) for name in rest}
        return {name: found[name] for name in names}


def _read_runs(source: h5py.Dataset, rows: np.ndarray) -> np.ndarray:
    out = np.empty((len(rows), *source.shape[1:]), source.dtype)
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for begin, end in zip([0, *breaks], [*breaks, len(rows)]) if len(rows) else ():
        first = rows[begin]
        out[begin:end] = source[first : first + end - begin]
    return out


def _read_columns(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as shard:
        columns = {name: data[:] for name, data in shard["objects"].items()}
        if "seeing" not in columns:
            columns["seeing"] = _mean_fwhm(shard["psf_fwhm"][:].astype(float))
    return {
        name: np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
        for name, values in columns.items()
    }


def _mean_fwhm(fwhm: np.ndarray) -> np.ndarray:
    """Return the mean (n,) over the bands that know their seeing."""
    known = np.isfinite(fwhm) & (fwhm > 0)
    total, bands = np.where(known, fwhm, 0).sum(1), known.sum(1)
    return np.where(bands > 0, total / np.maximum(bands, 1), np.nan).astype(np.float32)
