"""The lens finder's population: what is drawn, and that nothing depends on the batch."""

import numpy as np
import pytest
import torch

from astroml import tasks
from astroml.errors import AstromlError
from astroml.sky.colours import red_sequence_mag
from astroml.sky.lenses import draw_theta_e
from astroml.sky.render import arc_snr, draw_light
from astroml.survey import load_survey
from astroml.tasks.lens import NEGATIVES, Sky

SIZE = 48
sky_room = tasks.load("lens", "sky")


@pytest.fixture(scope="module")
def survey():
    return load_survey("decals")


@pytest.fixture(scope="module")
def drawn(survey):
    return sky_room.population(Sky(objects=400), survey, 7)


@pytest.fixture(scope="module")
def rendered(drawn, survey):
    return sky_room.render(drawn, survey, SIZE, np.arange(400), seed=7)


def test_numbers_of_each_kind(drawn):
    assert (drawn["kind"] == "lens").sum() == 160
    assert (drawn["is_lens"] == (drawn["kind"] == "lens")).all()
    kinds, counts = np.unique(drawn["kind"], return_counts=True)
    assert set(kinds) == {"lens", *NEGATIVES}
    shares = dict(zip(kinds, counts / 240))
    assert shares["twin"] == pytest.approx(0.3, abs=0.01)


def test_theta_e_is_flat_and_only_lenses_have_one(drawn):
    theta_e = drawn["lens_theta_e"]
    assert (theta_e[drawn["is_lens"] == 0] == 0).all()
    mine = theta_e[drawn["is_lens"] == 1]
    assert 0.5 <= mine.min() <= mine.max() <= 3.0
    counts = np.histogram(mine, 5, (0.5, 3.0))[0]
    # 32 expected in each: chi square with 4 degrees of freedom, 1% beyond 13.3.
    assert ((counts - 32) ** 2 / 32).sum() < 13.3


def test_theta_e_on_the_sky():
    rng = np.random.default_rng(1)
    drawn = np.array([draw_theta_e(rng, (0.5, 3.0), "sky") for _ in range(4000)])
    assert np.median(drawn) == pytest.approx(0.84, abs=0.02)
    assert np.percentile(drawn, 95) == pytest.approx(1.73, abs=0.08)
    assert drawn.min() >= 0.5


def test_hosts_are_as_real_lenses_are(drawn):
    mine = drawn["is_lens"] == 1
    mag, r_e, n = (drawn[name][mine] for name in ("mag_i", "part_r_e", "part_n_sersic"))
    assert 17.4 <= mag.min() <= mag.max() <= 20.6
    assert 0.5 <= r_e[:, 0].min() <= r_e[:, 0].max() <= 2.5
    assert 3 <= n[:, 0].min() <= n[:, 0].max() <= 5
    assert 160 < np.median(drawn["dispersion"][mine]) < 350
    assert (drawn["z_source"] > drawn["z_lens"] + 0.39).all()
    turn = drawn["lens_phi"][mine] - drawn["part_phi"][mine, 0]
    assert np.degrees(turn).std() == pytest.approx(15, rel=0.2)


def test_positives_have_arcs(drawn, rendered):
    mine = drawn["is_lens"] == 1
    assert (drawn["source_mag_r"][mine] >= 22).all()
    assert (drawn["source_mag_r"][mine] <= 25.5).all()
    assert np.mean(rendered["magnification"][mine] > 3) > 0.95
    snr = rendered["arc_snr"][mine]
    assert np.mean(snr > 10) > 0.95
    # A fair mix: some faint, some plain.
    assert 0.1 < np.mean(snr < 30) < 0.5
    assert np.mean(snr > 80) > 0.05
    assert (rendered["arc_snr"][~mine] == 0).all()


def test_twins_share_all_but_the_arc(drawn, survey):
    twins = np.flatnonzero(drawn["kind"] == "twin")
    assert len(twins) == 72
    hosts = np.array([drawn["group"][twin] for twin in twins])
    assert (drawn["kind"][hosts] == "lens").all()
    assert len(set(hosts)) == len(hosts)
    assert (drawn["group"][hosts] == hosts).all()
    alone = np.setdiff1d(np.arange(400), [*twins, *hosts])
    assert (drawn["group"][alone] == -1).all()
    for name in ("psf_fwhm", "psf_q", "sigma", "ebv", "part_flux", "part_x", "mag_i"):
        np.testing.assert_array_equal(drawn[name][twins], drawn[name][hosts])
    pair = np.stack([hosts[:8], twins[:8]], 1).ravel()
    light = draw_light(drawn, survey, SIZE, pair)
    torch.testing.assert_close(light["galaxies"][::2], light["galaxies"][1::2], rtol=0, atol=1e-2)
    assert not light["arcs"][1::2].any()
    assert (light["arcs"][::2].sum((1, 2, 3)) > 0).all()


def test_surroundings_are_red_neighbours_that_twins_share(drawn, survey):
    crowded = sky_room.population(Sky(objects=400, surroundings=3), survey, 7)
    added = (crowded["part_flux"].sum(2) > 0).sum(1) - (drawn["part_flux"].sum(2) > 0).sum(1)
    # The variance of a Poisson number about a mean that is uniform between 0 and 6.
    assert added.mean() == pytest.approx(3, abs=4 * np.sqrt((3 + 3) / 400))
    assert added.var() > 1.5 * added.mean()
    # All else stays as it was.
    first = drawn["part_flux"].shape[1]
    same = added == 0
    np.testing.assert_array_equal(crowded["part_flux"][same][:, :first], drawn["part_flux"][same])
    twins = np.flatnonzero((crowded["kind"] == "twin") & (crowded["group"] >= 0))
    hosts = crowded["group"][twins]
    np.testing.assert_array_equal(added[twins], added[hosts])
    assert (added[twins] > 0).any()
    np.testing.assert_allclose(crowded["part_x"][twins], crowded["part_x"][hosts])


@pytest.mark.parametrize("scatter", [0.1, 0.5])
def test_light_scatters_at_a_given_mass_as_asked(survey, scatter):
    sky = Sky(objects=600, lens_fraction=1, theta_e=(0.8, 1.2), lens_mag_scatter=scatter)
    found = sky_room.population(sky, survey, 3)
    usual = red_sequence_mag(found["z_lens"]) - 10 * np.log10(found["dispersion"] / 220)
    inside = (usual > 18.7) & (usual < 19.3)  # far from where magnitudes are cut off
    assert inside.sum() > 80
    assert np.std((found["mag_i"] - usual)[inside]) == pytest.approx(scatter, rel=0.2)


def test_the_difference_of_a_pair_is_the_arc_and_noise(drawn, rendered, survey):
    clean = drawn["defect"] == 0
    twins = np.flatnonzero((drawn["kind"] == "twin") & clean & clean[drawn["group"]])[:20]
    hosts = drawn["group"][twins]
    gap = rendered["image"][hosts] - rendered["image"][twins]
    arcs = draw_light(drawn, survey, SIZE, hosts)["arcs"].numpy()
    weight = arcs / rendered["sigma"][hosts][..., None, None] ** 2
    assert (gap * weight).sum() / (arcs * weight).sum() == pytest.approx(1, abs=0.02)
    # Corners hold no bright light, so that the noise is the background's, twice.
    rest = (gap - arcs)[..., :6, :6] / rendered["sigma"][hosts][..., None, None]
    assert rest.std() == pytest.approx(np.sqrt(2), rel=0.05)


def test_pairs_lie_within_20_arcsec_on_a_patch(drawn):
    twins = np.flatnonzero(drawn["kind"] == "twin")
    hosts = drawn["group"][twins]
    cosine = np.cos(np.radians(drawn["dec"][twins]))
    east = ((drawn["ra"][twins] - drawn["ra"][hosts] + 180) % 360 - 180) * cosine * 3600
    north = (drawn["dec"][twins] - drawn["dec"][hosts]) * 3600
    assert np.hypot(east, north).max() < 20
    assert ((drawn["ra"] >= 0) & (drawn["ra"] < 360)).all()
    assert np.ptp(drawn["dec"]) == pytest.approx(6, abs=0.3)


def test_a_population_has_the_same_objects_whatever_their_number(survey, drawn):
    again = sky_room.population(Sky(objects=400), survey, 7)
    for name, values in drawn.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)
    other = sky_room.population(Sky(objects=400), survey, 8)
    assert not np.array_equal(other["ra"], drawn["ra"])


def test_an_object_does_not_depend_on_the_batch(drawn, rendered, survey):
    rows = np.array([130, 7, 65, 64, 399])
    some = sky_room.render(drawn, survey, SIZE, rows, seed=7)
    for name in ("image", "sigma", "psf_fwhm", "arc_snr"):
        scale = np.abs(rendered[name][rows]).max()
        np.testing.assert_allclose(some[name], rendered[name][rows], atol=1e-5 * scale)
    np.testing.assert_array_equal(some["mask"], rendered["mask"][rows])


@pytest.mark.parametrize("kind", NEGATIVES)
@pytest.mark.parametrize("name", ["hsc", "sdss"])
def test_every_negative_renders_in_every_survey(kind, name):
    described = load_survey(name)
    drawn = sky_room.population(
        Sky(objects=6, lens_fraction=0, negatives={kind: 1.0}), described, 2
    )
    assert (drawn["kind"] == kind).all()
    cut = sky_room.render(drawn, described, 33, range(6), seed=2)
    assert cut["image"].shape == (6, len(described.bands), 33, 33)
    assert np.isfinite(cut["image"]).all()
    light = draw_light(drawn, described, 33, range(6))
    peak = light["galaxies"].amax((2, 3)).numpy() / cut["sigma"]
    assert (peak.max(1) > 2).all()
    assert np.median(peak.max(1)) > 5
    assert not light["arcs"].any()


def test_impostors_look_like_lenses_at_theta_e(survey):
    sky = Sky(objects=60, lens_fraction=0, negatives={"companion": 1, "ring": 1})
    drawn = sky_room.population(sky, survey, 3)
    ring = drawn["part_shape"][drawn["kind"] == "ring"]
    assert (ring[:, 1] == 2).all()
    blue = drawn["kind"] == "companion"
    away = np.hypot(drawn["part_x"][blue, 1], drawn["part_y"][blue, 1])
    assert 0.3 < away.min() < away.max() < 5.2
    flux = drawn["part_flux"][blue, :2]
    g_z = -2.5 * np.log10(flux[..., 0] / flux[..., 2])
    assert np.median(g_z[:, 0] - g_z[:, 1]) > 1


def test_unknown_kinds_are_refused(survey):
    with pytest.raises(AstromlError, match="negatives: found sprial, expected some of twin"):
        sky_room.population(Sky(objects=4, negatives={"sprial": 1.0}), survey, 1)
    with pytest.raises(AstromlError, match="all weights are 0"):
        sky_room.population(Sky(objects=4, negatives={"ring": 0.0}), survey, 1)


def test_more_twins_than_lenses(survey):
    drawn = sky_room.population(
        Sky(objects=12, lens_fraction=0.25, negatives={"twin": 1.0}), survey, 1
    )
    assert (drawn["group"] >= 0).sum() == 6


def test_arc_snr_is_what_it_says():
    arcs = torch.zeros(1, 2, 4, 4)
    arcs[0, 0, 1, :2] = 3.0
    arcs[0, 1, 2, 2] = 0.5
    sigma = torch.tensor([[0.5, 1.0]])
    assert arc_snr(arcs, sigma).item() == pytest.approx(6 / (0.5 * np.sqrt(2)))


def hosts_of(survey, count=12, size=SIZE):
    drawn = sky_room.population(
        Sky(objects=count, lens_fraction=0, negatives={"elliptical": 1.0}), survey, 5
    )
    return sky_room.render(drawn, survey, size, range(count), seed=5)


def test_inject_adds_flux_where_the_arc_is(survey):
    real = hosts_of(survey)
    real["image"][3, 1, :5] = np.nan
    args = (survey, Sky(), 9, np.arange(12))
    image, truth = sky_room.inject(real["image"], real["sigma"], real["psf_fwhm"], *args)
    added = image - real["image"]
    assert np.isnan(added[3, 1, :5]).all()
    assert np.isfinite(np.delete(added, 3, 0)).all()
    assert (truth["is_lens"] == 1).all()
    assert (truth["arc_snr"] > 5).all()
    axis = (np.arange(SIZE) - (SIZE - 1) / 2) * survey.pixel_scale
    radius = np.hypot(axis[None], axis[:, None])
    for row, theta_e in enumerate(truth["lens_theta_e"]):
        signal = np.nan_to_num(added[row] / real["sigma"][row][:, None, None]).sum(0)
        # Images of a source within 0.55 theta_e lie within 1.7 theta_e, blurred by the seeing.
        inside = signal[radius < 1.7 * theta_e + 1.5].sum()
        assert inside > 0.9 * signal.sum() > 0
        flux = np.nan_to_num(added[row]).sum((1, 2))
        expected = truth["magnification"][row] * truth["source_flux"][row]
        if row != 3:
            np.testing.assert_allclose(flux, expected, rtol=0.15)


def test_inject_depends_on_seed_and_row_only(survey):
    real = hosts_of(survey)
    planes = [real[name] for name in ("image", "sigma", "psf_fwhm")]
    image, truth = sky_room.inject(*planes, survey, Sky(), 9, np.arange(12))
    some, part = sky_room.inject(*[one[4:6] for one in planes], survey, Sky(), 9, np.array([4, 5]))
    np.testing.assert_allclose(some, image[4:6], atol=1e-5 * image.max())
    np.testing.assert_allclose(part["arc_snr"], truth["arc_snr"][4:6], rtol=1e-4)
    other, _ = sky_room.inject(*planes, survey, Sky(), 10, np.arange(12))
    assert np.abs(other - image).max() > real["sigma"].max()


def test_injected_mass_follows_the_host(survey):
    from astroml.sky.hosts import moments

    axis = np.arange(41) - 20.0
    x, y = axis[None], axis[:, None]
    turn = 0.7
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    image = np.exp(-0.5 * (u**2 + (v / 0.6) ** 2) / 2**2)[None, None]
    ratio, angle = moments(image, np.ones((1, 1)), 0.262)
    assert angle[0] == pytest.approx(turn, abs=0.02)
    assert 0.5 <= ratio[0] < 0.75
