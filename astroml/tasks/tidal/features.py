"""Shape statistics of galaxies, for a classifier that is no network: the baseline to beat.

Concentration, asymmetry and smoothness, Gini and M20, shape asymmetry, and what a smooth model of
the galaxy leaves. They are measured on the sum of all bands, each divided by its noise.
"""

from __future__ import annotations

import itertools

import numpy as np
from scipy import ndimage

from astroml.store.layout import MASK

UNUSABLE = MASK["bad"] | MASK["cosmic"] | MASK["edge"] | MASK["nodata"]
"""Bits of pixels that are left out."""

EDGES = (1.0, 1.7, 2.5, 3.5, 5.0, 7.0)
"""Edges of elliptical rings, half-light radii."""

COMPACT = 4.0
"""Diameter, arcsec, of the median filter that takes out stars and small galaxies."""

COARSE = 0.75
"""Pixels, arcsec, that finer ones are summed to: what is looked for is larger."""

PETROSIAN = 0.2
"""Brightness of a ring over the mean within it that defines the Petrosian radius."""

BRIGHT = 2.0
"""Brightness of what is left, in units of its own noise, from which regions are counted."""

FLATTEST = 0.2
"""Smallest axis ratio of the rings."""


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
        Finite.
    names : list of str
        What each is: see ``measure``, and of the region that a smooth galaxy leaves brightest
        ``left_colour``, its bluest over its reddest band, in units of the galaxy's own.
    """
    image, sigma = np.asarray(image, float), np.asarray(sigma, float)
    good = np.isfinite(image) & (np.asarray(mask) & UNUSABLE == 0)
    noise = np.where(np.isfinite(sigma) & (sigma > 0), sigma, np.inf)[..., None, None]
    planes = np.where(good, np.clip(np.nan_to_num(image), -1e18, 1e18), 0) / noise
    bins = max(1, int(COARSE / pixel_scale))
    planes, good = _binned(planes, bins) / bins, _binned(good, bins) / bins**2
    pixel_scale *= bins
    seen = good.mean(1)
    stack = planes.sum(1) / np.sqrt(np.maximum(good.sum(1), 1))
    rows = []
    for one, bands, share in zip(stack, planes, seen):
        found, region, rings = measure(one, share > 0.5, pixel_scale)
        core = rings < 1
        near, far = (bands[at][core].sum() for at in (0, -1))
        blue, red = (bands[at][region].sum() for at in (0, -1))
        found["left_colour"] = np.arcsinh(blue * far) - np.arcsinh(red * near)
        rows.append(found)
    names = [*measure(np.zeros((16, 16)), np.ones((16, 16), bool), 1.0)[0], "left_colour"]
    values = [[one[name] for name in names] for one in rows]
    values = np.concatenate(
        [np.array(values, float).reshape(-1, len(names)), np.asarray(psf_fwhm, float)], 1
    )
    names += [f"psf_fwhm_{band}" for band in range(image.shape[1])]
    return np.nan_to_num(values, nan=0, posinf=1e6, neginf=-1e6).astype(np.float32), names


def _binned(planes: np.ndarray, bins: int) -> np.ndarray:
    """Return the sums of squares of pixels of the last two axes; what is left over falls off."""
    size = planes.shape[-1] // bins
    edge = (planes.shape[-1] - size * bins) // 2
    inside = planes[..., edge : edge + size * bins, edge : edge + size * bins]
    return inside.reshape(*planes.shape[:-2], size, bins, size, bins).sum((-3, -1))


def measure(plane: np.ndarray, good: np.ndarray, pixel_scale: float) -> tuple[dict, ...]:
    """Measure one image.

    Parameters
    ----------
    plane : (y, x) array
        Flux over the noise of a pixel.
    good : (y, x) array of bool
        Pixels that count.
    pixel_scale : float
        arcsec

    Returns
    -------
    statistics : dict of float
        ``concentration``, ``asymmetry``, ``smoothness`` (Conselice 2003, ApJS 147, 1), ``gini``
        and ``m20`` (Lotz et al. 2004, AJ 128, 163), ``shape_asymmetry`` (Pawlik et al. 2016, MNRAS
        456, 3032); of what the smooth galaxy leaves, its asymmetry, and per ring of ``EDGES`` its
        positive and negative light over the galaxy's, its largest value, its share of bright
        pixels and its first two azimuthal moments; size, light, place and roundness of its
        brightest region; the scatter and slope of the sky.
    region : (y, x) array of bool
        That region.
    rings : (y, x) array
        Elliptical radius, half-light radii.
    """
    half, q, phi = _size(plane, good)
    rings = _ellipses(plane.shape, q, phi) / half
    smooth = _rings_of(plane, good, rings * half)
    filled = np.where(good, plane, smooth)
    left = filled - smooth
    width = max(3, round(COMPACT / pixel_scale) // 2 * 2 + 1)
    calm = ndimage.median_filter(left, width, mode="reflect")
    away = rings > EDGES[-1]
    level = 1.4826 * np.median(np.abs(calm[away] - np.median(calm[away]))) if away.sum() > 50 else 0
    level = max(level, 0.05)
    whole = max(smooth[rings < EDGES[2]].sum(), 1.0)
    found = _cas(filled, half, away, whole)
    found |= _spread(filled, rings, half)
    found["left_asymmetry"] = _asymmetry(calm, rings < EDGES[-1], whole)
    found |= _residuals(calm / level, calm, rings, whole)
    more, region = _brightest(calm / level, calm, rings, whole, half)
    found |= more | _sky(calm, away) | {"half": half * pixel_scale, "flat": q}
    found["light"] = np.log10(whole)
    return found, region, rings


def _size(plane, good) -> tuple[float, float, float]:
    """Return half-light radius (px), axis ratio and angle (rad) of the galaxy at the centre.

    Of second moments under a round Gaussian window that is fitted to the growth of the light in
    circles, as medians tell it.
    """
    circle = _ellipses(plane.shape, 1.0, 0.0)
    step = circle.astype(int)
    reach = int(0.4 * len(plane))
    some = np.where(good, plane, np.nan)
    index = np.arange(reach)
    profile = np.nan_to_num(ndimage.median(np.nan_to_num(some), step, index))
    area = np.bincount(step.ravel(), minlength=reach)[:reach]
    grown = np.cumsum(np.maximum(profile, 0) * area)
    half = max(1.5, float((grown < 0.5 * grown[-1]).sum()) + 0.5)
    axis = np.arange(len(plane)) - (len(plane) - 1) / 2
    x, y = axis[None, :], axis[:, None]
    light = np.where(good, np.maximum(plane, 0), 0) * np.exp(-0.5 * (circle / (1.5 * half)) ** 2)
    total = max(light.sum(), 1e-12)
    xx, yy, xy = ((light * one).sum() / total for one in (x * x, y * y, x * y))
    spread, both = np.hypot(xx - yy, 2 * xy), max(xx + yy, 1e-12)
    # The round window hides about half of the flattening.
    ratio = np.clip((both - spread) / (both + spread), FLATTEST**2, 1)
    return half, float(max(ratio, FLATTEST)), float(0.5 * np.arctan2(2 * xy, xx - yy))


def _ellipses(shape, q: float, phi: float) -> np.ndarray:
    """Return the elliptical radius (y, x), px, of circles of the same area."""
    axis = np.arange(shape[0]) - (shape[0] - 1) / 2
    x, y = axis[None, :], axis[:, None]
    c, s = np.cos(phi), np.sin(phi)
    return np.sqrt((c * x + s * y) ** 2 * q + (c * y - s * x) ** 2 / q)


def _rings_of(plane, good, radius) -> np.ndarray:
    """Return the smooth galaxy: the median of each ring, wider outside, at each pixel's radius."""
    edges = np.concatenate([np.arange(0, 10), 10 * 1.08 ** np.arange(60)])
    label = np.digitize(radius, edges)
    index = np.arange(1, label.max() + 1)
    label = np.where(good, label, 0)
    there = np.isin(index, label)
    middle = ndimage.mean(radius, label, index[there])
    value = ndimage.median(plane, label, index[there])
    if not there.any():
        return np.zeros(plane.shape)
    return np.interp(radius, middle, value)


def _asymmetry(plane, where, whole: float) -> float:
    """Return the light that is not at the opposite point too, over that of the galaxy."""
    return float(np.abs(plane - plane[::-1, ::-1])[where & where[::-1, ::-1]].sum() / (2 * whole))


def _cas(filled, half: float, away, whole: float) -> dict[str, float]:
    """Return concentration, asymmetry and smoothness within 1.5 Petrosian radii."""
    circle = _ellipses(filled.shape, 1.0, 0.0)
    order = np.argsort(circle, axis=None, kind="stable")
    radius, grown = circle.ravel()[order], np.cumsum(filled.ravel()[order])
    steps = np.arange(1, int(0.48 * len(filled)))
    inside = np.interp(steps, radius, grown)
    local = np.gradient(inside, steps) / (2 * np.pi * steps)
    fallen = local < PETROSIAN * inside / (np.pi * steps**2)
    petrosian = float(steps[fallen.argmax()] if fallen.any() else steps[-1])
    reach = min(1.5 * petrosian, steps[-1])
    total = np.interp(reach, steps, inside)
    r20, r80 = (max(float(steps[(inside >= share * total).argmax()]), 1.0) for share in (0.2, 0.8))
    where = circle < reach
    total = max(float(total), 1.0)
    blank = _asymmetry(filled, away, total) * where.sum() / max((away & away[::-1, ::-1]).sum(), 1)
    clumpy = filled - ndimage.uniform_filter(filled, max(3, int(0.3 * petrosian)))
    body = where & (circle > 0.3 * petrosian)
    rough = np.maximum(clumpy, 0)
    lumps = rough[body].sum() - rough[away].sum() / max(away.sum(), 1) * body.sum()
    return {
        "petrosian": petrosian / half,
        "concentration": 5 * np.log10(r80 / r20),
        "asymmetry": _asymmetry(filled, where, total) - blank,
        "smoothness": float(lumps) / total,
    }


def _spread(filled, rings, half: float) -> dict[str, float]:
    """Return Gini and M20 of the segment at the centre, and its shape asymmetry.

    The segment is what hangs together above 1 sigma of the image averaged over 3 x 3 px.
    """
    bright = ndimage.uniform_filter(filled, 3) > 1.0
    label, _ = ndimage.label(bright, np.ones((3, 3)))
    middle = label[rings * half < 2]
    name = np.bincount(middle[middle > 0]).argmax() if (middle > 0).any() else 0
    segment = (label == name) if name else rings < 1
    circle = _ellipses(filled.shape, 1.0, 0.0)
    other = segment != segment[::-1, ::-1]
    return {
        "gini": gini(filled[segment]),
        "m20": m20(filled[segment], circle[segment]),
        "shape_asymmetry": float(other.sum() / (2 * max(segment.sum(), 1))),
        "segment": float(np.sqrt(segment.sum()) / half),
        "farthest": float(circle[segment].max() / half) if segment.any() else 0.0,
    }


def gini(light: np.ndarray) -> float:
    """Return how unevenly pixels (k,) share the light: 0 evenly, 1 if one has it all.

    Lotz et al. (2004, AJ 128, 163), eq. 6, of absolute values.
    """
    light = np.sort(np.abs(light))
    count = len(light)
    if count < 2 or not light[-1] > 0:
        return 0.0
    weight = 2 * np.arange(1, count + 1) - count - 1
    return float(light @ weight / (light.sum() * (count - 1)))


def m20(light: np.ndarray, radius: np.ndarray) -> float:
    """Return the log of the share that the brightest fifth of the light has in its second moment.

    Lotz et al. (2004, AJ 128, 163), eq. 8, about the middle of the cutout; no less than -6.
    """
    order = np.argsort(-light, kind="stable")
    light, moment = light[order], (np.maximum(light, 0) * radius**2)[order]
    first = np.cumsum(light) <= 0.2 * light.sum()
    first[:1] = True
    share = moment[first].sum() / max(moment.sum(), 1e-9)
    return float(np.log10(max(share, 1e-6)))


def _residuals(bright, calm, rings, whole: float) -> dict[str, float]:
    """Return what is left in rings; ``bright`` is the same in units of its noise."""
    found = {}
    axis = np.arange(len(calm)) - (len(calm) - 1) / 2
    turn = np.arctan2(axis[:, None], axis[None, :])
    for at, (low, high) in enumerate(itertools.pairwise(EDGES)):
        where = (rings >= low) & (rings < high)
        light, count = calm[where], max(int(where.sum()), 1)
        found[f"left_more_{at}"] = float(np.maximum(light, 0).sum() / whole)
        found[f"left_less_{at}"] = float(np.minimum(light, 0).sum() / whole)
        found[f"left_most_{at}"] = float(np.arcsinh(bright[where].max(initial=0)))
        found[f"left_bright_{at}"] = float((bright[where] > BRIGHT).sum() / count)
        for wave in (1, 2):
            moment = (bright[where] * np.exp(1j * wave * turn[where])).sum() / count
            found[f"left_wave{wave}_{at}"] = float(np.abs(moment))
    return found


def _brightest(bright, calm, rings, whole: float, half: float) -> tuple[dict, np.ndarray]:
    """Return facts of the region of the residual with the most light, and the region."""
    label, number = ndimage.label((bright > BRIGHT) & (rings > EDGES[0]) & (rings < EDGES[-1]))
    names = ("left_area", "left_light", "left_away", "left_thin", "left_mean", "left_around")
    if not number:
        return dict.fromkeys(names, 0.0), np.zeros(rings.shape, bool)
    light = ndimage.sum(calm, label, np.arange(1, number + 1))
    region = label == 1 + int(np.argmax(light))
    y, x = np.nonzero(region)
    spread = np.linalg.eigvalsh(np.cov(np.stack([x, y])) + np.eye(2) / 12) if len(x) > 1 else [1, 1]
    middle = (len(rings) - 1) / 2
    turn = np.exp(1j * np.arctan2(y - middle, x - middle))
    values = (
        np.log10(region.sum() / half**2),
        np.log10(max(float(light.max()), 1e-3) / whole),
        float(rings[region].mean()),
        float(np.sqrt(max(spread[0], 0) / max(spread[1], 1e-9))),
        float(np.arcsinh(bright[region].mean())),
        float(np.abs(turn.mean())),
    )
    return dict(zip(names, map(float, values))), region


def _sky(calm, away) -> dict[str, float]:
    """Return scatter and skewness of the sky, and the part of it that is a slope."""
    if away.sum() < 50:
        return {"sky": 0.0, "sky_skew": 0.0, "sky_slope": 0.0}
    axis = np.linspace(-1, 1, len(calm))
    x, y = np.broadcast_arrays(axis[None, :], axis[:, None])
    basis = np.stack([np.ones(away.sum()), x[away], y[away]], 1)
    light = calm[away]
    fit = np.linalg.lstsq(basis, light, rcond=None)[0]
    rest = light - basis @ fit
    scatter = max(float(rest.std()), 1e-6)
    return {
        "sky": np.log10(scatter),
        "sky_skew": float(np.clip(((rest / scatter) ** 3).mean(), -20, 20)),
        "sky_slope": float(np.hypot(*fit[1:])),
    }
