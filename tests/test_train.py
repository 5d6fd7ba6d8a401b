import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from toy import SKIES, TwoParts, toy_store

from astroml import config, tasks, train
from astroml.config import TrainOptions
from astroml.errors import AstromlError
from astroml.nets import weights
from astroml.nets.optimise import adamw
from astroml.provenance import digest
from astroml.store import open_store
from astroml.survey import load_survey


def options(**changes):
    run = {"epochs": 3, "batch_size": 32, "ema": 0.9, "seed": 1} | changes
    return tasks.load("lens").Options(width=8, train=run)


def learn(store, out, device="cpu", **changes):
    train.train("lens", options(**changes), [store], out, device=device)
    return weights.load(out)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("store") / "0.h5")


@pytest.fixture(scope="module")
def trained(store, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "lens.safetensors"
    return out, *learn(store, out)


# The run


def test_card_holds_what_made_the_weights(trained, store):
    out, _, card = trained
    assert card == json.loads(out.with_suffix(".json").read_text())
    assert (card["task"], card["bands"], card["size"]) == ("lens", ["g", "r", "z"], 32)
    assert (card["pixel_scale"], card["unit"], card["seed"]) == (0.262, "nJy", 1)
    assert card["normalisation"]["scale"] == [2.0, 2.0, 2.0]
    assert set(card["calibration"]) >= {"slope", "offset", "sigma", "roc"}
    assert card["metrics"]["auroc"]["value"] > 0.5
    assert card["provenance"]["inputs"] == {"0.h5": digest(store)}
    assert card["objects"] == {"train": 80, "val": 40}
    assert [set(epoch) for epoch in card["history"]] == [{"train_net", "val", "lr"}] * 3
    assert card["best_epoch"] == 1 + np.argmin([epoch["val"] for epoch in card["history"]])


def test_same_seed_same_bytes_and_another_seed_others(trained, store, tmp_path, capsys):
    out, *_ = trained
    learn(store, tmp_path / "a/lens.safetensors")
    assert (tmp_path / "a/lens.safetensors").read_bytes() == out.read_bytes()
    # Weights, card and history: no checkpoint.
    assert {one.name for one in (tmp_path / "a").iterdir()} == {
        f"lens.{ending}" for ending in ("safetensors", "json", "jsonl")
    }
    printed = capsys.readouterr().out
    assert "device: cpu" in printed
    assert "objects: 80 train, 40 val" in printed
    assert "epoch 3/3: " in printed
    learn(store, tmp_path / "b/lens.safetensors", seed=2, epochs=1)
    assert (tmp_path / "b/lens.safetensors").read_bytes() != out.read_bytes()


def test_test_split_changes_no_weight(trained, tmp_path):
    def change(block):
        test = block["objects"]["split"] == "test"
        block["image"][test] *= 100
        block["sigma"][test] = 7
        block["objects"]["is_lens"][test] = 1

    changed = toy_store(tmp_path / "0.h5", change=change)
    state, card = learn(changed, tmp_path / "lens.safetensors")
    assert all(torch.equal(state[name], values) for name, values in trained[1].items())
    assert card["normalisation"] == trained[2]["normalisation"]


def test_killed_run_goes_on_to_the_same_bytes(store, tmp_path, capsys):
    settings = options(epochs=6, patience=6)
    out = tmp_path / "lens.safetensors"
    command = [sys.executable, "-m", "astroml.cli", "train", "--task", "lens", "--store", store]
    command += ["--out", out, "--device", "cpu", "--options", config.as_json(settings)]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    victim = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, bufsize=1, env=os.environ | threads
    )
    with victim:
        for line in victim.stdout:
            if line.startswith("epoch 3/"):
                break
        victim.send_signal(signal.SIGKILL)
    assert victim.returncode == -signal.SIGKILL
    assert not out.exists()
    assert list((tmp_path / "lens.work").glob("lens.checkpoint"))

    train.train("lens", settings, [store], out, device="cpu")
    assert "resumed after epoch" in capsys.readouterr().out
    assert not (tmp_path / "lens.work").exists()
    train.train("lens", settings, [store], tmp_path / "whole/lens.safetensors", device="cpu")
    assert (
        weights.load(out)[1]["history"]
        == (weights.load(tmp_path / "whole/lens.safetensors")[1]["history"])
    )
    assert out.read_bytes() == (tmp_path / "whole/lens.safetensors").read_bytes()


def test_training_stops_when_validation_stalls(store, tmp_path):
    _, card = learn(store, tmp_path / "lens.safetensors", lr=1e-12, epochs=9, patience=2)
    assert len(card["history"]) <= card["best_epoch"] + 2 < 9


def test_work_folder_is_used_and_left_if_not_empty(store, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "mine").touch()
    train.train("lens", options(epochs=1), [store], tmp_path / "w.safetensors", work=work)
    assert [file.name for file in work.iterdir()] == ["mine"]


def test_find_lr_draws_and_suggests(store, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train, "SWEEP", (1e-5, 0.1, 24))
    train.find_lr("lens", options(), [store], tmp_path / "lr.png", device="cpu")
    assert (tmp_path / "lr.png").stat().st_size > 1000
    assert "suggested learning rate: " in capsys.readouterr().out


# Several parts


def test_each_part_has_its_own_optimiser(store):
    rows, targets = train.choose_rows("lens", open_store(store), tasks.load("lens").Options())
    loop = train.Loop("lens", options(), open_store(store), rows, targets, "cpu")
    net = TwoParts()
    loop.net, loop.parts = net, train.parts_of(net)
    loop.optimisers = train.optimisers_of(net, loop.run)
    before = {name: values.clone() for name, values in net.named_parameters()}
    loop.descend("critic", [net.critic(net.generator(torch.ones(4, 2))).sum()], 0.1)
    after = dict(net.named_parameters())
    assert all(not torch.equal(before[k], after[k]) for k in before if k.startswith("critic"))
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("generator"))


def test_norms_and_offsets_are_not_decayed():
    optimiser = adamw(list(nn.Conv2d(1, 1, 3).parameters()), options().train)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.01, 0.0]
    assert [group["params"][0].ndim for group in optimiser.param_groups] == [4, 1]


# Schedule and seeds


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (100, 0.0), (7, 0.5), (1, 0.1)])
def test_schedule_rises_then_falls_to_nearly_zero(steps, warmup):
    factors = np.array([train.schedule(step, steps, warmup) for step in range(steps)])
    top = factors.argmax()
    assert (factors > 0).all()
    assert factors.max() == 1
    assert (np.diff(factors[: top + 1]) > 0).all()
    assert (np.diff(factors[top:]) < 0).all()
    assert top == max(1, round(warmup * steps)) - 1
    if steps == 100:
        assert factors[-1] < 1e-3
        middle = top + (steps - top) // 2
        assert factors[middle] == pytest.approx(0.5, abs=0.02)


def test_seeds_differ_with_every_number():
    seeds = {train.mix_seed(a, b) for a in range(10) for b in range(10)}
    assert len(seeds) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)


# Refusals


def one_class(block):
    block["objects"]["is_lens"][:] = 1


def one_class_in_val(block):
    block["objects"]["is_lens"][block["objects"]["split"] == "val"] = 0


def nan_label(block):
    block["objects"]["is_lens"] = block["objects"]["is_lens"].astype("f4")
    block["objects"]["is_lens"][4] = np.nan


def no_label(block):
    del block["objects"]["is_lens"]


def few_train(block):
    block["objects"]["split"][8:] = "test"


def few_val(block):
    block["objects"]["split"][12:] = "train"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (one_class, "all 80 labelled rows in split train are 1; add lenses and non-lenses"),
        (one_class_in_val, "all 40 labelled rows in split val are 0; add lenses"),
        (nan_label, "1 of 80 labelled rows in split train are neither 0 nor 1; mend them"),
        (no_label, "no row is labelled for task lens; add its label column to the manifest"),
        (few_train, "4 labelled rows in split train, expected 8 or more; add objects"),
        (few_val, "3 labelled rows in split val, expected 4 or more; add objects"),
    ],
)
def test_labels_that_teach_nothing_are_refused(tmp_path, change, says):
    store = toy_store(tmp_path / "0.h5", change=change)
    with pytest.raises(AstromlError, match=says):
        learn(store, tmp_path / "lens.safetensors")
    assert not (tmp_path / "lens.safetensors").exists()


def test_empty_store_is_refused(tmp_path):
    store = toy_store(tmp_path / "0.h5", n=0)
    with pytest.raises(AstromlError, match="the store is empty; ingest some objects first"):
        learn(store, tmp_path / "lens.safetensors")


def test_unlabelled_rows_are_left_out(tmp_path):
    def change(block):
        n = len(block["image"])
        block["objects"]["is_lens"] = block["objects"]["is_lens"].astype("f4")
        block["objects"]["labels"] = np.where(np.arange(n) < 80, "lens tidal", "tidal")
        block["objects"]["is_lens"][80:] = np.nan

    store = toy_store(tmp_path / "0.h5", change=change)
    _, card = learn(store, tmp_path / "lens.safetensors", epochs=1)
    assert card["objects"] == {"train": 40, "val": 20}


def test_diverging_loss_says_what_to_do(store, tmp_path, monkeypatch):
    net = tasks.load("lens", "net")

    def objectives(module, batch):
        yield "net", module(batch)["lens_logit"].sum() * float("nan")

    monkeypatch.setattr(net, "objectives", objectives)
    with pytest.raises(AstromlError, match=f"epoch 1; lower train.lr, now {TrainOptions().lr:g}"):
        learn(store, tmp_path / "lens.safetensors")


# Fresh skies


FRESH = {"fresh": 64, "batch_size": 32, "epochs": 4, "patience": 9}


@pytest.fixture
def calls(monkeypatch):
    """Toy lenses in place of the rendered sky; how they were asked for."""
    asked = []

    def fresh(sky, survey, size, batch_size, seed, number, device):
        asked.append({"seed": seed, "device": device, "number": number, "sky": sky, "size": size})
        block = SKIES["lens"](batch_size, list(survey.bands), seed % 1000 + number, size)
        names = ("image", "mask", "sigma", "psf_fwhm")
        return {name: block[name] for name in names} | block["objects"]

    monkeypatch.setattr(tasks.load("lens", "sky"), "fresh", fresh)
    return asked


def learn_fresh(store, out, sky=None, member=0, **changes):
    settings, survey = options(**(FRESH | changes)), load_survey("decals")
    train.train("lens", settings, [store], out, device="cpu", sky=sky, survey=survey, member=member)
    return weights.load(out)


def test_fresh_objects_join_those_of_the_store(store, tmp_path, calls, capsys):
    state, card = learn_fresh(store, tmp_path / "lens.safetensors")
    # 80 rows in batches of 32 and 64 fresh ones: three and two steps an epoch; one batch ahead.
    assert "64 fresh per epoch" in capsys.readouterr().out
    assert [one["number"] for one in calls] in (list(range(8)), list(range(9)))
    assert calls[0] | {"sky": 0} == {"seed": 1, "device": "cpu", "number": 0, "sky": 0, "size": 32}
    assert card["normalisation"]["scale"] == [2.0, 2.0, 2.0]
    assert card["provenance"]["fresh"]["survey"]["name"] == "decals"
    plain, _ = learn(store, tmp_path / "plain.safetensors", epochs=4, patience=9)
    assert not all(torch.equal(state[name], values) for name, values in plain.items())


def test_a_killed_run_on_fresh_skies_goes_on_to_the_same_bytes(store, tmp_path, calls, monkeypatch):
    epoch = train.Loop.epoch

    def mortal(loop, tick=lambda: None):
        if len(loop.history) == 2:
            raise KeyboardInterrupt
        return epoch(loop, tick)

    out = tmp_path / "lens.safetensors"
    monkeypatch.setattr(train.Loop, "epoch", mortal)
    with pytest.raises(KeyboardInterrupt):
        learn_fresh(store, out)
    monkeypatch.setattr(train.Loop, "epoch", epoch)
    calls.clear()
    learn_fresh(store, out)
    assert calls[0]["number"] == 4  # two epochs of two batches are gone
    learn_fresh(store, tmp_path / "whole/lens.safetensors")
    assert out.read_bytes() == (tmp_path / "whole/lens.safetensors").read_bytes()


def test_another_sky_is_no_resumption(store, tmp_path, calls):
    from astroml.tasks.lens import Sky

    def key(sky):
        out = tmp_path / f"{sky.objects}.safetensors"
        return learn_fresh(store, out, sky, epochs=1)[1]["provenance"]["resume_key"]

    assert key(Sky(objects=5)) != key(Sky(objects=6))


def test_fresh_objects_alone_need_no_labels_to_train_on(tmp_path, calls):
    def change(block):
        train_rows = block["objects"]["split"] == "train"
        block["objects"]["labels"] = np.where(train_rows, "", "lens")

    store = toy_store(tmp_path / "0.h5", change=change)
    with pytest.raises(AstromlError, match="0 labelled rows in split train"):
        learn_fresh(store, tmp_path / "lens.safetensors")
    state, card = learn_fresh(store, tmp_path / "lens.safetensors", fresh_only=True, epochs=6)
    assert card["objects"] == {"train": 80, "val": 40}
    assert card["metrics"]["auroc"]["value"] > 0.6

    def louder(block):
        change(block)
        block["image"][block["objects"]["split"] == "train"] *= 3

    other = toy_store(tmp_path / "1.h5", change=louder)
    again, _ = learn_fresh(other, tmp_path / "b.safetensors", fresh_only=True, epochs=6)
    assert all(torch.equal(again[name], values) for name, values in state.items())


def test_members_differ_in_weights_and_skies(store, tmp_path, calls):
    states, seeds = [], []
    for member in (0, 1, 2):
        calls.clear()
        state, card = learn_fresh(
            store, tmp_path / f"{member}.safetensors", member=member, epochs=1
        )
        states.append(state)
        seeds.append((calls[0]["seed"], card["seed"]))
    assert seeds[0] == (1, 1)
    assert len({seed for seed, _ in seeds}) == len({seed for _, seed in seeds}) == 3
    name = next(iter(states[0]))
    assert not torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[1][name], states[2][name])


def test_threads_are_given_back(store, tmp_path, calls):
    torch.set_num_threads(2)
    learn_fresh(store, tmp_path / "lens.safetensors", epochs=1)
    assert torch.get_num_threads() == 2


def test_the_rendered_sky_can_be_trained_on(store, tmp_path):
    changes = {"epochs": 1, "fresh": 16, "batch_size": 16, "fresh_only": True}
    _, card = learn_fresh(store, tmp_path / "lens.safetensors", **changes)
    assert np.isfinite(card["history"][0]["train_net"])


def test_fresh_skies_that_cannot_be_drawn_are_refused(store, tmp_path, monkeypatch):
    out = tmp_path / "lens.safetensors"
    with pytest.raises(AstromlError, match="needs a survey; name one with --survey"):
        train.train("lens", options(fresh=8), [store], out, device="cpu")
    survey = load_survey("hsc", ["g", "r", "z"])
    with pytest.raises(AstromlError, match=r"survey hsc: pixel_scale .* arcsec, but the store"):
        train.train("lens", options(fresh=8), [store], out, device="cpu", survey=survey)
    monkeypatch.delattr(tasks.load("lens", "sky"), "fresh")
    with pytest.raises(AstromlError, match="task lens has no sky that can be drawn while training"):
        learn_fresh(store, out)
    with pytest.raises(AstromlError, match="fresh_only needs fresh objects"):
        config.check(TrainOptions, {"fresh_only": True}, "train")


def test_what_training_does_not_read_leaves_the_weights_alone():
    settings = tasks.load("lens").Options(members=3, prevalence=0.1)
    early, late = config.split_options(settings)
    assert late == {"prevalence"}
    assert not {"members", "weights", "prevalence"} & early
    assert {"train", "backbone", "views"} <= early
    assert json.loads(config.as_json(settings, late)) == {"prevalence": 0.1}
