"""The figures of the report, as numbers: the parameters of lenses that can be detected."""

from __future__ import annotations

import numpy as np

from astroml.tasks import Panel
from astroml.tasks.lens.metrics import detectable
from astroml.tasks.lens.parameters import PARAMETERS

FEWEST = 30
"""Lenses without which nothing is drawn, and the fewest in a bin."""

MOST_BINS = 6
"""Bins in theta_e over the seeing, at most."""

TOLERATED = 0.05
"""Relative bias of theta_e within which the band is shaded."""

RESAMPLED = 100
"""Resamplings behind each error bar."""

GROUPS = {
    "theta_e": ("Einstein radius", ("theta_e",), ""),
    "ellipticity": ("Ellipticity", ("e1", "e2"), ""),
    "shear": ("External shear", ("shear_1", "shear_2"), ""),
    "source": ("Source position", ("source_x", "source_y"), "arcsec"),
}
"""Parameters that are drawn together: title, names, unit."""


def panels(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> list[Panel]:
    """Return the figures of labelled rows: what is said of detectable lenses against the truth.

    Parameters
    ----------
    truth, rows
        As for ``score``.
    """
    seen = np.flatnonzero(detectable(truth))
    known = {
        name: _lens_values(truth, rows, name, seen)
        for name in PARAMETERS
        if {name, f"{name}_err"} <= set(rows) and name in truth
    }
    known = {name: values for name, values in known.items() if len(values["true"]) >= FEWEST}
    groups = {
        key: (title, [name for name in names if name in known], unit)
        for key, (title, names, unit) in GROUPS.items()
    }
    drawn = [_density(known["theta_e"])] if "theta_e" in known else []
    if known and {"theta_e", "seeing"} <= set(truth):
        # Of fewer lenses than two bins take there is no trend to see.
        many = {name for name, values in known.items() if len(values["true"]) >= 2 * FEWEST}
        drawn += [_against_size(known, *group) for group in groups.values() if {*group[1]} & many]
    return drawn + ([_coverage(known, groups)] if known else [])


def _lens_values(truth: dict, rows: dict, name: str, seen: np.ndarray) -> dict[str, np.ndarray]:
    """Return true and measured values, errors and theta_e over the FWHM, each (k,)."""
    found = {"true": truth[name], "value": rows[name], "error": rows[f"{name}_err"]}
    if {"theta_e", "seeing"} <= set(truth):
        found["size"] = truth["theta_e"] / truth["seeing"]
    found = {key: np.asarray(values, float)[seen] for key, values in found.items()}
    good = np.isfinite(found["true"]) & np.isfinite(found["value"]) & (found["error"] > 0)
    if PARAMETERS[name].log:
        good &= (found["true"] > 0) & (found["value"] > 0)
    return {key: values[good] for key, values in found.items()}


def _density(theta_e: dict[str, np.ndarray]) -> Panel:
    n = len(theta_e["true"])
    return Panel(
        kind="density",
        title="Einstein radius, measured against true",
        alt=f"Density of {n} lenses in measured against true theta_e, with the line of equality.",
        text=f"{n:,} detectable lenses of the test set, found or not. Where a cutout tells little, "
        "the estimate leans toward the middle of the radii trained on.",
        x_label="true theta_e [arcsec]",
        y_label="measured theta_e [arcsec]",
        data={"x": theta_e["true"], "y": theta_e["value"]},
    )


def _against_size(known: dict, title: str, names: list[str], unit: str) -> Panel:
    """Return bias and 68% half-width of some parameters in bins of theta_e over the FWHM."""
    relative = PARAMETERS[names[0]].log
    series = {}
    for kind, at in (("bias", 0), ("half-width", 1)):
        for name in names:
            x, measured = _binned(known[name], relative)
            label = kind if len(names) == 1 else f"{name}: {kind}"
            series[label] = (x, measured[at], measured[2 + at])
    text = (
        "Median of measured - true, and half the width of its central 68%, of detectable lenses in "
        "bins of equal numbers; errors from resampling."
    )
    label = "(measured - true) / true"
    if not relative:
        label = f"measured - true [{unit}]" if unit else "measured - true"
        prior = np.concatenate([known[name]["true"] for name in names])
        width = _half_width(prior)[0]
        # Whoever says the same of every lens is wrong by this much.
        series["spread of the truth"] = (x, np.full(len(x), width), None)
        text += (
            " Dotted, no points: half-width of the truth; an error as wide as that tells nothing."
        )
    else:
        text += f" Shaded: |bias| below {TOLERATED:g}."
    return Panel(
        kind="points",
        title=f"{title}: bias and scatter",
        alt=f"Bias and half-width of {', '.join(names)} against theta_e over the FWHM.",
        text=text,
        x_label="theta_e / FWHM of the seeing",
        y_label=label,
        data={"series": series, "bands": [(-TOLERATED, TOLERATED)] if relative else []},
    )


def _binned(values: dict[str, np.ndarray], relative: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return median theta_e / FWHM (k,) of each bin, and of its residuals (4, k).

    They are bias, half-width, and the errors of both.
    """
    wrong = values["value"] - values["true"]
    if relative:
        wrong = wrong / values["true"]
    order = np.argsort(values["size"], kind="stable")
    bins = np.array_split(order, int(np.clip(len(order) // FEWEST, 1, MOST_BINS)))
    rng, lines = np.random.default_rng(1), []
    for members in bins:
        mine = wrong[members]
        half, middle = _half_width(mine)
        draws = _half_width(mine[rng.integers(0, len(mine), (RESAMPLED, len(mine)))])
        lines.append((middle, half, draws[1].std(), draws[0].std()))
    return np.array([np.median(values["size"][members]) for members in bins]), np.array(lines).T


def _half_width(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return half the width of the central 68%, and the median, along the last axis."""
    low, middle, high = np.quantile(values, [0.1587, 0.5, 0.8413], axis=-1)
    return (high - low) / 2, middle


def _coverage(known: dict, groups: dict) -> Panel:
    """Return the share of true values within intervals of the claimed errors."""
    from scipy.stats import norm

    claimed = np.append(np.arange(0.1, 0.91, 0.1), 0.95)
    series = {}
    for title, names, _ in groups.values():
        if not names:
            continue
        pull = np.abs(np.concatenate([_pull(known[name], name) for name in names]))
        lenses = len(known[names[0]]["true"])
        share = (pull[:, None] <= norm.ppf((1 + claimed) / 2)).mean(0)
        # The two components of a lens are no two lenses.
        series[title] = (claimed, share, np.sqrt(share * (1 - share) / lenses))
    return Panel(
        kind="points",
        title="Do the errors hold what they claim?",
        alt="Share of true values within the claimed errors, against the probability claimed.",
        text="Intervals of the claimed errors taken as normal, of theta_e as log-normal. Below the "
        "line errors are too small, above it too large; they were calibrated at 0.68 on the "
        "lenses of the validation split.",
        x_label="probability claimed",
        y_label="share of true values inside",
        data={"series": series | {"exact": (claimed, claimed, None)}, "bands": []},
    )


def _pull(values: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return residuals in units of the claimed sigma, where they are normally distributed."""
    if not PARAMETERS[name].log:
        return (values["true"] - values["value"]) / values["error"]
    # The error of a log-normal value is its median times sinh(sigma), see ``Parameter.told``.
    sigma = np.arcsinh(values["error"] / values["value"])
    return np.log(values["true"] / values["value"]) / sigma
