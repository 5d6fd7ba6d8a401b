"""Columns of the tidal catalog."""

from __future__ import annotations

from astroml.tasks import Column
from astroml.tasks.tidal.kinds import CLASSES

MEANING = {
    "stream": "a stream, a long and narrow arc or loop",
    "shell": "shells, arcs with a sharp outer edge around the centre",
    "tail": "a tidal tail or arm",
    "diffuse": "a diffuse feature, such as a plume or a fan",
}

_CLASS_COLUMNS = tuple(
    Column(
        f"{name}_prob",
        "float32",
        "",
        "stat.probability",
        f"Probability of {MEANING[name]}, calibrated as tidal_prob; a galaxy may have several",
    )
    for name in CLASSES
)

COLUMNS = (
    Column(
        "tidal_prob",
        "float32",
        "",
        "stat.probability",
        "Probability of a tidal feature of any class, calibrated on the validation split at its "
        "share of disturbed galaxies (not at the sky's); of several networks their mean",
    ),
    Column(
        "tidal_score",
        "float32",
        "",
        "stat.value",
        "Network output before calibration, logit; of several networks their mean",
    ),
    Column(
        "tidal_prob_spread",
        "float32",
        "",
        "stat.stdev;stat.probability",
        "Standard deviation of tidal_prob between the networks of an ensemble and between passes "
        "with other units dropped; 0 for one network and no passes",
    ),
    *_CLASS_COLUMNS,
    Column(
        "feature_area",
        "float32",
        "arcsec2",
        "phys.angArea",
        "Area of the mask: usable pixels likelier a feature than not, whatever tidal_prob says; of "
        "several networks their mean",
    ),
    Column(
        "feature_mu",
        "float32",
        "mag/arcsec2",
        "phot.mag.sb;em.opt.R",
        "Mean surface brightness in the mask, AB, from feature_flux and feature_area; NaN where "
        "the mask is empty or its flux is not positive",
    ),
    Column(
        "feature_flux",
        "float32",
        "nJy",
        "phot.flux.density;em.opt.R",
        "Flux above the host's smooth light within the mask, in r or the band nearest to it; not "
        "corrected for what lies outside the mask, nor for the Milky Way's dust",
    ),
    Column(
        "feature_flux_err",
        "float32",
        "nJy",
        "stat.error;phot.flux.density;em.opt.R",
        "Error of feature_flux: background noise on the scale of 8 px, scaled to the mask's area, "
        "and the error of the host's rings under the mask, in quadrature, and of several networks "
        "the scatter between them; the choice of the mask itself is not in it",
    ),
)
