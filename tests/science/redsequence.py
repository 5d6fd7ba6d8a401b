"""Clusters by a matched filter on a galaxy catalog: the method to beat.

What redMaPPer does in essence (Rykoff et al. 2014, ApJ 785, 104), with the filter's three parts
known exactly: colours of the red sequence, Schechter magnitudes, a projected NFW profile. Richness
is the sum of membership probabilities, each the ratio of the filter to filter and background; the
background is measured in tiles without clusters. Positions are arcsec from the tile's centre.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import exp1

from astroml.sky import groups, members
from astroml.sky.lensing import angular_scale
from astroml.tasks.cluster.match import listed, match, true_clusters

Z = np.round(np.arange(0.06, 0.701, 0.01), 3)
"""Redshifts that are tried."""

FAINT = 1.75
"""Magnitudes below m* of the faintest members that count: 0.2 L*."""

CHI2_EDGES = np.array([0, 0.5, 1, 2, 3, 4, 6, 8, 11, 15])
"""Bins of chi2 in which the background is measured; beyond the last nothing is a member."""

DEPTH_EDGES = np.array([-4.0, -2, -1.2, -0.6, -0.2, 0.2, 0.5, 0.8, 1.1, 1.4, FAINT])
"""Bins of i magnitude minus m*."""

CENTRAL = 0.3
"""Magnitudes below m* of the faintest galaxy that may be a centre."""

CENTRES = 12
"""Brightest red galaxies that are tried as centres at each redshift."""

ITERATIONS = 12
"""Steps of the sum of probabilities towards itself."""

LEAST = 4.0
"""Richness without which nothing is said to be there."""

MOST = 4
"""Clusters of a tile at most."""

RICH = 20
"""Richness from which clusters tell how much of it is lost."""

CENTRE_WEIGHT = 1.5
"""Width, mag, of the brightest galaxy's magnitude around its mean, 1.7 above m*."""


@dataclass
class Filter:
    """The filter of one band set: red sequence, and the background that ``learn`` measures."""

    wavelengths: list[float]
    side: float
    """Side of the tiles, arcsec."""
    counts: np.ndarray = field(default=None)
    area: float = 0.0
    shift: float = 0.0
    """Mean of ln (measured / true richness), taken off."""

    def learn(self, catalogs) -> None:
        """Measure the background, per bin of redshift, depth and chi2, in blank tiles."""
        shape = (len(Z), len(DEPTH_EDGES) - 1, len(CHI2_EDGES) - 1)
        self.counts = np.zeros(shape) if self.counts is None else self.counts
        for catalog in catalogs:
            depth, chi2 = self.compare(galaxies(catalog))
            deep, far = _bins(depth, DEPTH_EDGES), _bins(chi2, CHI2_EDGES)
            inside = (deep >= 0) & (far >= 0)
            which = np.broadcast_to(np.arange(len(Z))[:, None], depth.shape)[inside]
            np.add.at(self.counts, (which, deep[inside], far[inside]), 1)
            self.area += self.side**2

    def learn_shift(self, catalogs: list[dict], objects: dict) -> None:
        """Measure by how much richness is off, in tiles whose clusters are known."""
        found = [self.find(one) for one in catalogs]
        found = as_rows(found, np.arange(len(catalogs)), self.side)
        names = {
            "tile": "object_id",
            "x": "x",
            "y": "y",
            "z": "z_cluster",
            "score": "cluster_score",
        }
        clusters = listed(true_clusters(objects))
        belongs = match({name: found[column] for name, column in names.items()}, clusters)
        right = (belongs >= 0) & (clusters["richness"][belongs] >= RICH)
        ratio = found["richness"][right] / clusters["richness"][belongs[right]]
        self.shift += float(np.median(np.log(ratio)))

    def compare(self, seen: dict) -> tuple[np.ndarray, np.ndarray]:
        """Return depth, magnitudes below m*, and chi2 from the red sequence, each (z, galaxy)."""
        mag, error = seen["mag"], seen["mag_err"]
        bands = len(self.wavelengths)
        near = int(np.abs(np.array(self.wavelengths) - members.REFERENCE).argmin())
        none = np.zeros((len(Z), bands))
        level = members.red_sequence(Z, np.zeros(len(Z)), none, self.wavelengths)
        m_star = members.m_star(Z, members.REFERENCE)[:, None] + level  # (z, band)
        depth = mag[None, :, near] - m_star[:, None, near]
        tilt = members.red_sequence(Z[:1], np.ones(1), none[:1], self.wavelengths)[0] - level[0]
        # Neighbouring bands' colours; their errors share a band.
        colour = -np.diff(mag, axis=1)[None] + np.diff(m_star, axis=1)[:, None]
        colour = colour + depth[..., None] * np.diff(tilt)
        own = error**2 + members.SCATTER**2 / 2
        cov = np.zeros((len(mag), bands - 1, bands - 1))
        each = np.arange(bands - 1)
        cov[:, each, each] = own[:, :-1] + own[:, 1:]
        cov[:, each[1:], each[:-1]] = cov[:, each[:-1], each[1:]] = -own[:, 1:-1]
        chi2 = np.einsum("zgi,gij,zgj->zg", colour, np.linalg.inv(cov), colour)
        return depth, chi2

    def find(self, catalog: dict) -> dict[str, np.ndarray]:
        """Return ``x``, ``y``, ``z``, ``richness``, ``score`` (d,) of the clusters of a tile."""
        seen = galaxies(catalog)
        depths, chi2 = self.compare(seen)
        light, ground = self._weights(depths, chi2)
        free, found = np.ones(len(seen["x"])), []
        for _ in range(MOST):
            best = self._best(seen, depths, light, ground, free)
            if best is None:
                break
            member = best.pop("member")
            found.append(best)
            free = free * (1 - member)
        names = ("x", "y", "z", "richness", "score")
        return {name: np.array([one[name] for one in found], float) for name in names}

    def _weights(self, depth, chi2) -> tuple[np.ndarray, ...]:
        """Return filter and background (z, galaxy): per unit of depth and chi2, and of area."""
        nu = len(self.wavelengths) - 1
        share = 0.5 * (chi2 / 2) ** (nu / 2 - 1) * np.exp(-chi2 / 2) / math.gamma(nu / 2)
        ratio = 10 ** (-0.4 * depth)
        light = 0.4 * math.log(10) * np.exp(-ratio) / exp1(groups.BRIGHT)
        deep, far = _bins(depth, DEPTH_EDGES), _bins(chi2, CHI2_EDGES)
        inside = (deep >= 0) & (far >= 0)
        which = np.broadcast_to(np.arange(len(Z))[:, None], depth.shape)
        step = np.diff(DEPTH_EDGES)[deep] * np.diff(CHI2_EDGES)[far]
        # Half a galaxy where none was seen.
        ground = (self.counts[which, deep, far] + 0.5) / (self.area * step)
        return np.where(inside, light * share, 0.0), ground

    def _best(self, seen, depths, light, ground, free) -> dict | None:
        """Return the likeliest cluster: place, redshift, richness, and its members' probability."""
        tried = []
        for at, z in enumerate(Z):
            near = np.flatnonzero(light[at] * free > 1e-6)
            depth = depths[at, near]
            able = np.flatnonzero((depth < CENTRAL) & (free[near] > 0.5))
            able = able[np.argsort(depth[able])][:CENTRES]
            if not len(able):
                continue
            centre = near[able]
            away = np.hypot(seen["x"][centre, None] - seen["x"][near],
                            seen["y"][centre, None] - seen["y"][near])  # fmt: skip
            away = away * angular_scale(z) / 1000  # Mpc
            signal = light[at, near] * free[near]
            one = _richness(away, signal, ground[at, near], angular_scale(z) / 1000)
            bright = np.minimum(depth[able] + 1.7, 3.0)
            score = one[1] - 0.5 * (bright / CENTRE_WEIGHT) ** 2
            tried.append((score, one[0], centre, np.full(len(centre), at)))
        if not tried:
            return None
        score, richness, centre, at = (np.concatenate(one) for one in zip(*tried))
        score = np.where(richness >= LEAST, score, -np.inf)
        top = int(score.argmax())
        if not np.isfinite(score[top]):
            return None
        z = _peak(at, score, centre, top)
        middle, plane = centre[top], at[top]
        scale = angular_scale(Z[plane]) / 1000
        away = np.hypot(seen["x"] - seen["x"][middle], seen["y"] - seen["y"][middle]) * scale
        place, whole = (seen["x"][middle], seen["y"][middle]), richness[top]
        for _ in range(ITERATIONS):
            member = _members(whole, away, light[plane] * free, ground[plane], scale)
            whole = max(member.sum(), 1.0) / self._covered(*place, whole, scale)
        return {
            "x": place[0], "y": place[1], "z": z, "score": score[top], "member": member,
            "richness": whole * math.exp(-self.shift),
        }  # fmt: skip

    def _covered(self, x: float, y: float, richness: float, scale: float) -> float:
        """Return the share of the profile within R_lambda that lies in the tile."""
        reach = groups.radius_of(richness) / scale
        steps = (np.arange(41) - 20) / 20 * reach
        dx, dy = np.meshgrid(steps, steps)
        weight = _profile(np.hypot(dx, dy) * scale, groups.radius_of(richness))
        half = self.side / 2
        inside = (np.abs(x + dx) < half) & (np.abs(y + dy) < half)
        return max(float((weight * inside).sum() / weight.sum()), 0.3)


def galaxies(catalog: dict) -> dict[str, np.ndarray]:
    """Return ``x``, ``y``, ``mag`` and ``mag_err`` (k, band) of what is extended and seen."""
    good = ~catalog["is_star"] & (catalog["flux"] > 2 * catalog["flux_err"]).all(1)
    flux, error = (catalog[name][good] for name in ("flux", "flux_err"))
    mags = {"mag": 31.4 - 2.5 * np.log10(flux), "mag_err": 1.0857 * error / flux}
    return mags | {name: catalog[name][good] for name in "xy"}


def _bins(values, edges) -> np.ndarray:
    """Return the bin of each value, -1 outside."""
    place = np.searchsorted(edges, values, side="right") - 1
    return np.where((place >= 0) & (place < len(edges) - 1), place, -1)


def _profile(away, radius) -> np.ndarray:
    """Return the projected NFW profile per Mpc2, 1 within ``radius``, both Mpc; 0 beyond it."""
    at, red, _ = groups._profile()
    share = np.gradient(red, at) / (2 * math.pi * np.maximum(at, at[1]))
    x = away / radius
    return np.where(x <= 1, np.interp(x, at, share), 0) / radius**2


def _members(richness, away, signal, ground, scale) -> np.ndarray:
    """Return the membership probability of galaxies at ``away`` Mpc; ``scale`` is Mpc/arcsec."""
    radius = groups.radius_of(richness)
    expected = np.asarray(richness) * _profile(away, radius) * scale**2 * signal
    return expected / (expected + ground)


def _richness(away, signal, ground, scale) -> tuple[np.ndarray, np.ndarray]:
    """Return richness and log likelihood ratio of centres (c,) with galaxies at ``away`` (c, k)."""
    richness = np.full((len(away), 1), 25.0)
    for _ in range(ITERATIONS):
        richness = np.maximum(_members(richness, away, signal, ground, scale).sum(1), 1.0)[:, None]
    member = np.minimum(_members(richness, away, signal, ground, scale), 1 - 1e-9)
    return richness[:, 0], -richness[:, 0] - np.log1p(-member).sum(1)


def _peak(at, score, centre, top: int) -> float:
    """Return the redshift at the top of a parabola through the best and its neighbours."""
    mine = centre == centre[top]
    near = [score[mine & (at == at[top] + step)] for step in (-1, 0, 1)]
    if any(len(one) == 0 or not np.isfinite(one[0]) for one in near):
        return float(Z[at[top]])
    low, mid, high = (float(one[0]) for one in near)
    bend = low - 2 * mid + high
    shift = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return float(Z[at[top]] + np.clip(shift, -0.5, 0.5) * (Z[1] - Z[0]))


def as_rows(found: list[dict], object_id, side: float) -> dict[str, np.ndarray]:
    """Return the clusters of tiles in the form that ``score`` of the task measures."""
    names = {"x": "x", "y": "y", "z": "z_cluster", "richness": "richness", "score": "cluster_score"}
    rows = {column: np.concatenate([one[name] for one in found]) for name, column in names.items()}
    count = [len(one["x"]) for one in found]
    rows |= {"object_id": np.repeat(object_id, count), "tile_side": np.full(sum(count), side)}
    return rows
