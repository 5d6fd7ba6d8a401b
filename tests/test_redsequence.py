"""The matched filter: what it says of clusters that were planted, and of tiles without one."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "science"))
import redsequence

from astroml.sky import groups, members
from astroml.sky.lensing import angular_scale

WAVELENGTHS = [478.0, 642.0, 920.0]
SIDE = 335.0


def field(rng, n=500):
    """Return galaxies of all colours at random places."""
    mag = 24 - 3.5 * rng.random(n) ** 2
    colour = np.stack([rng.uniform(0.5, 2.0, n), np.zeros(n), -rng.uniform(0.2, 1.6, n)], 1)
    return rng.uniform(-SIDE / 2, SIDE / 2, (2, n)), mag[:, None] + colour


def planted(rng, z, richness, x=20.0, y=-30.0):
    """Return red galaxies around a place: magnitudes and distances of the filter's own laws."""
    n = richness
    depth = np.concatenate([[-1.7], groups._depths(0.2, 10 ** (0.4 * 1.7), rng.random(n - 1))])
    colour = members.red_sequence(np.full(n, z), depth, rng.standard_normal((n, 3)), WAVELENGTHS)
    mag = members.m_star(np.full(n, z), members.REFERENCE)[:, None] + depth[:, None] + colour
    at, red, _ = groups._profile()
    away = np.interp(rng.random(n) * np.interp(1, at, red), red, at) * groups.radius_of(n)
    away = away * 1000 / angular_scale(z) * (np.arange(n) > 0)
    turn = 2 * np.pi * rng.random(n)
    return np.stack([x + away * np.cos(turn), y + away * np.sin(turn)]), mag


def catalog(rng, *parts, noise=0.02):
    places, mags = (np.concatenate(one, axis) for one, axis in zip(zip(*parts), (1, 0)))
    flux = 10 ** (-0.4 * (mags - 31.4))
    error = np.hypot(noise * flux, 40.0)
    flux = flux + error * rng.standard_normal(flux.shape)
    star = np.zeros(len(flux), bool)
    whole = {"x": places[0], "y": places[1], "flux": flux, "flux_err": error, "is_star": star}
    inside = (np.abs(places) < SIDE / 2).all(0)
    return {name: values[inside] for name, values in whole.items()}


@pytest.fixture(scope="module")
def method():
    made = redsequence.Filter(WAVELENGTHS, SIDE)
    rng = np.random.default_rng(1)
    made.learn(catalog(rng, field(rng)) for _ in range(25))
    return made


@pytest.mark.parametrize("z", [0.15, 0.3, 0.5])
def test_a_planted_cluster_is_found_where_it_is(method, z):
    scores, ratios, shifts = [], [], []
    for seed in range(4):
        rng = np.random.default_rng([seed, round(100 * z)])
        found = method.find(catalog(rng, field(rng), planted(rng, z, 50)))
        assert np.hypot(found["x"][0] - 20, found["y"][0] + 30) * angular_scale(z) < 400  # kpc
        scores.append(found["score"][0])
        ratios.append(np.log(found["richness"][0] / 50))
        shifts.append((found["z"][0] - z) / (1 + z))
    assert np.abs(shifts).max() < 0.02
    assert abs(np.mean(ratios)) < 0.25
    blank = method.find(catalog(np.random.default_rng(99), field(np.random.default_rng(98))))
    assert blank["score"].max(initial=-np.inf) < min(scores) - 5


def test_colours_decide_the_redshift(method):
    """chi2 from the red sequence is least at a galaxy's own redshift, and one per colour there."""
    rng = np.random.default_rng(3)
    z = np.repeat(redsequence.Z[[10, 24, 40]], 400)
    mag = members.m_star(z, members.REFERENCE)[:, None] + members.red_sequence(
        z, np.zeros(len(z)), rng.standard_normal((len(z), 3)), WAVELENGTHS
    )
    _, chi2 = method.compare({"mag": mag, "mag_err": np.zeros_like(mag)})
    for at in (10, 24, 40):
        mine = z == redsequence.Z[at]
        assert chi2[at, mine].mean() == pytest.approx(2, rel=0.15)
        assert chi2[:, mine].mean(1).argmin() == pytest.approx(at, abs=1)


def test_the_profile_holds_one_within_its_radius():
    away = np.linspace(0, 2, 4001)
    density = redsequence._profile(away, 0.8)
    assert np.trapezoid(density * 2 * np.pi * away, away) == pytest.approx(1, abs=0.02)
    assert (density[away > 0.8] == 0).all()


def test_richness_is_the_number_of_members_without_a_background():
    rng = np.random.default_rng(4)
    away = np.sort(rng.uniform(0.02, 0.5, (1, 40)), 1)
    richness, _ = redsequence._richness(away, np.full(40, 0.3), np.full(40, 1e-12), 0.004)
    assert richness[0] == pytest.approx(40, rel=0.01)


def test_an_empty_tile_has_nothing(method):
    rng = np.random.default_rng(5)
    empty = {name: one[:0] for name, one in catalog(rng, field(rng)).items()}
    found = method.find(empty)
    rows = redsequence.as_rows([found, found], np.array([1, 2]), SIDE)
    assert all(len(one) == 0 for one in rows.values())
