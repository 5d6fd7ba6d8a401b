"""The figures of the report, as numbers."""

from __future__ import annotations

import numpy as np

from astroml.tasks import Panel
from astroml.tasks.photoz import metrics, pdf

TOLERATED = 0.005
"""Bias within which the band is shaded."""

EXAMPLES = 6
"""Galaxies whose p(z) are drawn."""

RESAMPLED = 100
"""Resamplings behind each error bar."""


def panels(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> list[Panel]:
    """Return the figures of labelled rows.

    Parameters
    ----------
    truth, rows
        As for ``score``.
    """
    if not len(truth["z_spec"]):
        return []
    facts = metrics.per_object(truth, rows)
    drawn = [_density(facts), *_against_redshift(facts), _pit(facts), _coverage(facts)]
    drawn.append(_examples(truth, rows))
    if np.isfinite(facts["mag"]).sum() >= metrics.FEWEST:
        drawn.append(_against_magnitude(facts))
    return drawn


def _density(facts: dict[str, np.ndarray]) -> Panel:
    n = len(facts["zspec"])
    return Panel(
        kind="density",
        title="Photometric against spectroscopic redshift",
        alt=f"Density of {n} galaxies in z_phot against z_spec, with the line of equality.",
        text=f"{n:,} galaxies; z_phot is the median of p(z).",
        x_label="z_spec",
        y_label="z_phot",
        data={"x": facts["zspec"], "y": facts["zphot"]},
    )


def _binned(
    facts: dict[str, np.ndarray], axis: str, metric: str, dz: str = "dz"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centres, values and errors (k,) of a metric of ``dz`` in bins."""
    rng, lines = np.random.default_rng(1), []
    for (low, high), members in metrics.bins_of(facts[axis], metrics.WIDTHS[axis]).items():
        values = metrics.point_metrics({"dz": facts[dz][members]}, RESAMPLED, rng)
        lines.append(((low + high) / 2, *values[metric]))
    x, y, error = np.array(lines, float).reshape(-1, 3).T
    return x, y, error


def _against_redshift(facts: dict[str, np.ndarray]) -> list[Panel]:
    words = (
        f"Bins {metrics.WIDTHS['zphot']:g} wide with at least {metrics.FEWEST} galaxies; errors "
        "from resampling."
    )
    both = {
        metric: {
            f"against {metrics.AXES[axis]}": _binned(facts, axis, metric)
            for axis in ("zphot", "zspec")
        }
        for metric in ("bias", "sigma_mad")
    }
    return [
        Panel(
            kind="points",
            title="Bias against redshift",
            alt="Median dz in bins of z_phot and of z_spec.",
            text=f"{words} Shaded: |bias| below {TOLERATED:g}. In bins of z_spec any estimate "
            "leans toward the middle of the sample; in bins of z_phot an honest one does not.",
            x_label="redshift",
            y_label="median dz",
            data={"series": both["bias"], "bands": [(-TOLERATED, TOLERATED)]},
        ),
        Panel(
            kind="points",
            title="Scatter against redshift",
            alt="sigma_MAD in bins of z_phot and of z_spec.",
            text=words,
            x_label="redshift",
            y_label="sigma_MAD",
            data={"series": both["sigma_mad"], "bands": []},
        ),
    ]


def _pit(facts: dict[str, np.ndarray]) -> Panel:
    counts, edges = np.histogram(facts["pit"], pdf.PIT_BINS, (0, 1))
    distance = float(pdf.ks_distance(facts["pit"]))
    return Panel(
        kind="bars",
        title="Are the p(z) calibrated?",
        alt=f"Histogram of the PIT in {len(counts)} bins; KS distance from uniform {distance:.3f}.",
        text="CDF of p(z) at z_spec. Flat is calibrated; a U is too narrow, a hill too wide, a "
        f"slope biased. Kolmogorov-Smirnov distance from uniform: {distance:.3f}.",
        x_label="PIT",
        y_label="galaxies",
        data={"edges": edges, "counts": counts, "expected": len(facts["pit"]) / len(counts)},
    )


def _coverage(facts: dict[str, np.ndarray]) -> Panel:
    claimed = np.append(np.arange(0.1, 0.91, 0.1), 0.95)
    # z_spec lies in the central interval of a probability if its PIT is that near to one half.
    near = 2 * np.abs(facts["pit"] - 0.5)
    share = (near[:, None] <= claimed).mean(0)
    error = np.sqrt(share * (1 - share) / len(near))
    return Panel(
        kind="points",
        title="Do the intervals hold what they claim?",
        alt="Share of z_spec inside central intervals, against the probability they claim.",
        text="Central intervals of p(z); below the line they are too narrow. Errors are binomial.",
        x_label="probability claimed",
        y_label="share of z_spec inside",
        data={
            "series": {
                "measured": (claimed, share, error),
                "exact": (claimed, claimed, np.zeros(len(claimed))),
            },
            "bands": [],
        },
    )


def _against_magnitude(facts: dict[str, np.ndarray]) -> Panel:
    series = {"network": _binned(facts, "mag", "sigma_mad")}
    for method, title in metrics.METHODS.items():
        if f"dz_{method}" in facts:
            series[title] = _binned(facts, "mag", "sigma_mad", f"dz_{method}")
    return Panel(
        kind="points",
        title="Scatter against magnitude",
        alt="sigma_MAD in bins of magnitude: " + ", ".join(series) + ".",
        text="All methods on the same galaxies and the same noisy fluxes; bins of "
        f"{metrics.WIDTHS['mag']:g} mag (r, or the first band there is).",
        x_label="magnitude",
        y_label="sigma_MAD",
        data={"series": series, "bands": []},
    )


def _examples(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> Panel:
    """Return p(z) of galaxies at equal steps through the sample, sorted by z_phot."""
    order = np.argsort(rows["z_phot"], kind="stable")
    places = (np.arange(EXAMPLES) + 0.5) / EXAMPLES * len(order)
    some = order[np.unique(places.astype(int))]
    edges = metrics.grid_of(rows)
    centres = (edges[:-1] + edges[1:]) / 2
    marks = {"z_spec": truth["z_spec"][some], "z_phot": rows["z_phot"][some]}
    return Panel(
        kind="curves",
        title="Some p(z)",
        alt=f"p(z) of {len(some)} galaxies, with z_spec and z_phot marked.",
        text="Galaxies taken at equal steps in the order of z_phot, not chosen by eye.",
        x_label="redshift",
        y_label="p(z)",
        data={
            "series": {str(rows["object_id"][one]): (centres, rows["pz"][one]) for one in some},
            "marks": {name: np.asarray(values, float) for name, values in marks.items()},
        },
    )
