"""The network of galaxy clusters, and what it is taught; see ``nets.finder``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from astroml.nets.finder import STRIDE, ClusterFinder, sources_of
from astroml.nets.peaks import (
    NOWHERE,
    Centres,
    centres_of,
    find_peaks,
    focal_loss,
    in_cells,
    in_pixels,
    place_of,
    splat,
)
from astroml.tasks.cluster import Options
from astroml.tasks.cluster.kinds import SLOTS
from astroml.tasks.cluster.match import mpc_per_arcsec

DISTANCES = 256
"""Redshifts at which the distance is tabulated."""

SMOOTH = 0.7
"""Width of the true p(z), bins."""

AROUND = 0.25
"""Weight of the cells around a centre against the centre's own, where z and richness are learnt:
what a peak says must not hang on its being in the right cell."""

WEIGHTS = {"heat": 0.1, "z": 0.1, "richness": 0.05, "offset": 0.02, "belief": 0.1}
"""Weights of the losses. Small, so that the loop clips no gradient but a rare outlier's: clipped
each time, the largest part would set the pace of all."""

CANDIDATES = 6
"""Peaks of a tile on which belief is learnt."""

NEAR = 10.0
"""Distance, px, from a true centre within which a peak is right."""

UNSURE_Z = 0.01
"""Error over 1 + z of the redshifts at which the richness is learnt, as those it is told at."""

MIDDLE = 4
"""Which of the cells around a centre is its own; see ``_places``."""

SIGMA = 2.0
"""Width of the Gaussians in the heat map's truth, cells: 8" with pixels of 1.048"."""


def build(options: Options, bands: tuple[str, ...], size: int) -> nn.Module:
    """Build the network for some bands; tiles may have any side, ``size`` or another."""
    mpc = mpc_per_arcsec(np.linspace(*options.z_range, DISTANCES))
    return ClusterFinder(
        bands,
        options.z_range,
        options.z_bins,
        mpc,
        options.width,
        options.blocks,
        options.dropout,
    )


def objectives(net: nn.Module, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the one loss: of the heat map, of z, richness, offset at true centres, of belief.

    Parameters
    ----------
    net : nn.Module
        What ``build`` made.
    batch : dict
        As in ``ClusterFinder.forward``, and ``truth`` (n, y, x) uint8, 1 + k at the centre of
        cluster k; ``cluster_z``, ``cluster_richness`` (n, slot), NaN where there is none. Without
        ``truth`` a tile counts as one without clusters.
    """
    maps = net(batch, dense=True)
    truth = batch.get("truth")
    if truth is None:
        truth = torch.zeros_like(batch["valid"][:, 0], dtype=torch.uint8)
    centres = centres_of(truth, SLOTS)
    heat = splat(centres, STRIDE, maps["heat"].shape[1:], SIGMA)
    losses = value_losses(net_of(net), maps, centres, batch)
    losses["heat"] = focal_loss(maps["heat"], heat, maps["heat"] > NOWHERE)
    losses["belief"] = belief_loss(net_of(net), maps, centres, batch)
    yield "net", sum(WEIGHTS[name] * value for name, value in losses.items())


def net_of(net: nn.Module) -> ClusterFinder:
    """Return the network inside the engine's wrapping."""
    return getattr(net, "module", net)


def value_losses(
    net: ClusterFinder, maps: dict[str, Tensor], centres: Centres, batch: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return the losses of ``z``, ``richness`` and ``offset``: means over the true centres.

    z is a class (cross entropy with a Gaussian a little narrower than a bin). ln richness is
    normally distributed with the mean and variance that the network claims, and each cluster weighs
    as its claimed sigma, or the surest would teach alone (Seitzer et al. 2022, eq. 5, beta 0.5). A
    value without a label counts nothing.
    """
    shape = maps["heat"].shape[1:]
    place, weight, offset = _places(centres, shape)
    losses = {"offset": _offset_loss(maps["offset"], place, offset, weight)}
    tile, slot = centres.there.nonzero(as_tuple=True)
    place, weight = in_pixels(place[tile, slot], STRIDE), weight[tile, slot]  # (m, 9, 2), (m, 9)
    z = batch["cluster_z"].float()[tile, slot]
    low, high = net.z_range
    # A centre beyond the range would teach the last bin what is not so.
    known = torch.isfinite(z) & (z >= low) & (z <= high)
    z_logits = net.tell_z(maps, sources_of(maps).of(tile), place, tile)
    bin_of = (torch.where(known, z, low) - low) / (high - low) * net.z_bins
    bins = torch.arange(net.z_bins, device=z.device) + 0.5
    wanted = torch.softmax(-0.5 * ((bins - bin_of[:, None]) / SMOOTH).square(), dim=1)[:, None]
    entropy = -(wanted * log_softmax(z_logits, dim=2)).sum(2)
    losses["z"] = _mean(entropy, weight * known[:, None])
    # Counted at the centre's own cell, at a redshift as wrong as will be told.
    told = torch.where(known, z, net.summit(z_logits[:, MIDDLE]))
    if net.training:
        told = (told + UNSURE_Z * (1 + told) * torch.randn_like(told)).clamp(low, high)
    here = place[:, MIDDLE : MIDDLE + 1]
    counted = net.count(maps, here, told[:, None], batch["pixel_scale"], tile)
    mean, logvar = (one[:, 0] for one in net.tell_richness(counted))
    richness = batch["cluster_richness"].float()[tile, slot]
    known = torch.isfinite(richness) & (richness > 0)
    value = torch.log(torch.where(known, richness, 1.0))
    away = (value - mean).square() * torch.exp(-logvar)
    surely = torch.exp(0.5 * logvar).detach()
    losses["richness"] = _mean(0.5 * (logvar + away) * surely, known.float())
    return losses


def belief_loss(net: ClusterFinder, maps: dict, centres: Centres, batch: dict) -> Tensor:
    """Return the cross entropy of the highest peaks being clusters: near a true centre."""
    with torch.no_grad():
        peaks = find_peaks(maps["heat"], CANDIDATES)
        place = place_of(peaks.cell, maps["offset"], STRIDE)
        z_logits = net.tell_z(maps, sources_of(maps), place)
        away = (place[:, :, None] - centres.place[:, None]).square().sum(3).sqrt()
        right = ((away < NEAR) & centres.there[:, None]).any(2)
    counted = net.count(maps, place, net.summit(z_logits), batch["pixel_scale"])
    logit = net.believed(peaks.logit, z_logits, counted)
    each = binary_cross_entropy_with_logits(logit, right.float(), reduction="none")
    return _mean(each, (peaks.logit > NOWHERE).float())


def _offset_loss(map_: Tensor, place: Tensor, offset: Tensor, weight: Tensor) -> Tensor:
    """Return the mean distance of offsets told from the true ones, cells."""
    cell = (place[..., 1] * map_.shape[-1] + place[..., 0]).long().flatten(1)
    told = map_.flatten(2).gather(2, cell[:, None].expand(-1, 2, -1))
    told = told.mT.unflatten(1, place.shape[1:3])
    return _mean((told - offset).abs().sum(3), weight)


def _places(centres: Centres, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells in which values are learnt: those of the centres, and the eight around each.

    Returns
    -------
    place : (n, slot, 9, 2) tensor
        Cell x and y, whole numbers.
    weight : (n, slot, 9) tensor
        0 where there is no centre, or the cell is off the map.
    offset : (n, slot, 9, 2) tensor
        From the cell's centre to the true one, cells.
    """
    exact = in_cells(centres.place, STRIDE)[:, :, None]
    step = torch.tensor([-1.0, 0.0, 1.0], device=exact.device)
    steps = torch.cartesian_prod(step, step)  # (9, 2)
    place = exact.round() + steps
    limit = torch.tensor([shape[1] - 1, shape[0] - 1], device=place.device)
    inside = ((place >= 0) & (place <= limit)).all(3)
    place = torch.minimum(place.clamp(min=0), limit)
    weight = torch.where((steps == 0).all(1), 1.0, AROUND)
    return place, weight * inside * centres.there[..., None], exact - place


def _mean(each: Tensor, weight: Tensor) -> Tensor:
    """Return a weighted mean; 0 where nothing weighs."""
    return (each * weight).sum() / weight.sum().clamp(min=1)
