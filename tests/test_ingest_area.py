"""Averaging over larger pixels: what reproject says, only sooner, and no flux is lost."""

import numpy as np
import pytest
from astropy.wcs import WCS
from ingest_fits import tan_header
from reproject import reproject_exact

from astroml.ingest.area import averaged

SIDE, SIZE = 90, 20


def grids(turn=0.0, factor=4.0, mirrored=False, dec=20.0):
    """Return the WCS of an image of SIDE px, and of a coarser grid over its middle, turned."""
    source = WCS(tan_header(150.0, dec, SIDE / 2 + 0.8, SIDE / 2 + 0.3))
    target = WCS(tan_header(150.0, dec, SIZE / 2 + 0.5, SIZE / 2 + 0.5, turn=turn))
    cd = target.wcs.cd * factor
    target.wcs.cd = cd * [[-1, 1], [-1, 1]] if mirrored else cd
    return source, target


def sky(seed=1):
    """Return an image with structure down to one pixel."""
    return np.random.default_rng(seed).normal(1, 1, (SIDE, SIDE))


@pytest.mark.parametrize("turn", [0.0, 0.1, -0.4, 180.0])
@pytest.mark.parametrize("factor", [4.0, 3.37, 1.3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_means_are_those_of_reproject(turn, factor, mirrored):
    source, target = grids(turn, factor, mirrored)
    image = sky()
    (mine,), inside = averaged([image], source, target, SIZE)
    theirs, cover = reproject_exact((image, source), target, (SIZE, SIZE), parallel=False)
    whole = cover > 0.99
    assert whole.sum() > 100
    np.testing.assert_allclose(inside, cover, atol=0.02)
    # A pixel's mean scatters by 1 / factor; the turn within a pixel is left out.
    limit = 2e-3 + 2.4 / factor * np.sin(np.radians(abs(turn) % 180))
    assert np.abs(mine - theirs)[whole].max() < limit
    assert np.abs(mine - theirs)[whole].std() < limit / 3


@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_flux_is_conserved(turn):
    source, target = grids(turn)
    image = np.zeros((SIDE, SIDE))
    image[40:47, 43:50] = np.random.default_rng(2).random((7, 7))
    (mean,), inside = averaged([image], source, target, SIZE)
    assert np.nansum(mean * inside) * 16 == pytest.approx(image.sum(), rel=1e-4)


def test_beyond_the_image_nothing_is_known():
    source, target = grids(factor=8.0)
    (mean,), inside = averaged([np.ones((SIDE, SIDE))], source, target, SIZE)
    np.testing.assert_allclose(mean[inside > 0], 1)
    assert np.isnan(mean[inside == 0]).all()
    assert inside.sum() == pytest.approx((SIDE / 8) ** 2, rel=1e-3)


def test_frames_may_differ():
    from astropy.coordinates import SkyCoord

    _, target = grids()
    place = SkyCoord(150.0, 20.0, unit="deg").galactic
    other = WCS(tan_header(place.l.deg, place.b.deg, SIDE / 2, SIDE / 2))
    other.wcs.ctype = ["GLON-TAN", "GLAT-TAN"]
    assert averaged([sky()], other, target, SIZE) is None  # turned by 50 degrees


@pytest.mark.parametrize("turn", [1.0, 45.0, 90.0])
def test_turned_grids_are_left_to_others(turn):
    assert averaged([sky()], *grids(turn), SIZE) is None


def test_smaller_pixels_are_left_to_others():
    assert averaged([sky()], *grids(factor=0.6), SIZE) is None


def test_bent_grids_are_left_to_others():
    source, target = grids()
    header = source.to_header(relax=True)
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["A_ORDER"], header["A_2_0"], header["B_ORDER"], header["B_0_2"] = 2, 1e-3, 2, 1e-3
    assert averaged([sky()], WCS(header), target, SIZE) is None
