"""Anomalies: the objects least like all others, by models that are told nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from astroml.calibration import probability
from astroml.config import TaskOptions, TrainOptions
from astroml.store.layout import FLAGS
from astroml.tasks import labelled
from astroml.tasks.anomaly.columns import COLUMNS, MODELS, NAMES, RANK_COLUMNS, RANKS, SCORES
from astroml.tasks.anomaly.combine import (
    CLOUDS,
    fit_cloud,
    fit_slices,
    rarity,
    standardised,
    together,
    without_artefacts,
)
from astroml.tasks.anomaly.figures import catalog_panels, panels
from astroml.tasks.anomaly.kinds import ARTEFACTS, INTERESTING, Sky
from astroml.tasks.anomaly.metrics import METRICS, score
from astroml.tasks.anomaly.outliers import whole

__all__ = [
    "ARTEFACT",
    "ARTEFACTS",
    "BESIDE",
    "COLUMNS",
    "EVIDENCE",
    "EXPLAINED",
    "EXPORTS",
    "INTERESTING",
    "LABEL",
    "METRICS",
    "MODELS",
    "NAMES",
    "OPTIONAL",
    "RANKS",
    "RANK_COLUMNS",
    "SET",
    "Options",
    "Sky",
    "calibrate",
    "catalog_panels",
    "panels",
    "rows",
    "score",
    "targets",
    "whole",
]

SET = "galaxy"
"""The cutout set that the task looks at."""

LABEL = "is_interesting"
"""Object column with the truth: 1 for what a person would want to see. Only metrics read it."""

ARTEFACT = "is_artefact"
"""Object column that says whether a cutout has an artefact. Only metrics read it."""

OPTIONAL = (LABEL, ARTEFACT)
"""Targets that a row may lack: all of them, for nothing is learnt from them."""

BESIDE = {"baseline" if name == "pca" else name: NAMES[name] for name in NAMES if name != "anomaly"}
"""Methods whose metrics stand beside those of the combined score: end of their names -> name."""

EXPLAINED = "residual"
"""What is drawn beside the candidates: ``net.evidence``."""

EVIDENCE = (
    "what the autoencoder could not reproduce: asinh of it in units of a pixel's expected error, "
    "mean over the bands; red is light that it did not expect, blue light that it missed. Beyond "
    "the part that the models see there is nothing."
)
"""What the report says of these maps."""


class Options(TaskOptions):
    """The search for anomalies."""

    models: tuple[Literal["ae", "vae", "wgan", "pixelcnn", "colour"], ...] = Field(
        MODELS, description="Models that score, side by side; at least one of them."
    )
    latent: int = Field(32, ge=2, le=512, description="Dimensions of the embedding.")
    residual: int = Field(
        8, ge=2, le=64, description="Dimensions of the embedding of residual images."
    )
    components: int = Field(
        24, ge=2, le=512, description="Principal components of the pixels, for the baseline."
    )
    width: int = Field(16, ge=4, description="Channels of the first stage; doubled at each next.")
    inversion_steps: int = Field(
        10,
        ge=0,
        le=1000,
        description="Steps by which the WGAN's inversion goes on from what its encoder says.",
    )
    image_weight: float = Field(
        0.7,
        ge=0,
        le=1,
        description="Weight of the image's residual in the WGAN's score; the rest is that of the "
        "critic's features.",
    )
    floor: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Error of each pixel as a fraction of its light, beside the noise, so that "
        "bright objects are not odd for being bright.",
    )
    train: TrainOptions = Field(TrainOptions(), description="The training loop.")

    @field_validator("models")
    @classmethod
    def _some_once(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse an empty choice; keep the usual order, each once."""
        if not models:
            raise ValueError(f"no model chosen; name some of {', '.join(MODELS)}")
        return tuple(name for name in MODELS if name in models)


def targets(objects: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read what metrics are told by, and say which rows the models may look at.

    Parameters
    ----------
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    targets : dict
        ``is_interesting`` and ``is_artefact`` (n,) float32, NaN where it is not known.
    usable : (n,) array of bool
        Rows to learn from and to measure on: nothing is learnt from labels, so all of them, unless
        they have ``is_interesting`` and a text column ``labels`` says which tasks each is for.
    """
    n = len(objects["object_id"])
    usable = labelled(objects, "anomaly", LABEL) if LABEL in objects else np.ones(n, bool)
    unknown = np.full(n, np.nan)
    return {name: np.asarray(objects.get(name, unknown), np.float32) for name in OPTIONAL}, usable


def calibrate(output: dict, targets: dict[str, np.ndarray]) -> dict:
    """Measure on the validation split what is usual, flux by flux; no label is read.

    Parameters
    ----------
    output : dict
        Of the network: ``flux`` and ``<model>_score``, each (n,); ``embedding`` and
        ``residual_embedding`` (n, k).
    targets : dict
        Not needed here.

    Returns
    -------
    dict
        For the weights' card: score -> what ``combine.fit_slices`` returned; those of
        ``combine.CLOUDS`` have what ``combine.fit_cloud`` returned too.
    """
    clouds = {name: fit_cloud(_points(output, name), count) for name, count in CLOUDS.items()}
    output = output | _rarities(output, clouds)
    found = [name for name in SCORES if f"{name}_score" in output]
    fits = {name: fit_slices(output[f"{name}_score"], output["flux"]) for name in found}
    return fits | {name: fits[name] | cloud for name, cloud in clouds.items()}


def _points(output: dict, name: str) -> np.ndarray:
    """Return the embedding (n, k) that a score of ``CLOUDS`` is of."""
    return np.asarray(output["residual_embedding" if name == "residual" else "embedding"])


def _rarities(output: dict, clouds: dict) -> dict[str, np.ndarray]:
    return {f"{name}_score": rarity(_points(output, name), clouds[name]) for name in CLOUDS}


def rows(output: dict, objects: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn network output into catalog rows, one per cutout.

    Parameters
    ----------
    output : dict
        What the network said: ``flux``, ``<model>_score`` of each model, ``artefact_logit`` and
        ``pca_residual`` (n,), ``embedding``, ``residual_embedding`` and ``pca`` (n, k);
        ``calibration`` as ``calibrate`` returned it.
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    dict
        ``object_id``, the columns of ``COLUMNS``, each (n,) or (n, k), and ``flags`` with
        ``artefact`` added.
    """
    flux, fit = np.asarray(output["flux"], float), output["calibration"]
    output = output | _rarities(output, fit)
    columns = {f"{name}_score": np.full(len(flux), np.nan) for name in SCORES}
    columns |= {f"{name}_score": np.asarray(output[f"{name}_score"], float) for name in fit}
    odd = {name: standardised(columns[f"{name}_score"], flux, fit[name]) for name in fit}
    columns["artefact_prob"] = artefact = probability(output["artefact_logit"], 1.0, 0.0)
    columns["anomaly_score"] = without_artefacts(together(odd), artefact)
    columns["log_flux"] = flux
    columns["embedding"] = output["embedding"]
    columns["residual_embedding"] = output["residual_embedding"]
    columns["pca_coefficients"] = output["pca"]
    columns["pca_residual"] = output["pca_residual"]
    spoilt = np.where(artefact > 0.5, FLAGS["artefact"], 0)
    flags = (objects["flags"] & ~FLAGS["artefact"] | spoilt).astype(objects["flags"].dtype)
    typed = {one.name: np.asarray(columns[one.name]).astype(one.dtype) for one in COLUMNS}
    return {"object_id": objects["object_id"], **typed, "flags": flags}


def _write_embedding(rows: dict[str, np.ndarray], path: str | Path) -> None:
    """Write the embedding of each object, that of its residual, and its scores."""
    from astroml.tasks.anomaly.export import write_embedding  # h5py is not needed for else here

    write_embedding(rows, path)


EXPORTS = {".hdf5": _write_embedding}
"""Further files of the catalog: ending -> what writes them, ``(rows, path)``."""
