"""Moving-average weights: what is validated, kept and shipped."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """The exponential moving average of a network's weights.

    ``average <- d * average + (1 - d) * weights`` after each step, where ``d`` rises from 0.1 to
    ``decay``, so that the first, useless weights are soon forgotten.

    Parameters
    ----------
    net : nn.Module
        The network; it is copied.
    decay : float
        Decay per step.
    """

    def __init__(self, net: nn.Module, decay: float):
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """Take in the weights after ``step`` steps, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), 1 - decay)
        for mine, theirs in zip(self.net.buffers(), net.buffers()):
            mine.copy_(theirs)
