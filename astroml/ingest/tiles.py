"""Many objects per file: who shares a file, who is there twice, who is near whom."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from astroml.errors import AstromlError
from astroml.ingest.files import Files
from astroml.ingest.manifest import Manifest
from astroml.ingest.reject import Reject
from astroml.ingest.templates import exposures, fields, fill
from astroml.survey import Survey


def file_keys(table: Manifest, survey: Survey) -> np.ndarray:
    """Return a text (n,) per row that is the same for rows of the same image files."""
    used: set[str] = set()
    for band, facts in survey.bands.items():
        used |= fields(survey.layout.image.file, band, facts)
    key = np.full(len(table), "", dtype="U1")
    for name in sorted(used):
        key = np.char.add(np.char.add(key, "\n"), table.columns[name].astype(str))
    return key


def work_order(keys: np.ndarray) -> np.ndarray:
    """Return the order of rows (n,) in which each file is needed only once.

    Files come as they first appear, rows of one file as they stand.
    """
    _, first, of_key = np.unique(keys, return_index=True, return_inverse=True)
    return np.argsort(first[of_key], kind="stable") if len(keys) else np.zeros(0, int)


def same_objects(
    table: Manifest, survey: Survey, keys: np.ndarray, root: Path, reach: float, wanted: np.ndarray
) -> dict[int, str]:
    """Find the rows that show an object which another file shows as well or better.

    Best is the file that has most around the object, as far as a cutout reaches; where two are
    equal, the earlier row. Headers decide, no pixels are read: how much is masked does not count.

    Parameters
    ----------
    table : Manifest
    survey : Survey
        Its layout's ``same_object`` says how near, arcsec, is the same.
    keys : (n,) array of str
        Equal for rows of one file.
    root : Path
        Folder that file names start from.
    reach : float
        Half the largest cutout, px.
    wanted : (k,) array of int
        Rows that an answer is needed for.

    Returns
    -------
    dict
        row -> reason, of all rows that may matter for those.
    """
    pairs, apart = _near_pairs(table, survey.layout.same_object)
    other = keys[pairs[:, 0]] != keys[pairs[:, 1]]
    pairs, apart = pairs[other], apart[other]
    if not len(pairs):
        return {}
    near = _linked(len(table), pairs, wanted)
    won: dict[int, tuple[int, float]] = {}
    with Files() as files:
        depth = cache(lambda row: _depth(files, survey, root, table, row, reach))
        for (one, two), between in zip(pairs[near].tolist(), apart[near].tolist()):
            if one not in won and two not in won:
                kept, lost = (two, one) if depth(two) > depth(one) else (one, two)
                won[lost] = kept, between
    return {lost: _twice(table, _last(won, lost), won[lost][1]) for lost in sorted(won)}


def _near_pairs(table: Manifest, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs of rows (k, 2) nearer than a radius, arcsec, as they come, and how near."""
    from scipy.spatial import cKDTree

    rows = np.setdiff1d(np.arange(len(table)), list(table.faults)) if radius > 0 else []
    if len(rows) < 2:
        return np.zeros((0, 2), int), np.zeros(0)
    ra, dec = (np.radians(table.columns[name][rows]) for name in ("ra", "dec"))
    place = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    pairs = cKDTree(place).query_pairs(np.radians(radius / 3600), output_type="ndarray")
    pairs = np.sort(pairs.reshape(-1, 2), axis=1)
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    apart = np.linalg.norm(place[pairs[:, 0]] - place[pairs[:, 1]], axis=1)
    return rows[pairs], np.degrees(apart) * 3600


def _linked(n: int, pairs: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Say which pairs (k,) belong to a chain of pairs with a wanted row."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    label = connected_components(graph, directed=False)[1]
    return np.isin(label[pairs[:, 0]], label[wanted])


def _depth(
    files: Files, survey: Survey, root: Path, table: Manifest, row: int, reach: float
) -> float:
    """Return how far inside its image an object is, px, at most ``reach``; -1 if no file tells."""
    told = {name: values[row].item() for name, values in table.columns.items()}
    band, facts = next(iter(survey.bands.items()))
    plane = survey.layout.image
    try:
        used = fields(plane.file, band, facts)
        first, *more = exposures(told, used)
        if more:
            return reach  # neighbouring tiles fill each other in
        hdu = fill(plane.hdu, band, facts, first) if isinstance(plane.hdu, str) else plane.hdu
        image = files.image(root / fill(plane.file, band, facts, first), hdu)
        x, y = image.wcs.pixel(told["ra"], told["dec"])
    except (Reject, ValueError, AttributeError):
        return -1.0
    high, wide = image.shape[-2:]
    inside = min(x + 0.5, y + 0.5, wide - 0.5 - x, high - 0.5 - y)
    return float(np.clip(inside, -1.0, reach)) if np.isfinite(inside) else -1.0


def _last(won: dict[int, tuple[int, float]], row: int) -> int:
    """Return the row that is kept in the end."""
    while row in won:
        row = won[row][0]
    return row


def _twice(table: Manifest, kept: int, apart: float) -> str:
    return (
        f"the same object as row {kept + 1} (object_id {table.ids[kept]}), {apart:.2f} arcsec "
        "away in another file; kept once"
    )


def split_positions(
    table: Manifest, survey: Survey, keys: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions, deg, (n,) that say which objects are neighbours.

    Those of the sky; where the survey gives pixel positions only, each file is laid on the equator
    at a longitude that its name decides, so that sky cells divide it as they would the sky.
    """
    if not table.placeless:
        return table.columns["ra"], table.columns["dec"]
    x, y = (_numbers(table, name) for name in survey.layout.pixel_columns)
    step = survey.pixel_scale / 3600
    names, of_key = np.unique(keys, return_inverse=True)
    digests = [hashlib.sha256(name.encode()).digest() for name in names.tolist()]
    start = np.array([int.from_bytes(one[:4], "big") % 360 for one in digests], float)
    longitude = start[of_key] if len(names) else np.zeros(0)
    return np.mod(longitude + x * step, 360), np.clip(y * step, -90, 90)


def _numbers(table: Manifest, name: str) -> np.ndarray:
    try:
        return np.nan_to_num(table.columns[name].astype(float))
    except ValueError:
        raise AstromlError(
            f"{table.path}: column {name!r} holds text, expected pixel positions"
        ) from None
