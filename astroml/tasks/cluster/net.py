"""The network of galaxy clusters: where their centres are, how far, and how rich.

A detector of centres (Zhou et al. 2019, CenterNet): a heat map over the tile says where a centre
is, and at its peaks dense layers say p(z) and the richness. It is convolutional throughout and runs
on tiles of any size. It sees colours as bins, which it can count; see ``nets.colours``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, log_softmax, max_pool2d, pad

from astroml.nets.colours import ColourBins
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
from astroml.nets.pyramid import Pyramid, convolution
from astroml.tasks.cluster import Options
from astroml.tasks.cluster.kinds import SLOTS

STRIDE = 4
"""Pixels along a cell of the heat map."""

PLANES = (2, 3, 4, 6)
"""Channels of the levels of the pyramid, of stride 4 to 32, in widths."""

LEVELS = len(PLANES)

BOXES = ((2, 1), (8, 1), (16, 1), (16, 3), (16, 5), (16, 9))
"""Boxes in which the dense layers see what there is: side in apertures of two pixels, and how many
of these along an axis. The largest is 300" wide with pixels of 1.048"."""

SORTS = 16
"""Sorts of apertures, by colours and brightness together, that the network learns to count."""

COUNTED = 4.0
"""Weight of an aperture in the logarithm of a box's sum."""

SIGMA = 2.0
"""Width of the Gaussians in the heat map's truth, cells: 8" with pixels of 1.048"."""

RARE = -4.0
"""Logit of a cell before anything is learnt."""

HIDDEN = 128
"""Units of the dense layers."""

TYPICAL, SPREAD = math.log(30.0), 0.8
"""Mean and width of ln richness before anything is learnt."""

WIDEST = 4.0
"""Largest |ln variance| of ln richness, in units of ``SPREAD``: sigma is kept from 0.11 to 6."""

SMOOTH = 0.7
"""Width of the true p(z), bins."""

AROUND = 0.25
"""Weight of the cells around a centre against the centre's own, where z and richness are learnt:
what a peak says must not hang on its being in the right cell."""

WEIGHTS = {"heat": 0.1, "z": 0.1, "richness": 0.05, "offset": 0.02}
"""Weights of the losses. Small, so that the loop clips no gradient but a rare outlier's: clipped
each time, the largest part would set the pace of all."""

DROP_BAND = 0.02
"""Chance that training hides a band of a tile, so that one may be missing."""


class ClusterFinder(nn.Module):
    """A pyramid with a heat map at stride 4, and dense layers at its peaks.

    Parameters
    ----------
    options : Options
        Width, blocks, dropout, range and number of the redshift bins.
    bands : tuple of str
        Bands of the image.
    """

    def __init__(self, options: Options, bands: tuple[str, ...]):
        super().__init__()
        self.z_range, self.z_bins = tuple(options.z_range), options.z_bins
        width = options.width
        self.colours = ColourBins(bands)
        self.stem = convolution(len(bands) + 1, width, 5, 2)
        self.spectrum = convolution(self.colours.channels, width, 1)
        self.sorts = convolution(self.colours.channels, SORTS, 1)
        planes = tuple(width * times for times in PLANES)
        self.pyramid = Pyramid(width, planes, options.blocks, 2 * width)
        self.heat = nn.Conv2d(2 * width, 1, 1)
        nn.init.constant_(self.heat.bias, RARE)
        self.offset = nn.Conv2d(2 * width, 2, 1)
        features = self.pyramid.features + len(BOXES) * (self.colours.channels + SORTS)
        # Each its own: the gradients of a Gaussian's errors would drown those of the classes.
        self.redshift = dense(features, options.z_bins, options.dropout)
        self.richness = dense(features, 2, options.dropout)

    def forward(self, batch: dict[str, Tensor], dense: bool = False) -> dict[str, Tensor]:
        """Map a batch to the peaks of each tile, k of them, highest first.

        Parameters
        ----------
        batch : dict
            ``image``, ``valid`` (n, band, y, x); ``scale`` (n, band); ``ebv`` (n,).
        dense : bool
            Return ``maps`` instead.

        Returns
        -------
        dict
            ``peak_logit`` (n, k), ``NOWHERE`` where a tile has fewer; ``peak_x``, ``peak_y``
            (n, k), px from the tile's centre; ``z_logits`` (n, k, bin); ``richness_mean`` and
            ``richness_logvar`` (n, k), mean and ln variance of ln richness.
        """
        maps = self.maps(batch)
        if dense:
            return maps
        high, wide = batch["image"].shape[-2:]
        peaks = find_peaks(maps["heat"], peaks_of(wide))
        place = place_of(peaks.cell, maps["offset"], STRIDE)
        middle = torch.tensor([(wide - 1) / 2, (high - 1) / 2], device=place.device)
        x, y = torch.where(peaks.logit[..., None] > NOWHERE, place - middle, 0.0).unbind(2)
        said = self.describe(maps, middle + torch.stack([x, y], 2))
        return {"peak_logit": peaks.logit, "peak_x": x, "peak_y": y, **said}

    def maps(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the dense maps of a batch.

        Returns
        -------
        dict
            ``heat`` (n, y / 4, x / 4), logits, ``NOWHERE`` where no pixel is valid; ``offset``
            (n, 2, y / 4, x / 4), x and y from a cell's centre to that of the cluster, cells; and
            what ``describe`` looks at, ``level_0`` and so on, (n, channel, y', x').
        """
        image, valid = padded(batch["image"], batch["valid"], 2**LEVELS * 2)
        if self.training:
            shown = some_bands(valid)
            image, valid = image * shown, valid & shown
        bins = self.colours(image, valid, batch["scale"], batch["ebv"])
        there = valid.any(1, keepdim=True)
        seen = torch.cat([image / 3, there.to(image.dtype)], 1)
        seen = seen.contiguous(memory_format=torch.channels_last)
        x = torch.relu(self.stem(seen) + self.spectrum(bins))
        levels = self.pyramid(x)
        cells = there.to(image.dtype)[:, 0]
        cells = max_pool2d(cells, STRIDE) > 0
        with torch.autocast(x.device.type, enabled=False):
            fine = levels[0].float()
            heat = torch.where(cells, self.heat(fine)[:, 0].clamp(min=NOWHERE + 1), NOWHERE)
            maps = {"heat": heat, "offset": self.offset(fine)}
            # Red in both colours and no fainter than members are: bins of one colour do not tell.
            counted = histograms(bins), histograms(torch.relu(self.sorts(bins)).float())
            levels += [torch.cat(both, 1) for both in zip(*counted)]
        return maps | {f"level_{at}": level for at, level in enumerate(levels)}

    def describe(self, maps: dict[str, Tensor], place: Tensor) -> dict[str, Tensor]:
        """Say what clusters at some places are.

        Parameters
        ----------
        maps : dict
            Of ``maps``.
        place : (n, k, 2) tensor
            Pixel x and y.

        Returns
        -------
        dict
            ``z_logits``, ``richness_mean``, ``richness_logvar``; see ``forward``.
        """
        levels = [maps[f"level_{at}"] for at in range(LEVELS + len(BOXES))]
        high, wide = (STRIDE * side for side in levels[0].shape[-2:])
        part = (place + 0.5) / torch.tensor([wide, high], device=place.device)
        with torch.autocast(place.device.type, enabled=False):
            seen = self.pyramid.at(levels, part)
            z_logits = self.redshift(seen)
            mean, raw = self.richness(seen).unbind(2)
            logvar = WIDEST * torch.tanh(raw / WIDEST) + 2 * math.log(SPREAD)
        return {
            "z_logits": z_logits,
            "richness_mean": TYPICAL + SPREAD * mean,
            "richness_logvar": logvar,
        }


def dense(inside: int, outside: int, dropout: float) -> nn.Module:
    """Return two hidden layers between so many numbers in and out."""
    return nn.Sequential(
        nn.Linear(inside, HIDDEN),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(HIDDEN, outside),
    )


def peaks_of(side: int) -> int:
    """Return how many peaks are kept of a tile of some side, px."""
    return max(8, (side // 40) ** 2)


def histograms(bins: Tensor) -> list[Tensor]:
    """Return what is counted (n, channel, y, x), summed over boxes of ``BOXES``, as logarithms.

    What a dense layer needs most, the number of galaxies of each colour around a place, it would
    otherwise have to be sent through all layers of the pyramid, which learn that slowly.
    """
    found, mean, size = [], bins, 1
    for side, boxes in BOXES:
        # Each from the one before: sides are multiples, and there is less to sum.
        mean, size = avg_pool2d(mean, side // size) if side > size else mean, side
        box = mean
        if boxes > 1:
            box = avg_pool2d(mean, boxes, 1, boxes // 2, count_include_pad=False)
        found.append(torch.log1p(COUNTED * box.clamp(min=0) * side * boxes))
    return found


def padded(image: Tensor, valid: Tensor, multiple: int) -> tuple[Tensor, Tensor]:
    """Fill tiles (n, band, y, x) up at their ends to multiples of some pixels, not valid there."""
    edge = (0, -image.shape[-1] % multiple, 0, -image.shape[-2] % multiple)
    return (pad(image, edge), pad(valid, edge)) if any(edge) else (image, valid)


def some_bands(valid: Tensor) -> Tensor:
    """Return which bands (n, band, 1, 1) training shows: now and then not all, never none."""
    shown = torch.rand(valid.shape[:2], device=valid.device) >= DROP_BAND
    shown = torch.where(shown.any(1, keepdim=True), shown, True)
    return shown[..., None, None]


def build(options: Options, bands: tuple[str, ...], size: int) -> nn.Module:
    """Build the network for some bands; tiles may have any side, ``size`` or another."""
    return ClusterFinder(options, bands)


def objectives(net: nn.Module, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the one loss: of the heat map, and at the true centres of z, richness and offset.

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
    said = net.describe(maps, in_pixels(place, STRIDE).flatten(1, 2))
    said = {name: one.unflatten(1, place.shape[1:3]) for name, one in said.items()}
    losses = {}
    low, high = net.z_range
    z = batch["cluster_z"].float()[:, :, None]
    # A centre beyond the range would teach the last bin what is not so.
    known = torch.isfinite(z) & (z >= low) & (z <= high)
    bin_of = (torch.where(known, z, low) - low) / (high - low) * net.z_bins
    bins = torch.arange(net.z_bins, device=z.device) + 0.5
    wanted = torch.softmax(-0.5 * ((bins - bin_of[..., None]) / SMOOTH).square(), dim=3)
    entropy = -(wanted * log_softmax(said["z_logits"], dim=3)).sum(3)
    losses["z"] = _mean(entropy, weight * known)
    richness = batch["cluster_richness"].float()[:, :, None]
    known = torch.isfinite(richness) & (richness > 0)
    value = torch.log(torch.where(known, richness, 1.0))
    logvar = said["richness_logvar"]
    away = (value - said["richness_mean"]).square() * torch.exp(-logvar)
    surely = torch.exp(0.5 * logvar).detach()
    losses["richness"] = _mean(0.5 * (logvar + away) * surely, weight * known)
    cell = (place[..., 1] * shape[1] + place[..., 0]).long().flatten(1)
    told = maps["offset"].flatten(2).gather(2, cell[:, None].expand(-1, 2, -1))
    told = told.mT.unflatten(1, place.shape[1:3])
    losses["offset"] = _mean((told - offset).abs().sum(3), weight)
    return losses


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
