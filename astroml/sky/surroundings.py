"""What surrounds the groups of galaxies: galaxies of the field by their counts, and stars."""

from __future__ import annotations

from functools import cache

import numpy as np

from astroml.sky import members, morphology
from astroml.sky.lensing import angular_scale

POINT, EXPONENTIAL, DE_VAUCOULEURS = range(3)
"""Light profiles."""

FIELD, STAR = -1, -2
"""Values of ``system`` of what belongs to no group."""

FAINTEST = 24.5
"""Faintest r magnitude that is drawn: below the noise of the surveys that this sky is made for."""

# Logarithm of galaxies per deg2 and mag in r: round numbers near SDSS's to 20 (Yasuda et al. 2001,
# AJ 122, 1104) and those of deep fields beyond (Metcalfe et al. 2001, MNRAS 323, 795).
COUNT_MAG = np.array([13.0, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25])
COUNT_LOG = np.array([-0.75, 0.45, 1.05, 1.58, 2.08, 2.55, 3.00, 3.42, 3.83, 4.20, 4.52, 4.80])

# Median redshift of galaxies of an r magnitude, near that of surveys to a magnitude: n(z) goes
# as z^2 exp(-(z / z0)^1.5) (Smail et al. 1994, MNRAS 270, 245), whose median is 1.41 z0.
MEDIAN_MAG = np.array([13.0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25])
MEDIAN_Z = np.array([0.02, 0.06, 0.09, 0.13, 0.19, 0.26, 0.36, 0.47, 0.61, 0.76, 0.9])

# Stars brighter than an r magnitude, per deg2: round numbers for 50 deg from the Galactic plane.
STAR_MAG = np.array([8.0, 10, 12, 14, 16, 18, 20, 22, 24.5])
STAR_NUMBER = np.array([4.0, 15, 65, 250, 600, 1250, 2400, 4400, 8000])


def young_share(uniform, normal) -> np.ndarray:
    """Return the share of old stars in galaxies that form stars: Sbc, Scd and Im."""
    mean = np.select([uniform < 0.45, uniform < 0.85], [0.72, 0.40], 0.1)
    return np.clip(mean + 0.09 * normal, 0, 0.9)


def forms(absolute, z, early, uniform, normal) -> dict[str, np.ndarray]:
    """Return profile, size and axis ratio of galaxies of absolute r magnitudes.

    Sizes are those of Shen et al. (2003), and smaller at high redshift: (1 + z)^-0.7.
    """
    q = np.where(early, 0.45 + 0.55 * uniform[:, 6], 0.25 + 0.75 * uniform[:, 6])
    radius = morphology.half_light_radius(absolute, early, normal) * (1 + z) ** -0.7
    return {
        "profile": np.where(early, DE_VAUCOULEURS, EXPONENTIAL),
        "r_e": np.clip(radius / angular_scale(z) / np.sqrt(q), 0.05, 15.0),
        "q": q,
    }


@cache
def counts() -> tuple[np.ndarray, np.ndarray]:
    """Tabulate the galaxies per deg2 brighter than each of some r magnitudes."""
    mag = np.linspace(COUNT_MAG[0], FAINTEST, 1000)
    density = 10 ** np.interp(mag, COUNT_MAG, COUNT_LOG)
    steps = (density[1:] + density[:-1]) / 2 * np.diff(mag)
    return np.concatenate([[0], np.cumsum(steps)]), mag


@cache
def _redshifts() -> tuple[np.ndarray, np.ndarray]:
    """Tabulate the share of galaxies below z / z_median."""
    t = np.linspace(0, 3.5, 2000)
    density = t**2 * np.exp(-((1.412 * t) ** 1.5))
    steps = np.concatenate([[0], np.cumsum(density[1:] + density[:-1])])
    return steps / steps[-1], t


def field_light(one: dict, wavelengths) -> dict[str, np.ndarray]:
    """Return the light of galaxies of the field.

    Of those as luminous as L* half are red, of those three magnitudes fainter a fifth.
    """
    uniform, normal = one["uniform"], one["normal"]
    number, at = counts()
    mag_r = np.interp(uniform[:, 2] * number[-1], number, at)
    z = np.interp(uniform[:, 5], *_redshifts()) * np.interp(mag_r, MEDIAN_MAG, MEDIAN_Z)
    z = np.clip(z, 0.005, 1.5)
    depth = mag_r - members.m_star(np.clip(z, 0.02, 1.2), members.RED)
    red = uniform[:, 7] < 0.1 + 0.45 / (1 + np.exp((depth - 1.0) / 0.8))
    old = np.where(
        red, np.clip(0.97 + 0.03 * normal[:, 1], 0.85, 1), young_share(uniform[:, 4], normal[:, 1])
    )
    colour = members.relative(old, z, (*wavelengths, members.RED))
    mags = mag_r[:, None] + colour[:, :-1] - colour[:, -1:] + 0.04 * normal[:, 2:]
    # A blue galaxy is fainter than a red one of the same magnitude: it loses less by redshift.
    form = forms(-21.5 + depth + np.where(red, 0, 1.3 * z), z, red, uniform, normal[:, 0])
    return {"z": z, "mag": mag_r - colour[:, -1], "mags": mags} | form


def star_light(one: dict, names, wavelengths) -> dict[str, np.ndarray]:
    """Return the light of stars: bright ones are of type F to K, half of the faint ones M."""
    uniform = one["uniform"]
    mag_r = np.interp(uniform[:, 2] * STAR_NUMBER[-1], np.concatenate([[0], STAR_NUMBER]),
                      np.concatenate([[7.0], STAR_MAG]))  # fmt: skip
    dwarf = uniform[:, 5] < np.clip((mag_r - 15) / 8, 0.05, 0.6)
    place = np.where(dwarf, 0.5 + 0.5 * uniform[:, 4], 0.05 + 0.4 * uniform[:, 4] ** 1.3)
    none = np.zeros(len(mag_r))
    colour = members.stars(place, (*wavelengths, members.REFERENCE))
    return {
        "z": none,
        "mag": mag_r + colour[:, -1],
        "mags": mag_r[:, None] + colour[:, :-1],
        "profile": none.astype(int) + POINT,
        "r_e": none,
        "q": none + 1,
    }
