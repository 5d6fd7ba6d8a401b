"""The simulated sky of tidal features: light, surface brightness, truth, twins, foreground."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from astropy.io import fits

from astroml import store, tasks
from astroml.config import Inject, Splits
from astroml.errors import AstromlError
from astroml.sky import disturb, foreground, halo, simulate, tides
from astroml.sky.debris import FEATURE_NAMES, knots, paint_features
from astroml.sky.lensing import angular_scale
from astroml.sky.noise import unit_noise
from astroml.store import MASK
from astroml.survey import galactic_extinction, load_survey, njy_per_unit, summed_noise
from astroml.tasks.tidal.kinds import BITS, CLASSES, NEGATIVES, NUISANCES, Sky

SIZE, SCALE = 80, 0.75
sky_room = tasks.load("tidal", "sky")


@pytest.fixture(scope="module")
def survey():
    return load_survey("hsc", ["g", "r", "i"]).rescaled(SCALE)


def drawn(survey, count, seed=3, **options):
    return sky_room.population(Sky(objects=count, **options), survey, seed)


def light_of(columns, survey, seed=3):
    rows = np.arange(len(columns["kind"]))
    found = halo.draw_light(columns, survey, SIZE, rows, "cpu", seed)
    return {name: values.numpy() for name, values in found.items()}


@pytest.fixture(scope="module")
def tidal(survey):
    """One feature each, a class after the other."""
    columns = [
        drawn(survey, 12, tidal_fraction=1, several=0, classes={name: 1}) for name in CLASSES
    ]
    columns = {name: np.concatenate([one[name] for one in columns]) for name in columns[0]}
    return columns, light_of(columns, survey)


@pytest.fixture(scope="module")
def mixed(survey):
    columns = drawn(survey, 96)
    return columns, sky_room.render(columns, survey, SIZE, np.arange(96), seed=3)


def test_classes_have_one_order():
    assert tuple(tides.CLASSES) == CLASSES == tasks.load("tidal").CLASSES
    assert [BITS[name] for name in CLASSES] == [1, 2, 4, 8]


def test_flux_of_a_feature_is_its_label(tidal):
    columns, light = tidal
    known = sky_room.labels(columns, light | {"psf_fwhm": columns["psf_fwhm"]})
    np.testing.assert_allclose(
        light["features"][:, 1].sum((1, 2)), known["feature_flux"], rtol=1e-4
    )
    assert (known["feature_flux"] > 0).all()


def test_surface_brightness_is_what_was_drawn(tidal):
    """Measured on pixels without noise, by a footprint that is found anew here."""
    columns, light = tidal
    for row, seen in enumerate(light["features"][:, 1].astype(float)):
        bright = seen > halo.OF_MEAN * (seen**2).sum() / seen.sum()
        mu = 31.4 - 2.5 * np.log10(seen[bright].mean() / SCALE**2)
        assert mu == pytest.approx(columns["feature_mu_seen"][row, 0], abs=0.01)
        assert mu == pytest.approx(light["mu_feature"][row], abs=0.01)
        assert light["feature_area"][row] == pytest.approx(bright.sum() * SCALE**2, rel=0.02)


def test_features_are_dimmed_by_redshift_and_dust(survey, tidal):
    assert tides.dimmed(26.0, 0.0) == 26.0
    # (1 + z)^4 is 10 log10(1 + z) mag.
    assert tides.dimmed(26.0, 0.25) == pytest.approx(26 + 2.5 * np.log10(1.25**4))
    columns, _ = tidal
    dust = galactic_extinction(columns["ebv"], [survey.bands["r"].wavelength])[:, 0]
    gap = columns["feature_mu_seen"][:, 0] - columns["feature_mu"][:, 0]
    np.testing.assert_allclose(gap, 10 * np.log10(1 + columns["z"]) + dust, atol=1e-5)


def test_laws_of_surface_brightness():
    rng = np.random.default_rng(1)
    flat = np.array([tides.draw_mu(rng, (24.5, 28.5), "flat") for _ in range(4000)])
    counts = np.histogram(flat, 4, (24.5, 28.5))[0]
    assert (np.abs(counts - 1000) < 120).all()
    real = np.array([tides.draw_mu(rng, (24.5, 28.5), "sky") for _ in range(4000)])
    assert 25.5 <= real.min() < real.max() <= 28
    low, high = np.histogram(real, [25.5, 26.5, 27.5])[0]
    assert high / low == pytest.approx(10**tides.SKY_SLOPE, rel=0.15)


def test_light_of_features_on_the_sky_is_a_few_percent(survey):
    columns = drawn(survey, 60, tidal_fraction=1, several=0, mu_law="sky")
    light = light_of(columns, survey)
    share = light["feature_flux"] / columns["part_flux"][:, :2, 1].sum(1)
    assert 0.005 < np.median(share) < 0.04


def test_truth_covers_the_bright_pixels_and_only_these(survey, tidal):
    columns, light = tidal
    noise = halo.OF_NOISE * columns["sigma"][:, 1] * summed_noise(survey.noise_correlation, 5) / 25
    for row, seen in enumerate(light["features"][:, 1].astype(float)):
        mean = (seen**2).sum() / seen.sum()
        whole = seen + light["galaxies"][row, 1]
        want = (seen > halo.OF_MEAN * mean) & (seen > noise[row]) & (seen > halo.OF_LIGHT * whole)
        got = light["truth"][row] > 0
        assert (got != want).sum() <= 2
        assert set(np.unique(light["truth"][row])) <= {0, columns["feature_bit"][row, 0]}
        # Most of what lies beyond is faint.
        assert seen[got].sum() > 0.35 * seen[whole < 3 * seen].sum()


def test_two_features_have_their_own_bits(survey):
    columns = drawn(survey, 16, tidal_fraction=1, several=1)
    light = light_of(columns, survey)
    bits = columns["feature_bit"]
    assert ((bits[:, 0] > 0) & (bits[:, 1] > 0) & (bits[:, 0] != bits[:, 1])).all()
    assert ((light["truth"] & ~(bits[:, 0] | bits[:, 1])[:, None, None]) == 0).all()
    known = sky_room.labels(columns, light | {"psf_fwhm": columns["psf_fwhm"]})
    assert (sum(known[name] for name in CLASSES) == 2).all()


def test_a_twin_is_its_galaxy_without_the_feature(survey, mixed):
    columns, rendered = mixed
    twins = np.flatnonzero(columns["kind"] == "twin")
    assert len(twins) > 10
    light = light_of(columns, survey)
    for twin in twins:
        host = columns["key"][twin]
        assert columns["kind"][host] == "tidal"
        assert columns["group"][twin] == columns["group"][host] >= 0
        np.testing.assert_array_equal(light["galaxies"][twin], light["galaxies"][host])
        for name in ("sigma", "psf_fwhm", "background", "residue", "foreground_which", "ebv"):
            np.testing.assert_array_equal(columns[name][twin], columns[name][host])
        assert not light["features"][twin].any()
        assert light["features"][host].any()
        # Noise is its own.
        assert (rendered["image"][twin] != rendered["image"][host]).mean() > 0.9
    alone = ~np.isin(columns["kind"], ("twin", "tidal"))
    assert (columns["group"][alone] == -1).all()


def test_strength_takes_the_light_and_leaves_everything_else(survey):
    options = {"tidal_fraction": 0.6}
    with_, none = (drawn(survey, 40, strength=one, **options) for one in (1.0, 0.0))
    rows = np.arange(40)
    lit, dark = (sky_room.render(one, survey, SIZE, rows, seed=3) for one in (with_, none))
    for name in ("truth", "sigma", "mask", *halo.MEASURED):
        np.testing.assert_array_equal(lit[name], dark[name], err_msg=name)
    for name, values in sky_room.labels(with_, lit).items():
        np.testing.assert_array_equal(values, sky_room.labels(none, dark)[name], err_msg=name)
    other = with_["is_tidal"] == 0
    np.testing.assert_array_equal(lit["image"][other], dark["image"][other])
    assert not light_of(none, survey)["features"].any()
    bright = lit["truth"].astype(bool) & (lit["mask"][:, 1] == 0)
    assert lit["image"][:, 1][bright].sum() > dark["image"][:, 1][bright].sum()


def test_fractions_of_kinds_and_classes(survey):
    columns = drawn(survey, 2000, seed=8)
    kinds = columns["kind"]
    assert (kinds == "tidal").mean() == pytest.approx(0.5, abs=1e-3)
    weights = Sky().negatives
    for name in NEGATIVES:
        share = 0.5 * weights[name] / sum(weights.values())
        assert (kinds == name).mean() == pytest.approx(share, abs=2e-3), name
    bits = np.bitwise_or.reduce(columns["feature_bit"], 1)[kinds == "tidal"]
    shares = [(bits & BITS[name] > 0).mean() for name in CLASSES]
    np.testing.assert_allclose(shares, 1.15 / 4, atol=0.05)
    # What lies over the galaxies tells tidal ones from the others no better than it must.
    over = columns["foreground_which"] > 0
    for name in ("tidal", "twin", "plain", "spiral"):
        assert over[kinds == name].mean() == pytest.approx(0.12, abs=0.06), name
    assert over[np.isin(kinds, NUISANCES)].all()
    # Hosts are of one population.
    for name in ("z", "mag_r", "radius"):
        one, two = (np.median(columns[name][kinds == kind]) for kind in ("tidal", "plain"))
        assert one == pytest.approx(two, rel=0.12), name
    assert 0.02 <= columns["z"].min() < columns["z"].max() <= 0.25
    assert 13.5 < columns["mag_r"].min() < columns["mag_r"].max() <= 18


def test_spirals_have_strong_arms_and_others_have_not(survey):
    columns = drawn(survey, 600, seed=8)
    spiral = columns["kind"] == "spiral"
    arms, old = columns["part_arm_strength"][:, 1], columns["part_old"][:, 1]
    assert 0.9 <= arms[spiral].min() < arms[spiral].max() <= 2.7
    assert np.median(arms[~spiral]) < 0.6
    assert (arms[~spiral] == 0).mean() > 0.2  # early types
    assert np.median(old[spiral]) < np.median(old[~spiral])


def test_unknown_kinds_are_refused(survey):
    with pytest.raises(AstromlError, match="negatives: found ring, expected some of twin"):
        drawn(survey, 4, negatives={"ring": 1})
    with pytest.raises(AstromlError, match="classes: found bar, expected some of stream"):
        drawn(survey, 4, classes={"bar": 1})
    with pytest.raises(AstromlError, match="negatives: all weights are 0"):
        drawn(survey, 4, negatives={"twin": 0})


def test_the_same_seed_gives_the_same_bytes(survey, mixed):
    columns, rendered = mixed
    again = drawn(survey, 96)
    for name, values in columns.items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)
    some = np.array([5, 70, 71, 95])
    part = sky_room.render(again, survey, SIZE, some, seed=3)
    for name, values in part.items():
        np.testing.assert_allclose(values, rendered[name][some], rtol=2e-5, atol=1e-3)
    other = drawn(survey, 96, seed=4)
    assert not np.intersect1d(columns["ra"], other["ra"]).size


def test_features_are_as_red_as_their_host_or_bluer(survey, tidal):
    columns, light = tidal
    host = columns["part_flux"][:, :2].sum(1)
    gap = np.log10(
        light["features"].sum((2, 3))[:, 0] / light["features"].sum((2, 3))[:, 1]
    ) - np.log10(host[:, 0] / host[:, 1])
    bluer = 2.5 * gap
    assert -0.1 < bluer.min() < bluer.max() < 0.3
    assert np.mean(bluer) == pytest.approx(tides.BLUER / 2, abs=0.05)


def feature(**facts):
    values = tides.EMPTY | facts
    return {name: torch.tensor([float(values[name])]) for name in FEATURE_NAMES}


def test_a_chain_keeps_its_light_and_its_width():
    straight = feature(shape=2, radius=20, inner=5, width=1.5, span=0, fade=50)
    x, y, sigma, weight = knots(straight)
    cells = paint_features(straight, 400, 0.2)[0].double()
    assert float(cells.sum()) == pytest.approx(float(weight.sum()), rel=1e-4)
    # Along +x: the cross-section is a Gaussian of the sigma asked for.
    at = (torch.arange(400) - 199.5) * 0.2
    column = cells[:, (at - 10).abs() < 0.5].sum(1)
    spread = float(((column * at**2).sum() / column.sum()).sqrt())
    assert spread == pytest.approx(1.5, rel=0.01)
    assert float(y.abs().max()) < 1e-4
    assert 5 <= float(x.min()) < float(x.max()) <= 20.01
    assert float(sigma.max()) == 1.5


def test_a_stream_is_smooth():
    """No beads: along the ridge of a thin, long orbit the light varies slowly."""
    ring = feature(shape=1, radius=30, ecc=0, kappa=1, span=6.0, width=0.6, fade=50)
    cells = paint_features(ring, 400, 0.2)[0]
    turn = torch.linspace(-2.5, 2.5, 500)
    ridge = cells[(30 * turn.sin() / 0.2 + 200).long(), (30 * turn.cos() / 0.2 + 200).long()]
    # Up to where the pixels' middles lie off the ridge, by at most 0.14 arcsec.
    assert float(ridge.min() / ridge.max()) > 0.95


def test_shells_have_a_sharp_edge_on_alternating_sides():
    shells = feature(shape=3, radius=30, q=1, span=1.0, width=4, count=2, ratio=0.7, phase=0.0)
    cells = paint_features(shells, 400, 0.2)[0]
    right, left = cells[200, 200:], cells[200, :200].flip(0)
    at = (torch.arange(200) + 0.5) * 0.2
    assert float(right[at > 30.2].max()) == 0 == float(left[at > 21.2].max())
    assert float(at[right.argmax()]) == pytest.approx(30, abs=0.3)
    assert float(at[left.argmax()]) == pytest.approx(21, abs=0.3)
    # One decay length inwards the light is 1/e.
    inner = right[(at - 26).abs().argmin()] / right.max()
    assert float(inner) == pytest.approx(np.exp(-1), rel=0.06)


def test_sizes_are_those_of_the_classes(survey):
    columns = drawn(survey, 400, seed=5, tidal_fraction=1, several=0)
    kpc = angular_scale(columns["z"])
    radius, width = (columns[f"feature_{name}"][:, 0] * kpc for name in ("radius", "width"))
    bit = columns["feature_bit"][:, 0]
    free = columns["feature_radius"][:, 0] < 33.9
    assert columns["feature_radius"].max() < 34.01
    span = np.degrees(columns["feature_span"][bit == 2][:, 0])
    assert 29.9 < span.min() < span.max() < 90.1
    assert radius[free & (bit == 2)].min() >= 20
    assert np.percentile(radius[free & (bit == 2)], 90) < 75
    assert 0.55 < width[free & (bit == 1)].min() < width[free & (bit == 1)].max() < 2.05


def test_noise_of_coarse_pixels_is_that_of_the_native_ones_summed():
    native = load_survey("hsc", ["r"])
    for bins in (3, 4):
        coarse = native.rescaled(bins * native.pixel_scale)
        field = unit_noise(range(8), 1, 64 * bins, native.noise_correlation, 5)[:, 0]
        summed = field.reshape(8, 64, bins, 64, bins).sum((2, 4))
        growth = coarse.bands["r"].sigma / native.bands["r"].sigma
        assert float(summed.std()) == pytest.approx(growth, rel=0.02)
        near = float((summed[:, 1:] * summed[:, :-1]).mean() / summed.var())
        again = unit_noise(range(8), 1, 256, coarse.noise_correlation, 6)[:, 0]
        drawn_near = float((again[:, 1:] * again[:, :-1]).mean())
        assert near == pytest.approx(drawn_near, abs=0.02)
    for name in ("zero_point", "gain", "psf_fwhm"):
        assert getattr(coarse.bands["r"], name) == getattr(native.bands["r"], name)


def test_pixels_are_binned_not_divided():
    native = load_survey("hsc")
    assert native.rescaled(None) is native.rescaled(native.pixel_scale) is native
    with pytest.raises(AstromlError, match="expected at least its own"):
        native.rescaled(0.1)


def test_a_survey_takes_the_pixels_of_its_own_coarser_stores():
    native = load_survey("hsc")
    facts = {"set": "halo", "bands": ("g", "r"), "size": 64}
    header = store.Header(**facts, pixel_scale=SCALE, survey="hsc")
    assert native.like(header, "here").pixel_scale == SCALE
    assert list(native.like(header, "here").bands) == ["g", "r"]
    foreign = store.Header(**facts, pixel_scale=SCALE, survey="decals")
    with pytest.raises(AstromlError, match="name the store's survey"):
        native.like(foreign, "here")


def test_files_have_as_many_pixels_as_coarser_cutouts_take():
    native = load_survey("hsc")
    assert native.pixels_for(64, None) == 64
    side = native.pixels_for(64, SCALE)
    assert side == 288
    assert side * native.pixel_scale >= 64 * SCALE + native.pixel_scale
    # Whole multiples are not rounded up by what floats add to them.
    assert native.pixels_for(64, 3 * native.pixel_scale) == 194


def test_flux_does_not_depend_on_the_pixels(survey):
    fine = load_survey("hsc", ["g", "r", "i"]).rescaled(SCALE / 2)
    columns = drawn(survey, 8, tidal_fraction=1, several=0)
    coarse = light_of(columns, survey)
    other = halo.draw_light(columns, fine, 2 * SIZE, np.arange(8), "cpu", 3)
    summed = other["galaxies"].reshape(8, 3, SIZE, 2, SIZE, 2).sum((3, 5)).numpy()
    peak = summed.max((2, 3), keepdims=True)
    assert (np.abs(summed - coarse["galaxies"]) < 0.02 * peak + 3).mean() > 0.995
    np.testing.assert_allclose(
        other["mu_feature"].numpy(), coarse["mu_feature"], atol=1e-3
    )  # of both the footprint's mean is what was drawn
    ratio = other["feature_flux"].numpy() / coarse["feature_flux"]
    np.testing.assert_allclose(ratio, 1, atol=0.15)


@pytest.mark.parametrize("kind", NUISANCES)
def test_foregrounds(survey, kind):
    options = {"tidal_fraction": 0, "negatives": {kind: 1}, "nuisances": 0}
    columns = drawn(survey, 6, **options)
    names = {"cirrus": 1, "halo": 2, "ghost": 3, "flat": 4}
    assert (columns["foreground_which"] == names[kind]).all()
    clear = columns | {"foreground_which": np.zeros(6)}
    rows = np.arange(6)
    with_, without = (sky_room.render(one, survey, SIZE, rows, seed=3) for one in (columns, clear))
    added = with_["image"] - without["image"]
    assert (np.abs(added).max((1, 2, 3)) > 0).all()
    saturated = (with_["mask"] & MASK["saturated"]).any((1, 2, 3))
    assert not saturated.any() or kind == "halo"
    if kind == "cirrus":
        level = foreground.surface(columns["foreground_mu"], SCALE)
        np.testing.assert_allclose(added[:, 1].std((1, 2)), level, rtol=0.1)


def test_cirrus_has_its_power_law():
    power = np.zeros(41)
    for key in range(40):
        field = np.log(foreground.cirrus(SIZE, SCALE, 1, key).numpy() + 3)
        field = (field - field.mean()) * np.outer(np.hanning(SIZE), np.hanning(SIZE))
        two = np.abs(np.fft.rfft2(field)) ** 2
        k = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None]) * SIZE
        label = np.minimum(np.round(k), 40).astype(int)
        power += np.bincount(label.ravel(), two.ravel(), 41) / np.bincount(label.ravel())
    k = np.arange(5, 20)
    slope = np.polyfit(np.log(k), np.log(power[k]), 1)[0]
    assert slope == pytest.approx(foreground.SLOPE, abs=0.5)


def test_the_sky_is_oversubtracted_around_galaxies(survey):
    columns = drawn(survey, 4, tidal_fraction=0, negatives={"plain": 1}, nuisances=0)
    light = torch.from_numpy(light_of(columns, survey)["galaxies"])
    sigma = torch.from_numpy(columns["sigma"]).float()
    flat = foreground.residue(light, sigma, torch.zeros(4, 3, 5), SCALE)
    assert (flat <= 0).all()
    middle, edge = flat[:, 1, 32:48, 32:48].mean((1, 2)), flat[:, 1, :8, :8].mean((1, 2))
    assert (middle < 0).all()
    assert middle.mean() < 1.3 * edge.mean()
    # Never deeper than what no detection masks.
    assert (flat >= -foreground.BOWL * foreground.CLIP * sigma[..., None, None]).all()


def test_bright_galaxies_are_noisier(survey):
    columns = drawn(survey, 24, tidal_fraction=0, negatives={"plain": 1}, nuisances=0)
    columns["defect"][:] = 0
    one = sky_room.render(columns, survey, SIZE, np.arange(24), seed=3)["image"]
    light = light_of(columns, survey)["galaxies"]
    sigma = columns["sigma"][:, 1, None, None]
    gain = survey.bands["r"].gain / njy_per_unit(survey.bands["r"].zero_point)
    left, core = (one - light)[:, 1] / sigma, light[:, 1] > 500 * sigma
    level = np.sqrt(1 + light[:, 1] / gain / sigma**2)
    assert core.sum() > 40
    assert (left / level)[core].std() == pytest.approx(1, abs=0.15)
    assert left[core].std() > 1.2


def test_the_store_holds_the_truth_and_the_coarser_pixels(survey, tmp_path):
    out = tmp_path / "0.h5"
    options = {"splits": Splits(), "size": 48, "seed": 3, "device": "cpu"}
    simulate.simulate_store({"tidal": Sky(objects=12)}, survey, out, **options)
    made = store.open_store([out])
    assert made.header.pixel_scale == SCALE
    assert made.header.set == "halo"
    planes = made.read(range(12), ["truth"])
    tidal = made.objects["is_tidal"] == 1
    assert planes["truth"].shape == (12, 48, 48)
    assert not planes["truth"][~tidal].any()
    assert planes["truth"][tidal].any()
    for name in (*CLASSES, "mu_feature", "feature_flux", "feature_area", "kind", "z", "mag_r"):
        assert name in made.objects


def test_fits_files_and_their_truth(tmp_path):
    decals = load_survey("decals").rescaled(0.786)
    options = {"size": 40, "seed": 3, "device": "cpu"}
    simulate.simulate_survey({"tidal": Sky(objects=10)}, decals, tmp_path, **options)
    with fits.open(sorted((tmp_path / "images").iterdir())[0]) as hdus:
        assert hdus[0].data.shape == (3, 40, 40)
        assert hdus[0].header["CD2_2"] == pytest.approx(0.786 / 3600)
    truth = pq.read_table(tmp_path / "truth.parquet")
    for name in (
        "feature_mu",
        "feature_colour_r",
        "residue_z",
        "foreground_colour_g",
        "mu_feature",
    ):
        assert name in truth.column_names
    assert truth.schema.field("feature_radius").metadata == {b"unit": b"arcsec"}
    with (tmp_path / "manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert {row["is_tidal"] for row in rows} == {"0", "1"}
    assert all((float(row["mu_feature"]) > 0) == (row["is_tidal"] == "1") for row in rows)


def test_fresh_batches_are_what_a_store_holds(survey):
    made = [sky_room.fresh(Sky(), survey, 48, 8, 5, number, "cpu") for number in range(3)]
    assert made[0]["truth"].shape == (8, 48, 48)
    assert made[0]["truth"].dtype == torch.uint8
    ids = np.concatenate([one["object_id"] for one in made])
    assert len(np.unique(ids)) == 24
    again = sky_room.fresh(Sky(), survey, 48, 8, 5, 2, "cpu")
    assert torch.equal(again["image"], made[2]["image"])
    targets, labelled = tasks.load("tidal").targets(made[0])
    assert labelled.all()
    assert set(targets) >= {"is_tidal"}


@pytest.fixture(scope="module")
def injected(survey, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inject")
    options = {"splits": Splits(), "size": SIZE, "seed": 3, "device": "cpu"}
    plain = Sky(objects=24, tidal_fraction=0.25, negatives={"plain": 1}, nuisances=0)
    simulate.simulate_store({"tidal": plain}, survey, folder / "real.h5", **options)
    # Named as it is: the store says how coarse its pixels are.
    native = load_survey("hsc")
    simulate.inject(
        [folder / "real.h5"], Inject(task="tidal", pairs=True), Sky(), native,
        folder / "out.h5", device="cpu",
    )  # fmt: skip
    return store.open_store([folder / "real.h5"]), store.open_store([folder / "out.h5"])


def test_injection_adds_the_feature_and_nothing_else(injected):
    real, made = injected
    names = ["image", "truth", "sigma"]
    hosts = np.flatnonzero(real.objects["is_tidal"] == 0)
    assert len(made) == 2 * len(hosts)
    tidal = np.flatnonzero(made.objects["is_tidal"] == 1)
    bare = np.flatnonzero(made.objects["is_tidal"] == 0)
    assert not made.read(bare, names)["truth"].any()
    before = real.read(hosts, ["image", "sigma"])
    after = made.read(tidal, names)
    np.testing.assert_array_equal(made.read(bare, ["image"])["image"], before["image"])
    added = after["image"] - before["image"]
    flux = made.objects["feature_flux"][tidal]
    np.testing.assert_allclose(added[:, 1].sum((1, 2)), flux, rtol=0.1, atol=300)
    off = (after["truth"] == 0) & (np.abs(added[:, 1]) > 0)
    assert (np.abs(added[:, 1])[off] < 3 * before["sigma"][:, 1].max()).mean() > 0.99
    assert (made.objects["group"][tidal] == made.objects["group"][bare]).all()


def test_hosts_are_measured(survey):
    columns = drawn(survey, 60, tidal_fraction=0, negatives={"plain": 1}, nuisances=0)
    image = sky_room.render(columns, survey, SIZE, np.arange(60), seed=3)["image"]
    radius, flux = disturb.measure(image, SCALE)
    ratio = radius / columns["radius"]
    assert 0.6 < np.median(ratio) < 1.1  # of circles, against the major axis
    mag = 31.4 - 2.5 * np.log10(flux[:, 1])
    assert 0 < np.median(mag - columns["mag_r"]) < 0.5


def test_a_grid_of_injections_is_even(survey):
    sky, rows = Sky(), np.arange(64)
    found = disturb._cells(sky.mu, CLASSES, 1, rows)
    assert (np.unique(found["name"], return_counts=True)[1] == 16).all()
    counts = np.histogram(found["mu"], 16, sky.mu)[0]
    assert (counts == 4).all()
    some = disturb._cells(sky.mu, CLASSES, 1, rows[10:12])
    np.testing.assert_array_equal(some["mu"], found["mu"][10:12])


def test_pixels_without_data_stay_so(survey):
    image = np.full((2, 3, SIZE, SIZE), np.nan, np.float32)
    image[1] = 1.0
    planes = image, np.ones((2, 3)), np.full((2, 3), 0.7)
    added, truth = sky_room.inject(*planes, survey, Sky(), 1, np.arange(2))
    assert np.isnan(added[0]).all()
    assert np.isfinite(added[1]).all()
    known = sky_room.labels(truth, truth)
    assert all(np.isfinite(values).all() for name, values in known.items() if name != "kind")
