"""Noise: its variance, its correlation, its independence of batches; defects and their masks."""

import numpy as np
import pytest
import torch

from astroml.sky import noise
from astroml.store import MASK
from astroml.survey import load_survey


@pytest.mark.parametrize("correlation", [0.0, 0.4, 1.0])
def test_variance_is_restored_and_neighbours_correlate(correlation):
    field = noise.unit_noise(range(128), 1, 64, correlation, 5).numpy()
    assert field.var() == pytest.approx(1, abs=0.02)
    lag = (field[..., 1:] * field[..., :-1]).mean()
    taps = noise.kernel(correlation).numpy()
    assert lag == pytest.approx((taps[1:] * taps[:-1]).sum(), abs=0.01)
    assert (lag > 0.05) == (correlation > 0)
    down = (field[..., 1:, :] * field[..., :-1, :]).mean()
    assert down == pytest.approx(lag, abs=0.01)


def test_des_correlation_is_what_was_measured():
    taps = noise.kernel(load_survey("des").noise_correlation)
    assert (taps[1:] * taps[:-1]).sum() == pytest.approx(0.13, abs=0.01)


def test_noise_of_a_row_does_not_depend_on_its_batch():
    whole = noise.unit_noise(range(200), 2, 16, 0.4, 3)
    some = [150, 3, 64, 63]
    assert torch.equal(noise.unit_noise(some, 2, 16, 0.4, 3), whole[some])
    assert not torch.equal(noise.unit_noise(some, 2, 16, 0.4, 4), whole[some])
    assert not torch.equal(whole[0], whole[64])


def test_photons_add_their_variance():
    light = torch.tensor([[[[100.0, -50.0]]]])
    level = noise.noise_level(light, torch.tensor([[3.0]]), torch.tensor([4.0]))
    assert level.flatten().tolist() == pytest.approx([np.sqrt(9 + 25), 3.0])


def spoiled(kind, place=0.3, angle=0.6, band=0.4):
    image, mask = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    image += 7
    facts = {"defect": kind, "defect_place": place, "defect_angle": angle, "defect_band": band}
    noise.spoil(image, mask, torch.ones(1, 3), {name: np.array([v]) for name, v in facts.items()})
    return image[0].numpy(), mask[0].numpy()


def test_a_clean_object_stays_clean():
    image, mask = spoiled(noise.CLEAN)
    assert (image == 7).all()
    assert not mask.any()


def test_a_column_is_bad_in_one_band():
    image, mask = spoiled(noise.COLUMN)
    assert (mask[1] == MASK["bad"]).sum() == 32
    assert not mask[[0, 2]].any()
    assert ((image != 7) == (mask > 0)).all()


def test_an_edge_is_zero_and_without_data_in_all_bands():
    image, mask = spoiled(noise.EDGE)
    assert (mask == MASK["nodata"]).sum() == 3 * 32 * 3
    assert ((image == 0) == (mask > 0)).all()


def test_a_cosmic_ray_is_masked_and_a_trail_is_not():
    image, mask = spoiled(noise.COSMIC, 0.5, 0.5)
    assert 4 < (mask == MASK["cosmic"]).sum() < 40
    assert ((image > 7) == (mask > 0)).all()
    image, mask = spoiled(noise.TRAIL, 0.5, 0.5)
    assert not mask.any()
    assert (image[1] > 8).sum() > 64
    assert (image[[0, 2]] == 7).all()
