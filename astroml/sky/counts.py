"""Galaxies of a survey limited in magnitude: type, redshift and luminosity, by volume."""

from __future__ import annotations

import numpy as np

from astroml.sky.colours import k_correction
from astroml.sky.lensing import comoving_distance, distance_modulus
from astroml.sky.morphology import KINDS, NAMES

WAVELENGTH = 620.0
"""Wavelength, nm, of the magnitudes here: the r band."""

EVOLUTION = 1.6
"""Brightening of all galaxies with redshift, mag per unit of z (Blanton et al. 2003, ApJ 592, 819,
at z of 0.1)."""

FAINTEST = -15.0
"""Absolute magnitude in r of the faintest galaxies."""

Z_MIN = 0.005
"""Nearest galaxies: nearer ones do not fit into a cutout."""

DEPTH = np.linspace(-5, 8, 1301)
"""Magnitudes from M* at which luminosity functions are tabulated."""


def draw(uniform: np.ndarray, limit: float, z_max: float) -> dict[str, np.ndarray]:
    """Draw galaxies brighter than a limit.

    Luminosities follow each type's Schechter (1976, ApJ 203, 297) function, redshifts the comoving
    volume in which a galaxy of that type is bright enough.

    Parameters
    ----------
    uniform : (n, 3) array
        Uniform deviates.
    limit : float
        Faintest r magnitude, AB.
    z_max : float
        Highest redshift.

    Returns
    -------
    dict of (n,) arrays
        ``kind`` (place in ``morphology.KINDS``), ``z``, ``mag`` (r, AB), ``mag_abs``.
    """
    z = np.geomspace(Z_MIN, z_max, 600)
    depths = [_luminosities(one.alpha) * one.density for one in KINDS.values()]
    reach = [_faintest(name, z, limit) for name in NAMES]
    density = [np.interp(far, DEPTH, depth) for far, depth in zip(reach, depths)]  # per type, (z,)
    volume = comoving_distance(z) ** 2 * np.gradient(comoving_distance(z), z)
    number = [_cumulate(volume * one, z) for one in density]
    totals = np.cumsum([one[-1] for one in number])
    kind = np.searchsorted(totals / totals[-1], uniform[:, 0], side="right")
    drawn = {"kind": kind, **{name: np.empty(len(kind)) for name in ("z", "mag", "mag_abs")}}
    for which, name in enumerate(NAMES):
        mine = kind == which
        here = np.interp(uniform[mine, 1] * number[which][-1], number[which], z)
        share = uniform[mine, 2] * np.interp(here, z, density[which])
        depth = np.interp(share, depths[which], DEPTH)
        absolute = KINDS[name].m_star - EVOLUTION * here + depth
        faded = distance_modulus(here) + k_correction(KINDS[name].old[0], here, WAVELENGTH)
        drawn["z"][mine], drawn["mag_abs"][mine] = here, absolute
        drawn["mag"][mine] = np.minimum(absolute + faded, limit)
    return drawn


def _luminosities(alpha: float) -> np.ndarray:
    """Return the galaxies brighter than each of ``DEPTH`` for phi* = 1."""
    ratio = 10 ** (-0.4 * DEPTH)
    return _cumulate(ratio ** (alpha + 1) * np.exp(-ratio), DEPTH)


def _faintest(name: str, z: np.ndarray, limit: float) -> np.ndarray:
    """Return how far below M* a type is seen at each redshift, mag."""
    seen = limit - distance_modulus(z) - k_correction(KINDS[name].old[0], z, WAVELENGTH)
    return np.minimum(seen, FAINTEST) - (KINDS[name].m_star - EVOLUTION * z)


def _cumulate(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the integral up to each point, by trapezia."""
    steps = (values[1:] + values[:-1]) / 2 * np.diff(at)
    return np.concatenate([[0], np.cumsum(steps)])
