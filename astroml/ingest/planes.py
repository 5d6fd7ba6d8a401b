"""The planes of one object, read as the survey's layout says."""

from __future__ import annotations

import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.errors import AstromlError
from astroml.ingest.files import Files, Image
from astroml.ingest.manifest import hint
from astroml.ingest.psf import fwhm
from astroml.ingest.reject import Reject
from astroml.ingest.tan import General, Tan
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
    """

    image: np.ndarray
    ivar: np.ndarray | None
    mask: np.ndarray
    wcs: Tan | General | None
    zero_point: float
    psf_fwhm: float
    file: Path


def layout_columns(layout: Layout) -> set[str]:
    """Return the manifest columns that the layout's names and axes use."""
    used = set()
    for plane in (layout.image, layout.noise, layout.mask, layout.psf):
        if plane is None:
            continue
        for template in (plane.file, str(plane.hdu)):
            try:
                fields = [part[1] for part in string.Formatter().parse(template) if part[1]]
            except ValueError as fault:
                raise AstromlError(f"layout: template {template!r}: {fault}") from None
            used |= set(fields) - {"band"}
        if plane.axis == "object":
            used.add("index")
    return used


def check_columns(layout: Layout, columns, where: str) -> None:
    """Refuse a manifest without the columns that the layout needs."""
    for name in sorted(layout_columns(layout)):
        if name not in columns:
            raise AstromlError(
                f"{where}: no column {name!r}, which the survey's file layout needs; "
                f"{hint(name, columns)}"
            )


def read_band(files: Files, survey: Survey, band: str, root: Path, row: dict, size: int) -> Pixels:
    """Read the planes of one band of one object.

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
        Cutout side, px of the survey's scale; of large images no more than is needed is read.

    Raises
    ------
    Reject
        If a file is missing or makes no sense.
    """
    layout, facts = survey.layout, survey.bands[band]
    image, plane = _locate(files, layout.image, survey, band, root, row)
    wcs = image.wcs
    rows, columns = _window(image, wcs, row, size, survey.pixel_scale)
    pixels = np.asarray(image.read(plane, rows, columns))
    mask, ivar = np.zeros(pixels.shape, np.uint8), None
    if layout.mask:
        found = _companion(files, layout.mask, survey, band, root, row, image, rows, columns)
        mask = our_bits(found, layout.mask_bits)
    if layout.noise:
        found = _companion(files, layout.noise, survey, band, root, row, image, rows, columns)
        ivar = inverse_variance(found, layout.noise_kind)
    scale = wcs.scale if wcs else survey.pixel_scale
    width = facts.psf_fwhm
    if layout.psf:
        width = _psf_width(files, layout.psf, survey, band, root, row) * scale
    with np.errstate(over="ignore"):
        pixels = pixels.astype(np.float32)
    if wcs and (columns.start or rows.start):
        wcs = wcs.cut(columns.start or 0, rows.start or 0)
    zero_point = _zero_point(image, layout.zero_point_key, facts.zero_point)
    return Pixels(pixels, ivar, mask, wcs, zero_point, width, image.path)


def our_bits(found: np.ndarray, bits: dict[str, int]) -> np.ndarray:
    """Translate a survey's mask plane.

    Parameters
    ----------
    found : (y, x) array
        The file's mask: bits, or any value but 0 for a bad pixel.
    bits : dict
        Our name -> the file's value; empty: any value but 0 is bad.

    Returns
    -------
    (y, x) uint8 array
        Bits of ``store.MASK``.
    """
    lost = ~np.isfinite(found) if found.dtype.kind == "f" else np.zeros(found.shape, bool)
    if not bits:
        return ((found != 0) | lost).astype(np.uint8) * MASK["bad"]
    values = np.where(lost, 0, found).astype(np.int64)
    mask = lost.astype(np.uint8) * MASK["bad"]
    for name, value in bits.items():
        mask |= ((values & value) != 0).astype(np.uint8) * MASK[name]
    return mask


def inverse_variance(found: np.ndarray, kind: str) -> np.ndarray:
    """Turn a noise plane into inverse variance.

    Parameters
    ----------
    found : (y, x) array
        Inverse variance, variance or rms, as ``kind`` says.
    kind : {'ivar', 'variance', 'rms'}

    Returns
    -------
    (y, x) float32 array
        0 where the plane holds no positive finite number.
    """
    found = found.astype(np.float64)
    usable = np.isfinite(found) & (found > 0)
    found[~usable] = 1.0
    with np.errstate(over="ignore", under="ignore"):
        ivar = {"ivar": found, "variance": 1 / found, "rms": found**-2.0}[kind]
        return np.where(usable & np.isfinite(ivar), ivar, 0).astype(np.float32)


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
    names = row | {"band": survey.bands[band].label or band}
    path = root / plane.file.format_map(names)
    hdu = plane.hdu.format_map(names) if isinstance(plane.hdu, str) else plane.hdu
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


def _window(image: Image, wcs, row: dict, size: int, scale: float) -> tuple[slice, slice]:
    """Return the rows and columns to read: all of a small image, the surroundings in a large."""
    high, wide = image.shape[-2:]
    if image.small:
        return slice(0, high), slice(0, wide)
    x, y = wcs.pixel(row["ra"], row["dec"]) if wcs else ((wide - 1) / 2, (high - 1) / 2)
    if not (-0.5 <= x <= wide - 0.5 and -0.5 <= y <= high - 0.5):
        raise off_image(image.path, row, x, y, (high, wide))
    reach = int(size / 2 * (scale / wcs.scale if wcs else 1)) + MARGIN
    x, y = int(x), int(y)
    return (
        slice(max(y - reach, 0), min(y + reach + 1, high)),
        slice(max(x - reach, 0), min(x + reach + 1, wide)),
    )


def off_image(path: Path, row: dict, x: float, y: float, shape: tuple[int, int]) -> Reject:
    """Return the reason for an object that lies beside its image."""
    return Reject(
        "read",
        path,
        f"the position {row['ra']:.5f} {row['dec']:+.5f} falls on pixel ({x:.0f}, {y:.0f}), "
        f"off the image of {shape[1]} x {shape[0]} pixels",
    )


def _companion(files, plane, survey, band, root, row, image: Image, rows, columns) -> np.ndarray:
    """Read the same rectangle of a plane that goes with the image."""
    found, place = _locate(files, plane, survey, band, root, row, image)
    if found.shape[-2:] != image.shape[-2:]:
        raise Reject(
            "read",
            found.path,
            f"{found.name} is {found.shape[-2:]} pixels, its image {image.shape[-2:]}",
        )
    return found.read(place, rows, columns)


def _psf_width(files, plane: Plane, survey: Survey, band: str, root: Path, row: dict) -> float:
    """Return the FWHM, px, of this band's PSF image; each is measured once."""
    found, place = _locate(files, plane, survey, band, root, row)
    if place not in found.measured:
        high, wide = found.shape[-2:]
        found.measured[place] = fwhm(found.read(place, slice(0, high), slice(0, wide)))
    if not np.isfinite(found.measured[place]):
        raise Reject("read", found.path, f"{found.name} holds no point spread function")
    return found.measured[place]


def _zero_point(image: Image, key: str | None, default: float) -> float:
    value = image.header.get(key, default) if key else default
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise Reject("read", image.path, f"{image.name}: {key} is {value!r}, expected magnitudes")
    return float(value)
