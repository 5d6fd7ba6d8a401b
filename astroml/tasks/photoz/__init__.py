"""Photometric redshifts: a calibrated probability density p(z) for each galaxy."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from astroml.config import Strict, TaskOptions, TrainOptions
from astroml.tasks import Column

SET = "galaxy"
"""The cutout set that the task looks at."""

LABEL = "z_spec"
"""Object column with the truth: the spectroscopic redshift."""


class Options(TaskOptions):
    """Photometric redshifts."""

    z_max: float = Field(1.0, gt=0, le=10, description="Upper end of the grid of p(z), from 0.")
    bins: int = Field(200, ge=10, le=2000, description="Bins of the grid.")
    width: int = Field(16, ge=4, description="Channels of the first stage; doubled at each next.")
    blocks: int = Field(1, ge=1, description="Residual blocks per stage.")
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
    mag_limit: float = Field(17.8, description="Faintest r magnitude of drawn galaxies, AB.")
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
