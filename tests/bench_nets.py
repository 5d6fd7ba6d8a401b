"""Training and inference beside the bare network on one batch in memory."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from bench import Case
from bench_store import make_store

from astroml import tasks, train
from astroml.config import Infer
from astroml.infer import infer
from astroml.nets.batches import make_ready, read_batches, to_device
from astroml.nets.device import start
from astroml.nets.forward import CPU_STEP
from astroml.nets.members import load_members
from astroml.store import open_store

STEPS = 8
"""Steps of training in a round."""

BARE = 4096
"""Cutouts that the bare network looks at in a round, on a CPU: long enough for a processor whose
speed comes and goes to be as fast on average as while the stage ran."""

ON_GPU = 1024
"""Cutouts per batch on a GPU."""


def quiet(call, *words, **more):
    """Call without what it prints: the last line is the measurement."""
    with contextlib.redirect_stdout(io.StringIO()):
        return call(*words, **more)


def weights_of(folder: Path, narrow: bool) -> Path:
    """Train for an epoch, if that is not done yet: how well does not matter here.

    The narrow network costs little: beside it everything else shows.
    """
    path = folder / f"{'narrow' if narrow else 'lens'}.safetensors"
    if not path.exists():
        options = "{" + "width: 4, " * narrow + "train: {epochs: 1}}"
        words = ["train", "--task", "lens", "--store", make_store(folder, 100)]
        words += ["--options", options, "--device", "cpu", "--out", path]
        command = [sys.executable, "-m", "astroml.cli", *map(str, words)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def ready_batch(store, size: int, fabric, normalisation) -> dict[str, torch.Tensor]:
    """Return one batch as the network sees it, with its labels."""
    targets, _ = tasks.load("lens").targets(store.objects)
    raw = next(iter(read_batches(store, np.arange(size), size, columns=targets)))
    return make_ready(to_device(fabric, raw), normalisation)


def prepare_train(folder: Path, objects: int) -> None:
    """Write the store."""
    make_store(folder, objects)


def case_train(folder: Path, objects: int) -> Case:
    """Return some steps from a store, in an order that leads all over it, as an epoch does.

    The bare step is forward, loss, backward and optimiser on one batch in memory.
    """
    store, options = open_store(make_store(folder, objects)), tasks.load("lens").Options()
    targets, _ = tasks.load("lens").targets(store.objects)
    count = STEPS * options.train.batch_size
    order = np.random.default_rng(1).permutation(objects)[:count]
    rows = {"train": order, "val": np.sort(order[:4])}
    loop = quiet(train.Loop, "lens", options, store, rows, targets, "cpu")
    batch = ready_batch(store, options.train.batch_size, loop.fabric, loop.normalisation)
    optimiser = torch.optim.AdamW(loop.net.parameters(), lr=1e-6)

    def bare() -> None:
        loop.net.train()
        for _ in range(STEPS):
            optimiser.zero_grad()
            for _, loss in loop.net_of.objectives(loop.net, batch):
                loss.backward()
            optimiser.step()

    bound = "bare network, one batch in memory"
    return Case(lambda: quiet(loop.epoch), len(order), bare, count, bound, 4)


def prepare_infer(folder: Path, objects: int) -> None:
    """Write the store and train the network."""
    make_store(folder, objects)
    weights_of(folder, narrow=False)


def prepare_infer_narrow(folder: Path, objects: int) -> None:
    """Write the store and train the narrow network."""
    make_store(folder, objects)
    weights_of(folder, narrow=True)


def prepare_infer_gpu(folder: Path, objects: int) -> None:
    """Write the store and train the network, where there is a GPU."""
    if torch.cuda.is_available():
        prepare_infer(folder, objects)


def scoring(folder: Path, objects: int, narrow=False, device="cpu", batch=256, rounds=3) -> Case:
    """Return a shard scored to its file of rows, and the bare network of the same weights."""
    path, weights = make_store(folder, objects), weights_of(folder, narrow)
    out = folder / f"rows_{objects}.parquet"
    store, fabric = open_store(path), quiet(start, device)
    member = load_members("lens", [weights], store, fabric, batch, {})[0].forward
    step, count = (CPU_STEP, BARE) if device == "cpu" else (batch, 32 * batch)
    ready = ready_batch(store, min(step, objects), fabric, member.normalisation)

    @torch.no_grad()
    def bare() -> None:
        for _ in range(count // step):
            with fabric.autocast():
                member.net(ready)
        if device != "cpu":
            torch.cuda.synchronize()

    settings = Infer(batch_size=batch)

    def subject() -> None:
        quiet(infer, "lens", [path], weights, out, settings, device=device)

    return Case(subject, objects, bare, count, "bare network, one batch in memory", rounds)


def case_infer(folder: Path, objects: int) -> Case:
    """Return the lens finder as it is by default."""
    return scoring(folder, objects, rounds=4 if objects <= 1000 else 2)


def case_infer_narrow(folder: Path, objects: int) -> Case:
    """Return a lens finder that costs little."""
    return scoring(folder, objects, narrow=True, rounds=2 if objects <= 10_000 else 1)


def case_infer_gpu(folder: Path, objects: int) -> Case | str:
    """Return the lens finder on a GPU, from HDF5 to catalog rows."""
    if not torch.cuda.is_available():
        return "no GPU here"
    return scoring(folder, objects, device="cuda", batch=ON_GPU)
