"""Colours of galaxies: compact rest-frame spectra, so that any band at any redshift has a value."""

from __future__ import annotations

import numpy as np

# Wavelength at rest (nm), and spectra of old and of young stars: AB magnitudes relative to 560 nm.
# OLD was fitted (least squares, smoothness prior) to red-sequence colours of the CWW/BPZ
# elliptical, HSC g-r, r-i, i-z and DECam g-r, r-z at z 0.1 to 1.0: rms 0.03 mag, largest 0.10.
# YOUNG is an irregular that forms stars: nearly flat in f_nu below a small Balmer break.
NODES, OLD, YOUNG = (
    np.fromstring(
        """
       91.0     12      9
       91.2   5.94    1.5
      121.6   5.66   0.90
      150.0   5.57   0.75
      200.0   5.73   0.70
      240.0   5.08   0.68
      280.0   3.64   0.65
      310.0   2.72   0.62
      335.0   2.32   0.60
      360.0   2.07   0.58
      380.0   2.00   0.45
      400.0   1.29   0.30
      420.0   1.02   0.24
      445.0   0.70   0.18
      475.0   0.34   0.12
      510.0   0.23   0.06
      560.0      0      0
      620.0  -0.30  -0.07
      680.0  -0.47  -0.12
      750.0  -0.64  -0.17
      830.0  -0.75  -0.20
      950.0  -0.92  -0.25
     1100.0  -1.11  -0.30
     1250.0  -1.32  -0.33
     1600.0  -1.64  -0.38
     2200.0  -1.46  -0.20
     3000.0  -0.87   0.20
    """,
        sep=" ",
    )
    .reshape(-1, 3)
    .T
)

TYPES = {"E": 1.0, "S0": 0.93, "Sbc": 0.72, "Scd": 0.38, "Im": 0.0}
"""Share of the light at 560 nm that comes from old stars, for each galaxy type."""

WIDTH = 0.2
"""Width of a band over its wavelength; all bands are taken as boxes of this width."""


def magnitudes(old, z, wavelengths, mag, mag_wavelength, dust=0.0) -> np.ndarray:
    """Return AB magnitudes of galaxies in some bands.

    Parameters
    ----------
    old : (n,) array
        Share of old stars in the light at 560 nm, rest frame: 1 elliptical, 0 irregular; see
        ``TYPES``.
    z : (n,) array
        Redshift.
    wavelengths : (band,) array
        Effective wavelengths, nm, 300 to 2000.
    mag : (n,) array
        AB magnitude at ``mag_wavelength``.
    mag_wavelength : float
        Wavelength of the band in which ``mag`` is given, nm.
    dust : (n,) array or float
        Reddening E(B-V) in the galaxy: A = 4.05 E(B-V) (550 nm / rest wavelength)^0.9.

    Returns
    -------
    (n, band) array
        mag
    """
    old, z, mag, dust = np.broadcast_arrays(*map(np.atleast_1d, (old, z, mag, dust)))
    there = np.append(np.asarray(wavelengths, float), mag_wavelength)
    offsets = (np.arange(9) - 4) / 9 * WIDTH
    rest = there[None, :, None] * (1 + offsets) / (1 + z[:, None, None])
    share = old[:, None, None]
    light = share * _spectrum(OLD, rest) + (1 - share) * _spectrum(YOUNG, rest)
    absorbed = 4.05 * dust[:, None, None] * (550 / rest) ** 0.9
    relative = -2.5 * np.log10((light * 10 ** (-0.4 * absorbed)).mean(-1))  # (n, band + 1)
    return mag[:, None] + relative[:, :-1] - relative[:, -1:]


def k_correction(old, z, wavelength: float) -> np.ndarray:
    """Return what a band's magnitude gains by redshift alone, mag.

    Hogg et al. (2002, astro-ph/0210394), eq. 8, for AB magnitudes and one band.

    Parameters
    ----------
    old : (n,) array or float
        Share of old stars, rest frame.
    z : (n,) array
        Redshift.
    wavelength : float
        Effective wavelength of the band, nm.
    """
    old, z = np.broadcast_arrays(*map(np.atleast_1d, (old, z)))
    band = wavelength * (1 + (np.arange(9) - 4) / 9 * WIDTH)

    def light(rest):
        share = old[:, None]
        return (share * _spectrum(OLD, rest) + (1 - share) * _spectrum(YOUNG, rest)).mean(-1)

    return -2.5 * np.log10((1 + z) * light(band / (1 + z[:, None])) / light(band[None]))


def _spectrum(nodes: np.ndarray, wavelength: np.ndarray) -> np.ndarray:
    """Return the flux density per frequency, relative to 560 nm."""
    return 10 ** (-0.4 * np.interp(np.log(wavelength), np.log(NODES), nodes))


def red_sequence_mag(z) -> np.ndarray:
    """Return m* of red galaxies in i, mag (Rykoff et al. 2014, ApJ 785, 104; z 0.05 to 1)."""
    t = np.log(z)
    return 22.44 + 3.36 * t + 0.273 * t**2 - 0.0618 * t**3 - 0.0227 * t**4
