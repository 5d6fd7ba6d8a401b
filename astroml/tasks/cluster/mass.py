"""Mass of a cluster from its richness, as lensing has calibrated it."""

from __future__ import annotations

import numpy as np

AMPLITUDE = 3.08
"""Mass at the pivot, 1e14 Msun, within the radius of 200 times the mean density of matter."""

PIVOT = (40.0, 1.35)
"""Richness and 1 + z of the pivot."""

SLOPES = (1.356, -0.30)
"""Power of richness and of 1 + z (McClintock et al. 2019, MNRAS 482, 1352)."""

SCATTER = 0.25
"""Intrinsic scatter of ln mass at fixed richness (Rozo & Rykoff 2014, ApJ 783, 80)."""


def m200m(richness, z) -> np.ndarray:
    """Return the mean mass of clusters of some richness and redshift, 1e14 Msun."""
    growth = (np.asarray(richness, float) / PIVOT[0]) ** SLOPES[0]
    return AMPLITUDE * growth * ((1 + np.asarray(z, float)) / PIVOT[1]) ** SLOPES[1]


def m200m_err(richness, ln_richness_err, z, z_err) -> np.ndarray:
    """Return the error of ``m200m``, 1e14 Msun: of richness and redshift, and the scatter.

    To first order, ln M = 1.356 ln richness - 0.30 ln (1 + z) + const., in quadrature.

    Parameters
    ----------
    richness, z : (n,) array
    ln_richness_err, z_err : (n,) array
        Errors of ln richness and of z.
    """
    of_richness = SLOPES[0] * np.asarray(ln_richness_err, float)
    of_z = SLOPES[1] * np.asarray(z_err, float) / (1 + np.asarray(z, float))
    return m200m(richness, z) * np.sqrt(of_richness**2 + of_z**2 + SCATTER**2)
