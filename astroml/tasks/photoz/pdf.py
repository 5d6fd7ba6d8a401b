"""p(z) on a grid of bins: its CDF, what is read off it, and how it is calibrated.

A PDF is a histogram: constant within each bin, so that its CDF is linear there. The median of one
full bin is then the bin's centre; values taken at left edges would be off by half a bin.
"""

from __future__ import annotations

import numpy as np

from astroml.pz import cdf_at, cumulate, find_bin, ks_distance, quantile

ODDS = 0.06
"""Half width, in units of 1 + z, of the interval whose probability the odds are."""

LOST = 1e-3
"""Share of objects that may lie anywhere, while the calibration is fitted. Some spectroscopic
redshifts are wrong; without this share the few would widen the p(z) of all."""

FITTED = 10_000
"""Objects that the calibration is fitted on at most: they fix the temperature to 1%."""

PIT_BINS = 20
"""Bins of the PIT histograms."""

LIMITS = ((0.1, 10.0), (0.2, 5.0), (0.2, 5.0))
"""Ranges of temperature, a and b."""

BELIEVED = (0.5, 0.05, 0.3)
"""Spreads around 0 of ln T, (ln a + ln b) / 2 and (ln a - ln b) / 2 believed before any object is
seen. A small sample does not move them far; and raising a and b together does nearly the same as
lowering T, which is why they move last."""


def bin_edges(z_max: float, bins: int) -> np.ndarray:
    """Return the edges (bins + 1,) of equal bins from redshift 0."""
    return np.linspace(0.0, z_max, bins + 1)


def as_mass(pdf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities per bin that sum to 1, and which rows were none.

    Parameters
    ----------
    pdf : (n, bins) array
        Probabilities or densities, to any scale.

    Returns
    -------
    mass : (n, bins) float64 array
        Flat in rows that cannot be scaled.
    broken : (n,) array of bool
        Rows with a value that is negative or not finite, or with nothing but zeros.
    """
    pdf = np.asarray(pdf, np.float64)
    with np.errstate(invalid="ignore"):
        broken = ~(np.isfinite(pdf) & (pdf >= 0)).all(1)
    mass = np.where(broken[:, None], 1.0, pdf)
    broken |= mass.sum(1) <= 0
    mass[broken] = 1.0
    return mass / mass.sum(1, keepdims=True), broken


def describe(mass: np.ndarray, edges: np.ndarray) -> dict[str, np.ndarray]:
    """Return point estimates, central intervals and odds.

    Parameters
    ----------
    mass : (n, bins) array
        Probability of each bin.
    edges : (bins + 1,) array
        Redshift.

    Returns
    -------
    dict
        ``z_phot`` (the median), ``z_mean``, ``z_mode`` (centre of the highest bin),
        ``z_low_68``, ``z_high_68``, ``z_low_95``, ``z_high_95`` and ``odds``, the probability
        within ``ODDS`` (1 + z_mode) of z_mode (after Benitez 2000, ApJ 536, 571, sect. 4.2).
    """
    centres = (edges[:-1] + edges[1:]) / 2
    cdf = cumulate(mass)
    mode = centres[np.argmax(mass, axis=1)]
    reach = ODDS * (1 + mode)
    return {
        "z_phot": quantile(cdf, edges, 0.5),
        "z_mean": mass @ centres,
        "z_mode": mode,
        "z_low_68": quantile(cdf, edges, 0.16),
        "z_high_68": quantile(cdf, edges, 0.84),
        "z_low_95": quantile(cdf, edges, 0.025),
        "z_high_95": quantile(cdf, edges, 0.975),
        "odds": cdf_at(cdf, edges, mode + reach) - cdf_at(cdf, edges, mode - reach),
    }


def temper(mass: np.ndarray, temperature: float) -> np.ndarray:
    """Return p^(1/T), scaled to sum to 1 (Guo et al. 2017, sect. 4.2): above 1 widens."""
    # The smallest float32 stands for what a softmax rounded to nothing.
    log = np.log(np.maximum(mass, 1e-38)) / temperature
    power = np.exp(log - log.max(1, keepdims=True))
    return power / power.sum(1, keepdims=True)


def recalibrate(mass: np.ndarray, temperature: float, a: float, b: float) -> np.ndarray:
    """Return the probabilities (n, bins) whose CDF is I_{a,b} of that of p^(1/T).

    I_{a,b} is the CDF of a Beta distribution. If the PIT of the tempered p(z) follows it, that of
    the result is uniform (the recalibration of Bordoloi et al. 2010, MNRAS 406, 881, sect. 3, with
    a smooth curve of two numbers in place of the measured one).
    """
    bent = _beta_cdf(cumulate(temper(mass, temperature)), a, b)
    return np.maximum(np.diff(bent, axis=1), 0)  # the last bit of the Beta CDF may fall


def _beta_cdf(level: np.ndarray, a: float, b: float) -> np.ndarray:
    from scipy.special import betainc

    bent = level.copy()
    # Most edges lie where p(z) is over or has not begun: the slow function is not needed there.
    inside = (level > 1e-15) & (level < 1)
    bent[inside] = betainc(a, b, level[inside])
    return bent


def fit(mass: np.ndarray, z_spec: np.ndarray, edges: np.ndarray) -> dict:
    """Fit temperature and Beta recalibration by maximum likelihood of p(z_spec).

    Parameters
    ----------
    mass : (n, bins) array
        Probability of each bin; any n.
    z_spec : (n,) array
        Finite.
    edges : (bins + 1,) array
        Redshift.

    Returns
    -------
    dict
        ``temperature``; ``beta``, a and b; counts of the PIT in equal bins before and after,
        ``pit_before`` and ``pit_after``; their Kolmogorov-Smirnov distances from uniform,
        ``pit_ks_before`` and ``pit_ks_after``, None without objects.
    """
    inside = (z_spec >= edges[0]) & (z_spec <= edges[-1])
    mass, z_spec = mass[inside], z_spec[inside].astype(float)
    n = len(z_spec)
    terms = _best_terms(mass, z_spec, edges) if n else np.zeros(3)
    temperature, a, b = map(float, np.exp(terms))
    facts = {"temperature": temperature, "beta": [a, b]}
    after = recalibrate(mass, temperature, a, b)
    for when, each in {"before": mass, "after": after}.items():
        pit = cdf_at(cumulate(each), edges, z_spec)
        counts = np.histogram(pit, PIT_BINS, (0, 1))[0]
        facts |= {
            f"pit_{when}": counts.tolist(),
            f"pit_ks_{when}": float(ks_distance(pit)) if n else None,
        }
    return facts


def _best_terms(mass: np.ndarray, z_spec: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return ln T, ln a and ln b (3,) of the highest likelihood."""
    from scipy.optimize import minimize

    n = len(z_spec)
    some = np.unique(np.linspace(0, n - 1, min(n, FITTED)).round().astype(int))
    mass, low, row = mass[some], find_bin(edges, z_spec[some]), np.arange(len(some))
    step, reach = edges[1] - edges[0], edges[-1] - edges[0]

    def loss(terms: np.ndarray) -> float:
        temperature, a, b = np.exp(np.append(terms, np.zeros(3 - len(terms))))
        cdf = cumulate(temper(mass, temperature))
        found = _beta_cdf(cdf[row, low + 1], a, b) - _beta_cdf(cdf[row, low], a, b)
        likelihood = (1 - LOST) * found / step + LOST / reach
        ln_t, ln_a, ln_b = np.log([temperature, a, b])
        shape = np.array([ln_t, (ln_a + ln_b) / 2, (ln_a - ln_b) / 2])
        prior = 0.5 * np.sum((shape / BELIEVED) ** 2)
        return (prior - np.log(likelihood).sum()) / len(some)

    def lowest(start: np.ndarray) -> np.ndarray:
        bounds, exact = np.log(LIMITS[: len(start)]), {"ftol": 1e-10, "gtol": 1e-6}
        return minimize(loss, start, method="L-BFGS-B", bounds=bounds, options=exact).x

    # The temperature first: near the best fit, raising T does nearly the same as lowering a and b.
    return lowest(np.append(lowest(np.zeros(1)), [0.0, 0.0]))
