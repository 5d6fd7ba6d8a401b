"""Integrated fluxes of cutouts: seeing-matched Gaussian apertures, a whole block at once.

Ingest measures them for the store, and simulated stores carry the same numbers.
"""

from __future__ import annotations

import numpy as np

from astroml.store.layout import MASK, PHOTOMETRY_PER_BAND

SIGMA_PER_FWHM = 1 / 2.3548
"""Standard deviation of a Gaussian over its full width at half maximum."""

WINDOW = 6.0
"""The window under which the size is measured has this fraction of the cutout's side as width."""

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
        ``flux`` and ``flux_err`` (n, band) float32, nJy, the error that of the background alone,
        NaN where a band has no usable pixel under its weight; ``r_half`` (n,) float32, half-light
        radius, arcsec, of a Gaussian with the galaxy's moments, seeing taken off.
    """
    good = np.isfinite(image) & ((mask & UNUSABLE) == 0)
    # Squares of infinite or absurd pixels would overflow; what is masked does not count at all.
    image = np.where(good, np.clip(np.nan_to_num(image), -1e18, 1e18), np.float32(0))
    seen = good.any(axis=(2, 3))
    noise = np.where(np.isfinite(sigma) & (sigma > 0), sigma, np.inf).astype(float)
    seeing = np.nan_to_num(np.asarray(psf_fwhm, float), nan=0.0) * SIGMA_PER_FWHM / pixel_scale
    width, matched = _size(image, noise, seeing)
    aperture = np.sqrt(width**2 + 2 * matched**2)[:, None]  # on the sky before the seeing
    weight = np.sqrt(aperture**2 - np.minimum(seeing, 0.99 * aperture) ** 2)  # (n, band)
    row, column = _gauss(weight, image.shape[2]), _gauss(weight, image.shape[3])
    total = (1 + width**2 / aperture[:, 0] ** 2)[:, None] * (aperture / weight) ** 2
    flux = total * _weighted(image, row, column)
    kept = _weighted(good.astype(np.float32), row, column)
    whole = np.maximum(row.sum(-1) * column.sum(-1), 1e-30)
    error = total * sigma * np.sqrt(_weighted(good.astype(np.float32), row**2, column**2))
    # Light under masked pixels is taken to be as bright as under the others.
    share = np.where(seen & (kept > 0.1 * whole), kept / whole, np.nan)
    return {
        "flux": (flux / share).astype(np.float32),
        "flux_err": (error / share).astype(np.float32),
        "r_half": (1.1774 * width * pixel_scale).astype(np.float32),
    }


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


def _size(image, noise, seeing) -> tuple[np.ndarray, np.ndarray]:
    """Return the galaxy's Gaussian width and the widest seeing, (n,), px."""
    side = image.shape[-1]
    scale = np.where(np.isfinite(noise), 1 / np.maximum(noise, 1e-30) ** 2, 0)
    scale /= np.maximum(scale.sum(1, keepdims=True), 1e-300)
    stack = np.einsum("nbyx,nb->nyx", image, scale.astype(np.float32))[:, None]
    place = np.arange(side) - (side - 1) / 2
    window = side / WINDOW
    curve = np.exp(-0.5 * (place / window) ** 2).astype(np.float32)[None, None]
    square = curve * place.astype(np.float32) ** 2
    zero = _weighted(stack, curve, curve)[:, 0]
    second = (_weighted(stack, square, curve) + _weighted(stack, curve, square))[:, 0] / 2
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
    along = np.matmul(image, np.broadcast_to(column, image.shape[:2] + column.shape[2:])[..., None])
    return np.einsum("nby,nby->nb", along[..., 0], np.broadcast_to(row, along.shape[:3])).astype(
        float
    )
