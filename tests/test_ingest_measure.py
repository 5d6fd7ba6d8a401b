"""Calibration, sky noise and flags, on blocks whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_fits import NJY, gaussian, survey
from scipy.ndimage import gaussian_filter

from astroml.ingest import measure
from astroml.store import FLAGS, MASK


def block(bands=1, n=2):
    image = np.ones((n, bands, 40, 40), np.float32)
    image[:, :, 0, 0] = 2
    return image, np.full_like(image, 1e4), np.zeros(image.shape, np.uint8)


def zero_points(image, value=22.5):
    return np.full(image.shape[:2], value)


def test_flux_in_nanojansky():
    # AB 22.5 is 3.6308 uJy; one unit of zero point 25 is a tenth of one of 22.5.
    image, ivar, mask = block(bands=2)
    zero_point = zero_points(image)
    zero_point[:, 1] = 25.0
    measure.calibrate(image, ivar, mask, zero_point, survey("gr"))
    assert image[0, :, 5, 5] == pytest.approx([NJY, NJY / 10])
    assert ivar[0, :, 5, 5] == pytest.approx([1e4 / NJY**2, 1e6 / NJY**2])
    assert (mask == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_what_is_no_number_is_masked_and_zero(value):
    image, ivar, mask = block()
    image[0, 0, 3, 4] = value
    measure.calibrate(image, ivar, mask, zero_points(image), survey("g"))
    assert mask[0, 0, 3, 4] == MASK["nodata"]
    assert image[0, 0, 3, 4] == 0
    assert ivar[0, 0, 3, 4] == 0
    assert (mask != 0).sum() == 1


def test_flagged_pixels_are_zero_but_interpolated_ones_keep_their_value():
    image, ivar, mask = block()
    mask[0, 0, 1, 1], mask[0, 0, 2, 2] = MASK["cosmic"], MASK["interpolated"]
    ivar[0, 0, 3, 3], ivar[0, 0, 4, 4] = 0, 1e-12
    measure.calibrate(image, ivar, mask, zero_points(image), survey("g"))
    assert image[0, 0, 1, 1] == image[0, 0, 3, 3] == image[0, 0, 4, 4] == 0
    assert image[0, 0, 2, 2] == pytest.approx(NJY)
    assert mask[0, 0, 3, 3] == MASK["nodata"]
    assert mask[0, 0, 4, 4] == MASK["bad"]
    assert measure.masked_fraction(mask)[0, 0] == pytest.approx(3 / 1600)


def test_a_constant_band_is_no_data():
    image, ivar, mask = block(bands=2)
    image[0, 1] = 0
    measure.calibrate(image, ivar, mask, zero_points(image), survey("gr"))
    assert measure.masked_fraction(mask).tolist() == [[0, 1], [0, 0]]


@pytest.mark.parametrize("correlation", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("flux", [0, 3000, 100000])
def test_sky_noise_beside_sources(correlation, flux):
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(40, 3, 64, 64))
    if correlation:
        noise = gaussian_filter(noise, (0, 0, correlation, correlation), mode="wrap")
    noise *= 5 / noise.std()
    galaxy = gaussian((64, 64), 31, 32, fwhm=12, flux=flux) + gaussian((64, 64), 50, 9, flux=flux)
    usable = rng.random(noise.shape) > 0.05
    image = np.where(usable, noise + galaxy + 2, 1e5).astype(np.float32)
    sigma, level = measure.sky_noise(image, usable)
    assert sigma.shape == (40, 3)
    assert sigma.mean() == pytest.approx(5, rel=0.03)
    assert sigma.std() < 0.5
    assert level.mean() == pytest.approx(2, abs=0.8)


def test_sky_noise_of_too_few_pixels_is_nan():
    usable = np.zeros((1, 2, 64, 64), bool)
    usable[0, 1, :5] = True
    image = np.random.default_rng(1).normal(size=usable.shape).astype(np.float32)
    sigma, _ = measure.sky_noise(image, usable)
    assert np.isnan(sigma[0, 0])
    assert sigma[0, 1] == pytest.approx(1, rel=0.2)


@given(scale=st.floats(1e-3, 1e6), level=st.floats(-5, 5))
@settings(max_examples=20, deadline=None)
def test_sky_noise_scales(scale, level):
    image = np.random.default_rng(2).normal(level, 1, size=(2, 32, 32)).astype(np.float32)
    usable = np.ones(image.shape, bool)
    sigma, middle = measure.sky_noise(image, usable)
    scaled, _ = measure.sky_noise(image * np.float32(scale), usable)
    np.testing.assert_allclose(scaled, sigma * scale, rtol=0.01)
    np.testing.assert_allclose(middle, level, atol=0.2)


def test_flags():
    mask = np.zeros((5, 2, 64, 64), np.uint8)
    mask[1, 0, 31, 35] = MASK["saturated"]  # 1" from the centre
    mask[2, 0, 31, 45] = MASK["saturated"]  # 3.5"
    mask[3, 1, :7] = MASK["nodata"] | MASK["edge"]
    mask[4] = MASK["nodata"]
    fraction = measure.masked_fraction(mask)
    missing = fraction > 0.5
    aligned = np.array([True, False, False, False, False])
    found = measure.flags(mask, fraction, missing, aligned, 0.262)
    assert found.dtype == np.int32
    assert found.tolist() == [
        FLAGS["aligned"],
        FLAGS["saturated"],
        0,
        FLAGS["masked"] | FLAGS["edge"],
        FLAGS["missing_band"] | FLAGS["masked"] | FLAGS["no_data"],
    ]
