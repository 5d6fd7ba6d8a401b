"""A survey, described once: bands, pixels, noise, seeing, and how its files are laid out.

The descriptions are the YAML files in ``config/surveys``; this is their typed form.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from astroml.config import Strict, check, read_yaml
from astroml.errors import AstromlError

HERE = Path(__file__).parent


class Band(Strict):
    """One band of a survey."""

    wavelength: float = Field(gt=0, description="Effective wavelength, nm.")
    zero_point: float = Field(description="AB magnitude of one unit of flux.")
    psf_fwhm: float = Field(gt=0, description="Median seeing, arcsec.")
    sigma: float = Field(gt=0, description="Background noise of one pixel, in the survey's unit.")
    gain: float = Field(
        gt=0, description="Detected photoelectrons per unit of flux, for the sources' own noise."
    )
    label: str | None = Field(
        None, description="What file names, HDU names and headers call the band, if not its key."
    )
    plane: int | None = Field(
        None, ge=0, description="Position in a cube whose header does not name its bands."
    )
    names: dict[str, str] = Field(
        {}, description="Further names that this band fills into templates, such as its camera."
    )


class Psf(Strict):
    """The distribution of the point spread function."""

    beta: float = Field(3.0, gt=1, description="Moffat exponent.")
    scatter: float = Field(0.12, ge=0, description="Log-normal scatter of the FWHM per object.")
    ellipticity: float = Field(0.03, ge=0, lt=0.3, description="Typical ellipticity (1-q)/(1+q).")


class Plane(Strict):
    """Where one kind of pixels lies in the survey's files.

    ``file`` and ``hdu`` are templates: ``{band}`` is the band's label, any other name in braces one
    of the band's ``names`` or a column of the manifest. Braces nest: ``{visit_{band}}`` is column
    ``visit_g`` for band g. A cell such as ``a.fits;b.fits`` names several files, exposures of one
    band or neighbouring tiles, which are combined.
    """

    file: str = Field("{file}", description="Path template, from the manifest's folder.")
    hdu: int | str = Field(0, description="HDU number or name template.")
    axis: Literal["band", "object"] | None = Field(
        None,
        description="What a cube's first axis counts: bands (as the header's BANDS says, else the "
        "survey's order) or objects (numbered from 0 by the manifest's column 'index').",
    )
    optional: bool = Field(
        False, description="Whether the file or HDU may be absent or empty; never the image's."
    )


class Layout(Strict):
    """How a survey lays out the files of its cutouts."""

    image: Plane = Field(Plane(), description="Science pixels.")
    noise: Plane | None = Field(None, description="Noise of each pixel.")
    noise_kind: Literal["ivar", "variance", "rms", "weight"] = Field(
        "ivar",
        description="What noise holds; a weight is proportional to the inverse variance, and the "
        "scatter of the background says by what factor.",
    )
    mask: Plane | None = Field(None, description="Mask of each pixel.")
    mask_bits: dict[str, int] = Field(
        {},
        description="Value of the files' mask plane for each of our bits (bad, saturated, cosmic, "
        "edge, nodata, interpolated), several values added up. Empty: any value but 0 is bad.",
    )
    mask_planes: dict[str, list[str]] = Field(
        {},
        description="Instead of values: names of bit planes, whose number the mask's header tells "
        "in cards MP_<name>.",
    )
    mask_codes: dict[str, list[int]] = Field(
        {}, description="Instead of bits: the mask plane's values, one reason per pixel."
    )
    psf: Plane | None = Field(None, description="Image of the point spread function.")
    zero_point_key: str | None = Field(
        None, description="Header card with the zero point; absent, the band's own is used."
    )
    saturation_key: str | None = Field(
        None, description="Header card with the value from which pixels are saturated."
    )
    psf_key: str | None = Field(
        None, description="Header card with the seeing's FWHM, px; absent, the band's own is used."
    )
    exposure_key: str | None = Field(
        None,
        description="Header card with the exposure time, s, where pixels are counts and zero "
        "points are of 1 count/s.",
    )
    pixel_columns: tuple[str, str] | None = Field(
        None,
        description="Columns of the manifest with the object's pixel x, y, where the files have no "
        "WCS. The manifest then needs no ra and dec: both are 0 and flagged no_sky.",
    )
    pixel_origin: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Number of the first pixel's centre in these columns: 0, 1, or 0.5 where they "
        "count from the pixel's edge.",
    )
    cosmic_sigma: float = Field(
        0.0,
        ge=0,
        description="Pixels of one exposure that exceed all others by this many sigma are masked "
        "as cosmic rays, needs noise and several files per band; 0: none.",
    )
    sky_in_files: bool = Field(
        False,
        description="Whether the files hold the light of the sky, as single exposures do: the "
        "median of the background is then subtracted from each.",
    )
    same_object: float = Field(
        0.0,
        ge=0,
        description="Rows of different files nearer than this, arcsec, are one object in two "
        "tiles: the one with more of its image around it is kept, of equals the first; 0: rows are "
        "told apart by object_id alone.",
    )


class Survey(Strict):
    """A survey: what its pixels mean."""

    name: str = Field(description="Short name.")
    title: str = Field("", description="Full name and source of the numbers.")
    unit: str = Field(description="Unit of the files' pixels, for people.")
    pixel_scale: float = Field(gt=0, description="Pixel side, arcsec.")
    noise_correlation: float = Field(
        0.0, ge=0, description="Gaussian sigma of the noise correlation, px; 0 is white."
    )
    psf: Psf = Field(Psf(), description="The distribution of the point spread function.")
    bands: dict[str, Band] = Field(description="Bands, in order of wavelength.")
    layout: Layout = Field(Layout(), description="How the files are laid out.")

    @model_validator(mode="after")
    def _has_bands(self):
        if not self.bands:
            raise ValueError("a survey needs at least one band")
        return self

    def pick(self, bands: list[str] | None) -> Survey:
        """Return the survey with only ``bands``, in that order; None keeps all."""
        if bands is None:
            return self
        if lost := [band for band in bands if band not in self.bands]:
            raise AstromlError(
                f"survey {self.name}: no band {', '.join(lost)}; it has {', '.join(self.bands)}"
            )
        return self.model_copy(update={"bands": {band: self.bands[band] for band in bands}})

    def rescaled(self, pixel_scale: float | None) -> Survey:
        """Return the survey as it is once its pixels are summed into coarser ones.

        Zero points, gains and seeing are what they were; the noise is that of so many correlated
        pixels, and what is left of their correlation is that between neighbours.

        Parameters
        ----------
        pixel_scale : float or None
            Side of the coarser pixels, arcsec; need not be a multiple. None changes nothing.
        """
        if pixel_scale is None or abs(pixel_scale / self.pixel_scale - 1) < 1e-6:
            return self
        if not pixel_scale > self.pixel_scale:
            raise AstromlError(
                f"survey {self.name}: found pixels of {pixel_scale} arcsec, expected at least its "
                f"own {self.pixel_scale}; noise can be binned, not divided"
            )
        along = pixel_scale / self.pixel_scale
        growth = summed_noise(self.noise_correlation, along)
        bands = {
            name: band.model_copy(update={"sigma": band.sigma * growth})
            for name, band in self.bands.items()
        }
        left = correlation_length(neighbours_correlation(self.noise_correlation, along))
        update = {"pixel_scale": pixel_scale, "noise_correlation": left, "bands": bands}
        return self.model_copy(update=update)

    def pixels_for(self, size: int, pixel_scale: float | None) -> int:
        """Return the side, px, of the survey's cutouts that cover others of ``size`` px.

        Parameters
        ----------
        size : int
            Side of the others, px.
        pixel_scale : float or None
            Side of their pixels, arcsec; None for the survey's own.
        """
        if pixel_scale is None:
            return size
        # One more on each side, as the others' pixels need not begin where these do.
        return math.ceil(size * pixel_scale / self.pixel_scale - 1e-6) + 2

    def like(self, header, where: str | Path) -> Survey:
        """Return the survey with a store's bands, and its pixels where those are coarser.

        Parameters
        ----------
        header : store.Header
            Of the store.
        where : str or Path
            The store, for the message.
        """
        mine = self.pick(list(header.bands))
        if header.survey == self.name and header.pixel_scale > self.pixel_scale:
            return mine.rescaled(header.pixel_scale)
        if abs(self.pixel_scale / header.pixel_scale - 1) > 1e-3:
            raise AstromlError(
                f"survey {self.name}: pixel_scale {self.pixel_scale} arcsec, but the store "
                f"{where} has {header.pixel_scale}; name the store's survey"
            )
        return mine


def _autocorrelation(correlation: float) -> np.ndarray:
    """Return the correlation of pixels 0, 1, 2, ... apart along a row.

    Of white noise smoothed with the taps of a Gaussian of sigma ``correlation`` px, as simulated
    images are: the taps' autocorrelation.
    """
    reach = int(np.ceil(4 * correlation))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(correlation, 1e-6)) ** 2)
    whole = np.correlate(taps, taps, "full")[2 * reach :]
    return whole / whole[0]


def summed_noise(correlation: float, along: float) -> float:
    """Return the noise of the sum of a square of pixels over that of one pixel.

    Along a row, the variance of the sum is that of a pixel times the sum of (k - |d|) rho(d) over
    all distances d below k; rows and columns multiply, as a Gaussian's do.

    Parameters
    ----------
    correlation : float
        Gaussian sigma of the noise's smoothing, px.
    along : float
        Side of the square, px; between whole numbers the law is linear.
    """
    rho = _autocorrelation(correlation)
    weight = np.maximum(along - np.arange(len(rho)), 0)
    return float(weight[0] * rho[0] + 2 * (weight[1:] * rho[1:]).sum())


def neighbours_correlation(correlation: float, along: float) -> float:
    """Return the correlation of neighbouring sums of squares of pixels; see ``summed_noise``."""
    rho = _autocorrelation(correlation)
    weight = np.maximum(along - np.abs(np.arange(len(rho)) - along), 0)
    return float((weight * rho).sum() / summed_noise(correlation, along))


def correlation_length(neighbours: float) -> float:
    """Return the Gaussian sigma, px, whose smoothing gives neighbours this correlation."""
    if neighbours < 1e-3:
        return 0.0
    grid = np.linspace(0.15, 2, 400)
    found = [_autocorrelation(one)[1] for one in grid]
    return float(round(np.interp(neighbours, found, grid), 4))


NJY_PER_ZERO_MAG = 3630.780547701013e9
"""Flux density of AB magnitude 0, nJy: 10^(-48.6/2.5) erg/s/cm2/Hz (Oke & Gunn 1983)."""


def galactic_extinction(ebv, wavelengths) -> np.ndarray:
    """Return the Milky Way's extinction (n, band), mag.

    A power law through the coefficients of DECam g, r, z: 3.2, 2.2, 1.2 (Schlafly & Finkbeiner
    2011, ApJ 737, 103).
    """
    law = 2.6 * (550 / np.asarray(wavelengths, float)) ** 1.475
    return np.atleast_1d(ebv)[:, None] * law


def njy_per_unit(zero_point: float) -> float:
    """Return the nJy in one unit of flux whose AB magnitude is ``zero_point``."""
    return NJY_PER_ZERO_MAG * 10 ** (-0.4 * zero_point)


def survey_file(name: str) -> Path:
    """Return the YAML file of a survey: a path as it is, a name from ``config/surveys``."""
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    folders = [Path("config/surveys"), HERE.parent / "config/surveys", HERE / "surveys"]
    for folder in folders:
        if (file := folder / f"{name}.yaml").is_file():
            return file
    known = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise AstromlError(
        f"survey {name!r}: not in config/surveys, which holds {', '.join(known) or 'none'}; "
        "name one of these or a YAML file"
    )


def load_survey(name: str, bands: list[str] | None = None) -> Survey:
    """Read and check a survey's description, with only ``bands`` if they are given."""
    file = survey_file(str(name))
    return check(Survey, read_yaml(file), str(file)).pick(bands)
