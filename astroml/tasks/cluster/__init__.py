"""Galaxy clusters: where their centres lie, their redshift and richness, each with an error."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from astroml.calibration import probability
from astroml.config import TaskOptions, TrainOptions
from astroml.errors import AstromlError
from astroml.store.layout import FLAGS
from astroml.tasks import labelled
from astroml.tasks.cluster import mass, redshift
from astroml.tasks.cluster.calibrate import NONE, calibrate, ln_richness
from astroml.tasks.cluster.columns import COLUMNS, designations
from astroml.tasks.cluster.figures import panels
from astroml.tasks.cluster.kinds import MIN_RICHNESS, NEGATIVES, SLOTS, Sky
from astroml.tasks.cluster.match import marked, sky_of, true_clusters
from astroml.tasks.cluster.merge import combine, unique
from astroml.tasks.cluster.metrics import AXES, CAVEAT, ERROR, LABEL, METRICS, error, score

__all__ = [
    "ANY_SIZE",
    "AXES",
    "CAVEAT",
    "COLUMNS",
    "ERROR",
    "LABEL",
    "MANY_ROWS",
    "METRICS",
    "MIN_RICHNESS",
    "NEGATIVES",
    "OPTIONAL",
    "PLANES",
    "SET",
    "SLOTS",
    "Options",
    "Sky",
    "calibrate",
    "check",
    "combine",
    "error",
    "marked",
    "panels",
    "rows",
    "score",
    "targets",
    "unique",
]

SET = "field"
"""The cutout set that the task looks at: tiles of the sky."""

MANY_ROWS = True
"""A tile has as many rows as there are candidates in it, at least one."""

ANY_SIZE = True
"""Weights score tiles of other sides than they were trained on."""

OPTIONAL = ("cluster_z", "cluster_richness", "cluster_x", "cluster_y")
"""Targets that a labelled row may lack."""

PLANES = ("truth",)
"""Planes of the store that training reads: 1 + k at the centre of cluster k."""


class Options(TaskOptions):
    """The finder of galaxy clusters."""

    AFTERWARDS: ClassVar[tuple[str, ...]] = ("weights", "members", "floor")

    width: int = Field(16, ge=4, description="Channels of the first stage; doubled at each next.")
    blocks: int = Field(1, ge=1, description="Residual blocks per stage.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before the last layers.")
    z_range: tuple[float, float] = Field(
        (0.05, 0.75), description="Redshifts at which the grid of p(z) begins and ends."
    )
    z_bins: int = Field(70, ge=10, le=1000, description="Bins of the grid.")
    floor: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Probability from which a candidate gets a row; the best of a tile always has "
        "one.",
    )
    members: int = Field(
        1,
        ge=1,
        le=32,
        description="Networks of the ensemble, each of another seed and other fresh skies.",
    )
    train: TrainOptions = Field(TrainOptions(batch_size=8), description="The training loop.")

    @model_validator(mode="after")
    def _range_in_order(self) -> Options:
        if not 0 <= self.z_range[0] < self.z_range[1] <= 5:
            raise ValueError("z_range needs two redshifts in order, between 0 and 5")
        return self


def targets(objects: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read the labels from a store's object table.

    Parameters
    ----------
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    targets : dict
        ``clusters`` (n,) float32, how many have their centre in the tile, NaN where that is not
        known; ``cluster_z``, ``cluster_richness``, and ``cluster_x``, ``cluster_y`` in arcsec from
        the tile's centre (x to the west, y to the north), each (n, SLOTS) float32, NaN for none.
    labelled : (n,) array of bool
        Rows that were given a label: all of them if the column is there, unless a text column
        ``labels`` names the tasks a row has labels for.
    """
    known = labelled(objects, "cluster", LABEL)
    number = objects.get(LABEL, np.full(len(known), np.nan))
    return {LABEL: np.asarray(number, np.float32)} | true_clusters(objects), known


def check(targets: dict[str, np.ndarray], split: str, options: Options | None = None) -> None:
    """Refuse the labelled rows of a split if nothing can be learnt or measured on them.

    Parameters
    ----------
    targets : dict
        What ``targets`` returned, of the split's labelled rows.
    split : str
        ``train`` or ``val``.
    options : Options, optional
        Where the grid of p(z) begins and ends.
    """
    number, z = targets[LABEL], targets["cluster_z"]
    told = np.isfinite(z).sum(1)
    if odd := int((np.minimum(number, SLOTS) != told).sum()):
        raise AstromlError(
            f"column {LABEL}: in {odd} of {len(number)} labelled rows of split {split} it is not "
            "the number of redshifts told in cluster_z_0 and following; mend them, or leave them "
            "out with the column labels"
        )
    richness = targets["cluster_richness"][np.isfinite(z)]
    if odd := int((~(richness >= MIN_RICHNESS)).sum()):
        raise AstromlError(
            f"cluster_richness_0 and following: {odd} of {len(richness)} clusters of split {split} "
            f"have no richness of at least {MIN_RICHNESS}; count only such clusters in {LABEL}"
        )
    if not told.any():
        raise AstromlError(
            f"column {LABEL}: no cluster in the {len(number)} labelled rows of split {split}; add "
            "tiles with clusters, or use smaller sky cells (splits: nside)"
        )
    low, high = options.z_range if options else (0, np.inf)
    if odd := int(((z < low) | (z > high)).sum()):
        raise AstromlError(
            f"cluster_z_0 and following: {odd} of {told.sum()} clusters of split {split} lie "
            f"outside the grid of p(z), {low:g} to {high:g}; widen z_range"
        )


def rows(output: dict, objects: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn network output into catalog rows, any number per tile and at least one.

    Parameters
    ----------
    output : dict
        Of the network ``peak_logit``; ``peak_x``, ``peak_y``, px from the tile's centre;
        ``richness_mean`` and ``richness_logvar`` of ln richness, each (n, P); ``z_logits`` (n, P,
        bins). ``calibration`` as ``calibrate`` returned it, the task's ``options``,
        ``pixel_scale`` (arcsec) and ``size`` (px) of the tiles.
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    dict
        ``object_id`` of the tile, ``ra`` and ``dec`` of the cluster, and the columns of
        ``COLUMNS``; tile by tile, the best first. A tile without a usable pixel has one row.
    """
    options, fit = output["options"], output["calibration"]
    scale = float(output["pixel_scale"])
    which = _chosen(output, fit, options.floor, np.asarray(objects["flags"]))
    tile, peak = which["tile"], which["peak"]
    edges = redshift.bin_edges(options.z_range, options.z_bins)
    step = edges[1] - edges[0]
    logits = np.asarray(output["z_logits"], float)[tile, peak]
    p_z = redshift.as_mass(logits, fit["temperature"])
    z, z_err = redshift.describe(p_z, edges)
    mean, error = ln_richness(output, fit, which)
    richness = np.exp(np.clip(mean, 0, 8))
    score = np.asarray(output["peak_logit"], float)[tile, peak]
    x, y = (np.asarray(output[name], float)[tile, peak] * scale for name in ("peak_x", "peak_y"))
    ra, dec = sky_of(objects["ra"][tile], objects["dec"][tile], x, y)
    columns = {
        "cluster_prob": probability(score, *fit["prob"]),
        "cluster_score": score,
        "z_cluster": z,
        "z_cluster_err": z_err,
        "richness": richness,
        "richness_err": richness * error,
        "ln_richness_err": error,
        "m200m": mass.m200m(richness, z),
        "m200m_err": mass.m200m_err(richness, error, z, z_err),
        "x": x,
        "y": y,
        "tile_side": np.full(len(tile), output["size"] * scale),
        "name": designations(ra, dec),
        "z_pdf": p_z / step,
        "z_pdf_first": np.full(len(tile), edges[0] + step / 2),
        "z_pdf_step": np.full(len(tile), step),
    }
    typed = {column.name: columns[column.name].astype(column.dtype) for column in COLUMNS}
    return {"object_id": objects["object_id"][tile], "ra": ra, "dec": dec, **typed}


def _chosen(output: dict, fit: dict, floor: float, flags: np.ndarray) -> dict[str, np.ndarray]:
    """Return ``tile`` and ``peak`` (d,) of the peaks with a row, the best of each tile first."""
    logit = np.asarray(output["peak_logit"], float)
    kept = (probability(logit, *fit["prob"]) >= floor) & (logit > NONE)
    kept &= (flags & FLAGS["no_data"] == 0)[:, None]
    every = np.arange(len(logit))
    kept[every, logit.argmax(1)] = True
    tile, peak = np.nonzero(kept)
    order = np.lexsort((-logit[tile, peak], tile))
    return {"tile": tile[order], "peak": peak[order]}
