"""Where the planes of one object are in its files, and what their headers say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.ingest.files import Files, Image
from astroml.ingest.psf import fwhm
from astroml.ingest.reject import Absent, Reject
from astroml.ingest.tan import General, Tan
from astroml.ingest.templates import fill
from astroml.survey import Layout, Plane, Survey


@dataclass
class Said:
    """What the headers of one band say.

    Attributes
    ----------
    zero_point : float
        AB magnitude of one unit of flux.
    psf_fwhm : float
        arcsec
    limit : float
        From which pixels are saturated.
    """

    zero_point: float
    psf_fwhm: float
    limit: float


def read_said(image: Image, files: Files, survey: Survey, band: str, root, row, wcs) -> Said:
    """Return what the headers of one band's image, with its ``wcs``, say."""
    layout, facts = survey.layout, survey.bands[band]
    scale = wcs.scale if wcs else survey.pixel_scale
    width = facts.psf_fwhm
    if layout.psf_key:
        width = _card(image, files, layout.psf_key, width / scale, "pixels") * scale
    if layout.psf:
        width = _psf_width(files, layout.psf, survey, band, root, row, facts, scale)
    limit = _card(image, files, layout.saturation_key, np.inf, "counts", endless=True)
    return Said(_zero_point(image, files, layout, facts.zero_point), width, limit)


@dataclass
class Found:
    """Where the planes of one band are; each is an HDU and, in a cube, the plane's number."""

    image: tuple[Image, int | None]
    mask: tuple[Image, int | None] | None
    noise: tuple[Image, int | None] | None
    wcs: Tan | General | None
    said: Said


def find_planes(files: Files, survey: Survey, band: str, root: Path, row: dict) -> Found:
    """Find the planes of one band of one object and read their headers, but no pixel.

    Raises
    ------
    Reject
        If anything is missing or makes no sense.
    """
    layout = survey.layout
    image, plane = locate(files, layout.image, survey, band, root, row)
    wcs = None if layout.pixel_columns else image.wcs
    mask, noise = (
        find_beside(files, one, survey, band, root, row, image) if one else None
        for one in (layout.mask, layout.noise)
    )
    said = read_said(image, files, survey, band, root, row, wcs)
    return Found((image, plane), mask, noise, wcs, said)


def locate(
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
        return image, object_place(image, row["index"])
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


def object_place(image: Image, index) -> int:
    """Return the plane of an object in a cube of objects."""
    try:
        place = int(index)
    except (TypeError, ValueError):
        raise Reject("read", image.path, f"index is {index!r}, expected a number") from None
    if place != index or not 0 <= place < image.shape[0]:
        raise Reject(
            "read", image.path, f"no plane {index}: {image.name} holds 0 to {image.shape[0] - 1}"
        )
    return place


def find_beside(files, plane, survey, band, root, row, image: Image):
    """Find a plane that goes with the image: its HDU, and its number if that is a cube."""
    try:
        found, place = locate(files, plane, survey, band, root, row, image)
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
    return found, place


def _psf_width(files, plane: Plane, survey: Survey, band, root, row, facts, scale) -> float:
    """Return the FWHM, arcsec, of this band's PSF image; each is measured once."""
    try:
        found, place = locate(files, plane, survey, band, root, row)
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
