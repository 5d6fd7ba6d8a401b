"""The residual of a cutout lies where on the cutout there is light that no model expects."""

import numpy as np
import pytest
import torch

from astroml import tasks
from astroml.nets import canonical, residual

SIZE = 64


def batch(turn=0.7, blob=(10, -6), n=4):
    """Return cutouts of an ellipse, the second half of them with a blob beside it."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    image = 200 * np.exp(-np.hypot(along, across / 0.6) / 4)
    image = np.repeat(np.repeat(image[None, None], n, 0), 3, 1)
    image[n // 2 :] += 60 * np.exp(-0.5 * ((x - blob[0]) ** 2 + (y - blob[1]) ** 2) / 4)
    image = torch.from_numpy(image.astype(np.float32))
    return {
        "image": torch.asinh(image),
        "valid": torch.ones(image.shape, dtype=torch.bool),
        "scale": torch.ones(n, 3),
        "sigma": torch.ones(n, 3),
    }


@pytest.mark.parametrize("turn", [0.0, 0.7, 2.0])
def test_a_view_laid_back_lies_on_the_cutout(turn):
    data = batch(turn)
    seen = canonical.canonical(data)
    light = torch.sinh(seen.image.mean(1))
    back = residual.laid_back(data, light)[-1].numpy()
    truth = residual.light_of(data)[-1].numpy()
    inside = np.hypot(*(np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2)) < 0.3 * SIZE
    assert np.corrcoef(back[inside], truth[inside])[0, 1] > 0.98


def test_the_map_of_an_untrained_network_has_the_cutouts_shape():
    torch.manual_seed(1)
    options = tasks.load("anomaly").Options(width=4, latent=4, models=["ae"])
    net = tasks.load("anomaly", "net").build(options, ("g", "r", "i"), SIZE).eval()
    drawn = tasks.load("anomaly", "net").evidence(net, batch())
    assert drawn.shape == (4, SIZE, SIZE)
    assert drawn.isfinite().all()
    # What the second half has more shows where it lies, whatever the network makes of the rest.
    more = (drawn[-1] - drawn[0]).numpy()
    y, x = np.unravel_index(np.abs(more).argmax(), more.shape)
    assert drawn[0, 0, 0] == 0  # beyond the view
    assert np.hypot(x - (SIZE - 1) / 2, y - (SIZE - 1) / 2) < 0.4 * SIZE
