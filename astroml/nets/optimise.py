"""How training descends: one optimiser per part of a network, and a learning rate by the step."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import nn

from astroml.config import TrainOptions


def parts_of(net: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each part: as the network says, or all of them as ``net``."""
    if hasattr(net, "parts"):
        return {part: list(params) for part, params in net.parts().items()}
    return {"net": list(net.parameters())}


class Descent(NamedTuple):
    """How a part of a network descends, where it does not as all others do."""

    factor: float
    """Its learning rate, as a part of the others'."""
    betas: tuple[float, float]
    """Decay of the optimiser's moments."""


def optimisers_of(net: nn.Module, run: TrainOptions) -> dict[str, torch.optim.AdamW]:
    """Return the optimiser of each part, which descends as the network says or as all do."""
    told = net.descents() if hasattr(net, "descents") else {}
    parts = parts_of(net)
    return {part: adamw(params, run, *told.get(part, ())) for part, params in parts.items()}


def adamw(
    params: list[nn.Parameter],
    run: TrainOptions,
    factor: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
) -> torch.optim.AdamW:
    """Return the optimiser of one part; norms and offsets are not decayed."""
    groups = [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": run.weight_decay},
        {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group | {"factor": factor} for group in groups]
    return torch.optim.AdamW(groups, lr=run.lr * factor, betas=betas)


def schedule(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rate: a linear rise, then half a cosine down to zero."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / (steps - rise + 1)))
