"""Draw galaxies as lists of components, each with its own stars.

Every function draws from the generator it is given and from nothing else. A component is a dict:
what ``profiles.surface_brightness`` takes, ``mag`` (AB at ``MAG_WAVELENGTH``), ``old`` and ``dust``
(see ``colours.magnitudes``), ``z`` and ``scatter`` (seed of its colours' scatter).
"""

from __future__ import annotations

import math

import numpy as np

from astroml.sky.colours import TYPES, magnitudes, red_sequence_mag
from astroml.sky.lensing import angular_scale
from astroml.sky.profiles import ARM_NAMES, RING, SERSIC, SHAPE_NAMES

MAG_WAVELENGTH = 775.0
"""Wavelength, nm, at which components have their magnitude: the i band."""

NEIGHBOUR_FIELD = 15.0
"""Half side, arcsec, of the square around an object that gets random neighbours."""

NEIGHBOUR_DENSITY = 3.3e-3
"""Galaxies and stars per square arcsec to i = 24, after counts of deep fields."""

EMPTY = dict.fromkeys((*SHAPE_NAMES, *ARM_NAMES), 0.0) | {
    "q": 1.0,
    "n_sersic": 1.0,
    "r_e": 1.0,
    "width": 0.1,
    "mag": 99.0,
    "old": 1.0,
    "dust": 0.0,
    "z": 0.1,
}

LIGHT = ("old", "z", "mag", "dust")
"""What decides the fluxes of a component."""

PIECE = 20_000
"""Components whose spectra are in memory at once."""


UNITS = {
    "part_x": "arcsec",
    "part_y": "arcsec",
    "part_phi": "rad",
    "part_r_e": "arcsec",
    "part_width": "arcsec",
    "part_flux": "nJy",
    "part_mag": "mag",
    "part_dust": "mag",
    "part_arm_phase": "rad",
    "part_arm_pitch": "rad",
}
"""Units of the components' columns in a population."""


def component(**facts: float) -> dict[str, float]:
    """Return a component; what is not said is round, smooth, old and at the centre."""
    return EMPTY | {"shape": SERSIC} | facts


def angle(rng: np.random.Generator) -> float:
    """Return a position angle, rad."""
    return rng.uniform(0, math.pi)


def share(mag: float, fraction: float) -> float:
    """Return the magnitude of a fraction of a galaxy's light."""
    return mag - 2.5 * math.log10(max(fraction, 1e-6))


def massive_elliptical(
    rng: np.random.Generator, dispersion: float, z: float, scatter: float = 0.3
) -> dict[str, float]:
    """Draw a massive early-type galaxy, as lenses are.

    Luminosity follows the velocity dispersion to the fourth power (Faber & Jackson 1976), with
    some scatter, i kept in 17.5 to 20.5; size follows luminosity to the power 0.6
    (Shen et al. 2003, MNRAS 343, 978) with 25% of scatter, kept in 0.5 to 2.5 arcsec.

    Parameters
    ----------
    dispersion : float
        km/s
    z : float
        Redshift.
    scatter : float
        Of the luminosity, mag.
    """
    luminosity = (dispersion / 220) ** 4
    mag = red_sequence_mag(z) - 2.5 * math.log10(luminosity) + rng.normal(0, scatter)
    mag = float(np.clip(mag, 17.5, 20.5)) + rng.uniform(-0.05, 0.05)
    ratio = 10 ** (-0.4 * (mag - red_sequence_mag(z)))
    r_e = 4.5 * ratio**0.6 / angular_scale(z) * math.exp(rng.normal(0, 0.25))
    return component(
        q=float(np.clip(rng.normal(0.78, 0.13), 0.4, 0.99)),
        phi=angle(rng),
        n_sersic=rng.uniform(3, 5),
        r_e=float(np.clip(r_e, 0.5, 2.5)),
        mag=mag,
        old=rng.uniform(0.985, 1.0),
        z=z,
    )


def spiral(rng: np.random.Generator) -> list[dict[str, float]]:
    """Draw a blue spiral seen from above: bulge, armed disc, smooth disc."""
    z, mag, phi = rng.uniform(0.05, 0.35), rng.uniform(16.8, 19.8), angle(rng)
    bulge, q = rng.uniform(0.1, 0.45), rng.uniform(0.55, 1.0)
    r_e = float(np.clip(2.4 * 10 ** (-0.1 * (mag - 18)) * math.exp(rng.normal(0, 0.25)), 1.2, 4.5))
    armed = rng.uniform(0.4, 0.85)
    disc = {"q": q, "phi": phi, "n_sersic": 1.0, "z": z, "dust": rng.uniform(0, 0.1)}
    return [
        component(
            q=min(1.0, q + 0.2),
            phi=phi,
            n_sersic=rng.uniform(1.5, 4),
            r_e=r_e * rng.uniform(0.12, 0.3),
            mag=share(mag, bulge),
            old=rng.uniform(0.8, 1),
            z=z,
        ),
        component(
            r_e=r_e,
            mag=share(mag, (1 - bulge) * armed),
            old=rng.uniform(0, TYPES["Scd"]),
            arms=float(rng.choice([2, 2, 2, 3, 4])),
            arm_strength=rng.uniform(1.0, 4.0),
            arm_phase=rng.uniform(0, 2 * math.pi),
            arm_pitch=math.radians(rng.uniform(10, 28)),
            **disc,
        ),
        component(
            r_e=r_e, mag=share(mag, (1 - bulge) * (1 - armed)), old=rng.uniform(0.4, 0.9), **disc
        ),
    ]


def ring(rng: np.random.Generator, core: dict[str, float], radius: float, mag: float) -> list:
    """Draw a ring galaxy: a red core and a blue ring, whole or patchy, of a given radius."""
    q = rng.uniform(0.55, 1.0)
    blue = component(
        shape=RING,
        q=q,
        phi=angle(rng),
        r_e=radius / math.sqrt(q),
        width=rng.uniform(0.12, 0.35),
        mag=mag,
        old=rng.uniform(0, 0.4),
        z=core["z"],
        arms=float(rng.integers(1, 4)),
        arm_strength=rng.choice([0.0, rng.uniform(0.3, 1.5)]),
        arm_phase=rng.uniform(0, 2 * math.pi),
    )
    return [core, blue]


def companions(rng: np.random.Generator, core: dict, radius: float, mag: float) -> list:
    """Draw blue galaxies around a red one, at the distance and of the light of an arc's images."""
    parts, count = [core], int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
    first, z = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 1.5)
    for which in range(count):
        turn = first + which * rng.uniform(1.2, 3.5)
        away = radius * rng.uniform(0.75, 1.7)
        tangential = rng.random() < 0.6
        parts.append(
            component(
                x=away * math.cos(turn),
                y=away * math.sin(turn),
                q=rng.uniform(0.25, 0.9),
                phi=turn + math.pi / 2 + rng.normal(0, 0.2) if tangential else angle(rng),
                n_sersic=rng.uniform(0.5, 1.5),
                r_e=rng.uniform(0.15, 0.6),
                mag=share(mag, rng.dirichlet(np.ones(count))[0] if count > 1 else 1.0),
                old=rng.uniform(0, 0.35),
                dust=rng.uniform(0, 0.2),
                z=z,
            )
        )
    return parts


def merger(rng: np.random.Generator) -> list[dict[str, float]]:
    """Draw two galaxies in contact, one with a one-armed tail, and a bridge between them."""
    z, mag, turn = rng.uniform(0.08, 0.5), rng.uniform(17.5, 19.8), angle(rng) * 2
    away, old = rng.uniform(0.9, 3.2), rng.uniform(0.2, 1.0)
    x, y, tilt = away * math.cos(turn), away * math.sin(turn), angle(rng)
    light = rng.dirichlet([6, 4, 3, 1])
    tail = {
        "arms": float(rng.choice([1, 1, 2])),
        "arm_strength": rng.uniform(1, 3.5),
        "arm_phase": rng.uniform(0, 2 * math.pi),
        "arm_pitch": math.radians(rng.uniform(15, 45)),
    }
    return [
        component(
            q=rng.uniform(0.5, 1),
            phi=angle(rng),
            n_sersic=rng.uniform(1.5, 4),
            r_e=rng.uniform(0.4, 1.3),
            mag=share(mag, light[0]),
            old=old,
            z=z,
        ),
        component(
            x=x,
            y=y,
            q=rng.uniform(0.4, 1),
            phi=angle(rng),
            n_sersic=rng.uniform(1, 3),
            r_e=rng.uniform(0.3, 1.0),
            mag=share(mag, light[1]),
            old=float(np.clip(old + rng.normal(0, 0.25), 0, 1)),
            z=z,
        ),
        component(
            x=x * rng.uniform(0, 0.5),
            y=y * rng.uniform(0, 0.5),
            q=rng.uniform(0.35, 0.9),
            phi=tilt,
            r_e=rng.uniform(1.2, 3.0),
            mag=share(mag, light[2]),
            old=rng.uniform(0, 0.6),
            z=z,
            **tail,
        ),
        component(
            x=x / 2,
            y=y / 2,
            q=0.3,
            phi=turn,
            r_e=away * 0.6,
            mag=share(mag, light[3]),
            old=rng.uniform(0, 0.8),
            z=z,
        ),
    ]


def group(rng: np.random.Generator, core: dict[str, float], radius: float) -> list:
    """Draw a compact group: a red galaxy with two to five neighbours at its redshift."""
    parts = [core]
    for _ in range(int(rng.integers(2, 6))):
        turn, away = rng.uniform(0, 2 * math.pi), radius * rng.uniform(0.9, 3.0)
        parts.append(_satellite(rng, core, turn, away))
    return parts


def surroundings(rng: np.random.Generator, core: dict[str, float], mean: float) -> list:
    """Draw the smaller galaxies at a galaxy's redshift that share its field, 2 to 12 arcsec away.

    Their number is Poisson's, about a mean that is itself uniform between 0 and twice ``mean``:
    some galaxies live alone and others in groups.
    """
    count = rng.poisson(mean * rng.uniform(0, 2))
    away = np.sqrt(rng.uniform(2.0**2, 12.0**2, count))
    return [_satellite(rng, core, rng.uniform(0, 2 * math.pi), float(one)) for one in away]


def _satellite(rng: np.random.Generator, core: dict[str, float], turn: float, away: float) -> dict:
    """Draw a smaller galaxy at a galaxy's redshift; two in three are as old."""
    return component(
        x=away * math.cos(turn),
        y=away * math.sin(turn),
        q=rng.uniform(0.4, 1),
        phi=angle(rng),
        n_sersic=rng.uniform(1.5, 4),
        r_e=rng.uniform(0.2, 0.7),
        mag=core["mag"] + rng.uniform(0.8, 4.0),
        old=rng.choice([rng.uniform(0.9, 1), rng.uniform(0.1, 0.7)], p=[0.65, 0.35]),
        z=core["z"],
    )


def edge_on(rng: np.random.Generator) -> list[dict[str, float]]:
    """Draw a disc seen from its edge: red bulge, thin disc, and a few blue knots beside it."""
    z, mag, phi = rng.uniform(0.05, 0.4), rng.uniform(17.5, 20), angle(rng)
    bulge, r_e, old = rng.uniform(0.1, 0.5), rng.uniform(1.0, 3.0), rng.uniform(0.3, 0.95)
    thin = component(
        q=rng.uniform(0.12, 0.28),
        phi=phi,
        r_e=r_e,
        mag=share(mag, 1 - bulge),
        old=old,
        dust=rng.uniform(0, 0.2),
        z=z,
    )
    round_ = component(
        q=rng.uniform(0.5, 0.9),
        phi=phi,
        n_sersic=rng.uniform(1.5, 4),
        r_e=r_e * rng.uniform(0.15, 0.4),
        mag=share(mag, bulge),
        old=1.0,
        z=z,
    )
    knots = []
    for _ in range(int(rng.integers(0, 4))):
        along, off = rng.choice([-1, 1]) * rng.uniform(0.3, 1.3) * r_e, rng.normal(0, 0.6)
        knots.append(
            component(
                x=along * math.cos(phi) - off * math.sin(phi),
                y=along * math.sin(phi) + off * math.cos(phi),
                q=rng.uniform(0.5, 1),
                phi=angle(rng),
                r_e=rng.uniform(0.15, 0.45),
                mag=mag + rng.uniform(2.0, 4.0),
                old=rng.uniform(0, 0.2),
                z=z,
            )
        )
    return [thin, round_, *knots]


def neighbours(rng: np.random.Generator) -> list[dict[str, float]]:
    """Draw the random galaxies and stars around an object: i 19.5 to 24, counts as 10^(0.3 i)."""
    area, parts = (2 * NEIGHBOUR_FIELD) ** 2, []
    for _ in range(int(rng.poisson(NEIGHBOUR_DENSITY * area))):
        low, high = 10 ** (0.3 * 19.5), 10 ** (0.3 * 24)
        mag = math.log10(rng.uniform(low, high)) / 0.3
        star = rng.random() < 0.15
        x, y = rng.uniform(-NEIGHBOUR_FIELD, NEIGHBOUR_FIELD, 2)
        r_e = 0.35 * 10 ** (-0.08 * (mag - 22)) * math.exp(rng.normal(0, 0.35))
        parts.append(
            component(
                x=x,
                y=y,
                q=1.0 if star else rng.uniform(0.3, 1),
                phi=angle(rng),
                n_sersic=0.5 if star else rng.choice([1.0, 1.0, 1.0, 2.5, 4.0]),
                r_e=0.05 if star else r_e,
                mag=mag,
                old=rng.choice(
                    [rng.uniform(0, 0.4), rng.uniform(0.4, 0.9), 1.0], p=[0.5, 0.3, 0.2]
                ),
                z=0.0 if star else rng.uniform(0.1, 1.0),
            )
        )
    return parts


def stack(lists: list[list[dict[str, float]]], wavelengths, scatter: np.ndarray) -> dict:
    """Turn lists of components into arrays.

    Parameters
    ----------
    lists : list of list of dict
        Components of each object.
    wavelengths : (band,) array
        nm
    scatter : (n, slot, band) array
        Offsets of the colours, mag; at least as many slots as components.

    Returns
    -------
    dict of arrays
        ``part_<name>`` (n, slot) float32, and ``part_flux`` (n, slot, band) nJy.
    """
    slots = max(map(len, lists), default=1)
    owner = np.repeat(np.arange(len(lists)), [len(parts) for parts in lists])
    slot = np.array([at for parts in lists for at in range(len(parts))], int)
    filled = [list(map(part.get, EMPTY)) for parts in lists for part in parts]
    filled = np.array(filled, float).reshape(-1, len(EMPTY)).astype(np.float32)
    table = {}
    for at, (name, nothing) in enumerate(EMPTY.items()):
        table[name] = np.full((len(lists), slots), nothing, np.float32)
        table[name][owner, slot] = filled[:, at]
    flux = np.zeros((len(lists), slots, len(wavelengths)), np.float32)
    for begin in range(0, len(owner), PIECE):
        some = owner[begin : begin + PIECE], slot[begin : begin + PIECE]
        old, z, mag, dust = (table[name][some].astype(float) for name in LIGHT)
        mags = magnitudes(old, z, wavelengths, mag, MAG_WAVELENGTH, dust) + scatter[some]
        flux[some] = 10 ** (-0.4 * (mags - 31.4)) * (table["shape"][some] > 0)[:, None]
    return {f"part_{name}": values for name, values in table.items()} | {"part_flux": flux}
