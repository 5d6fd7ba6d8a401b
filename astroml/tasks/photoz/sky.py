"""The training population of the redshifts: galaxies of all types, drawn or of real photometry."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from astroml.sky import counts, galaxies, morphology, profiles
from astroml.sky.colours import k_correction, magnitudes
from astroml.sky.conditions import UNITS as SEEN
from astroml.sky.conditions import conditions, defects, places, stream
from astroml.sky.lensing import angular_scale, distance_modulus
from astroml.sky.render import render
from astroml.survey import NJY_PER_ZERO_MAG, Survey, galactic_extinction
from astroml.tasks.photoz import Sky
from astroml.tasks.photoz.tables import files, read_tables

__all__ = ["UNITS", "inputs", "labels", "population", "render"]

TRUTH, OWN, FIELD, WRONG = range(4)
"""Streams of random numbers; a generator is seeded by (seed, stream, object)."""

COMMON, APART = 0.9, 0.3
"""Parts of the scatter of spectra that bulge and disc share, and that each has for itself, as
fractions of the whole; in quadrature about 1."""

GRADIENT = -0.08, 0.03
"""Mean and scatter of g-r, disc minus bulge at one age, mag: metals fall outwards. About 0.07 mag
per dex in radius (La Barbera et al. 2005, ApJ 626, 19)."""

SMALLEST, LARGEST = 0.15, 12.0
"""Effective radii of the whole galaxy, arcsec, are kept between these."""

UNITS = (
    SEEN
    | galaxies.UNITS
    | {
        "mag_r": "mag",
        "mag_abs": "mag",
        "radius": "arcsec",
    }
)
"""Unit of each column of the population that has one."""


def population(sky: Sky, survey: Survey, seed: int) -> dict[str, np.ndarray]:
    """Draw every parameter of a sky, but for the pixel noise.

    Parameters
    ----------
    sky : Sky
        Galaxies to draw, or tables of real ones.
    survey : Survey
        Bands, seeing and noise.
    seed : int
        Seed; the same seed gives the same objects.

    Returns
    -------
    dict of arrays
        ``object_id``, ``ra``, ``dec``, ``ebv``, ``group`` (-1: none), ``kind``, ``z_spec``,
        ``z_true``, ``mag_r``, and what ``render.render`` takes, each (n, ...). Of tables also
        ``table``, ``table_row``, and ``copy``: rows of one ``group`` are one galaxy, drawn anew but
        for its fluxes.
    """
    wavelengths = np.array([band.wavelength for band in survey.bands.values()])
    found = _tabled(sky, survey) if sky.tables else {}
    keys = (
        list(zip(found["group"].tolist(), found["copy"].tolist()))
        if found
        else [(index,) for index in range(sky.objects)]
    )
    drawn = _draw_each(survey, wavelengths, seed, keys)
    uniform, normal = drawn.pop("uniform"), drawn.pop("normal")
    if found:
        galaxy = _typed(found, wavelengths, list(survey.bands), uniform[:, 0])
        found |= _places_of(found["group"])
    else:
        galaxy = counts.draw(uniform[:, :3], sky.mag_limit, sky.z_max)
        galaxy["old"] = _old(galaxy["kind"], normal[:, 0])
        found = {"group": np.full(sky.objects, -1), **places(seed, np.arange(sky.objects))}
        found["z_spec"] = _observed_z(sky, seed, galaxy["z"])
    columns = _components(galaxy, wavelengths, uniform[:, 3:], normal[:, 1:])
    fluxes = columns.pop("fluxes")
    if sky.tables:
        fluxes = _share(fluxes, found.pop("flux"))
        drawn["ebv"] = np.where(found.pop("dereddened"), drawn["ebv"], 0.0)
    else:
        fluxes = fluxes * 10 ** (-0.4 * sky.sed_scatter * _scatter(normal[:, 3:], len(wavelengths)))
    mag_r = _mag_r(fluxes, wavelengths)
    around = drawn.pop("around")
    columns = _beside(columns | {"part_flux": fluxes}, around, wavelengths, seed)
    columns |= drawn | found | defects(seed, len(keys))
    if not sky.tables:
        jitter = _jitter(found["ra"], found["dec"], len(wavelengths), seed)
        columns["part_flux"] *= 10 ** (-0.4 * sky.zero_point_jitter * jitter)[:, None]
    dimming = 10 ** (-0.4 * galactic_extinction(columns["ebv"], wavelengths))
    columns["part_flux"] = (columns["part_flux"] * dimming[:, None]).astype(np.float32)
    return columns | {
        "object_id": 1_000_000 + np.arange(len(keys)),
        "kind": morphology.NAMES[galaxy["kind"]],
        "z_true": np.round(galaxy["z"], 6),
        "mag_r": np.round(mag_r, 4),
        "mag_abs": galaxy["mag_abs"],
    }


def labels(columns: dict, rendered: dict) -> dict[str, np.ndarray]:
    """Return the labels (n,) that go into manifests and stores."""
    names = ("z_spec", "z_true", "kind", "mag_r", "table", "table_row")
    return {name: columns[name] for name in names if name in columns}


def inputs(sky: Sky) -> list[Path]:
    """Return the files that a population is drawn from."""
    return [path for table in sky.tables for path in files(table.file)]


def _draw_each(survey: Survey, wavelengths, seed: int, keys: list[tuple]) -> dict:
    """Draw from each object's own streams: deviates, how it is seen, what lies around it."""
    uniform, normal, seeing, around = [], [], [], []
    for key in keys:
        truth, own = stream(seed, TRUTH, *key), stream(seed, OWN, *key)
        uniform.append(truth.random(13))
        normal.append(truth.standard_normal(6 + 3 * len(wavelengths)))
        seeing.append(conditions(own, survey))
        around.append(galaxies.neighbours(own))
    drawn = {name: np.array([one[name] for one in seeing]) for name in seeing[0]}
    return drawn | {"uniform": np.array(uniform), "normal": np.array(normal), "around": around}


def _old(kind: np.ndarray, deviate: np.ndarray) -> np.ndarray:
    """Draw the share of old stars (n,) of galaxies of some types."""
    mean, scatter = morphology.trait(kind, "old").T
    return np.clip(mean + scatter * deviate, 0, 1)


def _observed_z(sky: Sky, seed: int, z: np.ndarray) -> np.ndarray:
    """Return spectroscopic redshifts, of which some are those of other galaxies of such a sky."""
    chance = np.array([stream(seed, WRONG, index).random(4) for index in range(len(z))])
    other = counts.draw(chance[:, 1:], sky.mag_limit, sky.z_max)["z"]
    return np.round(np.where(chance[:, 0] < sky.wrong, other, z), 6)


def _tabled(sky: Sky, survey: Survey) -> dict[str, np.ndarray]:
    """Return the rows of the tables, ``copies`` times each, first all first copies."""
    found = read_tables(sky.tables, list(survey.bands))
    rows = len(found["z"])
    found = {name: np.concatenate([values] * sky.copies) for name, values in found.items()}
    return found | {"copy": np.repeat(np.arange(sky.copies), rows), "z_spec": found["z"]}


def _places_of(group: np.ndarray) -> dict[str, np.ndarray]:
    """Return positions all over the sky that follow from the rows alone.

    Splits are decided by where an object is: so no row's split depends on the other rows, nor on
    the seed.
    """
    places = np.array([stream(0, OWN, one).random(2) for one in group.tolist()])
    return {"ra": 360 * places[:, 0], "dec": np.degrees(np.arcsin(2 * places[:, 1] - 1))}


def _typed(found: dict, wavelengths, bands: list[str], uniform) -> dict[str, np.ndarray]:
    """Give real galaxies the type that their colours at their redshift speak for.

    The share of old stars is that of least chi square over the bands, 0.1 mag added to each error
    in quadrature; where types overlap, one is drawn by their numbers.
    """
    z, flux = found.pop("z"), found["flux"]
    mag = 31.4 - 2.5 * np.log10(np.maximum(flux, 1e-3))
    error = np.nan_to_num(found.pop("mag_err"), nan=0.0)
    weight = np.where(flux > 0, 1 / (0.1**2 + error**2), 0.0)
    grid, steps = np.linspace(0, 1, 41), np.geomspace(1, 1 + z.max() + 1e-3, 400)
    shape = (len(steps), len(grid))
    olds, reds = (np.broadcast_to(one, shape).ravel() for one in (grid, steps[:, None] - 1))
    model = magnitudes(olds, reds, wavelengths, np.zeros(olds.size), counts.WAVELENGTH)
    model = model.reshape(*shape, len(wavelengths))
    nearest = np.rint(np.log1p(z) / np.log(steps[1])).astype(int)
    old = np.empty(len(z))
    for begin in range(0, len(z), 4096):
        some = slice(begin, begin + 4096)
        gap = mag[some, None] - model[nearest[some]]  # (n, old, band)
        heavy = weight[some, None] / np.maximum(weight[some, None].sum(-1, keepdims=True), 1e-30)
        gap -= (gap * heavy).sum(-1, keepdims=True)
        old[some] = grid[(gap**2 * weight[some, None]).sum(-1).argmin(1)]
    traits = morphology.trait(np.arange(len(morphology.NAMES)), "old")
    density = morphology.trait(np.arange(len(morphology.NAMES)), "density")
    far = (old[:, None] - traits[:, 0]) / np.maximum(traits[:, 1], 0.08)
    chance = density * np.exp(-0.5 * far**2) + 1e-12 * (np.abs(far) == np.abs(far).min(1)[:, None])
    chance = np.cumsum(chance, 1) / chance.sum(1, keepdims=True)
    kind = np.minimum((chance < uniform[:, None]).sum(1), len(traits) - 1)
    mag_r = _mag_r(flux[:, None], wavelengths)
    absolute = mag_r - distance_modulus(z) - k_correction(old, z, counts.WAVELENGTH)
    # Fluxes of error-dominated rows would make giants of dwarfs.
    return {
        "kind": kind,
        "z": z,
        "old": old,
        "mag": mag_r,
        "mag_abs": np.clip(absolute, -24.5, -14),
    }


def _mag_r(flux, wavelengths) -> np.ndarray:
    """Return the AB magnitude (n,) of all components (n, part, band) in the band nearest to r."""
    nearest = np.abs(wavelengths - counts.WAVELENGTH).argmin()
    total = np.maximum(flux[..., nearest].sum(1), 1.0)
    return -2.5 * np.log10(total / NJY_PER_ZERO_MAG)


def _components(galaxy: dict, wavelengths, uniform, normal) -> dict[str, np.ndarray]:
    """Draw bulge and disc of each galaxy.

    Parameters
    ----------
    galaxy : dict of (n,) arrays
        ``kind``, ``z``, ``mag``, ``mag_abs``, ``old``.
    wavelengths : (band,) array
        nm
    uniform : (n, 10) array
        Uniform deviates.
    normal : (n, 2 or more) array
        Standard normal deviates.

    Returns
    -------
    dict of arrays
        ``part_<name>`` (n, 2), ``radius`` (n,) arcsec, and ``fluxes`` (n, 2, band) nJy.
    """
    z, old = galaxy["z"], galaxy["old"]
    form = morphology.shapes(galaxy["kind"], galaxy["mag_abs"], uniform, normal[:, 1:3])
    bulge = form["bulge"]
    # Bulges are old whatever the disc; the disc has what is left of the galaxy's young stars.
    old_bulge = np.maximum(old, 0.85 + 0.15 * old)
    old_disc = np.clip((old - bulge * old_bulge) / (1 - bulge), 0, 1)
    olds = np.stack([old_bulge, old_disc], 1)
    share = np.stack([bulge, 1 - bulge], 1)
    dust = np.stack([0.5 * form["dust"], form["dust"]], 1)
    mag = galaxy["mag"][:, None] - 2.5 * np.log10(np.maximum(share, 1e-6))
    flat = [one.ravel() for one in (olds, np.repeat(z, 2), mag, dust)]
    mags = magnitudes(flat[0], flat[1], wavelengths, flat[2], counts.WAVELENGTH, flat[3])
    mags = mags.reshape(len(z), 2, len(wavelengths))
    tilt = np.log(wavelengths / counts.WAVELENGTH) / math.log(475 / 620)
    mean, scatter = GRADIENT
    mags[:, 0] -= (mean + scatter * normal[:, :1]) * tilt
    size = np.clip(form["radius"] / angular_scale(z), SMALLEST, LARGEST)
    parts = {"shape": np.full((len(z), 2), profiles.SERSIC), "mag": mag, "old": olds, "dust": dust}
    parts |= {name: form[name] for name in (*profiles.ARM_NAMES, "q", "phi", "n_sersic")}
    parts |= {"z": np.repeat(z, 2).reshape(-1, 2)}
    parts["r_e"] = form["r_e"] * (size / form["radius"])[:, None]
    columns = {f"part_{name}": values for name, values in parts.items()}
    return columns | {"radius": size, "fluxes": NJY_PER_ZERO_MAG * 10 ** (-0.4 * mags)}


def _share(fluxes, total) -> np.ndarray:
    """Divide a galaxy's real fluxes (n, band) between its components as drawn ones do."""
    return fluxes / fluxes.sum(1, keepdims=True) * total[:, None]


def _scatter(normal, bands: int) -> np.ndarray:
    """Return how spectra differ from their type's (n, 2, band), in units of their scatter."""
    common, apart = normal[:, :bands, None], normal[:, bands : 3 * bands]
    return COMMON * common.transpose(0, 2, 1) + APART * apart.reshape(-1, 2, bands)


def _jitter(ra, dec, bands: int, seed: int) -> np.ndarray:
    """Return the zero points' errors (n, band) of each degree of sky, in units of their scatter."""
    row = np.floor(dec + 90).astype(int)
    field = row * 361 + np.floor(ra * np.cos(np.radians(dec))).astype(int)
    fields, back = np.unique(field, return_inverse=True)
    return np.array([stream(seed, FIELD, int(one)).standard_normal(bands) for one in fields])[back]


def _beside(columns: dict, around: list, wavelengths, seed: int) -> dict[str, np.ndarray]:
    """Put the neighbours' components after the galaxies' own."""
    slots = max(map(len, around), default=0)
    if not slots:
        around, slots = [[] for _ in around], 1
    scatter = np.zeros((len(around), slots, len(wavelengths)))
    near = galaxies.stack(around, wavelengths, scatter)
    radius = columns.pop("radius")
    for name in galaxies.EMPTY:
        own = columns.get(f"part_{name}", np.full((len(around), 2), galaxies.EMPTY[name]))
        near[f"part_{name}"] = np.concatenate([own.astype(np.float32), near[f"part_{name}"]], 1)
    near["part_flux"] = np.concatenate([columns["part_flux"], near["part_flux"]], 1)
    return near | {"radius": radius}
