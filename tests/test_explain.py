"""Where the evidence lies: on the arcs of a network that has learnt to see them."""

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from toy import toy_store

from astroml import explain, infer, tasks, train
from astroml.config import Infer
from astroml.errors import AstromlError
from astroml.nets import device, weights
from astroml.nets.batches import make_ready, to_device
from astroml.nets.contrast import RadialContrast
from astroml.nets.device import place
from astroml.nets.saliency import integrated_gradients
from astroml.store import Header, open_store, write_shard
from astroml.survey import load_survey

SIZE, PAIRS = 48, 260


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Lenses and the same galaxies without arcs, and a network trained on most of them.

    Returns columns, pixels, the arcs' light and labels; the network and its normalisation; which
    lenses were not trained on, and their twins.
    """
    from astroml.sky.render import draw_light, render
    from astroml.tasks.lens import Sky, sky

    survey, n = load_survey("hsc", ["g", "r", "i"]), 2 * PAIRS
    population = Sky(objects=n, lens_fraction=0.5, theta_e=(0.8, 2.0), negatives={"twin": 1.0})
    columns = sky.population(population, survey, 3)
    pixels = render(columns, survey, SIZE, np.arange(n))
    labels = sky.labels(columns, pixels)
    part = np.unique(columns["group"], return_inverse=True)[1] / PAIRS
    names = ("object_id", "ra", "dec", "ebv", "group")
    objects = {name: columns[name] for name in names} | labels
    objects["split"] = np.where(part < 0.7, "train", np.where(part < 0.8, "val", "test"))
    objects["flags"] = np.zeros(n, np.int32)
    planes = {name: pixels[name] for name in ("image", "mask", "sigma", "psf_fwhm")}
    path = tmp_path_factory.mktemp("pairs") / "0.h5"
    header = Header("galaxy", tuple(survey.bands), SIZE, survey.pixel_scale, "hsc")
    write_shard(path, header, [planes | {"objects": objects}])

    run = {"epochs": 12, "batch_size": 32, "lr": 4e-3, "ema": 0.9, "patience": 12}
    settings = tasks.load("lens").Options(width=8, dropout=0.0, train=run)
    torch.manual_seed(1)
    torch.set_num_threads(1)
    out = path.with_name("lens.safetensors")
    train.train("lens", settings, [path], out, device="cpu")
    net, normalisation = weights.rebuild(*weights.load(out))
    bright = (labels["arc_snr"] > 30) & (labels["theta_e"] > 1.2 * labels["seeing"])
    lenses = np.flatnonzero((objects["split"] == "test") & bright)
    twin_of = {group: at for at, group in enumerate(columns["group"]) if not labels["is_lens"][at]}
    twins = np.array([twin_of[group] for group in columns["group"][lenses]])
    arcs = draw_light(columns, survey, SIZE, lenses)["arcs"].numpy()
    arcs = arcs / pixels["sigma"][lenses][..., None, None]
    return pixels, arcs, place(device.start("cpu"), net), normalisation, lenses, twins


def seen(pixels, normalisation, rows, image=None):
    batch = {name: pixels[name][rows] for name in ("image", "mask")}
    if image is not None:
        batch["image"] = image
    return make_ready(to_device(device.start("cpu"), batch), normalisation)


def logits(net, batch):
    with torch.no_grad():
        return net(batch)["lens_logit"].numpy()


@pytest.mark.slow
def test_hiding_the_arc_lowers_the_score(pairs):
    pixels, arcs, net, normalisation, lenses, twins = pairs
    assert len(lenses) > 30
    image, host = pixels["image"][lenses], pixels["image"][twins]
    hidden = np.where(arcs > 0.3, host, image)
    whole = logits(net, seen(pixels, normalisation, lenses))
    without = logits(net, seen(pixels, normalisation, lenses, hidden))
    assert (without < whole).mean() > 0.93
    assert np.median(whole - without) > 1
    # As many pixels elsewhere, the arc's own left alone, matter far less.
    elsewhere = np.where(np.rot90(arcs, 2, (2, 3)) > 0.3, host, image)
    elsewhere = np.where(arcs > 0.3, image, elsewhere)
    kept = logits(net, seen(pixels, normalisation, lenses, elsewhere))
    assert np.median(whole - kept) < 0.5 * np.median(whole - without)


def test_the_evidence_lies_on_the_arc(pairs):
    pixels, arcs, net, normalisation, lenses, _ = pairs
    maps = integrated_gradients(net, seen(pixels, normalisation, lenses), "lens_logit").numpy()
    on = (arcs > 1).any(1)
    evidence = np.clip(maps, 0, None)
    share = (evidence * on).sum((1, 2)) / evidence.sum((1, 2))
    assert (share > on.mean((1, 2))).mean() > 0.93
    assert np.median(share / on.mean((1, 2))) > 2


# Integrated gradients


class Known(nn.Module):
    """A smooth function whose gradients are known."""

    def forward(self, batch):
        return {"value": (batch["image"] ** 3).sum((1, 2, 3))}


def test_the_map_adds_up_to_what_the_image_says_beyond_the_host():
    image = torch.randn(3, 2, 20, 20, generator=torch.Generator().manual_seed(1)) + 2
    batch = {"image": image, "valid": torch.ones_like(image).bool()}
    maps = integrated_gradients(Known(), batch, "value", steps=32)
    assert maps.shape == (3, 20, 20)
    host = image - RadialContrast(20)(image, batch["valid"])
    expected = (image**3 - host**3).sum((1, 2, 3))
    torch.testing.assert_close(maps.sum((1, 2)), expected, rtol=1e-3, atol=0.1)
    # Of a sum of functions of single pixels each pixel gets its own.
    torch.testing.assert_close(maps, (image**3 - host**3).sum(1), rtol=1e-2, atol=0.02)


def test_a_host_alone_is_no_evidence_and_the_network_is_left_as_it_was():
    at = torch.arange(20) - 9.5
    ring = torch.hypot(at[:, None], at).round().clamp(max=10)
    image = torch.exp(-ring / 5)[None, None]
    net = Known().train()
    batch = {"image": image, "valid": torch.ones_like(image).bool()}
    maps = integrated_gradients(net, batch, "value")
    assert maps[0, 2:-2, 2:-2].abs().max() < 1e-5
    assert net.training
    assert image.grad is None


# The stage


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A store of two shards, weights, and rows."""
    folder = tmp_path_factory.mktemp("scored")
    toy_store(folder / "store/0.h5", n=30)
    toy_store(folder / "store/1.h5", n=20, seed=2, change=blind)
    run = {"epochs": 1, "batch_size": 16}
    settings = tasks.load("lens").Options(width=8, train=run)
    for member in (0, 1):
        out = folder / f"{member}.safetensors"
        train.train("lens", settings, [folder / "store"], out, device="cpu", member=member)
    infer.infer(
        "lens", [folder / "store"], folder / "0.safetensors", folder / "rows.parquet", Infer(),
        device="cpu",
    )  # fmt: skip
    return folder


def blind(block):
    block["image"][5] = np.nan


def mapped(folder, out, members=(0,), **how):
    files = [folder / f"{member}.safetensors" for member in members]
    explain.explain(
        "lens", [folder / "rows.parquet"], [folder / "store"], files, out, device="cpu", **how
    )
    with h5py.File(out) as file:
        return {name: values[:] for name, values in file.items()}, dict(file.attrs)


def test_the_best_candidates_are_mapped_best_first(scored, tmp_path):
    maps, facts = mapped(scored, tmp_path / "maps.h5", top=7)
    rows = pq.read_table(scored / "rows.parquet").to_pydict()
    prob, ids = np.array(rows["lens_prob"]), np.array(rows["object_id"])
    order = np.lexsort((ids, -prob))
    order = [at for at in order if not rows["flags"][at] & 8][:7]
    assert maps["object_id"].tolist() == ids[order].tolist()
    assert maps["lens_prob"].tolist() == prob[order].astype(np.float32).tolist()
    assert maps["map"].shape == (7, 32, 32)
    assert np.isfinite(maps["map"]).all()
    assert np.abs(maps["map"]).max() > 0
    assert (facts["task"], facts["output"], facts["column"]) == ("lens", "lens_logit", "lens_prob")
    # A map is of its own object, wherever it stands in the store.
    store = open_store(scored / "store")
    net, normalisation = weights.rebuild(*weights.load(scored / "0.safetensors"))
    raw = store.read([order[0]], ("image", "mask"))
    alone = integrated_gradients(
        net, make_ready(to_device(device.start("cpu"), raw), normalisation), "lens_logit"
    )
    np.testing.assert_allclose(alone[0], maps["map"][0], atol=1e-4)


def test_more_maps_than_objects_and_the_mean_of_members(scored, tmp_path):
    one, _ = mapped(scored, tmp_path / "0.h5", members=(0,), top=999)
    assert len(one["map"]) == 49  # one of fifty has no pixel
    two, _ = mapped(scored, tmp_path / "1.h5", members=(1,), top=999)
    both, _ = mapped(scored, tmp_path / "01.h5", members=(0, 1), top=999)
    np.testing.assert_allclose(both["map"], (one["map"] + two["map"]) / 2, atol=1e-5)


def test_rows_of_another_store_and_tasks_without_evidence_are_refused(
    scored, tmp_path, monkeypatch
):
    other = toy_store(tmp_path / "other/0.h5", n=16, seed=9)
    with pytest.raises(AstromlError, match="belongs to no object of the store"):
        explain.explain(
            "lens", [scored / "rows.parquet"], [other], [scored / "0.safetensors"],
            tmp_path / "maps.h5", device="cpu",
        )  # fmt: skip
    monkeypatch.delattr(tasks.load("lens"), "EXPLAINED")
    with pytest.raises(AstromlError, match="no output whose evidence can be drawn"):
        mapped(scored, tmp_path / "maps.h5")
    assert not (tmp_path / "maps.h5").exists()
