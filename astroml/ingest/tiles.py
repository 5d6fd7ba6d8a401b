"""Many objects per file: who shares a file, who is there twice, who is near whom."""

from __future__ import annotations

import hashlib

import numpy as np

from astroml.errors import AstromlError
from astroml.ingest.manifest import Manifest
from astroml.ingest.templates import fields
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


def same_objects(table: Manifest, keys: np.ndarray, radius: float) -> dict[int, str]:
    """Find the rows that show an earlier row's object in another file.

    Parameters
    ----------
    table : Manifest
    keys : (n,) array of str
        Equal for rows of one file.
    radius : float
        arcsec

    Returns
    -------
    dict
        row -> reason.
    """
    from scipy.spatial import cKDTree

    rows = np.array([row for row in range(len(table)) if row not in table.faults], int)
    if radius <= 0 or len(rows) < 2:
        return {}
    ra, dec = (np.radians(table.columns[name][rows]) for name in ("ra", "dec"))
    place = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    pairs = cKDTree(place).query_pairs(np.radians(radius / 3600), output_type="ndarray")
    twice: dict[int, str] = {}
    for one, other in sorted(map(tuple, np.sort(pairs, axis=1).tolist()), key=lambda p: p[::-1]):
        kept, row = int(rows[one]), int(rows[other])
        if kept in twice or row in twice or keys[kept] == keys[row]:
            continue
        apart = np.degrees(np.linalg.norm(place[one] - place[other])) * 3600
        twice[row] = (
            f"the same object as row {kept + 1} (object_id {table.ids[kept]}), {apart:.2f} arcsec "
            "away in another file; kept once"
        )
    return twice


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
