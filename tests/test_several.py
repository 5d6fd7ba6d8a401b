"""Several processes, pieces of batches, and trackers: training that is spread out and watched."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy import TwoParts, toy_store

from astroml import config, tasks, train
from astroml.errors import AstromlError
from astroml.nets import device, several, weights
from astroml.nets.augment import random_view
from astroml.nets.pieces import Pieces, by_part, cut


def options(task="photoz", **changes):
    run = {"epochs": 3, "batch_size": 16, "ema": 0.9, "seed": 1} | changes
    # What is left out at random would differ from process to process.
    still = {"dropout": 0.0, "drop_band": 0.0} if task == "photoz" else {"dropout": 0.0}
    return tasks.load(task).Options(width=8, train=run, **still)


def fabric(rank, world):
    return SimpleNamespace(global_rank=rank, world_size=world)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return toy_store(tmp_path_factory.mktemp("store") / "0.h5", "photoz", n=128)


# Who reads what


@pytest.mark.parametrize(("number", "size", "world"), [(64, 16, 2), (61, 16, 4), (33, 8, 3)])
def test_processes_share_every_batch_evenly(number, size, world):
    rows = np.random.default_rng(1).permutation(number)
    shares = [several.parts_of_batches(rows, size, fabric(rank, world)) for rank in range(world)]
    assert len({len(mine) for mine, _ in shares}) == 1
    for begin in range(0, number, size):
        at = begin // size * shares[0][1]
        seen = np.concatenate([mine[at : at + own] for mine, own in shares])
        batch = rows[begin : begin + size]
        # Every row once, but for the few that fill a batch up.
        assert set(seen) == set(batch)
        assert len(batch) <= len(seen) < len(batch) + world


@pytest.mark.parametrize(("number", "world"), [(64, 2), (61, 4), (3, 2), (5, 4)])
def test_processes_validate_whole_batches_each_once(number, world):
    rows = np.arange(100, 100 + number)
    shares = [several.whole_batches(rows, 4, fabric(rank, world)) for rank in range(world)]
    assert sorted(np.concatenate(shares)) == rows.tolist()
    batches = {tuple(rows[begin : begin + 4]) for begin in range(0, number, 4)}
    for mine in shares:
        assert {tuple(mine[begin : begin + 4]) for begin in range(0, len(mine), 4)} <= batches


def test_a_share_is_seen_as_the_whole_is():
    image = torch.rand(12, 2, 32, 32)
    seed = lambda: torch.Generator().manual_seed(3)  # noqa: E731
    whole, *_ = random_view(image, image > -1, 1.0, seed())
    for rank in range(3):
        mine = image[rank::3]
        part, *_ = random_view(mine, mine > -1, 1.0, seed(), (rank, 3))
        torch.testing.assert_close(part, whole[rank::3])


def test_one_process_needs_no_exchange():
    values = torch.ones(3)
    several.agree(fabric(0, 1), [values])
    assert several.add_up(fabric(0, 1), 2.5) == 2.5
    assert values.tolist() == [1, 1, 1]


def command(task, store, out, settings, processes=2):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    run += ["--nproc-per-node", str(processes), "-m", "astroml.cli", "train", "--task", task]
    run += ["--store", store, "--out", out, "--device", "cpu"]
    run += ["--options", config.as_json(settings)]
    return subprocess.run(run, capture_output=True, text=True, check=False, timeout=500)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(store, tmp_path):
    settings = options()
    done = command("photoz", store, tmp_path / "two/p.safetensors", settings)
    assert done.returncode == 0, done.stderr
    # One of them speaks, and says how many they are.
    assert done.stdout.count("device: cpu, 1 thread, float32; 2 processes") == 1
    assert done.stdout.count("epoch 3/3") == done.stdout.count("wrote ") == 1
    train.train("photoz", settings, [store], tmp_path / "one/p.safetensors", device="cpu")
    (one, of_one), (two, of_two) = (
        weights.load(tmp_path / f"{name}/p.safetensors") for name in ("one", "two")
    )
    for first, second in zip(of_one["history"], of_two["history"], strict=True):
        assert second == pytest.approx(first, rel=1e-4)
    for name, metric in of_one["metrics"].items():
        expected = metric["value"] and pytest.approx(metric["value"], rel=0.02, abs=0.01)
        assert of_two["metrics"][name]["value"] == expected
    for name, values in one.items():
        torch.testing.assert_close(two[name], values, rtol=1e-2, atol=1e-3)
    assert {file.name for file in (tmp_path / "two").iterdir()} == {
        f"p.{ending}" for ending in ("safetensors", "json", "jsonl")
    }


@pytest.mark.slow
def test_two_processes_go_on_from_where_one_was_killed(store, tmp_path, monkeypatch):
    epoch, settings = train.Loop.epoch, options()
    out = tmp_path / "p.safetensors"

    def mortal(loop, tick=lambda: None):
        if len(loop.history) == 2:
            raise KeyboardInterrupt
        return epoch(loop, tick)

    monkeypatch.setattr(train.Loop, "epoch", mortal)
    with pytest.raises(KeyboardInterrupt):
        train.train("photoz", settings, [store], out, device="cpu")
    done = command("photoz", store, out, settings)
    assert done.returncode == 0, done.stderr
    assert "resumed after epoch 2 of 3" in done.stdout
    assert len(weights.load(out)[1]["history"]) == 3
    assert len(out.with_suffix(".jsonl").read_text().splitlines()) == 3


def test_other_commands_are_no_work_for_several_processes(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(AstromlError, match="of all commands train alone runs as several processes"):
        device.start("cpu")


# Which GPU


def test_jobs_side_by_side_take_a_gpu_each(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "_LOCKS", [])
    assert [device.free_one(["a", "b"], tmp_path) for _ in range(2)] == [0, 1]
    # All are taken: any will do.
    assert device.free_one(["a", "b"], tmp_path) in (0, 1)
    # As when its process ends.
    device._LOCKS.pop(0).close()
    assert device.free_one(["a", "b"], tmp_path) == 0
    for lock in device._LOCKS:
        lock.close()


# Out of memory


class Tight:
    """A task's objectives where memory holds so many cutouts at once."""

    def __init__(self, objectives, most):
        self.objectives, self.most = objectives, most

    def __call__(self, net, batch):
        for part, loss in self.objectives(net, batch):
            if len(batch["image"]) > self.most:
                raise torch.OutOfMemoryError
            yield part, loss


@pytest.mark.parametrize("most", [8, 5, 1])
def test_memory_fault_cuts_the_batch_and_changes_nothing_else(
    store, tmp_path, monkeypatch, capsys, most
):
    settings = options(epochs=1)
    train.train("photoz", settings, [store], tmp_path / "a/p.safetensors", device="cpu")
    net = tasks.load("photoz", "net")
    monkeypatch.setattr(net, "objectives", Tight(net.objectives, most))
    train.train("photoz", settings, [store], tmp_path / "b/p.safetensors", device="cpu")
    assert "out of GPU memory: going on with batches in 2 pieces, of at most 8" in (
        capsys.readouterr().out
    )
    (one, of_one), (two, of_two) = (weights.load(tmp_path / f"{x}/p.safetensors") for x in "ab")
    assert of_two["history"][0] == pytest.approx(of_one["history"][0], rel=1e-4)
    for name, values in one.items():
        torch.testing.assert_close(two[name], values, rtol=1e-2, atol=1e-4)


def test_a_cutout_too_large_to_learn_from_is_said(store, tmp_path, monkeypatch):
    net = tasks.load("photoz", "net")
    monkeypatch.setattr(net, "objectives", Tight(net.objectives, 0))
    with pytest.raises(AstromlError, match="does not hold one cutout and its gradients"):
        train.train("photoz", options(), [store], tmp_path / "p.safetensors", device="cpu")


def in_turns(net, batch, most=99, within="generator"):
    """Yield the losses of a critic, then of a generator, whose memory is short."""
    yield "critic", net.critic(net.generator(batch["image"])).square().mean()
    if within == "generator" and len(batch["image"]) > most:
        raise torch.OutOfMemoryError
    yield "generator", -net.critic(net.generator(batch["image"])).mean()


def test_a_part_that_took_its_step_does_not_take_it_again():
    torch.manual_seed(1)
    batch = {"image": torch.randn(8, 2)}

    def learnt(most):
        torch.manual_seed(2)
        net = TwoParts()
        parts, steps = train.parts_of(net), []

        def descend(part, losses):
            net.zero_grad()
            total = sum(loss.detach() for loss in losses if loss.backward() is None)
            with torch.no_grad():
                for one in parts[part]:
                    one -= 0.1 * one.grad
            steps.append(part)
            return total

        losses = Pieces().learn(lambda one: in_turns(net, one, most), batch, descend)
        return steps, [float(loss) for _, loss in losses], list(net.parameters())

    whole, short = learnt(99), learnt(2)
    assert whole[0] == short[0] == ["critic", "generator"]
    assert short[1] == pytest.approx(whole[1], rel=1e-5)
    for one, two in zip(whole[2], short[2], strict=True):
        torch.testing.assert_close(one, two)


def test_pieces_are_the_batch():
    batch = {"image": torch.arange(10).float(), "name": torch.arange(10)}
    for count in (1, 2, 3, 4, 16):
        pieces = cut(batch, count)
        assert len(pieces) <= count
        assert torch.equal(torch.cat([piece["image"] for piece in pieces]), batch["image"])
    losses = dict(by_part(lambda one: iter([("net", one["image"].mean())]), cut(batch, 3)))
    assert float(sum(losses["net"])) == pytest.approx(4.5)


# Trackers


def test_json_lines_have_one_line_for_each_epoch_even_after_a_kill(store, tmp_path, monkeypatch):
    epoch, out = train.Loop.epoch, tmp_path / "p.safetensors"

    def mortal(loop, tick=lambda: None):
        if len(loop.history) == 1:
            raise KeyboardInterrupt
        return epoch(loop, tick)

    monkeypatch.setattr(train.Loop, "epoch", mortal)
    with pytest.raises(KeyboardInterrupt):
        train.train("photoz", options(epochs=2), [store], out, device="cpu")
    assert len(out.with_suffix(".jsonl").read_text().splitlines()) == 1
    monkeypatch.setattr(train.Loop, "epoch", epoch)
    train.train("photoz", options(epochs=2), [store], out, device="cpu")
    lines = [json.loads(line) for line in out.with_suffix(".jsonl").read_text().splitlines()]
    history = weights.load(out)[1]["history"]
    assert lines == [{"epoch": at, **facts} for at, facts in enumerate(history, 1)]


def test_tensorboard_shows_the_curves(store, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "p.safetensors"
    how = {"device": "cpu", "track": "tensorboard"}
    train.train("photoz", options(epochs=2), [store], out, **how)
    events = EventAccumulator(str(tmp_path / "tensorboard/p"))
    events.Reload()
    shown = [(one.step, one.value) for one in events.Scalars("val")]
    history = weights.load(out)[1]["history"]
    assert shown == [(at, pytest.approx(facts["val"])) for at, facts in enumerate(history, 1)]


def test_mlflow_is_told_of_every_epoch(store, tmp_path, monkeypatch):
    told = []

    class Run:
        def __enter__(self):
            told.append("began")

        def __exit__(self, *fault):
            told.append("ended")

    stand_in = SimpleNamespace(
        start_run=lambda run_name: Run(),
        log_params=lambda options: told.append(set(options) >= {"width", "train"}),
        log_metrics=lambda facts, step: told.append((step, set(facts))),
    )
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    out = tmp_path / "p.safetensors"
    train.train("photoz", options(epochs=2), [store], out, device="cpu", track="mlflow")
    names = {"train_net", "val", "lr"}
    assert told == ["began", True, (1, names), (2, names), "ended"]


def test_a_tracker_that_is_not_there_is_said(store, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    out = tmp_path / "p.safetensors"
    with pytest.raises(AstromlError, match="mlflow is not installed; run pip install mlflow"):
        train.train("photoz", options(), [store], out, device="cpu", track="mlflow")
