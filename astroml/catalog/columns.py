"""Columns of every catalog: those all tasks share, around the task's own."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from astroml import tasks
from astroml.catalog.region import CELL
from astroml.store.layout import FLAG_MEANING, FLAGS
from astroml.tasks import Column

FIRST = (
    Column("object_id", "int64", "", "meta.id;meta.main", "Object, as the manifest names it"),
    Column("ra", "float64", "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS"),
    Column("dec", "float64", "deg", "pos.eq.dec;meta.main", "Declination, ICRS"),
)
LAST = (
    Column(
        "flags",
        "int32",
        "",
        "meta.code.qual",
        "Quality, bits added up: "
        + "; ".join(f"{bit} {name} ({FLAG_MEANING[name]})" for name, bit in FLAGS.items()),
    ),
    Column("weights", "str", "", "meta.id;meta.software", "Hash of the weights that made the row"),
    Column("input", "str", "", "meta.id;meta.dataset", "Hash of the shard that the row is from"),
)
HEALPIX = Column(
    CELL,
    "int64",
    "",
    "pos.healpix",
    "Cell of the position: HEALPix, nested, order 29, as HATS has it; the rows are in its order; "
    "-1 without a position",
)


QUALITY = (
    Column(
        "masked_fraction", "float32", "", "meta.code.qual", "Masked part of the worst band, 0 to 1"
    ),
    Column("dx", "float32", "pix", "pos.cartesian.x;arith.diff", "Object from the centre, in x"),
    Column("dy", "float32", "pix", "pos.cartesian.y;arith.diff", "Object from the centre, in y"),
    Column(
        "centroid_dx",
        "float32",
        "pix",
        "pos.cartesian.x;arith.diff",
        "Centroid of the light from the object's position, in x; NaN where there is none",
    ),
    Column(
        "centroid_dy",
        "float32",
        "pix",
        "pos.cartesian.y;arith.diff",
        "Centroid of the light from the object's position, in y; NaN where there is none",
    ),
)
"""Columns of a catalog whose store measured them."""

QUALITY_PER_BAND = (
    Column("masked", "float32", "", "meta.code.qual", "Masked part of band {}, 0 to 1"),
    Column("sky", "float32", "", "instr.skyLevel", "Sky level of band {} in units of its noise"),
)
"""The same for each band: the name gets the band's behind it."""

PHOTOMETRY = (
    Column(
        "r_half",
        "float32",
        "arcsec",
        "phys.angSize",
        "Half-light radius of a Gaussian with the galaxy's second moments, seeing taken off",
    ),
)
"""Columns of a catalog whose store holds photometry."""

PHOTOMETRY_PER_BAND = (
    Column(
        "flux",
        "float32",
        "nJy",
        "phot.flux",
        "Flux in band {}, as it is on the sky, in a Gaussian aperture matched to the seeing; NaN "
        "where there is none",
    ),
    Column(
        "flux_err",
        "float32",
        "nJy",
        "stat.error;phot.flux",
        "Error of the flux in band {}, that of the background alone",
    ),
    Column(
        "mw_transmission",
        "float32",
        "",
        "phys.transmission;phys.absorption.gal",
        "Share of the light in band {} that the Milky Way's dust lets through",
    ),
)
"""The same for each band; the UCD gets the band's part of the spectrum behind it."""

SPECTRUM = {
    "u": "em.opt.U",
    "g": "em.opt.B",
    "r": "em.opt.R",
    "i": "em.opt.I",
    "z": "em.opt.I",
    "y": "em.opt.I",
    "VIS": "em.opt",
    "Y": "em.IR.J",
    "J": "em.IR.J",
    "H": "em.IR.H",
    "K": "em.IR.K",
    "Ks": "em.IR.K",
}
"""Band -> UCD word of the wavelengths it lies at; a band of another name gets none."""


def all_columns(task: str, known=()) -> tuple[Column, ...]:
    """Return every column of a task's catalog, in order.

    Parameters
    ----------
    task : str
        Name of the task.
    known : iterable of str
        Names of the columns at hand, of which those of quality and photometry are taken along.
    """
    flags, *made_by = LAST
    module = tasks.load(task)
    own = (*module.COLUMNS, *getattr(module, "RANK_COLUMNS", ()))
    measured = quality(name for name in known if name not in {column.name for column in own})
    return (*FIRST, *own, flags, *measured, *made_by, HEALPIX)


def quality(known) -> list[Column]:
    """Return what quality and photometry columns among some names mean, in the names' order."""
    whole = {column.name: column for column in (*QUALITY, *PHOTOMETRY)}
    found = [whole.get(name) or _of_band(name) for name in known]
    return [column for column in found if column]


def _of_band(name: str) -> Column | None:
    """Return what a column of one band means; None if the name is none of these."""
    shared = (*QUALITY_PER_BAND, *PHOTOMETRY_PER_BAND)
    # The longest first, so that flux_err_g is not the flux of a band called err_g.
    for column in sorted(shared, key=lambda one: -len(one.name)):
        band = name.removeprefix(f"{column.name}_")
        if band not in ("", name):
            ucd = column.ucd
            if column in PHOTOMETRY_PER_BAND and band in SPECTRUM:
                ucd = f"{ucd};{SPECTRUM[band]}"
            return replace(column, name=name, ucd=ucd, description=column.description.format(band))
    return None


def arrow_type(column: Column, length: int = 0) -> pa.DataType:
    """Return the Arrow type of a column, whose cells are lists if ``length`` is given."""
    kinds = {"str": pa.string(), "bool": pa.bool_()}
    kind = kinds.get(column.dtype) or getattr(pa, column.dtype)()
    return pa.list_(kind, length) if length else kind
