"""Types of galaxies: how many there are of each, how luminous, how large, and of what shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc


@dataclass(frozen=True)
class Kind:
    """What galaxies of one Hubble type have in common."""

    m_star: float
    """Characteristic absolute magnitude in r at redshift 0, AB, for H0 = 70 km/s/Mpc."""
    alpha: float
    """Slope of the luminosity function at its faint end."""
    density: float
    """Galaxies per volume, relative to the other types: the Schechter function's phi*."""
    old: tuple[float, float]
    """Mean and scatter of the share of old stars; see ``colours.magnitudes``."""
    bulge: tuple[float, float]
    """Range of the bulge's share of the light in r."""
    n_bulge: tuple[float, float]
    """Range of the bulge's Sersic index."""
    n_disc: tuple[float, float]
    """Range of the disc's Sersic index; of an elliptical, that of its envelope."""
    ratio: tuple[float, float]
    """Range of the bulge's effective radius over the disc's."""
    thickness: float
    """Axis ratio of the disc seen from its edge; 0: no disc."""
    dust: float
    """Reddening E(B-V) of the disc per unit of log10(a/b), mag."""
    arms: float
    """Strength of the arms; see ``profiles.surface_brightness``."""


# Schechter parameters: Nakamura et al. (2003, AJ 125, 1682), r*, M* - 5 log h = -20.75 for E and S0
# and 0.45 fainter for spirals, Im with a steep faint end. Densities are set so that galaxies
# brighter than r = 17.8 are E 19%, S0 20%, Sbc 36%, Scd 22%, Im 3%, as visually classified ones are
# (early, spiral, irregular 0.4 : 0.57 : 0.03). Bulges: after Graham & Worley (2008, MNRAS 388,
# 1708). Dust: 0.25 mag of E(B-V) per dex of a/b is gamma_r = 0.9 of Tully et al. (1998, AJ 115,
# 2264).
KINDS = {
    "E": Kind(-21.52, -0.83, 1.00, (0.985, 0.012), (0.50, 0.75), (3.0, 4.5), (1.2, 2.5),
              (0.30, 0.50), 0.0, 0.0, 0.0),
    "S0": Kind(-21.52, -0.83, 1.10, (0.93, 0.035), (0.35, 0.65), (2.5, 4.0), (0.9, 1.2),
               (0.20, 0.40), 0.25, 0.05, 0.0),
    "Sbc": Kind(-21.07, -1.15, 3.10, (0.72, 0.09), (0.12, 0.40), (1.5, 3.5), (0.9, 1.1),
                (0.12, 0.30), 0.18, 0.25, 0.45),
    "Scd": Kind(-21.07, -1.15, 1.75, (0.40, 0.11), (0.02, 0.12), (1.0, 2.0), (0.8, 1.1),
                (0.08, 0.20), 0.15, 0.25, 0.7),
    "Im": Kind(-20.80, -1.40, 0.28, (0.10, 0.07), (0.00, 0.05), (0.8, 1.5), (0.6, 1.1),
               (0.10, 0.40), 0.30, 0.08, 0.4),
}  # fmt: skip
"""The types, from early to late."""

NAMES = np.array(list(KINDS))

ROUND = 0.6
"""Mean axis ratio of discs: the sizes of Shen et al. are those of circles."""


def trait(kind: np.ndarray, name: str) -> np.ndarray:
    """Return a number of each galaxy's type, (n,), or (n, 2) where it is a range.

    Parameters
    ----------
    kind : (n,) array of int
        Place of the type in ``KINDS``.
    name : str
        Field of ``Kind``.
    """
    return np.array([getattr(one, name) for one in KINDS.values()])[kind]


def half_light_radius(mag, early, deviate) -> np.ndarray:
    """Return the circularised half-light radius of galaxies, kpc.

    Shen et al. (2003, MNRAS 343, 978), eqs. 14 to 16 with the parameters of their Table 1 for r
    luminosities; the scatter in ln R falls from 0.48 (faint) to 0.25 (bright).

    Parameters
    ----------
    mag : (n,) array
        Absolute magnitude in r, for H0 = 70 km/s/Mpc.
    early : (n,) array of bool
        Whether it follows the relation of early types.
    deviate : (n,) array
        Standard normal deviates of the scatter.
    """
    mag = np.asarray(mag, float)
    turn = np.log10(1 + 10 ** (-0.4 * (mag + 20.52)))
    mean = np.where(early, -0.24 * mag - 4.63, -0.084 * mag + 0.32 * turn - 1.31)
    scatter = 0.25 + 0.23 / (1 + 10 ** (-0.8 * (mag + 20.52)))
    return 10**mean * np.exp(scatter * deviate)


def sersic_growth(radius, n) -> np.ndarray:
    """Return the share of a Sersic profile's light within ``radius`` effective radii.

    The constant is that of Ciotti & Bertin (1999, A&A 352, 447), eq. 18.
    """
    b = 2 * n - 1 / 3 + 4 / (405 * n) + 46 / (25515 * n**2)
    return gammainc(2 * n, b * radius ** (1 / n))


def disc_size(bulge, ratio, n_bulge, n_disc) -> np.ndarray:
    """Return the disc's effective radius over the whole galaxy's half-light radius, (n,).

    Parameters
    ----------
    bulge : (n,) array
        The bulge's share of the light.
    ratio : (n,) array
        The bulge's effective radius over the disc's, at most 1.
    n_bulge, n_disc : (n,) array
        Sersic indices.
    """
    low, high = np.full(np.shape(bulge), 1e-3), np.ones(np.shape(bulge))
    for _ in range(24):
        half = (low + high) / 2
        light = bulge * sersic_growth(half / ratio, n_bulge)
        inside = light + (1 - bulge) * sersic_growth(half, n_disc) > 0.5
        low, high = np.where(inside, low, half), np.where(inside, half, high)
    return 2 / (low + high)


def shapes(kind, mag, uniform, normal) -> dict[str, np.ndarray]:
    """Draw bulge and disc of galaxies of given types and luminosities.

    Parameters
    ----------
    kind : (n,) array of int
        Place of the type in ``KINDS``.
    mag : (n,) array
        Absolute magnitude in r.
    uniform : (n, 10) array
        Uniform deviates.
    normal : (n, 2) array
        Standard normal deviates.

    Returns
    -------
    dict of arrays
        ``bulge`` (n,) share of the light; ``dust`` (n,) E(B-V) of the disc, mag; ``radius`` (n,)
        half-light radius along the major axis, kpc; and (n, 2), bulge and disc: ``r_e`` (kpc),
        ``q``, ``phi`` (rad), ``n_sersic``, ``arms``, ``arm_strength``, ``arm_phase``,
        ``arm_pitch`` (rad).
    """

    def between(name: str, at: int) -> np.ndarray:
        low, high = trait(kind, name).T
        return low + (high - low) * uniform[:, at]

    early = kind <= 1
    bulge, ratio = between("bulge", 0), between("ratio", 1)
    n_bulge, n_disc = between("n_bulge", 2), between("n_disc", 3)
    thin, disc = trait(kind, "thickness"), trait(kind, "thickness") > 0
    # Discs lie at random: the cosine of the inclination is uniform.
    tilted = np.sqrt(uniform[:, 4] ** 2 * (1 - thin**2) + thin**2)
    q = np.where(disc, tilted, np.clip(0.76 + 0.14 * normal[:, 0], 0.4, 0.98))
    circle = half_light_radius(mag, early, normal[:, 1])
    radius = circle / np.sqrt(np.where(disc, ROUND, q))
    r_disc = radius * disc_size(bulge, ratio, n_bulge, n_disc)
    phi = np.pi * uniform[:, 5]
    # An inclined bulge is rounder than its disc; an elliptical's heart is as its envelope.
    q_bulge = np.where(disc, 0.55 + 0.45 * q, q)
    none = np.zeros(len(kind))
    strength = trait(kind, "arms") * (0.4 + 1.2 * uniform[:, 6])
    return {
        "bulge": bulge,
        "dust": trait(kind, "dust") * (0.2 + np.log10(1 / q)) * disc,
        "radius": radius,
        "r_e": np.stack([r_disc * ratio, r_disc], 1),
        "q": np.stack([q_bulge, q], 1),
        "phi": np.stack([phi, phi], 1),
        "n_sersic": np.stack([n_bulge, n_disc], 1),
        "arms": np.stack([none, np.where(uniform[:, 7] < 0.7, 2.0, 3.0) * (strength > 0)], 1),
        "arm_strength": np.stack([none, strength], 1),
        "arm_phase": np.stack([none, 2 * np.pi * uniform[:, 8]], 1),
        "arm_pitch": np.stack([none, np.radians(10 + 18 * uniform[:, 9])], 1),
    }
