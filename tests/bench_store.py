"""Stores of any size to measure on, and random batches of them beside numpy's memory map."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import toy
from bench import Case

from astroml import tasks
from astroml.store import Header, open_store, write_shard

SIZE = 64
"""px, the side of a cutout."""

BANDS = ("g", "r", "z")
KNOWN = 1000
"""Cutouts that a store repeats."""

BATCH = 64
BATCHES = 32
"""Batches of one round."""

NAMES = ("image", "mask")


def blocks(objects: int):
    """Yield blocks of toy lenses; beyond the first they are the same pixels at other places."""
    block = toy.lens(min(KNOWN, objects), BANDS, 1, SIZE)
    for begin in range(0, objects, KNOWN):
        n, rng = min(KNOWN, objects - begin), np.random.default_rng(begin)
        columns = {name: values[:n] for name, values in block["objects"].items()}
        columns |= {"object_id": np.arange(begin, begin + n), "ra": rng.uniform(0, 360, n)}
        pixels = {name: block[name][:n] for name in (*NAMES, "sigma", "psf_fwhm")}
        yield pixels | {"objects": columns}


def make_store(folder: Path, objects: int) -> Path:
    """Write a store, if it is not there yet."""
    path = folder / f"store_{objects}.h5"
    if not path.exists():
        header = Header(tasks.load("lens").SET, BANDS, SIZE, toy.SCALE, "toy")
        write_shard(path, header, blocks(objects))
        warm(path)
    return path


def warm(path: Path) -> None:
    """Read a file from the disk into its cache, where what has just been written lies in pieces."""
    with open(path, "r+b", buffering=0) as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(2**24):
            pass


def prepare_store(folder: Path, objects: int) -> None:
    """Write a store, and its pixels as numpy has them."""
    store = open_store(make_store(folder, objects))
    for name in NAMES:
        path = folder / f"{name}_{objects}.npy"
        kind = store.read(np.arange(1), (name,))[name]
        out = np.lib.format.open_memmap(path, "w+", kind.dtype, (objects, *kind.shape[1:]))
        for begin, end in pairwise([*range(0, objects, KNOWN), objects]):
            out[begin:end] = store.read(np.arange(begin, end), (name,))[name]
        out.flush()
        warm(path)


def case_store(folder: Path, objects: int) -> Case:
    """Return random batches of a store: another order each round, the same for both."""
    store = open_store(make_store(folder, objects))
    planes = {name: np.load(folder / f"{name}_{objects}.npy", mmap_mode="r") for name in NAMES}
    orders = {"subject": np.random.default_rng(1), "bound": np.random.default_rng(1)}

    def batches(who: str):
        order = orders[who].permutation(objects)
        return [order[at * BATCH % objects :][:BATCH] for at in range(BATCHES)]

    def subject() -> None:
        for rows in batches("subject"):
            store.read(rows, NAMES)

    def bound() -> None:
        for rows in batches("bound"):
            for values in planes.values():
                values[rows]

    # Where the cutouts lie is found once, when the first is read.
    store.read(np.arange(2)[::-1], NAMES)
    count = sum(map(len, batches("subject")))
    batches("bound")
    facts = {"bytes_per_object": os.path.getsize(folder / f"store_{objects}.h5") / objects}
    return Case(subject, count, bound, count, "memory map", 12, facts)
