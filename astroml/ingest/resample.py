"""Pixels of one file on the pixels of a cutout: cropped where they coincide, else resampled."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from astroml.ingest.planes import Pixels
from astroml.ingest.reject import Reject
from astroml.ingest.tan import General, Tan
from astroml.store import MASK

SCALE_TOLERANCE = 0.02
"""Largest relative difference of pixel scales that count as the same."""

PADDING = MASK["nodata"] | MASK["edge"]
"""Mask of pixels beyond the image."""

KERNEL = 1.3
"""FWHM, new pixels, of the Gaussian with which pixels of another size are averaged."""


class Planes(NamedTuple):
    """The (y, x) planes of one cutout: flux, inverse variance or None, bits of ``store.MASK``."""

    image: np.ndarray
    ivar: np.ndarray | None
    mask: np.ndarray

    def times(self, unit: float) -> Planes:
        """Return the same in another unit."""
        ivar = None if self.ivar is None else self.ivar / np.float32(unit**2)
        return Planes(self.image * np.float32(unit), ivar, self.mask)


def crop(pixels: Pixels, left: int, bottom: int, size: int) -> Planes:
    """Cut image, ivar and mask; what lies beyond the image is 0 and masked."""
    high, wide = pixels.image.shape
    if left == 0 and bottom == 0 and high == wide == size:
        return Planes(pixels.image, pixels.ivar, pixels.mask)
    top, right = min(bottom + size, high), min(left + size, wide)
    rows, columns = slice(max(bottom, 0), top), slice(max(left, 0), right)
    image = np.zeros((size, size), np.float32)
    ivar = None if pixels.ivar is None else np.zeros((size, size), np.float32)
    mask = np.full((size, size), PADDING, np.uint8)
    if rows.stop > rows.start and columns.stop > columns.start:
        inside = (
            slice(rows.start - bottom, rows.stop - bottom),
            slice(columns.start - left, columns.stop - left),
        )
        image[inside], mask[inside] = pixels.image[rows, columns], pixels.mask[rows, columns]
        if ivar is not None:
            ivar[inside] = pixels.ivar[rows, columns]
    return Planes(image, ivar, mask)


def broadened(psf_fwhm: float, pixels: Pixels, scale: float) -> float:
    """Return the FWHM, arcsec, after averaging to pixels of another size."""
    if pixels.wcs and abs(scale / pixels.wcs.scale - 1) < SCALE_TOLERANCE:
        return psf_fwhm
    return float(np.hypot(psf_fwhm, KERNEL * scale))


def resample(pixels: Pixels, wcs: Tan | General, grid: Tan | General, size: int) -> Planes:
    """Resample image, ivar and mask onto another grid, conserving flux.

    Pixels of nearly the same size are interpolated (cubic, which keeps the seeing); others are
    averaged over the new pixel. A mask bit is set where the pixels that have it weigh more than a
    twentieth. Inverse variance is that of the nearest pixel; correlations are not recorded.

    Parameters
    ----------
    pixels : Pixels
    wcs, grid : Tan or General
        From sky to these pixels, and to those of the cutout.
    size : int
        Side, px.

    Raises
    ------
    Reject
        If the one cannot be mapped onto the other.
    """
    from reproject import reproject_adaptive, reproject_interp

    source, shape = wcs.wcs, (size, size)
    area = (grid.scale / wcs.scale) ** 2
    lost = ~np.isfinite(pixels.image)
    image = np.where(lost, 0, pixels.image).astype(float)
    mask = np.where(lost, pixels.mask | MASK["nodata"], pixels.mask)
    used = [bit for bit in MASK.values() if (mask & bit).any()]
    kinds = {"output_projection": grid.wcs, "shape_out": shape}
    out, ivar = np.zeros(shape, np.uint8), None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if abs(area - 1) < 2 * SCALE_TOLERANCE:
                found, inside = reproject_interp((image, source), order="bicubic", **kinds)
                found = found * area
            else:
                found, inside = reproject_adaptive(
                    (image, source), conserve_flux=True, boundary_mode="ignore", kernel="gaussian",
                    kernel_width=KERNEL, **kinds,
                )  # fmt: skip
            if used:
                bits = np.array([(mask & bit) != 0 for bit in used], float)
                weight = reproject_interp((bits, source), order="bilinear", **kinds)[0]
                for bit, share in zip(used, weight):
                    out |= (np.nan_to_num(share) > 0.05).astype(np.uint8) * bit
            if pixels.ivar is not None:
                ivar = reproject_interp((pixels.ivar, source), order=0, **kinds)[0] / area**2
    except Exception as fault:
        about = f"{type(fault).__name__}: {fault}"[:200]
        raise Reject("align", pixels.file, f"cannot be aligned ({about})") from None
    beyond = (np.nan_to_num(inside) < 0.5) | ~np.isfinite(found)
    out[beyond] |= PADDING
    if ivar is not None:
        ivar = np.nan_to_num(np.where(beyond, 0, ivar)).astype(np.float32)
    return Planes(np.where(beyond, 0, found).astype(np.float32), ivar, out)
