"""What a set of p(z) is worth against spectroscopic redshifts.

Point estimates follow the LSST Science Book as RAIL and qp have it (dz = (z_phot - z_spec) /
(1 + z_spec)), PDFs follow Schmidt et al. 2020, MNRAS 499, 1587.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from astroml.tasks.photoz import pdf

METHODS = {"knn": "k nearest neighbours", "gbdt": "gradient boosting"}
"""What the network is measured against: the column of its redshifts is ``z_<name>``."""

AXES = {"zphot": "z_phot", "zspec": "z_spec", "mag": "magnitude"}
"""What metrics are binned in -> its name for people: they are called
``<metric>_<axis>_<low>_<high>``."""

WIDTHS = {"zphot": 0.05, "zspec": 0.05, "mag": 0.5}
"""Widths of the bins; their edges are multiples of them."""

FEWEST = 30
"""Objects without which a bin is not told."""

MANY = 100
"""Objects that a bin in z_phot must exceed to count for ``max_abs_bias_in_zphot_bins``."""

MOST = 4000
"""Objects per resampling at most; the scatter is scaled to the whole sample."""

BLOCK = 10_000
"""Objects whose p(z) are looked at together."""

MEASURED = ("dz", "pit", "crps", "cde", "in_68", "in_95")
"""Quantities of ``per_object`` that the network's metrics are made of."""

NJY_AT_0 = 31.4
"""AB magnitude of 1 nJy."""

AGAINST: dict = {}
"""Labels that completeness would be drawn against: there is none of redshifts."""

ERROR = "|dz|"
"""What ``error`` returns, for people."""

CAVEAT = (
    "Redshifts are learnt from galaxies that have a spectrum: brighter and redder ones than most "
    "of a survey's. Of an object of a kind that the training sample lacks, z_phot and the width "
    "of p(z) mean nothing, and not all of these are flagged unlike. If the training galaxies were "
    "rendered from measured photometry, colours are nature's but shapes are drawn, so that pixels "
    "may promise more, or less, than on real images. p(z) is calibrated for galaxies like those "
    "of the validation split only."
)
"""What a reader of the report must know."""

_POINT = {
    "bias": ("Bias", "Median of dz = (z_phot - z_spec) / (1 + z_spec)."),
    "sigma_mad": ("Scatter sigma_MAD", "1.4826 times the median of |dz - median dz|."),
    "eta_005": ("Share with |dz| > 0.05", "Share of objects with |dz| above 0.05."),
    "outlier_rate": (
        "Outliers",
        "Share with |dz| above 0.06 and above 3 sigma_IQR, where sigma_IQR is the interquartile "
        "range of dz over 1.349.",
    ),
}

_QUANTITIES = _POINT | {
    "coverage_68": ("Coverage of the 68% interval", "Share of z_spec inside; 0.68 is right."),
    "mean_bias": ("Mean dz", "Mean of dz, outliers and all."),
    "eta_015": ("Share with |dz| > 0.15", "Share of objects with |dz| above 0.15."),
    "crps": (
        "CRPS",
        "Mean of the integral of (CDF - step at z_spec) squared: the distance of p(z) from the "
        "truth, in redshift; 0 is perfect, and sharp and honest p(z) are low.",
    ),
    "pit_ks": (
        "PIT, distance from uniform",
        "Kolmogorov-Smirnov distance of CDF(z_spec) from uniform; 0 if all p(z) are calibrated. "
        "Chance alone gives about 0.87 / sqrt(n).",
    ),
    "pit_outlier_rate": (
        "PIT outliers",
        "Share of z_spec where p(z) leaves less than 1e-4 below or above; 0.0002 is right.",
    ),
    "cde_loss": (
        "CDE loss",
        "Mean of integral p(z)^2 dz - 2 p(z_spec) (Izbicki & Lee 2017): lower is better, and only "
        "its differences between methods mean anything.",
    ),
    "coverage_95": ("Coverage of the 95% interval", "Share of z_spec inside; 0.95 is right."),
}
"""Metrics of the network, overall and in bins, the most wanted first."""

METRICS = {
    **_QUANTITIES,
    "max_abs_bias_in_zphot_bins": (
        "Largest bias in a bin of z_phot",
        f"Largest |bias| of the bins in z_phot, {WIDTHS['zphot']} wide, that hold more than "
        f"{MANY} objects.",
    ),
    **{
        f"{name}_{method}": (f"{words[0]}, {METHODS[method]}", words[1])
        for method in METHODS
        for name, words in _POINT.items()
    },
    **{
        f"{name}_{axis}_*": (f"{words[0]}, {title} *", words[1])
        for axis, title in AXES.items()
        for name, words in _QUANTITIES.items()
    },
}
"""metric (``*`` stands for any text) -> its name for people, and what it means."""

SHARES = {"eta_005", "eta_015", "outlier_rate", "pit_outlier_rate", "coverage_68", "coverage_95"}
"""Metrics that are plain shares of the objects."""


def score(
    truth: dict[str, np.ndarray], rows: dict[str, np.ndarray], bootstrap: int = 200, seed: int = 1
) -> dict[str, tuple[float, float]]:
    """Measure redshifts on labelled rows.

    Parameters
    ----------
    truth : dict
        ``z_spec`` (n,); where they are to be binned in magnitude also ``flux_<band>``, nJy, and
        ``mw_transmission_<band>`` (n,).
    rows : dict
        What ``rows`` returned, in the order of ``truth``; with ``z_knn`` or ``z_gbdt`` (n,) these
        are measured too.
    bootstrap : int
        Resamplings of the rows, from whose scatter the uncertainty comes.
    seed : int
        Seed of the resamplings.

    Returns
    -------
    dict
        metric -> (value, uncertainty), as ``METRICS`` explains them. The uncertainty is the
        standard deviation over the resamplings; for shares at least half the 68% Wilson interval,
        so that 0 of 20 is not "0 +- 0". NaN where there is no such bin.
    """
    rng = np.random.default_rng(seed)
    facts = per_object(truth, rows)
    found = _with_errors(_network, {name: facts[name] for name in MEASURED}, bootstrap, rng)
    found["max_abs_bias_in_zphot_bins"] = (np.nan, np.nan)
    for method in METHODS:
        if f"dz_{method}" in facts:
            own = {"dz": facts[f"dz_{method}"]}
            values = point_metrics(own, bootstrap, rng)
            found |= {f"{name}_{method}": values[name] for name in _POINT}
    many = []
    for axis in AXES:
        for (low, high), members in bins_of(facts[axis], WIDTHS[axis]).items():
            part = {name: facts[name][members] for name in MEASURED}
            values = _with_errors(_network, part, bootstrap, rng)
            digits = 1 if axis == "mag" else 2
            where = f"{axis}_{low:.{digits}f}_{high:.{digits}f}"
            found |= {f"{name}_{where}": value for name, value in values.items()}
            if axis == "zphot" and len(members) > MANY:
                many.append(values["bias"])
    if many:
        value, error = max(many, key=lambda bias: abs(bias[0]))
        found["max_abs_bias_in_zphot_bins"] = (abs(value), error)
    return found


def per_object(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the metrics are made of, each (n,).

    Parameters
    ----------
    truth, rows
        As for ``score``.

    Returns
    -------
    dict
        ``dz``, with the baselines' beside it as ``dz_<method>``; ``pit``, ``crps``, ``cde``;
        ``in_68``, ``in_95``; the quantities of ``AXES``, ``mag`` NaN where it is not known.
    """
    z_spec = np.asarray(truth["z_spec"], float)
    parts = [
        _of_pdf(rows, z_spec, slice(begin, begin + BLOCK))
        for begin in range(0, max(len(z_spec), 1), BLOCK)
    ]
    facts = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    for level in ("68", "95"):
        low, high = rows[f"z_low_{level}"], rows[f"z_high_{level}"]
        facts[f"in_{level}"] = ((z_spec >= low) & (z_spec <= high)).astype(float)
    facts["dz"] = _dz(rows["z_phot"], z_spec)
    for method in METHODS:
        if f"z_{method}" in rows:
            facts[f"dz_{method}"] = _dz(rows[f"z_{method}"], z_spec)
    return facts | {
        "zphot": np.asarray(rows["z_phot"], float),
        "zspec": z_spec,
        "mag": magnitude(truth),
    }


def grid_of(rows: dict[str, np.ndarray]) -> np.ndarray:
    """Return the edges (bins + 1,) of the grid that rows' p(z) are on."""
    first, step = float(rows["pz_first"][0]), float(rows["pz_step"][0])
    return first + step * (np.arange(rows["pz"].shape[1] + 1) - 0.5)


def error(truth: dict[str, np.ndarray], rows: dict[str, np.ndarray]) -> np.ndarray:
    """Return |dz| (n,) of labelled rows: how wrong each is."""
    return np.abs(_dz(rows["z_phot"], np.asarray(truth["z_spec"], float)))


def _dz(z: np.ndarray, z_spec: np.ndarray) -> np.ndarray:
    return (np.asarray(z, float) - z_spec) / (1 + z_spec)


def _of_pdf(rows: dict, z_spec: np.ndarray, which: slice) -> dict[str, np.ndarray]:
    """Return PIT, CRPS and CDE loss of some objects."""
    edges, z_spec = grid_of(rows), z_spec[which]
    mass, _ = pdf.as_mass(rows["pz"][which])
    cdf = pdf.cumulate(mass)
    density = mass / (edges[1] - edges[0])
    seen = (z_spec >= edges[0]) & (z_spec <= edges[-1])
    at_truth = density[np.arange(len(mass)), pdf.find_bin(edges, z_spec)] * seen
    return {
        "pit": pdf.cdf_at(cdf, edges, z_spec),
        "crps": crps(cdf, edges, z_spec),
        "cde": (mass * density).sum(1) - 2 * at_truth,
    }


def crps(cdf: np.ndarray, edges: np.ndarray, z_spec: np.ndarray) -> np.ndarray:
    """Return the continuous ranked probability score, exact for a CDF linear within its bins.

    The integral of (CDF(z) - [z >= z_spec])^2 over redshift (Hersbach 2000, Wea. Forecasting 15,
    559, eq. 5): a squared line from f to g over a width w integrates to w (f^2 + f g + g^2) / 3.

    Parameters
    ----------
    cdf : (n, bins + 1) array
        At the edges.
    edges : (bins + 1,) array
        Redshift, evenly spaced.
    z_spec : (n,) array
        Beyond the grid too.

    Returns
    -------
    (n,) array
        Redshift.
    """

    def area(f: np.ndarray, g: np.ndarray) -> np.ndarray:
        return (f * f + f * g + g * g) / 3

    step, low, row = edges[1] - edges[0], pdf.find_bin(edges, z_spec), np.arange(len(cdf))
    below = np.arange(len(edges) - 1) < low[:, None]
    above = np.arange(len(edges) - 1) > low[:, None]
    rest = 1 - cdf
    whole = below * area(cdf[:, :-1], cdf[:, 1:]) + above * area(rest[:, :-1], rest[:, 1:])
    # The bin with the truth is cut in two there.
    share, at = np.clip((z_spec - edges[low]) / step, 0, 1), pdf.cdf_at(cdf, edges, z_spec)
    cut = share * area(cdf[row, low], at) + (1 - share) * area(1 - at, rest[row, low + 1])
    outside = np.maximum(edges[0] - z_spec, 0) + np.maximum(z_spec - edges[-1], 0)
    return step * (whole.sum(1) + cut) + outside


def magnitude(truth: dict[str, np.ndarray]) -> np.ndarray:
    """Return AB magnitudes (n,) in r, or else in the first band there is; NaN if not known.

    They are corrected for the Milky Way's dust, where its transmission is known.
    """
    bands = flux_bands(truth)
    if not bands:
        return np.full(len(truth["z_spec"]), np.nan)
    band = "r" if "r" in bands else bands[0]
    flux = np.asarray(truth[f"flux_{band}"], float)
    flux = flux / truth.get(f"mw_transmission_{band}", 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = NJY_AT_0 - 2.5 * np.log10(flux)
    return np.where(np.isfinite(found), found, np.nan)


def flux_bands(objects: dict[str, np.ndarray]) -> list[str]:
    """Return the bands that have a flux and its error, in the table's order."""
    names = (name.removeprefix("flux_") for name in objects if name.startswith("flux_"))
    return [name for name in names if f"flux_err_{name}" in objects]


def bins_of(values: np.ndarray, width: float) -> dict[tuple[float, float], np.ndarray]:
    """Return (low, high) -> members of each bin that has ``FEWEST`` of them, from low to high.

    Parameters
    ----------
    values : (n,) array
        NaN falls in no bin.
    width : float
        Edges are multiples of it.
    """
    known = np.flatnonzero(np.isfinite(values))
    # Values are float32 seen as float64: one that stands for an edge may lie a hair below it.
    place = np.floor(values[known] / width + 1e-6).astype(int)
    order = known[np.argsort(place, kind="stable")]
    names, counts = np.unique(place, return_counts=True)
    members = np.split(order, np.cumsum(counts)[:-1]) if len(names) else []
    return {
        (float(name * width), float((name + 1) * width)): each
        for name, each in zip(names, members)
        if len(each) >= FEWEST
    }


def _points(facts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the metrics of point estimates of ``dz`` (..., n), along the last axis."""
    dz = facts["dz"]
    size = np.abs(dz)
    low, bias, high = np.percentile(dz, [25, 50, 75], axis=-1)
    cut = np.maximum(0.06, 3 * (high - low) / 1.349)
    return {
        "bias": bias,
        "sigma_mad": 1.4826 * np.median(np.abs(dz - bias[..., None]), axis=-1),
        "eta_005": (size > 0.05).mean(-1),
        "outlier_rate": (size > cut[..., None]).mean(-1),
        "mean_bias": dz.mean(-1),
        "eta_015": (size > 0.15).mean(-1),
    }


def point_metrics(
    facts: dict[str, np.ndarray], bootstrap: int, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Return value and uncertainty of each metric of point estimates, of ``dz`` (n,)."""
    return _with_errors(_points, facts, bootstrap, rng)


def _network(facts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return all metrics of the network, along the last axis of what ``per_object`` returned."""
    pit = facts["pit"]
    values = _points(facts) | {
        "coverage_68": facts["in_68"].mean(-1),
        "crps": facts["crps"].mean(-1),
        "pit_ks": pdf.ks_distance(pit),
        "pit_outlier_rate": ((pit < 1e-4) | (pit > 1 - 1e-4)).mean(-1),
        "cde_loss": facts["cde"].mean(-1),
        "coverage_95": facts["in_95"].mean(-1),
    }
    return {name: values[name] for name in _QUANTITIES}


def _with_errors(
    metrics: Callable, facts: dict[str, np.ndarray], bootstrap: int, rng: np.random.Generator
) -> dict[str, tuple[float, float]]:
    """Return each metric's value and uncertainty.

    Of large samples fewer objects than there are get drawn, and the scatter is scaled by the root
    of the ratio (m out of n: Bickel, Goetze & van Zwet 1997, Stat. Sinica 7, 1).
    """
    n = len(facts["dz"])
    drawn = min(n, MOST)
    pick = rng.integers(0, n, (bootstrap, drawn))
    draws = metrics({name: values[pick] for name, values in facts.items()})
    found = {}
    for name, value in metrics(facts).items():
        error = np.std(draws[name]) * np.sqrt(drawn / n)
        if name in SHARES:
            # Half width of the Wilson interval at one sigma (Wilson 1927).
            wilson = np.sqrt(value * (1 - value) / n + 0.25 / n**2) / (1 + 1 / n)
            error = np.fmax(error, wilson)
        found[name] = (float(value), float(error))
    return found
