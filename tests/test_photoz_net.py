"""The redshift network: what it is told, and what its loss asks for."""

import numpy as np
import pytest
import torch

from astroml.tasks.photoz import LABEL, Options
from astroml.tasks.photoz.net import (
    RINGS,
    Redshifts,
    Rings,
    build,
    features_of,
    measured,
    objectives,
)

BANDS = ("g", "r", "z")


def batch(n=6, bands=3, size=32, seed=1):
    draw = torch.Generator().manual_seed(seed)
    flux = 10 ** torch.empty(n, bands).uniform_(3, 5, generator=draw)
    return {
        "image": torch.randn(n, bands, size, size, generator=draw),
        "valid": torch.ones(n, bands, size, size, dtype=torch.bool),
        "flux": flux,
        "flux_err": flux / 50,
        "mw_transmission": torch.full((n, bands), 0.9),
        "psf_fwhm": torch.full((n, bands), 1.2),
        "ebv": torch.full((n,), 0.04),
        "r_half": torch.full((n,), 1.5),
        LABEL: torch.empty(n).uniform_(0.05, 0.9, generator=draw),
    }


def network(bands=3, **changes):
    torch.manual_seed(1)
    return build(Options(width=8, hidden=16, **changes), BANDS[:bands], 32)


def test_pdf_is_a_probability_over_the_bins():
    pdf = network(bins=50).eval()(batch())["pdf"]
    assert pdf.shape == (6, 50)
    assert (pdf >= 0).all()
    torch.testing.assert_close(pdf.sum(1), torch.ones(6))


def test_dust_of_the_milky_way_changes_nothing_once_it_is_known():
    clear, seen = batch(), batch()
    seen["mw_transmission"] = clear["mw_transmission"] * 0.5
    seen["flux"], seen["flux_err"] = clear["flux"] * 0.5, clear["flux_err"] * 0.5
    shown = torch.ones(6, 3, dtype=torch.bool)
    torch.testing.assert_close(measured(clear, shown), measured(seen, shown))


def test_colours_are_differences_of_magnitudes():
    told = batch(n=1)
    told["flux"] = torch.tensor([[1000.0, 2512.0, 2512.0]])
    told["flux_err"], told["mw_transmission"] = torch.ones(1, 3), torch.ones(1, 3)
    table = measured(told, torch.ones(1, 3, dtype=torch.bool))
    colours = table[0, 12:14]  # behind magnitudes, signal-to-noise, seeing and presence
    torch.testing.assert_close(colours, torch.tensor([1.0, 0.0]), atol=1e-3, rtol=0)


def test_what_is_absent_is_zero_and_never_spreads():
    told = batch()
    told["flux"][:, 1] = torch.nan
    told["flux_err"][0] = 0
    told["r_half"][:] = torch.nan
    told["psf_fwhm"][:, 2] = torch.nan
    table = measured(told, torch.ones(6, 3, dtype=torch.bool))
    assert table.shape == (6, features_of(3))
    assert table.isfinite().all()
    assert (table[:, 1] == 0).all()
    assert (table[0, 9:12] == 0).all()  # none of the first object's bands is there
    assert network().eval()(told)["pdf"].isfinite().all()


@pytest.mark.parametrize("bands", [1, 3])
def test_bands_are_hidden_in_training_only_and_never_all(bands):
    net = network(bands, drop_band=0.5)
    told = batch(n=200, bands=bands)
    hidden = net.train().choose_bands(told)
    assert hidden.any(1).all()
    assert bands == 1 or hidden.float().mean() < 0.7
    assert net.eval().choose_bands(told).all()


def test_a_masked_band_is_as_if_it_were_not_there():
    net, one, other = network().eval(), batch(), batch()
    one["valid"][:, 0], other["valid"][:, 0] = False, False
    other["flux"][:, 0] *= 7
    other["image"][:, 0] += 3
    torch.testing.assert_close(net(one)["pdf"], net(other)["pdf"])


class Says(Redshifts):
    """A network that says the same p(z) of everything."""

    def __init__(self, pdf):
        super().__init__(Options(bins=len(pdf)), 3, 32)
        self.said = pdf

    def forward(self, batch):
        return {"pdf": self.said.expand(len(batch[LABEL]), -1)}


def test_loss_is_least_where_the_truth_is():
    told = batch(n=1)
    told[LABEL] = torch.tensor([0.3025])  # centre of bin 60
    losses = []
    for centre in range(200):
        pdf = torch.softmax(-0.5 * ((torch.arange(200.0) - centre) / 1.0) ** 2, 0)
        ((_, loss),) = objectives(Says(pdf), told)
        losses.append(loss.item())
    assert min(range(200), key=losses.__getitem__) == 60


def test_learns_from_fluxes_alone():
    net, told = network(bins=20, drop_band=0.0, dropout=0.0), batch(n=64)
    told["image"] *= 0
    told["flux"][:, 1] = told["flux"][:, 0] * 10 ** (2 * told[LABEL])
    adam, first = torch.optim.Adam(net.parameters(), 3e-3), None
    for _ in range(150):
        ((_, loss),) = objectives(net, told)
        first = first or loss.item()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert loss.item() < 0.7 * first


def galaxy(q=0.5, turn=0.0, flux=1e4, size=64):
    """Return the stretched image (1, 1, y, x) of a Gaussian of some axis ratio."""
    at = torch.arange(size) - (size - 1) / 2
    y, x = torch.meshgrid(at, at, indexing="ij")
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    light = torch.exp(-0.5 * (u**2 + (v / q) ** 2) / 5**2)
    return torch.asinh(flux * light / light.sum())[None, None].float()


def test_rings_hold_all_the_light_and_do_not_turn():
    rings = Rings(64)
    light = (torch.sinh(galaxy()).flatten(2) @ rings.inside).sum().item()
    assert light == pytest.approx(1e4, rel=1e-3)
    torch.testing.assert_close(rings(galaxy()), rings(galaxy(turn=np.pi / 2)), atol=1e-4, rtol=0)


def test_a_factor_in_flux_is_a_step_in_magnitude_and_leaves_the_shape():
    faint, bright = Rings(64)(galaxy()), Rings(64)(galaxy(flux=1e5))
    inner = slice(0, 3)  # rings well above the noise
    torch.testing.assert_close(bright[0, inner] - faint[0, inner], torch.ones(3))
    torch.testing.assert_close(bright[0, -1], faint[0, -1], atol=1e-4, rtol=0)


def test_flat_galaxies_look_flat():
    flat = [Rings(64)(galaxy(q))[0, -1].item() for q in (1.0, 0.7, 0.4)]
    assert flat[0] < 1e-3 < flat[1] < flat[2]


def test_a_colour_gradient_shows_in_the_rings():
    narrow, wide = galaxy(1.0), torch.asinh(torch.sinh(galaxy(1.0)) * 0 + 1e4 / 64**2)
    table = Rings(64)(torch.cat([narrow, wide], dim=1))
    colours = table[0, 2 * len(RINGS) : 3 * len(RINGS)]
    assert (colours[1:] > colours[:-1]).all()
