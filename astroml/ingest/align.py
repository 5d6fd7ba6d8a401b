"""Bring the bands of one object onto the same pixels, with the object in the middle."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.ingest.planes import Pixels, off_image
from astroml.ingest.reject import Reject
from astroml.store import MASK
from astroml.survey import Survey

SAME = 0.05
"""Bands share pixels where their maps from the sky differ by less at the corners, px."""

SCALE_TOLERANCE = 0.02
"""Largest relative difference between a file's pixel scale and the survey's."""

PADDING = MASK["nodata"] | MASK["edge"]
"""Mask of pixels beyond the image."""


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


def cut(bands: dict[str, Pixels], survey: Survey, row: dict, size: int) -> Cutout:
    """Align, centre, crop and pad the bands of one object.

    Parameters
    ----------
    bands : dict
        What was read, by band; missing bands are absent.
    survey : Survey
    row : dict
        The object's row of the manifest; ``ra`` and ``dec``, deg, decide the centre where there is
        a WCS, the middle of the image where there is none.
    size : int
        Side, px.

    Raises
    ------
    Reject
        If the bands cannot be brought together or the object is not on the image.
    """
    reference = _reference(bands, survey)
    shape = reference.image.shape
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    if reference.wcs:
        x, y = reference.wcs.pixel(row["ra"], row["dec"])
        if not (-0.5 <= x <= shape[1] - 0.5 and -0.5 <= y <= shape[0] - 0.5):
            raise off_image(reference.file, row, x, y, shape)
    left, bottom = _start(x, size), _start(y, size)
    out = _empty(survey, size, any(one.ivar is not None for one in bands.values()))
    aligned = False
    for place, band in enumerate(survey.bands):
        if band not in bands:
            continue
        pixels = bands[band]
        if pixels is reference or same_pixels(reference, pixels):
            planes = _crop(pixels, left, bottom, size)
        else:
            planes, aligned = _resample(pixels, reference, left, bottom, size), True
        out.image[place], out.mask[place] = planes[0], planes[2]
        if out.ivar is not None:
            out.ivar[place] = planes[1]
        out.zero_point[place], out.psf_fwhm[place] = pixels.zero_point, pixels.psf_fwhm
    middle = (size - 1) / 2
    out.dx, out.dy = x - left - middle, y - bottom - middle
    out.aligned, out.file = aligned, reference.file
    return out


def same_pixels(one: Pixels, other: Pixels) -> bool:
    """Say whether two bands show the same sky in the same pixels.

    Raises
    ------
    Reject
        If they do not, and one of them has no WCS to align it by.
    """
    same_shape = one.image.shape == other.image.shape
    if one.wcs is None and other.wcs is None:
        if same_shape:
            return True
        raise Reject(
            "align",
            other.file,
            f"bands of different shapes, {one.image.shape} and {other.image.shape}, and no WCS to "
            "align them by",
        )
    if one.wcs is None or other.wcs is None:
        lost = one if one.wcs is None else other
        raise Reject("align", lost.file, "a band without WCS beside bands that have one")
    if one.wcs is other.wcs or one.wcs == other.wcs:
        return same_shape
    return same_shape and _corner_distance(one, other) < SAME


def _corner_distance(one: Pixels, other: Pixels) -> float:
    """Return how far apart, px, the corners of one band fall in the other."""
    high, wide = one.image.shape
    x, y = np.array([0, wide - 1, 0, wide - 1]), np.array([0, 0, high - 1, high - 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        there = other.wcs.wcs.world_to_pixel(one.wcs.wcs.pixel_to_world(x, y))
    distance = np.hypot(there[0] - x, there[1] - y).max()
    return float(distance) if np.isfinite(distance) else np.inf


def _reference(bands: dict[str, Pixels], survey: Survey) -> Pixels:
    """Return the band that the others are aligned to: the first with the survey's scale."""
    for pixels in bands.values():
        ratio = pixels.wcs.scale / survey.pixel_scale if pixels.wcs else 1.0
        if abs(ratio - 1) <= SCALE_TOLERANCE:
            return pixels
    raise Reject(
        "align",
        pixels.file,
        f"its pixels are {pixels.wcs.scale:.4g} arcsec, those of survey {survey.name} "
        f"{survey.pixel_scale:.4g}",
    )


def _start(position: float, size: int) -> int:
    """Return the first pixel of a cutout whose middle is nearest to ``position``.

    A position half-way between two choices takes the lower one, whatever its last digits.
    """
    return int(np.ceil(position - (size - 1) / 2 - 0.5 - 1e-6))


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


def _crop(pixels: Pixels, left: int, bottom: int, size: int) -> tuple:
    """Cut image, ivar and mask; what lies beyond the image is 0 and masked."""
    high, wide = pixels.image.shape
    if left == 0 and bottom == 0 and high == wide == size:
        return pixels.image, 0 if pixels.ivar is None else pixels.ivar, pixels.mask
    rows = slice(max(bottom, 0), min(bottom + size, high))
    columns = slice(max(left, 0), min(left + size, wide))
    inside = (
        slice(rows.start - bottom, rows.stop - bottom),
        slice(columns.start - left, columns.stop - left),
    )
    image, ivar = np.zeros((2, size, size), np.float32)
    mask = np.full((size, size), PADDING, np.uint8)
    image[inside], mask[inside] = pixels.image[rows, columns], pixels.mask[rows, columns]
    if pixels.ivar is not None:
        ivar[inside] = pixels.ivar[rows, columns]
    return image, ivar, mask


def _resample(pixels: Pixels, reference: Pixels, left: int, bottom: int, size: int) -> tuple:
    """Resample image, ivar and mask onto the reference's grid, conserving flux.

    Pixels of nearly the same size are interpolated (cubic, which keeps the seeing); others are
    averaged over the new pixel. A mask bit is set where the pixels that have it weigh more than a
    twentieth. Inverse variance is that of the nearest pixel; correlations are not recorded.
    """
    from reproject import reproject_adaptive, reproject_interp

    target, shape = reference.wcs.cut(left, bottom).wcs, (size, size)
    source = pixels.wcs.wcs
    area = (reference.wcs.scale / pixels.wcs.scale) ** 2
    lost = ~np.isfinite(pixels.image)
    image = np.where(lost, 0, pixels.image).astype(float)
    mask = np.where(lost, pixels.mask | MASK["nodata"], pixels.mask)
    bits = np.array([(mask & bit) != 0 for bit in MASK.values()], float)
    kinds = {"output_projection": target, "shape_out": shape}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if abs(area - 1) < 2 * SCALE_TOLERANCE:
                found, inside = reproject_interp((image, source), order="bicubic", **kinds)
                found = found * area
            else:
                found, inside = reproject_adaptive(
                    (image, source), conserve_flux=True, boundary_mode="ignore", **kinds
                )
            weight = reproject_interp((bits, source), order="bilinear", **kinds)[0]
            ivar = 0
            if pixels.ivar is not None:
                ivar = reproject_interp((pixels.ivar, source), order=0, **kinds)[0] / area**2
    except Exception as fault:
        about = f"{type(fault).__name__}: {fault}"[:200]
        raise Reject("align", pixels.file, f"cannot be aligned ({about})") from None
    out = np.zeros(shape, np.uint8)
    for bit, share in zip(MASK.values(), weight):
        out |= (np.nan_to_num(share) > 0.05).astype(np.uint8) * bit
    beyond = (np.nan_to_num(inside) < 0.5) | ~np.isfinite(found)
    out[beyond] |= PADDING
    return np.where(beyond, 0, found), np.nan_to_num(np.where(beyond, 0, ivar)), out
