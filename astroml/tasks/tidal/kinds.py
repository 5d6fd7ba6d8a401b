"""What the sky of tidal features holds: classes, what is mistaken for them, and their numbers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from astroml.config import Strict

CLASSES = ("stream", "shell", "tail", "diffuse")
"""Classes of features; an object may have several."""

BITS = {name: 1 << place for place, name in enumerate(CLASSES)}
"""Bits of the store's plane ``truth``."""

POSITIVE = "tidal"
"""Kind of the objects that have a feature."""

NEGATIVES = (
    "twin",
    "plain",
    "spiral",
    "neighbours",
    "pair",
    "cirrus",
    "halo",
    "ghost",
    "flat",
)
"""Kinds of objects without a feature: a twin is a tidal galaxy without it, seed for seed; plain
hosts; strong spiral arms; overlapping galaxies; two equal galaxies in contact; Galactic cirrus; a
bright star's halo; its reflection; residue of the flat field."""

NUISANCES = ("cirrus", "halo", "ghost", "flat")
"""Negatives that lie over the galaxy, and over some of the others too."""


class Sky(Strict):
    """The simulated sky of tidal features."""

    objects: int = Field(4000, ge=1, description="Objects drawn: tidal galaxies and negatives.")
    tidal_fraction: float = Field(0.5, ge=0, le=1, description="Fraction that have a feature.")
    classes: dict[str, float] = Field(
        {"stream": 1.0, "shell": 1.0, "tail": 1.0, "diffuse": 1.0},
        description="Relative numbers of the classes of features.",
    )
    several: float = Field(
        0.15, ge=0, le=1, description="Share of tidal galaxies with features of two classes."
    )
    mu: tuple[float, float] = Field(
        (24.5, 28.5),
        description="Range of the features' mean surface brightness in r at rest, mag/arcsec2.",
    )
    mu_law: Literal["flat", "sky"] = Field(
        "flat",
        description="Flat in surface brightness (to train), or as on the sky (to test): 25.5 to 28 "
        "within mu, ever more to the faint.",
    )
    reach: float = Field(
        34.0, gt=5, description="Largest extent of features from the host's centre, arcsec."
    )
    strength: float = Field(
        1.0,
        ge=0,
        description="Factor on the features' light that labels know nothing of; 0 removes it: what "
        "still tells tidal galaxies from twins and plain ones, all else equal, is a leak.",
    )
    nuisances: float = Field(
        0.12,
        ge=0,
        le=1,
        description="Share of all objects, tidal or not, with cirrus, halo, ghost or flat residue.",
    )
    negatives: dict[str, float] = Field(
        {
            "twin": 3.0,
            "plain": 1.5,
            "spiral": 1.5,
            "neighbours": 1.5,
            "pair": 0.7,
            "cirrus": 1.0,
            "halo": 0.7,
            "ghost": 0.5,
            "flat": 0.8,
        },
        description="Relative numbers of the kinds of negatives.",
    )
