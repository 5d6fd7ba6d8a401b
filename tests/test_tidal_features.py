"""Shape statistics: known values, what they must not depend on, and what they must see."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from astroml.tasks.tidal.features import features, gini, m20, measure

PIXEL, SIZE = 0.75, 96


def sersic(n, r_e=8.0, bright=300.0, q=1.0, size=SIZE, phi=0.0):
    """Brightness of a Sersic profile, each pixel the mean of 5 x 5 points."""
    at = (np.arange(5 * size) + 0.5) / 5 - size / 2
    c, s = np.cos(phi), np.sin(phi)
    x, y = at[None, :], at[:, None]
    radius = np.sqrt((c * x + s * y) ** 2 + ((c * y - s * x) / q) ** 2)
    k = 2 * n - 1 / 3
    fine = bright * np.exp(-k * ((radius / r_e) ** (1 / n) - 1))
    return fine.reshape(size, 5, size, 5).mean((1, 3))


def arc(radius=24.0, width=1.5, bright=1.5, size=SIZE):
    at = np.arange(size) - (size - 1) / 2
    away, turn = np.hypot(at[None, :], at[:, None]), np.arctan2(at[:, None], at[None, :])
    return bright * np.exp(-0.5 * ((away - radius) / width) ** 2) * (np.abs(turn) < 0.8)


def blob(x=17, y=-14, size=SIZE):
    at = np.arange(size) - (size - 1) / 2
    return 12 * np.exp(-0.5 * ((at[None, :] - x) ** 2 + (at[:, None] - y) ** 2))


def cutouts(*planes, noise=1.0, seed=1):
    """Each plane in three bands, on noise."""
    rng = np.random.default_rng(seed)
    image = np.stack([np.stack([0.5 * one, one, 1.3 * one]) for one in planes])
    image += rng.normal(0, noise, image.shape)
    n = len(image)
    return image, np.zeros(image.shape, np.uint8), np.ones((n, 3)), np.full((n, 3), 0.7)


def named(args, pixel=PIXEL):
    values, names = features(*args, pixel)
    return dict(zip(names, values.T))


def test_names_shapes_and_types():
    values, names = features(*cutouts(sersic(1), sersic(4)), PIXEL)
    assert values.shape == (2, len(names))
    assert len(set(names)) == len(names) > 40
    assert values.dtype == np.float32
    assert features(*(one[:0] for one in cutouts(sersic(1))), PIXEL)[0].shape == (0, len(names))


def test_gini():
    assert gini(np.full(50, 3.0)) == 0
    assert gini(np.zeros(50)) == 0
    assert gini(np.eye(1, 50)[0]) == pytest.approx(1)
    # Light that grows linearly from 0: one third.
    assert gini(np.arange(2001.0)) == pytest.approx(1 / 3, abs=1e-3)


def test_m20():
    radius = np.array([0.0, 1, 2, 3])
    # The brightest pixel has more than a fifth of the light, and all of its moment is its own.
    assert m20(np.array([0.0, 0, 0, 5]), radius) == pytest.approx(0)
    assert m20(np.array([5.0, 1, 1, 1]), radius) == -6
    even = m20(np.ones(1000), np.ones(1000))
    assert even == pytest.approx(np.log10(0.2), abs=0.01)


@pytest.mark.parametrize(("n", "concentration"), [(1, 2.7), (4, 4.4)])
def test_a_symmetric_galaxy(n, concentration):
    """Concentrations within 1.5 Petrosian radii: Graham et al. (2005, AJ 130, 1535)."""
    found, _, _ = measure(sersic(n), np.ones((SIZE, SIZE), bool), PIXEL)
    assert found["asymmetry"] == pytest.approx(0, abs=1e-6)
    assert found["shape_asymmetry"] == 0
    assert found["left_asymmetry"] == pytest.approx(0, abs=1e-6)
    assert found["concentration"] == pytest.approx(concentration, abs=0.5)
    for ring in range(3):
        assert found[f"left_more_{ring}"] < 0.01


def test_petrosian_radius_of_an_exponential():
    # 0.2 of the mean within is reached at 3.64 scale lengths (Graham et al. 2005): 2.17 r_e.
    found, _, _ = measure(sersic(1, r_e=8), np.ones((SIZE, SIZE), bool), PIXEL)
    assert found["petrosian"] * found["half"] / PIXEL == pytest.approx(2.17 * 8, rel=0.07)
    assert found["half"] == pytest.approx(8 * PIXEL, rel=0.15)


@pytest.mark.parametrize("q", [1.0, 0.5])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_changes_nothing(q, turns):
    plane = sersic(1, q=q, phi=0.4) + arc() + blob()
    image, mask, sigma, seeing = cutouts(plane)
    mask[:, :, 10:14, 60:66] = 1
    one = named((image, mask, sigma, seeing))
    turned = [np.rot90(what, turns, axes=(2, 3)) for what in (image, mask)]
    two = named((*turned, sigma, seeing))
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0.02, atol=0.02, err_msg=name)


def test_mirroring_changes_nothing():
    image, mask, sigma, seeing = cutouts(sersic(1, q=0.6, phi=0.4) + arc())
    one = named((image, mask, sigma, seeing))
    two = named((image[..., ::-1], mask, sigma, seeing))
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=0.02, atol=0.02, err_msg=name)


def test_an_arc_is_seen_and_a_star_is_not():
    host = sersic(1, r_e=6)
    found = named(cutouts(host, host + blob(), host + arc()))
    plain, star, stream = range(3)
    light = found["left_light"]
    assert light[stream] > light[plain] + 0.5
    assert light[stream] > light[star] + 0.3
    most = max(found[f"left_more_{ring}"][stream] for ring in range(2, 4))
    assert most > 1.3 * max(found[f"left_more_{ring}"][star] for ring in range(2, 4))
    assert found["left_asymmetry"][stream] > found["left_asymmetry"][plain]
    thin = found["left_thin"][stream]
    assert thin < 0.7


def test_a_tail_makes_the_shape_asymmetric():
    host = sersic(1, r_e=6)
    tail = np.zeros((SIZE, SIZE))
    tail[46:51, 60:88] = 4
    found = named(cutouts(host, host + gaussian_filter(tail, 1)))
    assert found["shape_asymmetry"][1] > found["shape_asymmetry"][0] + 0.03
    assert found["asymmetry"][1] > found["asymmetry"][0]
    assert found["farthest"][1] > 1.3 * found["farthest"][0]


def test_colour_of_what_is_left():
    host = sersic(1, r_e=6)
    image, mask, sigma, seeing = cutouts(host + arc(bright=3), host + arc(bright=3), noise=0.3)
    image[1, 0] += 2 * arc(bright=3)
    found = named((image, mask, sigma, seeing))
    assert found["left_colour"][1] > found["left_colour"][0] + 0.5


def test_finer_pixels_are_summed():
    plane = sersic(1, r_e=16, size=2 * SIZE) / 4
    coarse = plane.reshape(SIZE, 2, SIZE, 2).sum((1, 3))
    one = named(cutouts(coarse, noise=0))
    two = named(cutouts(plane, noise=0), PIXEL / 2)
    assert two["half"] == pytest.approx(one["half"], rel=1e-6)
    assert two["concentration"] == pytest.approx(one["concentration"], rel=0.05)


@pytest.mark.parametrize("what", ["nan", "inf", "masked", "zero", "absurd", "no_sigma", "edge"])
def test_spoilt_pixels_give_finite_numbers(what):
    image, mask, sigma, seeing = cutouts(sersic(1), sersic(4))
    if what in ("nan", "inf", "zero"):
        image[0] = {"nan": np.nan, "inf": np.inf, "zero": 0}[what]
    elif what == "masked":
        mask[0] = 1
    elif what == "absurd":
        image[0, 1, 20, 20] = 1e30
    elif what == "no_sigma":
        sigma[0] = np.nan
    else:
        image[0, :, :, :40], mask[0, :, :, :40] = 0, 16
    values, _ = features(image, mask, sigma, seeing, PIXEL)
    assert np.isfinite(values).all()
    clean = features(*(one[1:] for one in (image, mask, sigma, seeing)), PIXEL)[0]
    np.testing.assert_array_equal(values[1:], clean)


def test_masked_pixels_do_not_count():
    image, mask, sigma, seeing = cutouts(sersic(1))
    mask[:, :, 60:63, 70:73] = 1
    bad = image.copy()
    bad[:, :, 60:63, 70:73] = 5000
    one, two = (features(what, mask, sigma, seeing, PIXEL)[0] for what in (image, bad))
    np.testing.assert_array_equal(one, two)


def test_a_hole_in_a_galaxy_is_filled_by_its_model():
    good = np.ones((SIZE, SIZE), bool)
    good[48:53, 51:57] = False
    plane = np.where(good, sersic(1), 0)
    whole, spoilt = (measure(sersic(1), good | True, PIXEL)[0], measure(plane, good, PIXEL)[0])
    for name in ("asymmetry", "concentration", "gini", "m20", "petrosian"):
        assert spoilt[name] == pytest.approx(whole[name], abs=0.03), name
