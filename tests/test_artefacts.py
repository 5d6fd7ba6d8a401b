"""Artefacts painted over cutouts: where they lie, what they change, what masks say."""

import numpy as np
import pytest
import torch

from astroml.nets import artefacts
from astroml.nets.artefacts import DICE, FULL, KINDS, NONE, paint, roll
from astroml.store import MASK
from astroml.tasks.anomaly.kinds import ARTEFACTS

BANDS, SIZE, LEVEL = 3, 64, 2.5


def painted(kind, n=24, level=LEVEL, seed=1, bands=BANDS, fwhm=None):
    """Return an empty sky, and the same with artefacts over it."""
    draw = torch.Generator().manual_seed(seed)
    image = torch.zeros(n, bands, SIZE, SIZE)
    mask = torch.zeros(image.shape, dtype=torch.uint8)
    sigma = torch.full((n, bands), level)
    which = torch.full((n,), KINDS.index(kind))
    return image, *paint(image, mask, sigma, which, roll(n, draw), fwhm)


def bands_of(image):
    return (image != 0).flatten(2).any(2).sum(1)


def test_kinds_have_one_order():
    assert KINDS == ARTEFACTS


def test_what_is_not_named_stays_as_it_is():
    draw = torch.Generator().manual_seed(1)
    image, mask = torch.rand(6, 3, 32, 32), torch.zeros(6, 3, 32, 32, dtype=torch.uint8)
    before, which = image.clone(), torch.tensor([NONE, 0, 1, NONE, 3, 5])
    out, flags = paint(image, mask, torch.ones(6, 3), which, roll(6, draw))
    np.testing.assert_array_equal(image, before)
    assert not mask.any()
    for row in (0, 3):
        np.testing.assert_array_equal(out[row], before[row])
        assert not flags[row].any()
    for row in (1, 2, 4, 5):
        assert (out[row] != before[row]).any(), KINDS[which[row]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_artefact_does_not_depend_on_its_batch(kind):
    draw = torch.Generator().manual_seed(4)
    image, dice = torch.rand(8, 3, 32, 32), roll(8, draw)
    mask, which = torch.zeros(image.shape, dtype=torch.uint8), torch.full((8,), KINDS.index(kind))
    whole = paint(image, mask, torch.ones(8, 3), which, dice)
    some = [5, 2]
    part = paint(image[some], mask[some], torch.ones(2, 3), which[some], dice[some])
    for one, two in zip(whole, part):
        torch.testing.assert_close(one[some], two, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["trail", "ghost", "cosmic_ray"])
def test_what_pipelines_miss_is_in_no_mask_and_only_adds_light(kind):
    _, image, mask = painted(kind)
    assert not mask.any()
    assert (image >= 0).all()
    assert (bands_of(image) == (3 if kind == "ghost" else 1)).all()
    # Brightness follows the noise.
    _, twice, _ = painted(kind, level=2 * LEVEL)
    torch.testing.assert_close(twice, 2 * image)
    # It can be seen, and is no lamp; a ghost may lie partly beyond the cutout.
    peak = image.amax((1, 2, 3)) / LEVEL
    assert peak.min() > 1.5
    assert peak.max() < {"trail": 55, "ghost": 15, "cosmic_ray": 401}[kind]


def test_a_trail_is_straight_and_crosses_the_cutout():
    _, image, _ = painted("trail", n=40)
    for one in image.sum(1).double():
        y, x = torch.nonzero(one > 0.5 * one.max(), as_tuple=True)
        place = torch.stack([x, y]).double()
        spread = torch.linalg.svdvals(place - place.mean(1, keepdim=True)) / len(x) ** 0.5
        assert spread[0] > 5 * spread[1]
        assert spread[1] < 2.5
        # It reaches the cutout's edge on both sides.
        lit = torch.nonzero(one > 0)
        assert ((lit == 0) | (lit == SIZE - 1)).any(1).sum() >= 2


def test_cosmic_rays_are_sharper_than_stars():
    _, image, _ = painted("cosmic_ray", n=40)
    flat = image.amax(1)
    # Of a star of 4 px FWHM the brightest pixel's neighbours have 0.8 of its light.
    for one in flat:
        row, column = divmod(int(one.argmax()), SIZE)
        around = one[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4]
        assert (around < 0.2 * one.max()).float().mean() > 0.5
    assert (flat > 0).float().mean() < 0.06


def test_a_ghost_is_a_disc_with_a_hole():
    _, image, _ = painted("ghost", n=200)
    area = (image.amax(1) > 0.3 * image.amax((1, 2, 3))[:, None, None]).flatten(1).float().mean(1)
    assert 0.005 < area.min() < area.median() < 0.5
    axis = torch.linspace(-1.2, 1.2, 241)
    light = artefacts.ghost(axis[None, :], axis[:, None], 1.0, 0.15, 0.0)
    assert float(light[120, 135]) < 0.4 * float(light[120, 220])
    assert float(light[:, 0].max()) < 1e-3


def test_a_saturated_star_is_full_and_flagged_where_it_is():
    fwhm = torch.full((30, BANDS), 3.6)
    _, image, mask = painted("saturated_star", n=30, fwhm=fwhm)
    flagged = mask == MASK["saturated"]
    assert (mask == 0).logical_or(flagged).all()
    assert flagged.flatten(1).any(1).float().mean() > 0.9
    assert image.max() <= FULL * LEVEL * (1 + 1e-6)
    assert (image[flagged] >= 0.4 * FULL * LEVEL * (1 - 1e-6)).all()
    assert (image[~flagged] <= FULL * LEVEL).all()
    # Wings and spikes are not flagged, and the mask is a small part.
    assert ((image > LEVEL) & ~flagged).float().mean() > 0.2
    assert flagged.float().mean() < 0.1
    # The galaxy in the middle is not the star's.
    assert not (flagged[:, :, 30:34, 30:34].flatten(1).float().mean(1) == 1).all()


def test_beyond_an_edge_there_is_nothing():
    draw = torch.Generator().manual_seed(2)
    image, sigma = torch.full((40, 3, SIZE, SIZE), 7.0), torch.ones(40, 3)
    mask = torch.zeros(image.shape, dtype=torch.uint8)
    out, flags = paint(image, mask, sigma, torch.full((40,), KINDS.index("edge")), roll(40, draw))
    gone = flags == MASK["nodata"]
    assert (flags[~gone] == 0).all()
    assert (out[gone] == 0).all()
    share = gone.flatten(2).float().mean(2)
    assert set(((share > 0).sum(1)).tolist()) == {1, 3}
    assert (share.amax(1) > 0.05).all()
    assert share.max() < 0.55
    # The galaxy in the middle is still there.
    assert not gone[..., 31:33, 31:33].any()
    # The strip along it is no part of the mask.
    strip = (out != 7) & ~gone
    assert strip.flatten(1).any(1).all()
    assert strip.float().mean() < 0.35


def test_a_missing_band_is_one_band_flagged_in_half_of_all_cases():
    draw = torch.Generator().manual_seed(2)
    image = 100 + torch.rand(200, 3, 16, 16)
    mask, sigma = torch.zeros(image.shape, dtype=torch.uint8), torch.full((200, 3), LEVEL)
    which = torch.full((200,), KINDS.index("missing_band"))
    out, flags = paint(image, mask, sigma, which, roll(200, draw))
    lost = (out != image).flatten(2).all(2)
    assert (lost.sum(1) == 1).all()
    assert (out[~lost] == image[~lost]).all()
    flagged = (flags == MASK["nodata"]).flatten(2).all(2)
    assert (flags[~flagged] == 0).all()
    assert (lost | ~flagged).all()
    assert 70 < flagged.sum() < 130
    assert (out[flagged] == 0).all()
    # What is not flagged looks like sky.
    sky = out[lost & ~flagged]
    assert float(sky.std()) == pytest.approx(LEVEL, rel=0.03)
    assert abs(float(sky.mean())) < 0.05 * LEVEL


def test_pixels_without_a_number_stay_without():
    draw = torch.Generator().manual_seed(2)
    image = torch.zeros(4, 3, 32, 32)
    image[:, :, 3, 3] = torch.nan
    mask, fwhm = torch.zeros(image.shape, dtype=torch.uint8), torch.full((4, 3), torch.nan)
    which = torch.arange(4)
    out, _ = paint(image, mask, torch.zeros(4, 3), which, roll(4, draw), fwhm)
    others = torch.ones(32, 32, dtype=torch.bool)
    others[3, 3] = False
    assert out[:, :, others].isfinite().all()
    assert out[:3, :, 3, 3].isnan().all()


def test_any_number_of_bands_and_seeded_dice():
    for bands in (1, 5):
        for kind in KINDS:
            _, image, _ = painted(kind, n=6, bands=bands)
            assert image.isfinite().all()
    one, two = (roll(3, torch.Generator().manual_seed(9)) for _ in range(2))
    assert one.shape == (3, DICE)
    torch.testing.assert_close(one, two, rtol=0, atol=0)
