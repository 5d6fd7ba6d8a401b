"""What the network says, held against the clusters of the validation split."""

from __future__ import annotations

import numpy as np

from astroml.calibration import platt, probability
from astroml.tasks.cluster import redshift
from astroml.tasks.cluster.match import listed, match, match_places

NONE = -19.0
"""Peaks whose logit is below are none: they fill up the list."""

LOOKED_AT = 0.01
"""Probability below which peaks do not count for its own fit, once it is known roughly: the many
hopeless ones would bend the curve where it matters."""

BELIEVED = 0.5
"""Probability from which a peak's redshift and richness are held against the truth."""

RICH = 20
"""Richness from which clusters fix the errors, where there are enough."""

SLOPES = (0.6, 1.4)
"""Limits of the slope of measured against true ln richness."""

ERROR_FACTORS = (0.2, 5.0)
"""Limits of the factor on the error of ln richness."""

NEUTRAL = {
    "prob": [1.0, 0.0],
    "temperature": 1.0,
    "richness": [0.0, 1.0],
    "richness_err": 1.0,
}
"""What leaves the output as it is."""


def peaks_of(output: dict) -> dict[str, np.ndarray]:
    """Return the network's peaks as a list of detections.

    Parameters
    ----------
    output : dict
        ``peak_logit``, ``peak_x``, ``peak_y`` (n, P) in px, ``pixel_scale`` in arcsec.

    Returns
    -------
    dict
        ``tile`` and ``peak``, the places of each in the arrays; ``score``, its logit; ``x``, ``y``,
        arcsec; each (d,).
    """
    logit = np.asarray(output["peak_logit"], float)
    tile, peak = np.nonzero(logit > NONE)
    scale = float(output["pixel_scale"])
    return {
        "tile": tile,
        "peak": peak,
        "score": logit[tile, peak],
        "x": np.asarray(output["peak_x"], float)[tile, peak] * scale,
        "y": np.asarray(output["peak_y"], float)[tile, peak] * scale,
    }


def calibrate(output: dict, targets: dict[str, np.ndarray]) -> dict:
    """Calibrate probabilities, redshifts and richnesses on the validation split.

    Parameters
    ----------
    output : dict
        Of the network, see ``rows``; ``options`` and ``pixel_scale``.
    targets : dict
        What ``targets`` returned, of the same tiles.

    Returns
    -------
    dict
        For the weights' card: ``prob``, [slope, offset] of the logit; ``temperature`` of p(z);
        ``richness``, [a, b] of the network's mean of ln richness = a + b truth; ``richness_err``, a
        factor on its error; ``clusters``, how many fixed the last three.
    """
    found = peaks_of(output)
    edges = redshift.bin_edges(output["options"].z_range, output["options"].z_bins)
    logits = np.asarray(output["z_logits"], float)[found["tile"], found["peak"]]
    clusters = listed(targets)
    found["z"] = redshift.describe(redshift.as_mass(logits), edges)[0]
    belongs = match(found, clusters)
    facts = dict(NEUTRAL) | {"prob": fit_probability(found["score"], belongs >= 0)}
    sure = probability(found["score"], *facts["prob"]) >= BELIEVED
    places = match_places(found, clusters, belongs)
    seen = _enough(np.flatnonzero(sure & (places >= 0)), places, clusters["richness"])
    facts["temperature"] = redshift.fit_temperature(
        logits[seen], clusters["z"][places[seen]], edges
    )
    mine = np.flatnonzero(sure & (belongs >= 0))
    mean, error = (_of_peaks(output, name, found)[mine] for name in ("mean", "error"))
    true = np.log(clusters["richness"][belongs[mine]])
    line, factor = fit_richness(mean, error, true)
    return facts | {"richness": line, "richness_err": factor, "clusters": len(mine)}


def fit_probability(score: np.ndarray, right: np.ndarray) -> list[float]:
    """Return slope and offset of the logit; 1 and 0 where all are right, or none."""
    some = np.ones(len(score), bool)
    fit = NEUTRAL["prob"]
    for _ in range(2):
        if not 0 < right[some].sum() < some.sum():
            break
        fit = list(platt(score[some], right[some].astype(float)))
        some = probability(score, *fit) >= LOOKED_AT
    return fit


def fit_richness(
    mean: np.ndarray, error: np.ndarray, true: np.ndarray
) -> tuple[list[float], float]:
    """Fit the network's ln richness as a straight line of the truth, and the error's factor.

    A network that is not sure leans to the middle of what it learnt from: turned around, the line
    takes that off, so that the estimate is right on average at each true richness. It is fitted
    where clusters are rich, if enough of them are: the many poor ones lie at the end of what the
    network knows, where what it says hardly falls any further, and would bend the line for all.

    Parameters
    ----------
    mean, error : (k,) array
        Of ln richness, as the network has them.
    true : (k,) array
        ln richness.

    Returns
    -------
    line : list of float
        a and b of mean = a + b true.
    factor : float
        On ``error / b``, with which the errors cover 68%.
    """
    if len(true) < redshift.FEWEST:
        return list(NEUTRAL["richness"]), NEUTRAL["richness_err"]
    rich = true >= np.log(RICH)
    rich = rich if rich.sum() >= redshift.FEWEST else np.ones(len(true), bool)
    near = rich
    for _ in range(5):
        middle = true[near].mean()
        shifted = true[near] - middle
        # The spread of a few objects says little about the slope: 1 is believed to 0.3.
        prior = mean[near].var() / 0.3**2
        slope = (shifted @ mean[near] + prior) / (shifted @ shifted + prior)
        slope = float(np.clip(slope, *SLOPES))
        offset = float(mean[near].mean() - slope * middle)
        rest = mean - offset - slope * true
        spread = 1.4826 * np.median(np.abs(rest - np.median(rest))[rich])
        near = rich & (np.abs(rest) <= 3 * max(spread, 1e-6))
    pull = np.abs((mean - offset) / slope - true)[rich] / np.maximum(error / slope, 1e-6)[rich]
    factor = float(np.clip(np.quantile(pull, redshift.COVERED), *ERROR_FACTORS))
    return [offset, slope], factor


def ln_richness(output: dict, fit: dict, which: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated ln richness (d,) and its error (d,) of some peaks.

    Parameters
    ----------
    output : dict
        Of the network.
    fit : dict
        What ``calibrate`` returned.
    which : dict
        ``tile`` and ``peak``, see ``peaks_of``.
    """
    offset, slope = fit["richness"]
    mean = (_of_peaks(output, "mean", which) - offset) / slope
    return mean, _of_peaks(output, "error", which) * fit["richness_err"] / slope


def _of_peaks(output: dict, name: str, which: dict) -> np.ndarray:
    if name == "mean":
        return np.asarray(output["richness_mean"], float)[which["tile"], which["peak"]]
    logvar = np.asarray(output["richness_logvar"], float)[which["tile"], which["peak"]]
    return np.exp(0.5 * np.clip(logvar, -12, 6))


def _enough(which: np.ndarray, belongs: np.ndarray, richness: np.ndarray) -> np.ndarray:
    """Return those of some detections whose clusters are rich; all where these are too few."""
    rich = which[richness[belongs[which]] >= RICH]
    return rich if len(rich) >= redshift.FEWEST else which
