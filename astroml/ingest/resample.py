"""Pixels of one file on the pixels of a cutout: cropped where they coincide, else resampled."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

from astroml.ingest.area import averaged
from astroml.ingest.planes import Pixels
from astroml.ingest.reject import Reject
from astroml.ingest.tan import General, Tan
from astroml.store import MASK

SCALE_TOLERANCE = 0.02
"""Largest relative difference of pixel scales that count as the same."""

PADDING = MASK["nodata"] | MASK["edge"]
"""Mask of pixels beyond the image."""


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
    image = np.zeros((size, size), np.float32)
    ivar = None if pixels.ivar is None else np.zeros((size, size), np.float32)
    mask = np.full((size, size), PADDING, np.uint8)
    inside, here = overlap((high, wide), left, bottom, size)
    image[inside], mask[inside] = pixels.image[here], pixels.mask[here]
    if ivar is not None:
        ivar[inside] = pixels.ivar[here]
    return Planes(image, ivar, mask)


def overlap(shape, left: int, bottom: int, size: int) -> tuple[tuple, tuple]:
    """Return where a cutout and an image meet: slices (y, x) of the cutout, and of the image.

    Parameters
    ----------
    shape : (y, x)
        Of the image.
    left, bottom : int
        The cutout's first pixel on the image; it may lie beyond.
    size : int
        Side of the cutout, px.
    """
    cutout, image = [], []
    for begin, side in ((bottom, shape[0]), (left, shape[1])):
        first = min(max(begin, 0), side)
        last = max(min(begin + size, side), first)
        cutout.append(slice(first - begin, last - begin))
        image.append(slice(first, last))
    return tuple(cutout), tuple(image)


def broadened(psf_fwhm: float, pixels: Pixels, native: float, scale: float) -> float:
    """Return the FWHM, arcsec, after averaging to pixels of another size."""
    own = pixels.wcs.scale if pixels.wcs else native
    if abs(scale / own - 1) < SCALE_TOLERANCE:
        return psf_fwhm
    # Each pixel is spread over its square and gathered over the new one.
    return float(np.sqrt(psf_fwhm**2 + 8 * np.log(2) * (own**2 + scale**2) / 12))


def resample(pixels: Pixels, wcs: Tan | General, grid: Tan | General, size: int) -> Planes:
    """Resample image, ivar and mask onto another grid, conserving flux.

    Pixels of nearly the same size are interpolated (cubic, which keeps the seeing); others are
    averaged over the new pixel, each by the area that they share. A mask bit is set where the
    pixels that have it weigh more than a twentieth. Correlations of the noise are not recorded.

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
    area = (grid.scale / wcs.scale) ** 2
    image, ivar = pixels.image, pixels.ivar
    lost = ~np.isfinite(image)
    mask = np.where(lost, pixels.mask | MASK["nodata"], pixels.mask)
    layers = [np.where(lost, 0, image).astype(float)]
    if ivar is not None:
        mask = np.where(ivar > 0, mask, mask | MASK["nodata"])
        layers.append(1 / np.where(ivar > 0, ivar, np.inf).astype(float))
    used = [bit for bit in MASK.values() if (mask & bit).any()]
    layers += [((mask & bit) != 0).astype(float) for bit in used]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, inside = _project(layers, wcs.wcs, grid.wcs, (size, size), area)
    except Exception as fault:
        about = f"{type(fault).__name__}: {fault}"[:200]
        raise Reject("align", pixels.file, f"cannot be aligned ({about})") from None
    out = np.zeros((size, size), np.uint8)
    for bit, share in zip(used, found[len(layers) - len(used) :]):
        out |= (np.nan_to_num(share) > 0.05).astype(np.uint8) * bit
    beyond = (np.nan_to_num(inside) < 0.5) | ~np.isfinite(found[0])
    out[beyond] |= PADDING
    image = np.where(beyond, 0, found[0] * area).astype(np.float32)
    if ivar is None:
        return Planes(image, None, out)
    # The sum over many pixels has the sum of their variances; a part of one, its share squared.
    variance = found[1] * (area if area > 1 + 2 * SCALE_TOLERANCE else area**2)
    told = ~beyond & (variance > 0)
    weight = np.where(told, 1 / np.where(told, variance, 1), 0).astype(np.float32)
    return Planes(image, weight, out)


def _project(layers: list[np.ndarray], source, target, shape, area: float) -> tuple:
    """Return surface brightness, mean variance and mean bits, and how far each pixel is covered."""
    from reproject import reproject_exact, reproject_interp

    kinds = {"output_projection": target, "shape_out": shape}
    if abs(area - 1) < 2 * SCALE_TOLERANCE:
        found, inside = reproject_interp((layers[0], source), order="bicubic", **kinds)
        rest = []
        if len(layers) > 1:
            rest = reproject_interp((np.array(layers[1:]), source), order="bilinear", **kinds)[0]
        return [found, *rest], inside
    quick = averaged(layers, source, target, shape[0])
    if quick:
        return quick
    # Not reproject_adaptive: of mirrored images it loses or gains up to a tenth of the flux.
    made = [reproject_exact((layer, source), parallel=False, **kinds) for layer in layers]
    return [one for one, _ in made], made[0][1]
