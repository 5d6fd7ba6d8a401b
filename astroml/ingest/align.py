"""Bring the bands of one object onto the same pixels, with the object in the middle."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.ingest.combine import combine
from astroml.ingest.planes import Pixels, off_image, on_image
from astroml.ingest.reject import Reject
from astroml.ingest.resample import SCALE_TOLERANCE, Planes, broadened, crop, resample
from astroml.ingest.tan import SAME, Tan
from astroml.store import MASK
from astroml.survey import Survey


@dataclass
class Cutout:
    """One object, all bands on one grid, still in the files' units.

    Attributes
    ----------
    image : (band, y, x) float32 array
    ivar : (band, y, x) float32 array or None
    mask : (band, y, x) uint8 array
        Bits of ``store.MASK``; bands that are missing are ``nodata`` everywhere.
    zero_point, psf_fwhm : (band,) array
        AB magnitude of one unit; arcsec.
    dx, dy : float
        Where the object is, from the centre of the array, px.
    aligned : bool
        Whether a band was resampled.
    file : Path
        The file of the reference band.
    """

    image: np.ndarray
    ivar: np.ndarray | None
    mask: np.ndarray
    zero_point: np.ndarray
    psf_fwhm: np.ndarray
    dx: float
    dy: float
    aligned: bool
    file: Path


def cut(
    bands: dict[str, list[Pixels]],
    survey: Survey,
    row: dict,
    size: int,
    scale: float | None = None,
) -> Cutout:
    """Align, centre, crop and pad the bands of one object; combine a band's files.

    Parameters
    ----------
    bands : dict
        What was read, by band, one per file; missing bands are absent.
    survey : Survey
    row : dict
        The object's row of the manifest; ``ra`` and ``dec``, deg, decide the centre where there is
        a WCS, the layout's pixel columns or the middle of the image where there is none.
    size : int
        Side, px.
    scale : float, optional
        Pixel side, arcsec, to resample to, north up and the object exactly central. Default: the
        files' own pixels, the object within half a pixel of the centre.

    Raises
    ------
    Reject
        If the bands cannot be brought together or the object is not on the image.
    """
    reference, (x, y) = _reference(bands, survey, row)
    middle, aligned = (size - 1) / 2, scale is not None
    if scale is None:
        left, bottom = first_pixel(x, size), first_pixel(y, size)
        dx, dy = x - left - middle, y - bottom - middle
    else:
        target = _centred(row, middle, middle, scale)
        dx = dy = 0.0
    out = _empty(survey, size, survey.layout.noise is not None)
    for place, band in enumerate(survey.bands):
        if band not in bands:
            continue
        parts = []
        for one in bands[band]:
            offset = None if scale else shift(reference, one)
            if offset is not None:
                parts.append(crop(one, left + offset[0], bottom + offset[1], size))
                continue
            aligned, wcs = True, one.wcs or _centred(row, *one.at(row), survey.pixel_scale)
            grid = target if scale else reference.wcs.cut(left, bottom)
            parts.append(resample(one, wcs, grid, size))
        planes, out.zero_point[place] = _together(bands[band], parts, survey)
        out.image[place], out.mask[place] = planes.image, planes.mask
        if planes.ivar is not None:
            out.ivar[place] = planes.ivar
        elif out.ivar is not None:
            out.ivar[place] = usual_ivar(survey, band, out.zero_point[place])
        out.psf_fwhm[place] = np.mean([one.psf_fwhm for one in bands[band]])
        if scale:
            out.psf_fwhm[place] = broadened(
                out.psf_fwhm[place], bands[band][0], survey.pixel_scale, scale
            )
    out.dx, out.dy, out.aligned, out.file = dx, dy, aligned, reference.file
    return out


def usual_ivar(survey: Survey, band: str, zero_point: float) -> float:
    """Return the survey's usual inverse variance, where an optional noise plane is not there."""
    facts = survey.bands[band]
    return float((facts.sigma * 10 ** (0.4 * (zero_point - facts.zero_point))) ** -2)


def _together(files: list[Pixels], parts: list[Planes], survey: Survey) -> tuple[Planes, float]:
    """Return the planes of one band, and their zero point."""
    zero_point = files[0].zero_point
    if len(parts) == 1:
        return parts[0], zero_point
    units = [10 ** (0.4 * (zero_point - one.zero_point)) for one in files]
    parts = [part.times(unit) for part, unit in zip(parts, units)]
    return combine(parts, survey.layout.cosmic_sigma), zero_point


def shift(one: Pixels, other: Pixels) -> tuple[int, int] | None:
    """Say by how many whole pixels (x, y) two bands or tiles are shifted.

    Returns
    -------
    tuple of int or None
        What to add to a pixel of ``one`` to find the same sky in ``other``; None where their
        pixels do not coincide.

    Raises
    ------
    Reject
        If they differ in shape and have no WCS to align them by, or if only one has a WCS.
    """
    if one is other:
        return 0, 0
    if one.wcs is None and other.wcs is None:
        if one.image.shape == other.image.shape:
            return 0, 0
        raise Reject(
            "align",
            other.file,
            f"bands of different shapes, {one.image.shape} and {other.image.shape}, and no WCS to "
            "align them by",
        )
    if one.wcs is None or other.wcs is None:
        lost = one if one.wcs is None else other
        raise Reject("align", lost.file, "a band without WCS beside bands that have one")
    if one.wcs is other.wcs:
        return 0, 0
    tangent = isinstance(one.wcs, Tan) and isinstance(other.wcs, Tan)
    if tangent and one.wcs.pole == other.wcs.pole and one.wcs.matrix == other.wcs.matrix:
        return one.wcs.shift(other.wcs)
    offset = _corner_offsets(one, other)
    whole = np.round(np.median(offset, axis=1))
    if not np.isfinite(offset).all() or np.hypot(*(offset.T - whole).T).max() >= SAME:
        return None
    return int(whole[0]), int(whole[1])


def _corner_offsets(one: Pixels, other: Pixels) -> np.ndarray:
    """Return how far, px, the corners of one band move in the other, (2, 4)."""
    mine, theirs = one.wcs, other.wcs
    high, wide = one.image.shape
    x, y = np.array([0, wide - 1, 0, wide - 1]), np.array([0, 0, high - 1, high - 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        there = theirs.wcs.world_to_pixel(mine.wcs.pixel_to_world(x, y))
    return np.array([there[0] - x, there[1] - y])


def _reference(
    bands: dict[str, list[Pixels]], survey: Survey, row: dict
) -> tuple[Pixels, tuple[float, float]]:
    """Return the image that the others are aligned to, and the object's place on it.

    It is the first with the survey's scale that shows the object.
    """
    several = [one for parts in bands.values() for one in parts]
    beside = None
    for pixels in several:
        if not same_scale(pixels.wcs, survey):
            continue
        place = pixels.at(row)
        if on_image(*place, pixels.image.shape):
            return pixels, place
        beside = beside or off_image(pixels.file, row, *place, pixels.image.shape)
    if beside:
        raise beside
    raise Reject(
        "align",
        several[-1].file,
        f"its pixels are {several[-1].wcs.scale:.4g} arcsec, those of survey {survey.name} "
        f"{survey.pixel_scale:.4g}",
    )


def same_scale(wcs, survey: Survey) -> bool:
    """Say whether an image has the survey's pixels; one without a map is taken to."""
    return wcs is None or abs(wcs.scale / survey.pixel_scale - 1) <= SCALE_TOLERANCE


def _centred(row: dict, x: float, y: float, scale: float) -> Tan:
    """Return a north-up map with the object on pixel (x, y)."""
    step = scale / 3600
    return Tan((row["ra"], row["dec"]), (x, y), (-step, 0.0, 0.0, step))


def first_pixel(position: float, size: int) -> int:
    """Return the first pixel of a cutout whose middle is nearest to ``position``.

    A position half-way between two choices takes the lower one, whatever its last digits.
    """
    return math.ceil(position - (size - 1) / 2 - 0.5 - 1e-6)


def _empty(survey: Survey, size: int, with_ivar: bool) -> Cutout:
    shape = (len(survey.bands), size, size)
    return Cutout(
        image=np.zeros(shape, np.float32),
        ivar=np.zeros(shape, np.float32) if with_ivar else None,
        mask=np.full(shape, MASK["nodata"], np.uint8),
        zero_point=np.array([band.zero_point for band in survey.bands.values()]),
        psf_fwhm=np.array([band.psf_fwhm for band in survey.bands.values()], np.float32),
        dx=0.0,
        dy=0.0,
        aligned=False,
        file=Path(),
    )
