"""Integrated fluxes of cutouts: seeing-matched Gaussian apertures, a whole block at once.

Ingest measures them for the store, and simulated stores carry the same numbers.
"""

from __future__ import annotations

import math

import numpy as np

from astroml.store.layout import MASK, PHOTOMETRY_PER_BAND

SIGMA_PER_FWHM = 1 / 2.3548
"""Standard deviation of a Gaussian over its full width at half maximum."""

WINDOW = 6.0
"""The window under which the size is measured has this fraction of the cutout's side as width."""

PIECE = 64
"""Objects measured at once."""

UNUSABLE = sum(bit for name, bit in MASK.items() if name not in ("interpolated", "saturated"))
"""Bits of pixels that are left out."""


def photometry(image, mask, sigma, psf_fwhm, pixel_scale: float) -> dict[str, np.ndarray]:
    """Measure flux and size of the object at the centre of each cutout.

    The size comes from the second moments, under a Gaussian window, of all bands added up with the
    weight of their noise. Fluxes are sums under Gaussian weights whose width differs per band so
    that, seeing included, each looks at the same part of the galaxy (Kuijken 2008, A&A 482, 1053,
    eq. 12, for a Gaussian seeing): colours do not depend on the seeing. One factor per object then
    turns the aperture's flux into that of a whole Gaussian galaxy of the measured size; for other
    profiles the total is a fixed fraction off, colours are not.

    Parameters
    ----------
    image : (n, band, y, x) float32 array
        nJy; unusable pixels hold anything.
    mask : (n, band, y, x) uint8 array
        Bits of ``store.MASK``.
    sigma : (n, band) array
        Background noise of one pixel, nJy.
    psf_fwhm : (n, band) array
        arcsec
    pixel_scale : float
        arcsec

    Returns
    -------
    dict
        ``flux`` and ``flux_err`` (n, band) float32, nJy, the error that of the background alone
        at the measured size, whose own error all bands share and colours do not have; NaN where a
        band has no usable pixel under its weight. ``r_half`` (n,) float32, half-light radius,
        arcsec, of a Gaussian with the galaxy's moments, seeing taken off.
    """
    planes = [np.asarray(one) for one in (image, mask, sigma, psf_fwhm)]
    # A few objects at a time stay in the processor's cache, from one step to the next.
    pieces = [
        _piece(*(one[begin : begin + PIECE] for one in planes), pixel_scale)
        for begin in range(0, max(len(planes[0]), 1), PIECE)
    ]
    names = ("flux", "flux_err", "r_half")
    return {name: np.concatenate([one[at] for one in pieces]) for at, name in enumerate(names)}


def photometry_columns(
    image, mask, sigma, psf_fwhm, pixel_scale: float, bands, mw_transmission
) -> dict[str, np.ndarray]:
    """Return object columns of ``photometry``: those of ``store.layout.PHOTOMETRY``, float32.

    Parameters
    ----------
    image, mask, sigma, psf_fwhm, pixel_scale
        See ``photometry``.
    bands : sequence of str
        Names of the bands.
    mw_transmission : (n, band) array
        Share of the light that the Milky Way's dust lets through.

    Returns
    -------
    dict
        ``r_half`` (n,); ``flux_<band>``, ``flux_err_<band>``, ``mw_transmission_<band>`` (n,).
    """
    found = photometry(image, mask, sigma, psf_fwhm, pixel_scale)
    found["mw_transmission"] = np.asarray(mw_transmission, np.float32)
    columns = {"r_half": found["r_half"]}
    for kind in PHOTOMETRY_PER_BAND:
        columns |= {f"{kind}_{band}": found[kind][:, at] for at, band in enumerate(bands)}
    return columns


def _piece(image, mask, sigma, psf_fwhm, pixel_scale: float) -> tuple[np.ndarray, ...]:
    """Return ``flux``, ``flux_err`` and ``r_half`` of some objects; see ``photometry``."""
    image, spoilt, good = _clean(image, mask)
    seen = np.ones(image.shape[:2], bool)
    seen[spoilt] = good.any(axis=(2, 3))
    noise = np.where(np.isfinite(sigma) & (sigma > 0), sigma, np.inf).astype(float)
    seeing = np.nan_to_num(np.asarray(psf_fwhm, float), nan=0.0) * SIGMA_PER_FWHM / pixel_scale
    width, matched = _size(image, noise, seeing)
    aperture = np.sqrt(width**2 + 2 * matched**2)[:, None]  # on the sky before the seeing
    weight = np.sqrt(aperture**2 - np.minimum(seeing, 0.99 * aperture) ** 2)  # (n, band)
    row, column = _gauss(weight, image.shape[2]), _gauss(weight, image.shape[3])
    total = (1 + width**2 / aperture[:, 0] ** 2)[:, None] * (aperture / weight) ** 2
    # Where every pixel counts, sums of separable weights are products of sums.
    whole = row.sum(-1, dtype=float) * column.sum(-1, dtype=float)
    square = (row**2).sum(-1, dtype=float) * (column**2).sum(-1, dtype=float)
    kept = whole.copy()
    kept[spoilt] = _weighted(good, row[spoilt], column[spoilt])
    square[spoilt] = _weighted(good, row[spoilt] ** 2, column[spoilt] ** 2)
    # Light under masked pixels is taken to be as bright as under the others.
    whole = np.maximum(whole, 1e-30)
    factor = total / np.where(seen & (kept > 0.1 * whole), kept / whole, np.nan)
    return (
        (factor * _weighted(image, row, column)).astype(np.float32),
        (factor * sigma * np.sqrt(square)).astype(np.float32),
        (1.1774 * width * pixel_scale).astype(np.float32),
    )


def _clean(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the images with unusable pixels 0, the objects that have such, and their good pixels.

    The latter are (spoilt, band, y, x) float32. The squares of infinite or absurd pixels overflow,
    which finds them in one pass; what is masked does not count at all.
    """
    pixels = len(image), math.prod(image.shape[1:])
    flat = image.reshape(pixels)
    with np.errstate(over="ignore", invalid="ignore"):
        sane = np.einsum("np,np->n", flat, flat) < 1e36
    spoilt = np.flatnonzero(~sane | mask.reshape(pixels).any(1))
    some = image[spoilt]
    good = np.isfinite(some) & ((mask[spoilt] & UNUSABLE) == 0)
    if len(spoilt):
        image = image.copy()
        image[spoilt] = np.where(good, np.clip(np.nan_to_num(some), -1e18, 1e18), np.float32(0))
    return image, spoilt, good.astype(np.float32)


def _size(image, noise, seeing) -> tuple[np.ndarray, np.ndarray]:
    """Return the galaxy's Gaussian width and the widest seeing, (n,), px."""
    side = image.shape[-1]
    scale = np.where(np.isfinite(noise), 1 / np.maximum(noise, 1e-30) ** 2, 0)
    scale /= np.maximum(scale.sum(1, keepdims=True), 1e-300)
    place = np.arange(side) - (side - 1) / 2
    window = side / WINDOW
    curve = np.exp(-0.5 * (place / window) ** 2)
    both = np.stack([curve, curve * place**2])
    # Sums over x, then over y, under the window and under the window times the square: (n, 2, 2).
    sums = np.matmul(image, both.T.astype(np.float32))
    sums = np.einsum("ky,nbyl,nb->nkl", both, sums, scale, optimize=["einsum_path", (1, 2), (0, 1)])
    zero, second = sums[:, 0, 0], (sums[:, 0, 1] + sums[:, 1, 0]) / 2
    blur = (seeing**2 * scale).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = second / zero
        # A Gaussian of variance v under a window of variance w is one of 1 / (1/v + 1/w).
        variance = 1 / (1 / seen - 1 / window**2) - blur
    least, most = 0.25, window**2
    fair = (zero > 0) & (seen > 0) & (seen < window**2)
    variance = np.where(fair, np.clip(variance, least, most), np.where(seen > 0, most, least))
    variance = np.where(np.isfinite(variance), variance, least)
    return np.sqrt(variance), np.maximum(seeing.max(1), 0.5)


def _gauss(width: np.ndarray, side: int) -> np.ndarray:
    """Return Gaussians (n, band, side) of height 1, of some widths (n, band), px."""
    place = np.arange(side) - (side - 1) / 2
    return np.exp(-0.5 * (place / width[..., None]) ** 2).astype(np.float32)


def _weighted(image, row, column) -> np.ndarray:
    """Return sums (n, band) of images (n, band, y, x) under separable weights (n, band, side)."""
    along = np.einsum("nbyx,nbx->nby", image, column)
    return np.einsum("nby,nby->nb", along, row).astype(float)
