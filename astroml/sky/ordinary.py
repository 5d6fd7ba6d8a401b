"""Ordinary galaxies of a survey limited in i: all types, bars, knots of stars, overlaps."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from astroml.sky import counts, galaxies, morphology, nearby, profiles
from astroml.sky.colours import magnitudes
from astroml.sky.galaxies import MAG_WAVELENGTH
from astroml.survey import NJY_PER_ZERO_MAG

TRIES = 8
"""Galaxies drawn for each object, of which it is the first within the range of magnitudes."""

DEEPER = 0.9
"""Faintest r of a drawn galaxy below the faintest i, mag: r-i of most galaxies to z 0.5."""

Z_MAX = 0.7
"""Highest redshift."""

SIZES = 0.3, 4.0
"""Range of half-light radii, arcsec."""

GRAND, BARRED, KNOTTY = 0.3, 0.3, 0.5
"""Shares: of spirals, those with strong arms; of discs, those with a bar; of the latest types,
those with knots of young stars."""

UNIFORMS, NORMALS = 3 * TRIES + 16, nearby.NORMALS
"""Deviates that a galaxy needs, besides two normal deviates per wavelength."""

S0, SBC, SCD = 1, 2, 3
"""Places in ``morphology.KINDS``."""


def draw(uniform, normal, wavelengths, limits: tuple[float, float]) -> dict[str, np.ndarray]:
    """Draw galaxies of a survey limited in magnitude, as bulge, disc and bar.

    Types, redshifts and luminosities are those of ``counts.draw``.

    Parameters
    ----------
    uniform : (n, UNIFORMS) array
        Uniform deviates.
    normal : (n, NORMALS + 2 wavelength) array
        Standard normal deviates.
    wavelengths : (wavelength,) array
        nm; the last but one is ``MAG_WAVELENGTH``.
    limits : (float, float)
        Brightest and faintest i, AB.

    Returns
    -------
    dict of arrays
        ``type`` (place in ``morphology.KINDS``), ``z``, ``mag_i`` (AB), ``radius`` (half-light
        radius along the major axis, arcsec), ``q`` and ``phi`` (rad) of the disc, each (n,);
        ``part_<name>`` (n, 3), and
        ``part_flux`` (n, 3, wavelength), nJy, whose sum is that of ``mag_i``.
    """
    galaxy, mag_i = _first_fit(uniform[:, : 3 * TRIES], limits)
    rest = uniform[:, 3 * TRIES :]
    kind = galaxy["kind"]
    grand = np.isin(kind, (SBC, SCD)) & (rest[:, 10] < GRAND)
    host = nearby.bulge_and_disc(galaxy, grand, rest[:, :10], normal, wavelengths, SIZES)
    _add_bar(host, (kind >= S0) & (kind <= SCD) & (rest[:, 11] < BARRED), rest[:, 12:16])
    whole = NJY_PER_ZERO_MAG * 10 ** (-0.4 * mag_i) / host["part_flux"][..., -2].sum(1)
    host["part_flux"] = host["part_flux"] * whole[:, None, None]
    found = {"type": kind, "mag_i": mag_i}
    found |= {name: host[f"part_{name}"][:, 1] for name in ("q", "phi")}
    return found | {name: host[name] for name in host if name not in ("mag_r", "mag_abs")}


@cache
def _red_colours() -> tuple[np.ndarray, np.ndarray]:
    """Tabulate r-i of each type (type, z) against redshift."""
    z = np.linspace(0, Z_MAX, 71)
    olds = [kind.old[0] for kind in morphology.KINDS.values()]
    mags = [
        magnitudes(old, z, [counts.WAVELENGTH, MAG_WAVELENGTH], 0.0, MAG_WAVELENGTH) for old in olds
    ]
    return z, np.array([one[:, 0] - one[:, 1] for one in mags])


def _first_fit(uniform, limits: tuple[float, float]) -> tuple[dict, np.ndarray]:
    """Draw galaxies; keep each row's first within the limits, else its last, moved there."""
    n = len(uniform)
    drawn = counts.draw(uniform.reshape(n * TRIES, 3), limits[1] + DEEPER, Z_MAX)
    z, colours = _red_colours()
    place = drawn["z"] / Z_MAX * (len(z) - 1)
    low = np.minimum(place.astype(int), len(z) - 2)
    step = place - low
    table = colours[drawn["kind"], low] * (1 - step) + colours[drawn["kind"], low + 1] * step
    mag_i = drawn["mag"] - table
    fits = ((mag_i >= limits[0]) & (mag_i <= limits[1])).reshape(n, TRIES)
    first = np.where(fits.any(1), fits.argmax(1), TRIES - 1)
    chosen = {name: one.reshape(n, TRIES)[np.arange(n), first] for name, one in drawn.items()}
    return chosen, np.clip(mag_i.reshape(n, TRIES)[np.arange(n), first], *limits)


def _add_bar(host: dict, barred, uniform) -> None:
    """Add a third component to all galaxies, in place: a bar with light of the disc, or nothing.

    Its length and share of the light are those of optical bars: 0.2 to 0.6 of the disc's effective
    radius and 5 to 18% of its light.
    """
    share = np.where(barred, 0.05 + 0.13 * uniform[:, 0], 0.0)
    bar = {name: host[f"part_{name}"][:, 1] for name in ("mag", "old", "dust", "z", "phi", "q")}
    # Foreshortened along with its disc, however it lies there.
    lies = 0.5 * np.pi * (2 * uniform[:, 1] - 1)
    long = np.sqrt(np.cos(lies) ** 2 + (bar["q"] * np.sin(lies)) ** 2)
    bar |= {
        "shape": np.where(barred, profiles.SERSIC, profiles.NONE),
        "phi": bar["phi"] + np.arctan2(bar["q"] * np.sin(lies), np.cos(lies)),
        "q": np.clip((0.25 + 0.2 * uniform[:, 2]) * bar["q"] / long**2, 0.15, 0.9),
        "n_sersic": np.full(len(barred), 0.6),
        "r_e": host["part_r_e"][:, 1] * (0.2 + 0.4 * uniform[:, 3]) * long,
        "mag": bar["mag"] - 2.5 * np.log10(np.maximum(share, 1e-6)),
    }
    flux, disc = host["part_flux"], host["part_flux"][:, 1:2]
    moved = share[:, None, None] * disc
    host["part_flux"] = np.concatenate([flux[:, :1], disc - moved, moved], 1)
    for name in [name for name in host if name.startswith("part_") and name != "part_flux"]:
        third = bar.get(name.removeprefix("part_"), np.zeros(len(barred)))
        host[name] = np.concatenate([host[name], third[:, None]], 1)


def row_of(host: dict[str, np.ndarray], row: int) -> dict:
    """Return one galaxy of ``draw``: its numbers, ``old``, and its ``parts`` as components."""
    one = {name: host[name][row].item() for name in ("type", "z", "mag_i", "radius", "q", "phi")}
    flux, names = host["part_flux"][row, :, -2], [name[5:] for name in host if name[:5] == "part_"]
    there = [at for at in range(len(flux)) if flux[at] > 0]
    mags = -2.5 * np.log10(flux[there] / NJY_PER_ZERO_MAG)
    kept = [name for name in names if name in galaxies.EMPTY]
    parts = [
        galaxies.component(**{name: host[f"part_{name}"][row, at].item() for name in kept})
        | {"mag": mag.item()}
        for at, mag in zip(there, mags)
    ]
    return one | {"parts": parts, "old": host["part_old"][row, 1].item()}


def details(rng: np.random.Generator, host: dict[str, float], overlapping: float) -> list[dict]:
    """Draw what lies on and near a galaxy: knots of young stars, galaxies that overlap with it.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    host : dict
        ``type``, ``mag_i``, ``radius`` (arcsec), ``z``, and ``q`` and ``phi`` (rad) of its disc.
    overlapping : float
        Share of galaxies that others overlap with.
    """
    chance, parts = rng.random(2), []
    if host["type"] >= SCD and chance[0] < KNOTTY:
        for _ in range(int(rng.integers(1, 5))):
            turn, away = rng.uniform(0, 2 * math.pi), host["radius"] * rng.uniform(0.4, 1.7)
            u, v = away * math.cos(turn), away * math.sin(turn) * host["q"]
            c, s = math.cos(host["phi"]), math.sin(host["phi"])
            parts.append(
                galaxies.component(
                    x=c * u - s * v,
                    y=s * u + c * v,
                    r_e=rng.uniform(0.1, 0.3),
                    mag=host["mag_i"] + rng.uniform(3.3, 5),
                    old=rng.uniform(0, 0.15),
                    z=host["z"],
                )
            )
    if chance[1] < overlapping:
        facts = (host["mag_i"], host["radius"], host["z"])
        parts += nearby.overlapping(rng, *facts, pair=False)
    return parts
