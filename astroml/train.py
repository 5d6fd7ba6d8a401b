"""The one training loop: any task, one optimiser per part, best epoch by validation.

Every epoch draws its order and its views from the seed and its own number, and fresh objects come
from a stream that can begin anywhere: a run taken up after a kill goes on as if nothing happened.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from astroml import provenance, tasks
from astroml.config import Strict, TaskOptions, Tracker
from astroml.errors import AstromlError
from astroml.nets import checkpoint, sweep, weights
from astroml.nets.augment import random_view
from astroml.nets.average import Average
from astroml.nets.batches import make_ready, pinned, read_batches, to_device, woven
from astroml.nets.device import place, start
from astroml.nets.forward import Forward, gather
from astroml.nets.fresh import Fresh
from astroml.nets.normalise import fit
from astroml.nets.optimise import optimisers_of, parts_of, schedule
from astroml.nets.pieces import Pieces
from astroml.nets.seeds import mix_seed, of_member
from astroml.nets.several import add_up, agree, parts_of_batches, whole_batches
from astroml.nets.track import tracking
from astroml.nets.weights import number
from astroml.nets.zoo import load_encoder
from astroml.progress import Progress, brief
from astroml.store import Store, open_store
from astroml.survey import Survey

SWEEP = (1e-6, 1.0, 120)
"""Lowest and highest learning rate of ``find_lr``, and its steps."""

SHOWN = 10
"""Metrics of the validation split that are printed at the end; the card holds all."""

FEWEST = {"train": 8, "val": 4}
"""Labelled rows below which a split is refused."""


def train(
    task: str,
    settings: TaskOptions,
    store_paths: list[Path],
    out: Path,
    *,
    work: Path | None = None,
    device: str = "auto",
    sky: Strict | None = None,
    survey: Survey | None = None,
    member: int = 0,
    track: Tracker = "none",
) -> None:
    """Train a task's network and write its weights.

    Started by ``torchrun``, its processes work on it together, a GPU each.

    Parameters
    ----------
    task : str
        Name of the task.
    settings : TaskOptions
        The task's options.
    store_paths : list of Path
        Store: a folder of shards, or shards.
    out : Path
        Weights to write, ``.safetensors``; the card comes beside them.
    work : Path, optional
        Folder of the checkpoint, by default beside ``out``; gone when the weights are there.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    sky : Strict, optional
        The task's ``Sky``, of which fresh objects are drawn; its defaults.
    survey : Survey, optional
        As which survey they are seen; needed where ``train.fresh`` asks for any.
    member : int
        Number of the network in an ensemble; another one has other seeds.
    track : str
        ``none``, ``tensorboard`` or ``mlflow``; see ``nets.track``. A line of JSON per epoch is
        always written, to ``<out>.jsonl``.
    """
    settings = of_member(settings, member)
    run = settings.train
    store = open_store(list(store_paths))
    rows, targets = choose_rows(task, store, settings)
    fresh = Fresh(task, run, store, sky, survey) if run.fresh else None
    loop = Loop(task, settings, store, rows, targets, device, fresh)
    saved = Path(work or Path(out).with_suffix(".work")) / f"{task}.checkpoint"
    drawn = {"fresh": fresh.facts} if fresh else {}
    key = checkpoint.resume_key(task, settings, store, **drawn)
    if state := checkpoint.load(saved, key):
        loop.load_state(state)
        print(f"resumed after epoch {len(loop.history)} of {run.epochs}")
    first, told = loop.fabric.is_global_zero, settings.model_dump(mode="json")
    with (
        Progress("train", run.epochs * loop.steps, len(loop.history) * loop.steps) as progress,
        tracking(track if first else "none", Path(out), loop.history, told) as tell,
    ):
        while len(loop.history) < run.epochs and not loop.stalled():
            line = loop.epoch(progress.advance)
            progress.line(line)
            if first:
                checkpoint.save(saved, key, loop.state())
                tell(loop.history)
    if fresh:
        fresh.close()
    if not first:
        return
    card = loop.finish()
    card["provenance"] = provenance.stamp("train", settings, store.shards, resume_key=key, **drawn)
    weights.save(Path(out), loop.best, card)
    shown = dict(list(card["metrics"].items())[:SHOWN])
    print(f"wrote {out}: epoch {card['best_epoch']}, " + brief(shown))
    saved.unlink(missing_ok=True)
    if not any(saved.parent.iterdir()):
        saved.parent.rmdir()


class Loop:
    """A training run: network, averaged network, optimisers, history.

    ``epoch`` is the loop itself; the rest is what it starts from and what becomes of it.
    """

    def __init__(
        self,
        task: str,
        settings: TaskOptions,
        store: Store,
        rows: dict[str, np.ndarray],
        targets: dict[str, np.ndarray],
        where: str,
        fresh: Fresh | None = None,
    ):
        self.name, self.settings, self.run = task, settings, settings.train
        self.task, self.net_of = tasks.load(task), tasks.load(task, "net")
        self.store, self.rows, self.targets, self.fresh = store, rows, targets, fresh
        self.turns = getattr(self.task, "TURNS", {})
        planes = tuple(name for name in getattr(self.task, "PLANES", ()) if store.has(name))
        self.planes = planes
        self.fabric, self.pieces = start(where, together=True), Pieces()
        self.normalisation = fit(store, rows["train"])
        torch.manual_seed(self.run.seed)
        net = self.net_of.build(settings, store.header.bands, store.header.size)
        if self.run.encoder:
            load_encoder(net, Path(self.run.encoder))
        net = place(self.fabric, net)
        self.average = Average(net, self.run.ema)
        self.parts = parts_of(net)
        self.optimisers = optimisers_of(net, self.run)
        self.net, *_ = self.fabric.setup(net, *self.optimisers.values())
        stored = 0 if self.run.fresh_only else math.ceil(len(rows["train"]) / self.run.batch_size)
        self.sources = stored, fresh.batches if fresh else 0
        self.steps = sum(self.sources)
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_loss = 0, math.inf
        size = sum(values.numel() for values in net.parameters())
        counts = ", ".join(f"{len(rows[split])} {split}" for split in rows)
        drawn = f", {self.run.fresh} fresh per epoch" if fresh else ""
        print(f"objects: {counts}{drawn}; network: {size} parameters")

    def read(self, rows: np.ndarray, size: int) -> Iterator[dict]:
        """Yield the batches of some rows, with planes of labels where they can be told."""
        batches = read_batches(self.store, rows, size, self.targets, self.planes)
        marked = None if self.planes else getattr(self.task, "marked", None)
        if marked:
            told = self.store.header.size, self.store.header.pixel_scale
            batches = (raw | marked(raw, *told) for raw in batches)
        return pinned(self.fabric, batches)

    def epoch(self, tick: Callable[[], None] = lambda: None) -> str:
        """Train for one epoch, validate the averaged weights, and say how it went."""
        began, number = time.monotonic(), len(self.history)
        torch.manual_seed(mix_seed(self.run.seed, number) + self.fabric.global_rank)
        self.net.train()
        totals: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        objects = 0
        for step, batch in enumerate(self.views(number), start=number * self.steps):
            factor = schedule(step, self.run.epochs * self.steps, self.run.warmup)
            for part, loss in self.learn(batch, self.run.lr * factor):
                totals[part] = totals.get(part, 0.0) + loss * len(batch["image"])
                counts[part] = counts.get(part, 0) + len(batch["image"])
            objects += len(batch["image"])
            self.average.update(self.net.module, step)
            tick()
        agree(self.fabric, totals.values())
        losses = {part: float(total) / counts[part] for part, total in totals.items()}
        spent = time.monotonic() - began
        val = self.validate()
        if not math.isfinite(val + sum(losses.values())):
            raise AstromlError(
                f"task {self.name}: the loss is not finite in epoch {number + 1}; lower train.lr, "
                f"now {self.run.lr:g} (see train --find-lr)"
            )
        if val < self.best_loss:
            self.best_epoch, self.best_loss = number + 1, val
            state = self.average.net.state_dict()
            self.best = {name: values.detach().cpu().clone() for name, values in state.items()}
        self.history.append({"train_" + part: loss for part, loss in losses.items()})
        self.history[-1] |= {"val": val, "lr": self.run.lr * factor} | self.watch()
        return (
            f"epoch {number + 1}/{self.run.epochs}: {brief(self.history[-1])}, "
            f"{objects * self.fabric.world_size / spent:.0f} objects/s"
        )

    def views(self, epoch: int) -> Iterator[dict[str, Tensor]]:
        """Yield this epoch's batches in its order, each cutout in a new view.

        Those of the train split and those of the fresh sky take turns.
        """
        draw = torch.Generator().manual_seed(mix_seed(self.run.seed, epoch, 1))
        order = self.rows["train"][torch.randperm(len(self.rows["train"]), generator=draw).numpy()]
        share = self.fabric.global_rank, self.fabric.world_size
        augment = partial(random_view, shift=self.run.shift, draw=draw, share=share)
        stored, fresh = self.sources
        order, size = parts_of_batches(order, self.run.batch_size, self.fabric)
        old = self.read(order if stored else order[:0], size)
        new = self.fresh.over(epoch, self.fabric) if self.fresh else iter(())
        for raw in woven(old, stored, new, fresh):
            ready = to_device(self.fabric, raw)
            yield make_ready(ready, self.normalisation, augment, self.turns)

    def learn(self, batch: dict[str, Tensor], lr: float) -> list[tuple[str, Tensor]]:
        """Take a step down the loss of each part; return these losses."""
        objectives = partial(self.net_of.objectives, self.net)
        return self.pieces.learn(objectives, batch, partial(self.descend, lr=lr))

    def descend(self, part: str, losses: Iterable[Tensor], lr: float) -> Tensor:
        """Take one step down a part's loss, the sum of those given; return it."""
        optimiser = self.optimisers[part]
        for group in optimiser.param_groups:
            group["lr"] = lr * group["factor"]
        self.net.zero_grad()
        total = torch.zeros((), device=self.fabric.device)
        for loss in losses:
            self.fabric.backward(loss)
            total += loss.detach()
        agree(self.fabric, [each.grad for each in self.parts[part] if each.grad is not None])
        torch.nn.utils.clip_grad_norm_(self.parts[part], self.run.clip)
        optimiser.step()
        return total

    @torch.no_grad()
    def validate(self) -> float:
        """Return the averaged weights' mean loss over the validation split, parts added up."""
        agree(self.fabric, [one for one in self.average.net.buffers() if one.is_floating_point()])
        total, size = 0.0, self.run.batch_size
        for raw in self.read(whole_batches(self.rows["val"], size, self.fabric), size):
            batch = make_ready(to_device(self.fabric, raw), self.normalisation)
            total += self.pieces.run(self.total_loss, batch)
        return add_up(self.fabric, total) / len(self.rows["val"])

    def total_loss(self, pieces: list[dict[str, Tensor]]) -> float:
        """Return the averaged weights' loss, summed over the cutouts of some batches."""
        total = 0.0
        for batch in pieces:
            with self.fabric.autocast():
                losses = [loss for _, loss in self.net_of.objectives(self.average.net, batch)]
            total += float(sum(losses)) * len(batch["image"])
        return total

    def watch(self) -> dict[str, float]:
        """Return what a task wants to see of its validation split; it decides nothing."""
        look = getattr(self.net_of, "watch", lambda *_: {})
        raws = self.read(self.rows["val"], self.run.batch_size)
        batches = (make_ready(to_device(self.fabric, raw), self.normalisation) for raw in raws)
        with self.fabric.autocast():
            return look(self.average.net, batches)

    def stalled(self) -> bool:
        """Say whether the validation loss has not fallen for ``patience`` epochs."""
        return len(self.history) - self.best_epoch >= self.run.patience

    def finish(self) -> dict:
        """Calibrate and measure the best weights on validation; return their card."""
        net, size = self.average.net, self.run.batch_size
        net.load_state_dict(self.best)
        views = getattr(self.settings, "views", 1)
        forward = Forward(self.fabric, net, self.normalisation, size, views, self.turns)
        output = forward.over(self.store, self.rows["val"])
        output = gather(output, without=getattr(self.task, "MAPS", {}).values())
        truth = {name: values[self.rows["val"]] for name, values in self.targets.items()}
        objects = {name: values[self.rows["val"]] for name, values in self.store.objects.items()}
        del output["no_data"]
        header = self.store.header
        output |= {"pixel_scale": header.pixel_scale, "size": header.size, "options": self.settings}
        calibration = self.task.calibrate(output, truth)
        rows = self.task.rows(output | {"calibration": calibration}, objects)
        metrics = {"val_loss": (self.best_loss, None)} | self.task.score(objects | truth, rows)
        return weights.describe(
            self.name,
            self.settings,
            header,
            normalisation=weights.normalisation_facts(self.normalisation),
            calibration=calibration,
            metrics={
                name: {"value": number(value), "error": number(error)}
                for name, (value, error) in metrics.items()
                if not tasks.BIN.fullmatch(name)
            },
            seed=self.run.seed,
            objects={split: len(rows) for split, rows in self.rows.items()},
            best_epoch=self.best_epoch,
            history=self.history,
        )

    def state(self) -> dict:
        """Return all that the next epoch starts from."""
        return {
            "net": self.net.module.state_dict(),
            "average": self.average.net.state_dict(),
            "optimisers": {part: each.state_dict() for part, each in self.optimisers.items()},
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
        }

    def load_state(self, state: dict) -> None:
        """Go on from what ``state`` returned."""
        self.net.module.load_state_dict(state["net"])
        self.average.net.load_state_dict(state["average"])
        for part, each in self.optimisers.items():
            each.load_state_dict(state["optimisers"][part])
        self.history, self.best = state["history"], state["best"]
        self.best_epoch, self.best_loss = state["best_epoch"], state["best_loss"]


def choose_rows(
    task: str, store: Store, settings: TaskOptions
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the labelled rows of the train and validation splits, and the targets of all rows.

    With fresh objects alone, the train split gives the normalisation, for which it needs no labels.
    """
    module, where = tasks.load(task), store.shards[0].parent
    if not len(store):
        raise AstromlError(f"{where}: the store is empty; ingest some objects first")
    targets, labelled = module.targets(store.objects)
    if not labelled.any():
        raise AstromlError(
            f"{where}: no row is labelled for task {task}; add its label column to the manifest, "
            "or train on a simulated sky (train_on: simulated)"
        )
    rows = {}
    for split, fewest in FEWEST.items():
        unseen = settings.train.fresh_only and split == "train"
        rows[split] = np.flatnonzero((labelled | unseen) & (store.objects["split"] == split))
        if len(rows[split]) < fewest:
            raise AstromlError(
                f"{where}: {len(rows[split])} labelled rows in split {split}, expected {fewest} or "
                "more; add objects, or use smaller sky cells (splits: nside)"
            )
        if hasattr(module, "check") and not unseen:
            labels = {name: values[rows[split]] for name, values in targets.items()}
            module.check(labels, split, settings)
    return rows, targets


def find_lr(
    task: str,
    settings: TaskOptions,
    store_paths: list[Path],
    out: Path,
    *,
    device: str = "auto",
    sky: Strict | None = None,
    survey: Survey | None = None,
) -> None:
    """Draw loss against learning rate, raised step by step from 1e-6 to 1, and suggest a rate.

    Parameters
    ----------
    task, settings, store_paths, device, sky, survey
        As for ``train``.
    out : Path
        Figure to write, ``.png``.
    """
    store, run = open_store(list(store_paths)), settings.train
    rows, targets = choose_rows(task, store, settings)
    fresh = Fresh(task, run, store, sky, survey) if run.fresh else None
    loop = Loop(task, settings, store, rows, targets, device, fresh)
    rates = np.geomspace(*SWEEP)
    losses = sweep.losses_of(loop, rates)
    rate = sweep.draw(rates[: len(losses)], losses, Path(out))
    print(f"suggested learning rate: {rate:.1e}; wrote {out}")
