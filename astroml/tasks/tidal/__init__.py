"""Tidal features: is this galaxy disturbed, by what, where, and how faint is it."""

from __future__ import annotations

from astroml.tasks.tidal.kinds import CLASSES, NEGATIVES, Sky

__all__ = ["CLASSES", "LABEL", "NEGATIVES", "SET", "Sky"]

SET = "halo"
"""The cutout set that the task looks at."""

LABEL = "is_tidal"
"""Object column with the truth: 1 where a galaxy has a tidal feature, else 0."""
