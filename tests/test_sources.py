"""Lists of sources, and layers that count who belongs to a place."""

import math

import numpy as np
import pytest
import torch

from astroml.nets import crowd
from astroml.nets.colours import AB_OF_1_NJY
from astroml.nets.crowd import CIRCLES, SOFT, WITHIN, Crowd, nearest, seen_cells
from astroml.nets.normalise import Normalisation
from astroml.nets.sources import APERTURES, DENSITY, SourceFinder, Sources
from astroml.tasks.cluster.match import mpc_per_arcsec

BANDS = ("g", "r", "z")
NOISE = 2.0
"""nJy"""
Z_RANGE = (0.05, 0.75)


def batch(scale=(NOISE,) * 3, ebv=0.0, n=1):
    return {
        "scale": torch.tensor(scale).expand(n, -1),
        "sigma": torch.full((n, 3), NOISE),
        "psf_fwhm": torch.full((n, 3), 1.3),
        "ebv": torch.full((n,), ebv),
    }


def spots(place, flux, size=96, sigma=1.0):
    """Return an image (1, band, y, x) with round galaxies of fluxes (k, band), without noise."""
    at = torch.arange(size)
    x, y = (torch.exp(-0.5 * ((at - p[:, None]) / sigma) ** 2) for p in place.T)
    light = torch.einsum("kb,ky,kx->byx", flux, y, x) / (2 * math.pi * sigma**2)
    return light[None]


def listed(image, scale=(NOISE,) * 3, ebv=0.0, valid=None):
    net = SourceFinder(BANDS)
    valid = torch.ones_like(image, dtype=torch.bool) if valid is None else valid
    return net(Normalisation(scale).stretch(image) * valid, valid, batch(scale, ebv, len(image)))


def places(k=20, seed=1):
    """Return whole pixels (k, 2) at least six apart."""
    draw = np.random.default_rng(seed)
    cells = draw.choice(81, k, replace=False)
    return torch.tensor(np.stack([10 + 9 * (cells % 9), 10 + 9 * (cells // 9)], 1)).float()


@pytest.mark.parametrize("ebv", [0.0, 0.3])
@pytest.mark.parametrize("scale", [(NOISE,) * 3, (1.0, 3.0, 0.5)])
def test_planted_galaxies_are_listed_with_their_magnitudes_and_colours(ebv, scale):
    place = places()
    mags = torch.stack([21 + torch.rand(20), 20 + torch.rand(20), 19 + torch.rand(20)], 1)
    dust = SourceFinder(BANDS).dust
    flux = 10 ** (-0.4 * (mags + ebv * dust - AB_OF_1_NJY))
    found = listed(spots(place, flux), scale, ebv)
    assert found.there.sum() == 20
    mine = found.place[0][found.there[0]]
    which = torch.cdist(mine, place).argmin(1)
    assert sorted(which.tolist()) == list(range(20))
    torch.testing.assert_close(mine, place[which], rtol=0, atol=0)
    # The smaller aperture's sum, of a Gaussian of width 1 px on a pixel, by hand.
    at = np.arange(3) - 1.0
    part = np.sum(np.exp(-0.5 * (at / APERTURES[0][0]) ** 2 - 0.5 * at**2))
    lost = -2.5 * math.log10(part**2 / (2 * math.pi))
    facts = found.facts[0][found.there[0]]
    torch.testing.assert_close(20 + 2 * facts[:, 0], mags[which, 2] + lost, rtol=0, atol=0.02)
    colours = mags[which, :-1] - mags[which, 1:]
    for first in (2, 4):
        torch.testing.assert_close(facts[:, first : first + 2] + 0.9, colours, rtol=0, atol=0.02)


def test_facts_do_not_hang_on_the_unit_of_the_stretch():
    image = spots(places(), 1000 + 3000 * torch.rand((20, 3)))
    one, other = listed(image), listed(image, (7.0, 0.3, 2.0))
    torch.testing.assert_close(one.facts, other.facts, rtol=1e-3, atol=1e-3)
    assert (one.place == other.place).all()


def test_what_a_band_lacks_is_told():
    image = spots(places(), torch.full((20, 3), 3000.0))
    valid = torch.ones_like(image, dtype=torch.bool)
    valid[:, 0] = False
    found = listed(image, valid=valid)
    assert found.there.sum() == 20
    facts = found.facts[found.there]
    assert not facts[:, [2, 4]].any()  # g-r, by either aperture
    torch.testing.assert_close(facts[:, -3:], torch.tensor([-1.0, 0, 0]).expand(20, 3))


def test_noise_alone_has_few_sources():
    draw = torch.Generator().manual_seed(2)
    found = listed(NOISE * torch.randn((4, 3, 96, 96), generator=draw))
    # Beyond 4 sigma lie 3e-5 of normal deviates, and most pixels are no maximum.
    assert found.there.sum() <= 4
    assert not found.facts[~found.there].any()


def test_of_too_many_the_brightest_are_kept():
    draw = torch.Generator().manual_seed(2)
    image = 100 * torch.randn((1, 3, 64, 64), generator=draw)
    found = listed(image)
    assert found.there.all()
    assert found.there.shape[1] == math.ceil(DENSITY * 64**2)


def some(n=2, k=50, seed=3):
    draw = torch.Generator().manual_seed(seed)
    place = 320 * torch.rand((n, k, 2), generator=draw)
    return Sources(
        place, torch.ones((n, k), dtype=torch.bool), torch.randn((n, k, 5), generator=draw)
    )


def layers():
    torch.manual_seed(4)
    return Crowd(5, Z_RANGE, mpc_per_arcsec(np.linspace(*Z_RANGE, 256)))


def told(net, sources, place, z=0.3):
    n, p = place.shape[:2]
    cells, scale = torch.ones((n, 20, 20)), torch.full((n,), 1.048)
    counted = net.members(sources, cells, place, torch.full((n, p), z), scale)
    return torch.cat([net.around(sources, place), counted], 2)


PLACE = torch.tensor([[[160.0, 160.0], [40.0, 300.0]]]).expand(2, -1, -1)


def test_the_order_of_sources_means_nothing():
    net, sources = layers(), some()
    order = torch.randperm(50)
    turned = Sources(*(one[:, order] for one in sources))
    torch.testing.assert_close(told(net, turned, PLACE), told(net, sources, PLACE))


def test_empty_slots_and_far_sources_count_nothing():
    net, sources = layers(), some()
    far = sources.place + 1000
    more = Sources(
        torch.cat([sources.place, sources.place, far], 1),
        torch.cat([sources.there, ~sources.there, sources.there], 1),
        torch.cat([sources.facts, sources.facts + 1, sources.facts], 1),
    )
    torch.testing.assert_close(told(net, more, PLACE), told(net, sources, PLACE))


def test_the_nearest_are_enough(monkeypatch):
    """With all that are near among the nearest, the rest need not be looked at."""
    net, sources = layers(), some(k=300)
    sources = sources._replace(place=2 * sources.place)
    away = (sources.place[:, None] - PLACE[:, :, None]).norm(dim=3)
    within = int((away < WITHIN).sum(2).max())
    assert within < 300
    before = told(net, sources, PLACE)
    monkeypatch.setattr(crowd, "NEAREST", within)
    monkeypatch.setattr(crowd, "AT_ONCE", 1)
    torch.testing.assert_close(told(net, sources, PLACE), before)
    kept, _ = nearest(sources.facts, away)
    assert kept.shape == (2, 2, within, 5)


def test_twice_the_members_count_twice():
    net, sources = layers(), some()
    twice = Sources(*(torch.cat([one, one], 1) for one in sources))
    one, two = (told(net, each, PLACE) for each in (sources, twice))
    counts = slice(0, net.around_features + crowd.SORTS)
    torch.testing.assert_close(
        torch.expm1(two[..., counts]), 2 * torch.expm1(one[..., counts]), rtol=1e-3, atol=1e-3
    )


def test_what_was_seen_of_circles():
    """All of one that lies in the tile, half of one around a point on its edge."""
    net = layers()
    z = torch.full((1, 2), 0.5)
    cells = seen_cells(torch.ones((1, 640, 640), dtype=torch.bool))
    place = torch.tensor([[[320.0, 320.0], [-0.5, 320.0]]])
    sources = Sources(torch.zeros(1, 1, 2), torch.zeros(1, 1) > 0, torch.zeros(1, 1, 5))
    seen = net.members(sources, cells, place, z, torch.full((1,), 1.048))[..., -len(CIRCLES) :]
    # 0.25 to 1.2 Mpc are 41" to 197" at z = 0.5: many cells, and within reach.
    whole, radius = seen[0, 0, 1:], torch.tensor(CIRCLES[1:])
    # The integral of a circle whose edge is as soft as a Fermi function's.
    soft = 1 + (math.pi * SOFT / radius) ** 2 / 3
    torch.testing.assert_close(whole, soft, rtol=0, atol=0.03)
    torch.testing.assert_close(seen[0, 1, 1:] / whole, torch.full((4,), 0.5), rtol=0, atol=0.03)


def test_distances_are_those_of_the_cosmology():
    z = torch.tensor([0.05, 0.1234, 0.4, 0.75])
    np.testing.assert_allclose(layers().mpc_per_arcsec(z), mpc_per_arcsec(z.numpy()), rtol=1e-4)
