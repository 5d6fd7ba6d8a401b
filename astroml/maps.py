"""Maps that a network draws of each cutout, beside its rows: ``<rows>.maps.h5``.

A file of a task whose ``MAPS`` names a map ``mask`` holds::

    object_id (n,)
    mask      (n, channel, y, x) uint8   probability times 255

Its attributes are ``channels``, a JSON list; ``task``; ``size``, the cutout's side, px; ``pool``,
how many of the cutout's pixels along a side one of the map covers; ``pixel_scale`` of the map,
arcsec; ``provenance``. Maps lie on the pixels of the store; a last row or column may reach beyond.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from astroml.errors import AstromlError
from astroml.provenance import replacing
from astroml.store import Header, Store

ENDING = "_masks.h5"
"""Ending of the maps' file beside the catalog."""

HALF = 128
"""Value from which on a pixel is likelier in the mask than not."""

BLOCK = 256
"""Maps read at once."""

PACKED = {"compression": "gzip", "compression_opts": 4}
"""Maps are mostly zeros: packing saves nearly all."""


def beside(rows: str | Path) -> Path:
    """Return where the maps of a file of rows lie."""
    return Path(rows).with_suffix(".maps.h5")


def packed(logit: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits as uint8, 255 for certainty."""
    return np.round(255 / (1 + np.exp(-np.clip(logit, -60, 60)))).astype(np.uint8)


@contextmanager
def map_writer(path: Path, channels: dict[str, tuple], n: int, header: Header, facts: dict):
    """Give a function that appends maps to a file, which appears when it is whole.

    Parameters
    ----------
    path : Path
        The file.
    channels : dict
        Name of each map -> names of its channels.
    n : int
        Objects there will be.
    header : Header
        Of the store.
    facts : dict
        What made the maps.
    """
    with replacing(path) as part, h5py.File(part, "w") as file:
        done = 0

        def append(object_id: np.ndarray, maps: dict[str, np.ndarray]) -> None:
            nonlocal done
            for name, values in maps.items():
                if name not in file:
                    _begin(file, name, n, values.shape[1:], header)
                file[name][done : done + len(values)] = values
            ids.append(np.asarray(object_id))
            done += len(object_id)

        ids: list[np.ndarray] = []
        yield append
        _write_ids(file, np.concatenate(ids) if ids else np.zeros(0, np.int64))
        file.attrs.update(channels=json.dumps(channels), provenance=json.dumps(facts))
        file.attrs["task"] = facts.get("task", "")


def _begin(file: h5py.File, name: str, n: int, shape: tuple, header: Header) -> None:
    file.create_dataset(
        name, (n, *shape), np.uint8, maxshape=(None, *shape), chunks=(1, *shape), **PACKED
    )
    pool = -(-header.size // shape[-1])
    file.attrs.update(size=header.size, pool=pool, pixel_scale=header.pixel_scale * pool)


def _write_ids(file: h5py.File, ids: np.ndarray) -> None:
    file["object_id"] = np.char.encode(ids, "utf-8") if ids.dtype.kind == "U" else ids


def read_maps(paths: list[Path], name: str = "mask") -> Iterator[tuple[np.ndarray, Callable]]:
    """Yield of each file the ids (n,) and a function that reads the maps of a slice or of rows.

    Parameters
    ----------
    paths : list of Path
        Files of maps, as ``beside`` names them.
    name : str
        Map to read.
    """
    for path in paths:
        with h5py.File(path) as file:
            ids = file["object_id"][:]
            if ids.dtype.kind == "S":
                ids = np.char.decode(ids, "utf-8")
            yield ids, file[name].__getitem__


def masks_of(paths: list[Path], object_ids: np.ndarray, size: int) -> np.ndarray | None:
    """Return the masks (k, size, size) bool of some objects, on the cutouts' pixels.

    None if a file is not there; an object that no file has, has an empty mask.
    """
    if not paths or not all(path.is_file() for path in paths):
        return None
    masks = np.zeros((len(object_ids), size, size), bool)
    for ids, read in read_maps(paths):
        place = {one: row for row, one in enumerate(ids.tolist())}
        for at, one in enumerate(np.asarray(object_ids).tolist()):
            if one in place:
                masks[at] = on_cutout(read(place[one])[0], size)
    return masks


def on_cutout(probability: np.ndarray, size: int) -> np.ndarray:
    """Return where maps (..., y, x) are likelier a feature than not, (..., size, size) bool."""
    pool = -(-size // probability.shape[-1])
    whole = np.repeat(np.repeat(probability >= HALF, pool, axis=-2), pool, axis=-1)
    return whole[..., :size, :size]


def overlap(paths: list[Path], store: Store, object_ids: np.ndarray) -> dict[str, np.ndarray]:
    """Compare masks with the plane ``truth`` of a store, pixel by pixel of the cutouts.

    Parameters
    ----------
    paths : list of Path
        Files of maps.
    store : Store
        The labelled store.
    object_ids : (k,) array
        Objects wanted.

    Returns
    -------
    dict
        ``dice``, twice the pixels that both have over the sum of what each has, and ``iou``, the
        pixels that both have over those that either has, (k,): NaN of an object without a feature.
        Empty where there is no such plane or no such file.
    """
    if not store.has("truth") or not paths or not all(path.is_file() for path in paths):
        return {}
    both, mine, true = np.zeros((3, len(object_ids)))
    wanted = {one: at for at, one in enumerate(np.asarray(object_ids).tolist())}
    stored = {one: row for row, one in enumerate(store.objects["object_id"].tolist())}
    for ids, read in read_maps(paths):
        for begin in range(0, len(ids), BLOCK):
            some = ids[begin : begin + BLOCK].tolist()
            which = [at for at, one in enumerate(some) if one in wanted]
            if not which:
                continue
            rows = np.array([stored[some[at]] for at in which])
            truth = store.read(rows, ("truth",))["truth"] > 0
            found = on_cutout(read(slice(begin, begin + BLOCK))[which, 0], truth.shape[-1])
            place = [wanted[some[at]] for at in which]
            both[place] = (found & truth).sum((1, 2))
            mine[place], true[place] = found.sum((1, 2)), truth.sum((1, 2))
    there = true > 0
    dice = np.where(there, 2 * both / np.maximum(mine + true, 1), np.nan)
    return {"dice": dice, "iou": np.where(there, both / np.maximum(mine + true - both, 1), np.nan)}


def gather_maps(rows_paths: list[Path], out: Path) -> int:
    """Copy the maps beside several files of rows into one file; return their number."""
    paths = [beside(path) for path in rows_paths]
    for path in paths:
        if not path.is_file():
            raise AstromlError(f"{path}: no such maps; run infer again")
    count = 0
    with h5py.File(out, "w") as joined:
        ids = []
        for path in paths:
            with h5py.File(path) as file:
                for name in [name for name in file if name != "object_id"]:
                    _append(joined, name, file[name])
                ids.append(file["object_id"][:])
                joined.attrs.update(file.attrs)
        full = [one for one in ids if len(one)] or ids[:1]
        joined["object_id"] = np.concatenate(full)
        count = sum(map(len, full))
    return count


def _append(joined: h5py.File, name: str, part: h5py.Dataset) -> None:
    if name not in joined:
        joined.create_dataset(
            name,
            (0, *part.shape[1:]),
            np.uint8,
            maxshape=part.maxshape,
            chunks=part.chunks,
            **PACKED,
        )
    data, before = joined[name], len(joined[name])
    data.resize(before + len(part), axis=0)
    for begin in range(0, len(part), BLOCK):
        block = part[begin : begin + BLOCK]
        data[before + begin : before + begin + len(block)] = block
