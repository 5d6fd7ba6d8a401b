"""The pixels behind a catalog's rows: arrays of one object, a mosaic of many."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from astroml import tasks
from astroml.errors import AstromlError
from astroml.rgb import colour, colour_bands
from astroml.store import Store, open_store

ACROSS = 5
"""Cutouts in a row of a mosaic."""

BAR = 5.0
"""Length of the scale bar, arcsec."""


@dataclass(frozen=True)
class Cutout:
    """One object as the store has it."""

    object_id: int | str
    ra: float
    """deg, ICRS"""
    dec: float
    image: np.ndarray
    """(band, y, x), nJy per pixel; row 0 is the lowest, as the survey has it."""
    mask: np.ndarray
    """(band, y, x) uint8, bits of ``astroml.store.MASK``; 0 is a good pixel."""
    sigma: np.ndarray
    """(band,) background noise of a pixel, nJy."""
    psf_fwhm: np.ndarray
    """(band,) arcsec."""
    bands: tuple[str, ...]
    pixel_scale: float
    """arcsec"""

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Edges from the centre, arcsec, as ``imshow`` takes them: left, right, bottom, top."""
        half_y, half_x = (side * self.pixel_scale / 2 for side in self.image.shape[1:])
        return (-half_x, half_x, -half_y, half_y)

    @property
    def rgb(self) -> np.ndarray:
        """Colours (y, x, 3) uint8; draw them with ``origin="lower"``."""
        bands = colour_bands(self.bands)
        return colour(
            np.nan_to_num(self.image[None, bands]), np.nan_to_num(self.sigma[None, bands])
        )[0]


def cutout(catalog, object_id) -> Cutout:
    """Read an object's pixels from the run's store.

    Parameters
    ----------
    catalog : Catalog
        Says which run and task.
    object_id : int or str
        As in the catalog.
    """
    store, (row,) = find(catalog, [object_id])
    data = store.read([row])
    objects = store.objects
    return Cutout(
        object_id,
        float(objects["ra"][row]),
        float(objects["dec"][row]),
        *(data[name][0] for name in ("image", "mask", "sigma", "psf_fwhm")),
        store.header.bands,
        store.header.pixel_scale,
    )


def find(catalog, object_ids) -> tuple[Store, list[int]]:
    """Return the store of a run that holds some objects, and their rows in it.

    That of the catalog's task; of a catalog of no task, the first that has them all.
    """
    folder = catalog.run.results / catalog.run.name / "store"
    if catalog.name in tasks.names():
        places = [folder / tasks.load(catalog.name).SET]
    else:
        places = sorted(one for one in folder.glob("*") if one.is_dir())
    if not [one for one in places if one.is_dir()]:
        raise AstromlError(f"{folder}: no store; open the catalog with results=, its folder")
    for place in places:
        store = open_store(place)
        known = {one: row for row, one in enumerate(store.objects["object_id"].tolist())}
        rows = [known.get(one) for one in object_ids]
        if None not in rows:
            return store, rows
    lost = object_ids[rows.index(None)]
    raise AstromlError(f"object {lost}: not in {places[-1]}; it may be of another run")


def picture(**how):
    """Return a matplotlib figure that a notebook shows, whether pyplot was imported or not."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            file = io.BytesIO()
            self.savefig(file, format="png")
            return file.getvalue()

    return Picture(**how)


def mosaic(catalog, n: int = 20):
    """Draw colour cutouts of a catalog's first rows, with one stretch for all.

    Returns
    -------
    matplotlib.figure.Figure
        Each cutout with its id, and the value that ``Catalog.top`` would sort by; a scale bar of
        5 arcsec in the first.
    """
    head = catalog.head(n).sheet.table
    if not len(head):
        raise AstromlError(f"{catalog.name}: no rows to show")
    score = next((one for one in head.column_names if one.endswith(("_prob", "_score"))), None)
    ids = head["object_id"].to_pylist()
    store, rows = find(catalog, ids)
    bands = colour_bands(store.header.bands)
    data = store.read(rows, names=("image", "sigma"))
    image = np.nan_to_num(data["image"][:, bands], posinf=0.0, neginf=0.0)
    drawn = colour(image, np.nan_to_num(data["sigma"][:, bands]))
    down = -(-len(ids) // ACROSS)
    figure = picture(figsize=(2.1 * ACROSS, 2.4 * down), layout="constrained")
    axes = figure.subplots(down, ACROSS, squeeze=False).ravel()
    for at, one in enumerate(axes):
        one.set_axis_off()
        if at < len(ids):
            one.imshow(drawn[at], origin="lower", interpolation="nearest")
            value = head[score][at].as_py() if score else None
            told = "" if value is None else f"\n{score} {value:.3g}"
            one.set_title(f"{ids[at]}{told}", fontsize=8)
    length = BAR / store.header.pixel_scale
    axes[0].plot([3, 3 + length], [3, 3], color="white", linewidth=2)
    axes[0].text(3 + length / 2, 5, f"{BAR:g}″", color="white", ha="center", fontsize=8)
    return figure
