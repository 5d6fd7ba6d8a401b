"""Small FITS files in the layouts that the tests of ingest need."""

from pathlib import Path

import numpy as np
from astropy.io import fits

from astroml.survey import Survey

SCALE = 0.262
"""arcsec per pixel"""

NJY = 3630.780547701013
"""nJy per nanomaggy"""


def survey(bands="grz", scale=SCALE, label="{}", zero_point=22.5, sigma=0.01, **layout) -> Survey:
    """Return a survey whose files are Legacy Surveys cubes, unless ``layout`` says otherwise."""
    cube = {
        "image": {"hdu": 0, "axis": "band"},
        "noise": {"hdu": "INVVAR", "axis": "band"},
        "mask": {"hdu": "MASKBITS"},
        "mask_bits": {"saturated": 28, "bad": 224},
    }
    facts = {"zero_point": zero_point, "psf_fwhm": 1.2, "sigma": sigma, "gain": 1000}
    return Survey.model_validate(
        {
            "name": "toy",
            "unit": "nanomaggy",
            "pixel_scale": scale,
            "bands": {
                band: facts | {"wavelength": 400 + 100 * n, "label": label.format(band)}
                for n, band in enumerate(bands)
            },
            "layout": layout or cube,
        }
    )


def tan_header(ra=150.0, dec=2.0, x=31.5, y=31.5, scale=SCALE, turn=0.0, **cards) -> fits.Header:
    """Return a tangent-plane header with (ra, dec) on pixel (x, y), counted from 0."""
    s, c, step = np.sin(np.radians(turn)), np.cos(np.radians(turn)), scale / 3600
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"], header["CRPIX2"] = x + 1, y + 1
    header["CD1_1"], header["CD1_2"] = -step * c, step * s
    header["CD2_1"], header["CD2_2"] = step * s, step * c
    header.update(cards)
    return header


def gaussian(shape, x, y, fwhm=5.0, flux=1.0) -> np.ndarray:
    """Return a round Gaussian of a total flux at pixel (x, y)."""
    gy, gx = np.indices(shape, float)
    width = fwhm / 2.3548
    image = np.exp(-0.5 * ((gx - x) ** 2 + (gy - y) ** 2) / width**2)
    return (flux * image / (2 * np.pi * width**2)).astype(np.float32)


def sky(seed=0, shape=(64, 64), bands=3, sigma=0.01) -> np.ndarray:
    """Return noise (band, y, x) with a galaxy of 10 units in the middle."""
    rng = np.random.default_rng(seed)
    middle = gaussian(shape, (shape[1] - 1) / 2, (shape[0] - 1) / 2, flux=10)
    return rng.normal(0, sigma, (bands, *shape)).astype(np.float32) + middle


def write_cube(path: Path, cube, header=None, ivar=None, mask=None, bands="grz") -> Path:
    """Write a Legacy Surveys cutout: cube with BANDS, INVVAR, MASKBITS."""
    header = (header or tan_header()).copy()
    header["BANDS"] = bands
    ivar = np.full(cube.shape, 1e4, np.float32) if ivar is None else ivar
    mask = np.zeros(cube.shape[1:], np.int16) if mask is None else mask
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus = [fits.PrimaryHDU(cube, header), fits.ImageHDU(ivar, name="INVVAR")]
    fits.HDUList([*hdus, fits.ImageHDU(mask, name="MASKBITS")]).writeto(path, overwrite=True)
    return path


def write_image(path: Path, image, header=None) -> Path:
    """Write one image as the primary HDU."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.PrimaryHDU(image, header).writeto(path, overwrite=True)
    return path


def write_manifest(path: Path, rows: list[dict]) -> Path:
    """Write a CSV manifest; absent cells are empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names)]
    lines += [",".join(str(row.get(name, "")) for name in names) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path
