"""Nearby galaxies and the field around them: hosts of tidal features, as wide cutouts show them."""

from __future__ import annotations

import math

import numpy as np

from astroml.sky import counts, galaxies, morphology, profiles
from astroml.sky.colours import magnitudes
from astroml.sky.lensing import angular_scale
from astroml.survey import NJY_PER_ZERO_MAG

REDSHIFT, MAG_R, FAINTEST = (0.02, 0.25), (13.5, 18.0), -19.0
"""Ranges of the hosts' redshift and r magnitude, and their faintest absolute magnitude."""

SIZES = 0.8, 20.0
"""Range of the hosts' half-light radii, arcsec."""

TRIES = 8
"""Galaxies of the survey drawn for each host, of which it is the first within these ranges."""

UNIFORMS, NORMALS = 3 * TRIES + 10, 3
"""Deviates that a host needs, besides one normal deviate per component and band."""

LATE = 2, 3
"""Places in ``morphology.KINDS`` of the types that have arms."""

FIELD = 60.0
"""Half side, arcsec, of the square that neighbours fill."""

DENSITY = 5.7e-3
"""Galaxies and stars per square arcsec to i = 24: 174 in the 30,400 of a patch of HSC Deep."""

BRIGHT, RESOLVED, FAINT = 16.5, 23.5, 26.0
"""Limits in i of the neighbours: those fainter than ``RESOLVED`` are points."""

SCATTER = 0.03
"""Scatter of a component's spectrum from its type's, mag per band."""


def hosts(uniform, normal, wavelengths, spiral) -> dict[str, np.ndarray]:
    """Draw hosts: galaxies of a survey limited in magnitude, as bulge and disc.

    Parameters
    ----------
    uniform : (n, UNIFORMS) array
        Uniform deviates.
    normal : (n, NORMALS + 2 band) array
        Standard normal deviates.
    wavelengths : (band,) array
        nm
    spiral : (n,) array of bool
        Whether the galaxy is to be of a late type, with strong arms, not seen from its edge.

    Returns
    -------
    dict of arrays
        ``z``, ``mag_r`` (AB), ``mag_abs``, ``radius`` (half-light radius along the major axis,
        arcsec), each (n,); ``part_<name>`` (n, 2), and ``part_flux`` (n, 2, band), nJy.
    """
    galaxy = _first_fit(uniform[:, : 3 * TRIES])
    kind = np.where(spiral, np.where(uniform[:, 0] < 0.6, *LATE), galaxy["kind"])
    galaxy["kind"] = np.minimum(kind, LATE[1])
    return bulge_and_disc(galaxy, spiral, uniform[:, 3 * TRIES :], normal, wavelengths, SIZES)


def bulge_and_disc(galaxy, spiral, uniform, normal, wavelengths, sizes) -> dict[str, np.ndarray]:
    """Draw the two components of galaxies whose type, redshift and luminosity are known.

    Parameters
    ----------
    galaxy : dict of (n,) arrays
        What ``counts.draw`` returned.
    spiral : (n,) array of bool
        Whether it has strong arms and is not seen from its edge.
    uniform : (n, 10) array
        Uniform deviates.
    normal : (n, NORMALS + 2 band) array
        Standard normal deviates.
    wavelengths : (band,) array
        nm
    sizes : (float, float)
        Range that half-light radii are kept in, arcsec.

    Returns
    -------
    dict of arrays
        See ``hosts``.
    """
    n, bands, kind = len(uniform), len(wavelengths), galaxy["kind"]
    form = morphology.shapes(kind, galaxy["mag_abs"], uniform, normal[:, :2])
    _make_arms(form, spiral, uniform)
    mean, scatter = morphology.trait(kind, "old").T
    old, bulge = np.clip(mean + scatter * normal[:, 2], 0, 1), form["bulge"]
    # Bulges are old whatever the disc; the disc has what is left of the galaxy's young stars.
    old_bulge = np.maximum(old, 0.85 + 0.15 * old)
    old_disc = np.clip((old - bulge * old_bulge) / (1 - bulge), 0, 1)
    parts = {
        "shape": np.full((n, 2), profiles.SERSIC),
        "mag": galaxy["mag"][:, None] - 2.5 * np.log10(np.stack([bulge, 1 - bulge], 1)),
        "old": np.stack([old_bulge, old_disc], 1),
        "dust": np.stack([0.5 * form["dust"], form["dust"]], 1),
        "z": np.repeat(galaxy["z"], 2).reshape(-1, 2),
        **{name: form[name] for name in (*profiles.ARM_NAMES, "q", "phi", "n_sersic")},
    }
    radius = np.clip(form["radius"] / angular_scale(galaxy["z"]), *sizes)
    parts["r_e"] = form["r_e"] * (radius / form["radius"])[:, None]
    offsets = SCATTER * normal[:, NORMALS:].reshape(n, 2, bands)
    columns = {f"part_{name}": values for name, values in parts.items()}
    return columns | {
        "z": galaxy["z"],
        "mag_r": galaxy["mag"],
        "mag_abs": galaxy["mag_abs"],
        "radius": radius,
        "part_flux": fluxes(parts, wavelengths, counts.WAVELENGTH, offsets),
    }


def _first_fit(uniform) -> dict[str, np.ndarray]:
    """Draw galaxies brighter than the limit; keep each row's first host, else its last."""
    n = len(uniform)
    drawn = counts.draw(uniform.reshape(n * TRIES, 3), MAG_R[1], REDSHIFT[1])
    fits = (drawn["z"] > REDSHIFT[0]) & (drawn["mag"] > MAG_R[0]) & (drawn["mag_abs"] < FAINTEST)
    first = np.where(fits.reshape(n, TRIES).any(1), fits.reshape(n, TRIES).argmax(1), TRIES - 1)
    chosen = {name: one.reshape(n, TRIES)[np.arange(n), first] for name, one in drawn.items()}
    return chosen | {"z": np.maximum(chosen["z"], REDSHIFT[0])}


def _make_arms(form: dict, spiral, uniform) -> None:
    """Give some discs strong arms and little bulge, in place."""
    form["bulge"] = np.where(spiral, 0.5 * form["bulge"], form["bulge"])
    strong = spiral[:, None] * np.array([0.0, 1.0]) > 0
    change = {
        "arm_strength": 0.9 + 1.8 * uniform[:, 6],
        "arms": np.where(uniform[:, 7] < 0.75, 2.0, 3.0),
        "arm_pitch": np.radians(12 + 22 * uniform[:, 9]),
        "q": 0.45 + 0.55 * uniform[:, 4],
    }
    for name, values in change.items():
        form[name] = np.where(strong, values[:, None], form[name])


def fluxes(parts: dict, wavelengths, mag_wavelength: float, offsets) -> np.ndarray:
    """Return the fluxes (n, part, band) of components (n, part), nJy.

    Parameters
    ----------
    parts : dict of (n, part) arrays
        ``old``, ``z``, ``mag``, ``dust``; see ``colours.magnitudes``.
    wavelengths : (band,) array
        nm
    mag_wavelength : float
        Wavelength at which ``mag`` is given, nm.
    offsets : (n, part, band) array, or 0
        Added to the magnitudes.
    """
    old, z, mag, dust = (np.asarray(parts[name], float).ravel() for name in galaxies.LIGHT)
    mags = [
        magnitudes(*(one[at : at + 20_000] for one in (old, z)), wavelengths,
                   mag[at : at + 20_000], mag_wavelength, dust[at : at + 20_000])
        for at in range(0, max(len(old), 1), 20_000)
    ]  # fmt: skip
    mags = np.concatenate(mags).reshape(*np.shape(parts["mag"]), -1) + offsets
    return NJY_PER_ZERO_MAG * 10 ** (-0.4 * mags)


def overlapping(rng: np.random.Generator, mag: float, radius: float, z: float, pair: bool) -> list:
    """Draw galaxies that overlap with a host: one as bright at its side, or up to four fainter.

    Parameters
    ----------
    mag, radius, z : float
        The host's i magnitude, half-light radius (arcsec) and redshift.
    pair : bool
        Whether it is one of the host's own redshift and brightness.
    """
    parts = []
    for _ in range(1 if pair else int(rng.integers(1, 5))):
        turn, early = rng.uniform(0, 2 * math.pi), rng.random() < 0.5
        away = radius * (rng.uniform(0.8, 2.0) if pair else rng.uniform(1.0, 4.0))
        fainter = rng.uniform(0, 1.2) if pair else rng.uniform(0.7, 4)
        size = radius * 10 ** (-0.12 * fainter) * math.exp(rng.normal(0, 0.2))
        parts.append(
            galaxies.component(
                x=away * math.cos(turn),
                y=away * math.sin(turn),
                q=rng.uniform(0.6, 1) if early else rng.uniform(0.2, 1),
                phi=galaxies.angle(rng),
                n_sersic=rng.uniform(2.5, 4.5) if early else rng.uniform(0.8, 1.8),
                r_e=max(size, 0.4),
                mag=mag + fainter,
                old=rng.uniform(0.9, 1) if early else rng.uniform(0.2, 0.85),
                z=z if pair else rng.uniform(0.02, 0.35),
            )
        )
    return parts


def field(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the galaxies and stars around an object, counts as 10^(0.3 i).

    Returns
    -------
    bright, faint : (k, 9) and (m, 9) array
        i magnitude, whether a star, x, y (arcsec), and uniform deviates of q, angle, index, size
        and stars; those fainter than ``RESOLVED`` apart.
    """
    number = rng.poisson(DENSITY * (2 * FIELD) ** 2 * 10 ** (0.3 * (FAINT - 24)))
    drawn = rng.random((number, 9))
    low, high = 10 ** (0.3 * BRIGHT), 10 ** (0.3 * FAINT)
    drawn[:, 0] = np.log10(low + (high - low) * drawn[:, 0]) / 0.3
    drawn[:, 1] = drawn[:, 1] < 0.15
    drawn[:, 2:4] = FIELD * (2 * drawn[:, 2:4] - 1)
    resolved = drawn[:, 0] < RESOLVED
    return drawn[resolved], drawn[~resolved]


def neighbours(bright: list[np.ndarray], wavelengths) -> dict[str, np.ndarray]:
    """Turn drawn neighbours into components: ``part_<name>`` (n, slot), ``part_flux`` in nJy.

    Parameters
    ----------
    bright : list of (k, 9) array
        What ``field`` drew for each object.
    wavelengths : (band,) array
        nm
    """
    slots = max([len(one) for one in bright], default=0) or 1
    table = np.zeros((len(bright), slots, 9))
    there = np.zeros((len(bright), slots), bool)
    for row, one in enumerate(bright):
        table[row, : len(one)], there[row, : len(one)] = one, True
    mag, star, x, y, q, turn, index, size, stars = np.moveaxis(table, -1, 0)
    star, spread = star > 0, np.exp(0.35 * np.sqrt(12) * (size - 0.5))
    early = index > 0.8
    parts = {name: np.full(mag.shape, value) for name, value in galaxies.EMPTY.items()}
    parts |= {
        "shape": np.where(there, profiles.SERSIC, profiles.NONE),
        "x": x,
        "y": y,
        "q": np.where(star, 1.0, 0.3 + 0.7 * q),
        "phi": math.pi * turn,
        "n_sersic": np.where(star, 0.5, np.where(early, 2.5 + 1.5 * size, 1.0)),
        "r_e": np.where(star, 0.05, 0.35 * 10 ** (-0.1 * (np.minimum(mag, FAINT) - 22)) * spread),
        "mag": np.where(there, mag, 99.0),
        "old": np.where(early, 1.0, stars),
        "z": np.where(star, 0.0, 0.1 + 0.9 * np.clip((mag - 18) / 6, 0, 1) * turn),
    }
    flux = fluxes(parts, wavelengths, galaxies.MAG_WAVELENGTH, 0)
    columns = {f"part_{name}": values.astype(np.float32) for name, values in parts.items()}
    return columns | {"part_flux": flux * there[..., None]}
