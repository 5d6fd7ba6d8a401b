"""What the report draws of the tidal features, as numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from astroml.resampling import curve
from astroml.tasks import Panel
from astroml.tasks.tidal.kinds import CLASSES
from astroml.tasks.tidal.metrics import (
    BRIGHT,
    EDGES,
    FEWEST,
    LABEL,
    PREVALENCES,
    STATED,
    brighter,
    contaminated,
    threshold,
)


def panels(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> list[Panel]:
    """Return the figures of labelled rows.

    Parameters
    ----------
    truth : dict
        ``is_tidal`` (n,), the classes, ``mu_feature``, ``feature_flux``, where they are known.
    rows : dict
        The task's columns (n,).
    """
    yes = np.asarray(truth[LABEL]).astype(bool)
    bright = brighter(truth, BRIGHT)
    if not bright.any() or yes.all():
        return []
    drawn = [_contamination(rows, bright, ~yes)]
    if "mu_feature" in truth:
        drawn.append(_recall(truth, rows, yes, bright))
    if "feature_flux" in truth and (bright & (truth["feature_flux"] > 0)).any():
        drawn.append(_flux(truth, rows, bright & (np.asarray(truth["feature_flux"]) > 0)))
    return drawn


def _contamination(rows: dict, bright: np.ndarray, no: np.ndarray) -> Panel:
    """Return contamination against completeness at each prevalence."""
    rank = np.asarray(rows["tidal_score"], float)
    true, false = curve(rank, bright, no)(np.ones(len(rank)))
    share = true / true[-1]
    at = np.unique(np.searchsorted(share, [*np.arange(0.1, 0.95, 0.1), 0.95]))
    # Of so many chance intruders the relative error is one over the root of their number.
    loose = 1 / np.sqrt(false[at] + 1)
    series = {}
    for p in PREVALENCES:
        part = contaminated(true, false, p)[at]
        series[f"prevalence {p}%"] = (share[at], part, part * (1 - part) * loose)
    return Panel(
        kind="points",
        title="Contamination against completeness",
        alt="Share of the selected objects without a feature against the share of bright features "
        "selected, at three prevalences.",
        text=f"Features brighter than {BRIGHT} mag/arcsec2; the band ends at 20% contamination. "
        "Bars: chance in the number of objects without a feature that pass.",
        x_label="completeness",
        y_label="contamination",
        data={"series": series, "bands": [(0.0, 0.2)]},
    )


def _recall(truth: dict, rows: dict, yes: np.ndarray, bright: np.ndarray) -> Panel:
    """Return recall against surface brightness, of all features and of each class."""
    rank = np.asarray(rows["tidal_score"], float)
    found = rank >= threshold(rank, bright, ~yes, STATED, 20)
    groups = {"all": yes} | {
        name: np.asarray(truth[name]) == 1 for name in CLASSES if name in truth
    }
    series = {}
    for name, which in groups.items():
        points = []
        for low, high in pairwise(EDGES):
            inside = which & yes & (truth["mu_feature"] >= low) & (truth["mu_feature"] < high)
            if (n := inside.sum()) >= FEWEST:
                share = found[inside].mean()
                error = np.sqrt(share * (1 - share) / n + 0.25 / n**2)
                points.append(((low + high) / 2, share, error))
        if points:
            series[name] = tuple(np.array(points).T)
    return Panel(
        kind="points",
        title="How faint features are found",
        alt="Share of features above the threshold against their mean surface brightness.",
        text=f"Above the threshold of 20% contamination of features brighter than {BRIGHT} "
        f"mag/arcsec2, if {STATED}% of the galaxies have one.",
        x_label="mean surface brightness in r [mag/arcsec2]",
        y_label="share found",
        data={"series": series, "bands": []},
    )


def _flux(truth: dict, rows: dict, which: np.ndarray) -> Panel:
    true = np.log10(np.asarray(truth["feature_flux"], float)[which])
    measured = np.asarray(rows["feature_flux"], float)[which]
    seen = measured > 0
    return Panel(
        kind="density",
        title="Flux of the features",
        alt=f"Measured against true flux of {seen.sum()} bright features.",
        text=f"{seen.sum()} of {which.sum()} features brighter than {BRIGHT} mag/arcsec2 have a "
        "mask with positive flux. What lies outside the mask is missing.",
        x_label="log10 true flux in r [nJy]",
        y_label="log10 flux in the mask [nJy]",
        data={"x": true[seen], "y": np.log10(measured[seen])},
    )
