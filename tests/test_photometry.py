"""Integrated fluxes: Gaussian galaxies of known flux, size and noise."""

import numpy as np
import pytest

from astroml.photometry import PIECE, photometry, photometry_columns
from astroml.store import MASK

SIDE, PIXEL = 64, 0.3


def galaxies(flux, r_half, psf_fwhm):
    """Return images (n, band, y, x) of round Gaussians of flux (n, band), r_half (n,) arcsec."""
    flux, psf_fwhm = np.asarray(flux, float), np.asarray(psf_fwhm, float)
    width = np.asarray(r_half, float) / 1.1774 / PIXEL
    spread = np.hypot(width[:, None], psf_fwhm / 2.3548 / PIXEL)[..., None, None]
    place = np.arange(SIDE) - (SIDE - 1) / 2
    radius = place[:, None] ** 2 + place**2
    light = np.exp(-radius / (2 * spread**2)) / (2 * np.pi * spread**2)
    return (flux[..., None, None] * light).astype(np.float32)


def measure(image, sigma=1.0, psf_fwhm=1.2, mask=None):
    mask = np.zeros(image.shape, np.uint8) if mask is None else mask
    shape = image.shape[:2]
    return photometry(
        image, mask, np.broadcast_to(sigma, shape), np.broadcast_to(psf_fwhm, shape), PIXEL
    )


@pytest.mark.parametrize("r_half", [0.8, 1.5, 2.5])
def test_a_gaussian_galaxy_is_recovered(r_half):
    flux = np.array([[100.0, 4000.0, 300.0]])
    found = measure(galaxies(flux, [r_half], np.full((1, 3), 1.2)), 0.01)
    np.testing.assert_allclose(found["flux"], flux, rtol=0.02)
    np.testing.assert_allclose(found["r_half"], r_half, rtol=0.02)


def test_colours_do_not_depend_on_the_seeing():
    fwhm = np.array([[0.7, 1.0, 1.6], [1.6, 1.0, 0.7], [1.0, 1.0, 1.0]])
    image = galaxies(np.full((3, 3), 500.0), np.full(3, 1.1), fwhm)
    flux = measure(image, 0.01, fwhm)["flux"]
    np.testing.assert_allclose(flux / flux[:, :1], 1, rtol=0.01)


def test_the_error_is_the_scatter_over_noise():
    rng = np.random.default_rng(1)
    sigma, fwhm = np.array([2.0, 5.0]), np.array([1.2, 0.9])
    clean = galaxies([[3e4, 6e4]], [1.3], [fwhm])
    noise = rng.normal(size=(1500, 2, SIDE, SIDE)) * sigma[:, None, None]
    found = measure((clean + noise).astype(np.float32), sigma, fwhm)
    np.testing.assert_allclose(found["flux"].mean(0), [3e4, 6e4], rtol=0.01)
    # The measured size is common to all bands, so that colours scatter as the errors say.
    colour = np.log(found["flux"][:, 0] / found["flux"][:, 1])
    error = np.median(found["flux_err"] / found["flux"], 0)
    assert colour.std() == pytest.approx(np.hypot(*error), rel=0.05)


def test_masked_pixels_count_no_light_and_are_made_up_for():
    image = galaxies(np.full((3, 2), 1000.0), np.full(3, 1.2), np.full((3, 2), 1.2))
    mask = np.zeros(image.shape, np.uint8)
    mask[1, 0, 37:40, 20:44] = MASK["bad"]
    image[1, 0, 37:40, 20:44] = [np.inf]
    image[1, 0, 38, 30] = 3e38
    mask[2, :, 37:40, 20:44] = MASK["interpolated"]
    found = measure(image, 0.5, mask=mask)
    plain = measure(image[:1], 0.5)
    assert found["flux"][1, 0] == pytest.approx(1000, rel=0.1)
    assert found["flux_err"][1, 0] > 1.02 * plain["flux_err"][0, 0]
    # Interpolated pixels are good enough to count.
    np.testing.assert_array_equal(found["flux"][2], plain["flux"][0])


def test_what_is_not_a_number_is_left_out_without_a_mask():
    image = galaxies(np.full((2, 2), 1000.0), np.full(2, 1.2), np.full((2, 2), 1.2))
    image[1, 0, :5] = np.nan
    found = measure(image, 0.5)
    np.testing.assert_allclose(found["flux"][1, 0], found["flux"][0, 0], rtol=0.01)
    assert np.isfinite(found["flux_err"]).all()


def test_a_band_without_pixels_has_no_flux():
    image = galaxies(np.full((2, 3), 1000.0), np.full(2, 1.2), np.full((2, 3), 1.2))
    mask = np.zeros(image.shape, np.uint8)
    image[0, 1] = np.nan
    mask[1, 2] = MASK["nodata"]
    found = measure(image, 0.5, mask=mask)
    for name in ("flux", "flux_err"):
        assert np.isnan(found[name]).tolist() == [[False, True, False], [False, False, True]]
    np.testing.assert_allclose(found["r_half"], 1.2, rtol=0.02)


def test_an_object_does_not_depend_on_the_others():
    rng = np.random.default_rng(2)
    count = PIECE + 7
    image = galaxies(rng.uniform(100, 900, (count, 3)), rng.uniform(0.5, 2, count), [[1.2] * 3])
    image += rng.normal(size=image.shape).astype(np.float32)
    mask = (rng.random(image.shape) < 2e-5).astype(np.uint8) * MASK["bad"]
    whole = measure(image, mask=mask)
    for row in (0, PIECE - 1, PIECE, count - 1):
        alone = measure(image[row : row + 1], mask=mask[row : row + 1])
        for name, values in alone.items():
            np.testing.assert_allclose(values[0], whole[name][row], rtol=1e-5)


def test_nothing_in_gives_nothing_out():
    found = measure(np.zeros((0, 3, SIDE, SIDE), np.float32))
    assert found["flux"].shape == found["flux_err"].shape == (0, 3)
    assert found["r_half"].shape == (0,)


def test_columns_are_named_by_band():
    image = galaxies([[100.0, 200.0]], [1.0], [[1.2, 1.2]])
    planes = (np.zeros(image.shape, np.uint8), np.ones((1, 2)), np.full((1, 2), 1.2))
    found = photometry_columns(image, *planes, PIXEL, "gr", np.array([[0.9, 0.95]]))
    names = {f"{kind}_{b}" for kind in ("flux", "flux_err", "mw_transmission") for b in "gr"}
    assert set(found) == names | {"r_half"}
    assert all(values.dtype == np.float32 and values.shape == (1,) for values in found.values())
    assert found["mw_transmission_r"][0] == np.float32(0.95)
    assert found["flux_r"][0] == pytest.approx(200, rel=0.02)
