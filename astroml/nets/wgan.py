"""A generative adversarial network with the Wasserstein distance and a gradient penalty.

After Gulrajani et al. 2017; sought for odd galaxies as Storey-Fisher et al. 2021 did. The generator
draws galaxies without noise: what the critic sees of them has the noise and the masks of real
cutouts (as in Bora, Price & Dimakis 2018), so that a likeness is a galaxy and not a noisy picture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from astroml.nets.autoencoder import Decoder, encoder, misfit, shown
from astroml.nets.canonical import Seen
from astroml.nets.normalise import asinh

PENALTY = 10.0
"""Weight of the gradient penalty (Gulrajani et al. 2017, algorithm 1)."""

CRITIC_STEPS = 5
"""Steps of the critic for one of the generator (same place)."""

BETAS = (0.5, 0.9)
"""Decay of Adam's moments; with the Wasserstein loss a long memory lets it run away."""

PRIOR = 0.01
"""Weight of a latent vector's squared length per dimension in what inversion lowers."""

GROW, SHRINK = 1.5, 0.3
"""What a step of the inversion is multiplied by after one that helped, and one that did not."""


class Critic(nn.Module):
    """Tell real images from drawn ones; nothing in it mixes the images of a batch.

    Parameters
    ----------
    channels : int
        Channels of the input.
    width : int
        Channels of the first stage.
    side : int
        Side of the input, px.
    """

    def __init__(self, channels: int, width: int, side: int):
        super().__init__()
        last = -(-side // 8)
        self.body = nn.ModuleList(
            [
                nn.Conv2d(channels, width, 5, 2, 2),
                nn.Conv2d(width, 2 * width, 3, 2, 1),
                nn.Conv2d(2 * width, 4 * width, 3, 2, 1),
            ]
        )
        self.dense = nn.Linear(4 * width * last**2, 4 * width)
        self.last = nn.Linear(4 * width, 1)

    def features(self, x: Tensor) -> Tensor:
        """Map images (n, channels, y, x) to the last layer's input, (n, k)."""
        for layer in self.body:
            x = leaky_relu(layer(x), 0.2)
        return leaky_relu(self.dense(x.flatten(1)), 0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (n, channels, y, x) to how real they seem, (n,)."""
        return self.last(self.features(x))[:, 0]


def gradient_penalty(critic: Callable, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Return how far the critic's slope is from one between real and drawn images.

    Gulrajani et al. 2017, eq. 3, without its weight. In full precision: the second derivative
    needs it.

    Parameters
    ----------
    critic : callable
        Images (n, ...) to numbers (n,).
    real, fake : (n, ...) tensors
        Images.
    share : (n,) tensor
        Where between them the slope is taken, 0 to 1.
    """
    with torch.enable_grad(), torch.autocast(real.device.type, enabled=False):
        share = share.view(-1, *[1] * (real.ndim - 1))
        between = torch.lerp(real.float(), fake.float(), share).detach().requires_grad_()
        (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        return (slope.flatten(1).square().sum(1).add(1e-12).sqrt() - 1).square().mean()


class Wgan(nn.Module):
    """Generator, critic, and the encoder that begins the inversion.

    Parameters
    ----------
    bands : int
        Bands of the image.
    width : int
        Channels of the first stages.
    latent : int
        Latent numbers.
    side : int
        Side of the image.
    """

    def __init__(self, bands: int, width: int, latent: int, side: int):
        super().__init__()
        self.latent = latent
        self.generator = Decoder(latent, width, bands, side)
        self.critic = Critic(bands + 1, width, side)
        self.encoder = encoder(bands + 1, width, latent, side)

    def noisy(self, image: Tensor, seen: Seen, noise: Tensor) -> Seen:
        """Lay noise and masks of real images upon drawn ones.

        Parameters
        ----------
        image : (n, band, y, x) tensor
            Drawn, stretched, without noise.
        seen : Seen
            The real ones.
        noise : (n, band, y, x) tensor
            Of variance one.
        """
        flux = torch.sinh(image.float().clamp(-12, 12)) + seen.noise * noise
        return seen._replace(image=asinh(flux) * seen.valid)

    def residuals(self, seen: Seen, z: Tensor, floor: float) -> tuple[Tensor, Tensor]:
        """Return how far real images are from their likenesses (n,), in logarithms.

        Returns
        -------
        image, features : (n,) tensors
            Weighted mean squared residual of the pixels; mean distance of the critic's features.
        """
        image = self.generator(z).float()
        likeness = seen._replace(image=image * seen.valid)
        real, drawn = (self.critic.features(shown(one)) for one in (seen, likeness))
        apart = (real - drawn).float().abs().mean(1)
        return torch.log1p(misfit(seen, image, floor)), torch.log(apart + 1e-6)

    def critic_loss(self, seen: Seen) -> Tensor:
        """Return what the critic lowers: drawn less real, and the gradient penalty."""
        real = shown(seen)
        with torch.no_grad():
            fake = shown(self.noisy(self.draw(seen), seen, torch.randn_like(seen.image)))
        share = torch.rand(len(real), device=real.device)
        penalty = gradient_penalty(self.critic, real, fake, share)
        return (self.critic(fake) - self.critic(real)).float().mean() + PENALTY * penalty

    def generator_loss(self, seen: Seen) -> Tensor:
        """Return what the generator lowers: how little real its images seem."""
        fake = shown(self.noisy(self.draw(seen), seen, torch.randn_like(seen.image)))
        return -self.critic(fake).float().mean()

    def draw(self, seen: Seen) -> Tensor:
        """Return as many random images as a batch has."""
        z = torch.randn((len(seen.image), self.latent), device=seen.image.device)
        return self.generator(z).float()

    def unlikely(self, seen: Seen, z: Tensor, floor: float) -> Tensor:
        """Return what inversion lowers (n,): the image's residual, and how unlikely z is."""
        residual = misfit(seen, self.generator(z).float(), floor)
        return torch.log1p(residual) + PRIOR * z.square().mean(1)


def invert(misfit: Callable[[Tensor], Tensor], z: Tensor, steps: int) -> Tensor:
    """Go downhill from latent vectors, each with a step of its own that learns from its success.

    A step that does not lower the misfit is not taken: what comes out is never worse.

    Parameters
    ----------
    misfit : callable
        Latent vectors (n, k) to what is lowered, (n,), each of its own vector alone.
    z : (n, k) tensor
        Where to begin.
    steps : int
        Number of steps.
    """
    with torch.enable_grad(), torch.autocast(z.device.type, enabled=False):
        z = z.detach().float().requires_grad_()
        size = torch.full_like(z[:, :1], 0.3)
        value = misfit(z)
        (slope,) = torch.autograd.grad(value.sum(), z)
        for _ in range(steps):
            length = slope.norm(dim=1, keepdim=True).clamp(min=1e-12)
            tried = (z - size * slope / length).detach().requires_grad_()
            new = misfit(tried)
            (new_slope,) = torch.autograd.grad(new.sum(), tried)
            better = (new < value).detach()[:, None]
            z = torch.where(better, tried, z)
            slope = torch.where(better, new_slope, slope)
            value = torch.where(better[:, 0], new, value)
            size = size * torch.where(better, GROW, SHRINK)
    return z.detach()
