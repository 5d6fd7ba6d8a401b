"""The network of the tidal features: what is there, and which pixels are it.

It sees the cutout and what is left of it when its galaxy's smooth light is taken away (as Walmsley
et al. 2019 and Kado-Fong et al. 2018 do). One encoder serves two ends: a decoder that marks the
features' pixels (Ronneberger et al. 2015), and dense layers that say what they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    binary_cross_entropy_with_logits,
    interpolate,
    logsigmoid,
    pad,
)

from astroml.nets.blocks import Residual, group_norm, pooled
from astroml.nets.host import Rings, flux_in, smooth_host
from astroml.nets.normalise import asinh, sinh
from astroml.nets.shape import Shape, small
from astroml.tasks.tidal import CLASSES, LABEL, Options

LARGEST = 160
"""Side of a cutout, px, above which its pixels are averaged."""

BLUE_TO_RED = "ugriziyY"
"""Bands by wavelength; the mask's flux is measured in r, or in the band nearest to it here."""

HIDDEN = 64
"""Units of the dense layer."""

STAGES = 4

RARE = -3.0
"""Logit of a pixel before anything is learnt; of all pixels where no plane of truth taught any, so
that masks are empty then."""

MASK_WEIGHT = 1.0
"""Weight of the loss of the pixels against that of the classes."""

HEAVIEST = 10.0
"""Largest weight of a positive against a negative."""


class Seen(NamedTuple):
    """A batch as the network looks at it, pixels averaged where the cutout is large."""

    flux: Tensor
    """(n, band, y, x): mean of the pixels averaged, in units of the noise of one of them."""
    valid: Tensor
    """(n, band, y, x) bool."""
    kept: Tensor
    """(n, 1, y, x) bool: pixels that were taken for the host's."""
    rings: Rings
    channels: Tensor
    """(n, channel, y, x): what goes into the first layer."""


class Up(nn.Module):
    """Double the image and join it with that of the encoder's same size."""

    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.narrow = nn.Conv2d(inside, outside, 1, bias=False)
        self.mix = nn.Sequential(
            nn.Conv2d(2 * outside, outside, 3, 1, 1, bias=False), group_norm(outside), nn.ReLU()
        )

    def forward(self, x: Tensor, side: Tensor) -> Tensor:
        """Map (n, inside, y, x) and (n, outside, 2 y, 2 x) to (n, outside, 2 y, 2 x)."""
        x = interpolate(self.narrow(x), side.shape[-2:], mode="bilinear", align_corners=False)
        return self.mix(torch.cat([x, side], 1))


class TidalFinder(nn.Module):
    """An encoder with a decoder for masks and dense layers for classes.

    Parameters
    ----------
    options : Options
        Width, blocks, dropout, passes.
    bands : tuple of str
        Bands of the image.
    size : int
        Side of a cutout, px.
    """

    def __init__(self, options: Options, bands: tuple[str, ...], size: int):
        super().__init__()
        self.band, self.size = nearest_to_r(bands), size
        self.pool = math.ceil(size / LARGEST)
        """Pixels along a side that are averaged."""
        channels, width = 2 * len(bands) + 5, options.width
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 5, 2, 2, bias=False), group_norm(width), nn.ReLU()
        )
        planes = [width * 2**at for at in range(STAGES)]
        self.down = nn.ModuleList(
            nn.Sequential(
                Residual(planes[max(at - 1, 0)], planes[at], 2 if at else 1),
                *(Residual(planes[at], planes[at]) for _ in range(options.blocks - 1)),
            )
            for at in range(STAGES)
        )
        self.up = nn.ModuleList(Up(planes[at], planes[at - 1]) for at in range(STAGES - 1, 0, -1))
        thin = max(8, width // 2)
        self.narrow = nn.Conv2d(width, thin, 1)
        self.sharpen = nn.Sequential(
            nn.Conv2d(thin + channels, thin, 3, 1, 1, bias=False), group_norm(thin), nn.ReLU()
        )
        self.pixels = nn.Conv2d(thin, 1 + len(CLASSES), 1)
        nn.init.constant_(self.pixels.bias, RARE)
        self.register_buffer("taught", torch.zeros(()))
        """Whether any truth was seen of which pixels are a feature."""
        self.shape = Shape(thin + channels, width, HIDDEN)
        self.kinds = nn.Linear(HIDDEN, len(CLASSES))
        inside = 2 * (planes[-1] + width) + HIDDEN
        self.dense = nn.Sequential(nn.Linear(inside, HIDDEN), nn.ReLU())
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(HIDDEN, 1)
        # The same units for every cutout: what is said of one must not depend on its neighbours.
        chance = torch.rand((options.passes, HIDDEN), generator=torch.Generator().manual_seed(1))
        left = (chance >= options.dropout).float() / (1 - options.dropout)
        self.register_buffer("passes", left, persistent=False)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Map a batch to what is said of each cutout and of its pixels.

        Parameters
        ----------
        batch : dict
            ``image``, ``valid`` (n, band, y, x); in inference ``sigma``, ``scale`` (n, band) and
            ``pixel_scale`` (n,) too.

        Returns
        -------
        dict
            ``tidal_logit`` and ``<class>_logit`` (n,); ``kinds`` (n, class), the logits of the
            classes of a galaxy that has features; ``mask_logit`` (n, channel, y', x'), the channels
            any feature and each of ``CLASSES``. Where the batch has ``truth``, ``kinds_of_truth``
            (n, class): what is said of the true mask. In inference also ``feature_area`` (n,)
            arcsec2, ``feature_flux`` and ``feature_flux_err`` (n,) nJy, within the pixels that are
            likelier a feature than not; and ``passes`` (n, k), the ``tidal_logit`` of each pass
            with other units dropped, where the options ask for any.
        """
        seen = look(batch["image"], batch["valid"], self.pool)
        sides, x = [], self.stem(seen.channels)
        for stage in self.down:
            x = stage(x)
            sides.append(x)
        fine = x
        for up, side in zip(self.up, sides[-2::-1]):
            fine = up(fine, side)
        thin = self.narrow(fine)
        drawn = interpolate(thin, seen.channels.shape[-2:], mode="bilinear")
        drawn = self.sharpen(torch.cat([drawn, seen.channels], 1))
        # Logits of eight bits would tie, and masks be coarse.
        with torch.autocast(x.device.type, enabled=False):
            mask = self.pixels(drawn.float())
            maps = torch.cat([small(thin.float()), small(seen.channels)], 1)
            # The classes teach the mask nothing.
            marked = torch.where(self.taught > 0, mask[:, :1].detach(), RARE).sigmoid()
            shape = self.shape(marked, maps)
            hidden = self.dense(torch.cat([pooled(x.float()), pooled(fine.float()), shape], 1))
            logit, kinds = self.head(self.dropout(hidden))[:, 0], self.kinds(self.dropout(shape))
            output = {"tidal_logit": logit, "mask_logit": mask, "kinds": kinds}
            if "truth" in batch:
                true = planes_of(batch["truth"], mask.shape[-1])[:, :1]
                output["kinds_of_truth"] = self.kinds(self.dropout(self.shape(true, maps)))
        output |= {f"{name}_logit": both(logit, kinds[:, at]) for at, name in enumerate(CLASSES)}
        if self.training:
            return output
        output["mask_logit"] = mask = torch.where(self.taught > 0, mask, RARE)
        if len(self.passes):
            weight, offset = self.head.weight[0], self.head.bias[0]
            output["passes"] = (hidden[:, None] * self.passes) @ weight + offset
        return output | self.measure(mask[:, 0] > 0, seen, batch)

    @torch.no_grad()
    def measure(self, mask: Tensor, seen: Seen, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return area and flux of what a mask (n, y', x') has in it; see ``forward``."""
        with torch.autocast(mask.device.type, enabled=False):
            area = self.pool**2
            to_njy = batch["scale"][:, self.band] * area
            sigma = torch.nan_to_num(batch["sigma"][:, self.band] * self.pool).clamp(min=0)
            flux, valid = seen.flux[:, self.band], seen.valid[:, self.band]
            sums, error = flux_in(mask, flux, valid, sigma / to_njy, seen.kept, seen.rings)
            pixels = (mask & valid).flatten(1).sum(1)
        return {
            "feature_area": pixels * area * batch["pixel_scale"].square(),
            "feature_flux": sums * to_njy,
            "feature_flux_err": error * to_njy,
        }


def both(one: Tensor, other: Tensor) -> Tensor:
    """Return the logit of the product of two probabilities that are given as logits."""
    log = (logsigmoid(one) + logsigmoid(other)).clamp(max=-1e-6)
    return log - torch.log(-torch.expm1(log))


def nearest_to_r(bands: tuple[str, ...]) -> int:
    """Return which band is r, or the nearest to it in wavelength; of unknown ones the middle."""
    places = [BLUE_TO_RED.find(band) for band in bands]
    if min(places) < 0:
        return bands.index("r") if "r" in bands else len(bands) // 2
    return min(range(len(bands)), key=lambda at: abs(places[at] - BLUE_TO_RED.index("r")))


@torch.no_grad()
def look(image: Tensor, valid: Tensor, pool: int) -> Seen:
    """Take the host away, and lay out what the network sees.

    Parameters
    ----------
    image, valid : (n, band, y, x) tensors
        As ``make_ready`` returned them.
    pool : int
        Pixels along a side that are averaged.
    """
    with torch.autocast(image.device.type, enabled=False):
        flux, valid = averaged(sinh(image.float()) * valid, valid, pool)
        host, kept, rings = smooth_host(flux, valid)
        # Averaging lessens the noise: in the new unit it is one again.
        weight = valid.to(flux.dtype)
        image, rest = flux * pool, (flux - host) * pool * weight
        bands = weight.sum(1, keepdim=True)
        mean = rest.sum(1, keepdim=True) / bands.clamp(min=1).sqrt()
        # Over 5x5 pixels the faintest features rise above the noise.
        broad = 5 * avg_pool2d(mean, 5, 1, 2)
        # A galaxy looks the same upside down, most features do not.
        odd = (mean - mean.flip((2, 3))) * (bands > 0) * (bands.flip((2, 3)) > 0)
        far = rings.radius[:, None] / flux.shape[-1]
        shown = [asinh(image) / 3, *(asinh(one) / 2 for one in (rest, mean, broad, odd))]
        shown = torch.cat([*shown, bands / image.shape[1], far], 1)
        shown = shown.contiguous(memory_format=torch.channels_last)
    return Seen(flux, valid, kept, rings, shown)


def averaged(flux: Tensor, valid: Tensor, pool: int) -> tuple[Tensor, Tensor]:
    """Return means over boxes of pixels, and which boxes have half of their pixels or more.

    What a side lacks to a whole number of boxes is added at its end, not valid.
    """
    if pool == 1:
        return flux, valid
    more = -flux.shape[-1] % pool
    flux, weight = (pad(one.to(flux.dtype), (0, more, 0, more)) for one in (flux, valid))
    share = avg_pool2d(weight, pool)
    enough = share >= 0.5
    return torch.where(enough, avg_pool2d(flux, pool) / share.clamp(min=0.5), 0.0), enough


def build(options: Options, bands: tuple[str, ...], size: int) -> nn.Module:
    """Build the network for some bands and a cutout side in px."""
    return TidalFinder(options, bands, size)


def objectives(net: nn.Module, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the one loss: that of the classes and, where the truth has a plane, of the pixels."""
    output = net(batch)
    loss = class_loss(output["tidal_logit"], batch[LABEL])
    for name in ("kinds", "kinds_of_truth"):
        if name in output:
            loss = loss + kinds_loss(output[name], batch)
    if "truth" in batch:
        truth = planes_of(batch["truth"], output["mask_logit"].shape[-1])
        there = batch["valid"].any(1, keepdim=True).float()
        there = shrunk(there, output["mask_logit"].shape[-1]) >= 0.5
        loss = loss + MASK_WEIGHT * mask_loss(output["mask_logit"], truth, there)
        if net.training:
            net_of(net).taught.fill_(1.0)
    else:
        loss = loss + output["mask_logit"].sum() * 0.0
    yield "net", loss


def net_of(net: nn.Module) -> TidalFinder:
    """Return the network inside the engine's wrapping."""
    return getattr(net, "module", net)


def class_loss(logit: Tensor, truth: Tensor) -> Tensor:
    """Return the cross entropy of labels (n,), positives weighted as if half of all were.

    NaN is no label.
    """
    truth = truth.float()
    known = torch.isfinite(truth)
    truth = torch.nan_to_num(truth)
    yes = (truth * known).sum()
    # One is added to each count: a batch may have none of a class.
    weight = ((known.sum() - yes + 1) / (yes + 1)).clamp(1 / HEAVIEST, HEAVIEST)
    each = binary_cross_entropy_with_logits(logit, truth, pos_weight=weight, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def kinds_loss(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Return the mean cross entropy of the classes (n, class) of galaxies that have features.

    Which class it is, is asked of these alone: among all galaxies the question whether there is a
    feature would drown it.
    """
    tidal = batch[LABEL].float() == 1
    none = torch.full_like(batch[LABEL].float(), torch.nan)
    truth = torch.stack([batch.get(name, none).float() for name in CLASSES], 1)
    known = torch.isfinite(truth) & tidal[:, None]
    truth = torch.where(known, truth, 0.0)
    each = binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


def planes_of(truth: Tensor, size: int) -> Tensor:
    """Return the truth's bits as planes (n, channel, y', x'): any feature, then each class.

    Parameters
    ----------
    truth : (n, y, x) tensor of uint8
        Bits in the order of ``CLASSES``.
    size : int
        Side of the planes, px.
    """
    bits = torch.arange(len(CLASSES), device=truth.device)[:, None, None]
    each = (truth.int()[:, None] >> bits) & 1
    planes = torch.cat([each.amax(1, keepdim=True), each], 1).float()
    return (shrunk(planes, size) >= 0.5).float()


def shrunk(planes: Tensor, size: int) -> Tensor:
    """Average planes (n, channel, y, x) to some side, px, as ``averaged`` does the image."""
    pool = math.ceil(planes.shape[-1] / size)
    more = -planes.shape[-1] % pool
    return avg_pool2d(pad(planes, (0, more, 0, more)), pool) if pool > 1 else planes


def mask_loss(logit: Tensor, truth: Tensor, there: Tensor) -> Tensor:
    """Return cross entropy and soft Dice loss of the pixels, any feature counting half.

    The Dice loss (Milletari et al. 2016, eq. 1, with plain sums below) is that of the whole batch:
    of a cutout without a feature there is none.

    Parameters
    ----------
    logit, truth : (n, channel, y, x) tensor
        Any feature first.
    there : (n, 1, y, x) tensor of bool
        Pixels that count.
    """
    there = there.to(logit.dtype).expand_as(logit)
    entropy = binary_cross_entropy_with_logits(logit, truth, reduction="none") * there
    over = (0, 2, 3)
    entropy = entropy.sum(over) / there.sum(over).clamp(min=1)
    prob = torch.sigmoid(logit) * there
    both, either = (prob * truth).sum(over), prob.sum(over) + (truth * there).sum(over)
    # A hundred pixels, so that a batch with none of a class does not hang on a few of them.
    loss = 2 * entropy + 1 - (2 * both + 100) / (either + 100)
    return 0.5 * loss[0] + 0.5 * loss[1:].mean()
