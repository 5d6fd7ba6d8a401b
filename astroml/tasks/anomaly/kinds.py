"""What the sky of the anomaly search holds: ordinary galaxies, rare ones, artefacts."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from astroml.config import Strict

INTERESTING = ("merger", "ring", "lens", "polar_ring", "extreme_colour")
"""Kinds of objects that a person would want to see."""

ARTEFACTS = ("trail", "ghost", "cosmic_ray", "saturated_star", "edge", "missing_band")
"""Kinds of artefacts; each lies over an ordinary galaxy."""

NORMAL = "galaxy"
"""Kind of all other objects."""


class Sky(Strict):
    """The simulated sky of the anomaly search."""

    objects: int = Field(
        6000, ge=1, description="Objects drawn: ordinary galaxies, rare ones and artefacts."
    )
    interesting_fraction: float = Field(
        0.01, ge=0, le=1, description="Fraction that are interesting."
    )
    artefact_fraction: float = Field(
        0.01, ge=0, le=1, description="Fraction of ordinary galaxies with an artefact over them."
    )
    classes: dict[str, float] = Field(
        dict.fromkeys(INTERESTING, 1.0), description="Relative numbers of the interesting kinds."
    )
    artefacts: dict[str, float] = Field(
        dict.fromkeys(ARTEFACTS, 1.0), description="Relative numbers of the artefacts."
    )
    mag_i: tuple[float, float] = Field(
        (18.0, 20.5),
        description="Range of the whole object's i magnitude; its law is the same for all kinds.",
    )
    overlapping: float = Field(
        0.08, ge=0, le=1, description="Share of ordinary galaxies that others overlap with."
    )

    @field_validator("mag_i")
    @classmethod
    def _rising(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 15 <= value[0] < value[1] <= 23:
            raise ValueError("expected two magnitudes, bright then faint, between 15 and 23")
        return value

    @model_validator(mode="after")
    def _room_for_all(self) -> Sky:
        if self.interesting_fraction + self.artefact_fraction > 1:
            raise ValueError("interesting_fraction and artefact_fraction add up to more than 1")
        return self
