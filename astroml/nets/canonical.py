"""Galaxies as a search for odd ones should see them: of one flux, all lying one way.

How bright a galaxy is, how it is turned and on which side it is lopsided say nothing of how odd it
is. What is divided out here no model has to learn.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, max_pool2d

from astroml.nets.host import shape
from astroml.nets.normalise import asinh, sinh

SIDE = 32
"""Side of the view, px."""

REACH = 0.7
"""Part of the cutout's side that is seen: a square of it can be turned and stay within."""

APERTURE = 0.25
"""Radius within which flux is measured, as a part of the cutout's side."""

SOFT = 1e-3
"""Share of the total flux in one pixel of the view at which the stretch turns logarithmic."""

FAINTEST = 5.0
"""Signal-to-noise ratio below which a galaxy counts as bright as that."""


WINDOW = 0.05
"""Width of the weight under which the middle is sought, as a part of the cutout's side."""

CENTRING = 4
"""Iterations of the middle."""

MIDDLE, RIM = 0.2, 0.03
"""Width of the weight of the pixels, as a part of the view's side, and the least there is."""

APART, UNEVEN = 3.0, 0.15
"""Two pixels that lie opposite each other differ if they do by so many times the noise, and so
large a fraction of the fainter one."""

STRAY = 2.0
"""Largest distance of the middle from that of the cutout along each axis, px."""


class Seen(NamedTuple):
    """A batch in the canonical view."""

    image: Tensor
    """(n, band, y, x): asinh(share of the total flux / SOFT), 0 where it is not valid."""
    noise: Tensor
    """(n, band, 1, 1): of one pixel, before the stretch, in units of SOFT."""
    valid: Tensor
    """(n, band, y, x): 1 or 0."""
    weight: Tensor
    """(n, band, y, x): how much a pixel counts, 0 where it is not valid; the middle counts most,
    for farther out lie other galaxies."""
    log_flux: Tensor
    """(n,): log10 of the total flux over bands, nJy."""


@torch.no_grad()
def canonical(batch: dict[str, Tensor], side: int = SIDE) -> Seen:
    """Return a batch in the canonical view.

    The galaxy's major axis is laid along x, and it is mirrored so that the light of its outskirts
    leans towards positive x and y.

    Parameters
    ----------
    batch : dict
        ``image``, ``valid`` (n, band, y, x); ``scale``, ``sigma`` (n, band), of ``make_ready``. A
        noise that is not known counts as the typical one.
    side : int
        Side of the view, px.
    """
    with torch.autocast(batch["image"].device.type, enabled=False):
        valid = batch["valid"].float()
        scale = batch["scale"].float()
        flux = sinh(batch["image"].float().clamp(-30, 30)) * valid * scale[..., None, None]
        sigma = batch.get("sigma", scale).float()
        sigma = torch.where(torch.isfinite(sigma) & (sigma > 0), sigma, scale)
        total = total_flux(flux, sigma)
        light = (flux / total[:, None, None, None]).sum(1)
        flux, valid = turned(flux, valid, axes(light), centre(light), side)
        # A pixel of the view holds so many of the cutout's along a side.
        step = REACH * light.shape[-1] / side
        unit = total[:, None, None, None] * SOFT
        image = asinh(flux * step**2 / unit)
        noise = sigma[..., None, None] * step / unit
        weight = valid * window(side, image.device)
        return Seen(image, noise, valid, weight, torch.log10(total))


def window(side: int, device: torch.device) -> Tensor:
    """Return how much each pixel (y, x) of a view counts."""
    at = (torch.arange(side, device=device) - (side - 1) / 2) / (MIDDLE * side)
    return RIM + (1 - RIM) * torch.exp(-0.5 * (at[:, None].square() + at.square()))


def middle_of(seen: Seen, side: int) -> Seen:
    """Return the middle of a view, of some side, px."""
    edge = (seen.image.shape[-1] - side) // 2
    part = slice(edge, edge + side)
    cut = {name: getattr(seen, name)[..., part, part] for name in ("image", "valid", "weight")}
    return seen._replace(**cut)


@torch.no_grad()
def parted(seen: Seen) -> Seen:
    """Part a galaxy into what is the same on both sides of its middle, and the rest.

    A galaxy looks alike when it is turned upside down, other galaxies beside it do not. Where two
    pixels opposite each other differ, both hold the fainter one, which is the galaxy's (as
    deblenders do, Melchior et al. 2018, section 3.1); elsewhere they hold their mean.

    Parameters
    ----------
    seen : Seen
        In the canonical view.

    Returns
    -------
    Seen
        Twice as many bands: first the same on both sides, then the rest. Together they hold all
        that the image did.
    """
    with torch.autocast(seen.image.device.type, enabled=False):
        one = torch.sinh(seen.image)
        two, there = one.flip((2, 3)), seen.valid.flip((2, 3))
        both = seen.valid * there
        least = torch.minimum(one, two).clamp(min=0)
        sigma = (2 * seen.noise.square() + (UNEVEN * least).square()).sqrt()
        differ = (((one - two).abs() > APART * sigma) * both).amax(1, keepdim=True)
        differ = max_pool2d(differ, 3, 1, 1) * both > 0
        # All bands take the same side: that which is fainter in their weighted sum.
        brighter = ((one - two) * both / seen.noise.square()).sum(1, keepdim=True) > 0
        mean = (one * seen.valid + two * there) / (seen.valid + there).clamp(min=1)
        same = torch.where(differ, torch.where(brighter, two, one), mean)
        valid = torch.cat([torch.maximum(seen.valid, there), seen.valid], 1)
        image = torch.cat([asinh(same), asinh(one - same)], 1) * valid
        noise = seen.noise * math.sqrt(0.5)
        weight = valid * window(image.shape[-1], image.device)
        return Seen(image, torch.cat([noise, noise], 1), valid, weight, seen.log_flux)


@torch.no_grad()
def alike(seen: Seen) -> Seen:
    """Return the part of a galaxy that is the same on both sides of its middle; see ``parted``."""
    halves, bands = parted(seen), seen.image.shape[1]
    cut = {name: getattr(halves, name)[:, :bands] for name in ("image", "noise", "valid", "weight")}
    return halves._replace(**cut)


def total_flux(flux: Tensor, sigma: Tensor) -> Tensor:
    """Return the flux (n,) of all bands within the aperture, at least ``FAINTEST`` its noise.

    Parameters
    ----------
    flux : (n, band, y, x) tensor
        Zero where it is not known.
    sigma : (n, band) tensor
        Noise of one pixel.
    """
    size = flux.shape[-1]
    at = torch.arange(size, device=flux.device) - (size - 1) / 2
    inside = torch.hypot(at[:, None], at) <= APERTURE * size
    error = sigma.square().sum(1).sqrt() * inside.sum().clamp(min=1.0).sqrt()
    return torch.maximum((flux * inside).sum((1, 2, 3)), FAINTEST * error)


def axes(light: Tensor) -> Tensor:
    """Return the axes (n, 2, 2) of galaxies: unit vectors (x, y), the major axis first.

    Parameters
    ----------
    light : (n, y, x) tensor
        Flux, in any unit.
    """
    ellipse = shape(light)
    a, b, c = ellipse[:, 0, 0], ellipse[:, 0, 1], ellipse[:, 1, 1]
    phi = 0.5 * torch.atan2(2 * b, a - c)
    along = torch.stack([phi.cos(), phi.sin()], 1)
    across = torch.stack([-phi.sin(), phi.cos()], 1)
    size = light.shape[-1]
    at = (torch.arange(size, device=light.device, dtype=light.dtype) - (size - 1) / 2) / size
    y, x = at[:, None].expand(size, size).flatten(), at.repeat(size)
    # Far out, but within the circle that every turn keeps.
    weight = torch.hypot(x, y) * (torch.hypot(x, y) < REACH / 2)
    lean = light.flatten(1) @ torch.stack([x * weight, y * weight], 1)  # (n, 2)
    signs = [torch.where((lean * axis).sum(1) < 0, -1.0, 1.0) for axis in (along, across)]
    return torch.stack([along * signs[0][:, None], across * signs[1][:, None]], 1)


def centre(light: Tensor) -> Tensor:
    """Return where galaxies lie (n, 2): (x, y) from the middle of the cutout, px.

    The mean of the light under a Gaussian weight that follows it (as Bernstein & Jarvis 2002,
    section 3.1.2). It is kept within ``STRAY``: farther lies another object.

    Parameters
    ----------
    light : (n, y, x) tensor
        Flux, in any unit.
    """
    size, width = light.shape[-1], WINDOW * light.shape[-1]
    at = torch.arange(size, device=light.device, dtype=light.dtype) - (size - 1) / 2
    found = light.new_zeros((len(light), 2))
    light = light.clamp(min=0)
    for _ in range(CENTRING):
        along_x = torch.exp(-0.5 * ((at - found[:, :1]) / width).square())
        along_y = torch.exp(-0.5 * ((at - found[:, 1:]) / width).square())
        in_x = (along_y[:, None] @ light)[:, 0] * along_x  # (n, x)
        in_y = (light @ along_x[..., None])[..., 0] * along_y
        total = in_x.sum(1).clamp(min=1e-12)
        mean = torch.stack([in_x @ at, in_y @ at], 1) / total[:, None]
        # Under a weight as wide as the galaxy the mean goes half of the way.
        found = (found + 1.5 * (mean - found)).clamp(-STRAY, STRAY)
    return found


def turned(
    flux: Tensor, valid: Tensor, frame: Tensor, middle: Tensor, side: int
) -> tuple[Tensor, Tensor]:
    """Lay images along axes about their middle, and average them to some side.

    Parameters
    ----------
    flux, valid : (n, band, y, x) tensors
        ``valid`` 1 or 0; flux is 0 where it is 0.
    frame : (n, 2, 2) tensor
        The axes, of ``axes``.
    middle : (n, 2) tensor
        The middle, of ``centre``.
    side : int
        Side of the view, px.

    Returns
    -------
    flux, valid : (n, band, side, side) tensors
        Mean flux of a pixel of the cutout; pixels of which less than half is valid are 0.
    """
    n, bands = flux.shape[:2]
    # A point (u, v) of the view lies at u along + v across.
    offset = middle[..., None] * (2 / flux.shape[-1])
    theta = torch.cat([REACH * frame.mT, offset], 2)
    fine = math.ceil(REACH * flux.shape[-1] / side)
    grid = affine_grid(theta, [n, 1, fine * side, fine * side], align_corners=False)
    both = grid_sample(torch.cat([flux, valid], 1), grid, align_corners=False)
    mean, share = avg_pool2d(both, fine).split(bands, 1)
    there = (share >= 0.5).to(flux.dtype)
    return mean / share.clamp(min=0.5) * there, there
