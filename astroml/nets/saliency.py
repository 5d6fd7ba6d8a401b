"""Where in the image the evidence lies: integrated gradients of one output of a network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from astroml.nets.contrast import RadialContrast

STEPS = 16
"""Points of the path from nothing to the image at which gradients are taken."""


def integrated_gradients(
    net: nn.Module, batch: dict[str, Tensor], output: str, steps: int = STEPS
) -> Tensor:
    """Attribute an output to the pixels (Sundararajan, Taly & Yan 2017, eq. 1).

    The path begins at the host alone, each ring of pixels around the middle at its mean: what is
    asked is not why there is a galaxy, but what else there is. The sum over a map is the output of
    the image less that of the host alone, but for the error of the steps.

    Parameters
    ----------
    net : nn.Module
        The network; it is used as in inference.
    batch : dict
        As ``make_ready`` returned it: ``image``, ``valid`` (n, band, y, x), and the rest.
    output : str
        Name of the output (n,), such as ``lens_logit``.
    steps : int
        Midpoints at which the path is sampled.

    Returns
    -------
    (n, y, x) tensor
        Evidence per pixel, bands added up; above 0 it speaks for, below 0 against.
    """
    image = batch["image"].detach().float()
    beyond = RadialContrast(image.shape[-1]).to(image.device)(image, batch["valid"])
    was_training = net.training
    net.eval()
    total = torch.zeros_like(image)
    for step in range(steps):
        seen = image - beyond * (1 - (step + 0.5) / steps)
        seen = seen.contiguous(memory_format=torch.channels_last).requires_grad_()
        with torch.enable_grad():
            value = net(batch | {"image": seen})[output].sum()
            (gradient,) = torch.autograd.grad(value, seen)
        total += gradient
    net.train(was_training)
    return (total * beyond / steps).sum(1)
