"""Draw tidal features: shape, size and place by class, in kpc; brightness; colours.

Sizes are those of the surveys of tidal features: streams 30 to 150 kpc long, shells at 20 to 60
kpc, tails to 70 kpc (Atkinson et al. 2013, ApJ 765, 28; Martinez-Delgado et al. 2010, AJ 140, 962).
"""

from __future__ import annotations

import math

import numpy as np

from astroml.sky.debris import FAN, FEATURE_NAMES, ORBIT, SHELLS, SPIRAL

BLUER = 0.2
"""Largest g-r by which features are bluer than their host, mag."""

SCATTER = 0.03
"""Scatter of a feature's colours, mag."""

SKY_MU, SKY_SLOPE = (25.5, 28.0), 0.3
"""Range of the surface brightness of features on the sky, r mag/arcsec2 at rest, and the slope of
log10 of their number per mag: ever more to the faint."""

EMPTY = dict.fromkeys(FEATURE_NAMES, 0.0) | {
    "radius": 1.0, "inner": 1.0, "q": 1.0, "width": 1.0, "growth": 1.0, "fade": 1.0, "span": 1.0,
    "ratio": 1.0,
}  # fmt: skip
"""A slot without a feature."""


def draw(rng: np.random.Generator, name: str, host: dict[str, float], reach: float) -> dict:
    """Draw the shape of a feature.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    name : str
        Class: ``stream``, ``shell``, ``tail`` or ``diffuse``.
    host : dict
        ``kpc`` (in an arcsec), ``radius`` (half-light, arcsec), ``phi`` (rad), of the galaxy.
    reach : float
        Largest extent, arcsec: what is larger on the sky is made smaller.

    Returns
    -------
    dict
        ``FEATURE_NAMES``, see ``debris.paint_features``.
    """
    ways = {"stream": _stream, "shell": _shell, "tail": _tail, "diffuse": _diffuse}
    kpc = host["kpc"]
    drawn = EMPTY | ways[name](rng, host["radius"] * kpc, host["phi"])
    for size in ("radius", "inner", "width"):
        drawn[size] = drawn[size] / kpc
    if (shrink := drawn["radius"] / reach) > 1:
        for size in ("radius", "width"):
            drawn[size] /= shrink
    drawn["inner"] = min(drawn["inner"], 0.6 * drawn["radius"])
    return drawn


def _stream(rng, size: float, phi: float) -> dict:
    """Draw a piece of a rosette orbit of 30 to 150 kpc; sigma across 0.6 to 2 kpc."""
    radius, ecc = rng.uniform(15, 45), rng.uniform(0, 0.6)
    radius = max(radius, 2.2 * size)
    mean = radius * (1 - ecc / 2)
    return {
        "shape": ORBIT,
        "radius": radius,
        "ecc": ecc,
        # Between a point mass (1) and a harmonic well (2): near that of a flat rotation curve.
        "kappa": rng.uniform(1.25, 1.6),
        "phase": rng.uniform(0, 2 * math.pi) + math.pi,
        "span": float(np.clip(rng.uniform(30, 150) / mean, 0.8, 7.0)),
        "q": rng.uniform(0.3, 1),
        "phi": rng.uniform(0, 2 * math.pi),
        "width": math.exp(rng.uniform(math.log(0.6), math.log(2.0))),
        "growth": rng.uniform(0.8, 1.4),
        "fade": rng.uniform(0.2, 0.6),
    }


def _shell(rng, size: float, phi: float) -> dict:
    """Draw one to four arcs on alternating sides of the major axis, 30 to 90 deg wide."""
    radius = max(rng.uniform(20, 60), 2.5 * size)
    return {
        "shape": SHELLS,
        "radius": radius,
        "q": rng.uniform(0.75, 1.0),
        "phi": phi + rng.normal(0, 0.25),
        "phase": rng.choice([0.0, math.pi]),
        "span": math.radians(rng.uniform(30, 90)),
        "width": radius * rng.uniform(0.07, 0.22),
        "count": float(rng.choice([1, 2, 3, 4], p=[0.3, 0.35, 0.2, 0.15])),
        "ratio": rng.uniform(0.62, 0.85),
    }


def _tail(rng, size: float, phi: float) -> dict:
    """Draw one or two curved tails that leave the disc, widen and fade."""
    inner = size * rng.uniform(1.0, 1.6)
    return {
        "shape": SPIRAL,
        "radius": max(rng.uniform(20, 70), 2.5 * inner),
        "inner": inner,
        "q": rng.uniform(0.45, 1),
        "phi": rng.uniform(0, 2 * math.pi),
        "phase": 0.0,
        "span": rng.choice([-1, 1]) * rng.uniform(0.4, 2.4),
        "width": rng.uniform(0.8, 2.0),
        "growth": rng.uniform(1.3, 3.0),
        "fade": rng.uniform(0.35, 1.2),
        "counter": rng.choice([0.0, rng.uniform(0.3, 1)], p=[0.55, 0.45]),
    }


def _diffuse(rng, size: float, phi: float) -> dict:
    """Draw a plume, short, broad and on one side, or a fan."""
    if rng.random() < 0.5:
        inner = size * rng.uniform(1.0, 1.8)
        return {
            "shape": SPIRAL,
            "radius": max(rng.uniform(18, 50), 1.8 * inner),
            "inner": inner,
            "q": rng.uniform(0.7, 1),
            "phi": rng.uniform(0, 2 * math.pi),
            "span": rng.choice([-1, 1]) * rng.uniform(0, 0.9),
            "width": rng.uniform(3.0, 6.5),
            "growth": rng.uniform(1.0, 1.8),
            "fade": rng.uniform(0.6, 3.0),
        }
    radius = max(rng.uniform(25, 60), 3 * size)
    return {
        "shape": FAN,
        "radius": radius,
        "inner": 1.2 * size,
        "q": rng.uniform(0.7, 1),
        "phi": rng.uniform(0, 2 * math.pi),
        "span": math.radians(rng.uniform(45, 110)),
        "width": radius * rng.uniform(0.35, 1.0),
    }


def draw_mu(rng: np.random.Generator, limits: tuple[float, float], law: str) -> float:
    """Draw a mean surface brightness at rest, r mag/arcsec2: ``flat``, or as on the ``sky``."""
    low, high = limits
    if law == "flat":
        return rng.uniform(low, high)
    low, high = max(low, SKY_MU[0]), min(high, SKY_MU[1])
    ends = 10 ** (SKY_SLOPE * low), 10 ** (SKY_SLOPE * max(high, low))
    return math.log10(rng.uniform(*ends)) / SKY_SLOPE


def dimmed(mu, z):
    """Return surface brightness as seen from redshift ``z``, mag: (1 + z)^4 (Tolman 1930)."""
    return mu + 10 * np.log10(1 + np.asarray(z))


def colours(rng: np.random.Generator, host, wavelengths, reference: float) -> np.ndarray:
    """Draw a feature's flux in each band over that at ``reference`` nm, (band,).

    Parameters
    ----------
    host : (band,) array
        The host's own, as it is seen.
    wavelengths : (band,) array
        nm
    """
    bluer = rng.uniform(0, BLUER)
    # A power law that makes g-r, 475 to 620 nm, bluer by so much.
    tilt = np.log(np.asarray(wavelengths) / reference) / math.log(620 / 475)
    offset = bluer * tilt + rng.normal(0, SCATTER, len(wavelengths)) * (tilt != 0)
    return np.asarray(host) * 10 ** (-0.4 * offset)
