"""From sky to pixels.

Plain tangent-plane headers, which is what cutout services write, need thirty lines of
trigonometry; making an astropy ``WCS`` for each of a million files takes longer than reading
them. Any other header gets the ``WCS``. Pixels count from 0 at the centre of the first pixel.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from astropy.wcs import WCS

from astroml.ingest.plain import Cards

SIP_ORDERS = ("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER")

MOST_SIP = 9
"""Largest order of a SIP polynomial (Shupe et al. 2005); astropy asks for all terms of any."""


SAME = 0.05
"""Bands share pixels where their maps from the sky differ by less at the corners, px."""


@dataclass(frozen=True)
class Tan:
    """A tangent-plane WCS (Calabretta & Greisen 2002).

    Attributes
    ----------
    pole : tuple of float
        Sky position of the tangent point, deg.
    origin : tuple of float
        The tangent point's pixel (x, y), from 0.
    matrix : tuple of float
        CD1_1, CD1_2, CD2_1, CD2_2, deg per pixel.
    """

    pole: tuple[float, float]
    origin: tuple[float, float]
    matrix: tuple[float, float, float, float]

    def pixel(self, ra: float, dec: float) -> tuple[float, float]:
        """Return the pixel (x, y) of a sky position, deg; NaN if it is on the far side."""
        ra_0, dec_0 = self.pole
        a, d, d0 = math.radians(ra - ra_0), math.radians(dec), math.radians(dec_0)
        sin_d, cos_d, sin_0, cos_0 = math.sin(d), math.cos(d), math.sin(d0), math.cos(d0)
        depth = sin_d * sin_0 + cos_d * cos_0 * math.cos(a)
        if depth <= 0:
            return math.nan, math.nan
        xi = math.degrees(cos_d * math.sin(a) / depth)
        eta = math.degrees((sin_d * cos_0 - cos_d * sin_0 * math.cos(a)) / depth)
        m11, m12, m21, m22 = self.matrix
        det = m11 * m22 - m12 * m21
        x = self.origin[0] + (m22 * xi - m12 * eta) / det
        y = self.origin[1] + (m11 * eta - m21 * xi) / det
        return float(x), float(y)

    def shift(self, other: Tan) -> tuple[int, int] | None:
        """Say what to add to a pixel (x, y) to find the same sky on another map.

        None where that is no whole number of pixels, or where pole or matrix differ, so that it is
        not the same everywhere.
        """
        if self is other:
            return 0, 0
        if self.pole != other.pole or self.matrix != other.matrix:
            return None
        x, y = (there - here for here, there in zip(self.origin, other.origin))
        near = math.hypot(x - round(x), y - round(y)) < SAME
        return (round(x), round(y)) if near else None

    def cut(self, x: int, y: int) -> Tan:
        """Return the map of the image whose first pixel is this one's (x, y)."""
        return replace(self, origin=(self.origin[0] - x, self.origin[1] - y))

    @property
    def scale(self) -> float:
        """Pixel side, arcsec."""
        m11, m12, m21, m22 = self.matrix
        return 3600 * abs(m11 * m22 - m12 * m21) ** 0.5

    @cached_property
    def wcs(self) -> WCS:
        """The same as an astropy ``WCS``."""
        made = WCS(naxis=2)
        made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        made.wcs.crval = self.pole
        made.wcs.crpix = [self.origin[0] + 1, self.origin[1] + 1]
        made.wcs.cd = np.reshape(self.matrix, (2, 2))
        made.wcs.radesys = "ICRS"
        return made


@dataclass(frozen=True, eq=False)
class General:
    """Any other celestial WCS, distortion and all; same methods as ``Tan``."""

    wcs: WCS

    def pixel(self, ra: float, dec: float) -> tuple[float, float]:
        """Return the pixel (x, y) of a sky position, deg; NaN if it has none."""
        from astropy.coordinates import SkyCoord

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                x, y = self.wcs.world_to_pixel(SkyCoord(ra, dec, unit="deg"))
            except Exception:  # astropy's many ways to say that no pixel is there
                return np.nan, np.nan
        return float(x), float(y)

    def cut(self, x: int, y: int) -> General:
        """Return the map of the image whose first pixel is this one's (x, y)."""
        return General(self.wcs[y:, x:]) if x or y else self

    @property
    def scale(self) -> float:
        """Pixel side, arcsec."""
        from astropy.wcs.utils import proj_plane_pixel_area

        return float(3600 * proj_plane_pixel_area(self.wcs) ** 0.5)


def sky_to_pixels(header) -> Tan | General | None:
    """Return the celestial map of a FITS header, None if it has none.

    Raises
    ------
    ValueError
        If the header claims a map that cannot be inverted.
    """
    kinds = header.get("CTYPE1"), header.get("CTYPE2")
    if kinds == ("RA---TAN", "DEC--TAN") and (tan := _plain_tan(header)):
        return tan
    if not isinstance(kinds[0], str) or not isinstance(kinds[1], str):
        return None
    for key in SIP_ORDERS:
        if isinstance(order := header.get(key), int | float) and not 0 <= order <= MOST_SIP:
            raise ValueError(f"{key} is {order}, expected 0 to {MOST_SIP}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header.full() if isinstance(header, Cards) else header).celestial
    if not wcs.has_celestial:
        return None
    return General(wcs)


def _plain_tan(header) -> Tan | None:
    """Return the map of a header without distortion or odd frames; None for any other."""
    odd = ("A_ORDER", "PV1_1", "PV2_1", "PV1_5", "PV2_5", "CROTA1", "CROTA2", "CPDIS1", "CQDIS1")
    odd += ("D2IMDIS1", "PV1_0", "PV2_0", "LTM1_1")
    if any(key in header for key in odd):
        return None
    frame = str(header.get("RADESYS", header.get("RADECSYS", "ICRS"))).strip()
    if frame not in ("ICRS", "FK5") or float(header.get("EQUINOX", 2000.0)) != 2000.0:
        return None
    if float(header.get("LONPOLE", 180.0)) != 180.0:
        return None
    if any(str(header.get(key, "deg")).strip() != "deg" for key in ("CUNIT1", "CUNIT2")):
        return None
    needed = [header.get(key) for key in ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")]
    matrix = _matrix(header)
    if matrix is None or any(not isinstance(one, int | float) for one in needed):
        return None
    if not np.isfinite([*needed, *matrix]).all():
        raise ValueError("a number in it is not finite")
    if abs(matrix[0] * matrix[3] - matrix[1] * matrix[2]) < 1e-30:
        raise ValueError("its matrix is singular")
    pole, corner = needed[:2], needed[2:]
    return Tan(tuple(pole), (corner[0] - 1.0, corner[1] - 1.0), matrix)


def _matrix(header) -> tuple[float, float, float, float] | None:
    """Return the CD matrix; PC and CDELT are used where no CD is given."""
    places = ("1_1", "1_2", "2_1", "2_2")
    cd = [header.get(f"CD{place}") for place in places]
    if any(one is not None for one in cd):
        return tuple(float(one or 0.0) for one in cd)
    step = [header.get("CDELT1"), header.get("CDELT2")]
    if None in step:
        return None
    pc = [header.get(f"PC{place}", unit) for place, unit in zip(places, (1.0, 0.0, 0.0, 1.0))]
    return (step[0] * pc[0], step[0] * pc[1], step[1] * pc[2], step[1] * pc[3])
