"""The networks of the anomaly search: what each says of how usual a galaxy looks.

All of them see the galaxy at unit flux, its major axis along x (``nets.canonical``), and of it what
is the same on both sides of its middle: what lies on one side alone is mostly another galaxy that
overlaps with it, which is nothing rare and would drown all that is. The principal components, the
baseline, see it whole.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from astroml.nets import artefacts, autoencoder
from astroml.nets.autoencoder import (
    Autoencoder,
    bound_of,
    mean_of,
    misfit,
    negative_elbo,
    variance,
)
from astroml.nets.blocks import SmallResNet
from astroml.nets.canonical import SIDE, Seen, alike, canonical, middle_of
from astroml.nets.colour_density import ColourDensity, colours_of
from astroml.nets.frechet import frechet_distance
from astroml.nets.normalise import UNUSABLE, asinh, sinh
from astroml.nets.optimise import Descent
from astroml.nets.pixelcnn import PixelCnn
from astroml.nets.residual import residual_map
from astroml.nets.subspace import Subspace
from astroml.nets.wgan import BETAS, CRITIC_STEPS, Wgan, invert
from astroml.tasks.anomaly import Options

NARROW = 24
"""Side of the middle that the PixelCNN and the principal components see, px."""

PAINTED = 0.2
"""Share of cutouts that artefacts are painted onto in training."""

STEEPEST = 0.99
"""Decay per step of the mean and the scatter that the WGAN's two residuals are measured by."""

SLOW = 0.25
"""Learning rate of critic and generator, as a part of the others'."""

FINE = 0.05
"""Error of pixels as a fraction of their light that models are trained with: they learn finer
things than ``Options.floor`` judges by."""

QUICK = 5.0
"""Learning rate of the few numbers of the colours' density, as a part of the others'."""


class Anomalies(nn.Module):
    """All models, the artefacts' head and the principal components.

    The autoencoder is always there: it gives the embedding and the residual images. A part's loss
    is ``net(batch, part)``; ``net(batch)`` is what is said of each cutout.

    Parameters
    ----------
    options : Options
        Models, sizes, ``floor``.
    bands : int
        Bands of the image.
    """

    def __init__(self, options: Options, bands: int):
        super().__init__()
        self.options, self.bands = options, bands
        width, latent = options.width, options.latent
        self.ae = Autoencoder(bands, width, latent, SIDE)
        self.residual = Autoencoder(bands, max(4, width // 2), options.residual, SIDE)
        self.artefact = nn.Sequential(SmallResNet(2 * bands, max(4, width // 2), stages=4))
        self.artefact.append(nn.Linear(self.artefact[0].features, 1))
        self.subspace = Subspace(bands * NARROW**2, options.components)
        if "vae" in options.models:
            self.vae = Autoencoder(bands, width, latent, SIDE, variational=True)
            half = torch.randn((1, 1, latent), generator=torch.Generator().manual_seed(1))
            self.register_buffer("deviates", torch.cat([half, -half]), persistent=False)
        if "wgan" in options.models:
            self.wgan = Wgan(bands, width, latent, SIDE)
            self.register_buffer("usual", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
            """Mean and variance of the image's and the features' residual."""
        if "pixelcnn" in options.models:
            self.pixelcnn = PixelCnn(bands, width)
        if "colour" in options.models:
            self.colour = ColourDensity(bands - 1)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def parts(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of each part that has a loss of its own."""
        nets = {"ae": self.ae, "residual": self.residual, "artefact": self.artefact}
        alone = ("vae", "pixelcnn", "colour")
        nets |= {name: getattr(self, name) for name in alone if hasattr(self, name)}
        if hasattr(self, "wgan"):
            nets |= {name: getattr(self.wgan, name) for name in ("critic", "generator", "encoder")}
        return {name: list(net.parameters()) for name, net in nets.items()}

    def descents(self) -> dict[str, Descent]:
        """Return how the parts descend that do not as all others."""
        slow = dict.fromkeys(("critic", "generator"), Descent(SLOW, BETAS))
        return slow | {"colour": Descent(QUICK, (0.9, 0.999))}

    def due(self) -> list[str]:
        """Return the parts whose turn it is: in validation those whose loss tells how good."""
        parts = list(self.parts())
        if not self.training:
            return [part for part in parts if part not in ("critic", "generator")]
        if int(self.steps) % CRITIC_STEPS:
            parts = [part for part in parts if part != "generator"]
        return parts

    def forward(self, batch: dict[str, Tensor], part: str = "") -> dict[str, Tensor] | Tensor:
        """Return the loss of a part; without one, what is said of each cutout.

        Parameters
        ----------
        batch : dict
            ``image``, ``valid`` (n, band, y, x); ``sigma``, ``scale`` (n, band).
        part : str
            One of ``parts``; then the batch has ``same`` too, see ``objectives``.

        Returns
        -------
        dict
            ``<model>_score``, ``pca_residual``, ``artefact_logit``, ``flux`` (n,), the logarithm
            (base 10) of the light, nJy; ``embedding``, ``residual_embedding``, ``pca`` (n, k).
        """
        if part == "artefact":
            return self.artefact_loss(batch)
        if part == "pixelcnn":
            middle = middle_of(batch["same"], NARROW)
            return mean_of(self.pixelcnn.nll(middle, FINE)[0], middle).mean()
        if part == "colour":
            return self.colour(colours_of(batch["same"]))[0].mean()
        if part:
            return self.loss(part, batch["same"])
        seen = canonical(batch)
        with torch.autocast(seen.image.device.type, enabled=False):
            return self.said(batch, seen, alike(seen))

    def loss(self, part: str, same: Seen) -> Tensor:
        """Return the loss of an autoencoder or a part of the WGAN."""
        floor = self.options.floor
        if part == "ae":
            drawn = self.ae.decode(self.ae.encode(same)[0])
            return mean_of(autoencoder.pixel_nll(same, drawn, FINE), same).mean()
        if part == "residual":
            rest = self.rest(same, self.ae.encode(same)[0].detach())
            drawn = self.residual.decode(self.residual.encode(rest)[0])
            return mean_of(autoencoder.pixel_nll(rest, drawn, 0.0), rest).mean()
        if part == "vae":
            deviates = self.deviates
            if self.training:
                deviates = torch.randn_like(deviates[:1].expand(1, len(same.image), -1))
            bound, _ = negative_elbo(self.vae, same, deviates, FINE)
            return (bound / same.weight.sum((1, 2, 3)).clamp(min=1)).mean()
        if part == "critic":
            return self.wgan.critic_loss(same)
        if part == "generator":
            return self.wgan.generator_loss(same)
        z = self.wgan.encoder(autoencoder.shown(same)).float()
        if self.training:
            self.measure(torch.stack(self.wgan.residuals(same, z, floor), 1))
        return self.wgan.unlikely(same, z, floor).mean()

    @torch.no_grad()
    def measure(self, residuals: Tensor) -> None:
        """Keep count of mean and variance of the WGAN's residuals (n, 2)."""
        share = max(1 - STEEPEST, 1 / (1 + int(self.steps)))
        self.usual[:, 0].lerp_(residuals.mean(0), share)
        self.usual[:, 1].lerp_((residuals - self.usual[:, 0]).square().mean(0), share)

    @torch.no_grad()
    def rest(self, same: Seen, z: Tensor) -> Seen:
        """Return what the autoencoder leaves, in units of its noise and stretched."""
        mean = self.ae.decode(z).mean
        away = (same.image - mean) / variance(same, mean, self.options.floor).sqrt()
        return same._replace(image=asinh(away) * same.valid, noise=torch.ones_like(same.noise))

    def said(self, batch: dict[str, Tensor], seen: Seen, same: Seen) -> dict[str, Tensor]:
        """Return what is said of each cutout; see ``forward``."""
        floor, models = self.options.floor, self.options.models
        z, _ = self.ae.encode(same)
        pca, left = self.subspace(middle_of(seen, NARROW).image.flatten(1))
        output = {
            "embedding": z,
            "residual_embedding": self.residual.encode(self.rest(same, z))[0],
            "pca": pca,
            "pca_residual": left,
            "artefact_logit": self.artefact(spotted(batch))[:, 0],
            "flux": seen.log_flux,
        }
        if "ae" in models:
            output["ae_score"] = torch.log1p(misfit(same, self.ae.decode(z).mean, floor))
        if "vae" in models:
            output["vae_score"] = torch.log1p(bound_of(self.vae, same, self.deviates, floor))
        if "wgan" in models:
            output["wgan_score"] = self.wgan_score(same)
        if "pixelcnn" in models:
            # A galaxy with much to it is unlikely without being odd: what is expected of such a one
            # is taken away.
            middle = middle_of(same, NARROW)
            nll, entropy = self.pixelcnn.nll(middle, FINE)
            output["pixelcnn_score"] = mean_of(nll - entropy, middle)
        if "colour" in models:
            output["colour_score"] = self.colour.oddness(colours_of(same))
        return output

    def wgan_score(self, same: Seen) -> Tensor:
        """Return the WGAN's score (n,): residuals of image and features, each standardised.

        Storey-Fisher et al. 2021, section 3.3.
        """
        options, wgan = self.options, self.wgan
        begin = wgan.encoder(autoencoder.shown(same))
        z = invert(lambda z: wgan.unlikely(same, z, options.floor), begin, options.inversion_steps)
        found = torch.stack(wgan.residuals(same, z, options.floor), 1)
        found = (found - self.usual[:, 0]) / self.usual[:, 1].clamp(min=1e-8).sqrt()
        return options.image_weight * found[:, 0] + (1 - options.image_weight) * found[:, 1]

    def artefact_loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the cross entropy of telling cutouts that an artefact is painted onto."""
        n = len(batch["image"])
        # In validation the same ones every epoch.
        seed = int(torch.randint(2**62, ())) if self.training else 1
        draw = torch.Generator().manual_seed(seed)
        which = torch.randint(len(artefacts.KINDS), (n,), generator=draw)
        painted = torch.rand(n, generator=draw) < PAINTED
        which = torch.where(painted, which, artefacts.NONE).to(batch["image"].device)
        spoilt = with_artefacts(batch, which, artefacts.roll(n, draw))
        logit = self.artefact(spotted(spoilt))[:, 0].float()
        truth = painted.to(logit)
        return nn.functional.binary_cross_entropy_with_logits(logit, truth)


@torch.no_grad()
def with_artefacts(batch: dict[str, Tensor], which: Tensor, dice: Tensor) -> dict[str, Tensor]:
    """Return the batch with artefacts painted onto it; see ``artefacts.paint``."""
    scale = batch["scale"][..., None, None]
    flux = sinh(batch["image"].clamp(-30, 30)) * scale
    empty = torch.zeros_like(batch["valid"], dtype=torch.uint8)
    sigma = torch.where(batch["sigma"] > 0, batch["sigma"], batch["scale"])
    flux, mask = artefacts.paint(flux, empty, sigma, which, dice)
    valid = batch["valid"] & ((mask & UNUSABLE) == 0)
    return batch | {"image": asinh(flux / scale) * valid, "valid": valid}


def spotted(batch: dict[str, Tensor]) -> Tensor:
    """Return what the artefacts' head sees: pixels in units of the noise, and which are valid."""
    with torch.autocast(batch["image"].device.type, enabled=False):
        sigma = torch.where(batch["sigma"] > 0, batch["sigma"], batch["scale"])
        unit = (batch["scale"] / sigma)[..., None, None]
        image = asinh(sinh(batch["image"].float().clamp(-30, 30)) * unit) / 3
        both = torch.cat([image, batch["valid"].to(image.dtype)], 1)
        return both.contiguous(memory_format=torch.channels_last)


def build(options: Options, bands: tuple[str, ...], size: int) -> Anomalies:
    """Build the networks for some bands; cutouts of any side are brought to one of their own."""
    return Anomalies(options, len(bands))


def objectives(net: nn.Module, batch: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the losses of the parts whose turn it is, the critic before the generator.

    In validation they are what tells how good each part is: neither critic nor generator, whose
    losses measure each other. How good the generator is shows in the encoder's loss.
    """
    module, seen = net_of(net), canonical(batch)
    batch = batch | {"same": alike(seen)}
    parts = module.due()
    if module.training:
        module.subspace.update(middle_of(seen, NARROW).image.flatten(1))
        module.steps.add_(1)
    for part in parts:
        yield part, net(batch, part)


@torch.no_grad()
def watch(net: nn.Module, batches: Iterator[dict[str, Tensor]]) -> dict[str, float]:
    """Return the Frechet distance between drawn and real galaxies, in the embedding.

    What is drawn gets the noise and the masks of the real ones. It decides nothing.

    Parameters
    ----------
    net : nn.Module
        The network.
    batches : iterator of dict
        Of the validation split.
    """
    module = net_of(net)
    if not hasattr(module, "wgan"):
        return {}
    real, fake = [], []
    draw = torch.Generator().manual_seed(1)
    for batch in batches:
        same = alike(canonical(batch))
        real.append(module.ae.encode(same)[0])
        z = torch.randn((len(same.image), module.wgan.latent), generator=draw)
        noise = torch.randn(same.image.shape, generator=draw)
        image = module.wgan.generator(z.to(real[-1].device)).float()
        drawn = module.wgan.noisy(image, same, noise.to(image.device))
        fake.append(module.ae.encode(drawn)[0])
    both = [torch.cat(one).float().cpu().numpy() for one in (real, fake)]
    return {"frechet": frechet_distance(*both)}


def net_of(net: nn.Module) -> Anomalies:
    """Return the network inside the engine's wrapping."""
    return getattr(net, "module", net)


def evidence(net: Anomalies, batch: dict[str, Tensor]) -> Tensor:
    """Return the maps (n, y, x) that are drawn beside candidates; see ``residual.residual_map``."""
    return residual_map(net, batch)
