"""Where an object lies and how it is seen: position, seeing, noise, reddening, defects."""

from __future__ import annotations

import math

import numpy as np

from astroml.sky import galaxies, noise
from astroml.survey import Survey, njy_per_unit

PATCH, PLACE, DEFECT = 100, 101, 102
"""Streams of random numbers that are drawn here; a task's own are below 100."""


UNITS = {
    "ra": "deg",
    "dec": "deg",
    "ebv": "mag",
    "seeing": "arcsec",
    "psf_fwhm": "arcsec",
    "psf_phi": "rad",
    "sigma": "nJy",
    "background": "nJy",
}
"""Units of where an object is, and how it is seen."""


def stream(seed: int, which: int, *index: int) -> np.random.Generator:
    """Return the generator of one object for one purpose, whatever else is drawn."""
    return np.random.default_rng([seed, which, *index])


def conditions(rng: np.random.Generator, survey: Survey) -> dict:
    """Draw seeing, noise, sky residue and reddening of one pointing."""
    bands = list(survey.bands.values())
    fwhm = np.array([band.psf_fwhm for band in bands])
    sigma = np.array([band.sigma * njy_per_unit(band.zero_point) for band in bands])
    sigma = sigma * np.exp(rng.normal(0, 0.06, len(bands)))
    round_ = min(rng.rayleigh(survey.psf.ellipticity / 1.25), 0.3)
    return {
        "psf_fwhm": fwhm * np.exp(rng.normal(0, survey.psf.scatter, len(bands))),
        "psf_q": (1 - round_) / (1 + round_),
        "psf_phi": galaxies.angle(rng),
        "sigma": sigma,
        "background": sigma * rng.normal(0, 0.05, len(bands)),
        "ebv": min(0.3, 0.04 * math.exp(rng.normal(0, 0.6))),
    }


def defects(seed: int, rows: int) -> dict[str, np.ndarray]:
    """Draw the defects of each object's own pixels; 95 of 100 have none."""
    kinds = (noise.CLEAN, noise.COLUMN, noise.COSMIC, noise.EDGE, noise.TRAIL)
    odds = (0.95, 0.015, 0.015, 0.01, 0.01)
    drawn = []
    for index in range(rows):
        rng = stream(seed, DEFECT, index)
        drawn.append((rng.choice(kinds, p=odds), *rng.random(3)))
    names = ("defect", "defect_place", "defect_angle", "defect_band")
    return {
        name: np.array([one[which] for one in drawn], int if which == 0 else float)
        for which, name in enumerate(names)
    }


def places(seed: int, key: np.ndarray) -> dict[str, np.ndarray]:
    """Draw positions on a patch of 6 x 6 deg; objects of one key lie within 20 arcsec."""
    centre = stream(seed, PATCH, 0)
    ra_0, dec_0 = centre.uniform(0, 360), centre.uniform(-30, 30)
    ra, dec = np.empty(len(key)), np.empty(len(key))
    for index, at in enumerate(key):
        east, north = stream(seed, PLACE, at).uniform(-3, 3, 2)
        # Nobody sits on top of the lens: a twin lies up to 14 arcsec beside it.
        if index != at:
            step = stream(seed, PLACE, index).uniform(-10, 10, 2) / 3600
            east, north = east + step[0], north + step[1]
        dec[index] = dec_0 + north
        ra[index] = (ra_0 + east / math.cos(math.radians(dec[index]))) % 360
    return {"ra": ra, "dec": dec}
