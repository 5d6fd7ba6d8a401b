"""Tidal features: is this galaxy disturbed, by what, where, and how faint is it."""

from __future__ import annotations

from pydantic import Field

from astroml.config import Strict

SET = "halo"
"""The cutout set that the task looks at."""

LABEL = "is_tidal"
"""Object column with the truth: 1 where a galaxy has a tidal feature, else 0."""

CLASSES = ("stream", "shell", "tail", "diffuse")
"""Classes of features, any number of them in one galaxy; the bits 1, 2, 4, 8 of the plane
``truth``."""


class Sky(Strict):
    """The simulated sky of the tidal features."""

    objects: int = Field(4000, ge=1, description="Objects drawn: disturbed galaxies and others.")
