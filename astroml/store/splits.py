"""Train, validation and test sky: neighbours, and members of a group, never sit on two sides."""

from __future__ import annotations

import hashlib

import numpy as np
from astropy import units as u
from astropy_healpix import HEALPix
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from astroml.config import Splits
from astroml.store.layout import SPLITS


def assign_splits(ra, dec, group=None, splits: Splits | None = None) -> np.ndarray:
    """Assign each object to train, val or test by a hash of where it is.

    Objects in one sky cell stay together, and so do members of a group; where a group lies in
    several cells, those cells stay together. Call it on the whole manifest, not on a part.

    Parameters
    ----------
    ra, dec : (n,) array
        deg, ICRS.
    group : (n,) array, optional
        Equal values stay together; empty text or a negative number means no group.
    splits : Splits, optional
        Cell size, fractions and seed.

    Returns
    -------
    (n,) array of str
        Values of ``SPLITS``.
    """
    splits = splits or Splits()
    cell = HEALPix(splits.nside, order="nested").lonlat_to_healpix(
        np.asarray(ra, float) * u.deg, np.asarray(dec, float) * u.deg
    )
    cells, cell_of = np.unique(cell, return_inverse=True)
    key = _smallest_cell(cells, cell_of, group)
    values, back = np.unique(key, return_inverse=True)
    draw = np.array([_uniform(splits.seed, int(value)) for value in values])
    edges = [splits.test, splits.test + splits.val]
    order = np.array(["test", "val", "train"])
    assert set(order) == set(SPLITS)
    return (
        order[np.searchsorted(edges, draw, side="right")][back] if len(values) else key.astype("U5")
    )


def _smallest_cell(cells: np.ndarray, cell_of: np.ndarray, group) -> np.ndarray:
    """Return for each object the smallest cell of all that its cell is tied to by groups."""
    if group is None or not len(cell_of):
        return cells[cell_of]
    group = np.asarray(group)
    tied = group != "" if group.dtype.kind in "UO" else group >= 0
    _, group_of = np.unique(group[tied], return_inverse=True)
    size = len(cells) + (group_of.max() + 1 if len(group_of) else 0)
    links = (np.ones(len(group_of)), (cell_of[tied], len(cells) + group_of))
    _, label = connected_components(coo_array(links, shape=(size, size)), directed=False)
    smallest = np.full(label.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(smallest, label[: len(cells)], cells)
    return smallest[label[cell_of]]


def _uniform(seed: int, value: int) -> float:
    """Return a number in [0, 1) that is the same on every machine."""
    digest = hashlib.sha256(f"{seed}:{value}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
