"""Names, bits and header of a shard.

A shard is one HDF5 file of one cutout set::

    image     (n, band, y, x) float32   nJy per pixel
    mask      (n, band, y, x) uint8     bits of MASK
    ivar      (n, band, y, x) float32   1/nJy^2; optional
    truth     (n, y, x) uint8           where a label lies, bits of the task's; optional
    sigma     (n, band) float32         background noise of one pixel, nJy
    psf_fwhm  (n, band) float32         arcsec
    objects/<column> (n,)               object_id, ra, dec, ebv, flags, split, labels

Its attributes are the fields of ``Header``. Arrays are (y, x); north is wherever the survey has it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

FORMAT = 1
"""Version of the contract; a reader refuses any other."""

MASK = {"bad": 1, "saturated": 2, "cosmic": 4, "edge": 8, "nodata": 16, "interpolated": 32}
"""Bits of the mask plane."""

FLAGS = {
    "missing_band": 1,
    "masked": 2,
    "edge": 4,
    "no_data": 8,
    "saturated": 16,
    "aligned": 32,
    "no_sky": 64,
    "trained": 128,
    "unlike": 256,
    "artefact": 512,
}
"""Bits of the object column ``flags`` and of the catalogs' column of that name."""

FLAG_MEANING = {
    "missing_band": "a band is missing or masked beyond the limit",
    "masked": "more than a tenth of the pixels is masked in some band",
    "edge": "the cutout reaches beyond the image",
    "no_data": "no usable pixel: the row's scores mean nothing",
    "saturated": "a saturated pixel lies within 2 arcsec of the centre",
    "aligned": "bands were resampled onto a common grid",
    "no_sky": "the survey gives pixel positions only: ra and dec are placeholders",
    "trained": "the network was fitted or tuned on this object: its score flatters",
    "unlike": "the object is unlike those the network learnt from",
    "artefact": "the cutout probably has a defect that no mask tells of",
}

QUALITY = ("masked_fraction", "dx", "dy", "centroid_dx", "centroid_dy")
"""Object columns that say how good a cutout is, float32; a shard may lack any of them."""

QUALITY_PER_BAND = ("masked", "sky")
"""The same for each band, such as ``masked_g``."""

PHOTOMETRY_PER_BAND = ("flux", "flux_err", "mw_transmission")
"""Object columns per band, such as ``flux_g``: what ``photometry`` measures, nJy, as it is on the
sky, and the share of it that the Milky Way's dust lets through."""

PHOTOMETRY = ("r_half",)
"""Object columns that ``photometry`` measures once for all bands, arcsec."""

PLANES = ("truth",)
"""Optional planes of labels, (n, y, x) uint8: read for training, and turned with the image. Zero
where a shard has the plane, but an object none."""

SPLITS = ("train", "val", "test")
"""Values of the object column ``split``."""

REQUIRED = ("object_id", "ra", "dec", "ebv", "flags", "split")
"""Object columns that every shard has."""


def quality_columns(known, bands) -> list[str]:
    """Return the quality columns among ``known``, in the catalogs' order."""
    kinds = (*QUALITY_PER_BAND, *PHOTOMETRY_PER_BAND)
    per_band = [f"{kind}_{band}" for kind in kinds for band in bands]
    return [name for name in (*QUALITY, *PHOTOMETRY, *per_band) if name in known]


@dataclass(frozen=True)
class Header:
    """What all cutouts of a shard share."""

    set: str
    bands: tuple[str, ...]
    size: int
    """Side of a cutout, px."""
    pixel_scale: float
    """arcsec"""
    survey: str
    unit: str = "nJy"
    provenance: dict = field(default_factory=dict)

    def to_attrs(self) -> dict:
        """Return HDF5 attributes."""
        facts = asdict(self)
        facts |= {"bands": json.dumps(self.bands), "provenance": json.dumps(self.provenance)}
        return {"format": FORMAT, **facts}

    @classmethod
    def from_attrs(cls, attrs) -> Header:
        """Rebuild the header from HDF5 attributes."""
        return cls(
            set=str(attrs["set"]),
            bands=tuple(json.loads(attrs["bands"])),
            size=int(attrs["size"]),
            pixel_scale=float(attrs["pixel_scale"]),
            survey=str(attrs["survey"]),
            unit=str(attrs["unit"]),
            provenance=json.loads(attrs["provenance"]),
        )

    def differences(self, other: Header) -> list[str]:
        """Say in words where two headers describe different pixels."""
        names = ("set", "bands", "size", "pixel_scale", "unit")
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        return [f"{name} {mine} against {theirs}" for name, mine, theirs in pairs if mine != theirs]
