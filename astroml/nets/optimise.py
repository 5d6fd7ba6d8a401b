"""How training descends: one optimiser per part of a network, and a learning rate by the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from astroml.config import TrainOptions


def parts_of(net: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the parameters of each part: as the network says, or all of them as ``net``."""
    if hasattr(net, "parts"):
        return {part: list(params) for part, params in net.parts().items()}
    return {"net": list(net.parameters())}


def adamw(params: list[nn.Parameter], run: TrainOptions) -> torch.optim.AdamW:
    """Return the optimiser of one part; norms and offsets are not decayed."""
    groups = [
        {"params": [p for p in params if p.ndim > 1], "weight_decay": run.weight_decay},
        {"params": [p for p in params if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=run.lr)


def schedule(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rate: a linear rise, then half a cosine down to zero."""
    rise = max(1, round(warmup * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise + 1) / (steps - rise + 1)))
