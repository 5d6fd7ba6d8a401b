"""Strong lensing: singular isothermal ellipsoid with external shear, and the distances it needs."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from caustics.lenses.func import (
    reduced_deflection_angle_external_shear,
    reduced_deflection_angle_sie,
)

CORE = 1e-4
"""Core of the isothermal ellipsoid, arcsec: keeps its centre finite."""

SPEED_OF_LIGHT = 299792.458
"""km/s"""


def deflection(lens: dict[str, torch.Tensor], x, y) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the reduced deflection of rays, arcsec.

    Parameters
    ----------
    lens : dict of tensors
        ``theta_e`` (arcsec; of the circle that holds as much mass, for any ``q``), ``x``, ``y``
        (arcsec), ``q`` and ``phi`` (rad) of the mass, ``shear_1``, ``shear_2``.
    x, y : tensor
        Image-plane positions that broadcast with the lens, arcsec.

    Returns
    -------
    x, y : tensor
        Source position is image position minus this (Kormann et al. 1994, A&A 284, 285).
    """
    names = ("x", "y", "q", "phi", "theta_e")
    bend = reduced_deflection_angle_sie(*(lens[name] for name in names), x, y, s=CORE)
    names = ("x", "y", "shear_1", "shear_2")
    tide = reduced_deflection_angle_external_shear(*(lens[name] for name in names), x, y)
    return bend[0] + tide[0], bend[1] + tide[1]


@cache
def _comoving() -> tuple[np.ndarray, np.ndarray]:
    """Tabulate the comoving distance in units of c/H0: flat, Omega_m = 0.3."""
    z = np.linspace(0, 8, 8001)
    slope = 1 / np.sqrt(0.3 * (1 + z) ** 3 + 0.7)
    return z, np.concatenate([[0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(z))])


def efficiency(z_lens, z_source) -> np.ndarray:
    """Return D_ls / D_s in a flat universe with Omega_m = 0.3."""
    return 1 - np.interp(z_lens, *_comoving()) / np.interp(z_source, *_comoving())


def velocity_dispersion(theta_e, z_lens, z_source) -> np.ndarray:
    """Return the dispersion of the isothermal sphere that bends by ``theta_e`` arcsec, km/s."""
    bend = np.asarray(theta_e) / (4 * math.pi * efficiency(z_lens, z_source) * 206264.806)
    return SPEED_OF_LIGHT * np.sqrt(bend)


def comoving_distance(z) -> np.ndarray:
    """Return the comoving distance, Mpc, for H0 = 70 km/s/Mpc."""
    return np.interp(z, *_comoving()) * SPEED_OF_LIGHT / 70


def distance_modulus(z) -> np.ndarray:
    """Return the distance modulus, mag, for H0 = 70 km/s/Mpc."""
    return 5 * np.log10(comoving_distance(z) * (1 + np.asarray(z))) + 25


def angular_scale(z) -> np.ndarray:
    """Return the kpc in one arcsec at redshift ``z``, for H0 = 70 km/s/Mpc."""
    distance = np.interp(z, *_comoving()) * SPEED_OF_LIGHT / 70 * 1000 / (1 + np.asarray(z))
    return distance / 206264.806
