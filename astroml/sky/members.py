"""Colours of many galaxies and stars at once: the red sequence, the field, the stellar locus."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import numpy as np
from astropy.io import fits

from astroml.errors import AstromlError
from astroml.sky.colours import magnitudes, red_sequence_mag

REFERENCE = 775.0
"""Wavelength, nm, that colours are relative to: the i band."""

RED = 620.0
"""Wavelength, nm, of the magnitudes of counts: the r band."""

OLD_GRID, Z_GRID = np.linspace(0, 1, 21), np.linspace(0, 1.5, 151)
"""Shares of old stars and redshifts at which spectra are tabulated."""

SLOPE, SCATTER = -0.03, 0.04
"""The red sequence: change of g-r per magnitude, and scatter of each colour, mag."""

SDSS = np.array([355.0, 477.0, 623.0, 763.0, 913.0])
"""Wavelengths of SDSS's u, g, r, i, z, nm."""

NON_DETECTION, WORST = 25.0, 0.1
"""Asinh magnitude of a real galaxy, and its error in any of g, r, i, z, above which it is left
out."""

# Stars: g-r, r-i, i-z and z-y of the main sequence from F to M5, after Covey et al. (2007, AJ 134,
# 2398), and the magnitudes relative to i that follow.
LOCUS = np.array(
    [
        [0.25, 0.05, 0.00, 0.00],
        [0.45, 0.15, 0.05, 0.03],
        [0.80, 0.30, 0.15, 0.07],
        [1.25, 0.55, 0.30, 0.14],
        [1.42, 1.00, 0.55, 0.25],
        [1.45, 1.60, 0.88, 0.45],
    ]
)
LOCUS_AT = np.array([478.0, 620.0, 775.0, 910.0, 1000.0])

NEAR = 30
"""Real galaxies nearest in redshift, of which a member gets the colours of one."""


@cache
def _table(wavelengths: tuple[float, ...]) -> np.ndarray:
    """Tabulate magnitudes minus that in i: (old, z, band)."""
    old, z = (one.ravel() for one in np.meshgrid(OLD_GRID, Z_GRID, indexing="ij"))
    mags = magnitudes(old, z, wavelengths, np.zeros(len(z)), REFERENCE)
    return mags.reshape(len(OLD_GRID), len(Z_GRID), len(wavelengths))


def relative(old, z, wavelengths) -> np.ndarray:
    """Return magnitudes minus that in i, (n, band), of galaxies.

    What ``colours.magnitudes`` says, linear between the points of a table.

    Parameters
    ----------
    old, z : (n,) array
        Share of old stars; redshift, 0 to 1.5.
    wavelengths : (band,) array
        nm
    """
    table = _table(tuple(float(one) for one in wavelengths))
    at = np.clip(np.asarray(old) * (len(OLD_GRID) - 1), 0, len(OLD_GRID) - 1)
    there = np.clip(np.asarray(z) / Z_GRID[1], 0, len(Z_GRID) - 1)
    row, col = np.minimum(at.astype(int), 19), np.minimum(there.astype(int), len(Z_GRID) - 2)
    right, down = (there - col)[:, None], (at - row)[:, None]
    first = table[row, col] * (1 - right) + table[row, col + 1] * right
    last = table[row + 1, col] * (1 - right) + table[row + 1, col + 1] * right
    return first * (1 - down) + last * down


def red_sequence(z, depth, deviates, wavelengths) -> np.ndarray:
    """Return magnitudes minus that in i, (n, band), of red-sequence galaxies.

    The template of ``colours``, tilted so that g-r changes by ``SLOPE`` per magnitude and other
    colours in proportion to the logarithm of their wavelengths' ratio, with ``SCATTER`` in each
    colour of neighbouring bands.

    Parameters
    ----------
    z, depth : (n,) array
        Redshift; i magnitude minus m*.
    deviates : (n, band) array
        Standard normal deviates.
    wavelengths : (band,) array
        nm
    """
    mean = relative(np.ones(len(z)), z, wavelengths) + _tilt(depth, wavelengths)
    return mean + SCATTER / np.sqrt(2) * deviates


def _tilt(depth, wavelengths) -> np.ndarray:
    """Return what the red sequence's slope adds to magnitudes, (n, band)."""
    lag = np.log(REFERENCE / np.asarray(wavelengths, float)) / np.log(642 / 478)
    return SLOPE * np.outer(depth, lag)


def m_star(z, wavelength: float) -> np.ndarray:
    """Return m* of red galaxies in a band, AB mag; see ``colours.red_sequence_mag``."""
    flat = np.ravel(np.asarray(z, float))
    colour = relative(np.ones(len(flat)), flat, (wavelength,))[:, 0]
    return (red_sequence_mag(flat) + colour).reshape(np.shape(z))


def stars(place, wavelengths) -> np.ndarray:
    """Return magnitudes minus that in r, (n, band), of stars.

    Parameters
    ----------
    place : (n,) array
        Place along the main sequence, from 0 (F) to 1 (M5).
    wavelengths : (band,) array
        nm; beyond 478 and 1000 the colours go on straight in the logarithm of wavelength.
    """
    g_r, r_i, i_z, z_y = LOCUS.T
    nodes = np.stack([g_r, 0 * r_i, -r_i, -r_i - i_z, -r_i - i_z - z_y], 1)
    log, at = np.log(np.asarray(wavelengths, float)), np.log(LOCUS_AT)
    table = np.stack([np.interp(log, at, one) for one in nodes])
    table += (nodes[:, :1] / (at[1] - at[0])) * np.maximum(at[0] - log, 0)
    along = np.clip(place, 0, 1) * (len(LOCUS) - 1)
    low = np.minimum(along.astype(int), len(LOCUS) - 2)
    part = (along - low)[:, None]
    return table[low] * (1 - part) + table[low + 1] * part


def real_table(name: str) -> Path:
    """Return the file of real members, environment variables filled in."""
    filled = os.path.expanduser(os.path.expandvars(name))
    if unset := re.search(r"\$\{?(\w+)\}?", filled):
        raise AstromlError(f"{name}: environment variable {unset[1]} is not set; export it first")
    if not Path(filled).is_file():
        raise AstromlError(f"members: {filled}: no such table; name a FITS table that exists")
    return Path(filled)


@cache
def real_members(name: str, wavelengths: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Read real red-sequence galaxies: how far their colours are from the template's.

    The table holds ``Z``, and SDSS ``MAG`` and ``MAG_ERR`` in u, g, r, i, z (asinh magnitudes,
    which are AB magnitudes where the errors are small, as here). The difference from the red
    sequence at the galaxy's own redshift and magnitude is smooth in wavelength, unlike the
    spectrum: it is interpolated to the survey's bands, linearly in wavelength, and flat beyond the
    last band that is used. u is not used, as few of these galaxies are detected there.

    Returns
    -------
    z : (m,) array
        In order.
    offset : (m, band) array
        Magnitude minus that in i, minus that of the middle of the red sequence.
    """
    path = real_table(name)
    with fits.open(path) as hdus:
        table = hdus[1].data
        if lost := {"Z", "MAG", "MAG_ERR"} - set(table.names):
            raise AstromlError(
                f"{path}: no column {', '.join(sorted(lost))}; it has {', '.join(table.names)}"
            )
        z, mag, error = (np.asarray(table[one], float) for one in ("Z", "MAG", "MAG_ERR"))
    good = (mag[:, 1:] < NON_DETECTION).all(1) & (error[:, 1:] < WORST).all(1) & (z > 0.02)
    if good.sum() < NEAR:
        raise AstromlError(
            f"{path}: found {good.sum()} galaxies with errors below {WORST} mag in g, r, i, z, "
            f"expected at least {NEAR}; name a larger table"
        )
    z, mag = z[good], mag[good, 1:]
    depth = mag[:, 2] - m_star(z, REFERENCE)
    middle = red_sequence(z, depth, np.zeros(mag.shape), SDSS[1:])
    away = mag - mag[:, 2:3] - middle
    offset = np.stack([_between(one, away) for one in wavelengths], 1)
    offset -= _between(REFERENCE, away)[:, None]
    order = np.argsort(z, kind="stable")
    return z[order], offset[order]


def _between(wavelength: float, values: np.ndarray) -> np.ndarray:
    """Return values (m, g r i z) at another wavelength."""
    place = np.interp(wavelength, SDSS[1:], np.arange(4))
    low = min(int(place), 2)
    return values[:, low] * (1 - place + low) + values[:, low + 1] * (place - low)


def real_colours(name: str, z, depth, uniform, template, wavelengths) -> np.ndarray:
    """Return magnitudes minus that in i, (n, band), of members that have real galaxies' colours.

    Each gets the colours of one of the ``NEAR`` real galaxies nearest in redshift, moved to its
    own redshift and magnitude by the template and its slope; a member outside the table's
    redshifts keeps the template's, as no real galaxy tells what it looks like.

    Parameters
    ----------
    name : str
        The table; see ``real_members``.
    z, depth, uniform : (n,) array
        Redshift; i magnitude minus m*; uniform deviates.
    template : (n, band) array
        What ``red_sequence`` returned.
    wavelengths : (band,) array
        nm
    """
    wavelengths = tuple(float(one) for one in wavelengths)
    real_z, offset = real_members(name, wavelengths)
    near = np.searchsorted(real_z, z) - NEAR // 2 + (uniform * NEAR).astype(int)
    near = np.clip(near, 0, len(real_z) - 1)
    known = (z >= real_z[0]) & (z <= real_z[-1])
    real = red_sequence(z, depth, np.zeros(template.shape), wavelengths) + offset[near]
    return np.where(known[:, None], real, template)
