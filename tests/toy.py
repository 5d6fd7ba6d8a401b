"""Toy skies: small stores with a signal that each task can learn in seconds."""

import numpy as np
from torch import nn

from astroml import tasks
from astroml.photometry import photometry_columns
from astroml.store import Header, write_shard

SIZE = 32

SCALE = 0.262
"""arcsec"""


def blank(n, bands, seed, size=SIZE):
    """Return blocks of noise with the columns that every shard has."""
    rng = np.random.default_rng(seed)
    band = len(bands)
    return {
        "image": rng.normal(0, 2.0, (n, band, size, size)).astype(np.float32),
        "mask": np.zeros((n, band, size, size), np.uint8),
        "sigma": np.full((n, band), 2.0, np.float32),
        "psf_fwhm": np.full((n, band), 1.2, np.float32),
        "objects": {
            "object_id": np.arange(n) + 1000 * seed,
            "ra": rng.uniform(0, 360, n),
            "dec": rng.uniform(-60, 60, n),
            "ebv": np.full(n, 0.02, np.float32),
            "flags": np.zeros(n, np.int32),
            "split": np.array(["train", "train", "val", "test"])[np.arange(n) % 4],
        },
    }


def lens(n, bands, seed, size=SIZE):
    """A galaxy in noise; half of them with an arc around it, and some with a bright column."""
    block = blank(n, bands, seed, size)
    rng = np.random.default_rng([seed, 1])
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    r = np.hypot(y, x)
    is_lens = rng.permutation(np.arange(n) // 4 % 2)
    spoilt, radius, turn = rng.random(n) < 0.2, rng.uniform(6, 9, n), rng.uniform(0, 2 * np.pi, n)
    for i in range(n):
        light = rng.uniform(100, 300) * np.exp(-r / 3)
        side = 1 + 0.7 * (x * np.cos(turn[i]) + y * np.sin(turn[i])) / np.maximum(r, 1)
        arc = rng.uniform(20, 40) * np.exp(-0.5 * (r - radius[i]) ** 2) * side
        for band in range(len(bands)):
            fade = 1 - band / len(bands) / 2
            block["image"][i, band] += light * (1 - fade / 2) + arc * fade * is_lens[i]
        block["image"][i, 0, :, rng.integers(size)] += 40 * spoilt[i]
    found = {
        "theta_e": radius * 0.262,
        "arc_snr": np.full(n, 50.0),
        "source_x": 0.4 * np.cos(turn),
        "source_y": 0.4 * np.sin(turn),
    }
    for name, values in found.items():
        block["objects"][name] = (values * is_lens).astype(np.float32)
    block["objects"] |= {"is_lens": is_lens, "artefact": spoilt.astype(np.int64)}
    return block


def photoz(n, bands, seed, size=SIZE):
    """A galaxy in noise, the redder and the fainter the farther it is."""
    block = blank(n, bands, seed, size)
    rng = np.random.default_rng([seed, 2])
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    profile = np.exp(-np.hypot(y, x) / 2.5) / (2 * np.pi * 2.5**2)
    z_spec = rng.uniform(0.05, 0.65, n)
    dust = 10 ** (-0.4 * 0.02 * np.linspace(4.0, 1.2, len(bands)))
    # From the bluest to the reddest band the light falls by 4 z mag less.
    slope = 4 * (np.linspace(1, 0, len(bands)) if len(bands) > 1 else np.ones(1))
    faintness = 2 * z_spec + rng.normal(0, 0.1 if len(bands) == 1 else 0.4, n)
    flux = 30_000 * 10 ** (-0.4 * (faintness[:, None] + slope * z_spec[:, None])) * dust
    block["image"] += (flux[..., None, None] * profile).astype(np.float32)
    seen = [block[name] for name in ("image", "mask", "sigma", "psf_fwhm")]
    measured = photometry_columns(*seen, SCALE, bands, np.broadcast_to(dust, (n, len(bands))))
    block["objects"] |= {"z_spec": z_spec.astype(np.float32), **measured}
    return block


def tidal(n, bands, seed, size=SIZE):
    """A galaxy in noise; half of them with a piece of a ring around it, narrow or wide."""
    block = blank(n, bands, seed, size)
    rng = np.random.default_rng([seed, 3])
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    r, angle = np.hypot(y, x), np.arctan2(y, x)
    is_tidal = rng.permutation(np.arange(n) // 4 % 2)
    which, turn = rng.integers(0, 4, n), rng.uniform(-np.pi, np.pi, n)
    radius, flux = rng.uniform(9, 12, n), np.zeros(n)
    truth = np.zeros((n, size, size), np.uint8)
    for i in range(n):
        light = rng.uniform(100, 300) * np.exp(-r / 3)
        away = np.abs((angle - turn[i] + np.pi) % (2 * np.pi) - np.pi)
        shape = np.exp(-0.5 * ((r - radius[i]) / (1 + which[i] / 3)) ** 2) * (away < 1.2)
        feature = rng.uniform(8, 14) * shape * is_tidal[i]
        block["image"][i] += light + feature
        truth[i] = (feature > 3) << which[i]
        flux[i] = feature.sum()
    block["truth"] = truth
    area = (truth > 0).sum((1, 2)) * SCALE**2
    mu = 31.4 - 2.5 * np.log10(np.maximum(flux, 1e-9) / np.maximum(area, 1e-9))
    block["objects"] |= {
        "is_tidal": is_tidal,
        "kind": np.where(is_tidal == 1, "tidal", "plain"),
        "mu_feature": np.where(is_tidal == 1, mu, 0).astype(np.float32),
        "feature_flux": flux.astype(np.float32),
        "feature_area": area.astype(np.float32),
    }
    for at, name in enumerate(("stream", "shell", "tail", "diffuse")):
        block["objects"][name] = ((which == at) & (is_tidal == 1)).astype(np.int64)
    return block


def cluster(n, bands, seed, size=SIZE):
    """Blue galaxies in noise, or red ones around a centre, the redder the farther they are."""
    block = blank(n, bands, seed, size)
    rng = np.random.default_rng([seed, 4])
    slots = {f"cluster_{name}_{k}": np.full(n, np.nan) for name in WANTED for k in range(6)}
    there = rng.permutation(np.arange(n) // 4 % 2)
    truth = np.zeros((n, size, size), np.uint8)
    at = np.arange(size)
    for i in range(n):
        z, richness = rng.uniform(0.15, 0.55), int(rng.uniform(12, 40))
        number = richness if there[i] else 6
        centre = rng.integers(size // 4, 3 * size // 4, 2)
        places = centre + rng.normal(0, size / 10, (number, 2))
        if there[i]:
            places[0], truth[i, centre[0], centre[1]] = centre, 1
        else:
            places = rng.uniform(0, size, (number, 2))
        flux = np.sort(rng.uniform(100, 400, number))[::-1]
        # From band to band a cluster's galaxies are redder by so many magnitudes.
        step = 0.5 + 2.5 * z if there[i] else 0.2
        for band in range(len(bands)):
            dim = 10 ** (-0.4 * step * (len(bands) - 1 - band))
            along = np.exp(-0.5 * ((at - places[..., None]) / 0.9) ** 2) / (0.9 * 2.507)
            block["image"][i, band] += np.einsum("k,ky,kx->yx", flux * dim, *along.swapaxes(0, 1))
        if there[i]:
            north, east = (centre - (size - 1) / 2) * (1, -1) * SCALES["cluster"] / 3600
            dec = block["objects"]["dec"][i] + north
            ra = block["objects"]["ra"][i] + east / np.cos(np.radians(dec))
            for name, value in zip(WANTED, (ra % 360, dec, z, richness)):
                slots[f"cluster_{name}_0"][i] = value
    block["truth"] = truth
    places_ = {name: v for name, v in slots.items() if name.split("_")[1] in ("ra", "dec")}
    block["objects"] |= {name: values.astype(np.float32) for name, values in slots.items()}
    block["objects"] |= places_ | {
        "clusters": there.astype(np.int64),
        "kind": np.where(there == 1, "cluster", "blank"),
    }
    return block


def anomaly(n, bands, seed, size=SIZE):
    """A galaxy in noise, one in ten with a bright ring around it, a few with a bright row."""
    block = blank(n, bands, seed, size)
    rng = np.random.default_rng([seed, 5])
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    odd = rng.permutation(np.arange(n) // 4 % 10 == 0)
    spoilt = ~odd & (rng.random(n) < 0.05)
    for i in range(n):
        turn, axis = rng.uniform(0, np.pi), rng.uniform(0.6, 1)
        along = x * np.cos(turn) + y * np.sin(turn)
        across = (y * np.cos(turn) - x * np.sin(turn)) / axis
        light = 400 * np.exp(-np.hypot(along, across) / rng.uniform(2.2, 3))
        ring = 60 * np.exp(-0.5 * (np.hypot(x, y) - rng.uniform(7, 9)) ** 2) * odd[i]
        block["image"][i] += light + ring
        block["image"][i, :, rng.integers(size)] += 100 * spoilt[i]
    block["objects"] |= {
        "is_interesting": odd.astype(np.int64),
        "is_artefact": spoilt.astype(np.int64),
        "kind": np.where(odd, "ring", np.where(spoilt, "trail", "galaxy")),
        "mag_i": np.full(n, 20.0, np.float32),
    }
    return block


WANTED = ("ra", "dec", "z", "richness")
"""What a store has of each cluster of a tile."""

SCALES = {"cluster": 4.192}
"""Pixel side of the toy skies that need another than ``SCALE``, arcsec."""

SKIES = {"lens": lens, "photoz": photoz, "tidal": tidal, "cluster": cluster, "anomaly": anomaly}
"""Task name -> toy sky: (rows, bands, seed, size) -> block of a store."""


def toy_store(path, task="lens", n=160, bands=("g", "r", "z"), seed=1, size=SIZE, change=None):
    """Write a shard of a task's toy sky; ``change`` may edit the block first."""
    blocks = [SKIES[task](n, bands, seed, size)] if n else []
    for block in blocks:
        if change:
            change(block)
    cutouts = tasks.load(task).SET
    write_shard(path, Header(cutouts, tuple(bands), size, SCALES.get(task, SCALE), "toy"), blocks)
    return path


FLOORS = {
    "lens": {
        "options": {"width": 8, "train": {"epochs": 8, "batch_size": 16, "ema": 0.9}},
        "metric": "auroc",
        "least": 0.95,
    },
    "photoz": {
        "options": {
            "bins": 100,
            "width": 8,
            "train": {"epochs": 16, "batch_size": 16, "ema": 0.9},
        },
        "metric": "sigma_mad",
        "most": 0.04,
    },
    "cluster": {
        "options": {"width": 8, "train": {"epochs": 14, "batch_size": 16, "ema": 0.9}},
        "metric": "sigma_z",
        "most": 0.05,
    },
    "anomaly": {
        "options": {
            "width": 8,
            "models": ["ae"],
            "train": {"epochs": 12, "batch_size": 16, "ema": 0.9},
        },
        "metric": "auroc",
        "least": 0.9,
    },
    "tidal": {
        "options": {"width": 8, "train": {"epochs": 8, "batch_size": 16, "ema": 0.9}},
        "metric": "auroc",
        "least": 0.95,
    },
}
"""Task name -> how it is trained on its toy sky, and what it must reach there: ``least`` at least,
or ``most`` at most, where small is good."""


class TwoParts(nn.Module):
    """A network of two parts that take turns."""

    def __init__(self):
        super().__init__()
        self.critic, self.generator = nn.Linear(2, 1), nn.Linear(2, 2)

    def parts(self):
        return {"critic": self.critic.parameters(), "generator": self.generator.parameters()}
