"""Strong gravitational lenses: is this galaxy a lens, and of which parameters."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from astroml.calibration import probability
from astroml.config import BACKBONES, Backbone, Strict, TaskOptions, TrainOptions
from astroml.errors import AstromlError
from astroml.store.layout import FLAGS
from astroml.tasks import labelled
from astroml.tasks.lens.baselines import RIVAL, baselines
from astroml.tasks.lens.calibrate import calibrate, calibrated, purity
from astroml.tasks.lens.columns import COLUMNS, RANK_COLUMNS, RANKS
from astroml.tasks.lens.figures import panels
from astroml.tasks.lens.metrics import FPR_LEVELS, METRICS, PREVALENCE, detectable, score
from astroml.tasks.lens.parameters import ARTEFACT, LABEL, PARAMETERS, TURNS, sigma_of

__all__ = [
    "AGAINST",
    "ARTEFACT",
    "CAVEAT",
    "COLUMNS",
    "EXPLAINED",
    "FPR_LEVELS",
    "LABEL",
    "METRICS",
    "NEGATIVES",
    "OPTIONAL",
    "PARAMETERS",
    "PREVALENCE",
    "RANKS",
    "RANK_COLUMNS",
    "RIVALS",
    "SET",
    "TURNS",
    "Options",
    "Sky",
    "baselines",
    "calibrate",
    "check",
    "combine",
    "detectable",
    "panels",
    "rows",
    "score",
    "targets",
]  # fmt: skip

SET = "galaxy"
"""The cutout set that the task looks at."""

OPTIONAL = (*PARAMETERS, ARTEFACT)
"""Targets that a labelled row may lack."""

EXPLAINED = "lens_logit"
"""Output whose evidence in the image can be drawn; see ``nets.saliency``."""

RIVALS = {RIVAL: "hand-made features"}
"""Columns of ``baselines`` that score objects too, and what people call them."""

NEGATIVES = ("twin", "elliptical", "spiral", "ring", "companion", "merger", "group", "edge_on")
"""Kinds of non-lenses: a twin is a lens galaxy without its arc, seed for seed."""


class Options(TaskOptions):
    """The lens finder."""

    AFTERWARDS: ClassVar[tuple[str, ...]] = ("weights", "members", "prevalence")

    backbone: Backbone = Field("small", description=BACKBONES)
    width: int = Field(
        24, ge=4, description="Channels of the small trunk's first stage; doubled at each next."
    )
    blocks: int = Field(1, ge=1, description="Residual blocks per stage of the small trunk.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout before the last layers.")
    views: Literal[1, 8] = Field(
        1,
        description="Views that a score is the mean of: 8 are all turns and mirrorings, for eight "
        "times the work. Calibrated with as many, so that changing it trains anew.",
    )
    members: int = Field(
        1,
        ge=1,
        le=32,
        description="Networks of the ensemble, each of another seed and other fresh skies.",
    )
    prevalence: float = Field(
        PREVALENCE, gt=0, lt=1, description="Lenses per galaxy of the sky, for the column purity."
    )
    train: TrainOptions = Field(TrainOptions(), description="The training loop.")


class Sky(Strict):
    """The simulated sky of the lens finder."""

    objects: int = Field(6000, ge=1, description="Objects drawn: lenses and negatives.")
    lens_fraction: float = Field(0.4, ge=0, le=1, description="Fraction that are lenses.")
    theta_e: tuple[float, float] = Field((0.5, 3.0), description="Range of theta_e, arcsec.")
    theta_e_law: str = Field(
        "flat", pattern="^(flat|sky)$", description="Flat (to train) or as on the sky (to test)."
    )
    lens_mag_scatter: float = Field(
        0.3,
        ge=0,
        description="Scatter of the lens galaxy's magnitude at its mass. Wide, and networks learn "
        "arcs about galaxies that are faint for them, as where a group helps to bend the light.",
    )
    surroundings: float = Field(
        0.0,
        ge=0,
        description="Mean number of smaller galaxies at its redshift in the field of each object, "
        "lens or not: where massive galaxies live.",
    )
    negatives: dict[str, float] = Field(
        {
            "twin": 3.0,
            "elliptical": 1.0,
            "spiral": 1.5,
            "ring": 0.5,
            "companion": 1.5,
            "merger": 1.0,
            "group": 1.0,
            "edge_on": 0.5,
        },
        description="Relative numbers of the kinds of negatives.",
    )


def targets(objects: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read the labels from a store's object table.

    Parameters
    ----------
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    targets : dict
        ``is_lens`` (n,) float32; NaN where a label is missing. The parameters and ``artefact``
        where the store has them, NaN where one is not known; parameters mean nothing of what is no
        lens.
    labelled : (n,) array of bool
        Rows that were given a label: all of them if the column is there, unless a text column
        ``labels`` names the tasks a row has labels for.
    """
    known = labelled(objects, "lens", LABEL)
    if LABEL not in objects:
        return {LABEL: np.full(len(known), np.nan, np.float32)}, known
    there = (LABEL, *(name for name in OPTIONAL if name in objects))
    return {name: np.asarray(objects[name], np.float32) for name in there}, known


def check(targets: dict[str, np.ndarray], split: str, options: Options | None = None) -> None:
    """Refuse the labelled rows of a split if nothing can be learnt or measured on them.

    Parameters
    ----------
    targets : dict
        ``is_lens`` (n,) of the split's labelled rows.
    split : str
        ``train`` or ``val``.
    options : Options, optional
        Not needed here.
    """
    values = targets[LABEL]
    if odd := int((~np.isin(values, (0, 1))).sum()):
        raise AstromlError(
            f"column {LABEL}: {odd} of {len(values)} labelled rows in split {split} are neither 0 "
            "nor 1; mend them, or leave them out with the column labels"
        )
    if (values == values[0]).all():
        raise AstromlError(
            f"column {LABEL}: all {len(values)} labelled rows in split {split} are "
            f"{values[0]:.0f}; add lenses and non-lenses, or use smaller sky cells (splits: nside)"
        )


def rows(output: dict, objects: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn network output into catalog rows, one per cutout.

    Parameters
    ----------
    output : dict
        What the network said, each (n,); ``calibration`` as ``calibrate`` returned it; the task's
        ``options``.
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    dict
        ``object_id``, the columns of ``COLUMNS`` and ``flags`` with ``artefact`` added, each (n,).
    """
    logit, fit = np.asarray(output["lens_logit"], float), output["calibration"]
    spoilt = fit["artefact_slope"], fit["artefact_offset"]
    columns = {
        "lens_prob": probability(logit, fit["slope"], fit["offset"]),
        "lens_score": logit,
        "lens_prob_spread": np.zeros(len(logit)),
        "purity": purity(logit, fit["roc"], output["options"].prevalence),
        "artefact_prob": probability(output["artefact_logit"], *spoilt),
    }
    for name, parameter in PARAMETERS.items():
        sigma = calibrated(sigma_of(output, name), fit["sigma"][name])
        columns[name], columns[f"{name}_err"] = parameter.told(output[f"{name}_mean"], sigma)
    return _finished(columns, objects["object_id"], objects["flags"])


def _finished(columns: dict, object_id: np.ndarray, flags: np.ndarray) -> dict[str, np.ndarray]:
    """Return typed rows; the flag says what ``artefact_prob`` does."""
    spoilt = np.where(columns["artefact_prob"] > 0.5, FLAGS["artefact"], 0)
    flags = (flags & ~FLAGS["artefact"] | spoilt).astype(flags.dtype)
    typed = {column.name: columns[column.name].astype(column.dtype) for column in COLUMNS}
    return {"object_id": object_id, **typed, "flags": flags}


def combine(members: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Merge the rows of the networks of an ensemble, object by object.

    Parameters
    ----------
    members : list of dict
        What ``rows`` returned for each network.

    Returns
    -------
    dict
        The same columns: means, for the parameters weighted by inverse variance. The variance of
        such a mean is the members' (harmonic) mean variance, since all look at the same noise and
        averaging does not lessen it, and the scatter between them.
    """

    def all_of(name: str) -> np.ndarray:
        return np.stack([np.asarray(one[name], float) for one in members])  # (member, n)

    same = ("lens_prob", "lens_score", "purity", "artefact_prob")
    columns = {name: all_of(name).mean(0) for name in same}
    columns["lens_prob_spread"] = all_of("lens_prob").std(0)
    for name in PARAMETERS:
        value, weight = all_of(name), 1 / np.maximum(all_of(f"{name}_err"), 1e-9) ** 2
        weight_sum = weight.sum(0)
        columns[name] = mean = (weight * value).sum(0) / weight_sum
        scatter = (weight * (value - mean) ** 2).sum(0) / weight_sum
        columns[f"{name}_err"] = np.sqrt(len(members) / weight_sum + scatter)
    flags = np.bitwise_or.reduce([one["flags"] for one in members])
    return _finished(columns, members[0]["object_id"], flags)


AGAINST = {
    "theta_e": ("Einstein radius", "arcsec"),
    "arc_snr": ("arc S/N", ""),
}
"""Labels that completeness is drawn against, where a store has them: name and unit."""

CAVEAT = (
    "lens_prob is calibrated at the labelled sample's share of lenses, which is hundreds of times "
    "that of the sky: there, most objects above any threshold are not lenses. The table of metrics "
    "states the purity to expect, where the test set is large enough to know it."
)
"""What a reader of the report must know."""
