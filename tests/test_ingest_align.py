"""Alignment: the fast map is astropy's, bands end on the same pixels, the object in the middle."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest_fits import SCALE, gaussian, survey, tan_header

from astroml.ingest import align
from astroml.ingest.align import shift
from astroml.ingest.planes import Pixels
from astroml.ingest.reject import Reject
from astroml.ingest.tan import General, Tan, sky_to_pixels
from astroml.store import MASK

HERE = {"ra": 150.0, "dec": 2.0}


def pixels(image, header=None, mask=None) -> Pixels:
    wcs = None if header is None else sky_to_pixels(header)
    mask = np.zeros(image.shape, np.uint8) if mask is None else mask
    return Pixels(image, np.ones_like(image), mask, wcs, 22.5, 1.2, "a.fits")


def cut(bands, *rest):
    return align.cut({name: [one] for name, one in bands.items()}, *rest)


def centroid(image) -> tuple[float, float]:
    y, x = np.indices(image.shape)
    return (x * image).sum() / image.sum(), (y * image).sum() / image.sum()


@given(
    ra=st.floats(0, 360),
    dec=st.floats(-89.9, 89.9),
    turn=st.floats(0, 360),
    away=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
)
@settings(max_examples=50, deadline=None)
def test_fast_tangent_plane_is_astropys(ra, dec, turn, away):
    header = tan_header(ra, dec, 700.3, -20.1, turn=turn)
    there = dec + away[1] if abs(dec + away[1]) < 90 else dec
    fast = sky_to_pixels(header)
    assert isinstance(fast, Tan)
    slow = WCS(header).world_to_pixel_values((ra + away[0]) % 360, there)
    np.testing.assert_allclose(fast.pixel((ra + away[0]) % 360, there), slow, atol=1e-6)
    made = fast.wcs.world_to_pixel_values(ra, there)
    np.testing.assert_allclose(made, fast.pixel(ra, there), atol=1e-6)
    assert fast.scale == pytest.approx(SCALE)


@pytest.mark.parametrize(
    "kind", ["cdelt", "pc", "cd beside cdelt", "lonpole", "sip", "galactic", "fk4", "b1950"]
)
def test_every_header_maps_as_astropy_says(kind):
    header = tan_header(x=30, y=40)
    step = SCALE / 3600
    if kind in ("cdelt", "pc"):
        for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
            del header[key]
        header["CDELT1"], header["CDELT2"] = step, step
        if kind == "pc":
            header["PC1_1"], header["PC1_2"] = 0.8, -0.6
            header["PC2_1"], header["PC2_2"] = 0.6, 0.8
    elif kind == "cd beside cdelt":
        header["CDELT1"], header["CDELT2"] = 1.0, 1.0
    elif kind == "lonpole":
        header["LONPOLE"] = 90.0
    elif kind == "sip":
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        header["A_ORDER"], header["A_2_0"], header["B_ORDER"], header["B_0_2"] = 2, 1e-4, 2, 1e-4
    elif kind == "galactic":
        header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
        place = SkyCoord(150.0, 2.0, unit="deg").galactic
        header["CRVAL1"], header["CRVAL2"] = place.l.deg, place.b.deg
    elif kind == "fk4":
        header["RADESYS"], header["EQUINOX"] = "FK4", 1950.0
    elif kind == "b1950":
        header["EQUINOX"] = 1950.0
    place = SkyCoord(150.01, 2.005, unit="deg")
    expected = WCS(header).world_to_pixel(place)
    found = sky_to_pixels(header)
    assert isinstance(found, General) == (kind in ("lonpole", "sip", "galactic", "fk4", "b1950"))
    np.testing.assert_allclose(found.pixel(150.01, 2.005), expected, atol=1e-6)
    assert found.scale == pytest.approx(SCALE, rel=0.01)
    np.testing.assert_allclose(
        found.cut(7, 5).pixel(150.01, 2.005), np.subtract(expected, (7, 5)), atol=1e-6
    )


def test_no_map_and_far_side():
    assert sky_to_pixels(fits.Header()) is None
    assert np.isnan(sky_to_pixels(tan_header()).pixel(330.0, -2.0)).all()
    with pytest.raises(ValueError, match="singular"):
        sky_to_pixels(tan_header(CD1_1=0.0))


@pytest.mark.parametrize("size", [20, 21, 64, 65])
@pytest.mark.parametrize("shape", [(64, 64), (65, 65), (91, 70)])
@pytest.mark.parametrize(
    "place", [(31.5, 31.5), (32.0, 31.0), (20.3, 40.7), (31.9999999, 32.4999999)]
)
def test_the_object_is_central(size, shape, place):
    image = gaussian(shape, *place, fwhm=4.0)
    found = cut({"g": pixels(image, tan_header(x=place[0], y=place[1]))}, survey("g"), HERE, size)
    middle = (size - 1) / 2
    assert -0.5 - 1e-5 <= found.dx <= 0.5 + 1e-5
    assert -0.5 - 1e-5 <= found.dy <= 0.5 + 1e-5
    # The brightest pixels, so that padding does not matter.
    core = np.where(found.image[0] > 0.1 * found.image.max(), found.image[0], 0)
    assert centroid(core) == pytest.approx((middle + found.dx, middle + found.dy), abs=0.1)


def test_half_way_is_decided_whatever_the_last_digits():
    image = gaussian((91, 91), 45, 45)
    for off in (-1e-9, 0.0, 1e-9):
        found = cut({"g": pixels(image, tan_header(x=45 + off, y=45))}, survey("g"), HERE, 64)
        assert (found.dx, found.dy) == pytest.approx((0.5, 0.5), abs=1e-6)


def test_centring_is_exact():
    image = np.zeros((101, 101), np.float32)
    image[60, 33] = 1
    found = cut({"g": pixels(image, tan_header(x=33, y=60))}, survey("g"), HERE, 65)
    assert found.image[0, 32, 32] == 1
    assert (found.dx, found.dy) == pytest.approx((0, 0), abs=1e-9)
    assert (found.mask == 0).all()


def test_padding_is_masked():
    image = np.ones((30, 40), np.float32)
    found = cut({"g": pixels(image)}, survey("g"), HERE, 50)
    outside = found.mask[0] == MASK["nodata"] | MASK["edge"]
    assert outside.sum() == 50 * 50 - 30 * 40
    assert (found.image[0][outside] == 0).all()
    assert (found.image[0][~outside] == 1).all()


def test_shifted_bands_end_on_the_same_pixels():
    places = {"g": (31.5, 31.5), "r": (33.8, 30.1), "z": (30.2, 35.05)}
    bands = {
        name: pixels(
            gaussian((64, 64), *place, flux=7), tan_header(x=place[0], y=place[1], turn=turn)
        )
        for (name, place), turn in zip(places.items(), (0, 0, 20))
    }
    found = cut(bands, survey("grz"), HERE, 48)
    assert found.aligned
    for image in found.image:
        assert centroid(image) == pytest.approx((23.5, 23.5), abs=0.05)
        assert image.sum() == pytest.approx(7, rel=0.01)
    np.testing.assert_allclose(found.image[1], found.image[0], atol=0.01 * found.image[0].max())


def test_bands_of_another_scale_keep_their_flux():
    fine = gaussian((200, 200), 99.5, 99.5, fwhm=15, flux=7)
    bands = {
        "g": pixels(fine, tan_header(x=99.5, y=99.5, scale=SCALE / 3)),
        "r": pixels(gaussian((64, 64), 31.5, 31.5, flux=7), tan_header()),
    }
    found = cut(bands, survey("gr"), HERE, 48)
    assert found.aligned
    assert found.image[0].sum() == pytest.approx(7, rel=0.01)
    assert centroid(found.image[0]) == pytest.approx((23.5, 23.5), abs=0.05)


def test_masks_and_nan_move_with_the_pixels():
    image = gaussian((64, 64), 33.5, 31.5)
    image[31, 40] = np.nan
    mask = np.zeros((64, 64), np.uint8)
    mask[20, 30] = MASK["saturated"]
    bands = {
        "g": pixels(gaussian((64, 64), 31.5, 31.5), tan_header()),
        "r": pixels(image, tan_header(x=33.3), mask),
    }
    found = cut(bands, survey("gr"), HERE, 64)
    # Pixels 40 and 30 fall on 38.2 and 28.2: two pixels each have a share of them.
    assert (found.mask[1, 31, 38:40] == MASK["nodata"]).all()
    assert (found.mask[1, 20, 28:30] == MASK["saturated"]).all()
    assert (found.mask[1, :, 62:] == MASK["nodata"] | MASK["edge"]).all()
    assert (found.mask[1] != 0).sum() == 4 + 2 * 64
    assert np.isfinite(found.image).all()


def test_bands_shifted_by_whole_pixels_are_not_resampled():
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    bands = {
        "g": pixels(image, tan_header()),
        "r": pixels(np.roll(image, (3, -2), (0, 1)), tan_header(x=29.5, y=34.5)),
    }
    found = cut(bands, survey("gr"), HERE, 48)
    assert not found.aligned
    np.testing.assert_array_equal(found.image[0], found.image[1])


def test_what_counts_as_the_same_pixels():
    image = np.ones((64, 64), np.float32)
    one = pixels(image, tan_header())
    assert shift(one, pixels(image, tan_header(x=31.53))) == (0, 0)
    assert shift(one, pixels(image, tan_header(x=31.6))) is None
    assert shift(one, pixels(image, tan_header(turn=0.2))) is None
    assert shift(one, pixels(image[:63], tan_header(x=28.5, y=33.5))) == (-3, 2)
    moved = WCS(tan_header()).pixel_to_world_values(100, 100)
    assert shift(one, pixels(image, tan_header(*map(float, moved), x=100, y=100))) == (0, 0)
    assert shift(pixels(image), pixels(image)) == (0, 0)
    with pytest.raises(Reject, match="different shapes"):
        shift(pixels(image), pixels(image[:63]))
    with pytest.raises(Reject, match="without WCS"):
        shift(one, pixels(image))


def test_off_the_image_and_wrong_scale():
    image = np.ones((64, 64), np.float32)
    with pytest.raises(Reject, match="off the image of 64 x 64"):
        cut({"g": pixels(image, tan_header(x=80))}, survey("g"), HERE, 64)
    with pytest.raises(Reject, match=r"0\.5 arcsec, those of survey toy 0\.262"):
        cut({"g": pixels(image, tan_header(scale=0.5))}, survey("g"), HERE, 64)
