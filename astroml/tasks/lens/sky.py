"""The training population of the lens finder: lenses, and what is mistaken for them."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import torch

from astroml.errors import AstromlError
from astroml.sky import galaxies
from astroml.sky.colours import galactic_extinction, magnitudes
from astroml.sky.lensing import velocity_dispersion
from astroml.sky.noise import CLEAN, COLUMN, COSMIC, EDGE, TRAIL, noise_level, unit_noise
from astroml.sky.render import arc_snr, draw_light, gains, render
from astroml.survey import NJY_PER_ZERO_MAG, Survey, njy_per_unit
from astroml.tasks.lens import NEGATIVES, Sky

__all__ = ["UNITS", "inject", "labels", "population", "render"]

LAYOUT, LIGHT, OWN, SCATTER, PLACE, DEFECT, INJECTED = range(7)
"""Streams of random numbers; a generator is seeded by (seed, stream, object)."""

FAINTEST_SNR = 30.0
"""Expected signal-to-noise of an arc below which a source is not made fainter."""

SOURCE_MAG = (22.0, 25.5)
"""Range of the unlensed source, r mag at 640 nm."""

UNITS = {
    "ra": "deg",
    "dec": "deg",
    "ebv": "mag",
    "theta_e": "arcsec",
    "arc_snr": "",
    "psf_fwhm": "arcsec",
    "psf_phi": "rad",
    "sigma": "nJy",
    "background": "nJy",
    "mag_i": "mag",
    "dispersion": "km/s",
    "source_mag_r": "mag",
    "source_flux": "nJy",
    "part_flux": "nJy",
    "part_mag": "mag",
    "part_dust": "mag",
    "part_arm_phase": "rad",
    "part_arm_pitch": "rad",
} | {
    f"{kind}_{name}": unit
    for kind in ("part", "lens", "source")
    for name, unit in {
        "x": "arcsec",
        "y": "arcsec",
        "phi": "rad",
        "r_e": "arcsec",
        "width": "arcsec",
        "theta_e": "arcsec",
    }.items()
}
"""Unit of each column of the population that has one."""


def population(sky: Sky, survey: Survey, seed: int) -> dict[str, np.ndarray]:
    """Draw every parameter of a sky, but for the pixel noise.

    Parameters
    ----------
    sky : Sky
        How many objects of which kind.
    survey : Survey
        Bands, seeing and noise.
    seed : int
        Seed; the same seed gives the same objects.

    Returns
    -------
    dict of arrays
        ``object_id``, ``ra``, ``dec``, ``ebv``, ``group`` (-1: none), ``kind``, ``is_lens``, and
        what ``render.render`` takes, each (n, ...). A twin has its lens's light, seeing and group.
    """
    kind, key = _kinds(sky, seed)
    wavelengths = np.array([band.wavelength for band in survey.bands.values()])
    drawn = [_draw_object(sky, survey, wavelengths, seed, *one) for one in zip(kind, key)]
    lists = [one.pop("parts") for one in drawn]
    slots = max(map(len, lists))
    scatter = np.stack(
        [_rng(seed, SCATTER, at).normal(0, 0.04, (40, len(wavelengths)))[:slots] for at in key]
    )
    columns = {name: np.array([one[name] for one in drawn]) for name in drawn[0]}
    columns |= galaxies.stack(lists, wavelengths, scatter)
    columns |= _defects(seed, len(kind))
    paired = np.bincount(key, minlength=len(key))[key] > 1
    columns |= {
        "object_id": 1_000_000 + np.arange(len(kind)),
        "kind": kind,
        "is_lens": (kind == "lens").astype(np.int64),
        "group": np.where(paired, key, -1),
        **_places(seed, key),
    }
    dimming = 10 ** (-0.4 * galactic_extinction(columns["ebv"], wavelengths))
    columns["part_flux"] *= dimming[:, None].astype(np.float32)
    columns["source_flux"] *= dimming
    return columns


def labels(columns: dict, rendered: dict) -> dict[str, np.ndarray]:
    """Return the labels (n,) that go into manifests and stores.

    ``theta_e`` and ``arc_snr`` are 0 where nothing is lensed.
    """
    return {
        "is_lens": columns["is_lens"],
        "kind": columns["kind"],
        "theta_e": columns["lens_theta_e"],
        "arc_snr": rendered["arc_snr"],
    }


def _rng(seed: int, stream: int, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, stream, index])


def _kinds(sky: Sky, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return kind and key (n,) of each object; the key is the object whose light it has."""
    if odd := set(sky.negatives) - set(NEGATIVES):
        raise AstromlError(
            f"negatives: found {', '.join(sorted(odd))}, expected some of {', '.join(NEGATIVES)}"
        )
    lenses = round(sky.objects * sky.lens_fraction)
    weights = np.array([sky.negatives.get(kind, 0.0) for kind in NEGATIVES])
    if not weights.sum() > 0 and lenses < sky.objects:
        raise AstromlError("negatives: all weights are 0; give some kind a weight above 0")
    share = weights / max(weights.sum(), 1e-9) * (sky.objects - lenses)
    counts = np.floor(share).astype(int)
    for which in np.argsort(counts - share, kind="stable")[: sky.objects - lenses - counts.sum()]:
        counts[which] += 1
    kind = np.repeat(["lens", *NEGATIVES], [lenses, *counts])
    order = _rng(seed, LAYOUT, 0).permutation(len(kind))
    kind, key = kind[order], np.arange(len(kind))
    twins, hosts = np.flatnonzero(kind == "twin"), np.flatnonzero(kind == "lens")
    paired = min(len(twins), len(hosts))
    key[twins[:paired]] = hosts[:paired]
    return kind, key


def _draw_object(sky, survey, wavelengths, seed: int, kind: str, key: int) -> dict:
    """Draw one object: its components, its lensing, its seeing and noise."""
    rng, own = _rng(seed, LIGHT, key), _rng(seed, OWN, key)
    lens, core = draw_lens(rng, sky)
    seeing = _conditions(rng, survey)
    source = draw_source(rng, lens, survey, wavelengths, seeing["sigma"], seeing["psf_fwhm"])
    theta_e = lens["lens_theta_e"]
    # What impostors show around their cores is as bright as the arc would have been.
    arc_mag = source["source_mag_r"] - 2.5 * math.log10(source["expected_magnification"]) - 0.2
    parts = {
        "spiral": lambda: galaxies.spiral(own),
        "ring": lambda: galaxies.ring(own, core, theta_e, arc_mag),
        "companion": lambda: galaxies.companions(own, core, theta_e, arc_mag),
        "merger": lambda: galaxies.merger(own),
        "group": lambda: galaxies.group(own, core, theta_e),
        "edge_on": lambda: galaxies.edge_on(own),
    }.get(kind, lambda: [core])()
    if kind != "lens":
        lens["lens_theta_e"] = 0.0
    parts = parts + galaxies.neighbours(own)
    return {"parts": parts, **lens, **source, **seeing, "mag_i": parts[0]["mag"]}


def draw_theta_e(rng: np.random.Generator, sky: Sky) -> float:
    """Draw an Einstein radius, arcsec.

    The law ``sky`` is log-normal, ln(theta_e) about -0.305 with sigma 0.485: above 0.5 arcsec its
    median is 0.84 and its 95th percentile 1.73.
    """
    low, high = sky.theta_e
    if sky.theta_e_law == "flat":
        return rng.uniform(low, high)
    law = NormalDist(-0.305, 0.485)
    return math.exp(law.inv_cdf(rng.uniform(law.cdf(math.log(low)), law.cdf(math.log(high)))))


def draw_lens(rng: np.random.Generator, sky: Sky) -> tuple[dict[str, float], dict[str, float]]:
    """Draw a lens: its mass and redshifts, and the component that is its light."""
    theta_e, z_lens = draw_theta_e(rng, sky), float(np.clip(rng.normal(0.45, 0.15), 0.15, 0.85))
    z_source = rng.uniform(max(0.8, z_lens + 0.4), 3.0)
    dispersion = float(velocity_dispersion(theta_e, z_lens, z_source))
    core = galaxies.massive_elliptical(rng, dispersion, z_lens)
    lens = draw_mass(rng, theta_e, core["q"], core["phi"])
    return lens | {"z_lens": z_lens, "z_source": z_source, "dispersion": dispersion}, core


def draw_mass(rng: np.random.Generator, theta_e: float, q: float, phi: float) -> dict[str, float]:
    """Draw an isothermal ellipsoid that follows light of axis ratio ``q`` at ``phi``, and a shear.

    The axis ratio scatters by 0.1, the angle by 15 deg; the shear is 0 to 0.1 at any angle.
    """
    shear, turn = rng.uniform(0, 0.1), rng.uniform(0, 2 * math.pi)
    return {
        "lens_theta_e": theta_e,
        "lens_x": 0.0,
        "lens_y": 0.0,
        "lens_q": float(np.clip(q + rng.normal(-0.03, 0.1), 0.4, 0.98)),
        "lens_phi": phi + math.radians(rng.normal(0, 15)),
        "lens_shear_1": shear * math.cos(turn),
        "lens_shear_2": shear * math.sin(turn),
    }


def draw_source(rng, lens, survey: Survey, wavelengths, sigma, psf_fwhm) -> dict:
    """Draw a source that the lens turns into an arc that can be seen.

    It lies within 0.55 theta_e of the axis, where an isothermal sphere magnifies a point by more
    than 3.6 (2 theta_e / offset). Its r magnitude lies between 22 and 25.5 and makes the expected
    signal-to-noise of the arc log-uniform between ``FAINTEST_SNR`` and what r = 22 gives; places
    and sizes that leave no room between the two are drawn again, a few times.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    lens : dict
        ``lens_theta_e`` (arcsec) and ``z_source``.
    survey : Survey
        Pixels.
    wavelengths : (band,) array
        nm
    sigma, psf_fwhm : (band,) array
        nJy per pixel, and arcsec.

    Returns
    -------
    dict
        ``source_<name>`` as ``render.draw_light`` takes it, ``source_flux`` (band,) nJy,
        ``source_mag_r``, ``expected_magnification`` and ``expected_snr``.
    """
    theta_e, bright, faint = lens["lens_theta_e"], *SOURCE_MAG
    old, dust = rng.uniform(0, 0.3), rng.uniform(0, 0.2)
    mags = magnitudes(old, lens["z_source"], wavelengths, bright, 640.0, dust)[0]
    flux = 10 ** (-0.4 * (mags + rng.normal(0, 0.04, len(mags)))) * NJY_PER_ZERO_MAG
    for _ in range(8):
        offset, turn = 0.55 * theta_e * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
        r_e = math.exp(rng.uniform(math.log(0.1), math.log(0.4)))
        # The mean magnification of a disc as large as the source, not of a point at its centre.
        magnification = 2 * theta_e / math.hypot(offset, 0.7 * r_e)
        area = magnification * math.pi * (1.5 * r_e) ** 2 + 8 * math.pi * (psf_fwhm / 2.355) ** 2
        snr = magnification * flux / (sigma * np.sqrt(area)) * survey.pixel_scale
        best = float(np.sqrt((snr**2).sum()))
        if best > 2 * FAINTEST_SNR:
            break
    span = max(1.0, min(best / FAINTEST_SNR, 10 ** (0.4 * (faint - bright))))
    dimmer = span ** rng.random()
    return {
        "source_x": offset * math.cos(turn),
        "source_y": offset * math.sin(turn),
        "source_r_e": r_e,
        "source_q": rng.uniform(0.4, 1),
        "source_phi": galaxies.angle(rng),
        "source_n_sersic": rng.uniform(0.5, 2),
        "source_flux": flux / dimmer,
        "source_mag_r": bright + 2.5 * math.log10(dimmer),
        "expected_magnification": magnification,
        "expected_snr": best / dimmer,
    }


def _conditions(rng: np.random.Generator, survey: Survey) -> dict:
    """Draw seeing, noise, sky residue and reddening of one pointing."""
    bands = list(survey.bands.values())
    fwhm = np.array([band.psf_fwhm for band in bands])
    sigma = np.array([band.sigma * njy_per_unit(band.zero_point) for band in bands])
    sigma = sigma * np.exp(rng.normal(0, 0.06, len(bands)))
    round_ = min(rng.rayleigh(survey.psf.ellipticity / 1.25), 0.3)
    return {
        "psf_fwhm": fwhm * np.exp(rng.normal(0, survey.psf.scatter, len(bands))),
        "psf_q": (1 - round_) / (1 + round_),
        "psf_phi": galaxies.angle(rng),
        "sigma": sigma,
        "background": sigma * rng.normal(0, 0.05, len(bands)),
        "ebv": min(0.3, 0.04 * math.exp(rng.normal(0, 0.6))),
    }


def _defects(seed: int, rows: int) -> dict[str, np.ndarray]:
    """Draw the defects of each object's own pixels; 95 of 100 have none."""
    kinds, odds = (CLEAN, COLUMN, COSMIC, EDGE, TRAIL), (0.95, 0.015, 0.015, 0.01, 0.01)
    drawn = []
    for index in range(rows):
        rng = _rng(seed, DEFECT, index)
        drawn.append((rng.choice(kinds, p=odds), *rng.random(3)))
    names = ("defect", "defect_place", "defect_angle", "defect_band")
    return {
        name: np.array([one[which] for one in drawn], int if which == 0 else float)
        for which, name in enumerate(names)
    }


def _places(seed: int, key: np.ndarray) -> dict[str, np.ndarray]:
    """Draw positions on a patch of 6 x 6 deg; objects of one key lie within 20 arcsec."""
    centre = _rng(seed, LAYOUT, 1)
    ra_0, dec_0 = centre.uniform(0, 360), centre.uniform(-30, 30)
    ra, dec = np.empty(len(key)), np.empty(len(key))
    for index, at in enumerate(key):
        east, north = _rng(seed, PLACE, at).uniform(-3, 3, 2)
        # Nobody sits on top of the lens: a twin lies up to 14 arcsec beside it.
        if index != at:
            step = _rng(seed, PLACE, index).uniform(-10, 10, 2) / 3600
            east, north = east + step[0], north + step[1]
        dec[index] = dec_0 + north
        ra[index] = (ra_0 + east / math.cos(math.radians(dec[index]))) % 360
    return {"ra": ra, "dec": dec}


@torch.no_grad()
def inject(
    image: np.ndarray,
    sigma: np.ndarray,
    psf_fwhm: np.ndarray,
    survey: Survey,
    sky: Sky,
    seed: int,
    rows: np.ndarray,
    device: str = "cpu",
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Add lensed sources, and the noise of their photons, around the galaxies of real cutouts.

    The galaxy at the centre is the lens: its second moments give the mass its shape. Nothing else
    of the image is read or changed, and pixels without data stay so.

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
    sky : Sky
        Range and law of theta_e.
    seed : int
        Seed; with ``rows`` it decides every draw.
    rows : (n,) array of int
        Number of each host, from which its random numbers come.
    device : str
        Where to render.

    Returns
    -------
    image : (n, band, y, x) float32 array
        The cutouts with arcs.
    truth : dict of (n, ...) arrays
        ``is_lens``, ``theta_e``, ``arc_snr``, ``magnification``, and the drawn parameters.
    """
    wavelengths = np.array([band.wavelength for band in survey.bands.values()])
    axis_ratio, turn = _moments(image, sigma, survey.pixel_scale)
    drawn = []
    for which, row in enumerate(rows):
        rng = _rng(seed, INJECTED, int(row))
        lens = draw_mass(rng, draw_theta_e(rng, sky), axis_ratio[which], turn[which])
        lens["z_source"] = rng.uniform(0.8, 3.0)
        noise, seeing = sigma[which].astype(float), psf_fwhm[which].astype(float)
        drawn.append(lens | draw_source(rng, lens, survey, wavelengths, noise, seeing))
    columns = {name: np.array([one[name] for one in drawn]) for name in drawn[0]}
    blank = galaxies.stack([[] for _ in rows], wavelengths, np.zeros((len(rows), 1, len(sigma[0]))))
    round_ = {"psf_fwhm": psf_fwhm, "psf_q": np.ones(len(rows)), "psf_phi": np.zeros(len(rows))}
    light = draw_light(columns | blank | round_, survey, image.shape[-1], range(len(rows)), device)
    arcs, level = light["arcs"], torch.from_numpy(np.asarray(sigma, np.float32)).to(device)
    photons = noise_level(arcs, torch.zeros_like(level), gains(survey, device))
    noise = unit_noise(rows, arcs.shape[1], arcs.shape[-1], survey.noise_correlation, seed)
    added = (arcs + noise.to(device) * photons).cpu().numpy()
    truth = {
        "is_lens": np.ones(len(rows), np.int64),
        "theta_e": columns["lens_theta_e"],
        "arc_snr": arc_snr(arcs, level).cpu().numpy(),
        "magnification": light["magnification"].cpu().numpy(),
    }
    return (image + added).astype(np.float32), truth | columns


def _moments(image, sigma, pixel_scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return axis ratio and angle (n,), rad, of the central galaxy from its second moments.

    Bands are added with the weight of their noise, under a Gaussian of 1 arcsec; the ratio is that
    of the blurred light, no flatter than 0.5.
    """
    weight = 1 / np.maximum(sigma, 1e-12)[..., None, None]
    stack = np.nan_to_num(image * weight).sum(1)
    axis = (np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2) * pixel_scale
    x, y = axis[None, None, :], axis[None, :, None]
    light = np.clip(stack, 0, None) * np.exp(-0.5 * (x**2 + y**2))
    total = np.maximum(light.sum((1, 2)), 1e-12)
    xx, yy, xy = ((light * one).sum((1, 2)) / total for one in (x * x, y * y, x * y))
    spread, sum_ = np.hypot(xx - yy, 2 * xy), np.maximum(xx + yy, 1e-12)
    ratio = np.sqrt(np.clip((sum_ - spread) / (sum_ + spread), 0.25, 1))
    return ratio, 0.5 * np.arctan2(2 * xy, xx - yy)
