"""Tidal features: is this galaxy disturbed, by what, where, and how faint is it."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from astroml.calibration import platt, probability
from astroml.config import TaskOptions, TrainOptions
from astroml.errors import AstromlError
from astroml.tasks import labelled
from astroml.tasks.tidal.columns import COLUMNS
from astroml.tasks.tidal.figures import panels
from astroml.tasks.tidal.kinds import CLASSES, NEGATIVES, Sky
from astroml.tasks.tidal.metrics import AGAINST, AXES, CAVEAT, LABEL, METRICS, score

__all__ = [
    "AGAINST",
    "AXES",
    "CAVEAT",
    "CLASSES",
    "COLUMNS",
    "LABEL",
    "MAPS",
    "METRICS",
    "NEGATIVES",
    "OPTIONAL",
    "PLANES",
    "SET",
    "Options",
    "Sky",
    "calibrate",
    "check",
    "combine",
    "panels",
    "rows",
    "score",
    "targets",
]

SET = "halo"
"""The cutout set that the task looks at."""

OPTIONAL = CLASSES
"""Targets that a labelled row may lack."""

PLANES = ("truth",)
"""Planes of the store that training reads, where they are there: bit 1 << k is class k."""

MAPS = {"mask": "mask_logit"}
"""Maps that infer keeps beside the rows: name -> the output (n, channel, y, x) whose logits they
are."""

CHANNELS = {"mask": ("any", *CLASSES)}
"""Channels of each map."""

NJY_AT_0 = 31.4
"""AB magnitude of 1 nJy."""

MEANS = ("tidal_prob", "tidal_score", *(f"{name}_prob" for name in CLASSES), "feature_area")
"""Columns of an ensemble that are plain means."""


class Options(TaskOptions):
    """The finder of tidal features."""

    AFTERWARDS: ClassVar[tuple[str, ...]] = ("weights", "members")

    width: int = Field(16, ge=4, description="Channels of the first stage; doubled at each next.")
    blocks: int = Field(1, ge=1, description="Residual blocks per stage of the encoder.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Dropout before the last layer.")
    passes: int = Field(
        0,
        ge=0,
        le=64,
        description="Further passes with other units dropped, whose scatter goes into "
        "tidal_prob_spread.",
    )
    views: Literal[1, 2, 4, 8] = Field(
        1,
        description="Turns and mirrorings that each cutout is seen in; their mean takes as many "
        "times as long.",
    )
    members: int = Field(
        1,
        ge=1,
        le=32,
        description="Networks of the ensemble, each of another seed and other fresh skies.",
    )
    train: TrainOptions = Field(TrainOptions(batch_size=32), description="The training loop.")


def targets(objects: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read the labels from a store's object table.

    Parameters
    ----------
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    targets : dict
        ``is_tidal`` (n,) float32, NaN where a label is missing; each of ``CLASSES`` that the store
        has, NaN where it is not known.
    labelled : (n,) array of bool
        Rows that were given a label: all of them if the column is there, unless a text column
        ``labels`` names the tasks a row has labels for.
    """
    known = labelled(objects, "tidal", LABEL)
    if LABEL not in objects:
        return {LABEL: np.full(len(known), np.nan, np.float32)}, known
    there = (LABEL, *(name for name in CLASSES if name in objects))
    return {name: np.asarray(objects[name], np.float32) for name in there}, known


def check(targets: dict[str, np.ndarray], split: str, options: Options | None = None) -> None:
    """Refuse the labelled rows of a split if nothing can be learnt or measured on them.

    Parameters
    ----------
    targets : dict
        ``is_tidal`` (n,) of the split's labelled rows, and the classes that are there.
    split : str
        ``train`` or ``val``.
    options : Options, optional
        Not needed here.
    """
    for name, values in targets.items():
        known = np.isin(values, (0, 1)) | (np.isnan(values) if name in OPTIONAL else False)
        if odd := int((~known).sum()):
            raise AstromlError(
                f"column {name}: {odd} of {len(values)} labelled rows in split {split} are neither "
                "0 nor 1; mend them, or leave them out with the column labels"
            )
    values = targets[LABEL]
    if (values == values[0]).all():
        raise AstromlError(
            f"column {LABEL}: all {len(values)} labelled rows in split {split} are "
            f"{values[0]:.0f}; add galaxies with and without features, or use smaller sky cells "
            "(splits: nside)"
        )


def calibrate(output: dict, targets: dict[str, np.ndarray]) -> dict:
    """Calibrate each probability on the validation split.

    Parameters
    ----------
    output : dict
        Of the network: ``tidal_logit`` and ``<class>_logit``, each (n,).
    targets : dict
        ``is_tidal`` (n,), and the classes that are known.

    Returns
    -------
    dict
        For the weights' card: of ``tidal`` and each class [slope, offset] of the logit; 1 and 0
        where the split has none or nothing but it.
    """
    facts = {}
    for name, label in {"tidal": LABEL, **{name: name for name in CLASSES}}.items():
        truth = np.asarray(targets.get(label, np.nan) * np.ones(len(output["tidal_logit"])), float)
        known = np.isfinite(truth)
        facts[name] = [1.0, 0.0]
        if 0 < truth[known].sum() < known.sum():
            facts[name] = list(platt(output[f"{name}_logit"][known], truth[known]))
    return facts


def rows(output: dict, objects: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn network output into catalog rows, one per cutout.

    Parameters
    ----------
    output : dict
        What the network said, each (n,), see ``net``; ``calibration`` as ``calibrate`` returned it.
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    dict
        ``object_id`` and the columns of ``COLUMNS``, each (n,).
    """
    fit = output["calibration"]
    columns = {
        f"{name}_prob": probability(output[f"{name}_logit"], *fit[name])
        for name in ("tidal", *CLASSES)
    }
    columns |= {
        name: np.asarray(output[name], float)
        for name in ("feature_area", "feature_flux", "feature_flux_err")
    }
    columns["tidal_score"] = output["tidal_logit"]
    columns["tidal_prob_spread"] = np.zeros(len(columns["tidal_prob"]))
    if "passes" in output:
        columns["tidal_prob_spread"] = probability(output["passes"], *fit["tidal"]).std(1)
    return _finished(columns, objects["object_id"])


def _finished(columns: dict, object_id: np.ndarray) -> dict[str, np.ndarray]:
    """Return typed rows, with the surface brightness that flux and area give."""
    flux, area = columns["feature_flux"], columns["feature_area"]
    seen = (flux > 0) & (area > 0)
    brightness = np.where(seen, flux, 1.0) / np.where(seen, area, 1.0)  # nJy/arcsec2
    columns["feature_mu"] = np.where(seen, NJY_AT_0 - 2.5 * np.log10(brightness), np.nan)
    typed = {column.name: columns[column.name].astype(column.dtype) for column in COLUMNS}
    return {"object_id": object_id, **typed}


def combine(members: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Merge the rows of the networks of an ensemble, object by object.

    Parameters
    ----------
    members : list of dict
        What ``rows`` returned for each network.

    Returns
    -------
    dict
        The same columns: means. To the mean variance of the flux, for all look at the same noise,
        the scatter between the networks is added, which draw other masks.
    """

    def all_of(name: str) -> np.ndarray:
        return np.stack([np.asarray(one[name], float) for one in members])  # (member, n)

    columns = {name: all_of(name).mean(0) for name in (*MEANS, "feature_flux")}
    for name, source, own in (
        ("feature_flux_err", "feature_flux", "feature_flux_err"),
        ("tidal_prob_spread", "tidal_prob", "tidal_prob_spread"),
    ):
        columns[name] = np.sqrt((all_of(own) ** 2).mean(0) + all_of(source).var(0))
    return _finished(columns, members[0]["object_id"])
