"""The planes of one object, read as the survey's layout says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.ingest.companions import inverse_variance, translate, weigh, without_sky
from astroml.ingest.files import Files, Image
from astroml.ingest.find import find_beside, locate, read_said
from astroml.ingest.reject import Reject
from astroml.ingest.tan import General, Tan
from astroml.ingest.templates import exposures, layout_columns
from astroml.store import MASK
from astroml.survey import Layout, Survey

MARGIN = 16
"""Pixels around a cutout that are read with it from a large image, for resampling."""


@dataclass
class Pixels:
    """One band of one object, as far as it was read.

    Attributes
    ----------
    image : (y, x) float32 array
        In the file's unit; NaN where the file has it.
    ivar : (y, x) float32 array or None
        Inverse variance in the file's unit; 0 where the noise plane holds no usable number.
    mask : (y, x) uint8 array
        Bits of ``store.MASK``.
    wcs : Tan, General or None
        From sky to these pixels.
    zero_point : float
        AB magnitude of one unit of flux.
    psf_fwhm : float
        arcsec.
    file : Path
        Where the image comes from.
    place : tuple of float or None
        The object's pixel (x, y); None: the WCS or else the middle of the image tells.
    """

    image: np.ndarray
    ivar: np.ndarray | None
    mask: np.ndarray
    wcs: Tan | General | None
    zero_point: float
    psf_fwhm: float
    file: Path
    place: tuple[float, float] | None = None

    def at(self, row: dict) -> tuple[float, float]:
        """Return the object's pixel (x, y); NaN if the WCS has none."""
        if self.place is not None:
            return self.place
        if self.wcs:
            return self.wcs.pixel(row["ra"], row["dec"])
        return (self.image.shape[1] - 1) / 2, (self.image.shape[0] - 1) / 2

    @property
    def shows(self) -> bool:
        """Whether the object's middle is among these pixels."""
        return self.place is None or on_image(*self.place, self.image.shape)


def read_exposures(
    files: Files,
    survey: Survey,
    band: str,
    root: Path,
    row: dict,
    size: int,
    used: set[str] | None = None,
) -> list[Pixels]:
    """Read every file of one band of one object: one, or exposures and tiles to be combined.

    Files that show nothing of the cutout are left out, unless all do. ``used`` are the columns
    that the layout names, if the caller knows them.
    """
    if used is None:
        used = layout_columns(survey.layout, {band: survey.bands[band]})
    try:
        told = exposures(row, used)
    except ValueError as fault:
        raise Reject("manifest", "", str(fault)) from None
    if len(told) == 1:
        return [read_band(files, survey, band, root, row, size)]
    found, beside = [], None
    for one in told:
        try:
            found.append(read_band(files, survey, band, root, one, size, alone=False))
        except OffImage as fault:
            beside = beside or fault
    if not any(pixels.shows for pixels in found):
        raise beside or OffImage(
            "read", found[0].file, f"{found[0].file.name} and the others do not show the position"
        )
    return found


def read_band(
    files: Files, survey: Survey, band: str, root: Path, row: dict, size: int, alone: bool = True
) -> Pixels:
    """Read the planes of one band of one object from one file.

    Parameters
    ----------
    files : Files
    survey : Survey
    band : str
        Key of ``survey.bands``.
    root : Path
        Folder that file names start from.
    row : dict
        The object's row of the manifest, plain Python values.
    size : int
        Side of what is needed, px of the survey's scale; of large images no more is read.
    alone : bool
        Whether the object must lie on this image, as no other file shows it.

    Raises
    ------
    Reject
        If a file is missing or makes no sense.
    """
    layout = survey.layout
    image, plane = locate(files, layout.image, survey, band, root, row)
    wcs = None if layout.pixel_columns else image.wcs
    place = place_on(image.shape, wcs, layout, row)
    rows, columns = _window(image, wcs, place, row, size, survey.pixel_scale, alone)
    pixels = np.asarray(image.read(plane, rows, columns))
    mask, ivar = np.zeros(pixels.shape, np.uint8), None
    if layout.mask:
        found = _companion(files, layout.mask, survey, band, root, row, image, rows, columns)
        if found is not None:
            mask = translate(*found, layout)
    if layout.noise:
        found = _companion(files, layout.noise, survey, band, root, row, image, rows, columns)
        if found is not None:
            ivar = inverse_variance(found[0], layout.noise_kind)
    said = read_said(image, files, survey, band, root, row, wcs)
    with np.errstate(over="ignore"):
        pixels = pixels.astype(np.float32)
    if layout.saturation_key:
        mask[pixels >= said.limit] |= MASK["saturated"]
    if ivar is not None and layout.noise_kind == "weight":
        ivar = weigh(pixels, ivar)
    if layout.sky_in_files:
        pixels = without_sky(pixels, mask, ivar)
    if wcs and (columns.start or rows.start):
        wcs = wcs.cut(columns.start or 0, rows.start or 0)
    place = place[0] - columns.start, place[1] - rows.start
    return Pixels(pixels, ivar, mask, wcs, said.zero_point, said.psf_fwhm, image.path, place)


def place_on(shape, wcs, layout: Layout, row: dict) -> tuple[float, float]:
    """Return the object's pixel (x, y) of a whole image of (..., y, x) pixels."""
    if layout.pixel_columns:
        try:
            x, y = (float(row[name]) - layout.pixel_origin for name in layout.pixel_columns)
        except ValueError:
            x = y = np.nan
        if not np.isfinite([x, y]).all():
            raise Reject("manifest", "", f"no pixel position in {layout.pixel_columns}")
        return x, y
    if wcs:
        return wcs.pixel(row["ra"], row["dec"])
    return (shape[-1] - 1) / 2, (shape[-2] - 1) / 2


def on_image(x: float, y: float, shape: tuple[int, int]) -> bool:
    """Say whether a pixel position lies within an image of (y, x) pixels."""
    return -0.5 <= x <= shape[1] - 0.5 and -0.5 <= y <= shape[0] - 0.5


def _window(
    image: Image, wcs, place, row: dict, size: int, scale: float, alone: bool
) -> tuple[slice, slice]:
    """Return the rows and columns to read: all of a small image, the surroundings in a large."""
    high, wide = image.shape[-2:]
    x, y = place
    if image.small and alone:
        return slice(0, high), slice(0, wide)
    if not on_image(x, y, (high, wide)) and (alone or not np.isfinite([x, y]).all()):
        raise off_image(image.path, row, x, y, (high, wide))
    reach = int(0.75 * size * (scale / wcs.scale if wcs else 1)) + MARGIN
    x, y = int(np.floor(x)), int(np.floor(y))
    rows = slice(max(y - reach, 0), max(min(y + reach + 1, high), 0))
    columns = slice(max(x - reach, 0), max(min(x + reach + 1, wide), 0))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        raise off_image(image.path, row, x, y, (high, wide))
    return (slice(0, high), slice(0, wide)) if image.small else (rows, columns)


class OffImage(Reject):
    """The object is not on the image; another file may show it."""


def off_image(path: Path, row: dict, x: float, y: float, shape: tuple[int, int]) -> OffImage:
    """Return the reason for an object that lies beside its image."""
    where = f"pixel ({x:.0f}, {y:.0f}), off the image of {shape[1]} x {shape[0]} pixels"
    return OffImage(
        "read", path, f"the position {row['ra']:.5f} {row['dec']:+.5f} falls on {where}"
    )


def _companion(files, plane, survey, band, root, row, image: Image, rows, columns):
    """Read the same rectangle of a plane that goes with the image, and its header.

    None if the plane is optional and its file or HDU is absent or holds nothing.
    """
    beside = find_beside(files, plane, survey, band, root, row, image)
    if beside is None:
        return None
    found, place = beside
    return found.read(place, rows, columns), found.header
