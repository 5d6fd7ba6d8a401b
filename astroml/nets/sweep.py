"""Loss against learning rate: what ``astroml train --find-lr`` draws."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import torch

from astroml.errors import AstromlError
from astroml.progress import Progress
from astroml.provenance import replacing

FEWEST = 10
"""Steps below which a sweep says nothing."""


def losses_of(loop, rates: np.ndarray) -> np.ndarray:
    """Take a step at each rate; return the losses (n,) above the untrained network's.

    They end where the loss does: beyond the last rate it is not finite, or far above.

    Parameters
    ----------
    loop : Loop
        Of a training run that has not begun.
    rates : (k,) array
        Learning rates, rising.
    """
    losses: list[float] = []
    with Progress("find-lr", len(rates)) as progress:
        batches = itertools.chain.from_iterable(map(loop.views, itertools.count()))
        for rate, batch in zip(rates, batches):
            with torch.no_grad():
                # The averaged network is never updated here: it stays the untrained one.
                before = loop.total_loss([batch]) / len(batch["image"])
            total = sum(loss.item() for _, loss in loop.learn(batch, rate))
            progress.advance()
            if not math.isfinite(total) or total > before + 3 * abs(before):
                break
            losses.append(total - before)
    return np.array(losses)


def suggest(rates: np.ndarray, losses: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the rate at which the smoothed loss falls fastest, and the smoothed loss.

    Parameters
    ----------
    rates, losses : (n,) array
        Learning rate and loss of each step, rates rising; the loss is that above the untrained
        network's on the same batch, so that batches that happen to be hard do not show.
    """
    n = np.arange(len(losses))
    weight = np.exp(-0.5 * ((n[:, None] - n) * 12 / len(n)) ** 2)
    smooth = weight @ losses / weight.sum(1)
    fall = np.gradient(smooth, np.log(rates))
    return float(rates[fall.argmin()]), smooth


def draw(rates: np.ndarray, losses: np.ndarray, out: Path) -> float:
    """Draw the sweep to a PNG file and return the suggested rate."""
    from matplotlib.figure import Figure

    if len(losses) < FEWEST:
        raise AstromlError(
            f"the loss is not finite after {len(losses)} steps at the lowest rates; look at the "
            "pixels and the labels of the store"
        )
    rate, smooth = suggest(rates, losses)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.semilogx(rates, losses, color="0.7", label="loss of a batch")
    axes.semilogx(rates, smooth, label="smoothed")
    axes.axvline(rate, color="k", ls="--", label=f"falls fastest: {rate:.1e}")
    axes.set(xlabel="learning rate", ylabel="loss above the untrained network's")
    axes.legend()
    with replacing(out) as part:
        figure.savefig(part, format="png", dpi=120)
    return rate
