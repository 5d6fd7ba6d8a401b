"""Draw lenses and their sources: mass, redshifts, light, and sources whose arcs can be seen."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from astroml.sky import galaxies
from astroml.sky.colours import magnitudes
from astroml.sky.lensing import velocity_dispersion
from astroml.survey import NJY_PER_ZERO_MAG, Survey

FAINTEST_SNR = 30.0
"""Expected signal-to-noise of an arc below which a source is not made fainter."""

SOURCE_MAG = (22.0, 25.5)
"""Range of the unlensed source, r mag at 640 nm."""


def draw_theta_e(rng: np.random.Generator, limits: tuple[float, float], law: str) -> float:
    """Draw an Einstein radius, arcsec.

    ``law`` is ``flat`` or ``sky``, each within ``limits``. On the sky ln(theta_e) is normal about
    -0.305 with sigma 0.485: above 0.5 arcsec its median is 0.84 and its 95th percentile 1.73.
    """
    low, high = limits
    if law == "flat":
        return rng.uniform(low, high)
    log = NormalDist(-0.305, 0.485)
    return math.exp(log.inv_cdf(rng.uniform(log.cdf(math.log(low)), log.cdf(math.log(high)))))


def draw_lens(
    rng: np.random.Generator, limits: tuple[float, float], law: str, scatter: float
) -> tuple[dict[str, float], dict[str, float]]:
    """Draw a lens: its mass and redshifts, and the component that is its light.

    ``scatter``, mag, is that of the light at a given mass.
    """
    theta_e, z_lens = (
        draw_theta_e(rng, limits, law),
        float(np.clip(rng.normal(0.45, 0.15), 0.15, 0.85)),
    )
    z_source = rng.uniform(max(0.8, z_lens + 0.4), 3.0)
    dispersion = float(velocity_dispersion(theta_e, z_lens, z_source))
    core = galaxies.massive_elliptical(rng, dispersion, z_lens, scatter)
    lens = draw_mass(rng, theta_e, core["q"], core["phi"])
    return lens | {"z_lens": z_lens, "z_source": z_source, "dispersion": dispersion}, core


def draw_mass(rng: np.random.Generator, theta_e: float, q: float, phi: float) -> dict[str, float]:
    """Draw an isothermal ellipsoid that follows light of axis ratio ``q`` at ``phi``, and a shear.

    The axis ratio scatters by 0.1, the angle by 15 deg; the shear is 0 to 0.1 at any angle.
    """
    shear, turn = rng.uniform(0, 0.1), rng.uniform(0, 2 * math.pi)
    return {
        "lens_theta_e": theta_e,
        "lens_x": 0.0,
        "lens_y": 0.0,
        "lens_q": float(np.clip(q + rng.normal(-0.03, 0.1), 0.4, 0.98)),
        "lens_phi": phi + math.radians(rng.normal(0, 15)),
        "lens_shear_1": shear * math.cos(turn),
        "lens_shear_2": shear * math.sin(turn),
    }


def draw_source(rng, lens, survey: Survey, wavelengths, sigma, psf_fwhm) -> dict:
    """Draw a source that the lens turns into an arc that can be seen.

    It lies within 0.55 theta_e of the axis, where an isothermal sphere magnifies a point by more
    than 3.6 (2 theta_e / offset). Its r magnitude lies between 22 and 25.5 and makes the expected
    signal-to-noise of the arc log-uniform between ``FAINTEST_SNR`` and what r = 22 gives; places
    and sizes that leave no room between the two are drawn again, a few times.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    lens : dict
        ``lens_theta_e`` (arcsec) and ``z_source``.
    survey : Survey
        Pixels.
    wavelengths : (band,) array
        nm
    sigma, psf_fwhm : (band,) array
        nJy per pixel, and arcsec.

    Returns
    -------
    dict
        ``source_<name>`` as ``render.draw_light`` takes it, ``source_flux`` (band,) nJy,
        ``source_mag_r``, ``expected_magnification`` and ``expected_snr``.
    """
    theta_e, bright, faint = lens["lens_theta_e"], *SOURCE_MAG
    old, dust = rng.uniform(0, 0.3), rng.uniform(0, 0.2)
    mags = magnitudes(old, lens["z_source"], wavelengths, bright, 640.0, dust)[0]
    flux = 10 ** (-0.4 * (mags + rng.normal(0, 0.04, len(mags)))) * NJY_PER_ZERO_MAG
    for _ in range(8):
        offset, turn = 0.55 * theta_e * math.sqrt(rng.random()), rng.uniform(0, 2 * math.pi)
        r_e = math.exp(rng.uniform(math.log(0.1), math.log(0.4)))
        # The mean magnification of a disc as large as the source, not of a point at its centre.
        magnification = 2 * theta_e / math.hypot(offset, 0.7 * r_e)
        area = magnification * math.pi * (1.5 * r_e) ** 2 + 8 * math.pi * (psf_fwhm / 2.355) ** 2
        snr = magnification * flux / (sigma * np.sqrt(area)) * survey.pixel_scale
        best = float(np.sqrt((snr**2).sum()))
        if best > 2 * FAINTEST_SNR:
            break
    span = max(1.0, min(best / FAINTEST_SNR, 10 ** (0.4 * (faint - bright))))
    dimmer = span ** rng.random()
    return {
        "source_x": offset * math.cos(turn),
        "source_y": offset * math.sin(turn),
        "source_r_e": r_e,
        "source_q": rng.uniform(0.4, 1),
        "source_phi": galaxies.angle(rng),
        "source_n_sersic": rng.uniform(0.5, 2),
        "source_flux": flux / dimmer,
        "source_mag_r": bright + 2.5 * math.log10(dimmer),
        "expected_magnification": magnification,
        "expected_snr": best / dimmer,
    }
