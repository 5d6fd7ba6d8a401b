"""Hand-made features of a cutout, for a classifier that is no network: the baseline to beat.

All are sums over circles, rings and images turned by 90 or 180 degrees about the centre, so that
turning a cutout changes none of them.
"""

from __future__ import annotations

import itertools

import numpy as np

from astroml.store.layout import MASK

UNUSABLE = MASK["bad"] | MASK["cosmic"] | MASK["edge"] | MASK["nodata"]
"""Bits of pixels that are left out."""

APERTURES = (0.7, 1.3, 2.0, 3.0, 4.5)
"""Radii of circles, arcsec."""

RINGS = (0.0, 0.4, 0.7, 1.0, 1.3, 1.7, 2.1, 2.6, 3.2, 4.0)
"""Edges of rings, arcsec."""

FIELD = 4.5
"""Radius, arcsec, within which shapes are measured."""


def features(image, mask, sigma, psf_fwhm, pixel_scale: float) -> tuple[np.ndarray, list[str]]:
    """Measure cutouts.

    Parameters
    ----------
    image : (n, band, y, x) array
        nJy; bands from blue to red.
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
    values : (n, k) float32 array
        Finite. Per band: flux in ``APERTURES`` (asinh of its signal-to-noise); of neighbouring
        bands: colours in the apertures and in ``RINGS``, and their slope with radius; of the
        bluest and the reddest band and of blue without red: the excess in each ring over the
        median of its azimuth; asymmetry under 180 and 90 degrees, total and of what the radial
        profile leaves (Conselice 2003, ApJS 147, 1, eq. 4); concentration; Gini and M20 of what is
        left (Lotz et al. 2004, AJ 128, 163, eqs. 5 and 8); the seeing.
    names : list of str
        What each is.
    """
    good = np.isfinite(image) & (np.asarray(mask) & UNUSABLE == 0)
    noise = np.where(np.isfinite(sigma) & (sigma > 0), sigma, 1.0)[..., None, None]
    flux = np.where(good, np.clip(np.nan_to_num(image), -1e18, 1e18), 0) / noise
    radius = _radius(image.shape[-1], pixel_scale)
    columns: dict[str, np.ndarray] = {}
    _fluxes(columns, flux, good, radius)
    _colours(columns, flux, good, noise[..., 0, 0], radius)
    # What is blue beyond the galaxy's own colour: the arc's light, if the galaxy is red.
    blue = _without(flux[:, 0], flux[:, -1], good[:, 0] & good[:, -1], radius)
    planes = {"blue": (flux[:, 0], good[:, 0]), "red": (flux[:, -1], good[:, -1])}
    planes["excess"] = (blue, good[:, 0] & good[:, -1])
    for name, (plane, seen) in planes.items():
        left = _residual(plane, seen, radius, pixel_scale)
        _rings(columns, name, left, seen, radius)
        _shape(columns, name, plane, left, seen, radius)
    for band in range(image.shape[1]):
        columns[f"psf_fwhm_{band}"] = np.asarray(psf_fwhm, float)[:, band]
    values = np.stack(list(columns.values()), axis=1)
    return np.nan_to_num(values, nan=0.0, posinf=1e6, neginf=-1e6).astype(np.float32), list(columns)


def _radius(size: int, pixel_scale: float) -> np.ndarray:
    axis = (np.arange(size) - (size - 1) / 2) * pixel_scale
    return np.hypot(axis[None, :], axis[:, None])


def _sum(plane, seen, where) -> np.ndarray:
    """Return the sum (n, ...) within a region, as if masked pixels were as bright as the others."""
    kept = (seen & where).sum((-2, -1))
    return (plane * where).sum((-2, -1)) * where.sum() / np.maximum(kept, 1)


def _fluxes(columns, flux, good, radius) -> None:
    for reach in APERTURES:
        inside = radius < reach
        snr = _sum(flux, good, inside) / np.sqrt(max(inside.sum(), 1))
        for band in range(flux.shape[1]):
            columns[f"flux_{band}_{reach}"] = np.arcsinh(snr[:, band])
    share = _sum(flux, good, radius < APERTURES[0]) / _floor(_sum(flux, good, radius < FIELD))
    for band in range(flux.shape[1]):
        columns[f"concentration_{band}"] = share[:, band]


def _floor(value):
    """Keep a denominator away from 0; it is in units of the noise."""
    return np.maximum(value, 1.0)


def _colours(columns, flux, good, noise, radius) -> None:
    """Add colours in circles and rings, mag, and how they change with radius."""
    regions = {f"{reach}": radius < reach for reach in APERTURES}
    rings = {
        f"{low}to{high}": (radius >= low) & (radius < high)
        for low, high in itertools.pairwise(RINGS)
    }
    for band in range(flux.shape[1] - 1):
        profile = []
        for name, where in (regions | rings).items():
            one, two = (
                _floor(_sum(flux[:, at], good[:, at], where)) * noise[:, at]
                for at in (band, band + 1)
            )
            colour = -2.5 * np.log10(one / two)
            columns[f"colour_{band}_{name}"] = colour
            if name in rings:
                profile.append(colour)
        profile = np.stack(profile, axis=1)
        middle = np.array([(low + high) / 2 for low, high in itertools.pairwise(RINGS)])
        middle = middle - middle.mean()
        columns[f"colour_slope_{band}"] = profile @ middle / (middle**2).sum()
        columns[f"colour_dip_{band}"] = profile[:, 0] - profile.min(1)


def _without(blue, red, seen, radius) -> np.ndarray:
    """Return blue light less the red scaled to it within the first circle."""
    core = radius < APERTURES[0]
    scale = _sum(blue, seen, core) / _floor(_sum(red, seen, core))
    return np.where(seen, blue - np.clip(scale, 0, 10)[:, None, None] * red, 0)


def _residual(plane, seen, radius, pixel_scale: float) -> np.ndarray:
    """Return what is left of images (n, y, x) without the median of each circle of pixels."""
    step = np.round(radius / pixel_scale).astype(int)
    left = np.zeros(plane.shape, plane.dtype)
    values = np.where(seen, plane, np.nan)
    # Circles without a pixel that counts have nothing to subtract.
    values = np.where(seen.any((1, 2), keepdims=True), values, 0)
    for circle in np.unique(step[radius < FIELD]):
        here = step == circle
        some = values[:, here]
        some = np.where(np.isfinite(some).any(1, keepdims=True), some, 0)
        left[:, here] = some - np.nanmedian(some, axis=1, keepdims=True)
    return np.nan_to_num(left)


def _rings(columns, name: str, left, seen, radius) -> None:
    """Add the light above the median of its circle in each ring, and the largest."""
    excess = []
    for low, high in itertools.pairwise(RINGS):
        where = (radius >= low) & (radius < high)
        total = _sum(left, seen, where) / np.sqrt(max(where.sum(), 1))
        columns[f"ring_{name}_{low}to{high}"] = np.arcsinh(total)
        excess.append(total)
        bright = (np.clip(left, 0, None) ** 2 * where).sum((1, 2)) / max(where.sum(), 1)
        columns[f"ring_power_{name}_{low}to{high}"] = np.log1p(bright)
    excess = np.stack(excess, axis=1)
    columns[f"ring_{name}_most"] = np.arcsinh(excess.max(1))
    columns[f"ring_{name}_where"] = excess.argmax(1).astype(float)


def _shape(columns, name: str, plane, left, seen, radius) -> None:
    """Add asymmetries, and Gini and M20 of the residual."""
    inside = radius < FIELD
    for kind, one in (("total", plane), ("left", left)):
        whole = _floor((np.abs(one) * inside).sum((1, 2)))
        for turns, degrees in ((2, 180), (1, 90)):
            turned = [np.rot90(what, turns, axes=(1, 2)) for what in (one, seen)]
            gap = np.abs(one - turned[0]) * (seen & turned[1] & inside)
            columns[f"asymmetry_{degrees}_{kind}_{name}"] = gap.sum((1, 2)) / (2 * whole)
    light = np.sort((np.clip(left, 0, None) * inside)[:, inside], axis=1)
    count = light.shape[1]
    weight = 2 * np.arange(1, count + 1) - count - 1
    columns[f"gini_{name}"] = light @ weight / (_floor(light.sum(1)) * (count - 1))
    columns[f"m20_{name}"] = _m20(left, inside, radius)


def _m20(left, inside, radius) -> np.ndarray:
    """Return the second moment of the brightest fifth of the light, log of its share."""
    light = np.clip(left, 0, None)[:, inside]
    moment = light * radius[inside] ** 2
    order = np.argsort(-light, axis=1, kind="stable")
    light, moment = (np.take_along_axis(one, order, axis=1) for one in (light, moment))
    total = light.sum(1, keepdims=True)
    brightest = np.cumsum(light, axis=1) <= 0.2 * total
    brightest[:, 0] = True
    share = (moment * brightest).sum(1) / np.maximum(moment.sum(1), 1e-9)
    return np.log10(np.maximum(share, 1e-6))
