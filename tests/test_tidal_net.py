"""The tidal network and what it stands on: the host's smooth light, fluxes in masks, losses."""

import math

import numpy as np
import pytest
import torch

from astroml.nets.batches import make_ready
from astroml.nets.host import box_scatter, flux_in, shape, smooth_host
from astroml.nets.normalise import Normalisation
from astroml.nets.shape import SIDE as SIDE_OF_SHAPES
from astroml.nets.shape import Shape
from astroml.tasks import tidal
from astroml.tasks.tidal import net as tidal_net

SIZE = 96


def grid(size=SIZE):
    at = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
    return at[:, None].expand(size, size), at.expand(size, size)


def galaxy(q=0.6, phi=0.5, r_e=6.0, peak=400.0, size=SIZE):
    """Return the exponential disc of an inclined galaxy."""
    y, x = grid(size)
    along = x * math.cos(phi) + y * math.sin(phi)
    across = (-x * math.sin(phi) + y * math.cos(phi)) / q
    return peak * torch.exp(-1.68 * torch.hypot(along, across) / r_e)


def arc(radius=26.0, width=2.0, mu=4.0, size=SIZE):
    """Return a piece of a ring, and where it is."""
    y, x = grid(size)
    r, angle = torch.hypot(x, y), torch.atan2(y, x)
    light = mu * torch.exp(-0.5 * ((r - radius) / width) ** 2) * (angle.abs() < 0.9)
    return light, ((r - radius).abs() < 4 * width) & (angle.abs() < 1.0)


def noisy(images, sigma, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return images + sigma * torch.randn(images.shape, generator=draw)


def measured(images, masks, sigma):
    """Return flux and error in masks (n, y, x) of images (n, y, x)."""
    flux, valid = images[:, None], torch.ones_like(images[:, None]).bool()
    _, kept, rings = smooth_host(flux, valid)
    return flux_in(masks, images, valid[:, 0], torch.full((len(images),), sigma), kept, rings)


# The host


@pytest.mark.parametrize(("q", "phi"), [(1.0, 0.0), (0.6, 0.5), (0.35, -1.2)])
def test_the_shape_of_a_galaxy_is_found(q, phi):
    (found,) = shape(galaxy(q, phi)[None])
    values, vectors = torch.linalg.eigh(found)
    assert (values[0] / values[1]).sqrt().item() == pytest.approx(q, abs=0.06)
    if q < 1:
        assert abs(vectors[0, 1] * math.cos(phi) + vectors[1, 1] * math.sin(phi)) > 0.99


@pytest.mark.parametrize("q", [1.0, 0.5])
def test_a_smooth_galaxy_is_taken_away(q):
    image = noisy(galaxy(q)[None, None].repeat(8, 2, 1, 1), 1.0)
    model, _, rings = smooth_host(image, torch.ones_like(image).bool())
    rest = (image - model)[rings.radius[:, None].expand_as(image) > 12]
    assert abs(rest.mean().item()) < 0.05
    assert rest.std().item() == pytest.approx(1.0, abs=0.05)


def test_what_lies_upon_it_stays():
    light, where = arc(mu=8.0)
    image = noisy((galaxy() + light)[None, None].repeat(8, 1, 1, 1), 1.0)
    model, kept, _ = smooth_host(image, torch.ones_like(image).bool())
    rest = (image - model)[:, 0]
    assert (rest * where).sum((1, 2)).mean().item() == pytest.approx(light.sum().item(), rel=0.2)
    bright = (light > 6).expand_as(rest)
    assert kept[:, 0][bright].float().mean() < 0.2 < kept.float().mean()


def test_nothing_at_all_gives_no_host_and_no_nan():
    image = torch.zeros(2, 3, 40, 40)
    model, _, _ = smooth_host(image, torch.zeros_like(image).bool())
    assert not model.any()
    flux, error = measured(torch.zeros(2, 40, 40), torch.zeros(2, 40, 40).bool(), 1.0)
    assert not flux.any()
    assert not error.any()


# Fluxes


def test_the_flux_of_a_known_feature_is_recovered_without_noise():
    light, where = arc()
    flux, _ = measured((galaxy() + light)[None], where[None], 1e-3)
    assert flux.item() == pytest.approx(light.sum().item(), rel=0.01)
    # It is what lies upon the host that counts.
    nothing, _ = measured(galaxy()[None], where[None], 1e-3)
    assert abs(nothing.item()) < 0.01 * light.sum().item()


@pytest.mark.parametrize("smooth", [False, True])
def test_the_flux_of_a_known_feature_is_recovered_within_its_error(smooth):
    light, where = arc(mu=2.0)
    noise = noisy(torch.zeros(60, 1, SIZE, SIZE), 1.0)
    if smooth:  # correlated noise, the variance of a pixel restored
        kernel = torch.tensor([1.0, 2.0, 1.0])
        kernel = kernel[:, None] * kernel
        noise = torch.nn.functional.conv2d(noise, (kernel / kernel.norm())[None, None], padding=1)
    images = (galaxy() + light) + noise[:, 0]
    flux, error = measured(images, where.expand_as(images), 1.0)
    pull = (flux - light.sum()) / error
    assert abs(pull.mean().item()) < 0.35
    assert 0.7 < pull.std().item() < 1.3
    assert (error > where.sum().sqrt()).all()


def test_pixels_that_are_not_valid_add_nothing():
    light, where = arc()
    image = (galaxy() + light)[None, None]
    valid = torch.ones_like(image).bool()
    valid[..., :, : SIZE // 2] = False
    image[~valid] = 1e6
    _, kept, rings = smooth_host(image, valid)
    flux, _ = flux_in(where[None], image[:, 0], valid[:, 0], torch.ones(1), kept, rings)
    right = light[:, SIZE // 2 :].sum().item()
    assert flux.item() == pytest.approx(right, rel=0.02)


def test_boxes_tell_correlated_noise():
    white = noisy(torch.zeros(40, 1, SIZE, SIZE), 2.0)
    use = torch.ones_like(white).bool()
    assert box_scatter(white, use).mean().item() == pytest.approx(2.0, rel=0.05)
    use[:, :, 4:] = False
    assert box_scatter(white, use).isnan().all()


# The network


def batch_of(n=4, bands=("g", "r", "i"), size=32, seed=1, **others):
    draw = torch.Generator().manual_seed(seed)
    raw = {
        "image": 3 * torch.randn(n, len(bands), size, size, generator=draw),
        "mask": torch.zeros(n, len(bands), size, size, dtype=torch.uint8),
        "sigma": torch.full((n, len(bands)), 3.0),
        "pixel_scale": torch.full((n,), 0.5),
    }
    return make_ready(raw | others, Normalisation((3.0,) * len(bands)))


def labels(n, **others):
    found = {"is_tidal": torch.ones(n)} | {name: torch.zeros(n) for name in tidal.CLASSES}
    return found | others


def test_the_flux_is_measured_in_r_or_next_to_it():
    at = tidal_net.nearest_to_r
    assert [at(tuple(bands)) for bands in ("grz", "gi", "g", "uiz", "iz")] == [1, 0, 0, 1, 0]
    assert at(("F606W", "F814W", "F160W")) == 1


@pytest.mark.parametrize(("size", "pool", "side"), [(32, 1, 32), (45, 1, 45), (330, 3, 110)])
def test_large_cutouts_are_averaged(size, pool, side):
    net = tidal_net.build(tidal.Options(width=4), ("g", "r"), size).eval()
    with torch.no_grad():
        output = net(batch_of(2, ("g", "r"), size))
    assert net.pool == pool
    assert output["mask_logit"].shape == (2, 5, side, side)


def test_units_of_what_is_measured():
    """The same sky in pixels half as large gives the same area and flux."""
    light, where = arc()
    image = (galaxy() + light)[None, None]
    fine = image.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
    found = []
    for pixels, scale, size, pool in ((image, 0.6, SIZE, 1), (fine, 0.3, 2 * SIZE, 2)):
        raw = {
            "image": pixels,
            "mask": torch.zeros_like(pixels, dtype=torch.uint8),
            "sigma": torch.full((1, 1), 0.01),
            "pixel_scale": torch.full((1,), scale),
        }
        batch = make_ready(raw, Normalisation((0.01,)))
        net = tidal_net.build(tidal.Options(width=4), ("r",), size).eval()
        assert net.pool == pool
        seen = tidal_net.look(batch["image"], batch["valid"], pool)
        found.append(net.measure(where[None], seen, batch))
    for one in found:
        assert one["feature_flux"].item() == pytest.approx(light.sum().item(), rel=0.01)
        assert one["feature_area"].item() == pytest.approx(where.sum().item() * 0.36, rel=1e-5)
    assert found[0]["feature_flux_err"].item() == pytest.approx(
        found[1]["feature_flux_err"].item(), rel=0.3
    )


def test_masks_are_empty_until_a_plane_of_truth_was_seen():
    net = tidal_net.build(tidal.Options(width=4), ("g", "r", "i"), 32)
    optimiser = torch.optim.SGD(net.parameters(), lr=5.0)
    batch = batch_of() | labels(4)
    for _ in range(3):
        ((_, loss),) = tidal_net.objectives(net.train(), batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        output = net.eval()(batch)
    assert (output["mask_logit"] == tidal_net.RARE).all()
    assert not output["feature_area"].any()
    tidal_net.objectives(net.train(), batch | {"truth": torch.ones(4, 32, 32, dtype=torch.uint8)})
    list(tidal_net.objectives(net, batch | {"truth": torch.ones(4, 32, 32, dtype=torch.uint8)}))
    with torch.no_grad():
        assert net.eval()(batch)["mask_logit"].std() > 0


def test_passes_differ_between_units_but_not_between_batches():
    options = tidal.Options(width=4, passes=5)
    net = tidal_net.build(options, ("g", "r", "i"), 32).eval()
    batch = batch_of()
    with torch.no_grad():
        output = net(batch)
        first = net({name: values[:1] for name, values in batch.items()})
    assert output["passes"].shape == (4, 5)
    assert output["passes"].std(1).min() > 0
    torch.testing.assert_close(first["passes"], output["passes"][:1], rtol=1e-4, atol=1e-5)


def test_bits_become_planes():
    truth = torch.zeros(1, 4, 4, dtype=torch.uint8)
    truth[0, 0, 0], truth[0, 1, 1], truth[0, 2, 2] = 1, 2, 9
    planes = tidal_net.planes_of(truth, 4)[0]
    assert [plane.nonzero().tolist() for plane in planes] == [
        [[0, 0], [1, 1], [2, 2]], [[0, 0], [2, 2]], [[1, 1]], [], [[2, 2]],
    ]  # fmt: skip
    truth[0, :2, :2] = torch.tensor([[4, 4], [0, 0]])
    assert tidal_net.planes_of(truth, 2)[0, 3].tolist() == [[1, 0], [0, 0]]


def test_the_loss_of_masks_is_entropy_and_dice():
    truth = torch.zeros(1, 5, 20, 20)
    truth[:, :2, :10] = 1
    there = torch.ones(1, 1, 20, 20).bool()
    perfect = tidal_net.mask_loss(40 * (2 * truth - 1), truth, there).item()
    assert perfect == pytest.approx(0, abs=1e-6)
    flat = tidal_net.mask_loss(torch.zeros_like(truth), truth, there).item()
    filled = 1 - (200 + 100) / (200 + 200 + 100)
    empty = 1 - 100 / (200 + 100)
    entropy = 2 * math.log(2)
    each = [entropy + filled, entropy + filled, *[entropy + empty] * 3]
    assert flat == pytest.approx(0.5 * each[0] + 0.5 * np.mean(each[1:]), rel=1e-5)
    # Pixels that are not there say nothing.
    half = there.clone()
    half[..., 10:, :] = False
    wrong = 40 * (2 * truth - 1)
    wrong[:, :, 10:] *= -1
    truth_there = truth.clone()
    assert tidal_net.mask_loss(wrong, truth_there, half).item() == pytest.approx(0, abs=1e-6)


def test_classes_are_balanced_and_unknown_ones_left_out():
    truth = torch.tensor([1.0, 0.0, 0.0, float("nan")])
    logit = torch.zeros(4, requires_grad=True)
    tidal_net.class_loss(logit, truth).backward()
    assert logit.grad[3] == 0
    # One of three: each positive weighs as (2 + 1) / (1 + 1).
    assert (logit.grad[0] / -logit.grad[1]).item() == pytest.approx(1.5)
    assert tidal_net.class_loss(torch.zeros(2), torch.full((2,), float("nan"))).item() == 0


def test_which_class_it_is_is_asked_of_galaxies_with_features_alone():
    batch = {
        "is_tidal": torch.tensor([1.0, 0.0, 1.0]),
        "stream": torch.tensor([1.0, 0.0, float("nan")]),
        "shell": torch.tensor([0.0, 0.0, 1.0]),
    }
    logits = torch.zeros(3, 4, requires_grad=True)
    loss = tidal_net.kinds_loss(logits, batch)
    loss.backward()
    # Three labels are known of the two: a stream and no shell, and a shell.
    assert loss.item() == pytest.approx(math.log(2))
    pulls = [[-1, 1, 0, 0], [0, 0, 0, 0], [0, -1, 0, 0]]
    torch.testing.assert_close(logits.grad, torch.tensor(pulls) / 6)


def test_a_class_is_as_likely_as_a_feature_and_its_kind_together():
    one, other = torch.tensor([-30.0, 0.0, 2.0, 60.0]), torch.tensor([1.0, 0.5, -40.0, 60.0])
    product = torch.sigmoid(one.double()) * torch.sigmoid(other.double())
    expected = torch.logit(product).float()
    found = tidal_net.both(one, other)
    torch.testing.assert_close(found[:3], expected[:3], rtol=1e-4, atol=1e-4)
    assert torch.isfinite(found).all()
    assert found[3] > 10


def test_shapes_are_learnt_from_what_is_marked():
    torch.manual_seed(1)
    y, x = grid(64)
    r = torch.hypot(x, y)

    def marks(rng):
        at = 12 + 12 * rng.random(), rng.integers(4)
        ring = ((r - at[0]).abs() < 2).rot90(int(at[1])) & (x > 0).rot90(int(at[1]))
        blob = (torch.hypot(x - at[0], y) < 6).rot90(int(at[1]))
        return torch.stack([ring, blob])[:, None].float()

    shape = Shape(2, 8, 16)
    net = torch.nn.Sequential(torch.nn.Dropout(0), torch.nn.Linear(16, 1))
    optimiser = torch.optim.Adam([*shape.parameters(), *net.parameters()], 3e-3)
    rng, maps = np.random.default_rng(1), torch.zeros(16, 2, SIDE_OF_SHAPES, SIDE_OF_SHAPES)
    truth = torch.tensor([1.0, 0.0] * 8)
    for _ in range(25):
        marked = torch.cat([marks(rng) for _ in range(8)])
        logit = net(shape(marked, maps))[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    marked = torch.cat([marks(rng) for _ in range(8)])
    assert ((net(shape(marked, maps))[:, 0] > 0) == (truth > 0.5)).all()


def test_outputs_do_not_depend_on_the_neighbours_in_the_batch():
    net = tidal_net.build(tidal.Options(width=4), ("g", "r", "i"), 32).eval()
    batch = batch_of(6)
    with torch.no_grad():
        whole = net(batch)
        alone = net({name: values[2:3] for name, values in batch.items()})
    for name, values in whole.items():
        torch.testing.assert_close(alone[name], values[2:3], rtol=1e-4, atol=1e-4)


def test_rings_that_are_masked_whole_lie_between_their_neighbours():
    y, x = grid()
    r = torch.hypot(x, y)
    image = (50 - 0.5 * r)[None]
    mask = ((r > 18) & (r < 30))[None]
    flux, _ = measured(image, mask, 1e-3)
    assert abs(flux.item()) < 1e-3 * (image * mask).sum().item()
