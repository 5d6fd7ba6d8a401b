"""What may be done to calibrated cutouts on request: sky subtracted, seeing made equal."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.ndimage import convolve1d

from astroml.config import Ingest
from astroml.ingest.measure import UNUSABLE, sky_noise

PER_SIGMA = 2 * np.sqrt(2 * np.log(2))
"""FWHM of a Gaussian, in units of its sigma."""


def adjust(image, ivar, mask, psf_fwhm, scale: float, settings: Ingest) -> None:
    """Subtract the sky and match the seeing, in place, as the settings ask.

    Parameters
    ----------
    image : (n, band, y, x) float32 array
        nJy, 0 in unusable pixels, which stay so.
    ivar : (n, band, y, x) float32 array or None
    mask : (n, band, y, x) uint8 array
    psf_fwhm : (n, band) float32 array
        arcsec
    scale : float
        Pixel side, arcsec.
    settings : Ingest
    """
    usable = (mask & UNUSABLE) == 0
    if settings.background == "median":
        level = np.nan_to_num(sky_noise(image, usable)[1])[..., None, None]
        image -= np.where(usable, level, 0)
    elif settings.background == "mesh":
        for where in np.ndindex(image.shape[:2]):
            image[where] -= mesh(image[where], usable[where], settings.background_box)
    if settings.match_psf is not None:
        for where in np.ndindex(image.shape[:2]):
            psf_fwhm[where] = _match(
                image[where],
                None if ivar is None else ivar[where],
                usable[where],
                float(psf_fwhm[where]),
                settings.match_psf,
                scale,
            )


def mesh(image: np.ndarray, usable: np.ndarray, box: int) -> np.ndarray:
    """Return a smooth background (y, x), 0 in unusable pixels, from medians of boxes.

    Where too few pixels of sky remain for a mesh, there is none to subtract.
    """
    from photutils.background import Background2D, SExtractorBackground

    sigma, level = (float(one[0]) for one in sky_noise(image[None], usable[None]))
    if not np.isfinite(sigma):
        return np.zeros_like(image)
    source = image > level + 3 * sigma
    side = min(box, *image.shape)
    few = min(image.shape) < 5 * side
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = Background2D(
                image, (side, side), mask=source | ~usable, exclude_percentile=80,
                filter_size=1 if few else 3, bkg_estimator=SExtractorBackground(),
            ).background  # fmt: skip
        except ValueError:  # every box is full of sources
            found = np.full(image.shape, level)
    return np.where(usable, found, 0).astype(np.float32)


def _match(image, ivar, usable, width: float, wanted: float, scale: float) -> float:
    """Blur one plane, in place, to a FWHM, arcsec; return what it then is."""
    if not width < wanted:
        return width
    sigma = np.sqrt(wanted**2 - width**2) / PER_SIGMA / scale
    kernel = gaussian(sigma)
    share = _blur(usable.astype(float), kernel)
    # Next to bad pixels and at the border, what is missing is not taken for darkness.
    seen = usable & (share > 0)
    image[seen] = (_blur(np.where(usable, image, 0.0), kernel) / np.where(seen, share, 1))[seen]
    if ivar is not None:
        told = usable & (ivar > 0)
        variance = _blur(np.where(told, 1 / np.where(told, ivar, 1), 0.0), kernel**2)
        ivar[told] = (share**2 / np.where(variance > 0, variance, 1))[told]
    return wanted


def gaussian(sigma: float) -> np.ndarray:
    """Return a Gaussian kernel of sum 1 whose variance is exactly sigma^2, px."""
    from scipy.special import erf

    inner = sigma**2 - 1 / 12  # a pixel's own variance comes with integrating over it
    if inner < 0.02:
        return np.array([sigma**2 / 2, 1 - sigma**2, sigma**2 / 2])
    reach = int(np.ceil(5 * sigma)) + 1
    edges = (np.arange(-reach, reach + 2) - 0.5) / np.sqrt(2 * inner)
    kernel = np.diff(erf(edges))
    return kernel / kernel.sum()


def _blur(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    for axis in (0, 1):
        plane = convolve1d(plane, kernel, axis=axis, mode="constant")
    return plane
