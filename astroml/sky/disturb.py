"""Tidal features in real cutouts: the galaxy at the centre becomes the host."""

from __future__ import annotations

import warnings

import numpy as np
import torch

from astroml.photometry import UNUSABLE
from astroml.sky import noise, tides
from astroml.sky.conditions import stream
from astroml.sky.halo import MEASURED, draw_features
from astroml.sky.hosts import moments
from astroml.sky.lensing import angular_scale
from astroml.sky.nearby import REDSHIFT
from astroml.sky.paint import FINE
from astroml.sky.render import gains, margin, seeing, take
from astroml.survey import NJY_PER_ZERO_MAG, Survey

INJECTED, GRID = 105, 106
"""Streams of random numbers; a generator is seeded by (seed, stream, host)."""

HALF_LIGHT, SPREAD = 5.0, 0.3
"""Half-light radius of a host, kpc, and its logarithmic scatter: says how far the galaxy is."""

EXTENT = 3
"""Radius within which a host's light is measured, in half-light radii."""

CELLS = 16
"""Cells in surface brightness of a grid."""

SMOOTH = 5
"""Side, px, of the box over which a real image is averaged, to say what features are lost in."""


@torch.no_grad()
def inject(
    image: np.ndarray,
    sigma: np.ndarray,
    psf_fwhm: np.ndarray,
    survey: Survey,
    sky,
    seed: int,
    rows: np.ndarray,
    device: str = "cpu",
    *,
    mask: np.ndarray | None = None,
    grid: bool = False,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Add tidal features, and the noise of their photons, around the galaxies of real cutouts.

    The galaxy at the centre is the host: its half-light radius, taken for ``HALF_LIGHT`` kpc, its
    angle and its colours decide those of the feature. Nothing else of the image is read or
    changed, and pixels without data stay so.

    Parameters
    ----------
    image : (n, band, y, x) array
        nJy per pixel.
    sigma : (n, band) array
        Background noise of one pixel, nJy.
    psf_fwhm : (n, band) array
        arcsec
    survey : Survey
        Pixels, gains; its bands are those of ``image``.
    sky : BaseModel
        The task's ``Sky``; see ``tides.table``.
    seed : int
        Seed; with ``rows`` it decides every draw.
    rows : (n,) array of int
        Number of each host, from which its random numbers come.
    device : str
        Where to render.
    mask : (n, band, y, x) uint8 array, optional
        Bits of ``store.MASK``.
    grid : bool
        Whether features fill a grid evenly: classes in turn, and ``CELLS`` cells of the range of
        surface brightness.

    Returns
    -------
    image : (n, band, y, x) float32 array
        The cutouts with features.
    truth : dict of (n, ...) arrays
        What the task's ``labels`` reads, and the plane ``truth`` (n, y, x).
    """
    wavelengths = np.array([band.wavelength for band in survey.bands.values()])
    clear = np.zeros(image.shape, np.uint8) if mask is None else mask
    hosts = _hosts(image, clear, sigma, survey, seed, rows)
    if grid:
        names = tuple(name for name, weight in sky.classes.items() if weight > 0)
        hosts |= _cells(sky.mu, names, seed, rows)
    near = min(sky.reach, 0.45 * image.shape[-1] * survey.pixel_scale)
    rngs = {at: stream(seed, INJECTED, int(row)) for at, row in enumerate(rows)}
    columns = tides.table(rngs, hosts, sky.model_copy(update={"reach": near}), wavelengths)
    columns |= {"psf_q": np.ones(len(rows)), "psf_phi": np.zeros(len(rows))}
    columns |= {"psf_fwhm": psf_fwhm, "sigma": sigma}
    here = take(columns, range(len(rows)), device)
    edge, size = margin(survey), image.shape[-1]
    through = seeing(here, FINE * (size + 2 * edge), survey)
    inside = slice(edge, edge + size)
    light = torch.from_numpy(np.nan_to_num(image).astype(np.float32)).to(device).clamp(min=0)
    light = torch.nn.functional.avg_pool2d(light, SMOOTH, 1, SMOOTH // 2, count_include_pad=False)
    features, known = draw_features(here, through, light, survey, inside)
    photons = noise.noise_level(features, torch.zeros_like(here["sigma"]), gains(survey, device))
    field = noise.unit_noise(rows, len(wavelengths), size, survey.noise_correlation, seed)
    added = (features + field.to(device) * photons).cpu().numpy()
    truth = {name: known[name].cpu().numpy() for name in ("truth", *MEASURED)} | {
        "is_tidal": np.ones(len(rows), np.int64),
        "kind": np.full(len(rows), "tidal"),
        "defect": np.full(len(rows), noise.CLEAN),
        "z": hosts["z"],
        "mag_r": hosts["mag_r"],
    }
    return (image + added).astype(np.float32), truth | columns


def _hosts(image, mask, sigma, survey: Survey, seed: int, rows) -> dict:
    """Measure the galaxies at the centres; see ``tides.table``."""
    radius, light = measure(np.where(mask & UNUSABLE > 0, np.nan, image), survey.pixel_scale)
    spread = [np.exp(SPREAD * stream(seed, INJECTED, int(row), 1).normal()) for row in rows]
    grid = np.linspace(*REDSHIFT, 200)
    z = np.interp(HALF_LIGHT * np.array(spread) / radius, angular_scale(grid), grid)
    red = tides.nearest([band.wavelength for band in survey.bands.values()])
    # A host that cannot be measured in some band is given the same flux in all.
    fair = (light > 0).all(1, keepdims=True)
    flux = np.where(light[:, red] > 0, light[:, red], 1.0)
    return {
        "z": z,
        "radius": radius,
        "phi": moments(image, sigma, survey.pixel_scale, radius)[1],
        "light": np.where(fair, light, flux[:, None]),
        # The host's colours and the surface brightness wanted are as they are seen.
        "dust": np.zeros(len(rows)),
        "mag_r": -2.5 * np.log10(flux / NJY_PER_ZERO_MAG),
    }


def measure(image: np.ndarray, pixel_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Measure the galaxies at the centres from medians of rings, which neighbours hardly change.

    Parameters
    ----------
    image : (n, band, y, x) array
        nJy per pixel; NaN is left out.
    pixel_scale : float
        arcsec

    Returns
    -------
    radius : (n,) array
        Half-light radius in the sum of all bands, arcsec, between 0.5 and 20.
    flux : (n, band) array
        Light within ``EXTENT`` half-light radii, nJy.
    """
    size = image.shape[-1]
    axis = np.arange(size) - (size - 1) / 2
    ring = np.hypot(axis[:, None], axis[None, :]).astype(int)
    rings = max(2, int(0.4 * size))
    profile = np.zeros((*image.shape[:2], rings))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # rings without data
        for at in range(rings):
            profile[..., at] = np.nanmedian(image[..., ring == at], -1)
    area = np.bincount(ring.ravel(), minlength=rings)[:rings]
    grown = np.cumsum(np.nan_to_num(profile) * area, -1)  # (n, band, ring)
    whole = grown.sum(1)
    half = (whole < 0.5 * whole.max(1, keepdims=True)).sum(1)
    radius = np.clip((half + 0.5) * pixel_scale, 0.5, 20)
    last = np.clip(EXTENT * (half + 1), 1, rings - 1).astype(int)
    return radius, np.take_along_axis(grown, last[:, None, None], -1)[..., 0]


def _cells(limits: tuple[float, float], names: tuple[str, ...], seed: int, rows) -> dict:
    """Return ``name`` and ``mu`` (n,) that fill a grid evenly, whatever rows come first."""
    order = stream(seed, GRID, 0).permutation(CELLS * len(names))
    cell = order[np.asarray(rows) % len(order)]
    inside = np.array([stream(seed, GRID, int(row) + 1).random() for row in rows])
    across = (cell // len(names) + inside) / CELLS
    mu = limits[0] + (limits[1] - limits[0]) * across
    return {"mu": mu, "name": np.array(names)[cell % len(names)]}
