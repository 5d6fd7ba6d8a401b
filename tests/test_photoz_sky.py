"""The sky of the redshifts: what is drawn, and what is rendered from tables."""

import gzip
import importlib
from itertools import pairwise

import numpy as np
import pytest
from astropy.table import Table as FitsTable
from pydantic import ValidationError

from astroml import config, store, tasks
from astroml.config import Splits
from astroml.errors import AstromlError
from astroml.sky import counts, morphology, simulate
from astroml.sky.render import draw_light
from astroml.survey import NJY_PER_ZERO_MAG, galactic_extinction, load_survey
from astroml.tasks.photoz import Sky, Table

BANDS = "ugriz"
room = tasks.load("photoz", "sky")
tables = importlib.import_module("astroml.tasks.photoz.tables")


@pytest.fixture(scope="module")
def survey():
    return load_survey("sdss")


@pytest.fixture(scope="module")
def drawn(survey):
    return room.population(Sky(objects=3000), survey, 5)


def dereddened(columns, survey):
    """Return fluxes (n, part, band) of bulge and disc as they leave the galaxy."""
    wavelengths = [band.wavelength for band in survey.bands.values()]
    return columns["part_flux"][:, :2] / 10 ** (
        -0.4 * galactic_extinction(columns["ebv"], wavelengths)[:, None]
    )


def colours(flux):
    """Return u-g, g-r, r-i, i-z along the last axis."""
    return -2.5 * np.log10(flux[..., :-1] / flux[..., 1:])


# What is drawn.


def test_counts_of_types_and_redshifts_are_those_of_the_main_sample(drawn):
    assert 0.08 < np.median(drawn["z_true"]) < 0.12
    assert 0.2 < np.quantile(drawn["z_true"], 0.99) < 0.35
    assert drawn["z_true"].max() <= 0.4
    share = {name: np.mean(drawn["kind"] == name) for name in morphology.KINDS}
    wanted = {"E": 0.19, "S0": 0.20, "Sbc": 0.36, "Scd": 0.22, "Im": 0.03}
    for name, value in wanted.items():
        assert share[name] == pytest.approx(value, abs=0.04), name
    # Counts of nearby galaxies grow as 10^(0.6 m), K-corrections apart.
    bright, faint = (np.sum(drawn["mag_r"] < limit) for limit in (16.8, 17.8))
    assert 10**0.45 < faint / bright < 10**0.65


def test_deeper_skies_reach_farther():
    chance = np.random.default_rng(1).random((4000, 3))
    median = [np.median(counts.draw(chance, limit, 1.5)["z"]) for limit in (17.0, 18.5, 20.0)]
    assert median == sorted(median)
    assert median[2] > 0.2
    found = counts.draw(chance, 17.8, 1.0)
    assert found["mag"].max() <= 17.8
    # Luminosities crowd around M* = -21.5 + 1.6 z of a sample limited in flux.
    assert np.median(found["mag_abs"]) == pytest.approx(-21.4, abs=0.4)


@pytest.mark.parametrize(
    ("name", "z", "wanted"),
    [
        # SDSS colours of local types (Fukugita et al. 1995, PASP 107, 945; Strateva et al. 2001).
        ("E", 0.1, {"u-g": (1.6, 2.2), "g-r": (0.8, 1.1), "r-i": (0.3, 0.55), "i-z": (0.1, 0.4)}),
        ("Sbc", 0.1, {"u-g": (1.1, 1.8), "g-r": (0.5, 0.95), "r-i": (0.2, 0.5)}),
        ("Im", 0.05, {"u-g": (0.3, 1.1), "g-r": (0.0, 0.45)}),
        ("E", 0.3, {"g-r": (1.3, 1.75), "r-i": (0.45, 0.75)}),
    ],
)
def test_colours_of_types(name, z, wanted, survey):
    sky = Sky(objects=3000, mag_limit=19.0, sed_scatter=0, zero_point_jitter=0)
    found = room.population(sky, survey, 6)
    mine = (found["kind"] == name) & (np.abs(found["z_true"] - z) < 0.03)
    assert mine.sum() > 10
    middle = np.median(colours(dereddened(found, survey)[mine].sum(1)), 0)
    for pair, (low, high) in wanted.items():
        assert low < middle[["u-g", "g-r", "r-i", "i-z"].index(pair)] < high, pair


def test_colours_have_gradients(drawn, survey):
    flux = dereddened(drawn, survey)
    gap = np.diff(colours(flux), axis=1)[:, 0]  # disc minus bulge
    for name, least, most in (("E", -0.15, -0.03), ("Sbc", -0.8, -0.15), ("Scd", -1.0, -0.2)):
        mine = drawn["kind"] == name
        assert least < np.median(gap[mine, 1]) < most, name
    assert np.mean(gap[:, 1] < 0) > 0.85


def test_spectra_scatter_mostly_together(survey):
    wide, none = (
        room.population(Sky(objects=800, sed_scatter=one, zero_point_jitter=0), survey, 2)
        for one in (0.05, 0.0)
    )
    gap = 2.5 * np.log10(wide["part_flux"][:, :2] / none["part_flux"][:, :2])
    assert gap.std() == pytest.approx(0.05, rel=0.1)
    apart = (gap[:, 0] - gap[:, 1]).std()
    assert 0.01 < apart < 0.04


def test_zero_points_differ_by_field(survey):
    wide, none = (
        room.population(Sky(objects=800, zero_point_jitter=one), survey, 2) for one in (0.02, 0.0)
    )
    gap = 2.5 * np.log10(wide["part_flux"][:, 0] / none["part_flux"][:, 0])
    assert gap.std() == pytest.approx(0.02, rel=0.2)
    fields = {tuple(one) for one in np.round(gap, 4)}
    assert 20 < len(fields) < 60  # a patch of 6 x 6 deg


def test_inclined_discs_are_redder(drawn, survey):
    mine = drawn["kind"] == "Sbc"
    g_r = colours(dereddened(drawn, survey)[mine, 1])[:, 1]
    q = drawn["part_q"][mine, 1]
    assert np.median(g_r[q < 0.35]) - np.median(g_r[q > 0.8]) > 0.04


def test_fewer_than_two_in_a_hundred_redshifts_are_wrong(drawn, survey):
    wrong = drawn["z_spec"] != drawn["z_true"]
    assert wrong.mean() == pytest.approx(0.015, abs=0.007)
    all_wrong = room.population(Sky(objects=1000, wrong=0.999), survey, 5)
    gap = np.quantile(all_wrong["z_spec"], (0.1, 0.5, 0.9)) - np.quantile(
        all_wrong["z_true"], (0.1, 0.5, 0.9)
    )
    assert np.abs(gap).max() < 0.03
    assert np.corrcoef(all_wrong["z_spec"], all_wrong["z_true"])[0, 1] < 0.15


def test_sizes_follow_luminosities_as_shen_found():
    # Shen et al. 2003, fig. 4: half-light radii at M_r = -20.5 and -22, kpc.
    mag, none = np.array([-20.5, -22.0]), np.zeros(2)
    early = morphology.half_light_radius(mag, np.ones(2, bool), none)
    late = morphology.half_light_radius(mag, np.zeros(2, bool), none)
    np.testing.assert_allclose(early, [1.95, 4.47], rtol=0.02)
    np.testing.assert_allclose(late, [3.22, 5.8], rtol=0.05)
    wide = morphology.half_light_radius(np.full(4000, -22.5), True, np.linspace(-3, 3, 4000))
    assert np.log(wide[-1] / wide[0]) / 6 == pytest.approx(0.26, abs=0.02)


def test_bulge_and_disc_have_the_size_of_the_whole(drawn):
    few = np.flatnonzero(drawn["part_q"][:, 1] > 0.2)[:300]
    n, r_e = drawn["part_n_sersic"][few, :2], drawn["part_r_e"][few, :2]
    # In the band r, with the shares that were drawn: magnitudes of the parts.
    share = 10 ** (-0.4 * drawn["part_mag"][few, :2])
    share /= share.sum(1, keepdims=True)
    inside = (share * morphology.sersic_growth(drawn["radius"][few, None] / r_e, n)).sum(1)
    np.testing.assert_allclose(inside, 0.5, atol=1e-3)


def test_sersic_growth_holds_half_the_light_at_one_radius():
    n = np.array([0.6, 1.0, 2.0, 4.0, 6.0])
    np.testing.assert_allclose(morphology.sersic_growth(1.0, n), 0.5, atol=2e-4)


def test_an_object_does_not_depend_on_the_number_drawn(drawn, survey):
    few = room.population(Sky(objects=50), survey, 5)
    assert set(few) == set(drawn)
    for name, values in few.items():
        if values.ndim == 1:
            np.testing.assert_array_equal(values, drawn[name][:50], err_msg=name)
    np.testing.assert_array_equal(few["part_flux"][:, :2], drawn["part_flux"][:50, :2])
    other = room.population(Sky(objects=50), survey, 6)
    assert not np.array_equal(other["z_true"], few["z_true"])


def test_everything_is_a_number_and_renders_without_a_lens(drawn, survey):
    for name, values in drawn.items():
        assert values.dtype.kind in "iU" or np.isfinite(values).all(), name
    rows = np.arange(40, 60)
    cut = room.render(drawn, survey, 48, rows, seed=5)
    assert set(cut) == {"image", "mask", "sigma", "psf_fwhm"}
    assert np.isfinite(cut["image"]).all()
    told = room.labels({name: values[rows] for name, values in drawn.items()}, cut)
    assert list(told) == ["z_spec", "z_true", "kind", "mag_r"]


@pytest.mark.parametrize("name", ["decals", "hsc", "euclid", "kids"])
def test_any_survey_can_be_drawn(name):
    described = load_survey(name)
    found = room.population(Sky(objects=6, mag_limit=20.0), described, 2)
    assert found["part_flux"].shape[2] == len(described.bands)
    cut = room.render(found, described, 32, range(6), seed=2)
    assert np.isfinite(cut["image"]).all()


@pytest.mark.parametrize(
    "change", [{"mag_limit": 5}, {"z_max": 0.0}, {"wrong": 1.0}, {"copies": 0}]
)
def test_skies_that_make_no_sense_are_refused(change):
    with pytest.raises(ValidationError):
        Sky(**change)


# Tables.


def write(path, rows, header="z_spec mag_u mag_g mag_r mag_i mag_z"):
    lines = [header, *(" ".join(str(one) for one in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return Table(file=str(path))


def galaxies(count, seed=1):
    """Return rows of redshift and five magnitudes."""
    rng = np.random.default_rng(seed)
    z, r = rng.uniform(0.05, 0.3, count), rng.uniform(16, 18, count)
    offset = np.array([2.6, 0.9, 0, -0.4, -0.7]) + rng.normal(0, 0.1, (count, 5))
    return np.round(np.column_stack([z, r[:, None] + offset]), 5)


@pytest.fixture
def mgs(realdata, monkeypatch):
    monkeypatch.setenv("ASTROML_REALDATA", str(realdata))
    return config.options_from(Sky, "config/photoz/sdss_mgs.yaml")


def test_asinh_magnitudes_go_round_by_the_published_formula():
    flux = np.array([-2e3, 0.0, 5e2, 3e4, 1e8])
    for band, b in tables.SOFTENING.items():
        # Lupton, Gunn & Szalay 1999, eq. 3, with f in units of f0.
        mag = -2.5 / np.log(10) * (np.arcsinh(flux / NJY_PER_ZERO_MAG / (2 * b)) + np.log(b))
        np.testing.assert_allclose(tables.asinh_flux(mag, band), flux, rtol=1e-9, atol=1e-6)
    # SDSS gives the magnitude of no flux: u 24.63, g 25.11, r 24.80, i 24.36, z 22.83.
    none = {"u": 24.63, "g": 25.11, "r": 24.80, "i": 24.36, "z": 22.83}
    for band, mag in none.items():
        assert abs(tables.asinh_flux(mag, band)) < 30
    assert tables.asinh_flux(15.0, "r") == pytest.approx(NJY_PER_ZERO_MAG * 1e-6, rel=1e-6)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["sdss_mgs", "boss_dr10", "real"])
def test_real_tables_are_read_as_they_are(name, mgs, capsys):
    sky = config.options_from(Sky, f"config/photoz/{name}.yaml")
    found = tables.read_tables(sky.tables, list(BANDS))
    told = capsys.readouterr().out
    rows = {"sdss_mgs": 5000, "boss_dr10": 18_000, "real": 23_000}[name]
    left_out = sum(int(line.split()[1]) for line in told.splitlines() if "left out" in line)
    assert len(found["z"]) + left_out == rows
    assert left_out < 30
    assert np.isfinite(found["mag_err"]).all()
    assert (found["flux"] > 0).all()
    assert (np.median(colours(found["flux"]), 0)[:2] > 0.6).all()
    # Errors and magnitudes of one system speak of one background, however faint the source.
    noise = found["flux"] * found["mag_err"] / 1.0857
    faint = [(found["flux"] > low) & (found["flux"] < 2 * low) for low in (50.0, 800.0)]
    levels = [np.median(noise[one[:, 0], 0]) for one in faint if one[:, 0].sum() > 50]
    assert len(levels) == (2 if name != "sdss_mgs" else 0)
    assert np.ptp(levels or [0]) < 0.1 * max(levels or [1])
    assert 0.05 < np.median(found["z"][found["table"] == found["table"][0]]) < 0.6


@pytest.mark.realdata
def test_real_galaxies_have_the_tables_fluxes(mgs, survey):
    found = room.population(mgs, survey, 3)
    wanted = tables.read_tables(mgs.tables, list(BANDS))["flux"]
    assert len(found["ra"]) == 5000
    np.testing.assert_allclose(dereddened(found, survey).sum(1), wanted, rtol=1e-5)
    # Without neighbours and noise, cutouts hold this flux.
    small = np.flatnonzero((found["radius"] > 1) & (found["radius"] < 3))[:24]
    found["part_flux"][:, 2:] = 0
    light = draw_light(found, survey, 160, small)["galaxies"].sum((2, 3)).numpy()
    np.testing.assert_allclose(light, found["part_flux"][small].sum(1), rtol=0.01)


@pytest.mark.realdata
def test_real_galaxies_are_given_types_by_their_colours(mgs, survey):
    found = room.population(mgs, survey, 3)
    assert set(found["kind"]) == set(morphology.KINDS)
    g_r = colours(dereddened(found, survey).sum(1))[:, 1]
    near = np.abs(found["z_true"] - 0.08) < 0.03
    middle = [np.median(g_r[near & (found["kind"] == one)]) for one in morphology.KINDS]
    assert all(after < before + 0.02 for before, after in pairwise(middle))
    assert 0.3 < np.isin(found["kind"], ["E", "S0"]).mean() < 0.75
    assert (found["z_spec"] == found["z_true"]).all()


def test_rows_in_are_rows_rendered_and_rows_left_out(tmp_path, capsys):
    rows = galaxies(8).tolist()
    rows[0][0] = "nan"
    rows[1][0] = -0.002
    rows[2][1] = -9999
    rows[3][2] = "inf"
    rows[4] = [0.1, 99, 99, 99, 99, 99]
    rows[5][1] = 99
    one = write(tmp_path / "t.txt", rows)
    found = tables.read_tables([one], list(BANDS))
    told = capsys.readouterr().out
    assert found["table_row"].tolist() == [4, 5, 6, 7]
    assert "t.txt: 1 of 8 rows left out: no redshift" in told
    assert "t.txt: 1 of 8 rows left out: redshift below 0.001" in told
    assert "t.txt: 2 of 8 rows left out: no magnitude in some band" in told
    assert "t.txt: 4 of 8 rows rendered" in told
    assert found["flux"][1, 0] < 1e-20


def test_negative_fluxes_are_rendered_as_none(tmp_path, capsys, survey):
    rows = galaxies(3)
    rows[0, 1] = 30.0  # asinh: far below zero
    rows[1, 1:] = 30.0
    one = write(tmp_path / "t.txt", rows).model_copy(update={"system": "sdss"})
    found = tables.read_tables([one], list(BANDS))
    assert found["flux"][0, 0] == 0
    assert "t.txt: 1 of 3 rows left out: no light in any band" in capsys.readouterr().out
    drawn = room.population(Sky(tables=[one]), survey, 1)
    assert (drawn["part_flux"][0, :2, 0] == 0).all()
    assert np.isfinite(drawn["part_flux"]).all()


@pytest.mark.parametrize("kind", ["csv", "semicolons", "bare", "gz", "fits"])
def test_layouts_of_tables(kind, tmp_path):
    rows = galaxies(4)
    names = ["z_spec", *(f"mag_{band}" for band in BANDS)]
    path, columns = tmp_path / "t.csv", None
    body = "\n".join(",".join(map(str, row)) for row in rows)
    if kind == "csv":
        path.write_text(",".join(names) + "\n" + body + "\n")
    elif kind == "semicolons":
        path.write_text("#" + ";".join(names) + "\n" + body + "\n")
    elif kind == "bare":
        path.write_text(body + "\n")
        columns = names
    elif kind == "gz":
        path = tmp_path / "t.dat.gz"
        path.write_bytes(gzip.compress((" ".join(names) + "\n" + body.replace(",", " ")).encode()))
    else:
        path = tmp_path / "t.fits"
        FitsTable(dict(zip(names, rows.T))).write(path)
    found = tables.read_tables([Table(file=str(path), columns=columns)], list(BANDS))
    np.testing.assert_allclose(found["z"], rows[:, 0])
    np.testing.assert_allclose(found["flux"], NJY_PER_ZERO_MAG * 10 ** (-0.4 * rows[:, 1:]))
    assert np.isnan(found["mag_err"]).all()
    assert set(found["table"]) == {"t"}


def test_faults_of_tables_are_told(tmp_path, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    path = tmp_path / "t.txt"
    good = galaxies(3)
    cases = [
        ("$NOWHERE/t.txt", {}, "environment variable NOWHERE is not set"),
        (str(tmp_path / "none*.txt"), {}, "no such table"),
        (str(path), {"z_spec": "zs"}, "no column 'zs'; it has z_spec, mag_u"),
        (str(path), {"columns": ["a", "b"]}, "2 column names, but 6 values"),
    ]
    for file, change, says in cases:
        write(path, good)
        with pytest.raises(AstromlError, match=says):
            tables.read_tables([Table(file=file, **change)], list(BANDS))
    path.write_text("a b b\n1 2 3\n")
    with pytest.raises(AstromlError, match="column 'b' is there twice"):
        tables.read_tables([Table(file=str(path))], ["r"])
    path.write_text("")
    with pytest.raises(AstromlError, match="it holds no rows"):
        tables.read_tables([Table(file=str(path))], ["r"])
    (tmp_path / "t.gz").write_bytes(b"\x1f\x8bno")
    with pytest.raises(AstromlError, match="cannot be read as a table"):
        tables.read_tables([Table(file=str(tmp_path / "t.gz"))], ["r"])
    one = write(path, [[-1, *good[0, 1:]]])
    with pytest.raises(AstromlError, match="no galaxy is left"):
        tables.read_tables([one], list(BANDS))


def test_tables_with_extinction_get_no_more(tmp_path, survey):
    one = write(tmp_path / "t.txt", galaxies(5))
    plain = room.population(Sky(tables=[one.model_copy(update={"dereddened": False})]), survey, 1)
    assert (plain["ebv"] == 0).all()
    dimmed = room.population(Sky(tables=[one]), survey, 1)
    assert (dimmed["ebv"] > 0).all()
    assert (dimmed["part_flux"][:, :2].sum(1) < plain["part_flux"][:, :2].sum(1)).all()


def splits_of(columns, seed=1):
    split = store.assign_splits(columns["ra"], columns["dec"], columns["group"], Splits(seed=seed))
    first = columns["copy"] == 0
    return dict(zip(columns["group"][first].tolist(), split[first].tolist()))


def test_a_rows_split_depends_on_nothing_but_the_row(tmp_path, survey):
    first, second = galaxies(60), galaxies(60, 2)
    second[:5] = first[:5]  # rows that are in both tables
    one, two = write(tmp_path / "a.txt", first), write(tmp_path / "b.txt", second)
    back = write(tmp_path / "c.txt", first[::-1])
    alone = splits_of(room.population(Sky(tables=[one]), survey, 1))
    both = room.population(Sky(tables=[one, two], copies=2), survey, 9)
    together = splits_of(both)
    assert len(alone) == 60
    assert len(together) == 115
    assert {group: together[group] for group in alone} == alone
    assert splits_of(room.population(Sky(tables=[back]), survey, 1)) == alone
    assert set(alone.values()) == {"train", "val", "test"}
    fewer = room.population(Sky(tables=[one]), survey.pick(["g", "r", "i"]), 1)
    assert splits_of(fewer) == alone


def test_copies_differ_in_all_but_their_fluxes(tmp_path, survey):
    one = write(tmp_path / "t.txt", galaxies(30))
    found = room.population(Sky(tables=[one], copies=3), survey, 1)
    assert len(found["ra"]) == 90
    first, again = (np.flatnonzero(found["copy"] == copy) for copy in (0, 2))
    for name in ("group", "ra", "dec", "z_spec", "table_row"):
        np.testing.assert_array_equal(found[name][first], found[name][again])
    flux = dereddened(found, survey).sum(1)
    np.testing.assert_allclose(flux[first], flux[again], rtol=1e-5)
    for name in ("ebv", "psf_fwhm", "radius", "part_q"):
        assert (found[name][first] != found[name][again]).any(), name
    single = room.population(Sky(tables=[one]), survey, 1)
    np.testing.assert_array_equal(single["part_q"][:, :2], found["part_q"][first, :2])


def test_a_store_holds_copies_of_the_train_split_alone(tmp_path, survey):
    one = write(tmp_path / "t.txt", galaxies(30))
    args = {"splits": Splits(val=0.3, test=0.3), "size": 32, "seed": 3, "device": "cpu"}
    path = tmp_path / "0.h5"
    simulate.simulate_store({"photoz": Sky(tables=[one], copies=3)}, survey, path, **args)
    kept = store.open_store(path)
    assert list(kept.header.provenance["inputs"]) == ["t.txt"]
    objects = kept.objects
    train = objects["split"] == "train"
    for group in np.unique(objects["group"]):
        mine = objects["group"] == group
        assert mine.sum() == (3 if train[mine][0] else 1)
        assert len(set(objects["split"][mine])) == 1
    assert len(np.unique(objects["object_id"])) == len(objects["object_id"])
    assert {"z_spec", "z_true", "kind", "mag_r", "table", "table_row", "flux_r"} <= set(objects)
    # The flux measured is about the table's.
    flux = NJY_PER_ZERO_MAG * 10 ** (-0.4 * objects["mag_r"]) * objects["mw_transmission_r"]
    assert np.median(objects["flux_r"] / flux) == pytest.approx(1, abs=0.25)
    again = tmp_path / "again.h5"
    simulate.simulate_store({"photoz": Sky(tables=[one], copies=3)}, survey, again, **args)
    assert again.read_bytes() == path.read_bytes()
