"""What a model of galaxies could not reproduce, as a map on the cutout that it was shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample

from astroml.nets.autoencoder import variance
from astroml.nets.canonical import REACH, alike, axes, canonical, centre, total_flux
from astroml.nets.normalise import sinh


@torch.no_grad()
def residual_map(net: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return the residual of the autoencoder's likeness on the cutouts.

    Parameters
    ----------
    net : nn.Module
        Of the anomaly search: ``ae`` and ``options``.
    batch : dict
        As ``make_ready`` returned it.

    Returns
    -------
    (n, y, x) tensor
        asinh of the mean over the bands in units of the expected error of a pixel of the view,
        above 0 where there is more light than in the likeness; 0 where the view does not reach, or
        is not valid.
    """
    same = alike(canonical(batch))
    mean = net.ae.decode(net.ae.encode(same)[0]).mean
    away = (same.image - mean) / variance(same, mean, net.options.floor).sqrt()
    return laid_back(batch, torch.asinh((away * same.valid).mean(1)))


def laid_back(batch: dict[str, Tensor], view: Tensor) -> Tensor:
    """Return a map of the canonical view (n, v, v) as a map of the cutouts (n, y, x)."""
    light = light_of(batch)
    frame, middle = axes(light), centre(light)
    # The view is laid on the cutout by p = REACH frame^T v + offset; this is the way back.
    back = torch.linalg.inv(REACH * frame.mT)
    offset = back @ (middle[..., None] * (2 / light.shape[-1]))
    theta = torch.cat([back, -offset], 2)
    grid = affine_grid(theta, [len(light), 1, *light.shape[1:]], align_corners=False)
    return grid_sample(view[:, None], grid, align_corners=False)[:, 0]


def light_of(batch: dict[str, Tensor]) -> Tensor:
    """Return the light (n, y, x) by which ``canonical`` lays a galaxy, in shares of its flux."""
    scale = batch["scale"].float()
    flux = sinh(batch["image"].float().clamp(-30, 30)) * batch["valid"] * scale[..., None, None]
    sigma = batch.get("sigma", scale).float()
    sigma = torch.where(torch.isfinite(sigma) & (sigma > 0), sigma, scale)
    return (flux / total_flux(flux, sigma)[:, None, None, None]).sum(1)
