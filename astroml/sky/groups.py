"""The galaxies and stars of wide tiles: members of clusters and groups, the field, stars."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import exp1

from astroml.sky import bright, members, surroundings
from astroml.sky.conditions import stream
from astroml.sky.lensing import angular_scale
from astroml.sky.surroundings import FIELD, STAR
from astroml.survey import Survey, galactic_extinction, njy_per_unit, summed_noise

GALAXIES, PHOTOMETRY = 110, 111
"""Streams of random numbers that are drawn here; a task's own are below 100."""

BEYOND = 25.0
"""Arcsec around the tile in which galaxies are drawn too, as their light reaches into it."""

CONCENTRATION, OUTER = 3.0, 2.0
"""R_lambda over the scale radius of the profile; where it ends, in R_lambda."""

BRIGHT = 0.2
"""Luminosity, L*, of the faintest members that richness counts."""

RED_CORE, RED_DROP = 0.8, 0.2
"""Mean share of red galaxies in the middle, and what it loses over R_lambda."""

HUBBLE = 0.7
"""H0 over 100 km/s/Mpc."""

UNIFORMS = 8
"""Uniform deviates that a galaxy or star needs."""

BCG, INNER, OUT, FAINT, BLUE = range(5)
"""Members of a system: the brightest; red ones that richness counts; as bright ones beyond
R_lambda; fainter red ones; blue ones."""


def radius_of(richness) -> np.ndarray:
    """Return R_lambda, Mpc: (lambda / 100)^0.2 Mpc/h (Rykoff et al. 2014, ApJ 785, 104)."""
    return (np.asarray(richness, float) / 100) ** 0.2 / HUBBLE


@cache
def _profile() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tabulate galaxies within a radius: all, and those weighted by blue over red.

    A projected NFW law (Bartelmann 1996, A&A 313, 697), 1 within R_lambda.

    Returns
    -------
    radius : (k,) array
        In R_lambda.
    red, blue : (k,) array
        Number within it, over that of red ones within R_lambda.
    """
    radius = np.linspace(0, OUTER, 4001)
    x = CONCENTRATION * (radius[1:] + radius[:-1]) / 2
    inside, y = x < 1, np.sqrt(np.abs(1 - x**2))
    bent = np.where(inside, np.arctanh(np.where(inside, y, 0)), np.arctan(y)) / y
    surface = (1 - bent) / (x**2 - 1)
    step = surface * x
    red_share = RED_CORE - RED_DROP * x / CONCENTRATION
    numbers = [np.concatenate([[0], np.cumsum(step * one)]) for one in (1, 1 / red_share - 1)]
    whole = np.interp(1, radius, numbers[0])
    return radius, numbers[0] / whole, numbers[1] / whole


def _radii(kind, uniform) -> np.ndarray:
    """Return the distance of members from the centre, R_lambda."""
    radius, red, blue = _profile()
    low, high = np.where(kind == OUT, 1.0, 0.0), np.where(kind == INNER, 1.0, red[-1])
    away = np.interp(low + (high - low) * uniform, red, radius)
    return np.where(kind == BLUE, np.interp(uniform * blue[-1], blue, radius), away) * (kind != BCG)


@cache
def _luminosities() -> tuple[np.ndarray, np.ndarray]:
    """Tabulate the Schechter (1976, ApJ 203, 297) law of slope -1: galaxies above L, and ln L."""
    log = np.linspace(math.log(20), math.log(1e-6), 4000)
    return exp1(np.exp(log)), log


def _depths(least, most, uniform) -> np.ndarray:
    """Return magnitudes below m* of galaxies between two luminosities, L*."""
    number = exp1(most) + uniform * (exp1(least) - exp1(most))
    return -2.5 / math.log(10) * np.interp(number, *_luminosities())


def _faint_limit(z) -> np.ndarray:
    """Return the luminosity, L*, of red galaxies at the faintest magnitude drawn."""
    return np.maximum(10 ** (-0.4 * (surroundings.FAINTEST - members.m_star(z, members.RED))), 2e-6)


def draw(columns: dict, rows, survey: Survey, seed: int) -> dict[str, np.ndarray]:
    """Draw the galaxies and stars of some tiles.

    Parameters
    ----------
    columns : dict
        A population: ``key``, ``half`` (half the side of the square that is filled, arcsec),
        ``star_density`` (over that far from the Galaxy), ``members`` (table of real ones, or
        empty), ``ebv``, each (n,); ``system_<name>`` (n, slot): ``x``, ``y`` (arcsec), ``z``,
        ``richness`` (red members brighter than 0.2 L* within R_lambda, the brightest one among
        them; 0 is none), ``bcg`` (magnitudes by which the brightest is above m*); and what
        ``bright.parts`` takes.
    rows : sequence of int
        Rows of ``columns``.
    survey : Survey
        Bands.
    seed : int
        Seed of the population.

    Returns
    -------
    dict of (k,) arrays
        ``owner`` (place in ``rows``), ``x``, ``y`` (arcsec from the tile's centre, to the right
        and up), ``system`` (slot of its group or cluster, or ``FIELD``, ``STAR``), ``red`` (of the
        red sequence of a system), ``counted`` (by its richness), ``z``, ``mag`` (AB at 775 nm,
        before the Milky Way's dust), ``flux`` (k, band) in nJy, ``profile``, ``r_e`` (semi-major
        half-light radius, arcsec), ``q``, ``phi`` (rad).
    """
    wavelengths = [band.wavelength for band in survey.bands.values()]
    parts = [_galaxies_of(columns, row, at, seed, len(wavelengths)) for at, row in enumerate(rows)]
    found = {name: np.concatenate([one[name] for one in parts]) for name in parts[0]}
    star, ours = found["system"] == STAR, found["system"] >= 0
    drawn = {name: found[name] for name in ("owner", "x", "y", "system")}
    # The field's galaxies first; members and stars are then put in their places.
    light = surroundings.field_light(found, wavelengths)
    names = np.asarray(columns["members"])[np.asarray(rows)][found["owner"]]
    for some, one in ((ours, _members), (star, surroundings.star_light)):
        if some.any():
            own = one({name: values[some] for name, values in found.items()}, names[some],
                      wavelengths)  # fmt: skip
            for name, values in own.items():
                light[name][some] = values
    ebv = np.asarray(columns["ebv"])[np.asarray(rows)][found["owner"]]
    mags = light.pop("mags") + galactic_extinction(ebv, wavelengths)
    kind = found["kind"]
    drawn |= light | {
        "red": ours & (kind != BLUE),
        "counted": ours & (kind <= INNER),
        "flux": 10 ** (-0.4 * (mags - 31.4)),
        "phi": math.pi * found["uniform"][:, 3],
    }  # fmt: skip
    large = bright.parts(columns, rows, survey)
    return {name: np.concatenate([values, large[name]]) for name, values in drawn.items()}


def _galaxies_of(columns: dict, row: int, owner: int, seed: int, bands: int) -> dict:
    """Draw the numbers, places and deviates of one tile's galaxies and stars."""
    rng = stream(seed, GALAXIES, int(columns["key"][row]))
    half = float(columns["half"][row]) + BEYOND
    system, kind, facts = _systems(rng, columns, row)
    area = (2 * half / 3600) ** 2
    table = surroundings.counts()[0]
    around = rng.poisson(
        [area * table[-1], area * surroundings.STAR_NUMBER[-1] * columns["star_density"][row]]
    )
    system = np.concatenate([system, np.repeat([FIELD, STAR], around)])
    kind = np.concatenate([kind, np.full(around.sum(), BLUE)])
    total = len(system)
    uniform, normal = rng.random((total, UNIFORMS)), rng.standard_normal((total, 2 + bands))
    x, y = half * (2 * uniform[:, 0] - 1), half * (2 * uniform[:, 1] - 1)
    ours = slice(0, len(facts["z"]))
    radius = _radii(kind[ours], uniform[ours, 0]) * facts["radius"]
    turn = 2 * math.pi * uniform[ours, 1]
    # Clusters are not round, and yet each galaxy keeps its distance from the centre.
    turn = turn - facts["flat"] / 2 * np.sin(2 * turn) + facts["angle"]
    x[ours] = facts["x"] + radius * np.cos(turn)
    y[ours] = facts["y"] + radius * np.sin(turn)
    seen = (np.abs(x) < half) & (np.abs(y) < half)
    whole = {name: np.zeros(total) for name in ("z", "bcg")}
    for name in whole:
        whole[name][ours] = facts[name]
    found = {"x": x, "y": y, "system": system, "kind": kind, "uniform": uniform, "normal": normal}
    return {name: values[seen] for name, values in (found | whole).items()} | {
        "owner": np.full(seen.sum(), owner)
    }


def _systems(rng, columns: dict, row: int) -> tuple[np.ndarray, np.ndarray, dict]:
    """Return system, kind and facts (k,) of the members of a tile's groups and clusters."""
    richness, z = columns["system_richness"][row], np.asarray(columns["system_z"][row], float)
    uniform = rng.random((len(z), 3))
    some = richness > 0
    z = np.where(some, z, 0.3)
    _, red, blue = _profile()
    least = _faint_limit(z)
    fainter = np.maximum(exp1(least) / exp1(BRIGHT), 1)
    core = RED_CORE + 0.2 * (uniform[:, 0] - 0.5)
    mean = np.stack(
        [
            richness * (red[-1] - 1),
            richness * red[-1] * (fainter - 1),
            richness * blue[-1] * fainter * (1 / core - 1) / (1 / RED_CORE - 1),
        ],
        1,
    )
    number = np.column_stack([some, np.maximum(richness - 1, 0), rng.poisson(mean)]).astype(int)
    flat = number.ravel()
    system = np.repeat(np.repeat(np.arange(len(z)), 5), flat)
    kind = np.repeat(np.tile(np.arange(5), len(z)), flat)
    facts = {
        "z": z,
        "x": columns["system_x"][row],
        "y": columns["system_y"][row],
        "bcg": columns["system_bcg"][row],
        "radius": 1000 * radius_of(np.maximum(richness, 1)) / angular_scale(z),
        "flat": 0.6 * uniform[:, 1],
        "angle": math.pi * uniform[:, 2],
    }
    return system, kind, {name: np.asarray(values)[system] for name, values in facts.items()}


def _members(one: dict, names, wavelengths) -> dict[str, np.ndarray]:
    """Return the light of members of groups and clusters."""
    kind, z, uniform, normal = one["kind"], one["z"], one["uniform"], one["normal"]
    limit = _faint_limit(z)
    least = np.where(kind <= OUT, BRIGHT, limit)
    most = np.where(kind == FAINT, BRIGHT, 10 ** (0.4 * one["bcg"]))
    depth = _depths(np.minimum(least, most), most, uniform[:, 2])
    depth = np.where(kind == BCG, -one["bcg"], depth)
    blue = kind == BLUE
    mag = members.m_star(z, members.REFERENCE) + depth
    colour = members.red_sequence(z, depth, normal[:, 2:], wavelengths)
    for name in np.unique(names):
        some = names == name
        if name:
            colour[some] = members.real_colours(
                str(name), z[some], depth[some], uniform[some, 4], colour[some], wavelengths
            )
    young = surroundings.young_share(uniform[:, 4], normal[:, 1])
    colour[blue] = members.relative(young[blue], z[blue], wavelengths)
    absolute = -21.5 + depth
    early = ~blue
    form = surroundings.forms(absolute, z, early, uniform, normal[:, 0])
    form["r_e"] *= np.where(kind == BCG, 1.5, 1.0)
    return {"z": z, "mag": mag, "mags": mag[:, None] + colour} | form


DETECTED = 5.0
"""Least signal-to-noise, in the best band, of what is in the catalog."""

BLEND = 1.0
"""Of two sources nearer than this, in units of the seeing, the fainter one is not detected."""

MODEL = 0.04
"""Scatter of the flux of a source much wider than the seeing: no model fits it."""

STAR_LIKE, RESOLVES = 2.0, 0.03
"""What is taken for a star: its squared extent beyond that of the seeing is below so many of its
errors, and the error below so many arcsec2; what is too faint to tell is taken for a galaxy."""


def catalog(columns: dict, row: int, survey: Survey, seed: int) -> dict[str, np.ndarray]:
    """Return what a source extractor would measure in a tile, noise and all.

    Fluxes scatter by the noise of the pixels that an ideal aperture covers, by the source's own
    photons, and, if it is extended, by a few percent for its model. Sources that are too faint,
    or blended with a brighter one, or hidden by a bright star or a disc, are not in it.

    Parameters
    ----------
    columns, row, survey, seed
        See ``draw``; ``sigma`` and ``psf_fwhm`` (n, band) besides. The survey is that of the
        tile's pixels.

    Returns
    -------
    dict of (k,) arrays
        ``x``, ``y`` (arcsec), ``flux`` and ``flux_err`` (k, band) nJy, dust of the Milky Way
        corrected, ``is_star`` (by its measured extent, if that is known well enough); and the
        truth about each, which a method must not look at: ``system``, ``red``, ``counted``, ``z``,
        ``true_star``, ``true_flux``.
    """
    one = draw(columns, [row], survey, seed)
    rng = stream(seed, PHOTOMETRY, int(columns["key"][row]))
    fwhm, sigma = columns["psf_fwhm"][row], columns["sigma"][row]
    normal = rng.standard_normal((len(one["x"]), len(fwhm) + 2))
    extent = one["r_e"] * np.sqrt(one["q"])
    flux_err = _flux_errors(one["flux"], extent, fwhm, sigma, survey)
    shared = MODEL * (extent / (extent + fwhm.mean()))[:, None] * normal[:, -2:-1]
    flux = one["flux"] * (1 + shared) + flux_err * normal[:, :-2]
    best = (flux / flux_err).max(1)
    # The extent of a source is known to the seeing's width over its signal-to-noise.
    blur = fwhm.mean() ** 2 / np.maximum(best, 1)
    star = (extent**2 + blur * normal[:, -1] < STAR_LIKE * blur) & (blur < RESOLVES)
    kept = (best > DETECTED) & ~_hidden(one, columns, row, fwhm.mean())
    wavelengths = [band.wavelength for band in survey.bands.values()]
    clear = 10 ** (0.4 * galactic_extinction(columns["ebv"][row], wavelengths))
    found = {"x": one["x"], "y": one["y"], "flux": flux * clear, "flux_err": flux_err * clear}
    found |= {name: one[name] for name in ("system", "red", "counted", "z")}
    found |= {"is_star": star, "true_star": one["system"] == STAR, "true_flux": one["flux"] * clear}
    half = columns["half"][row]
    kept &= (np.abs(one["x"]) < half) & (np.abs(one["y"]) < half)
    return {name: values[kept] for name, values in found.items()}


def _flux_errors(flux, extent, fwhm, sigma, survey: Survey) -> np.ndarray:
    """Return the errors of fluxes (k, band): of ideal apertures, and of the photons, nJy.

    An aperture weighted by a Gaussian of the source's width covers 4 pi sigma^2.
    """
    width = np.hypot(fwhm / 2.355, 0.7 * extent[:, None])
    along = np.sqrt(4 * math.pi) * width / survey.pixel_scale
    grid = np.linspace(1, 60, 60)
    growth = np.interp(along, grid, [summed_noise(survey.noise_correlation, one) for one in grid])
    photons = [band.gain / njy_per_unit(band.zero_point) for band in survey.bands.values()]
    return np.sqrt((sigma * growth) ** 2 + np.maximum(flux, 0) / np.array(photons))


def _hidden(one: dict, columns: dict, row: int, fwhm: float) -> np.ndarray:
    """Say which sources are lost in brighter ones, bright stars or a disc."""
    place, light = np.column_stack([one["x"], one["y"]]), one["flux"].sum(1)
    reach = np.maximum(BLEND * fwhm, 0.7 * one["r_e"])
    mag = 31.4 - 2.5 * np.log10(light / one["flux"].shape[1])
    star = (one["system"] == STAR) & (mag < 16)
    reach = np.where(star, 2 * 10 ** (0.15 * (16 - mag)), reach)
    hidden, tree = np.zeros(len(light), bool), cKDTree(place)
    for at, near in enumerate(tree.query_ball_point(place, reach)):
        near = np.array(near)
        hidden[near[light[near] < light[at]]] = True
    away = np.hypot(one["x"] - columns["disc_x"][row], one["y"] - columns["disc_y"][row])
    disc = columns["disc_mag"][row] < bright.ABSENT
    return hidden | disc & (away < 1.2 * columns["disc_size"][row])
