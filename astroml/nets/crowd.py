"""What the sources around a place tell of a cluster there: who belongs to it, and how many do.

Layers look at one source at a time, with its distance from the place, and what they say is summed
over all (Zaheer et al. 2017): what a matched filter does with a luminosity function, a profile and
a red sequence that are written down (Rykoff et al. 2014), but learnt.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, softplus

from astroml.nets.sources import Sources

RINGS = (4.0, 12.0, 25.0, 50.0, 90.0, 150.0)
"""Widths, px, of the Gaussians around a place in which sources of a kind are summed."""

KINDS = 24
"""Kinds of sources that are counted to know the redshift."""

SORTS = 24
"""Ways to belong that are counted, once the redshift is known."""

HIDDEN = 64
"""Units of the layers that look at one source."""

WITHIN = 240.0
"""Distance, px, beyond which nothing is looked at."""

NEAREST = 1280
"""Sources nearest to a place that are looked at."""

AT_ONCE = 64
"""Places of a tile looked at in one step: a bound on memory for wide tiles."""

CELL = 16
"""Side, px, of the cells in which the share of valid pixels is known."""

CIRCLES = (0.1, 0.25, 0.5, 0.8, 1.2)
"""Radii, Mpc, of the circles of which it is told how much was seen."""

SOFT = 0.05
"""Width of a circle's edge, Mpc."""


class Crowd(nn.Module):
    """The layers that look at sources.

    Parameters
    ----------
    facts : int
        Facts told of a source.
    z_range : tuple of float
        Redshifts of clusters.
    mpc : sequence of float
        Mpc per arcsec at redshifts evenly from the first to the last of ``z_range``.
    """

    def __init__(self, facts: int, z_range: tuple[float, float], mpc: Sequence[float]):
        super().__init__()
        self.z_range = z_range
        self.kind = nn.Sequential(
            nn.Linear(facts, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, KINDS),
            nn.ReLU(),
        )
        self.source = nn.Sequential(nn.Linear(facts, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN))
        self.seat = nn.Sequential(nn.Linear(4, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN))
        self.belongs = nn.Sequential(
            nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, SORTS)
        )
        self.around_features = KINDS * len(RINGS)
        self.members_features = SORTS + 1 + len(CIRCLES)
        scale = torch.tensor(mpc, dtype=torch.float32)
        self.register_buffer("mpc", scale, persistent=False)
        self.register_buffer("rings", torch.tensor(RINGS), persistent=False)
        self.register_buffer("circles", torch.tensor(CIRCLES), persistent=False)

    def around(self, sources: Sources, place: Tensor) -> Tensor:
        """Return how many sources of each kind are around places, (n, p, ``around_features``).

        Parameters
        ----------
        sources : Sources
            Of n images.
        place : (n, p, 2) tensor
            Pixel x and y.
        """
        kinds = self.kind(sources.facts)
        return torch.cat([self._around(sources, kinds, one) for one in place.split(AT_ONCE, 1)], 1)

    def _around(self, sources: Sources, kinds: Tensor, place: Tensor) -> Tensor:
        kinds, away = nearest(kinds, distances(sources, place))
        ring = torch.exp(-0.5 * (away[..., None] / self.rings).square())
        ring = ring * (away < WITHIN)[..., None]
        return torch.log1p((kinds.mT @ ring).flatten(2))

    def members(
        self, sources: Sources, cells: Tensor, place: Tensor, z: Tensor, pixel_scale: Tensor
    ) -> Tensor:
        """Return how many belong to clusters at places, and what was seen of them.

        Parameters
        ----------
        sources : Sources
            Of n images.
        cells : (n, y / 16, x / 16) tensor
            Share of valid pixels; see ``seen_cells``.
        place : (n, p, 2) tensor
            Pixel x and y.
        z : (n, p) tensor
            Redshift.
        pixel_scale : (n,) tensor
            arcsec

        Returns
        -------
        (n, p, ``members_features``) tensor
        """
        source = self.source(sources.facts)
        parts = zip(place.split(AT_ONCE, 1), z.split(AT_ONCE, 1))
        return torch.cat(
            [self._members(sources, source, cells, *one, pixel_scale) for one in parts], 1
        )

    def _members(self, sources, source, cells, place, z, pixel_scale) -> Tensor:
        mpc = self.mpc_per_arcsec(z) * pixel_scale[:, None]  # of a pixel, (n, p)
        source, away = nearest(source, distances(sources, place))
        far = away * mpc[..., None]
        low, high = self.z_range
        level = (2 * z - low - high) / (high - low)
        seat = [level[..., None].expand_as(far), far, torch.log(far + 0.05), torch.exp(-far / 0.2)]
        weight = softplus(self.belongs(source + self.seat(torch.stack(seat, 3))))
        counts = torch.log1p((weight * (away < WITHIN)[..., None]).sum(2))
        return torch.cat([counts, level[..., None], self._covered(cells, place, mpc)], 2)

    def _covered(self, cells: Tensor, place: Tensor, mpc: Tensor) -> Tensor:
        """Return the share (n, p, circle) of circles around places that was seen."""
        high, wide = cells.shape[-2:]
        middle = torch.cartesian_prod(
            torch.arange(high, device=place.device), torch.arange(wide, device=place.device)
        )
        away = away_from(middle.flip(1)[None] * CELL + (CELL - 1) / 2, place)  # (n, p, cell)
        seen = cells.flatten(1)[:, None] * (away < WITHIN)
        far = (away * mpc[..., None])[..., None]
        inside = torch.sigmoid((self.circles - far) / SOFT)
        area = (seen[..., None] * inside).sum(2) * (CELL * mpc[..., None]).square()
        return area / (torch.pi * self.circles.square())

    def mpc_per_arcsec(self, z: Tensor) -> Tensor:
        """Return Mpc per arcsec at redshifts, linear between those of a table."""
        low, high = self.z_range
        last = len(self.mpc) - 1
        at = ((z - low) / (high - low) * last).clamp(0, last)
        first = at.floor().clamp(max=last - 1).long()
        return torch.lerp(self.mpc[first], self.mpc[first + 1], at - first)


def away_from(point: Tensor, place: Tensor) -> Tensor:
    """Return distances (n, p, k) of points (n, k, 2) from places (n, p, 2), px."""
    step = (point[:, None] - place[:, :, None]).square().sum(3)
    return torch.sqrt(step + 1e-6)


def distances(sources: Sources, place: Tensor) -> Tensor:
    """Return distances (n, p, k) of sources from places (n, p, 2), px; what is none is far."""
    return torch.where(sources.there[:, None], away_from(sources.place, place), 2 * WITHIN)


def nearest(told: Tensor, away: Tensor) -> tuple[Tensor, Tensor]:
    """Return of sources (n, k, c) at distances (n, p, k) the nearest: (n, p, k', c), (n, p, k')."""
    if away.shape[2] <= NEAREST:
        return told[:, None], away
    away, which = away.topk(NEAREST, dim=2, largest=False)
    row = torch.arange(len(told), device=told.device)[:, None, None]
    return told[row, which], away


def seen_cells(there: Tensor) -> Tensor:
    """Return the share of valid pixels in cells, (n, y / 16, x / 16), of a map (n, y, x)."""
    return avg_pool2d(there[:, None].float(), CELL)[:, 0]
