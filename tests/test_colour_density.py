"""Colours of galaxies and how rare they are: known colours, masks, a density that is one."""

import math

import numpy as np
import torch

from astroml.nets.canonical import Seen
from astroml.nets.colour_density import MIXTURE, ColourDensity, colours_of


def view(fluxes, side=32, noise=0.01):
    """Return a round galaxy of known flux in each band, with an error too small to matter."""
    at = torch.arange(side) - (side - 1) / 2
    light = torch.exp(-torch.hypot(at, at[:, None]) / 3)
    image = torch.asinh(torch.tensor(fluxes)[None, :, None, None] * light)
    ones = torch.ones_like(image)
    level = torch.full((1, len(fluxes), 1, 1), noise)
    return Seen(image, level, ones, ones, torch.zeros(1))


def density(colours, seed=1):
    torch.manual_seed(seed)
    net = ColourDensity(colours)
    for one in net.parameters():
        torch.nn.init.normal_(one, std=0.4)
    return net


def test_colours_are_the_ratios_of_flux():
    found = colours_of(view((10.0, 20.0, 10.0)))
    assert torch.allclose(found, torch.tensor([[-math.log(2), math.log(2)]]), atol=1e-4)


def test_masked_pixels_change_no_colour_and_a_lacking_band_has_none():
    seen = view((10.0, 20.0, 10.0))
    spoilt = seen.image.clone()
    valid = seen.valid.clone()
    spoilt[0, 1, 14:18, 14:20], valid[0, 1, 14:18, 14:20] = 9.0, 0.0
    masked = colours_of(seen._replace(image=spoilt, valid=valid))
    assert torch.allclose(masked, colours_of(seen), atol=1e-4)
    valid[0, 2] = 0
    assert torch.isnan(colours_of(seen._replace(valid=valid))).tolist() == [[False, True]]
    nll, _ = density(2)(torch.tensor([[0.1, math.nan]]))
    assert torch.isfinite(nll).all()


def test_light_below_the_noise_counts_as_noise():
    faint = colours_of(view((10.0, 1e-6), noise=0.1))
    fainter = colours_of(view((10.0, 0.0), noise=0.1))
    assert torch.equal(faint, fainter)
    assert 0 < faint.item() < 10


def test_the_density_adds_up_to_one():
    axis = torch.linspace(-12, 12, 481)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(-1, 2)
    with torch.no_grad():
        total = torch.exp(-density(2)(grid)[0]).sum() * (axis[1] - axis[0]) ** 2
    assert abs(total.item() - 1) < 1e-3


def test_of_one_normal_distribution_it_is_the_distance_in_sigmas():
    net = density(2)
    with torch.no_grad():
        for one in (net.mean, net.log_width, net.slant):
            one.copy_(one[: len(one) // MIXTURE].repeat(MIXTURE))
        colours = torch.randn((50, 2), generator=torch.Generator().manual_seed(3))
        found = net.oddness(colours).numpy()
        slant = np.eye(2) - np.tril(net.slant[:4].view(2, 2).numpy(), -1)
        away = (colours - net.mean[:2]).numpy() @ slant.T / np.exp(net.log_width[:2].numpy())
    assert np.allclose(found, np.hypot(*away.T), atol=2e-3)


def test_it_learns_where_galaxies_lie():
    rng = np.random.default_rng(1)
    colours = torch.from_numpy(rng.normal((-0.6, -0.2), (0.2, 0.05), (500, 2))).float()
    torch.manual_seed(1)
    net = ColourDensity(2)
    descent = torch.optim.Adam(net.parameters(), 0.03)
    for _ in range(150):
        descent.zero_grad()
        net(colours)[0].mean().backward()
        descent.step()
    expected = math.log(2 * math.pi * math.e * 0.2 * 0.05)
    assert abs(net(colours)[0].mean().item() - expected) < 0.1
    rare = net.oddness(torch.tensor([[-0.6, 0.3]]))
    assert rare.item() > net.oddness(colours).max().item()


def test_a_survey_of_one_band_has_no_colours():
    net = ColourDensity(0)
    assert torch.allclose(net.oddness(colours_of(view((10.0,)))), torch.zeros(1), atol=2e-3)
