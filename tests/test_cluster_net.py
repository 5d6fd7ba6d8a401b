"""The network of galaxy clusters and what it stands on: peaks, colour bins, the pyramid."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import maximum_filter

from astroml.nets.augment import COINS, view, view_plane
from astroml.nets.batches import make_ready
from astroml.nets.colours import BINS, BLUEST, BRIGHTEST, FAINTEST, MAGS, REDDEST, ColourBins
from astroml.nets.finder import peaks_of
from astroml.nets.normalise import Normalisation
from astroml.nets.peaks import (
    NOWHERE,
    Centres,
    centres_of,
    find_peaks,
    focal_loss,
    in_cells,
    in_pixels,
    place_of,
    splat,
)
from astroml.tasks.cluster import Options
from astroml.tasks.cluster import net as cluster_net
from astroml.tasks.cluster.kinds import SLOTS

BANDS = ("g", "r", "z")
NOISE = 2.0
"""nJy"""


def red(z):
    """Return the fluxes in g, r, z, of 1 in z, of a galaxy on the red sequence."""
    colour = torch.tensor([[0.92, 0.64], [1.21, 0.75], [1.51, 0.85], [1.74, 0.96], [1.70, 1.17]])
    at = min(max((z - 0.1) / 0.1, 0), 3.999)
    gr, rz = torch.lerp(colour[int(at)], colour[int(at) + 1], at - int(at))
    return 10 ** (-0.4 * torch.tensor([gr + rz, rz, 0.0]))


def galaxies(image, x, y, flux, fwhm=2.2):
    """Add round galaxies of fluxes (k, band) to an image (band, y, x)."""
    high, wide = image.shape[-2:]
    sigma = fwhm / 2.355
    along_x = torch.exp(-0.5 * ((torch.arange(wide) - x[:, None]) / sigma) ** 2)
    along_y = torch.exp(-0.5 * ((torch.arange(high) - y[:, None]) / sigma) ** 2)
    spots = torch.einsum("kb,ky,kx->byx", flux, along_y, along_x)
    image += spots / (2 * math.pi * sigma**2)


def sky(n=8, size=128, seed=1, clusters=None):
    """Return tiles with blue field galaxies and, in some, red ones around a centre; raw batch."""
    draw = torch.Generator().manual_seed(seed)
    clusters = [n // 2] if clusters is None else clusters
    raw = {
        "image": NOISE * torch.randn((n, 3, size, size), generator=draw),
        "mask": torch.zeros((n, 3, size, size), dtype=torch.uint8),
        "ebv": torch.full((n,), 0.02),
        "sigma": torch.full((n, 3), NOISE),
        "psf_fwhm": torch.full((n, 3), 2.3),
        "pixel_scale": torch.full((n,), 1.048),
        "truth": torch.zeros((n, size, size), dtype=torch.uint8),
        "cluster_z": torch.full((n, SLOTS), torch.nan),
        "cluster_richness": torch.full((n, SLOTS), torch.nan),
    }
    for row in range(n):
        k = 12
        x, y = size * torch.rand((2, k), generator=draw)
        flux = 3000 * torch.rand((k, 1), generator=draw) * torch.tensor([0.5, 0.7, 1.0])
        galaxies(raw["image"][row], x, y, flux)
    for row in range(clusters[0]):
        z, number = 0.15 + 0.3 * row / max(clusters[0] - 1, 1), 12 + 6 * (row % 3)
        x, y = (size * (0.3 + 0.4 * torch.rand(2, generator=draw))).round()
        places = torch.randn((2, number), generator=draw) * 10
        places[:, 0] = 0
        bright = 1000 + 2000 * torch.rand((number, 1), generator=draw)
        bright[0] = 8000
        galaxies(raw["image"][row], x + places[0], y + places[1], bright * red(z))
        raw["truth"][row, int(y), int(x)] = 1
        raw["cluster_z"][row, 0], raw["cluster_richness"][row, 0] = z, number
    return raw


def ready(raw):
    return make_ready(raw, Normalisation((NOISE,) * 3))


def small(seed=1, **options):
    torch.manual_seed(seed)
    return cluster_net.build(Options(width=8, **options), BANDS, 128)


def loss_of(net, batch):
    ((part, loss),) = cluster_net.objectives(net, batch)
    assert part == "net"
    return loss


# Peaks


def test_peaks_are_those_of_a_maximum_filter():
    draw = torch.Generator().manual_seed(3)
    logit = torch.randn((5, 21, 34), generator=draw)
    found = find_peaks(logit, 12)
    for row in range(5):
        image = logit[row].numpy()
        is_peak = image == maximum_filter(image, 5, mode="constant", cval=-np.inf)
        best = np.sort(image[is_peak])[::-1][:12]
        np.testing.assert_array_equal(found.logit[row].numpy(), best)
        np.testing.assert_array_equal(image.ravel()[found.cell[row].numpy()], best)


def test_too_few_peaks_are_filled_up():
    logit = torch.full((2, 6, 6), NOWHERE)
    logit[0, 2, 3] = 1.0
    found = find_peaks(logit, 40)
    assert found.logit.shape == (2, 40)
    assert found.logit[0, 0] == 1
    assert found.cell[0, 0] == 2 * 6 + 3
    assert (found.logit[0, 1:] == NOWHERE).all()
    assert (found.logit[1] == NOWHERE).all()


@pytest.mark.parametrize("stride", [4, 5])
def test_planted_centres_are_found_where_they_are(stride):
    """From a plane of truth to heat map and offsets, and back."""
    truth = torch.zeros((2, 60, 80), dtype=torch.uint8)
    planted = {(0, 1): (7, 11), (0, 2): (45, 51), (1, 1): (79, 0), (1, 3): (30, 59)}  # x, y
    for (row, code), (x, y) in planted.items():
        truth[row, y, x] = code
    centres = centres_of(truth, SLOTS)
    assert centres.there.sum() == 4
    cells = (60 // stride, 80 // stride)
    heat = splat(centres, stride, cells, 1.5)
    assert (heat == 1).sum() == 4
    offset = torch.zeros((2, 2, *cells))
    for row in range(2):
        for place in in_cells(centres.place[row][centres.there[row]], stride):
            x, y = place.round().long()
            offset[row, :, y, x] = place - place.round()
    assert offset.abs().max() < 0.5
    peaks = find_peaks(torch.logit(heat, 1e-6), 2)
    found = place_of(peaks.cell, offset, stride)
    for row in range(2):
        wanted = sorted(place for (of, _), place in planted.items() if of == row)
        torch.testing.assert_close(torch.tensor(sorted(found[row].tolist())),
                                   torch.tensor(wanted, dtype=torch.float32))  # fmt: skip


def test_cells_and_pixels_are_the_same_places():
    torch.testing.assert_close(in_cells(torch.tensor([1.5, 5.5, -0.5]), 4),
                               torch.tensor([0.0, 1.0, -0.5]))  # fmt: skip
    place = torch.rand(5, 2)
    torch.testing.assert_close(in_pixels(in_cells(place, 4), 4), place)


def test_where_two_centres_meet_the_higher_counts():
    place = torch.tensor([[[10.0, 10.0], [18.0, 10.0], [0.0, 0.0]]])
    both = splat(Centres(place, torch.tensor([[True, True, False]])), 1, (24, 24), 2.0)[0]
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    near = torch.minimum((x - 10).square(), (x - 18).square()) + (y - 10).square()
    torch.testing.assert_close(both, torch.exp(-near / 8))


def test_focal_loss_is_that_of_the_paper():
    draw = np.random.default_rng(2)
    logit, heat = draw.normal(0, 2, (2, 6, 6)), draw.uniform(0, 0.99, (2, 6, 6))
    heat[0, 2, 2] = heat[1, 0, 5] = heat[1, 4, 4] = 1
    p = 1 / (1 + np.exp(-logit))
    each = np.where(heat == 1, (1 - p) ** 2 * np.log(p), (1 - heat) ** 4 * p**2 * np.log(1 - p))
    counts = torch.ones((2, 6, 6), dtype=torch.bool)
    told = focal_loss(torch.tensor(logit), torch.tensor(heat), counts).item()
    assert told == pytest.approx(-each.sum() / 3)
    counts[1] = False
    told = focal_loss(torch.tensor(logit), torch.tensor(heat), counts).item()
    assert told == pytest.approx(-each[0].sum())


def test_a_code_without_a_slot_is_refused():
    with pytest.raises(ValueError, match="code 7, at most 6"):
        centres_of(torch.full((1, 2, 2), 7, dtype=torch.uint8), SLOTS)


def test_views_without_a_shift_are_those_of_almost_none():
    """They take another, faster way; planes of truth turn along."""
    draw = torch.Generator().manual_seed(4)
    flux, coin = torch.randn((8, 2, 16, 16), generator=draw), torch.tensor(COINS)
    valid = torch.rand((8, 2, 16, 16), generator=draw) > 0.1
    plane = torch.randint(0, 4, (8, 16, 16), generator=draw).to(torch.uint8)
    move = torch.zeros((8, 2))
    turned, there = view(flux, valid, coin, move)
    slow, slow_there = view(flux, valid, coin, move + 1e-6)
    torch.testing.assert_close(turned, slow, rtol=1e-4, atol=1e-4)
    assert (there == slow_there).all()
    planes = [view_plane(plane, coin, move), view_plane(plane, coin, move + 1e-6)]
    assert (planes[0] == planes[1]).all()
    assert not (turned[1:] == flux[1:]).all()


# Colours


@pytest.mark.parametrize("ebv", [0.0, 0.2])
def test_bins_hold_the_colours_on_the_sky(ebv):
    """Bright galaxies of known AB colours, dimmed by dust, in units that differ by band."""
    net = ColourBins(BANDS)
    colours = torch.tensor([[0.9, 0.6], [1.7, 1.0]])
    scale = torch.tensor([1.0, 3.0, 5.0])
    image = torch.zeros((2, 3, 64, 64))
    for row, (gr, rz) in enumerate(colours):
        flux = 1e6 * 10 ** (-0.4 * torch.tensor([gr + rz, rz, 0.0]))
        flux *= 10 ** (-0.4 * ebv * net.dust)
        galaxies(image[row], torch.tensor([31.5]), torch.tensor([31.5]), flux[None])
    norm = Normalisation(tuple(scale.tolist()))
    out = net(norm.stretch(image), image > -1, scale.expand(2, -1), torch.full((2,), ebv))
    assert out.shape == (2, net.channels, 32, 32)
    bins = out[:, 4:-MAGS, 15, 15].unflatten(1, (2, BINS))
    torch.testing.assert_close(bins.sum(2), torch.ones(2, 2), atol=0.01, rtol=0)
    centres = torch.linspace(BLUEST, REDDEST, BINS)
    torch.testing.assert_close((bins * centres).sum(2), colours, atol=0.01, rtol=0)
    # Where there is nothing there is no colour.
    assert not out[:, 4:, :8].any()


@pytest.mark.parametrize("mag", [17.3, 20.0, 22.6])
def test_bins_hold_the_magnitude_of_what_lies_within_an_aperture(mag):
    net = ColourBins(BANDS)
    image = torch.zeros((1, 3, 64, 64))
    image[0, 2, 30:32, 30:32] = 10 ** (-0.4 * (mag - 31.4)) / 4
    scale = torch.tensor([1.0, 3.0, 5.0])
    norm = Normalisation(tuple(scale.tolist()))
    out = net(norm.stretch(image), image > -1, scale[None], torch.zeros(1))[0, -MAGS:, 15, 15]
    assert out.sum().item() == pytest.approx(1, abs=0.03)
    centres = torch.linspace(BRIGHTEST, FAINTEST, MAGS)
    assert ((out * centres).sum() / out.sum()).item() == pytest.approx(mag, abs=0.01)


def test_a_band_that_is_missing_has_no_colour():
    net = ColourBins(BANDS)
    valid = torch.ones((1, 3, 32, 32), dtype=torch.bool)
    valid[:, 0] = False
    image = torch.full((1, 3, 32, 32), 5.0) * valid
    out = net(image, valid, torch.ones(1, 3), torch.tensor([torch.nan]))
    assert not out[:, 4 : 4 + BINS].any()
    assert (out[:, 4 + BINS : -MAGS].sum(1) > 0.9).all()
    assert (out[:, -MAGS:].sum(1) > 0.9).all()
    torch.testing.assert_close(out[:, 3], torch.full((1, 16, 16), 2 / 3))


def test_noise_of_an_aperture_is_that_of_a_pixel():
    net = ColourBins(("r",))
    flux = torch.randn((1, 1, 200, 200), generator=torch.Generator().manual_seed(1))
    out = net(torch.asinh(flux), flux > -99, torch.ones(1, 1), torch.zeros(1))
    assert torch.sinh(3 * out[0, 0]).std().item() == pytest.approx(1, abs=0.03)


# The network


@pytest.mark.parametrize(("high", "wide"), [(64, 64), (75, 75), (33, 130)])
def test_runs_on_tiles_of_any_size(high, wide):
    raw = sky(3, 160)
    raw = {name: one[..., :high, :wide] if one.ndim > 2 else one for name, one in raw.items()}
    batch = ready(raw)
    with torch.no_grad():
        output = small().eval()(batch)
    peaks = peaks_of(wide)
    assert output["peak_logit"].shape == output["peak_x"].shape == (3, peaks)
    assert output["z_logits"].shape == (3, peaks, 70)
    assert all(values.isfinite().all() for values in output.values())
    there = output["peak_logit"] > NOWHERE
    assert there.any(1).all()
    assert output["peak_x"][there].abs().max() < wide / 2 + 8
    assert output["peak_y"][there].abs().max() < high / 2 + 8


def test_the_same_sky_in_a_larger_tile_gives_the_same_peaks():
    """Cells that see no edge say the same wherever the tile begins, by whole strides."""
    net = small().eval()
    for parameter in net.parameters():  # so that nothing is switched off
        if parameter.ndim == 4:
            torch.nn.init.normal_(parameter, 0, math.sqrt(1.4 / parameter[0].numel()))
    torch.nn.init.normal_(net.heat.weight, 0, 1.0)
    whole = sky(1, 1056, seed=5)
    whole["image"][..., 1000:1050, 1000:1050] += 1e4  # far away, and not in the smaller tile
    batch = ready(whole)
    cut = {
        name: one[..., 64:992, 32:960] if name in ("image", "valid", "truth") else one
        for name, one in batch.items()
    }
    with torch.no_grad():
        outputs = [net(one) for one in (batch, cut)]
    found = []
    for output, (x, y), side in zip(outputs, ((0, 0), (32, 64)), (1056, 928)):
        place = torch.stack([output["peak_x"][0] + x, output["peak_y"][0] + y], 1) + (side - 1) / 2
        inner = ((place > 420) & (place < 600)).all(1) & (output["peak_logit"][0] > NOWHERE)
        # Of a tile the highest peaks are kept: the faint ones are not in both.
        order = output["peak_logit"][0][inner].argsort(descending=True)[:6]
        values = [output[name][0][inner][order] for name in ("peak_logit", "richness_mean")]
        found.append((place[inner][order], *values, output["z_logits"][0][inner][order]))
    assert len(found[0][0]) == 6
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-3)


def test_empty_and_broken_tiles_give_finite_output():
    raw = sky(4, 64)
    raw["image"][1] = torch.nan
    raw["image"][2] = 1e30
    raw["mask"][3] = 16
    raw["ebv"][0] = torch.nan
    with torch.no_grad():
        output = small().eval()(ready(raw))
    assert all(values.isfinite().all() for values in output.values())
    for row in (1, 3):
        assert (output["peak_logit"][row] == NOWHERE).all()
        assert not output["peak_x"][row].any()


def test_output_does_not_depend_on_the_neighbours_in_the_batch():
    net, batch = small().eval(), ready(sky(6, 96))
    with torch.no_grad():
        whole = net(batch)
        alone = net({name: values[2:3] for name, values in batch.items()})
    for name, values in whole.items():
        torch.testing.assert_close(alone[name], values[2:3], rtol=1e-4, atol=1e-4)


def test_without_clusters_the_loss_is_finite_and_lowers_the_heat():
    net, batch = small().eval(), ready(sky(4, 64, clusters=[0]))
    with torch.no_grad():
        before = net.maps(batch)["heat"].mean().item()
    optimiser = torch.optim.SGD(net.heat.parameters(), lr=0.1)
    loss = loss_of(net, batch)
    # A tile without a plane of truth is one without clusters.
    without = {name: values for name, values in batch.items() if name != "truth"}
    assert loss.item() == loss_of(net, without).item()
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    optimiser.step()
    with torch.no_grad():
        assert net.maps(batch)["heat"].mean().item() < before


def test_unknown_redshifts_and_richness_teach_nothing():
    net, batch = small().eval(), ready(sky(4, 64, clusters=[4]))
    for name, lost in (("cluster_z", 5.0), ("cluster_z", torch.nan), ("cluster_richness", -1.0)):
        changed = batch | {name: torch.full_like(batch[name], lost)}
        net.zero_grad()
        loss_of(net, changed).backward()
        heads = [net.redshift, net.richness]
        part, rest = heads if name == "cluster_z" else heads[::-1]
        assert not part[-1].weight.grad.any()
        assert rest[-1].weight.grad.any()


@pytest.mark.slow
def test_learns_a_few_tiles_by_heart():
    """The heat map is highest at the centre, z is right to 0.02 and the richness to a tenth."""
    batch = ready(sky(8, 128, clusters=[6]))
    net = small(dropout=0.0)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
    steps = 240
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 10, 2 * (1 - step / steps))
        loss = loss_of(net, batch)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        output = net.eval()(batch)
    row, y, x = (one.numpy() for one in batch["truth"].nonzero(as_tuple=True))
    where = np.stack([x, y], 1) - (128 - 1) / 2
    found = torch.stack([output["peak_x"], output["peak_y"]], 2)[:, 0].numpy()
    assert np.abs(found[row] - where).max() < 2.5
    lows, highs = output["peak_logit"][6:, 0], output["peak_logit"][:6, 0]
    assert highs.min() > lows.max() + 2
    assert (output["peak_logit"][:6, 1] < highs - 1).all()
    low, high = net.z_range
    z = low + (output["z_logits"][:6, 0].argmax(1) + 0.5) * (high - low) / net.z_bins
    assert (z - batch["cluster_z"][:6, 0]).abs().max() < 0.02
    ratio = output["richness_mean"][:6, 0] - batch["cluster_richness"][:6, 0].log()
    assert ratio.abs().max() < 0.1
