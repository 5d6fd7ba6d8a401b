"""Many objects on the same images: their places at once, their pixels out of whole planes."""

from __future__ import annotations

import numpy as np

from astroml.ingest.files import Files, Image
from astroml.ingest.find import Found, find_planes, object_place
from astroml.ingest.names import KINDS
from astroml.ingest.plain import KEPT, PATIENCE
from astroml.ingest.planes import place_on
from astroml.ingest.reject import Reject
from astroml.ingest.together import Together, comparable, steps_between, well_inside
from astroml.survey import Survey


def read_shared(
    files: Files, survey: Survey, root, rows: list[int], told: list[dict]
) -> Together | None:
    """Read objects that share all their files.

    Parameters
    ----------
    files : Files
    survey : Survey
    root : Path
        Folder that file names start from.
    rows : list of int
        Of the block.
    told : list of dict
        Rows of the manifest, of the whole block.

    Returns
    -------
    Together or None
        Of the objects that lie on the images; None if these are better read object by object.
    """
    try:
        found = [find_planes(files, survey, band, root, told[rows[0]]) for band in survey.bands]
    except Exception:  # each object will say what is wrong
        return None
    steps = steps_between([one.wcs for one in found]) if comparable(found, survey) else None
    if steps is None or not all(_handy(image, len(rows)) for image, _ in _images(found)):
        return None
    shapes = [one.image[0].shape[-2:] for one in found]
    on, place = [], []
    for row in rows:
        try:
            here = place_on(shapes[0], found[0].wcs, survey.layout, told[row])
        except Reject:
            continue
        if well_inside(here, steps, shapes):
            on.append(row)
            place.append(here)
    try:
        on, place, planes = _planes(found, survey, on, place, told)
    except Exception:  # broken pixels; each object will say so
        return None
    if not on:
        return None
    return Together(
        rows=np.array(on),
        place=np.array(place),
        steps=np.broadcast_to(steps, (len(on), len(found), 2)),
        found=found,
        planes=planes,
        file=np.full(len(on), found[0].image[0].path, object),
    )


def _images(found: list[Found]) -> list[tuple[Image, int | None]]:
    return [pair for one in found for pair in (one.image, one.mask, one.noise) if pair]


def _handy(image: Image, count: int) -> bool:
    """Say whether an image is best read whole for so many objects."""
    size = int(np.prod(image.shape, dtype=object))
    return image.small or (count > PATIENCE and size * 8 <= KEPT)


def _planes(found: list[Found], survey: Survey, on: list[int], place: list, told: list[dict]):
    """Return the objects that have a plane in every cube, their places, and the planes by band."""
    layout = survey.layout
    counted = [kind for kind in KINDS if getattr(layout, kind) and _counts(layout, kind)]
    good = [n for n, row in enumerate(on) if all(
        _has_plane(one, kind, told[row]) for one in found for kind in counted
    )]  # fmt: skip
    on, place = [on[n] for n in good], [place[n] for n in good]
    planes = []
    for one in found:
        mine = {}
        for kind in KINDS:
            if (pair := getattr(one, kind)) is None:
                continue
            image, plane = pair
            high, wide = image.shape[-2:]
            if kind in counted:
                which = [int(told[row]["index"]) for row in on]
            else:
                which = [plane] * len(on)
            whole = {n: image.read(n, slice(0, high), slice(0, wide)) for n in set(which)}
            mine[kind] = [whole[n] for n in which]
        planes.append(mine)
    return on, place, planes


def _counts(layout, kind: str) -> bool:
    return getattr(layout, kind).axis == "object"


def _has_plane(one: Found, kind: str, row: dict) -> bool:
    pair = getattr(one, kind)
    if pair is None or pair[1] is None:
        return False
    try:
        return object_place(pair[0], row["index"]) >= 0
    except Reject:
        return False
