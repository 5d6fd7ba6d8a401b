"""The planes of one object, read as the survey's layout says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.ingest.companions import inverse_variance, translate, weigh, without_sky
from astroml.ingest.files import Files, Image
from astroml.ingest.psf import fwhm
from astroml.ingest.reject import Absent, Reject
from astroml.ingest.tan import General, Tan
from astroml.ingest.templates import exposures, fill, layout_columns
from astroml.store import MASK
from astroml.survey import Layout, Plane, Survey

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
    layout, facts = survey.layout, survey.bands[band]
    image, plane = _locate(files, layout.image, survey, band, root, row)
    wcs = None if layout.pixel_columns else image.wcs
    place = _place(image, wcs, layout, row)
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
    scale = wcs.scale if wcs else survey.pixel_scale
    width = facts.psf_fwhm
    if layout.psf_key:
        width = _card(image, files, layout.psf_key, width / scale, "pixels") * scale
    if layout.psf:
        width = _psf_width(files, layout.psf, survey, band, root, row, facts, scale)
    with np.errstate(over="ignore"):
        pixels = pixels.astype(np.float32)
    if layout.saturation_key:
        limit = _card(image, files, layout.saturation_key, np.inf, "counts", endless=True)
        mask[pixels >= limit] |= MASK["saturated"]
    if ivar is not None and layout.noise_kind == "weight":
        ivar = weigh(pixels, ivar)
    if layout.sky_in_files:
        pixels = without_sky(pixels, mask, ivar)
    if wcs and (columns.start or rows.start):
        wcs = wcs.cut(columns.start or 0, rows.start or 0)
    place = place[0] - columns.start, place[1] - rows.start
    zero_point = _zero_point(image, files, layout, facts.zero_point)
    return Pixels(pixels, ivar, mask, wcs, zero_point, width, image.path, place)


def _locate(
    files: Files,
    plane: Plane,
    survey: Survey,
    band: str,
    root: Path,
    row: dict,
    science: Image | None = None,
) -> tuple[Image, int | None]:
    """Return the HDU of a plane and the position of this band or object in its cube.

    Where the HDU does not name its bands, those of the ``science`` HDU count.
    """
    facts = survey.bands[band]
    path = root / fill(plane.file, band, facts, row)
    hdu = fill(plane.hdu, band, facts, row) if isinstance(plane.hdu, str) else plane.hdu
    image = files.image(path, hdu)
    if len(image.shape) == 2 and plane.axis != "object":
        return image, None
    if len(image.shape) != 3:
        raise Reject("read", path, f"{image.name} has {len(image.shape)} axes of {image.shape}")
    if plane.axis == "band":
        return image, _band_place(image, science or image, survey, band)
    if plane.axis == "object":
        return image, _object_place(image, row["index"])
    if image.shape[0] == 1:
        return image, 0
    raise Reject(
        "read",
        path,
        f"{image.name} is a cube of {image.shape}, expected an image; "
        "the layout's 'axis' says what a cube's first axis counts",
    )


def _band_place(image: Image, science: Image, survey: Survey, band: str) -> int:
    depth = image.shape[0]
    told = survey.bands[band].plane
    if told is not None:
        if told < depth:
            return told
        raise Reject("read", image.path, f"{image.name} has {depth} planes, none at {told}")
    listed = _band_names(image.header, depth) or _band_names(science.header, depth)
    listed = listed or [one.label or key for key, one in survey.bands.items()]
    if len(listed) != depth:
        raise Reject(
            "read", image.path, f"{image.name} has {depth} planes for bands {', '.join(listed)}"
        )
    label = survey.bands[band].label or band
    if label not in listed:
        raise Reject("read", image.path, f"no band {label}; it has {', '.join(listed)}")
    return listed.index(label)


def _band_names(header, depth: int) -> list[str]:
    """Return the bands that a cube's header lists in BANDS (``grz``, ``g r z`` or ``g,r,z``)."""
    names = str(header.get("BANDS", "")).strip()
    if names:
        listed = names.replace(",", " ").split()
        return list(names) if len(listed) == 1 and len(names) == depth else listed
    if "BAND0" in header:
        return [str(header.get(f"BAND{n}", "")).strip() for n in range(depth)]
    return []


def _object_place(image: Image, index) -> int:
    try:
        place = int(index)
    except (TypeError, ValueError):
        raise Reject("read", image.path, f"index is {index!r}, expected a number") from None
    if place != index or not 0 <= place < image.shape[0]:
        raise Reject(
            "read", image.path, f"no plane {index}: {image.name} holds 0 to {image.shape[0] - 1}"
        )
    return place


def _place(image: Image, wcs, layout: Layout, row: dict) -> tuple[float, float]:
    """Return the object's pixel (x, y) of the whole image."""
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
    return (image.shape[-1] - 1) / 2, (image.shape[-2] - 1) / 2


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
    try:
        found, place = _locate(files, plane, survey, band, root, row, image)
    except Absent:
        if plane.optional:
            return None
        raise
    if found.shape[-2:] != image.shape[-2:]:
        raise Reject(
            "read",
            found.path,
            f"{found.name} is {found.shape[-2:]} pixels, its image {image.shape[-2:]}",
        )
    return found.read(place, rows, columns), found.header


def _psf_width(files, plane: Plane, survey: Survey, band, root, row, facts, scale) -> float:
    """Return the FWHM, arcsec, of this band's PSF image; each is measured once."""
    try:
        found, place = _locate(files, plane, survey, band, root, row)
    except Absent:
        if plane.optional:
            return facts.psf_fwhm
        raise
    if place not in found.measured:
        high, wide = found.shape[-2:]
        found.measured[place] = fwhm(found.read(place, slice(0, high), slice(0, wide)))
    if not np.isfinite(found.measured[place]):
        raise Reject("read", found.path, f"{found.name} holds no point spread function")
    return found.measured[place] * scale


def _zero_point(image: Image, files: Files, layout: Layout, default: float) -> float:
    """Return the AB magnitude of one unit; cards may stand in the primary header."""
    value = _card(image, files, layout.zero_point_key, default, "magnitudes")
    if layout.exposure_key:
        seconds = _card(image, files, layout.exposure_key, None, "seconds")
        if seconds <= 0:
            raise Reject("read", image.path, f"{image.name}: {layout.exposure_key} is {seconds}")
        value += 2.5 * np.log10(seconds)
    return float(value)


def _card(
    image: Image, files: Files, key: str | None, default, kind: str, endless: bool = False
) -> float:
    """Return a number from the image's header or the primary one."""
    if not key:
        return default
    value = image.header.get(key)
    if value is None:
        value = files.primary(image.path).get(key, default)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or np.isnan(value) or not (endless or np.isfinite(value)):
        raise Reject("read", image.path, f"{image.name}: {key} is {value!r}, expected {kind}")
    return value
