"""What the sky of galaxy clusters holds: clusters, what is mistaken for them, and their numbers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from astroml.config import Strict

SLOTS = 6
"""Clusters of a tile that a store has columns for: ``cluster_z_0`` to ``cluster_z_5``."""

MIN_RICHNESS = 10
"""Fewest red members of a cluster; what has fewer is a group, and no label tells of it."""

POSITIVE = "cluster"
"""Kind of the tiles that hold a cluster."""

NEGATIVES = ("blank", "projection", "disc", "stars")
"""Kinds of tiles without a cluster: the field alone; two or three poor groups on one line of sight;
a large galaxy in the foreground; a bright star, or many stars."""


class Sky(Strict):
    """The simulated sky of galaxy clusters."""

    objects: int = Field(2000, ge=1, description="Tiles drawn.")
    cluster_fraction: float = Field(
        0.6, ge=0, le=1, description="Share of tiles with at least one cluster."
    )
    several: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of these that hold a second cluster, at another place and redshift.",
    )
    outside: float = Field(
        0.03,
        ge=0,
        le=1,
        description="Share of all tiles beside which, within an arcminute, lies another cluster; "
        "it is in no label.",
    )
    richness: tuple[float, float] = Field(
        (10, 150),
        description="Range of richness: red members brighter than 0.2 L* within R_lambda.",
    )
    richness_law: Literal["flat", "sky"] = Field(
        "flat",
        description="Flat in ln lambda (to train), or as on the sky (to test): numbers as "
        "lambda^-3.5.",
    )
    z: tuple[float, float] = Field((0.08, 0.65), description="Range of the clusters' redshift.")
    z_law: Literal["flat", "sky"] = Field(
        "flat", description="Flat in z, or as on the sky: by comoving volume."
    )
    negatives: dict[str, float] = Field(
        {"blank": 2.0, "projection": 1.5, "disc": 0.5, "stars": 0.5},
        description="Relative numbers of the kinds of tiles without a cluster.",
    )
    nuisances: float = Field(
        0.12,
        ge=0,
        le=1,
        description="Share of all tiles, with a cluster or not, that get a projection, a disc or "
        "a bright star besides.",
    )
    groups: float = Field(
        6.0, ge=0, description="Poor groups per tile of 5.6 arcmin, of 2 to 9 red members each."
    )
    side: float = Field(
        335.36,
        gt=20,
        description="Side of the square, arcsec, that is filled with galaxies and centres: that of "
        "the tile, 320 pixels of 1.048 arcsec; a tile may be smaller, and then lack some centres.",
    )
    members: str = Field(
        "",
        description="Table of real red-sequence galaxies whose colours the members get; "
        "environment variables are filled in. Empty: the template's colours.",
    )

    @model_validator(mode="after")
    def _in_order(self):
        for name, least in (("richness", MIN_RICHNESS), ("z", 0.05)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ValueError(
                    f"{name}: found {low} to {high}, expected two numbers in order, the first at "
                    f"least {least}"
                )
        return self
