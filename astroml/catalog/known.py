"""Known lenses: what lenscat's table means (Vujeva et al. 2024, github.com/lenscat/lenscat).

It gathers many lists, of which some are of clusters of galaxies that nobody has seen to lens, and
keeps what each says as text.
"""

from __future__ import annotations

import re

import numpy as np

COLUMNS = ("name", "zlens", "type", "grading", "ref")
"""Columns by which lenscat's table is known."""

CLUSTER_CATALOGS = (
    "Gioia et al. (1990)",  # Einstein Medium Sensitivity Survey
    "Ebeling et al. (1998)",  # ROSAT Brightest Clusters
    "Ebeling et al. (2000)",  # and its extension
    "hringer et al. (2000)",  # NORAS
    "Gonzalez et al. (2001)",  # Las Campanas Distant Clusters
    "hringer et al. (2004)",  # REFLEX
    "Lopes et al. (2004)",  # Northern Sky Optical Clusters
    "Popesso et al. (2004)",  # RASS-SDSS
    "Gladders et al. (2005)",  # Red-Sequence Cluster Survey
    "Olsen et al. (2006)",  # CFHTLS Deep clusters
    "Menanteau et al. (2010)",  # Southern Cosmology Survey clusters
)
"""Sources that list clusters, whether they lens or not: what only these know is no known lens."""


def is_lenscat(table) -> bool:
    """Say whether a table is lenscat's."""
    return set(COLUMNS) <= set(table.colnames)


def from_clusters_alone(ref) -> np.ndarray:
    """Return which entries (n,) come from no source but catalogs of clusters."""
    return np.array(
        [
            all(any(one in part for one in CLUSTER_CATALOGS) for part in str(text).split("|"))
            for text in ref
        ],
        bool,
    )


def redshift(text: str) -> float:
    """Return the median of the redshifts in a text such as ``0.6 | 0.64 | nan``.

    NaN where it holds none: ``not measured``, ``L``, ``-``. A doubtful ``0.3?`` is taken.
    """
    numbers = [re.fullmatch(r"\s*~?(\d+\.?\d*|\.\d+)\s*\??\s*", one) for one in text.split("|")]
    values = [float(one[1]) for one in numbers if one]
    values = [value for value in values if 0 < value < 20]
    return float(np.median(values)) if values else np.nan


def read(table) -> tuple:
    """Read lenscat's table.

    Returns
    -------
    table : astropy.table.Table
        ``name`` (the first, where lists differ), ``grade``, ``type``, ``z_lens`` of each entry that
        is kept.
    keep : (n,) array of bool
        Which entries were.
    left_out : int
        How many come from catalogs of clusters alone.
    """
    from astropy.table import Table

    keep = ~from_clusters_alone(table["ref"])
    some = table[keep]
    names = [_first(str(text)) for text in some["name"]]
    z_lens = np.array([redshift(str(text)) for text in some["zlens"]], float)
    kept = Table(
        {
            "name": np.array(names, dtype=str),
            "grade": np.asarray(some["grading"]).astype(str),
            "type": np.asarray(some["type"]).astype(str),
            "z_lens": z_lens,
        }
    )
    return kept, keep, int((~keep).sum())


def _first(text: str) -> str:
    """Return the first name of a list that says anything."""
    names = [one.strip() for one in text.split("|")]
    return next((one for one in names if one not in ("", "-", "nan")), text.strip())
