"""Objects of a block whose pixels are placed together, without a look at each one's planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astroml.ingest.align import first_pixel, same_scale, usual_ivar
from astroml.ingest.companions import inverse_variance, translate
from astroml.ingest.find import Found
from astroml.ingest.resample import PADDING, overlap
from astroml.ingest.stack import Stack
from astroml.ingest.tan import Tan
from astroml.store import MASK
from astroml.survey import Survey

Planes = Sequence[np.ndarray]
"""One (y, x) plane per object, as the file has it: a list, or an array (k, y, x)."""


@dataclass
class Together:
    """Objects whose bands lie on the same pixels but for whole steps.

    Attributes
    ----------
    rows : (k,) int array
        Of the block.
    place : (k, 2) array
        Of the object on the first band's image, px, (x, y).
    steps : (k, band, 2) int array
        What to add to a pixel of the first band for each band's.
    found : list of Found
        By band; of one object, which stands for all.
    planes : list of dict
        By band; ``image`` and, where there are any, ``mask`` and ``noise`` -> Planes.
    file : (k,) array of object
        Of the first band's image.
    """

    rows: np.ndarray
    place: np.ndarray
    steps: np.ndarray
    found: list[Found]
    planes: list[dict[str, Planes]]
    file: np.ndarray


def comparable(found: list[Found], survey: Survey) -> bool:
    """Say whether bands may share their pixels: all have a plain map, or none and one shape."""
    if not same_scale(found[0].wcs, survey):
        return False
    shapes = {one.image[0].shape[-2:] for one in found}
    kinds = {type(one.wcs) for one in found}
    return kinds == {Tan} or (kinds == {type(None)} and len(shapes) == 1)


def steps_between(maps: list[Tan | None]) -> list[tuple[int, int]] | None:
    """Return the steps (x, y) from the first band's pixels to each band's; None if uneven."""
    if maps[0] is None:
        return [(0, 0)] * len(maps)
    steps = [maps[0].shift(one) for one in maps]
    return None if None in steps else steps


def well_inside(place, steps, shapes) -> bool:
    """Say whether an object lies on the image of every band, and not just about."""
    (x, y), near = place, -0.4
    return all(
        near <= x + dx <= wide - 1 - near and near <= y + dy <= high - 1 - near
        for (dx, dy), (high, wide) in zip(steps, shapes)
    )


def put(group: Together, stack: Stack, size: int, survey: Survey) -> None:
    """Cut a group's objects out of their planes, at the files' own pixels.

    Parameters
    ----------
    group : Together
    stack : Stack
        Filled in the group's rows.
    size : int
        Side of the cutouts, px.
    survey : Survey
    """
    rows, middle = group.rows, (size - 1) / 2
    first = np.array([[first_pixel(x, size), first_pixel(y, size)] for x, y in group.place])
    stack.dx[rows], stack.dy[rows] = (group.place - first - middle).T
    for band, (found, planes) in enumerate(zip(group.found, group.planes)):
        corner = first + group.steps[:, band]
        with np.errstate(over="ignore"):
            _cut(stack.image[:, band], rows, planes["image"], corner)
        stack.zero_point[rows, band] = found.said.zero_point
        stack.psf_fwhm[rows, band] = found.said.psf_fwhm
        stack.mask[rows, band] = _mask(stack.image[rows, band], planes, found, corner, survey)
        if stack.ivar is not None:
            stack.ivar[rows, band] = _ivar(planes, found, corner, survey, band, size)
        shape = found.image[0].shape[-2:]
        beyond = ((corner < 0) | (corner + size > (shape[1], shape[0]))).any(axis=1)
        for n in np.flatnonzero(beyond):
            inside, _ = overlap(shape, *corner[n].tolist(), size)
            outside = np.ones((size, size), bool)
            outside[inside] = False
            stack.mask[rows[n], band][outside] = PADDING
            if stack.ivar is not None and "noise" in planes:
                stack.ivar[rows[n], band][outside] = 0
    stack.file[rows] = group.file
    stack.aligned[rows] = False
    stack.filled[rows] = True


def _cut(out: np.ndarray, rows: np.ndarray, planes: Planes, corner: np.ndarray) -> None:
    """Copy the part of each plane that begins at a corner (x, y); 0 beyond the plane."""
    size = out.shape[-1]
    if isinstance(planes, np.ndarray) and planes.shape[1:] == (size, size) and not corner.any():
        if rows[-1] - rows[0] == len(rows) - 1:
            out[rows[0] : rows[-1] + 1] = planes
        else:
            out[rows] = planes
        return
    for row, plane, (left, bottom) in zip(rows.tolist(), planes, corner.tolist()):
        high, wide = plane.shape
        if left >= 0 and bottom >= 0 and left + size <= wide and bottom + size <= high:
            out[row] = plane[bottom : bottom + size, left : left + size]
        else:
            inside, here = overlap(plane.shape, left, bottom, size)
            out[row] = 0
            out[row][inside] = plane[here]


def _raw(planes: Planes, corner: np.ndarray, size: int) -> np.ndarray:
    """Return the cut planes (k, y, x) as the files have them."""
    kind = planes[0].dtype.newbyteorder("=")
    out = np.empty((len(corner), size, size), kind)
    _cut(out, np.arange(len(corner)), planes, corner)
    return out


def _mask(image, planes: dict[str, Planes], found: Found, corner, survey: Survey) -> np.ndarray:
    """Return the mask (k, y, x) of the cut planes of one band."""
    layout = survey.layout
    mask = np.zeros(image.shape, np.uint8)
    if "mask" in planes:
        raw = _raw(planes["mask"], corner, image.shape[-1])
        mask = translate(raw, found.mask[0].header, layout)
    if layout.saturation_key:
        mask[image >= found.said.limit] |= MASK["saturated"]
    return mask


def _ivar(planes: dict[str, Planes], found: Found, corner, survey, band: int, size: int):
    """Return the inverse variance (k, y, x) of the cut planes of one band."""
    if "noise" in planes:
        return inverse_variance(_raw(planes["noise"], corner, size), survey.layout.noise_kind)
    return usual_ivar(survey, list(survey.bands)[band], found.said.zero_point)
