"""Trunks by name: our own small network, a residual network of torchvision's, any of timm's."""

from __future__ import annotations

from torch import Tensor, nn

from astroml.nets.blocks import SmallResNet, group_norm, pooled
from astroml.nets.zoo import PREFIX, Timm


def backbone(
    name: str, channels: int, width: int, blocks: int, size: int = 64
) -> SmallResNet | Torchvision | Timm:
    """Build a trunk.

    Parameters
    ----------
    name : str
        ``small``, a residual network of torchvision such as ``resnet18``, or a model of timm such
        as ``timm/convnext_nano``.
    channels : int
        Channels of the input.
    width, blocks : int
        Of the small network, see ``SmallResNet``; the others have their own.
    size : int
        Side of the input, px; read by models of timm that are made for one size.
    """
    if name == "small":
        return SmallResNet(channels, width, blocks)
    if name.startswith(PREFIX):
        return Timm(name.removeprefix(PREFIX), channels, size)
    return Torchvision(name, channels)


class Torchvision(nn.Module):
    """A residual network of torchvision's, untrained, for cutouts of 32 px and more.

    The stem is one 3x3 convolution that keeps the image's size, without the pooling of the
    original, which was made for 224 px (as He et al. 2016 did for CIFAR). Group norm stands in for
    batch norm: what is said of a cutout then does not depend on its neighbours.

    Parameters
    ----------
    name : str
        ``resnet18``, ``resnet34``, ``resnet50``, ...
    channels : int
        Channels of the input.
    """

    def __init__(self, name: str, channels: int):
        super().__init__()
        from torchvision import models  # takes a second to load, and the small network needs none

        net = getattr(models, name)(norm_layer=group_norm, zero_init_residual=True)
        self.stem = nn.Sequential(
            nn.Conv2d(channels, net.bn1.num_channels, 3, 1, 1, bias=False), net.bn1, nn.ReLU()
        )
        self.body = nn.Sequential(net.layer1, net.layer2, net.layer3, net.layer4)
        self.planes = net.fc.in_features
        """Channels of the last image."""
        self.features = 2 * self.planes
        """Numbers that come out per cutout."""

    def maps(self, x: Tensor) -> Tensor:
        """Map (n, channels, y, x) to the last image, (n, planes, y / 8, x / 8)."""
        return self.body(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, y, x) to (n, features)."""
        return pooled(self.maps(x))
