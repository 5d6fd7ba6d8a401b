"""The anomaly search's networks: laws of the view, of each model and of what is said in the end."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from toy import toy_store

from astroml import tasks, train
from astroml.nets import autoencoder, canonical, checkpoint, wgan
from astroml.nets.average import Average
from astroml.nets.batches import make_ready
from astroml.nets.canonical import Seen
from astroml.nets.frechet import frechet_distance
from astroml.nets.normalise import Normalisation
from astroml.nets.pixelcnn import PixelCnn
from astroml.nets.subspace import Subspace
from astroml.store import open_store
from astroml.tasks.anomaly import Options
from astroml.tasks.anomaly import net as anomaly_net

BANDS = ("g", "r", "z")


def cutouts(n=12, size=64, seed=1, level=1.0, sigma=2.0):
    """Return cutouts of inclined galaxies, turned and lopsided, as a store's batch has them."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    image = rng.normal(0, sigma, (n, len(BANDS), size, size))
    for i in range(n):
        phi, q = rng.uniform(0, math.pi), rng.uniform(0.4, 0.8)
        along, across = x * np.cos(phi) + y * np.sin(phi), y * np.cos(phi) - x * np.sin(phi)
        light = 400 * np.exp(-np.hypot(along, across / q) / 4)
        light += 30 * np.exp(-np.hypot(along - 14, across) / 3)
        image[i] += light * np.array([0.5, 1.0, 1.5])[:, None, None]
    return {
        "image": torch.from_numpy((level * image).astype(np.float32)),
        "mask": torch.zeros(image.shape, dtype=torch.uint8),
        "sigma": torch.full((n, len(BANDS)), level * sigma),
    }


def ready(**changes):
    return make_ready(cutouts(**changes), Normalisation((2.0,) * len(BANDS)))


def seen(n=6, bands=2, side=8, noise=0.0, seed=1):
    """Return a view of nothing but random pixels, small."""
    draw = torch.Generator().manual_seed(seed)
    image, ones = torch.randn((n, bands, side, side), generator=draw), torch.ones(())
    level = torch.full((n, bands, 1, 1), noise)
    return Seen(image, level, ones.expand_as(image), ones.expand_as(image), torch.zeros(n))


def built(**options):
    torch.manual_seed(1)
    return anomaly_net.build(Options(width=4, latent=8, **options), BANDS, 64)


# The view


def test_a_turned_galaxy_looks_the_same():
    batch = ready(sigma=1e-3)
    turned = batch | {"image": batch["image"].flip(2).mT, "valid": batch["valid"].flip(2).mT}
    one, two = canonical.canonical(batch), canonical.canonical(turned)
    assert (one.image - two.image).abs().mean() < 0.01 * one.image.abs().mean()
    lying = torch.sinh(one.image).sum(1)
    at = torch.arange(canonical.SIDE) - (canonical.SIDE - 1) / 2
    along, across = (lying * at**2).sum((1, 2)), (lying * at[:, None] ** 2).sum((1, 2))
    assert (along > across).all()
    assert ((lying * at).sum((1, 2)) > 0).all()  # leans towards positive x


def test_a_shifted_galaxy_comes_back_to_the_middle():
    batch = ready(sigma=1e-3)
    moved = {name: batch[name].roll((1, -1), (2, 3)) for name in ("image", "valid")}
    light = torch.sinh(batch["image"]).sum(1)
    away = canonical.centre(torch.sinh(moved["image"]).sum(1)) - canonical.centre(light)
    assert torch.allclose(away, torch.tensor([-1.0, 1.0]).expand(12, 2), atol=0.1)


def test_flux_and_noise_together_change_nothing():
    net = built(inversion_steps=2).eval()
    with torch.no_grad():
        one, two = net(ready()), net(ready(level=8.0))
    for name, values in one.items():
        if name != "flux":
            assert torch.allclose(values, two[name], rtol=1e-3, atol=1e-3), name
    assert torch.allclose(two["flux"] - one["flux"], torch.tensor(8.0).log10().expand(12))


def test_masked_pixels_do_not_matter():
    net = built(inversion_steps=2).eval()
    raw = cutouts()
    raw["mask"][:, 1, 20:30, 35:50] = 1
    other = raw | {"image": raw["image"].clone()}
    other["image"][:, 1, 20:30, 35:50] = 1e5
    said = [net(make_ready(one, Normalisation((2.0,) * 3))) for one in (raw, other)]
    assert all(torch.equal(said[0][name], said[1][name]) for name in said[0])
    view = canonical.parted(canonical.canonical(make_ready(raw, Normalisation((2.0,) * 3))))
    spoilt = view._replace(image=torch.where(view.valid > 0, view.image, 50.0))
    mean = torch.zeros_like(view.image)
    one, two = (autoencoder.misfit(each, mean, 0.05) for each in (view, spoilt))
    assert (view.valid == 0).any()
    assert torch.equal(one, two)


def test_the_two_halves_are_the_whole_and_a_neighbour_is_in_one():
    view = canonical.canonical(ready(sigma=0.1))
    halves = canonical.parted(view)
    same, rest = torch.sinh(halves.image).chunk(2, 1)
    inside = view.valid * view.valid.flip((2, 3)) > 0
    whole = torch.sinh(view.image)
    assert torch.allclose((same + rest)[inside], whole[inside], atol=1e-3)
    assert torch.allclose(same[inside], same.flip((2, 3))[inside], atol=1e-3)
    # The lopsided light, along positive x, is all in the rest; its mirror image is not.
    right, left = rest[..., 12:20, 24:28].sum((1, 2, 3)), rest[..., 12:20, 4:8].sum((1, 2, 3))
    assert (right > 20 * left.abs()).all()


def test_what_is_on_both_sides_is_the_first_half_and_does_not_turn():
    view = canonical.canonical(ready(sigma=0.1))
    same, upside = canonical.alike(view), view._replace(image=view.image.flip((2, 3)))
    assert same.image.shape == view.image.shape
    assert torch.equal(same.image, canonical.parted(view).image[:, : len(BANDS)])
    turned = canonical.alike(upside._replace(valid=view.valid.flip((2, 3))))
    inside = view.valid * view.valid.flip((2, 3)) > 0
    assert torch.allclose(turned.image[inside], same.image[inside], atol=1e-3)


# Models


def test_penalty_of_a_linear_critic_is_known():
    slope = torch.tensor([3.0, 4.0])
    draw = torch.Generator().manual_seed(1)
    real, fake = torch.randn((2, 5, 2), generator=draw)
    found = wgan.gradient_penalty(lambda x: x @ slope, real, fake, torch.rand(5, generator=draw))
    assert found.item() == pytest.approx((5 - 1) ** 2, rel=1e-5)


def test_the_critic_does_not_mix_a_batch():
    torch.manual_seed(1)
    critic, x = wgan.Critic(3, 4, 16), torch.randn(6, 3, 16, 16)
    assert torch.allclose(critic(x)[2:3], critic(x[2:3]), atol=1e-6)
    assert not [one for one in critic.modules() if "Norm" in type(one).__name__]


def test_inversion_lowers_the_residual_and_finds_a_known_answer():
    matrix = torch.tensor([[2.0, 0.3], [0.0, 0.5]])
    truth = torch.tensor([[1.0, -1.0], [0.2, 0.7]])

    def misfit(z):
        return ((z - truth) @ matrix).square().sum(1)

    start = torch.zeros(2, 2)
    before, few, many = (misfit(wgan.invert(misfit, start, steps)) for steps in (0, 3, 200))
    assert torch.equal(before, misfit(start))
    assert (few < before).all()
    assert (many < 1e-3).all()


def test_elbo_lies_below_a_known_evidence_and_reaches_it():
    side, bands, scatter = 4, 1, 0.5
    draw = torch.Generator().manual_seed(2)
    loading = torch.randn((2, bands * side**2), generator=draw) * 0.3
    view = seen(8, bands, side)
    x = view.image.flatten(1)
    # The posterior of a linear model with normal noise (Bishop 2006, eq. 12.41).
    total = scatter**2 + 1e-6
    inverse = torch.linalg.inv(loading @ loading.T + total * torch.eye(2))
    mean, cov = x @ loading.T @ inverse, total * inverse
    evidence = torch.distributions.MultivariateNormal(
        torch.zeros(x.shape[1]), loading.T @ loading + total * torch.eye(x.shape[1])
    ).log_prob(x)

    class Linear:
        def __init__(self, spread):
            self.spread = spread

        def encode(self, _):
            return mean, torch.log(cov.diagonal() * self.spread).expand(8, 2)

        def decode(self, z):
            drawn = (z @ loading).view_as(view.image)
            return autoencoder.Drawn(drawn, torch.full_like(drawn, math.log(scatter)))

    deviates = torch.randn((4000, 1, 2), generator=draw)
    best, worse = (
        -autoencoder.negative_elbo(Linear(spread), view, deviates, 0.0)[0] for spread in (1.0, 9.0)
    )
    assert (best < evidence + 0.02).all()
    assert (best > evidence - 0.5).all()  # the posterior has no correlations here, the true one has
    assert (worse < best - 0.5).all()


def test_a_decoders_scatter_excuses_nothing_in_the_bound():
    view = seen(5, 2, 8, noise=0.2)

    class Fixed:
        def __init__(self, log_scatter, latent):
            self.log_scatter, self.latent = log_scatter, torch.full((5, 3), latent)

        def encode(self, _):
            return self.latent, torch.zeros(5, 3)

        def decode(self, z):
            drawn = torch.zeros_like(view.image)
            return autoencoder.Drawn(drawn, torch.full_like(drawn, self.log_scatter))

    deviates = torch.zeros(1, 1, 3)
    wide, narrow, far = (
        autoencoder.bound_of(Fixed(*one), view, deviates, 0.2)
        for one in ((2.0, 0.0), (-7.0, 0.0), (-7.0, 4.0))
    )
    assert torch.equal(wide, narrow)
    assert torch.allclose(narrow, autoencoder.misfit(view, torch.zeros_like(view.image), 0.2))
    # Of each number z the divergence is z^2 / 2.
    assert torch.allclose(far - narrow, torch.full((5,), 3 * 4.0**2 / view.weight[0].sum().item()))


def test_pixels_are_predicted_from_those_before_them():
    torch.manual_seed(1)
    net, view = PixelCnn(2, 4), seen(2, noise=0.1)
    nn.init.normal_(net.last.weight)
    view.image.requires_grad_()
    for band, y, x in ((0, 3, 4), (1, 3, 4), (1, 0, 0)):
        (slope,) = torch.autograd.grad(net.nll(view, 0.05)[0][0, band, y, x], view.image)
        place = torch.arange(64).view(8, 8)
        later = place > place[y, x]
        assert (slope[0][:, later] == 0).all()
        assert (slope[0, band + 1 :, y, x] == 0).all()
        if place[y, x]:
            assert (slope[0][:, ~later] != 0).sum() > 5
    assert (slope[1] == 0).all()


def test_pixel_likelihood_adds_up_to_one():
    torch.manual_seed(1)
    net, view = PixelCnn(1, 4), seen(1, 1, noise=0.3)
    nn.init.normal_(net.last.weight, std=0.1)
    steps = torch.linspace(-30, 30, 6001)
    images = view.image.repeat(len(steps), 1, 1, 1)
    images[:, 0, 2, 5] = steps
    many = Seen(images, view.noise, torch.ones(1), torch.ones(1), view.log_flux)
    many = many._replace(valid=torch.ones_like(images), weight=torch.ones_like(images))
    density = torch.exp(-net.nll(many, 0.05)[0][:, 0, 2, 5])
    assert torch.trapezoid(density, steps).item() == pytest.approx(1, abs=1e-3)


def test_principal_components_are_those_of_all_rows():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(1)
    rows = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 20)) + rng.normal(size=20)
    net = Subspace(20, 4)
    for begin in range(0, 400, 50):
        net.update(torch.from_numpy(rows[begin : begin + 50]).float())
    known = PCA(3).fit(rows)
    found, left = net(torch.from_numpy(rows).float())
    assert torch.allclose(net.mean, torch.from_numpy(known.mean_).float(), atol=1e-4)
    assert np.allclose(np.abs(found[:, :3].numpy()), np.abs(known.transform(rows)), atol=1e-3)
    assert left.max() < 1e-6
    assert net(torch.from_numpy(rows + 1).float())[1].min() > 1e-3


def test_frechet_distance_of_normals_is_known():
    rng = np.random.default_rng(1)
    one, two = rng.normal(0, 1, (200_000, 2)), rng.normal(0, 1, (200_000, 2)) * (2, 3) + (1, 0)
    # |m|^2 + sum of (s1 - s2)^2
    assert frechet_distance(one, two) == pytest.approx(1 + 1 + 4, rel=0.02)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_moving_average_is_that_of_the_weights():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    average = Average(net, 0.9)
    nn.init.ones_(net.weight)
    for step in range(100, 103):
        average.update(net, step)
    assert average.net.weight.item() == pytest.approx(1 - 0.9**3)


# All together


def test_the_generator_takes_every_fifth_turn_and_validation_neither():
    net = built()
    turns = []
    for _ in range(6):
        turns.append([part for part, _ in anomaly_net.objectives(net, ready(n=4))])
    assert [("generator" in parts) for parts in turns] == [True, *[False] * 4, True]
    assert all("critic" in parts for parts in turns)
    assert turns[0].index("critic") < turns[0].index("generator")
    said = [part for part, _ in anomaly_net.objectives(net.eval(), ready(n=4))]
    assert {"critic", "generator"}.isdisjoint(said)
    assert set(said) | {"critic", "generator"} == set(train.parts_of(net))


def test_adversaries_have_short_memories():
    optimisers = train.optimisers_of(built(), Options().train)
    assert set(optimisers) == set(built().parts())
    for part, one in optimisers.items():
        betas = (0.5, 0.9) if part in ("critic", "generator") else (0.9, 0.999)
        assert all(group["betas"] == betas for group in one.param_groups)


@pytest.mark.parametrize("models", [("ae",), ("wgan",), ("vae", "pixelcnn"), ("colour",)])
def test_only_the_models_asked_for_are_there(models):
    said = built(models=models).eval()(ready(n=2))
    assert {name for name in tasks.load("anomaly").MODELS if f"{name}_score" in said} == set(models)
    assert said["embedding"].shape == (2, 8)


def test_painted_artefacts_leave_the_other_cutouts_alone():
    batch = ready()
    which = torch.full((12,), -1)
    which[3] = 0
    spoilt = anomaly_net.with_artefacts(batch, which, torch.rand((12, 20)))
    same = [torch.allclose(a, b, atol=1e-4) for a, b in zip(spoilt["image"], batch["image"])]
    assert [i for i, one in enumerate(same) if not one] == [3]


def test_a_run_taken_up_again_ends_the_same(tmp_path):
    store = toy_store(tmp_path / "toy.h5", "anomaly", 96)
    run = {"epochs": 2, "batch_size": 16, "ema": 0.9}
    settings = Options(width=4, latent=8, inversion_steps=2, train=run)
    rows, targets = train.choose_rows("anomaly", open_store(store), settings)

    def loop():
        return train.Loop("anomaly", settings, open_store(store), rows, targets, "cpu")

    whole = loop()
    whole.epoch()
    checkpoint.save(tmp_path / "half", "key", whole.state())
    whole.epoch()
    again = loop()
    again.load_state(checkpoint.load(tmp_path / "half", "key"))
    again.epoch()
    assert again.history == whole.history
    assert all(torch.equal(a, b) for a, b in zip(again.best.values(), whole.best.values()))
    assert math.isfinite(whole.history[-1]["frechet"])
    assert "train_generator" in whole.history[0]
