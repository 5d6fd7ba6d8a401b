"""Every description in config/surveys is read, and says what its source says."""

from pathlib import Path

import numpy as np
import pytest
import torch

from astroml.sky.noise import kernel
from astroml.survey import load_survey, njy_per_unit

FOLDER = Path(__file__).parents[1] / "config/surveys"
OURS = ("decals", "hsc", "sdss", "des")


@pytest.mark.parametrize("name", OURS)
def test_survey_is_valid(name):
    survey = load_survey(name)
    assert survey.name == name
    assert (FOLDER / f"{name}.yaml").is_file()
    waves = [band.wavelength for band in survey.bands.values()]
    assert waves == sorted(waves)
    for band in survey.bands.values():
        assert 1.5 < band.psf_fwhm / survey.pixel_scale < 6


@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("decals", {"g": 24.7, "r": 23.9, "z": 23.0}),
        ("des", {"g": 24.9, "r": 24.6, "i": 24.1, "z": 23.5, "Y": 22.2}),
    ],
)
def test_noise_gives_the_depth(name, depths):
    survey = load_survey(name)
    for key, depth in depths.items():
        band = survey.bands[key]
        pixels = 4 * np.pi * (band.psf_fwhm / 2.355 / survey.pixel_scale) ** 2
        # Sums over many pixels see the noise before it was smoothed.
        smoothed = kernel(survey.noise_correlation).sum().item() ** 2 if name == "des" else 1
        found = band.zero_point - 2.5 * np.log10(5 * band.sigma * smoothed * np.sqrt(pixels))
        assert found == pytest.approx(depth, abs=0.3), key


@pytest.mark.parametrize("name", OURS)
def test_gain_and_noise_imply_a_plausible_sky(name):
    # Noise that is the sky's photons: their rate per arcsec^2 must be a night sky's.
    survey = load_survey(name)
    for key, band in survey.bands.items():
        photons = (band.sigma * band.gain) ** 2
        sky = band.zero_point - 2.5 * np.log10(photons / band.gain / survey.pixel_scale**2)
        dark = np.interp(
            band.wavelength, [350, 480, 640, 770, 900, 1000], [22.9, 22.2, 21.2, 20.4, 19.2, 18]
        )
        assert dark - 2.2 < sky < dark + 1.0, key


def test_pixels_of_zero_magnitude_are_3631_jy():
    assert njy_per_unit(0) == pytest.approx(3631e9, rel=1e-4)
    assert njy_per_unit(31.4) == pytest.approx(1, rel=1e-3)


@pytest.mark.realdata
def test_des_noise_is_that_of_the_real_files(realdata):
    from astropy.io import fits

    for name, band in load_survey("des").bands.items():
        cube = fits.getdata(realdata / "des_galaxies" / f"{name}.fits.gz").astype(float)
        # The corners of 91 px stamps are mostly sky.
        corners = np.concatenate([cube[:, :12, :12], cube[:, -12:, -12:]])
        middle = np.median(corners, (1, 2), keepdims=True)
        scatter = 1.4826 * np.median(np.abs(corners - middle), (1, 2))
        assert np.median(scatter) == pytest.approx(band.sigma, rel=0.15), name


def test_seeing_law_is_drawn_as_described():
    from astroml import tasks

    survey = load_survey("decals")
    sky = tasks.load("lens").Sky(objects=600)
    drawn = tasks.load("lens", "sky").population(sky, survey, 4)
    fwhm = drawn["psf_fwhm"] / [band.psf_fwhm for band in survey.bands.values()]
    assert np.median(fwhm) == pytest.approx(1, abs=0.03)
    assert np.log(fwhm).std() == pytest.approx(survey.psf.scatter, rel=0.1)
    e = (1 - drawn["psf_q"]) / (1 + drawn["psf_q"])
    assert e.mean() == pytest.approx(survey.psf.ellipticity, rel=0.15)
    assert torch.get_default_dtype() == torch.float32
