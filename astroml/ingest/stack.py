"""The cutouts of one block and one cutout set, in arrays that are filled row by row."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from astroml.ingest.align import Cutout
from astroml.survey import Survey


@dataclass
class Stack:
    """Cutouts, still in the files' units; only rows that are ``filled`` mean anything.

    Attributes
    ----------
    image : (n, band, y, x) float32 array
    ivar : (n, band, y, x) float32 array or None
    mask : (n, band, y, x) uint8 array
        Bits of ``store.MASK``.
    zero_point : (n, band) float64 array
        AB magnitude of one unit.
    psf_fwhm : (n, band) float32 array
        arcsec
    dx, dy : (n,) float64 array
        Where the object is, from the centre of the array, px.
    aligned : (n,) bool array
        Whether a band was resampled.
    file : (n,) array of object
        Path of the reference band's file.
    filled : (n,) bool array
    """

    image: np.ndarray
    ivar: np.ndarray | None
    mask: np.ndarray
    zero_point: np.ndarray
    psf_fwhm: np.ndarray
    dx: np.ndarray
    dy: np.ndarray
    aligned: np.ndarray
    file: np.ndarray
    filled: np.ndarray

    @classmethod
    def empty(cls, count: int, survey: Survey, size: int) -> Stack:
        """Return room for so many cutouts of a side, px."""
        shape = (count, len(survey.bands), size, size)
        return cls(
            image=np.empty(shape, np.float32),
            ivar=np.empty(shape, np.float32) if survey.layout.noise else None,
            mask=np.empty(shape, np.uint8),
            zero_point=np.zeros(shape[:2]),
            psf_fwhm=np.zeros(shape[:2], np.float32),
            dx=np.zeros(count),
            dy=np.zeros(count),
            aligned=np.zeros(count, bool),
            file=np.full(count, Path(), object),
            filled=np.zeros(count, bool),
        )

    def put(self, row: int, one: Cutout) -> None:
        """Fill one row."""
        for part in fields(one):
            if getattr(self, part.name) is not None:
                getattr(self, part.name)[row] = getattr(one, part.name)
        self.filled[row] = True

    def only(self, keep: np.ndarray) -> Stack:
        """Return the rows where ``keep`` (n,) is True; itself if that is all."""
        if keep.all():
            return self
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        return Stack(**{name: None if a is None else a[keep] for name, a in parts.items()})
