"""Write simulated cutouts as FITS files in the layout of the Legacy Surveys' cutout service.

The bytes are put together here: headers are the same for all objects of a survey but for two cards,
and astropy takes several milliseconds a file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from astroml.errors import AstromlError
from astroml.store import MASK
from astroml.survey import Survey

BLOCK = 2880
"""FITS files are padded to multiples of this many bytes."""

BITPIX = {"f4": -32, "i2": 16}


class CubeWriter:
    """Write one cube of bands, one of inverse variance, and the mask, per object.

    Parameters
    ----------
    survey : Survey
        Bands, unit, pixels; its layout must be that of a cube with bands on its first axis.
    size : int
        Side of the cutouts, px.

    Raises
    ------
    AstromlError
        If the survey's files are laid out otherwise.
    """

    def __init__(self, survey: Survey, size: int):
        layout = survey.layout
        planes = (layout.image, layout.noise, layout.mask)
        if None in planes or [plane.hdu for plane in planes] != [0, 1, 2] or layout.psf:
            raise AstromlError(
                f"survey {survey.name}: its layout is not the cube that simulate writes (image, "
                "inverse variance and mask in HDU 0, 1, 2 of one file); write a store (--to store) "
                "or name another survey"
            )
        self.survey, self.size = survey, size
        self.flat_mask = layout.mask.axis is None
        cube = (len(survey.bands), size, size)
        heads = [
            self._header(cube, "f4", None),
            self._header(cube, "f4", "INVVAR"),
            self._header(cube[1:] if self.flat_mask else cube, "i2", "MASKBITS"),
        ]
        self.heads = [head.tostring() for head in heads]

    def _header(self, shape: tuple[int, ...], dtype: str, name: str | None) -> fits.Header:
        first = ("SIMPLE", True, "") if name is None else ("XTENSION", "IMAGE", "")
        cards = [first, ("BITPIX", BITPIX[dtype]), ("NAXIS", len(shape))]
        cards += [(f"NAXIS{axis + 1}", side) for axis, side in enumerate(reversed(shape))]
        extra = [("EXTEND", True)] if name is None else [("PCOUNT", 0), ("GCOUNT", 1)]
        cards += [*extra, *self._wcs(shape[-1])]
        unit = self.survey.unit
        if name is None:
            cards += self._about()
        else:
            unit = {"INVVAR": f"1/{unit}^2", "MASKBITS": ""}[name]
            cards.append(("EXTNAME", name))
        return fits.Header([*cards, *([("BUNIT", unit)] if unit else [])])

    def _wcs(self, size: int) -> list[tuple]:
        step = self.survey.pixel_scale / 3600
        middle = (size + 1) / 2
        return [
            ("CTYPE1", "RA---TAN"),
            ("CTYPE2", "DEC--TAN"),
            ("CRVAL1", 0.0),
            ("CRVAL2", 0.0),
            ("CRPIX1", middle),
            ("CRPIX2", middle),
            ("CD1_1", -step),
            ("CD1_2", 0.0),
            ("CD2_1", 0.0),
            ("CD2_2", step),
        ]

    def _about(self) -> list[tuple]:
        bands = self.survey.bands
        labels = [band.label or name for name, band in bands.items()]
        zero_points = {band.zero_point for band in bands.values()}
        cards = [("SURVEY", self.survey.name), ("BANDS", "".join(labels))]
        cards += [(f"BAND{number}", label) for number, label in enumerate(labels)]
        if len(zero_points) == 1:
            cards.append(("MAGZERO", zero_points.pop(), "AB magnitude of 1 BUNIT"))
        return cards

    def write(self, path: Path, image, ivar, mask, ra: float, dec: float) -> None:
        """Write one object.

        Parameters
        ----------
        path : Path
            The file.
        image, ivar : (band, y, x) array
            In the survey's unit, and its inverse square.
        mask : (band, y, x) uint8 array
            Bits of ``store.MASK``; written as the survey's own values.
        ra, dec : float
            Of the centre, deg.
        """
        planes = (image.astype(">f4"), ivar.astype(">f4"), self.to_survey(mask).astype(">i2"))
        blocks = []
        for head, plane in zip(self.heads, planes):
            for key, value in (("CRVAL1", ra), ("CRVAL2", dec)):
                at = head.index(f"{key}  =")
                head = f"{head[:at]}{key}  = {value:20.12f}".ljust(at + 80) + head[at + 80 :]
            blocks += [head.encode("ascii"), plane.tobytes(), bytes(-plane.nbytes % BLOCK)]
        path.write_bytes(b"".join(blocks))

    def to_survey(self, mask: np.ndarray) -> np.ndarray:
        """Translate our mask bits into the values of the survey's files.

        Where the survey has one value per band for a bit, the band's own is taken; a bit that the
        survey does not know is written as ``bad``, but for pixels without data, which have no
        weight and need no bit.
        """
        values = self.survey.layout.mask_bits
        out = np.zeros(mask.shape, np.int16)
        if not mask.any():
            return out[0] if self.flat_mask else out
        for name, bit in MASK.items():
            value = values.get(name, 0 if name == "nodata" else values.get("bad", bit))
            single = [1 << place for place in range(15) if value >> place & 1] or [0]
            for band in range(len(mask)):
                mine = single[band] if len(single) == len(mask) else single[0]
                out[band] |= np.where(mask[band] & bit, mine, 0).astype(np.int16)
        return np.bitwise_or.reduce(out, axis=0) if self.flat_mask else out
