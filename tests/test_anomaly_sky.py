"""The sky of the anomaly search: shares, light, what is rare, what is painted over it."""

import csv

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from astroml import store, tasks
from astroml.config import Splits
from astroml.errors import AstromlError
from astroml.nets import artefacts
from astroml.sky import nearby, oddities, ordinary, render, simulate
from astroml.sky.debris import FEATURE_NAMES, SPIRAL, knots, strew
from astroml.sky.galaxies import MAG_WAVELENGTH
from astroml.sky.noise import CLEAN, COLUMN, COSMIC
from astroml.store import MASK
from astroml.survey import galactic_extinction, load_survey
from astroml.tasks.anomaly.kinds import ARTEFACTS, INTERESTING, NORMAL, Sky

SIZE = 64
sky_room = tasks.load("anomaly", "sky")


@pytest.fixture(scope="module")
def survey():
    return load_survey("hsc", ["g", "r", "i"])


def drawn(survey, count, seed=3, interesting=0.0, artefact=0.0, **options):
    shares = {"interesting_fraction": interesting, "artefact_fraction": artefact}
    return sky_room.population(Sky(objects=count, **shares, **options), survey, seed)


def of_one(survey, kind, count, seed=3):
    """Return a population of one kind."""
    if kind in ARTEFACTS:
        return drawn(survey, count, seed, artefact=1, artefacts={kind: 1})
    if kind == NORMAL:
        return drawn(survey, count, seed)
    return drawn(survey, count, seed, interesting=1, classes={kind: 1})


def own_flux(columns, bands):
    """Return the light (n, band) of objects without their neighbours, no dust before them."""
    parts = columns["part_flux"].astype(float)
    # Neighbours lie at other redshifts than the object's own.
    same = np.isclose(columns["part_z"], columns["part_z"][:, 3:4]) & (parts[..., 0] > 0)
    wavelengths = [band.wavelength for band in bands]
    dust = 10 ** (0.4 * galactic_extinction(columns["ebv"], wavelengths))
    return ((parts * same[..., None]).sum(1) + columns["tail_flux"].sum(1)) * dust


@pytest.fixture(scope="module")
def mixed(survey):
    columns = drawn(survey, 96, interesting=0.4, artefact=0.4)
    return columns, sky_room.render(columns, survey, SIZE, np.arange(96), seed=3)


def test_shares_of_kinds(survey):
    kind = drawn(survey, 1200)["kind"]
    assert (kind == NORMAL).all()
    kind = sky_room._kinds(Sky(objects=60_000), 5)
    for name in INTERESTING:
        assert abs((kind == name).sum() - 120) <= 1, name
    for name in ARTEFACTS:
        assert abs((kind == name).sum() - 100) <= 1, name
    weights = {"ring": 3.0, "lens": 1.0}
    kind = sky_room._kinds(Sky(objects=4000, interesting_fraction=0.1, classes=weights), 5)
    assert abs((kind == "ring").sum() - 300) <= 1
    assert abs((kind == "lens").sum() - 100) <= 1
    assert not (kind == "merger").any()


def test_small_batches_have_their_shares_in_the_mean():
    kinds = [sky_room._kinds(Sky(objects=64), seed) for seed in range(400)]
    assert np.isin(kinds, INTERESTING).mean() == pytest.approx(0.01, rel=0.15)
    assert np.isin(kinds, ARTEFACTS).mean() == pytest.approx(0.01, rel=0.15)


def test_labels(survey, mixed):
    columns, rendered = mixed
    known = sky_room.labels(columns, rendered)
    assert {"kind", "is_interesting", "is_artefact", "mag_i", "mag_r"} <= set(known)
    np.testing.assert_array_equal(known["is_interesting"], np.isin(known["kind"], INTERESTING))
    np.testing.assert_array_equal(known["is_artefact"], np.isin(known["kind"], ARTEFACTS))
    assert 18 <= known["mag_i"].min() < known["mag_i"].max() <= 20.5
    assert ((known["mag_r"] > known["mag_i"] - 0.6) & (known["mag_r"] < known["mag_i"] + 3)).all()
    assert np.median(known["mag_r"] - known["mag_i"]) == pytest.approx(0.5, abs=0.2)
    np.testing.assert_allclose(known["seeing"], columns["psf_fwhm"].mean(1), rtol=1e-5)
    # A defect that nobody flags would be an artefact without its label.
    assert np.isin(columns["defect"], (CLEAN, COLUMN, COSMIC)).all()
    assert (drawn(survey, 600)["defect"] != CLEAN).mean() == pytest.approx(0.03, abs=0.02)


def test_the_kind_changes_neither_magnitude_nor_seeing_nor_field(survey):
    plain = drawn(survey, 60)
    for kind in (*INTERESTING, "ghost"):
        other = of_one(survey, kind, 60)
        for name in ("mag_i", "z", "psf_fwhm", "sigma", "background", "ebv", "ra", "defect"):
            np.testing.assert_array_equal(other[name], plain[name], err_msg=f"{kind} {name}")


def test_magnitudes_do_not_tell_the_kinds(survey):
    columns = drawn(survey, 1500, interesting=0.4, artefact=0.2)
    normal = columns["kind"] == NORMAL
    for name in (*INTERESTING, *ARTEFACTS):
        mine = columns["kind"] == name
        assert ks_2samp(columns["mag_i"][mine], columns["mag_i"][normal]).pvalue > 1e-3, name
    rare = columns["is_interesting"] == 1
    assert ks_2samp(columns["mag_i"][rare], columns["mag_i"][normal]).pvalue > 0.01


@pytest.mark.parametrize("kind", INTERESTING)
def test_light_within_an_aperture_does_not_tell_either(survey, kind):
    plain, rare = drawn(survey, 64), of_one(survey, kind, 64)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    inside = np.hypot(x, y) * survey.pixel_scale < 4.5
    mags = []
    for one in (plain, rare):
        light = render.draw_light(one, survey, SIZE, np.arange(64))
        light = (light["galaxies"] + light["arcs"])[:, 2].numpy()
        mags.append(-2.5 * np.log10((light * inside).sum((1, 2))))
    # The same hosts: brighter ones have brighter oddities, by a tenth of a magnitude or so.
    assert abs(np.median(mags[1] - mags[0])) < 0.15
    assert ks_2samp(*mags).pvalue > 0.05


@pytest.mark.parametrize("kind", [NORMAL, "merger", "ring", "polar_ring", "extreme_colour", "lens"])
def test_all_light_in_i_is_that_of_the_magnitude(survey, kind, monkeypatch):
    """Parts, tails and arcs share the drawn magnitude, whatever the object is made of."""
    for module in (sky_room, nearby):
        monkeypatch.setattr(module, "SCATTER", 0.0)
    bands = {name: band for name, band in survey.bands.items() if name != "i"}
    bands["i"] = survey.bands["i"].model_copy(update={"wavelength": MAG_WAVELENGTH})
    survey = survey.model_copy(update={"bands": bands})
    columns = of_one(survey, kind, 24)
    wanted = 10 ** (-0.4 * (columns["mag_i"] - 31.4))
    if kind == NORMAL:
        dust = 10 ** (0.4 * galactic_extinction(columns["ebv"], [MAG_WAVELENGTH]))
        got = columns["part_flux"][:, :3, 2].sum(1) * dust[:, 0]
        np.testing.assert_allclose(got, wanted, rtol=1e-4)
        return
    got = own_flux(columns, bands.values())[:, 2]
    if kind == "lens":
        off = np.hypot(columns["source_x"], columns["source_y"])
        bent = 2 * columns["lens_theta_e"] / np.hypot(off, 0.7 * columns["source_r_e"])
        dust = 10 ** (0.4 * galactic_extinction(columns["ebv"], [MAG_WAVELENGTH]))[:, 0]
        got = got + bent * columns["source_flux"][:, 2] * dust
    np.testing.assert_allclose(got, wanted, rtol=1e-4)


def test_tails_have_the_light_they_are_given():
    facts = oddities.NO_TAIL | {
        "shape": SPIRAL, "radius": 5.0, "inner": 1.0, "span": 2.0, "width": 0.3, "counter": 0.5,
    }  # fmt: skip
    tails = {name: torch.full((2,), float(facts[name])) for name in FEATURE_NAMES}
    canvas, flux = torch.zeros(3, 2, 240, 240), torch.tensor([[3.0, 5.0], [0.0, 7.0]])
    strew(canvas, tails, torch.tensor([2, 0]), flux, 0.1)
    torch.testing.assert_close(canvas[2].sum((1, 2)), flux[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(canvas[0].sum((1, 2)), flux[1], rtol=1e-4, atol=1e-4)
    assert not canvas[1].any()
    x, _, _, weight = knots(tails)
    place = torch.linspace(-11.95, 11.95, 240)
    middle = (canvas[2, 0].sum(0) * place).sum() / flux[0, 0]
    weight = weight[0]
    assert float(middle) == pytest.approx(float((x[0] * weight).sum() / weight.sum()), abs=0.01)


def test_rare_galaxies_are_what_they_are_called(survey):
    merger = of_one(survey, "merger", 24)
    assert (merger["tail_flux"].sum((1, 2)) > 0).all()
    assert not drawn(survey, 24)["tail_flux"].any()
    polar = of_one(survey, "polar_ring", 24)
    turn = np.degrees(polar["part_phi"][:, 4] - polar["part_phi"][:, 3])
    assert (np.abs(np.abs((turn + 90) % 180 - 90) - 90) < 20.01).all()
    assert (polar["part_q"][:, 4] <= 0.3).all()
    lens = of_one(survey, "lens", 24)
    light = render.draw_light(lens, survey, SIZE, np.arange(24))
    snr = render.arc_snr(light["arcs"], torch.from_numpy(lens["sigma"]))
    assert snr.min() > 25
    assert np.median(snr) > 120
    assert (lens["part_old"][:, 3] > 0.98).all()
    plain = sky_room.render(drawn(survey, 8), survey, SIZE, np.arange(8))
    assert not plain["arc_snr"].any()


@pytest.mark.parametrize("kind", ["merger", "ring", "polar_ring", "lens"])
def test_most_oddities_can_be_seen(survey, kind):
    """Turned by half a circle and a quarter, or blurred, an oddity does not look like itself."""
    columns = of_one(survey, kind, 32)
    columns["part_flux"][:, 3 + PARTS[kind] :] = 0
    light = render.draw_light(columns, survey, SIZE, np.arange(32))
    image = (light["galaxies"] + light["arcs"])[:, 1]
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    steps = (np.hypot(x, y) * survey.pixel_scale / 0.25).astype(int)
    odd = []
    for one, level in zip(image.numpy(), columns["sigma"][:, 1]):
        mean = np.bincount(steps.ravel(), one.ravel()) / np.bincount(steps.ravel())
        # A ring is a profile that rises outwards, the others are not round.
        falls = np.minimum.accumulate(mean)[steps] if kind == "ring" else mean[steps]
        near = steps * 0.25 < 4.5
        odd.append(np.sqrt((((one - falls) / level)[near] ** 2).sum()))
    assert np.median(odd) > 60
    assert (np.array(odd) > 20).mean() > (0.5 if kind == "ring" else 0.9)


PARTS = {"merger": 6, "ring": 3, "polar_ring": 3, "lens": 1}


def test_extreme_colours_are_extreme(survey):
    def colours(columns):
        flux = own_flux(columns, survey.bands.values())
        mag = -2.5 * np.log10(flux)
        return np.stack([mag[:, 0] - mag[:, 1], mag[:, 1] - mag[:, 2]], 1)

    plain = drawn(survey, 500, seed=8)
    plain["part_z"][:, 3] = plain["part_z"][:, 0]
    usual, rare = colours(plain), colours(of_one(survey, "extreme_colour", 150))
    low, high = np.percentile(usual, [2, 98], axis=0)
    assert ((rare < low) | (rare > high)).any(1).mean() > 0.75
    # Not grotesque: within two magnitudes of what is usual.
    assert ((rare > low - 2) & (rare < high + 2)).all()


def test_ordinary_galaxies_vary(survey):
    columns = drawn(survey, 800, seed=8)
    arms, q = columns["part_arm_strength"][:, 1], columns["part_q"][:, 1]
    assert (arms > 0.9).mean() > 0.08
    assert (arms == 0).mean() > 0.15
    assert (q < 0.3).mean() > 0.05
    bar = columns["part_shape"][:, 2] > 0
    assert 0.1 < bar.mean() < 0.35
    assert (columns["part_flux"][bar, 2] > 0).all()
    assert not columns["part_flux"][~bar, 2].any()
    r_e = columns["part_r_e"][:, 1]
    assert 0.5 < np.percentile(r_e, 10) < np.percentile(r_e, 90) < 4
    counts = np.histogram(columns["mag_i"], 5, (18, 20.5))[0]
    assert (np.diff(counts) > 0).all()


def test_bars_take_their_light_from_the_disc():
    rng = np.random.default_rng(2)
    wavelengths = np.array([478.0, 620.0, MAG_WAVELENGTH, 620.0])
    uniform = rng.random((50, ordinary.UNIFORMS))
    normal = rng.standard_normal((50, ordinary.NORMALS + 8))
    host = ordinary.draw(uniform, normal, wavelengths, (18.0, 20.5))
    without = uniform.copy()
    without[:, 3 * ordinary.TRIES + 11] = 0.99
    none = ordinary.draw(without, normal, wavelengths, (18.0, 20.5))
    assert (host["part_shape"][:, 2] > 0).any()
    assert not (none["part_shape"][:, 2] > 0).any()
    np.testing.assert_allclose(host["part_flux"].sum(1), none["part_flux"].sum(1), rtol=1e-9)
    np.testing.assert_allclose(
        host["part_flux"].sum(1)[:, 2], 10 ** (-0.4 * (host["mag_i"] - 31.4)), rtol=1e-9
    )


def test_artefacts_change_pixels_only_where_they_are_painted(survey):
    plain = drawn(survey, 24)
    clean = sky_room.render(plain, survey, SIZE, np.arange(24), seed=3)
    for kind in ARTEFACTS:
        spoilt = of_one(survey, kind, 24)
        got = sky_room.render(spoilt, survey, SIZE, np.arange(24), seed=3)
        for name in ("sigma", "psf_fwhm"):
            np.testing.assert_array_equal(got[name], clean[name])
        changed = got["image"] != clean["image"]
        # Bits are only added, and only those of the artefact.
        assert (got["mask"] & clean["mask"] == clean["mask"]).all()
        new = got["mask"] ^ clean["mask"]
        bit = {"saturated_star": "saturated", "edge": "nodata", "missing_band": "nodata"}.get(kind)
        assert not (new & ~np.uint8(MASK.get(bit, 0))).any(), kind
        assert changed.any((1, 2, 3)).all(), kind
        assert (changed | (new == 0)).all(), kind
        if kind in ("trail", "cosmic_ray", "missing_band"):
            assert (changed.any((2, 3)).sum(1) == 1).all()
        if kind in ("trail", "cosmic_ray"):
            added = (got["image"] - clean["image"])[changed] / clean["sigma"].mean()
            assert added.min() > 0


def test_the_same_seed_gives_the_same_bytes(survey, mixed):
    columns, rendered = mixed
    again = drawn(survey, 96, interesting=0.4, artefact=0.4)
    for name, values in columns.items():
        np.testing.assert_array_equal(values, again[name], err_msg=name)
    twice = sky_room.render(again, survey, SIZE, np.arange(96), seed=3)
    for name, values in rendered.items():
        np.testing.assert_array_equal(values, twice[name], err_msg=name)
    some = np.array([5, 31, 32, 95])
    part = sky_room.render(again, survey, SIZE, some, seed=3)
    for name, values in part.items():
        np.testing.assert_allclose(values, rendered[name][some], rtol=2e-4, atol=2e-2)
    other = drawn(survey, 96, seed=4, interesting=0.4, artefact=0.4)
    assert not np.intersect1d(columns["ra"], other["ra"]).size


@pytest.mark.parametrize("bands", [["r"], ["g", "r", "i", "z", "y"]])
def test_any_number_of_bands(bands):
    survey = load_survey("hsc", bands)
    columns = drawn(survey, 24, interesting=0.5, artefact=0.4)
    rendered = sky_room.render(columns, survey, 32, np.arange(24))
    assert rendered["image"].shape == (24, len(bands), 32, 32)
    assert np.isfinite(rendered["image"]).all()


def test_fresh_batches_have_labels_and_are_never_the_same(survey):
    sky = Sky(interesting_fraction=0.2, artefact_fraction=0.2)
    one, two, again = (
        sky_room.fresh(sky, survey, 32, 16, 5, number, "cpu") for number in (0, 1, 0)
    )
    assert one["image"].shape == (16, 3, 32, 32)
    assert one["mask"].dtype == torch.uint8
    torch.testing.assert_close(one["image"], again["image"], rtol=0, atol=0)
    assert not np.intersect1d(one["object_id"], two["object_id"]).size
    assert (one["image"] != two["image"]).float().mean() > 0.9
    for name in ("kind", "is_interesting", "is_artefact", "mag_i", "group", "ra"):
        assert len(one[name]) == 16
    targets, _ = tasks.load("anomaly").targets(one)
    np.testing.assert_array_equal(targets["is_artefact"], one["is_artefact"])


def test_stores_and_files_have_the_labels(survey, tmp_path):
    sky = {"anomaly": Sky(objects=40, interesting_fraction=0.3, artefact_fraction=0.3)}
    args = {"size": 32, "seed": 3, "device": "cpu"}
    simulate.simulate_store(sky, survey, tmp_path / "0.h5", splits=Splits(), **args)
    simulate.simulate_survey(sky, survey, tmp_path / "fits", **args)
    shard = store.open_store([tmp_path / "0.h5"])
    with (tmp_path / "fits/manifest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    for name in ("kind", "is_interesting", "is_artefact"):
        assert [row[name] for row in rows] == [str(one) for one in shard.objects[name]]
    mags = [float(row["mag_i"]) for row in rows]
    np.testing.assert_allclose(mags, shard.objects["mag_i"], atol=1e-4)
    assert (shard.objects["is_interesting"] == 1).sum() == 12


def test_faults_are_told(survey):
    with pytest.raises(AstromlError, match="classes: found blob, expected some of merger"):
        drawn(survey, 4, classes={"blob": 1})
    with pytest.raises(AstromlError, match="artefacts: found blob, expected some of trail"):
        drawn(survey, 4, artefacts={"blob": 1})
    with pytest.raises(AstromlError, match="artefacts: all weights are 0"):
        drawn(survey, 4, artefact=0.5, artefacts={"trail": 0})
    with pytest.raises(ValueError, match="add up to more than 1"):
        Sky(interesting_fraction=0.6, artefact_fraction=0.6)
    with pytest.raises(ValueError, match="bright then faint"):
        Sky(mag_i=(20.5, 18.0))


def test_an_ordinary_galaxy_is_brighter_than_the_limit_in_any_range(survey):
    for limits in ((16.0, 17.0), (20.0, 22.0)):
        mag = drawn(survey, 200, mag_i=limits)["mag_i"]
        assert limits[0] <= mag.min() < mag.max() <= limits[1]
        # Few had to be moved into the range.
        assert np.isin(mag, limits).mean() < 0.1
    assert artefacts.KINDS == ARTEFACTS
