"""What a lens is described by: its parameters, how a network sees them, how they turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LABEL = "is_lens"
"""Object column with the truth: 1 for a lens, 0 for anything else."""

ARTEFACT = "artefact"
"""Object column: 1 where the cutout has a defect, such as a bad column, a cosmic ray or a trail."""


@dataclass(frozen=True)
class Parameter:
    """A number of the lens model. The network sees ``(value - centre) / scale``, of order one."""

    scale: float
    """Spread of the values, or of their logarithms."""
    unit: str
    ucd: str
    meaning: str
    centre: float = 0.0
    log: bool = False
    """Whether it is positive: its natural logarithm is what is learnt, and normally distributed."""

    def seen(self, value: np.ndarray) -> np.ndarray:
        """Return what the network sees of values (n,); NaN where one is not to be seen."""
        value = np.asarray(value, float)
        if self.log:
            value = np.log(np.where(value > 0, value, np.nan))
        return (value - self.centre) / self.scale

    def told(self, mean: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return value and error (n,) of what the network says.

        The error is half the width of the central 68%: sigma of a normal distribution, and of a
        log-normal one median times sinh(sigma).
        """
        # What an untrained network says must stay a number.
        mean, sigma = np.clip(np.asarray(mean, float), -40, 40), np.minimum(sigma, 40)
        mean, sigma = mean * self.scale + self.centre, sigma * self.scale
        if self.log:
            return np.exp(mean), np.exp(mean) * np.sinh(sigma)
        return mean, sigma


_ELLIPTICITY = "of the lens mass, (1 - q) / (1 + q)"

PARAMETERS = {
    "theta_e": Parameter(
        0.5, "arcsec", "phys.angSize", "Einstein radius", centre=float(np.log(1.4)), log=True
    ),
    "e1": Parameter(0.15, "", "src.ellipticity", f"Ellipticity {_ELLIPTICITY} cos 2 phi"),
    "e2": Parameter(0.15, "", "src.ellipticity", f"Ellipticity {_ELLIPTICITY} sin 2 phi"),
    "shear_1": Parameter(0.04, "", "src.morph.param", "External shear, first component"),
    "shear_2": Parameter(0.04, "", "src.morph.param", "External shear, second component"),
    "source_x": Parameter(
        0.35, "arcsec", "pos.cartesian.x", "Source before lensing, from the lens centre, in x"
    ),
    "source_y": Parameter(
        0.35, "arcsec", "pos.cartesian.y", "Source before lensing, from the lens centre, in y"
    ),
}
"""Parameters of a lens, angles counted from the x axis of the cutout towards y. Labels of these
names are learnt from where a store has them."""

TURNS = {
    "vector": (("source_x", "source_y"), ("source_x_mean", "source_y_mean")),
    "spin2": (
        ("e1", "e2"),
        ("shear_1", "shear_2"),
        ("e1_mean", "e2_mean"),
        ("shear_1_mean", "shear_2_mean"),
    ),
    "swapped": (("source_x_logvar", "source_y_logvar"),),
}
"""Labels and outputs that turn with the image; see ``nets.augment.turn``."""


def sigma_of(output: dict, name: str) -> np.ndarray:
    """Return the claimed standard deviation (n,) of a parameter, as the network sees it."""
    return np.exp(0.5 * np.asarray(output[f"{name}_logvar"], float))
