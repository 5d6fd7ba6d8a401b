import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from toy import toy_store

from astroml import tasks
from astroml.errors import AstromlError
from astroml.nets import augment, checkpoint, device, sweep, weights
from astroml.nets.augment import random_view, view
from astroml.nets.average import Average
from astroml.nets.backbones import backbone
from astroml.nets.batches import ahead, make_ready, read_batches, to_device, woven
from astroml.nets.blocks import SmallResNet, group_norm
from astroml.nets.contrast import RadialContrast, colour_contrast
from astroml.nets.forward import Forward, gather
from astroml.nets.normalise import Normalisation, asinh, fit, sinh, usable
from astroml.store import MASK, open_store


def blob(size=32, y0=15.5, x0=15.5, width=2.5):
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.exp(-0.5 * ((y - y0) ** 2 + (x - x0) ** 2) / width**2)


def centroid(image):
    at = torch.arange(image.shape[-1], dtype=image.dtype)
    return (image.sum(1) @ at / image.sum()).item(), (image.sum(0) @ at / image.sum()).item()


# Device


def test_device_is_printed_once(capsys):
    assert device.start("cpu").device.type == "cpu"
    assert capsys.readouterr().out == "device: cpu, 1 thread, float32\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_missing_gpu_is_refused():
    with pytest.raises(AstromlError, match="no CUDA GPU on this machine; use --device cpu"):
        device.start("cuda")
    assert device.start("auto").device.type == "cpu"


# Normalisation


def test_scale_is_the_median_noise_of_the_train_rows_alone(tmp_path):
    def change(block):
        block["sigma"][:] = [1.0, 2.0, 4.0]
        block["sigma"][block["objects"]["split"] != "train"] = 99
        block["sigma"][0] = np.nan

    store = open_store(toy_store(tmp_path / "0.h5", change=change))
    rows = np.flatnonzero(store.objects["split"] == "train")
    assert fit(store, rows).scale == (1.0, 2.0, 4.0)


def test_scale_comes_from_pixels_where_the_noise_is_unknown(tmp_path):
    def change(block):
        block["sigma"][:] = 0
        block["image"] = np.random.default_rng(1).normal(5, 3, block["image"].shape)
        block["image"][:, :, 0] = np.nan
        block["image"][:, :, 1], block["mask"][:, :, 1] = 1e9, MASK["bad"]

    store = open_store(toy_store(tmp_path / "0.h5", change=change))
    assert fit(store, np.arange(40)).scale == pytest.approx((3.0,) * 3, rel=0.03)


def test_band_without_pixels_is_refused(tmp_path):
    def change(block):
        block["sigma"][:, 1] = np.nan
        block["image"][:, 1] = np.nan

    store = open_store(toy_store(tmp_path / "0.h5", change=change))
    with pytest.raises(AstromlError, match="band r has no usable pixel in the train split"):
        fit(store, np.arange(40))


def test_sinh_of_the_stretch_is_flux_over_noise():
    flux = torch.tensor([[-3.0, 0.0, 5.0], [20.0, 1e3, 1e6]]).reshape(1, 2, 3, 1)
    stretched = Normalisation((2.0, 10.0)).stretch(flux)
    expected = flux / torch.tensor([2.0, 10.0]).reshape(1, 2, 1, 1)
    torch.testing.assert_close(torch.sinh(stretched), expected, rtol=1e-4, atol=1e-6)


def test_unusable_pixels_are_zero_and_saturated_ones_are_kept():
    image = torch.tensor([1.0, math.nan, math.inf, 4.0, 5.0, 6.0])
    mask = torch.tensor([0, 0, 0, MASK["bad"], MASK["saturated"], MASK["interpolated"]])
    flux, valid = usable(image, mask.to(torch.uint8))
    assert flux.tolist() == [1, 0, 0, 0, 5, 6]
    assert valid.tolist() == [True, False, False, False, True, True]


# Batches


@pytest.mark.parametrize("size", [1, 7, 64, 500])
def test_batches_hold_the_rows_asked_for_in_order(tmp_path, size):
    toy_store(tmp_path / "0.h5", n=60)
    toy_store(tmp_path / "1.h5", n=50, seed=2)
    store = open_store(tmp_path)
    rows = np.random.default_rng(1).permutation(110)
    number = {"number": np.arange(110)}
    batches = list(read_batches(store, rows, size, number))
    assert [len(batch["image"]) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert np.array_equal(np.concatenate([batch["number"] for batch in batches]), rows)
    image = np.concatenate([batch["image"] for batch in batches])
    assert np.array_equal(image, store.read(rows)["image"])


def test_a_fault_while_reading_reaches_the_caller(tmp_path):
    store = open_store(toy_store(tmp_path / "0.h5", n=20))
    assert len(store)
    (tmp_path / "0.h5").unlink()
    with pytest.raises(FileNotFoundError):
        list(read_batches(store, np.arange(20), 4))


def test_ready_batch_has_no_masked_flux(tmp_path):
    store = open_store(toy_store(tmp_path / "0.h5", n=8))
    (raw,) = read_batches(store, np.arange(8), 8)
    raw["mask"][:, 0, 3, 4] = MASK["cosmic"]
    batch = make_ready({k: torch.from_numpy(v) for k, v in raw.items()}, Normalisation((2.0,) * 3))
    measured = {"flux", "flux_err", "mw_transmission", "r_half"}
    shape = {"sigma", "psf_fwhm", "ebv", "scale", "pixel_scale"}
    assert set(batch) == {"image", "valid", *shape, *measured}
    assert "mask" not in batch
    assert not batch["image"][:, 0, 3, 4].any()
    assert batch["valid"].sum() == batch["valid"].numel() - 8


# Augmentation


def test_eight_turns_are_all_there_and_conserve_flux():
    image = torch.rand(1, 2, 32, 32)
    turns = {
        tuple(np.rot90(each, k).reshape(-1))
        for each in (image[0, 0].numpy(), image[0, 0].numpy().T)
        for k in range(4)
    }
    seen = set()
    for code in range(8):
        coin = torch.tensor([[code & 1, code & 2, code & 4]]).bool()
        turned, _ = view(image, torch.ones_like(image).bool(), coin, torch.zeros(1, 2))
        torch.testing.assert_close(turned.sum((2, 3)), image.sum((2, 3)))
        near = min(turns, key=lambda turn: np.abs(turn - turned[0, 0].numpy().ravel()).max())
        np.testing.assert_allclose(turned[0, 0].numpy().ravel(), near, atol=1e-5)
        seen.add(near)
    assert seen == turns


def test_shift_moves_the_centroid_and_conserves_flux():
    image = blob()[None, None].repeat(3, 1, 1, 1)
    move = torch.tensor([[0.5, -0.25], [-1.0, 1.0], [0.0, 0.3]])
    coin = torch.zeros(3, 3).bool()
    moved, _ = view(image, torch.ones_like(image).bool(), coin, move)
    for one, (dy, dx) in zip(moved[:, 0], move.tolist()):
        assert centroid(one) == pytest.approx((15.5 + dy, 15.5 + dx), abs=0.02)
        assert one.sum() == pytest.approx(image[0].sum().item(), rel=2e-3)


def test_no_shift_invents_flux_at_the_rim():
    image = 1 + torch.rand(50, 1, 32, 32)
    move = torch.linspace(-3, 3, 100).reshape(50, 2)
    moved, _ = view(image, image > 0, torch.zeros(50, 3).bool(), move)
    assert 0.5 < moved.min() < moved.max() < 2.5


def test_shift_leaves_the_noise_as_it_was():
    noise = torch.randn(200, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    draw = torch.Generator().manual_seed(2)
    moved, *_ = random_view(noise, torch.ones_like(noise).bool(), 1.0, draw)
    assert 0.85 < moved[..., 4:-4, 4:-4].std() < 1.02


def test_mask_moves_with_the_flux():
    flux, valid = torch.ones(1, 1, 32, 32), torch.ones(1, 1, 32, 32).bool()
    valid[0, 0, 10, 5] = False
    coin = torch.tensor([[False, False, True]])
    _, moved = view(flux, valid, coin, torch.tensor([[1.0, 0.5]]))
    assert torch.nonzero(~moved[0, 0]).tolist() == [[5, 11], [6, 11]]


def test_same_generator_same_view():
    image = torch.rand(4, 2, 32, 32)
    seeds = [3, 3, 4]
    one, two, three = (
        random_view(image, image > 2, 1.0, torch.Generator().manual_seed(seed))[0] for seed in seeds
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, three)


# Blocks


@pytest.mark.parametrize(("bands", "size"), [(1, 32), (3, 64), (5, 45), (9, 33)])
def test_trunk_takes_any_bands_and_sizes(bands, size):
    trunk = SmallResNet(bands, width=8)
    assert trunk(torch.randn(2, bands, size, size)).shape == (2, trunk.features)


def test_trunk_does_not_mix_the_batch():
    trunk = SmallResNet(3, width=8).train()
    image = torch.randn(4, 3, 32, 32)
    other = torch.cat([image[:1], 100 * torch.randn(3, 3, 32, 32)])
    torch.testing.assert_close(trunk(image)[0], trunk(other)[0])


@pytest.mark.parametrize("channels", [1, 4, 12, 24, 48, 20, 7])
def test_groups_divide_the_channels(channels):
    assert channels % group_norm(channels).num_groups == 0


# Moving average


def test_average_follows_its_law():
    net = nn.Linear(1, 1, bias=False)
    nn.init.constant_(net.weight, 1.0)
    average = Average(net, decay=0.9)
    expected = 1.0
    for step in range(200):
        nn.init.constant_(net.weight, float(step))
        average.update(net, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.net.weight.item() == pytest.approx(expected, rel=1e-5)
    assert not average.net.weight.requires_grad


def test_average_takes_buffers_as_they_are():
    net = nn.BatchNorm1d(2)
    average = Average(net, decay=0.9)
    net.running_mean += 3
    average.update(net, 0)
    assert average.net.running_mean.tolist() == [3, 3]


# Forward


def test_memory_fault_halves_the_step_and_goes_on(tmp_path, capsys):
    class Greedy(nn.Module):
        def forward(self, batch):
            if len(batch["image"]) > 8:
                raise torch.OutOfMemoryError
            return {"total": batch["image"].sum((1, 2, 3))}

    store = open_store(toy_store(tmp_path / "0.h5", n=50))
    forward = Forward(device.start("cpu"), Greedy(), Normalisation((2.0,) * 3), 50)
    output = gather(forward.over(store, np.arange(50)))
    assert len(output["total"]) == 50
    printed = capsys.readouterr().out
    assert "going on with 16 cutouts" in printed
    assert "going on with 8 cutouts" in printed


def test_a_cutout_too_large_for_memory_is_said(tmp_path):
    class Hopeless(nn.Module):
        def forward(self, batch):
            raise torch.OutOfMemoryError

    store = open_store(toy_store(tmp_path / "0.h5", n=5))
    forward = Forward(device.start("cpu"), Hopeless(), Normalisation((2.0,) * 3), 5)
    with pytest.raises(AstromlError, match="does not hold one cutout"):
        gather(forward.over(store, np.arange(5)))


# Weights


@pytest.fixture
def shipped(tmp_path):
    """Weights of an untrained lens finder, their path and store."""
    store = open_store(toy_store(tmp_path / "store/0.h5", n=16))
    settings = tasks.load("lens").Options(width=8)
    net = tasks.load("lens", "net").build(settings, store.header.bands, store.header.size)
    scale = weights.normalisation_facts(Normalisation((1.0, 2.0, 3.0)))
    card = weights.describe("lens", settings, store.header, normalisation=scale)
    path = tmp_path / "lens.safetensors"
    weights.save(path, net.state_dict(), card)
    return path, net, store


def test_weights_come_back_with_their_card(shipped):
    path, net, store = shipped
    state, card = weights.load(path)
    again, normalisation = weights.rebuild(state, card)
    assert normalisation.scale == (1.0, 2.0, 3.0)
    assert all(torch.equal(state[name], values) for name, values in net.state_dict().items())
    assert not again.training
    weights.check(card, path, "lens", store.header, store.shards[0].parent)
    assert path.with_suffix(".json").is_file()


def test_same_weights_same_bytes(shipped, tmp_path):
    path, *_ = shipped
    weights.save(tmp_path / "again.safetensors", *weights.load(path))
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"bands": ("g", "r")}, r"bands \('g', 'r', 'z'\) against \('g', 'r'\)"),
        ({"size": 64}, "size 32 against 64"),
        ({"pixel_scale": 0.3}, "pixel_scale 0.262 against 0.3"),
        ({"unit": "adu"}, "unit nJy against adu"),
    ],
)
def test_store_of_other_pixels_is_refused(shipped, change, says):
    from dataclasses import replace

    path, _, store = shipped
    _, card = weights.load(path)
    with pytest.raises(AstromlError, match=says):
        weights.check(card, path, "lens", replace(store.header, **change), "store")


def test_scales_that_differ_by_rounding_are_taken(shipped):
    from dataclasses import replace

    path, _, store = shipped
    header = replace(store.header, pixel_scale=0.26200001)
    weights.check(weights.load(path)[1], path, "lens", header, "store")


def test_tiles_of_any_size_are_taken_where_the_task_says_so(shipped):
    from dataclasses import replace

    path, _, store = shipped
    card = weights.load(path)[1] | {"task": "cluster"}
    header = replace(store.header, size=64)
    weights.check(card, path, "cluster", header, "store")
    with pytest.raises(AstromlError, match=r"pixel_scale 0.262 against 0.3"):
        weights.check(card, path, "cluster", replace(header, pixel_scale=0.3), "store")


def test_weights_of_another_task_are_refused(shipped):
    path, _, store = shipped
    with pytest.raises(AstromlError, match="weights of task lens, not photoz"):
        weights.check(weights.load(path)[1], path, "photoz", store.header, "store")


def test_what_is_no_weights_file_is_refused(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(AstromlError, match="no such weights; run train first"):
        weights.load(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights here")
    with pytest.raises(AstromlError, match="not a safetensors file"):
        weights.load(tmp_path / "text.safetensors")
    save_file({"w": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(AstromlError, match="without astroml's card"):
        weights.load(tmp_path / "other.safetensors")


# Checkpoints


def test_checkpoint_is_found_under_its_key_alone(tmp_path, capsys):
    path = tmp_path / "a.checkpoint"
    assert checkpoint.load(path, "key") is None
    checkpoint.save(path, "key", {"epoch": 3, "w": torch.ones(2)})
    assert checkpoint.load(path, "key")["epoch"] == 3
    assert checkpoint.load(path, "other") is None
    path.write_bytes(path.read_bytes()[:100])
    assert checkpoint.load(path, "key") is None
    printed = capsys.readouterr().out
    assert "other options or another store; starting anew" in printed
    assert "cannot be read; starting anew" in printed


def test_resume_key_hashes_what_changes_the_answer(tmp_path):
    store = open_store(toy_store(tmp_path / "a/0.h5", n=8))
    moved = open_store(toy_store(tmp_path / "b/7.h5", n=8))
    other = open_store(toy_store(tmp_path / "c/0.h5", n=8, seed=2))
    options = tasks.load("lens").Options
    key = checkpoint.resume_key("lens", options(), store)
    assert checkpoint.resume_key("lens", options(weights="x.safetensors"), moved) == key
    assert checkpoint.resume_key("lens", options(), other) != key
    assert checkpoint.resume_key("lens", options(train={"seed": 2}), store) != key


# Sweep


def test_sweep_suggests_the_rate_of_the_steepest_fall(tmp_path):
    rates = np.geomspace(1e-6, 1, 120)
    losses = 1 / (1 + rates / 1e-3) + (rates / 0.1) ** 2
    assert 3e-4 < sweep.draw(rates, losses, tmp_path / "lr.png") < 3e-3
    assert (tmp_path / "lr.png").read_bytes()[:4] == b"\x89PNG"


def test_sweep_is_not_misled_by_easy_batches_at_the_lowest_rates():
    rates = np.geomspace(1e-6, 1, 120)
    losses = 1 / (1 + rates / 1e-3) + (rates / 0.1) ** 2
    losses[:5] -= 2
    assert 3e-4 < sweep.suggest(rates, losses)[0] < 3e-3


def test_sweep_of_a_broken_loss_is_refused(tmp_path):
    with pytest.raises(AstromlError, match="not finite after 3 steps"):
        sweep.draw(np.geomspace(1e-6, 1, 3), np.ones(3), tmp_path / "lr.png")


# Contrast


def test_host_of_one_colour_leaves_no_colour_contrast():
    host = blob(width=4.0) * torch.tensor([5.0, 20.0, 60.0])[:, None, None]
    arc = blob(y0=24.0, width=1.0) * torch.tensor([8.0, 4.0, 1.0])[:, None, None]
    plain, lensed = (colour_contrast(torch.asinh(flux)[None]) for flux in (host, host + arc))
    assert plain.abs().max() < 0.01
    assert lensed[0, 0, 24, 15] > 1
    assert torch.isfinite(colour_contrast(torch.zeros(1, 3, 32, 32))).all()


def test_round_host_leaves_no_radial_contrast():
    contrast = RadialContrast(32)
    host = blob(width=6.0)[None, None] * 5
    valid = torch.ones_like(host).bool()
    assert contrast(host, valid).abs().max() < 0.4
    spot = host.clone()
    spot[0, 0, 24, 16] += 3
    assert contrast(spot, valid)[0, 0, 24, 16] > 2.5
    hole = valid.clone()
    hole[0, 0, 16, 10:20] = False
    left = contrast(torch.where(hole, host, 0.0), hole)
    assert not left[0, 0, 16, 10:20].any()
    assert left.abs().max() < 0.4
    assert not contrast.state_dict()


# What turns with the image


def coins(code, n=1):
    return torch.tensor([augment.COINS[code]]).expand(n, 3)


@pytest.mark.parametrize("code", range(8))
def test_a_turned_lens_is_the_lens_of_turned_parameters(code):
    from astroml.sky.render import draw_light
    from astroml.survey import load_survey
    from astroml.tasks.lens import Sky, sky

    survey, n, size = load_survey("hsc", ["g"]), 4, 48
    columns = sky.population(Sky(objects=n, lens_fraction=1, theta_e=(0.8, 1.8)), survey, 5)
    plain = draw_light(columns, survey, size, np.arange(n))["arcs"]

    # Every angle and place of what is lensed and blurred, as labels have them.
    values, angles = {}, ("lens_phi", "source_phi", "psf_phi")
    for name in angles:
        values |= {
            f"{name}_1": torch.tensor(np.cos(2 * columns[name])),
            f"{name}_2": torch.tensor(np.sin(2 * columns[name])),
        }
    names = ("lens_shear_1", "lens_shear_2", "lens_x", "lens_y", "source_x", "source_y")
    values |= {name: torch.tensor(columns[name]) for name in names}
    turns = {
        "vector": [("source_x", "source_y"), ("lens_x", "lens_y")],
        "spin2": [
            ("lens_shear_1", "lens_shear_2"),
            *((f"{name}_1", f"{name}_2") for name in angles),
        ],
    }
    turned = {k: v.numpy() for k, v in augment.turn(values, coins(code, n), turns).items()}
    moved = columns | {name: turned[name] for name in names}
    for name in angles:
        moved[name] = 0.5 * np.arctan2(turned[f"{name}_2"], turned[f"{name}_1"])
    again = draw_light(moved, survey, size, np.arange(n))["arcs"]

    image, _ = view(plain, plain > -1, coins(code, n), torch.zeros(n, 2))
    peak = plain.amax((1, 2, 3), keepdim=True)
    assert ((image - again).abs() / peak).max() < 0.02
    exact = augment.turn_image(plain, augment.COINS[code])
    assert ((image - exact).abs() / peak).max() < 1e-3


@pytest.mark.parametrize("code", range(8))
def test_a_turn_is_undone(code):
    values = {name: torch.randn(5) for name in "xyabuvo"}
    turns = {"vector": [("x", "y")], "spin2": [("a", "b")], "swapped": [("u", "v")]}
    turned = augment.turn(values, coins(code, 5), turns)
    back = augment.turn(turned, torch.tensor(augment.undo(augment.COINS[code])), turns)
    assert all(torch.equal(back[name], values[name]) for name in values)
    assert torch.equal(turned["o"], values["o"])
    image = torch.randn(2, 3, 8, 8)
    there = augment.turn_image(image, augment.COINS[code])
    assert torch.equal(augment.turn_image(there, augment.undo(augment.COINS[code])), image)
    assert torch.equal(there, image) == (code == 0)


def test_labels_turn_with_the_batch_and_others_stay(tmp_path):
    store = open_store(toy_store(tmp_path / "0.h5", n=64))
    lens = tasks.load("lens")
    targets, _ = lens.targets(store.objects)
    (raw,) = read_batches(store, np.arange(64), 64, targets)
    raw = {name: torch.from_numpy(values) for name, values in raw.items()}
    augmented = partial(random_view, shift=0.0, draw=torch.Generator().manual_seed(1))
    batch = make_ready(raw, Normalisation((2.0,) * 3), augmented, lens.TURNS)
    assert torch.equal(batch["theta_e"], raw["theta_e"])
    # The toy's arc is brighter on the side of the source: the image says where it is now.
    where = batch["is_lens"] > 0
    light = torch.sinh(batch["image"]).mean(1)
    at = torch.arange(32) - 15.5
    y, x = torch.meshgrid(at, at, indexing="ij")
    place = torch.stack([(light * axis).sum((1, 2)) for axis in (x, y)], 1)
    place = place / place.norm(dim=1, keepdim=True)
    source = torch.stack([batch["source_x"], batch["source_y"]], 1)
    agreement = (place * source).sum(1)[where] / 0.4
    assert agreement.median() > 0.9
    before = torch.stack([raw["source_x"], raw["source_y"]], 1)
    assert ((place * before).sum(1)[where] / 0.4).median() < 0.5


def test_eight_views_do_not_care_how_an_image_lies(tmp_path):
    lens = tasks.load("lens")
    settings = lens.Options(width=8)
    net = tasks.load("lens", "net").build(settings, ("g", "r", "z"), 32)

    def told(code, views):
        def change(block):
            image = augment.turn_image(torch.from_numpy(block["image"]), augment.COINS[code])
            block["image"] = np.ascontiguousarray(image.numpy())

        store = open_store(toy_store(tmp_path / f"{code}.h5", n=20, change=change))
        scale = Normalisation((2.0,) * 3)
        forward = Forward(device.start("cpu"), net, scale, 8, views, lens.TURNS)
        output = gather(forward.over(store, np.arange(20)))
        return {name: torch.from_numpy(values) for name, values in output.items()}

    once, plain = told(0, 1), told(0, 8)
    for code in (1, 4, 6):
        turned = told(code, 8)
        expected = augment.turn(plain, coins(code, 20), lens.TURNS)
        for name, values in turned.items():
            torch.testing.assert_close(values, expected[name], rtol=1e-4, atol=1e-5)
        assert not torch.allclose(told(code, 1)["lens_logit"], once["lens_logit"], atol=1e-4)


def test_maps_of_turned_views_are_turned_back(tmp_path):
    class Echo(torch.nn.Module):
        def forward(self, batch):
            return {"map": batch["image"]}

    store, scale = open_store(toy_store(tmp_path / "0.h5", n=20)), Normalisation((2.0,) * 3)
    once, eight = (
        gather(Forward(device.start("cpu"), Echo(), scale, 8, views).over(store, np.arange(20)))
        for views in (1, 8)
    )
    np.testing.assert_allclose(eight["map"], once["map"], rtol=1e-5, atol=1e-6)


# Backbones


@pytest.mark.parametrize("name", ["small", "resnet18", "resnet34", "resnet50"])
@pytest.mark.parametrize("bands", [1, 9])
def test_backbones_take_any_bands_and_do_not_mix_the_batch(name, bands):
    trunk = backbone(name, bands, 8, 1).train()
    image = torch.randn(2, bands, 32, 32)
    features = trunk(image)
    assert features.shape == (2, trunk.features)
    assert trunk.maps(image).shape[1] == trunk.planes
    other = torch.cat([image[:1], 100 * torch.randn(1, bands, 32, 32)])
    torch.testing.assert_close(trunk(other)[0], features[0], rtol=1e-4, atol=1e-4)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in trunk.modules())


# Batches from elsewhere


def test_ahead_passes_everything_on_in_order_and_its_faults():
    assert list(ahead(iter(range(7)))) == list(range(7))
    endless = ahead(itertools.count())
    assert [next(endless) for _ in range(3)] == [0, 1, 2]
    endless.close()

    def broken():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(ahead(broken()))


@pytest.mark.parametrize(("one", "two"), [(3, 0), (0, 3), (5, 5), (7, 2), (1, 9)])
def test_woven_takes_all_of_both_evenly(one, two):
    mixed = list(woven(iter(range(one)), one, iter(range(100, 100 + two)), two))
    assert [at for at in mixed if at < 100] == list(range(one))
    assert [at for at in mixed if at >= 100] == list(range(100, 100 + two))
    share = np.cumsum([at >= 100 for at in mixed]) - two / (one + two) * np.arange(
        1, 1 + len(mixed)
    )
    assert np.abs(share).max() < 1


def test_names_are_no_numbers(tmp_path):
    batch = {"a": np.ones(3), "kind": np.array(["x", "y", "z"]), "b": torch.ones(3)}
    assert set(to_device(device.start("cpu"), batch)) == {"a", "b"}


def test_weights_of_another_architecture_are_refused(shipped):
    state, card = weights.load(shipped[0])
    state = {name: values for name, values in state.items() if not name.startswith("head")}
    with pytest.raises(AstromlError, match="built otherwise now; train anew"):
        weights.rebuild(state, card)


def test_stretch_and_its_inverse_agree_with_the_library():
    x = torch.linspace(-30, 30, 2001)
    torch.testing.assert_close(sinh(x), torch.sinh(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(asinh(sinh(x[x.abs() < 5])), x[x.abs() < 5], rtol=1e-4, atol=1e-5)
