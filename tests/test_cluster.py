"""Clusters: from a network's peaks to calibrated rows, places on the sky, and each cluster once."""

import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiles
from astropy.cosmology import FlatLambdaCDM
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from astroml.catalog.write import write_catalog
from astroml.errors import AstromlError
from astroml.pz import cumulate, quantile
from astroml.report.mosaic import part
from astroml.rows import join
from astroml.store import FLAGS
from astroml.tasks import cluster
from astroml.tasks.cluster import mass, match, redshift
from astroml.tasks.cluster.columns import designations
from astroml.tasks.cluster.merge import combine, unique

IDENTITY = {
    "prob": [1.0, 0.0],
    "temperature": 1.0,
    "richness": [0.0, 1.0],
    "richness_err": 1.0,
}


def rows_of(table, said, fit=IDENTITY):
    return cluster.rows(said | {"calibration": fit}, table)


def wcs_of(ra, dec):
    """Return the WCS of a tile as ingest resamples it: north up, east left."""
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval = [ra, dec]
    made.wcs.crpix = [(tiles.SIZE + 1) / 2] * 2
    made.wcs.cdelt = [-tiles.SCALE / 3600, tiles.SCALE / 3600]
    return made


@pytest.mark.parametrize("place", [(150.0, 2.0), (0.01, -45.0), (359.99, 60.0), (80.0, 89.98)])
def test_pixels_and_sky_are_those_of_the_wcs(place):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-160, 160, (2, 50))
    middle = (tiles.SIZE - 1) / 2
    ra, dec = wcs_of(*place).all_pix2world(x + middle, y + middle, 0)
    mine = match.sky_of(*place, x * tiles.SCALE, y * tiles.SCALE)
    apart = (mine[0] - ra + 180) % 360 - 180
    assert np.abs(apart * np.cos(np.radians(dec))).max() < 1e-9
    assert np.abs(mine[1] - dec).max() < 1e-9
    back = match.plane_of(*place, ra, dec)
    np.testing.assert_allclose(back, [x * tiles.SCALE, y * tiles.SCALE], atol=1e-6)


@settings(max_examples=200, deadline=None)
@given(
    st.floats(0, 360),
    st.floats(-90, 90),
    st.floats(-2000, 2000),
    st.floats(-2000, 2000),
)
def test_plane_and_sky_undo_each_other(ra, dec, x, y):
    there = match.sky_of(ra, dec, x, y)
    assert 0 <= there[0] < 360
    np.testing.assert_allclose(match.plane_of(ra, dec, *there), [x, y], atol=1e-4)


def test_the_far_side_of_the_sky_has_no_place():
    assert np.isnan(match.plane_of(10.0, 0.0, 190.0, 0.0)).all()


def test_angular_scale_is_that_of_the_standard_cosmology():
    z = np.array([0.05, 0.1, 0.3, 0.5, 0.8])
    exact = FlatLambdaCDM(H0=70, Om0=0.3).kpc_proper_per_arcmin(z).value / 60_000
    np.testing.assert_allclose(match.mpc_per_arcsec(z), exact, rtol=1e-4)


def test_masses_are_those_of_the_relation():
    assert mass.m200m(40, 0.35) == pytest.approx(3.08)
    assert mass.m200m(80, 0.35) / mass.m200m(40, 0.35) == pytest.approx(2**1.356)
    assert mass.m200m(40, 0.70) / mass.m200m(40, 0.35) == pytest.approx((1.7 / 1.35) ** -0.3)
    assert mass.m200m_err(40, 0.0, 0.35, 0.0) == pytest.approx(0.25 * 3.08)
    # Against draws: error of richness and redshift, and the relation's own scatter.
    rng = np.random.default_rng(1)
    draws = mass.m200m(30 * np.exp(0.1 * rng.standard_normal(200_000)), 0.3)
    drawn = np.std(np.log(draws) + 0.25 * rng.standard_normal(200_000))
    assert mass.m200m_err(30, 0.1, 0.3, 0.0) / mass.m200m(30, 0.3) == pytest.approx(drawn, rel=0.01)


def test_names_follow_the_iau():
    ra = np.array([157.5633333, 0.0, 359.9999999, 187.70593])
    dec = np.array([2.5125, -0.5, 89.99999, 12.39112])
    assert designations(ra, dec).tolist() == [
        "J103015.1+023045",  # cut off, not rounded to 15.2
        "J000000.0-003000",
        "J235959.9+895959",
        "J123049.4+122328",
    ]


def test_quantiles_of_p_of_z():
    edges = np.linspace(0, 1, 11)
    flat = np.full((1, 10), 0.1)
    assert redshift.describe(flat, edges)[0][0] == pytest.approx(0.5)
    assert redshift.describe(flat, edges)[1][0] == pytest.approx(0.34)
    one = np.zeros((1, 10))
    one[0, 3] = 1
    assert quantile(cumulate(one), edges, 0.5)[0] == pytest.approx(0.35)
    first = one[0, 0] * 0
    where = redshift.pit(10 * one, np.array([0.05]), np.array([0.1]), np.array([0.375]) + first)
    assert where[0] == pytest.approx(0.75)
    wide, narrow = (redshift.as_mass(np.arange(10.0)[None], t).max() for t in (2, 0.5))
    assert wide < redshift.as_mass(np.arange(10.0)[None]).max() < narrow


def test_targets_are_the_clusters_places():
    table = tiles.objects(50)
    said, labelled = cluster.targets(table)
    assert labelled.all()
    assert np.isfinite(said["cluster_z"]).sum() == table["clusters"].sum()
    first = np.flatnonzero(table["clusters"] > 0)[0]
    place = [table[f"cluster_{name}_0"][first] for name in ("ra", "dec")]
    x, y = wcs_of(table["ra"][first], table["dec"][first]).all_world2pix(*place, 0)
    middle = (tiles.SIZE - 1) / 2
    assert said["cluster_x"][first, 0] == pytest.approx((x - middle) * tiles.SCALE, abs=1e-3)
    assert said["cluster_y"][first, 0] == pytest.approx((y - middle) * tiles.SCALE, abs=1e-3)
    plain = {name: table[name] for name in ("object_id", "ra", "dec")}
    said, labelled = cluster.targets(plain)
    assert not labelled.any()
    assert np.isnan(said["cluster_z"]).all()
    other = table | {"labels": np.full(50, "tidal")}
    assert not cluster.targets(other)[1].any()


def test_labels_that_cannot_be_learnt_from_are_refused():
    said, _ = cluster.targets(tiles.objects(40))
    cluster.check(said, "train", cluster.Options())
    wrong = said | {"clusters": said["clusters"] + 1}
    with pytest.raises(AstromlError, match="not the number of redshifts"):
        cluster.check(wrong, "train")
    with pytest.raises(AstromlError, match="outside the grid"):
        cluster.check(said, "val", cluster.Options(z_range=(0.2, 0.3)))
    with pytest.raises(AstromlError, match="at least 10"):
        cluster.check(said | {"cluster_richness": said["cluster_richness"] - 9}, "val")
    none, _ = cluster.targets(tiles.objects(40, clusters=0))
    with pytest.raises(AstromlError, match="no cluster"):
        cluster.check(none, "train")
    with pytest.raises(ValueError, match="z_range"):
        cluster.Options(z_range=(0.5, 0.2))


def test_a_planted_cluster_gets_its_row():
    table = tiles.objects(30, clusters=1)
    rows = rows_of(table, tiles.output(table, sigma_z=0.004, sigma_ln=0.01))
    sure = rows["cluster_prob"] > 0.5
    assert (rows["object_id"][sure] == table["object_id"]).all()
    x, y = match.plane_of(
        table["cluster_ra_0"], table["cluster_dec_0"], rows["ra"][sure], rows["dec"][sure]
    )
    assert np.hypot(x, y).max() < 5 * 3 * tiles.SCALE
    assert np.abs(rows["z_cluster"][sure] - table["cluster_z_0"]).max() < 0.03
    assert np.abs(np.log(rows["richness"][sure] / table["cluster_richness_0"])).max() < 0.05
    np.testing.assert_allclose(
        rows["richness_err"], rows["richness"] * rows["ln_richness_err"], rtol=1e-5
    )
    assert rows["m200m"] == pytest.approx(mass.m200m(rows["richness"], rows["z_cluster"]), rel=1e-5)
    integral = (rows["z_pdf"] * rows["z_pdf_step"][:, None]).sum(1)
    assert integral == pytest.approx(1.0, abs=1e-4)
    assert rows["tile_side"] == pytest.approx(320 * 1.048)


def test_every_tile_has_a_row_and_only_candidates_have_more():
    table = tiles.objects(60)
    said = tiles.output(table)
    options = said["options"].model_copy(update={"floor": 0.2})
    rows = rows_of(table, said | {"options": options})
    assert set(rows["object_id"]) == set(table["object_id"])
    # Tile by tile in the store's order, the best first; below the floor none but a tile's best.
    assert (np.diff(rows["object_id"]) >= 0).all()
    again = np.flatnonzero(np.diff(rows["object_id"]) == 0) + 1
    assert (rows["cluster_prob"][again] >= 0.2).all()
    assert (rows["cluster_score"][again] <= rows["cluster_score"][again - 1]).all()
    logits = np.where(said["peak_logit"] > -19, said["peak_logit"], -np.inf)
    wanted = (1 / (1 + np.exp(-logits)) >= 0.2).sum(1)
    assert len(rows["object_id"]) == np.maximum(wanted, 1).sum()


def test_tiles_without_pixels_and_without_peaks():
    table = tiles.objects(6, clusters=2)
    table["flags"][2] = FLAGS["no_data"]
    said = tiles.output(table)
    for name in ("peak_logit", "peak_x", "peak_y", "richness_mean", "richness_logvar", "z_logits"):
        said[name][2] = 0  # as infer replaces what is not finite
    said["peak_logit"][4] = -20
    rows = rows_of(table, said)
    for odd in (2, 4):
        assert (rows["object_id"] == table["object_id"][odd]).sum() == 1
    for column in cluster.COLUMNS:
        if column.dtype != "str":
            assert np.isfinite(rows[column.name]).all(), column.name


def test_no_tile_gives_no_row():
    none = {name: values[:0] for name, values in tiles.objects(2).items()}
    said = tiles.output(tiles.objects(2))
    said = {name: one[:0] if isinstance(one, np.ndarray) else one for name, one in said.items()}
    rows = rows_of(none, said)
    assert len(rows["object_id"]) == len(rows["name"]) == 0
    assert rows["z_pdf"].shape == (0, 70)
    assert cluster.calibrate(said, cluster.targets(none)[0])["temperature"] == 1
    assert unique(rows | {"flags": none["flags"]}).shape == (0,)
    assert len(combine([rows, rows])["object_id"]) == 0


@pytest.mark.parametrize("claimed", [0.5, 2.0])
def test_calibrated_errors_cover_on_other_tiles(claimed):
    """A network that claims half or twice its true errors is put right, on tiles it never saw."""
    faults = {"claimed": claimed, "lean": 0.85, "false": 0.1, "miss": 0.1}
    val, test = tiles.objects(1200, seed=3), tiles.objects(1200, seed=4)
    fit = cluster.calibrate(tiles.output(val, seed=5, **faults), cluster.targets(val)[0])
    said = tiles.output(test, seed=6, **faults)
    raw, rows = rows_of(test, said), rows_of(test, said, fit)
    before, after = (cluster.score(test, one, bootstrap=20) for one in (raw, rows))
    for name in ("coverage_68_z", "coverage_68_lambda"):
        assert abs(before[name][0] - 0.68) > 0.15
        assert after[name][0] == pytest.approx(0.68, abs=0.06)
    assert after["ece"][0] < 0.05
    assert abs(after["bias_lnlambda"][0]) < 0.06 < abs(before["bias_lnlambda"][0])


def test_few_clusters_leave_the_output_as_it_is():
    table = tiles.objects(8)
    fit = cluster.calibrate(tiles.output(table), cluster.targets(table)[0])
    assert {name: fit[name] for name in ("temperature", "richness", "richness_err")} == {
        name: IDENTITY[name] for name in ("temperature", "richness", "richness_err")
    }
    none = tiles.objects(8, clusters=0)
    assert cluster.calibrate(tiles.output(none), cluster.targets(none)[0])["prob"] == [1, 0]


def sighted(ra, dec, z=0.3, prob=0.9, tile=1, flags=0):
    n = len(np.atleast_1d(ra))
    full = {"ra": ra, "dec": dec, "z_cluster": z, "cluster_prob": prob, "object_id": tile}
    rows = {name: np.broadcast_to(values, n).copy() for name, values in full.items()}
    return rows | {"cluster_score": rows["cluster_prob"], "flags": np.broadcast_to(flags, n)}


@pytest.mark.parametrize("dec", [0.0, 45.0, 89.999, -89.999])
@pytest.mark.parametrize("ra", [180.0, 0.0])
def test_a_cluster_in_overlapping_tiles_is_one(ra, dec):
    """Three tiles see one cluster an arcsec apart, across RA 0 and beside the poles too."""
    there = match.sky_of(np.full(3, ra), np.full(3, dec), np.array([-1.0, 0, 1]), np.zeros(3))
    rows = sighted(*there, prob=[0.7, 0.9, 0.8], tile=[1, 2, 3])
    assert unique(rows).tolist() == [False, True, False]


def test_what_is_not_the_same_cluster_stays():
    half = 0.5 / match.mpc_per_arcsec(0.3)  # arcsec

    def kept(step, z=(0.3, 0.3), **more):
        there = match.sky_of(np.zeros(2), np.full(2, 30.0), np.array([0, step]), np.zeros(2))
        rows = sighted(*there, z=z, prob=[0.9, 0.8], **({"tile": [1, 2]} | more))
        return unique(rows).tolist()

    assert kept(0.99 * half) == [True, False]
    assert kept(1.01 * half) == [True, True]
    assert kept(1.0, z=(0.3, 0.3 + 0.99 * 0.05 * 1.3)) == [True, False]
    assert kept(1.0, z=(0.3, 0.3 + 1.01 * 0.05 * 1.3)) == [True, True]
    assert kept(1.0, tile=1) == [True, True]  # the network told them apart
    assert kept(1.0, flags=FLAGS["no_sky"]) == [True, True]
    assert kept(1.0, flags=np.array([FLAGS["no_data"], 0])) == [True, True]


def test_a_row_that_went_takes_no_other_with_it():
    half = 0.5 / match.mpc_per_arcsec(0.3)
    x = np.array([0, 0.8, 1.6]) * half
    rows = sighted(*match.sky_of(10.0, 5.0, x, 0 * x), prob=[0.9, 0.8, 0.7], tile=[1, 2, 3])
    assert unique(rows).tolist() == [True, False, True]
    order = np.array([2, 1, 0])
    turned = {name: values[order] for name, values in rows.items()}
    assert unique(turned).tolist() == [True, False, True]


def catalog_rows(path, table, rows, begin):
    n = len(rows["object_id"])
    columns = {"object_id": rows["object_id"] + begin, "ra": rows["ra"], "dec": rows["dec"]}
    columns = {name: pa.array(values) for name, values in columns.items()}
    for column in cluster.COLUMNS:
        values = rows[column.name]
        columns[column.name] = (
            pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            if values.ndim == 2
            else pa.array(values)
        )
    columns |= {"flags": pa.array(np.zeros(n, np.int32))}
    columns |= {"weights": pa.array(["a"] * n), "input": pa.array(["b"] * n)}
    pq.write_table(pa.table(columns), path)
    return path


def test_the_catalog_has_each_cluster_once(tmp_path, capsys):
    table = tiles.objects(12, clusters=1)
    rows = rows_of(table, tiles.output(table))
    paths = [catalog_rows(tmp_path / f"{k}.parquet", table, rows, 1000 * k) for k in (1, 2)]
    outs = [tmp_path / "cluster.parquet", tmp_path / "cluster.fits"]
    count = write_catalog("cluster", paths, outs)
    assert count == len(rows["object_id"])
    assert f"merged {count} of {2 * count} rows" in capsys.readouterr().out
    for out in outs:
        made = Table.read(out)
        assert len(made) == count
        assert str(made["m200m"].unit) == "1e+14 solMass"
        assert np.asarray(made["z_pdf"]).shape == (count, 70)
        assert made["name"][0].startswith("J")


def test_networks_of_an_ensemble_are_merged_cluster_by_cluster():
    table = tiles.objects(200, clusters=1)
    members = [
        rows_of(table, tiles.output(table, seed=seed, sigma_ln=0.3)) for seed in (11, 12, 13)
    ]
    for one in members:
        one["flags"] = np.zeros(len(one["object_id"]), np.int32)
    merged = combine(members)
    assert set(merged) == set(members[0])
    assert {len(values) for values in merged.values()} == {len(merged["object_id"])}
    assert (np.diff(merged["object_id"]) >= 0).all()
    for column in cluster.COLUMNS:
        if column.dtype != "str":
            assert merged[column.name].dtype == column.dtype
    one, all_ = (cluster.score(table, rows, bootstrap=10) for rows in (members[0], merged))
    # The mean of three independent networks scatters less than each of them.
    assert all_["sigma_lnlambda"][0] < 0.75 * one["sigma_lnlambda"][0]
    assert all_["sigma_z"][0] < 0.85 * one["sigma_z"][0]
    assert all_["centring_mpc"][0] < 0.8 * one["centring_mpc"][0]
    sure = merged["cluster_prob"] > 0.5
    assert sure.sum() == 200
    ra, dec = match.sky_of(
        table["ra"], table["dec"], merged["x"][sure].astype(float), merged["y"][sure].astype(float)
    )
    np.testing.assert_allclose(merged["ra"][sure], ra, atol=1e-6)
    np.testing.assert_allclose(merged["dec"][sure], dec, atol=1e-6)


def test_rows_joined_with_their_tiles_score_as_the_tiles_do():
    table = tiles.objects(120)
    rows = rows_of(table, tiles.output(table, false=0.2))
    rows["flags"] = np.zeros(len(rows["object_id"]), np.int32)
    truth, joined = join("cluster", rows, table)
    assert len(truth["clusters"]) == len(joined["object_id"])
    one, two = (cluster.score(t, r, bootstrap=5) for t, r in ((table, rows), (truth, joined)))
    assert list(one) == list(two)
    for name, pair in one.items():
        assert pair == pytest.approx(two[name], nan_ok=True), name


def test_the_report_draws_the_part_of_a_tile_around_a_cluster():
    picture = np.zeros((40, 40, 3), np.uint8)
    picture[30, 5] = 255  # row 30, column 5: 14.5 left of the centre, 10.5 above it
    cut = part(picture, np.array([-14.5, 10.5]), 20)
    assert cut.shape == (20, 20, 3)
    assert np.argwhere(cut[..., 0]).tolist() == [[9, 9]]  # beside the middle, 9.5
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert part(picture, np.array([500.0, -500.0]), 20).shape == (20, 20, 3)
