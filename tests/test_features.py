"""Hand-made features: what they must not depend on, and what they must see."""

import numpy as np
import pytest

from astroml.tasks.lens.features import features

PIXEL, SIZE = 0.168, 64


def cutouts(n=6, seed=1, size=SIZE, blobs=True):
    """Red Gaussian galaxies, by default with blue blobs, on noise of 1."""
    rng = np.random.default_rng(seed)
    axis = (np.arange(size) - (size - 1) / 2) * PIXEL
    x, y = axis[None, None, :], axis[None, :, None]
    image = rng.normal(0, 1, (n, 3, size, size))
    for band, bright in enumerate((20, 50, 80)):
        image[:, band] += bright * np.exp(-0.5 * (x**2 + y**2) / 0.8**2)
    for row in range(n if blobs else 0):
        at = rng.uniform(-2, 2, 2)
        blob = np.exp(-0.5 * ((x - at[0]) ** 2 + (y - at[1]) ** 2) / 0.3**2)[0]
        image[row] += np.array([10, 5, 2])[:, None, None] * blob
    mask = np.zeros(image.shape, np.uint8)
    mask[:, 0, 3:5, :9] = 1
    return image, mask, np.ones((n, 3)), np.full((n, 3), 0.7)


def ring(image, radius, bright=6.0, width=0.2):
    axis = (np.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2) * PIXEL
    away = np.hypot(axis[None, :], axis[:, None])
    turn = np.arctan2(axis[:, None], axis[None, :])
    # Two arcs: a whole ring is its own radial median.
    arc = np.exp(-0.5 * ((away - radius) / width) ** 2) * (np.cos(turn) ** 8)
    return image + bright * np.array([1, 0.5, 0.2])[:, None, None] * arc


def named(*args):
    values, names = features(*args, PIXEL)
    return dict(zip(names, values.T))


def test_shape_names_and_types():
    values, names = features(*cutouts(), PIXEL)
    assert values.shape == (6, len(names))
    assert len(set(names)) == len(names)
    assert values.dtype == np.float32


@pytest.mark.parametrize("size", [64, 41])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_a_cutout_changes_nothing(turns, size):
    image, mask, *rest = cutouts(size=size)
    straight = features(image, mask, *rest, PIXEL)[0]
    turned = [np.rot90(one, turns, axes=(2, 3)) for one in (image, mask)]
    np.testing.assert_allclose(features(*turned, *rest, PIXEL)[0], straight, rtol=1e-4, atol=1e-4)


def test_mirroring_changes_nothing():
    image, mask, *rest = cutouts()
    flipped = features(image[..., ::-1], mask[..., ::-1], *rest, PIXEL)[0]
    np.testing.assert_allclose(
        flipped, features(image, mask, *rest, PIXEL)[0], rtol=1e-4, atol=1e-4
    )


def test_units_and_batches_do_not_matter():
    image, mask, sigma, seeing = cutouts()
    whole = features(image, mask, sigma, seeing, PIXEL)[0]
    np.testing.assert_allclose(
        features(image * 7, mask, sigma * 7, seeing, PIXEL)[0], whole, rtol=1e-4, atol=1e-5
    )
    some = features(image[2:3], mask[2:3], sigma[2:3], seeing[2:3], PIXEL)[0]
    np.testing.assert_array_equal(some[0], whole[2])


def test_masked_and_broken_pixels_leave_all_finite():
    image, mask, sigma, seeing = cutouts()
    image[0] = np.nan
    image[1, 0, 20:40] = np.inf
    mask[2] = 16
    mask[3, 1] = 1
    image[4] = 0
    sigma[5, 2] = np.nan
    values, _ = features(image, mask, sigma, seeing, PIXEL)
    assert np.isfinite(values).all()
    assert np.abs(values).max() < 1e5


def test_masked_pixels_are_not_read():
    image, mask, *rest = cutouts()
    mask[:, :, 40:44, 20:30] = 4
    spoilt = np.where(mask > 0, 1e6, image)
    np.testing.assert_allclose(
        features(spoilt, mask, *rest, PIXEL)[0], features(image, mask, *rest, PIXEL)[0]
    )


@pytest.mark.parametrize("radius", [0.85, 1.5, 2.3, 3.0])
def test_an_arc_raises_the_excess_of_its_ring(radius):
    image, mask, *rest = cutouts(blobs=False)
    before, after = named(image, mask, *rest), named(ring(image, radius), mask, *rest)
    rings = [name for name in before if name.startswith("ring_excess_") and "to" in name]
    edges = [[float(edge) for edge in name.split("_")[-1].split("to")] for name in rings]
    gain = np.array([(after[name] - before[name]).mean() for name in rings])
    low, high = edges[gain.argmax()]
    assert low - 0.3 <= radius <= high + 0.3
    assert gain.max() > 1
    assert (after["ring_excess_most"] > before["ring_excess_most"]).all()


def test_an_arc_is_asymmetric_blue_and_far_out():
    image, mask, *rest = cutouts(blobs=False)
    before, after = named(image, mask, *rest), named(ring(image, 1.8, bright=20), mask, *rest)
    # Two arcs on opposite sides: a half turn keeps them, a quarter does not.
    gains = [
        (after[name] - before[name]).mean()
        for name in ("asymmetry_90_total_blue", "asymmetry_180_total_blue")
    ]
    assert gains[0] > max(2 * gains[1], 0.02)
    assert (after["colour_0_1.7to2.1"] < before["colour_0_1.7to2.1"] - 0.2).all()


def test_a_classifier_of_them_finds_arcs():
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    image, mask, *rest = cutouts(300, seed=2)
    lens = np.arange(300) % 2 == 1
    faint = np.where(lens[:, None, None, None], ring(image, 1.5, bright=4), image)
    values, _ = features(faint, mask, *rest, PIXEL)
    model = HistGradientBoostingClassifier(max_iter=40).fit(values[:200], lens[:200])
    assert roc_auc_score(lens[200:], model.predict_proba(values[200:])[:, 1]) > 0.95
