"""Planes of labels: read for training, and turned with the image."""

from functools import partial

import numpy as np
import pytest
import torch
from toy import toy_store

from astroml.nets import augment
from astroml.nets.augment import random_view
from astroml.nets.batches import make_ready, read_batches
from astroml.nets.normalise import Normalisation
from astroml.store import open_store


def blob(size, y0, x0, width):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.exp(-0.5 * ((y - y0) ** 2 + (x - x0) ** 2) / width**2)


def centroid(image):
    at = torch.arange(image.shape[-1], dtype=image.dtype)
    return (image.sum(1) @ at / image.sum()).item(), (image.sum(0) @ at / image.sum()).item()


def test_planes_of_labels_turn_with_the_image():
    """A blob in the image, and the label on it, stay together in every view."""
    size, n = 33, 64
    y0, x0 = np.random.default_rng(1).uniform(10, 22, (2, n))
    image = torch.stack([blob(size, y, x, 2.0) for y, x in zip(y0, x0)])[:, None]
    plane = (image[:, 0] > 0.5).to(torch.uint8) * 4
    draw = torch.Generator().manual_seed(2)
    flux, _, coin, move = random_view(image, image > -1, 3.0, draw)
    turned = augment.view_plane(plane, coin, move)
    assert turned.dtype == torch.uint8
    assert set(turned.unique().tolist()) == {0, 4}
    for one, label in zip(flux[:, 0], turned):
        assert centroid(label.float()) == pytest.approx(centroid(one.clamp(min=0)), abs=0.6)
    same = (turned > 0) == (flux[:, 0] > 0.5)
    assert same.float().mean() > 0.98


def test_turned_planes_are_exact_without_a_shift():
    plane = torch.randint(0, 16, (8, 20, 20), generator=torch.Generator().manual_seed(1))
    plane = plane.to(torch.uint8)
    coin = torch.tensor(augment.COINS)
    turned = augment.view_plane(plane, coin, torch.zeros(8, 2))
    for at, one in enumerate(augment.COINS):
        assert torch.equal(turned[at], augment.turn_image(plane[at : at + 1], one)[0])
    moved = augment.view_plane(plane, torch.zeros(8, 3).bool(), torch.tensor([[2.0, -1.0]] * 8))
    assert torch.equal(moved[:, 2:, :-1], plane[:, :-2, 1:])
    assert not moved[:, :2].any()


def test_planes_are_read_and_turned_for_training(tmp_path):
    store = open_store(toy_store(tmp_path / "0.h5", "tidal", n=16))
    (raw,) = read_batches(store, np.arange(16)[::-1].copy(), 16, planes=("truth",))
    assert np.array_equal(raw["truth"], store.read(np.arange(16), ("truth",))["truth"][::-1])
    assert raw["pixel_scale"].tolist() == pytest.approx([0.262] * 16)
    tensors = {name: torch.from_numpy(values.copy()) for name, values in raw.items()}
    augmented = partial(random_view, shift=0.0, draw=torch.Generator().manual_seed(1))
    batch = make_ready(tensors, Normalisation((2.0,) * 3), augmented)
    coin = torch.rand((16, 3), generator=torch.Generator().manual_seed(1)) < 0.5
    assert torch.equal(
        batch["truth"], augment.view_plane(tensors["truth"], coin, torch.zeros(16, 2))
    )
    assert not torch.equal(batch["truth"], tensors["truth"])
    assert batch["scale"].tolist() == [[2.0] * 3] * 16
