"""What is left of a cutout when the galaxy in its middle is taken away.

Arcs, streams and shells hide under the light of their host. A small network spends most of its
training on learning to look past that light; these two differences do it at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from astroml.nets.normalise import asinh, sinh

CORE = 6
"""Half side of the middle whose colour is the host's, px."""


def colour_contrast(image: Tensor) -> Tensor:
    """Take away from each band the host as the mean band shows it, in the host's own colour.

    Parameters
    ----------
    image : (n, band, y, x) tensor
        Stretched by ``Normalisation``, so that ``sinh`` of it is linear in flux.

    Returns
    -------
    (n, band, y, x) tensor
        Zero, but for noise, where the cutout has the colour of its middle; stretched again.
    """
    flux = sinh(image)
    mean = flux.mean(1, keepdim=True)
    y, x = image.shape[2] // 2, image.shape[3] // 2
    core, mean_core = (each[..., y - CORE : y + CORE, x - CORE : x + CORE] for each in (flux, mean))
    # Least squares: the share of each band in the mean; an empty middle has none.
    power = mean_core.square().sum((2, 3), keepdim=True)
    share = (core * mean_core).sum((2, 3), keepdim=True) / power.clamp(min=1.0)
    return asinh(flux - share * mean)


class RadialContrast(nn.Module):
    """Take away the mean of each ring of pixels around the middle.

    Parameters
    ----------
    size : int
        Side of a cutout, px.
    """

    def __init__(self, size: int):
        super().__init__()
        at = torch.arange(size) - (size - 1) / 2
        ring = torch.hypot(at[:, None], at).round().long().clamp(max=size // 2).flatten()
        self.register_buffer("ring", ring, persistent=False)  # (y * x,)
        member = nn.functional.one_hot(ring).float()
        self.register_buffer("member", member, persistent=False)  # (y * x, ring)

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the image, (n, band, y, x), less its profile; zero where it is not valid."""
        with torch.autocast(image.device.type, enabled=False):
            valid = valid.to(image.dtype)
            total = (image * valid).flatten(2) @ self.member  # (n, band, ring)
            profile = total / (valid.flatten(2) @ self.member).clamp(min=1.0)
            return (image - profile[..., self.ring].view_as(image)) * valid
