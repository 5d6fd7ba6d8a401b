"""Draw tidal features: shape, size and place by class, in kpc; brightness; colours.

Sizes are those of the surveys of tidal features: streams 30 to 150 kpc long, shells at 20 to 60
kpc, tails to 70 kpc (Atkinson et al. 2013, ApJ 765, 28; Martinez-Delgado et al. 2010, AJ 140, 962).
"""

from __future__ import annotations

import math

import numpy as np

from astroml.sky.counts import WAVELENGTH
from astroml.sky.debris import FAN, FEATURE_NAMES, ORBIT, SHELLS, SPIRAL
from astroml.sky.lensing import angular_scale

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


SLOTS = 2
"""Features that an object may have."""


def table(rngs: dict[int, np.random.Generator], hosts: dict, sky, wavelengths) -> dict:
    """Draw the features of some galaxies.

    Parameters
    ----------
    rngs : dict
        Row -> its source of randomness; other rows get no feature.
    hosts : dict of (n, ...) arrays
        ``z``; ``radius``, half-light, arcsec; ``phi``, rad; ``light`` (n, band), nJy as they are
        seen; ``dust`` (n,), the Milky Way's extinction in the band nearest to r, mag; optionally
        ``mu``, the surface brightness wanted, and ``name``, the class.
    sky : BaseModel
        ``classes``, ``several``, ``mu``, ``mu_law``, ``reach``, ``strength``.
    wavelengths : (band,) array
        nm

    Returns
    -------
    dict of arrays
        ``feature_<name>`` (n, SLOTS) of ``debris.FEATURE_NAMES``; ``feature_bit``, 1 << k for the
        k-th of ``CLASSES``, 0 for none;
        ``feature_mu`` at rest and ``feature_mu_seen``, dimmed by redshift and dust, r
        mag/arcsec2; ``feature_colour`` (n, SLOTS, band), flux over that in r; ``feature_gain``,
        the sky's strength.
    """
    n, bands, red = len(hosts["z"]), len(wavelengths), nearest(wavelengths)
    names = list(CLASSES)
    shape = {name: np.full((n, SLOTS), value, np.float32) for name, value in EMPTY.items()}
    bit, mu = np.zeros((n, SLOTS), np.int64), np.zeros((n, SLOTS))
    colour = np.zeros((n, SLOTS, bands), np.float32)
    odds = np.array([sky.classes.get(name, 0.0) for name in names])
    for row, rng in rngs.items():
        host = {name: float(hosts[name][row]) for name in ("z", "radius", "phi")}
        host["kpc"] = float(angular_scale(host["z"]))
        more = rng.random() < sky.several and (odds > 0).sum() > 1
        chosen = rng.choice(len(names), 1 + more, replace=False, p=odds / odds.sum())
        first = draw_mu(rng, sky.mu, sky.mu_law)
        if "mu" in hosts:
            first, chosen = hosts["mu"][row], [names.index(hosts["name"][row])]
        own = hosts["light"][row] / hosts["light"][row, red]
        for slot, which in enumerate(chosen):
            for name, value in draw(rng, names[which], host, sky.reach).items():
                shape[name][row, slot] = value
            bit[row, slot] = 1 << which
            mu[row, slot] = first + slot * rng.uniform(-0.5, 0.5)
            colour[row, slot] = colours(rng, own, wavelengths, wavelengths[red])
    seen = np.where(bit > 0, dimmed(mu, hosts["z"][:, None]) + hosts["dust"][:, None], 0)
    return {f"feature_{name}": values for name, values in shape.items()} | {
        "feature_bit": bit,
        "feature_mu": mu.astype(np.float32),
        "feature_mu_seen": seen.astype(np.float32),
        "feature_colour": colour,
        "feature_gain": np.full((n, SLOTS), sky.strength, np.float32),
    }


def nearest(wavelengths) -> int:
    """Return the place of the band nearest to r."""
    return int(np.abs(np.asarray(wavelengths) - WAVELENGTH).argmin())


def draw(rng: np.random.Generator, name: str, host: dict[str, float], reach: float) -> dict:
    """Draw the shape of a feature.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    name : str
        Class: ``stream``, ``shell``, ``tail`` or ``diffuse``.
    host : dict
        ``kpc`` (of one arcsec), ``radius`` (half-light, arcsec), ``phi`` (rad), of the galaxy.
    reach : float
        Largest extent, arcsec: what is larger on the sky is made smaller.

    Returns
    -------
    dict
        ``FEATURE_NAMES``, see ``debris.paint_features``.
    """
    kpc = host["kpc"]
    drawn = EMPTY | CLASSES[name](rng, host["radius"] * kpc, host["phi"])
    for size in ("radius", "inner", "width"):
        drawn[size] = drawn[size] / kpc
    if (shrink := drawn["radius"] / reach) > 1:
        for size in ("radius", "width"):
            drawn[size] /= shrink
    drawn["inner"] = min(drawn["inner"], 0.6 * drawn["radius"])
    return drawn


def _stream(rng, size: float, phi: float) -> dict:
    """Draw a piece of a rosette orbit of 30 to 150 kpc; sigma across 0.6 to 2 kpc."""
    radius, ecc = rng.uniform(18, 55), rng.uniform(0, 0.6)
    radius = max(radius, 3.5 * size / (1 - ecc / 2))
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
        "lumps": rng.uniform(0, 0.7),
        "lump_phase": rng.uniform(0, 2 * math.pi),
    }


def _shell(rng, size: float, phi: float) -> dict:
    """Draw one to four arcs on alternating sides of the major axis, 30 to 90 deg wide."""
    radius = max(rng.uniform(20, 60), 3.3 * size)
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
        "radius": max(rng.uniform(20, 70), 3.5 * inner),
        "inner": inner,
        "q": rng.uniform(0.45, 1),
        "phi": rng.uniform(0, 2 * math.pi),
        "phase": 0.0,
        "span": rng.choice([-1, 1]) * rng.uniform(0.4, 2.4),
        "width": rng.uniform(0.8, 2.0),
        "growth": rng.uniform(1.3, 3.0),
        "fade": rng.uniform(0.35, 1.2),
        "counter": rng.choice([0.0, rng.uniform(0.3, 1)], p=[0.55, 0.45]),
        "lumps": rng.uniform(0, 0.6),
        "lump_phase": rng.uniform(0, 2 * math.pi),
    }


def _diffuse(rng, size: float, phi: float) -> dict:
    """Draw a plume, short, broad and on one side, or a fan."""
    if rng.random() < 0.5:
        inner = size * rng.uniform(1.0, 1.8)
        return {
            "shape": SPIRAL,
            "radius": max(rng.uniform(18, 50), 2.3 * inner),
            "inner": inner,
            "q": rng.uniform(0.7, 1),
            "phi": rng.uniform(0, 2 * math.pi),
            "span": rng.choice([-1, 1]) * rng.uniform(0, 0.9),
            "width": rng.uniform(3.0, 6.5),
            "growth": rng.uniform(1.0, 1.8),
            "fade": rng.uniform(0.6, 3.0),
        }
    radius = max(rng.uniform(25, 60), 3.5 * size)
    return {
        "shape": FAN,
        "radius": radius,
        "inner": 1.2 * size,
        "q": rng.uniform(0.7, 1),
        "phi": rng.uniform(0, 2 * math.pi),
        "span": math.radians(rng.uniform(45, 110)),
        "width": radius * rng.uniform(0.35, 1.0),
    }


CLASSES = {"stream": _stream, "shell": _shell, "tail": _tail, "diffuse": _diffuse}
"""What draws each class, in the order of their bits."""


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
