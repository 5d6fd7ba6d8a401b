"""Colours of galaxy types in any band."""

import numpy as np
import pytest

from astroml.sky.colours import TYPES, magnitudes, red_sequence_mag
from astroml.survey import galactic_extinction, load_survey

# z, then HSC g-r, r-i, i-z, DECam g-r, r-z of the CWW/BPZ elliptical through the real filters.
RED_SEQUENCE = np.array(
    [
        [0.1, 0.85, 0.48, 0.19, 0.92, 0.64],
        [0.2, 1.15, 0.52, 0.28, 1.21, 0.75],
        [0.3, 1.41, 0.60, 0.31, 1.51, 0.85],
        [0.4, 1.60, 0.69, 0.35, 1.74, 0.96],
        [0.5, 1.52, 0.93, 0.37, 1.70, 1.17],
        [0.6, 1.48, 1.18, 0.40, 1.66, 1.45],
        [0.7, 1.58, 1.33, 0.43, 1.74, 1.66],
        [0.8, 1.77, 1.36, 0.61, 1.88, 1.91],
        [0.9, 2.03, 1.23, 0.87, 2.18, 1.98],
        [1.0, 2.18, 1.18, 0.95, 2.35, 2.07],
    ]
)


def mags(kind, z, wavelengths):
    return magnitudes(TYPES[kind], z, wavelengths, 20.0, 642.0)


def test_ellipticals_follow_the_red_sequence():
    z = RED_SEQUENCE[:, 0]
    hsc = [load_survey("hsc").bands[band].wavelength for band in "griz"]
    decam = [load_survey("decals").bands[band].wavelength for band in "grz"]
    ours = np.hstack([-np.diff(mags("E", z, hsc)), -np.diff(mags("E", z, decam))])
    assert np.abs(ours - RED_SEQUENCE[:, 1:]).max() < 0.12
    assert (ours - RED_SEQUENCE[:, 1:]).std() < 0.04


def test_types_are_ordered_from_red_to_blue_at_any_redshift():
    for z in (0.0, 0.3, 0.8, 1.5):
        g_r = [
            float(-np.diff(mags(kind, z, [478, 642]))[0, 0]) for kind in ("E", "Sbc", "Scd", "Im")
        ]
        assert g_r == sorted(g_r, reverse=True)
        assert -0.3 < g_r[-1] < 0.6


@pytest.mark.parametrize(
    ("kind", "u_g", "r_j", "j_h"),
    [("E", (1.3, 2.1), (0.7, 1.2), (0.1, 0.5)), ("Im", (0.2, 1.0), (-0.1, 0.5), (-0.2, 0.3))],
)
def test_ultraviolet_and_infrared_are_sane(kind, u_g, r_j, j_h):
    # AB colours of nearby galaxies: u-g 1.7 and 0.8 (SDSS), J-H 0.2 to 0.3 (2MASS).
    u, g, r, vis, y, j, h = mags(kind, 0.03, [356, 478, 642, 715, 1080, 1370, 1770])[0]
    assert u_g[0] < u - g < u_g[1]
    assert r_j[0] < r - j < r_j[1]
    assert j_h[0] < j - h < j_h[1]
    assert h - 0.1 < j < y + 0.1 < vis + 0.2 < r + 0.3


def test_the_reference_band_has_the_magnitude_it_was_given():
    assert mags("Sbc", 0.4, [642.0])[0, 0] == pytest.approx(20)


def test_dust_reddens():
    clean, dusty = (magnitudes(0.0, 1.5, [478, 642], 22, 642, dust)[0] for dust in (0.0, 0.2))
    assert dusty[0] - dusty[1] > clean[0] - clean[1] + 0.2


def test_no_light_below_the_lyman_limit():
    assert mags("Im", 4.5, [356])[0, 0] > 25


def test_galactic_extinction_and_red_sequence_anchor():
    g, r, z = galactic_extinction(1.0, [478, 642, 926])[0]
    assert (g, r, z) == pytest.approx((3.2, 2.1, 1.2), abs=0.1)
    assert red_sequence_mag(0.5) == pytest.approx(20.25, abs=0.05)
