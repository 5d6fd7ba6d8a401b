"""Parts of the sky to search in: a cone, a box, a MOC; as SQL, and as ranges of HEALPix cells.

A catalog's rows lie in the order of their cells, so that a condition on their column tells a
reader which few row groups to open; the exact condition then runs on those alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astroml.errors import AstromlError

DEEPEST = 29
"""Order of a catalog's cells."""

CELL = f"_healpix_{DEEPEST}"
"""Column of the cells, along which rows lie and by which a search is quick."""

CELLS = 48
"""Most cells in a cover before it stops growing finer, and most ranges that SQL is told."""


@dataclass(frozen=True)
class Region:
    """A part of the sky."""

    text: str
    """What it is, for people."""
    ranges: np.ndarray
    """(m, 2) int64: cells [low, high) of order 29 that hold all of it, ascending."""
    exact: str = ""
    """Condition on ``ra`` and ``dec``, SQL; empty where the ranges are the region itself."""

    @property
    def rough(self) -> str:
        """Condition on the cells alone, SQL: true all over the region, false far from it."""
        some = _bridged(self.ranges, CELLS)
        terms = [f'("{CELL}" BETWEEN {low} AND {high - 1})' for low, high in some]
        return f"({' OR '.join(terms)})" if terms else "false"

    def where(self, source: str) -> str:
        """Return the condition, SQL, on the rows of a table or of a query in brackets."""
        if self.exact or len(self.ranges) <= CELLS:
            return " AND ".join(filter(None, (self.rough, self.exact)))
        # Many ranges: each cell meets the last range that begins before it, in one pass.
        values = ", ".join(f"({low}, {high})" for low, high in self.ranges)
        cell = f'SELECT DISTINCT "{CELL}" AS cell FROM {source} WHERE {self.rough}'
        return (
            f'{self.rough} AND "{CELL}" IN (SELECT cell FROM ({cell}) ASOF JOIN '
            f"(VALUES {values}) AS moc(low, high) ON cell >= low WHERE cell < high)"
        )


def cone(ra: float | str, dec: float | str, radius: float | str) -> Region:
    """Return the region within a radius of a place.

    Parameters
    ----------
    ra, dec : float or str
        deg, or as ``angle`` reads them.
    radius : float or str
        arcsec.
    """
    lon, lat = angle(ra, "ra"), angle(dec, "dec")
    size = _number(radius, "radius") / 3600
    if not 0 < size <= 180:
        raise AstromlError(f"radius: found {radius}, expected more than 0 arcsec, up to 180 deg")
    ranges = cover(lambda x, y, extra: separation(x, y, lon, lat) <= size + extra, size)
    # The haversine keeps its digits at small separations; sines do not care about RA 0.
    exact = (
        f"pow(sin(radians(dec - ({lat!r})) / 2), 2) + cos(radians(dec)) * "
        f"{np.cos(np.radians(lat))!s} * pow(sin(radians(ra - ({lon!r})) / 2), 2) "
        f"<= {np.sin(np.radians(size) / 2) ** 2!s}"
    )
    return Region(f"{radius} arcsec around {ra} {dec}", ranges, f"({exact})")


def box(ra0, ra1, dec0, dec1) -> Region:
    """Return the region between two right ascensions, eastward from the first, and declinations.

    Parameters
    ----------
    ra0, ra1, dec0, dec1 : float or str
        deg, or as ``angle`` reads them; where ``ra0 > ra1`` the box lies across RA 0. Its edges
        belong to it.
    """
    low, high = angle(dec0, "dec"), angle(dec1, "dec")
    if low > high:
        raise AstromlError(f"box: found declinations {dec0} and {dec1}, expected the lower first")
    whole = abs(_angle(ra1, "ra") - _angle(ra0, "ra")) >= 360
    west, east = angle(ra0, "ra"), angle(ra1, "ra")
    width = 360.0 if whole else (east - west) % 360

    def near(x, y, extra):
        # How far in RA a cap of this size reaches: all around where it holds the pole.
        cosine = np.cos(np.radians(y))
        sine = np.sin(np.radians(np.minimum(extra, 90)))
        reach = np.where(
            np.abs(y) + extra >= 90,
            360,
            np.degrees(np.arcsin(np.minimum(sine / np.maximum(cosine, 1e-300), 1))),
        )
        across = (x - west + reach) % 360 <= np.minimum(width + 2 * reach, 360)
        return (y >= low - extra) & (y <= high + extra) & across

    ranges = cover(near, max(min(width, high - low), 1e-6))
    turned = "(ra - 360 * floor(ra / 360))"
    if whole:
        within = "true"
    elif west <= east:
        within = f"{turned} BETWEEN {west!r} AND {east!r}"
    else:
        within = f"({turned} >= {west!r} OR {turned} <= {east!r})"
    exact = f"(dec BETWEEN {low!r} AND {high!r} AND {within})"
    return Region(f"box {ra0} {ra1} {dec0} {dec1}", ranges, exact)


def moc(path: str | Path) -> Region:
    """Return the region of a MOC file, a FITS table of HEALPix cells (IVOA MOC 1.1 and 2.0).

    Its cells are read with astropy: those numbered as UNIQ, and ranges of order 29.
    """
    from astropy.io import fits

    path = Path(path)
    if not path.is_file():
        raise AstromlError(f"{path}: no such MOC")
    try:
        with fits.open(path) as units:
            header, values = units[1].header, np.asarray(units[1].data.field(0)).astype(np.int64)
    except (OSError, IndexError, AttributeError, ValueError) as fault:
        raise AstromlError(f"{path}: not a MOC in FITS that can be read ({fault})") from None
    if header.get("COORDSYS", "C").strip().upper() not in ("C", "ICRS", "EQUATORIAL"):
        raise AstromlError(f"{path}: found COORDSYS {header['COORDSYS']}, expected C (ICRS)")
    dimension = str(header.get("MOCDIM", "SPACE")).strip().upper()
    kind = str(header.get("ORDERING", "")).strip().upper()
    if dimension != "SPACE" or kind not in ("NUNIQ", "RANGE"):
        raise AstromlError(
            f"{path}: found MOCDIM {dimension}, ORDERING {kind or 'none'}, expected SPACE, NUNIQ "
            "or RANGE; write it as a MOC of the sky"
        )
    ranges = values.reshape(-1, 2) if kind == "RANGE" else _from_uniq(values)
    return Region(f"MOC {path}", _merged(ranges))


def _from_uniq(uniq: np.ndarray) -> np.ndarray:
    """Return ranges (m, 2) of cells numbered 4 x 4^order + cell."""
    firsts = 4 ** np.arange(1, DEEPEST + 2)
    order = np.searchsorted(firsts, uniq, side="right") - 1
    shift = 2 * (DEEPEST - order)
    cell = uniq - firsts[order]
    return np.stack([cell << shift, (cell + 1) << shift], axis=1)


def cover(near: Callable, size: float) -> np.ndarray:
    """Return ranges (m, 2) of cells that hold every place of a region.

    Cells are split in four from the whole sky down, and those that cannot touch it left out.

    Parameters
    ----------
    near : callable
        Of ra, dec and a radius (deg): whether a circle there may touch the region; (n,) arrays.
    size : float
        Least extent of the region, deg: finer cells would not make the cover smaller.
    """
    from astropy_healpix.core import healpix_to_lonlat

    cell, order = np.arange(12), 0
    while True:
        lon, lat = healpix_to_lonlat(cell, 2**order, order="nested")
        reach = largest_radius(order)
        cell = cell[near(lon.to_value("deg"), lat.to_value("deg"), reach)]
        if reach <= size / 2 or len(cell) > CELLS or order == DEEPEST or not len(cell):
            break
        cell = (4 * cell[:, None] + np.arange(4)).ravel()
        order += 1
    shift = 2 * (DEEPEST - order)
    return _merged(np.stack([cell << shift, (cell + 1) << shift], axis=1))


def largest_radius(order: int) -> float:
    """Return the largest distance of a corner from its HEALPix pixel's centre, deg.

    That of the pixel which touches z = 2/3 and lies on the meridian between two base pixels
    (Gorski et al. 2005, section 5.3), with a margin for rounding.
    """
    nside = 2**order
    corner = np.array([2 / 3, np.pi / (4 * nside)])
    top = 1 - (1 - 1 / nside) ** 2 / 3
    a = np.degrees([corner[1], 0.0])
    b = np.degrees(np.arcsin([corner[0], top]))
    return float(separation(a[0], b[0], a[1], b[1])) * 1.001 + 1e-7


def separation(ra, dec, other_ra, other_dec) -> np.ndarray:
    """Return the angle between places, deg (haversine)."""
    x, y, u, v = (np.radians(one) for one in (ra, dec, other_ra, other_dec))
    half = np.sin((y - v) / 2) ** 2 + np.cos(y) * np.cos(v) * np.sin((x - u) / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(np.clip(half, 0, 1))))


def _merged(ranges: np.ndarray) -> np.ndarray:
    """Return ranges in order, those that touch made one."""
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")].astype(np.int64)
    if not len(ranges):
        return ranges.reshape(0, 2)
    ends = np.maximum.accumulate(ranges[:, 1])
    apart = np.flatnonzero(ranges[1:, 0] > ends[:-1]) + 1
    starts = np.concatenate([[0], apart])
    return np.stack([ranges[starts, 0], np.append(ends[apart - 1], ends[-1])], axis=1)


def _bridged(ranges: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many ranges, the smallest gaps closed."""
    if len(ranges) <= most:
        return ranges
    gaps = ranges[1:, 0] - ranges[:-1, 1]
    kept = np.sort(np.argsort(gaps, kind="stable")[::-1][: most - 1]) + 1
    starts = np.concatenate([[0], kept])
    ends = np.concatenate([kept - 1, [len(ranges) - 1]])
    return np.stack([ranges[starts, 0], ranges[ends, 1]], axis=1)


SEXAGESIMAL = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d+)(?P<unit>[hd°:\s])\s*(?P<minutes>\d+(?:\.\d*)?)"
    r"(?:[m':\s]\s*(?:(?P<seconds>\d+(?:\.\d*)?)[s\"]?)?)?"
)


def angle(text: float | str, what: str) -> float:
    """Return an angle, deg: RA within [0, 360), Dec within [-90, 90].

    Parameters
    ----------
    text : float or str
        Degrees, or ``10h05m30.5s``, ``10:05:30.5`` (of RA hours), ``-2d12m30s``, ``-2:12:30``.
    what : str
        ``ra`` or ``dec``.
    """
    value = _angle(text, what)
    if what == "dec" and not -90 <= value <= 90:
        raise AstromlError(f"dec: found {text}, expected -90 to 90 deg")
    if what == "ra" and not -360 <= value <= 360:
        raise AstromlError(f"ra: found {text}, expected 0 to 360 deg, or 0h to 24h")
    return value % 360 % 360 if what == "ra" else value


def _angle(text: float | str, what: str) -> float:
    """Return an angle, deg, as it stands."""
    found = SEXAGESIMAL.fullmatch(str(text).strip())
    if not found:
        return _number(str(text).strip().removesuffix("d").removesuffix("deg"), what)
    minutes, seconds = (float(found[name] or 0) for name in ("minutes", "seconds"))
    if minutes >= 60 or seconds >= 60:
        raise AstromlError(f"{what}: found {text}, expected minutes and seconds below 60")
    if what == "dec" and found["unit"] == "h":
        raise AstromlError(f"dec: found {text} in hours, expected degrees")
    hours = what == "ra" and found["unit"] not in "d°"
    value = int(found["whole"]) + minutes / 60 + seconds / 3600
    return (-1 if found["sign"] == "-" else 1) * value * (15 if hours else 1)


def _number(text: float | str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise AstromlError(f"{what}: found {text!r}, expected a number, 10h05m30s or -2d12m30s")
    return value
