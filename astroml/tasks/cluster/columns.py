"""Columns of the cluster catalog, and the names of its rows."""

from __future__ import annotations

import numpy as np

from astroml.tasks import Column

COLUMNS = (
    Column(
        "cluster_prob",
        "float32",
        "",
        "stat.probability",
        "Probability that a cluster of richness 10 or more has its centre within 0.5 Mpc of here "
        "and its redshift within 0.05 (1 + z) of z_cluster; calibrated on the validation split at "
        "its share of clusters (not at the sky's); of several networks the mean, 0 counting where "
        "one found nothing",
    ),
    Column(
        "cluster_score",
        "float32",
        "",
        "stat.value",
        "Network output before calibration, logit; of several networks the mean of those that "
        "found it",
    ),
    Column(
        "z_cluster",
        "float32",
        "",
        "src.redshift.phot",
        "Redshift of the cluster from its galaxies' light: median of z_pdf",
    ),
    Column(
        "z_cluster_err",
        "float32",
        "",
        "stat.error;src.redshift.phot",
        "Half the width of the central 68% of z_pdf",
    ),
    Column(
        "richness",
        "float32",
        "",
        "meta.number",
        "Number of red member galaxies brighter than 0.2 L* within R_lambda = (richness/100)^0.2 "
        "Mpc/h: the median of the network's log-normal estimate",
    ),
    Column(
        "richness_err",
        "float32",
        "",
        "stat.error",
        "Error of richness: richness times ln_richness_err",
    ),
    Column(
        "ln_richness_err",
        "float32",
        "",
        "stat.error",
        "Error (68%) of the natural logarithm of richness",
    ),
    Column(
        "m200m",
        "float32",
        "1e14 solMass",
        "phys.mass",
        "Mass within the radius of 200 times the mean matter density, from richness and z_cluster "
        "(McClintock et al. 2019); below a richness of 20 the relation is extrapolated",
    ),
    Column(
        "m200m_err",
        "float32",
        "1e14 solMass",
        "stat.error;phys.mass",
        "Error of m200m: of richness, of z_cluster, and the relation's scatter of 25%",
    ),
    Column(
        "x",
        "float32",
        "arcsec",
        "pos.cartesian.x",
        "Centre of the cluster from its tile's centre, along a row of pixels, to the west",
    ),
    Column(
        "y",
        "float32",
        "arcsec",
        "pos.cartesian.y",
        "Centre of the cluster from its tile's centre, across the rows, to the north",
    ),
    Column(
        "tile_side", "float32", "arcsec", "phys.angSize", "Side of the tile, which object_id names"
    ),
    Column(
        "name",
        "str",
        "",
        "meta.id",
        "Designation from ra and dec, Jhhmmss.s+ddmmss, digits cut off as the IAU asks",
    ),
    Column(
        "z_pdf",
        "float32",
        "",
        "stat.probability;src.redshift.phot",
        "p(z) of the cluster, probability per unit redshift, at z = z_pdf_first + k z_pdf_step",
        length="z_bins",
    ),
    Column("z_pdf_first", "float32", "", "src.redshift", "Redshift of the first value of z_pdf"),
    Column("z_pdf_step", "float32", "", "src.redshift", "Step in redshift between its values"),
)


def designations(ra, dec) -> np.ndarray:
    """Return names such as J103015.2+023045 (n,) of positions, deg; digits are cut, not rounded."""
    ra, dec = np.atleast_1d(np.asarray(ra, float)), np.atleast_1d(np.asarray(dec, float))
    # To 1e-9 first: what is meant to be 15 s may lie a hair below.
    tenths = np.floor(np.round(np.mod(ra, 360) * 2400, 6)).astype(int) % 864_000
    seconds = np.floor(np.round(np.abs(dec) * 3600, 6)).astype(int)
    names = [
        f"J{t // 36000:02d}{t // 600 % 60:02d}{t // 10 % 60:02d}.{t % 10}"
        f"{'-' if below else '+'}{s // 3600:02d}{s // 60 % 60:02d}{s % 60:02d}"
        for t, s, below in zip(tenths.tolist(), seconds.tolist(), (dec < 0).tolist())
    ]
    return np.array(names, dtype="U17")
