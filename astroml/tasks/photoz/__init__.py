"""Photometric redshifts: a calibrated probability density p(z) for each galaxy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from astroml.config import BACKBONES, Backbone, Strict, TaskOptions, TrainOptions
from astroml.errors import AstromlError
from astroml.store import FLAGS
from astroml.tasks import Column, labelled
from astroml.tasks.photoz import pdf, unlike
from astroml.tasks.photoz.baselines import baselines
from astroml.tasks.photoz.figures import panels
from astroml.tasks.photoz.metrics import AGAINST, AXES, CAVEAT, ERROR, METRICS, error, score

__all__ = ["AGAINST", "AXES", "CAVEAT", "ERROR", "METRICS", "baselines", "error", "panels", "score"]

SET = "galaxy"
"""The cutout set that the task looks at."""

LABEL = "z_spec"
"""Object column with the truth: the spectroscopic redshift."""


class Options(TaskOptions):
    """Photometric redshifts."""

    z_max: float = Field(1.0, gt=0, le=10, description="Upper end of the grid of p(z), from 0.")
    bins: int = Field(200, ge=10, le=2000, description="Bins of the grid.")
    backbone: Backbone = Field("small", description=BACKBONES)
    width: int = Field(
        16, ge=4, description="Channels of the small trunk's first stage; doubled at each next."
    )
    blocks: int = Field(1, ge=1, description="Residual blocks per stage of the small trunk.")
    hidden: int = Field(128, ge=8, description="Units of the dense layers.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout in the dense layers.")
    drop_band: float = Field(
        0.03,
        ge=0,
        lt=1,
        description="Chance that training hides a band, so that one may be missing.",
    )
    train: TrainOptions = Field(TrainOptions(), description="The training loop.")


class Table(Strict):
    """A table of real photometry with spectroscopic redshifts, to be rendered."""

    file: str = Field(
        description="CSV, text or FITS table, .gz too, or several by wildcards. Environment "
        "variables are filled in."
    )
    columns: list[str] | None = Field(
        None, description="Names of all columns in order, where the file's header has them wrong."
    )
    z_spec: str = Field("z_spec", description="Column of the spectroscopic redshift.")
    mag: str = Field(
        "mag_{band}", description="Columns of magnitudes; {BAND} is the band in capitals."
    )
    mag_err: str = Field(
        "mag_err_{band}",
        description="Columns of their errors, by which types are told; may be absent.",
    )
    system: str = Field(
        "ab", pattern="^(ab|sdss)$", description="ab: logarithmic; sdss: asinh magnitudes of SDSS."
    )
    dereddened: bool = Field(True, description="Whether Galactic extinction is taken off already.")


class Sky(Strict):
    """The simulated sky of the redshifts."""

    objects: int = Field(4000, ge=1, description="Galaxies drawn, where no table is named.")
    mag_limit: float = Field(
        17.8, ge=12, le=26, description="Faintest r magnitude of drawn galaxies, AB."
    )
    z_max: float = Field(0.4, gt=0.01, le=6, description="Highest redshift of drawn galaxies.")
    wrong: float = Field(0.015, ge=0, lt=1, description="Fraction with a wrong spectroscopic z.")
    sed_scatter: float = Field(
        0.03, ge=0, description="Scatter of drawn spectra from their type's, mag per band."
    )
    zero_point_jitter: float = Field(
        0.01, ge=0, description="Scatter of the zero points of each band and degree of sky, mag."
    )
    tables: list[Table] = Field([], description="Tables whose galaxies are rendered instead.")
    copies: int = Field(
        1,
        ge=1,
        description="Times each galaxy of the train split is drawn: other noise, seeing, shape.",
    )


COLUMNS = (
    Column(
        "z_phot",
        "float32",
        "",
        "src.redshift.phot",
        "Photometric redshift: median of p(z)",
    ),
    Column("z_mean", "float32", "", "src.redshift.phot;stat.mean", "Mean of p(z)"),
    Column("z_mode", "float32", "", "src.redshift.phot;stat.max", "Mode of p(z)"),
    Column("z_low_68", "float32", "", "src.redshift.phot;stat.min", "16th percentile of p(z)"),
    Column("z_high_68", "float32", "", "src.redshift.phot;stat.max", "84th percentile of p(z)"),
    Column("z_low_95", "float32", "", "src.redshift.phot;stat.min", "2.5th percentile of p(z)"),
    Column("z_high_95", "float32", "", "src.redshift.phot;stat.max", "97.5th percentile of p(z)"),
    Column(
        "odds",
        "float32",
        "",
        "stat.probability",
        "Probability that z lies within 0.06 (1 + z_mode) of z_mode (after Benitez 2000)",
    ),
    Column(
        "unlike",
        "float32",
        "",
        "stat.value",
        "Distance from the training sample in what the network sees, over that which 1% of the "
        "validation split exceeds; above 1 flagged unlike",
    ),
    Column(
        "pz",
        "float32",
        "",
        "stat.probability;src.redshift.phot",
        "p(z), probability per unit redshift, at z = pz_first + k pz_step",
        length="bins",
    ),
    Column("pz_first", "float32", "", "src.redshift", "Redshift of the first value of pz"),
    Column("pz_step", "float32", "", "src.redshift", "Step in redshift between values of pz"),
)


def targets(objects: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read the spectroscopic redshifts from a store's object table.

    Parameters
    ----------
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    targets : dict
        ``z_spec`` (n,) float32; NaN where there is none.
    labelled : (n,) array of bool
        Rows with a redshift, unless a text column ``labels`` names the tasks a row has labels for,
        and this one is not among them.
    """
    known = labelled(objects, "photoz", LABEL)
    z_spec = np.asarray(objects.get(LABEL, np.full(len(known), np.nan)), np.float32)
    return {LABEL: z_spec}, known & np.isfinite(z_spec)


def check(targets: dict[str, np.ndarray], split: str, options: Options | None = None) -> None:
    """Refuse the labelled rows of a split if nothing can be learnt or measured on them.

    Parameters
    ----------
    targets : dict
        ``z_spec`` (n,) of the split's labelled rows.
    split : str
        ``train`` or ``val``.
    options : Options, optional
        Where the grid ends; without them only its lower end is known.
    """
    values = targets[LABEL]
    z_max = options.z_max if options else np.inf
    grid = f"0 to {z_max:g}" if options else "0 or more"
    if odd := int((~((values >= 0) & (values <= z_max))).sum()):
        raise AstromlError(
            f"column {LABEL}: {odd} of {len(values)} labelled rows in split {split} lie outside "
            f"the grid of p(z), {grid}; raise z_max, or leave them out with the column labels"
        )
    if (values == values[0]).all():
        raise AstromlError(
            f"column {LABEL}: all {len(values)} labelled rows in split {split} are at redshift "
            f"{values[0]:g}; add objects at others, or use smaller sky cells (splits: nside)"
        )


def calibrate(output: dict, targets: dict[str, np.ndarray]) -> dict:
    """Calibrate p(z) on the validation split, and measure how far apart its objects lie.

    Parameters
    ----------
    output : dict
        ``pdf`` (n, bins) and ``summary`` (n, k) of the network, and the task's ``options``.
    targets : dict
        ``z_spec`` (n,).

    Returns
    -------
    dict
        What ``pdf.fit`` returned, and as ``unlike`` what ``unlike.fit`` did.
    """
    options = output["options"]
    z_spec = np.asarray(targets[LABEL], float)
    mass, broken = pdf.as_mass(output["pdf"])
    good = np.isfinite(z_spec) & ~broken
    facts = pdf.fit(mass[good], z_spec[good], pdf.bin_edges(options.z_max, options.bins))
    return facts | {"unlike": unlike.fit(output["summary"][~broken])}


def rows(output: dict, objects: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Turn network output into catalog rows, one per cutout.

    Parameters
    ----------
    output : dict
        ``pdf`` (n, bins) and ``summary`` (n, k) of the network, the task's ``options``, and
        ``calibration`` as ``calibrate`` returned it.
    objects : dict
        Columns (n,) of the store.

    Returns
    -------
    dict
        ``object_id``, the columns of ``COLUMNS``, each (n,), ``pz`` (n, bins), and ``flags`` with
        ``unlike`` added. Where the network said nothing finite, p(z) is flat and the object unlike.
    """
    options, fit = output["options"], output["calibration"]
    edges = pdf.bin_edges(options.z_max, options.bins)
    step = edges[1] - edges[0]
    raw, broken = pdf.as_mass(output["pdf"])
    mass = pdf.recalibrate(raw, fit["temperature"], *fit["beta"])
    mass[broken] = raw[broken]
    distance = unlike.measure(output["summary"], fit["unlike"])
    distance[broken] = unlike.FARTHEST
    n = len(mass)
    columns = pdf.describe(mass, edges) | {
        "unlike": distance,
        "pz": mass / step,
        "pz_first": np.full(n, step / 2),
        "pz_step": np.full(n, step),
    }
    found = {column.name: columns[column.name].astype(column.dtype) for column in COLUMNS}
    strange = np.where(found["unlike"] > 1, FLAGS["unlike"], 0).astype(objects["flags"].dtype)
    return {"object_id": objects["object_id"], **found, "flags": objects["flags"] | strange}


def _write_qp(rows: dict[str, np.ndarray], path: str | Path) -> None:
    from astroml.tasks.photoz.export import write_qp  # h5py is not needed for anything else here

    write_qp(rows, path)


EXPORTS = {".hdf5": _write_qp}
"""Further files of the catalog: ending -> what writes them, ``(rows, path)``."""
