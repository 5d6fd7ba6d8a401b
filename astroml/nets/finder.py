"""A network that finds clusters of galaxies: where their centres are, how far, and how rich.

A detector of centres (Zhou et al. 2019, CenterNet): a fully convolutional heat map over the tile
says where a centre may be. At its peaks dense layers say p(z), the richness and how much to believe
that there is a cluster, from the features there and from the list of sources around; see ``crowd``.
It runs on tiles of any size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad

from astroml.nets.colours import ColourBins
from astroml.nets.crowd import Crowd, seen_cells
from astroml.nets.peaks import NOWHERE, find_peaks, place_of
from astroml.nets.pyramid import Pyramid, convolution
from astroml.nets.sources import SourceFinder, Sources

STRIDE = 4
"""Pixels along a cell of the heat map."""

PLANES = (2, 3, 4, 6)
"""Channels of the levels of the pyramid, of stride 4 to 32, in widths."""

LEVELS = len(PLANES)

RARE = -4.0
"""Logit of a cell before anything is learnt."""

HIDDEN = 128
"""Units of the dense layers."""

TYPICAL, SPREAD = math.log(30.0), 0.8
"""Mean and width of ln richness before anything is learnt."""

WIDEST = 4.0
"""Largest |ln variance| of ln richness, in units of ``SPREAD``: sigma is kept from 0.11 to 6."""

SUMMIT = 3
"""Bins on either side of the highest, whose mean is the redshift that members are counted at."""

DROP_BAND = 0.02
"""Chance that training hides a band of a tile, so that one may be missing."""


class ClusterFinder(nn.Module):
    """A pyramid with a heat map at stride 4, and dense layers at its peaks.

    Parameters
    ----------
    bands : tuple of str
        Bands of the image.
    z_range : tuple of float
        Redshifts at which the grid of p(z) begins and ends.
    z_bins : int
        Bins of the grid.
    mpc : sequence of float
        Mpc per arcsec at redshifts evenly from the first to the last of ``z_range``.
    width, blocks : int
        Channels of the first stage; residual blocks of each level of the pyramid.
    dropout : float
        Before the last layers.
    """

    def __init__(
        self,
        bands: tuple[str, ...],
        z_range: tuple[float, float],
        z_bins: int,
        mpc: Sequence[float],
        width: int,
        blocks: int,
        dropout: float,
    ):
        super().__init__()
        self.z_range, self.z_bins = tuple(z_range), z_bins
        self.colours = ColourBins(bands)
        self.stem = convolution(len(bands) + 1, width, 5, 2)
        self.spectrum = convolution(self.colours.channels, width, 1)
        planes = tuple(width * times for times in PLANES)
        self.pyramid = Pyramid(width, planes, blocks, 2 * width)
        self.heat = nn.Conv2d(2 * width, 1, 1)
        nn.init.constant_(self.heat.bias, RARE)
        self.offset = nn.Conv2d(2 * width, 2, 1)
        self.sources = SourceFinder(bands)
        self.crowd = Crowd(self.sources.facts, self.z_range, mpc)
        features = self.pyramid.features + self.crowd.around_features
        # Each its own: the gradients of a Gaussian's errors would drown those of the classes.
        self.redshift = dense(features, z_bins, dropout)
        self.richness = dense(self.crowd.members_features, 2, dropout)
        self.belief = dense(self.crowd.members_features + 2, 1, dropout)
        # It begins with what the heat map says.
        nn.init.zeros_(self.belief[-1].weight)

    def forward(self, batch: dict[str, Tensor], dense: bool = False) -> dict[str, Tensor]:
        """Map a batch to the peaks of each tile, k of them, those of the heat map's highest first.

        Parameters
        ----------
        batch : dict
            ``image``, ``valid`` (n, band, y, x); ``scale``, ``sigma``, ``psf_fwhm`` (n, band);
            ``ebv``, ``pixel_scale`` (n,).
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
        place = torch.where(peaks.logit[..., None] > NOWHERE, place, middle)
        z_logits = self.tell_z(maps, sources_of(maps), place)
        counted = self.count(maps, place, self.summit(z_logits), batch["pixel_scale"])
        mean, logvar = self.tell_richness(counted)
        x, y = (place - middle).unbind(2)
        return {
            "peak_logit": self.believed(peaks.logit, z_logits, counted),
            "peak_x": x,
            "peak_y": y,
            "z_logits": z_logits,
            "richness_mean": mean,
            "richness_logvar": logvar,
        }

    def maps(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the dense maps of a batch.

        Returns
        -------
        dict
            ``heat`` (n, y / 4, x / 4), logits, ``NOWHERE`` where no pixel is valid; ``offset``
            (n, 2, y / 4, x / 4), x and y from a cell's centre to that of the cluster, cells; the
            pyramid's ``level_0`` and so on, (n, channel, y', x'); ``source_place`` (n, k, 2),
            ``source_there`` (n, k), ``source_facts`` (n, k, fact), see ``Sources``; ``cells``
            (n, y / 16, x / 16), the share of valid pixels.
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
            found = self.sources(image, valid, batch)._asdict()
            maps |= {f"source_{name}": one for name, one in found.items()}
            maps["cells"] = seen_cells(there[:, 0])
        return maps | {f"level_{at}": level for at, level in enumerate(levels)}

    def tell_z(self, maps: dict, sources: Sources, place: Tensor, which=None) -> Tensor:
        """Return the logits of p(z) (n, p, bin) of clusters at places (n, p, 2), pixel x and y.

        Parameters
        ----------
        maps : dict
            Of ``maps``.
        sources : Sources
            Of the same images, or of ``which``.
        place : (n, p, 2) tensor
            Pixel x and y.
        which : (n,) tensor of int, optional
            Images, by their numbers; of all, if not given.
        """
        levels = [maps[f"level_{at}"] for at in range(LEVELS)]
        high, wide = (STRIDE * side for side in levels[0].shape[-2:])
        part = (place + 0.5) / torch.tensor([wide, high], device=place.device)
        with torch.autocast(place.device.type, enabled=False):
            levels = levels if which is None else [one[which] for one in levels]
            seen = self.pyramid.at(levels, part)
            return self.redshift(torch.cat([seen, self.crowd.around(sources, place)], 2))

    def summit(self, z_logits: Tensor) -> Tensor:
        """Return the redshift (...) around the highest bin of p(z), without its gradient."""
        mass = torch.softmax(z_logits.detach().float(), -1)
        bins = torch.arange(self.z_bins, device=mass.device)
        near = (bins - mass.argmax(-1, keepdim=True)).abs() <= SUMMIT
        mass = mass * near
        low, high = self.z_range
        bin_of = (mass * (bins + 0.5)).sum(-1) / mass.sum(-1)
        return low + (high - low) / self.z_bins * bin_of

    def count(self, maps: dict, place: Tensor, z: Tensor, pixel_scale, which=None) -> Tensor:
        """Return what is counted at places (n, p, 2) and z (n, p); see ``Crowd.members``."""
        sources, cells = sources_of(maps), maps["cells"]
        if which is not None:
            sources, cells, pixel_scale = sources.of(which), cells[which], pixel_scale[which]
        with torch.autocast(place.device.type, enabled=False):
            return self.crowd.members(sources, cells, place, z, pixel_scale)

    def tell_richness(self, counted: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and ln variance of ln richness, each (n, p)."""
        with torch.autocast(counted.device.type, enabled=False):
            mean, raw = self.richness(counted).unbind(2)
        logvar = WIDEST * torch.tanh(raw / WIDEST) + 2 * math.log(SPREAD)
        return TYPICAL + SPREAD * mean, logvar

    def believed(self, logit: Tensor, z_logits: Tensor, counted: Tensor) -> Tensor:
        """Return logits (n, p) of peaks being clusters, given those of the heat map."""
        logit = logit.detach()
        sharp = torch.softmax(z_logits.detach(), 2).amax(2)
        told = torch.cat([counted, logit[..., None].clamp(-10, 10) / 4, sharp[..., None]], 2)
        with torch.autocast(counted.device.type, enabled=False):
            more = self.belief(told)[..., 0]
        return torch.where(logit > NOWHERE, (logit + more).clamp(min=NOWHERE + 1), NOWHERE)


def sources_of(maps: dict[str, Tensor]) -> Sources:
    """Return the sources of a batch from its maps."""
    return Sources(*(maps[f"source_{name}"] for name in Sources._fields))


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
    return max(8, (side // 64) ** 2)


def padded(image: Tensor, valid: Tensor, multiple: int) -> tuple[Tensor, Tensor]:
    """Fill tiles (n, band, y, x) up at their ends to multiples of some pixels, not valid there."""
    edge = (0, -image.shape[-1] % multiple, 0, -image.shape[-2] % multiple)
    return (pad(image, edge), pad(valid, edge)) if any(edge) else (image, valid)


def some_bands(valid: Tensor) -> Tensor:
    """Return which bands (n, band, 1, 1) training shows: now and then not all, never none."""
    shown = torch.rand(valid.shape[:2], device=valid.device) >= DROP_BAND
    shown = torch.where(shown.any(1, keepdim=True), shown, True)
    return shown[..., None, None]
