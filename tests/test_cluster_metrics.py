"""Metrics of clusters: planted detections whose every number is known."""

import numpy as np
import pytest
import tiles

from astroml.errors import AstromlError
from astroml.report.metrics import explained, parted
from astroml.resampling import evaluate
from astroml.tasks import BIN, cluster
from astroml.tasks.cluster import against, metrics
from astroml.tasks.cluster.match import match, match_places, mpc_per_arcsec, sky_of

PLACES = {"x": 0.0, "y": 0.0, "z": 0.3}


def things(n, **columns):
    """Return clusters or detections in one tile unless told otherwise."""
    table = {"tile": np.zeros(n, int), "score": np.arange(n, 0, -1.0)} | PLACES | columns
    return {name: np.broadcast_to(np.asarray(values), n) for name, values in table.items()}


def mpc(distance, z=0.3):
    """Return Mpc as arcsec."""
    return np.asarray(distance) / mpc_per_arcsec(z)


def test_what_lies_within_both_limits_belongs():
    cluster_ = things(1)
    inside, outside = 0.049 * 1.3, 0.051 * 1.3
    seen = things(
        6,
        tile=np.array([0, 0, 0, 0, 0, 1]),
        x=mpc([0.51, 0, -0.51, 0, 0.49, 0]),
        z=0.3 + np.array([0, outside, 0, -outside, inside, 0]),
    )
    assert match(seen, cluster_).tolist() == [-1, -1, -1, -1, 0, -1]
    # In y as in x, and both together.
    assert match(things(1, x=mpc(0.4), y=mpc(0.4)), cluster_).tolist() == [-1]
    assert match(things(1, y=mpc(0.4)), cluster_).tolist() == [0]


def test_pairs_are_one_to_one_and_the_surest_chooses_first():
    clusters = things(2, x=mpc([0.0, 0.4]))
    seen = things(3, x=mpc([0.1, 0.05, 0.2]), score=np.array([2.0, 1.0, 3.0]))
    # The surest takes what is nearest to it, though another detection is nearer.
    assert match(things(1, x=mpc(0.15)), clusters).tolist() == [0]
    assert match(seen, clusters).tolist() in ([1, -1, 0], [0, -1, 1])
    lone = match(things(2, score=np.array([1.0, 2.0])), things(1))
    assert lone.tolist() == [-1, 0]


def test_the_limit_in_mpc_is_that_at_the_clusters_redshift():
    arcsec = mpc(0.45, 0.15)
    near, far = things(1, z=0.15), things(1, z=0.5)
    assert match(things(1, x=arcsec, z=0.15), near).tolist() == [0]
    assert match(things(1, x=arcsec, z=0.5), far).tolist() == [-1]


def test_places_alone_add_outliers_but_take_nothing_away():
    clusters = things(2, x=mpc([0.0, 0.05]), z=np.array([0.3, 0.45]))
    seen = things(3, z=np.array([0.3, 0.6, 0.9]))
    strict = match(seen, clusters)
    assert strict.tolist() == [0, -1, -1]
    assert match_places(seen, clusters, strict).tolist() == [0, 1, -1]


def planted(n=200, seed=7):
    """Return tiles with a cluster each, and as many without."""
    table = tiles.objects(2 * n, seed)
    number = np.repeat([1, 0], n)
    for k in range(cluster.SLOTS):
        for name in ("ra", "dec", "z", "richness"):
            column = f"cluster_{name}_{k}"
            table[column] = np.where(number > k, table[column], np.nan)
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-100, 100, (2, 2 * n))
    ra, dec = sky_of(table["ra"], table["dec"], x, y)
    table |= {
        "clusters": number,
        "kind": np.where(number, "cluster", "blank"),
        "cluster_ra_0": np.where(number, ra, np.nan),
        "cluster_dec_0": np.where(number, dec, np.nan),
        "cluster_z_0": np.where(number, rng.uniform(0.15, 0.45, 2 * n), np.nan),
        "cluster_richness_0": np.where(number, 40.0, np.nan),
    }
    return table, x, y


def seen_rows(table, x, y):
    """Return rows that say the truth, one for each tile; those of empty tiles say 40 at 0.3."""
    n = len(x)
    true = table["clusters"] == 1
    return {
        "object_id": table["object_id"],
        "x": x,
        "y": y,
        "z_cluster": np.where(true, table["cluster_z_0"], 0.3),
        "z_cluster_err": np.full(n, 0.01),
        "richness": np.full(n, 40.0),
        "ln_richness_err": np.full(n, 0.2),
        "cluster_score": np.where(true, 5.0, -5.0),
        "cluster_prob": np.where(true, 1.0, 0.0),
        "tile_side": np.full(n, 360.0),  # 0.01 deg2
    }


def values(table, rows, **more):
    return {name: pair[0] for name, pair in metrics.score(table, rows, **more).items()}


def test_a_perfect_finder_is_perfect():
    table, x, y = planted()
    found = values(table, seen_rows(table, x, y))
    exact = {
        "completeness": 1, "purity": 1, "sigma_z": 0, "bias_z": 0, "outliers_z": 0,
        "coverage_68_z": 1, "sigma_lnlambda": 0, "bias_lnlambda": 0, "coverage_68_lambda": 1,
        "centring_mpc": 0, "false_per_deg2": 0, "ece": 0, "brier": 0,
        "completeness_lambda_30_50": 1, "purity_richness_30_50": 1, "z_limit": 0.45,
    }  # fmt: skip
    assert {name: found[name] for name in exact} == pytest.approx(exact, abs=1e-5)


def test_known_faults_are_measured():
    """A third missed, known shifts in z, richness and place, and so many false ones."""
    table, x, y = planted()
    rows, n = seen_rows(table, x, y), 200
    rng = np.random.default_rng(3)
    z = table["cluster_z_0"][:n]
    missed = np.arange(n) % 3 == 0
    rows["cluster_score"][:n][missed] = -9.0
    rows["z_cluster"][:n] += (0.004 + 0.012 * rng.standard_normal(n)) * (1 + z)
    rows["richness"][:n] *= np.exp(0.1 + 0.3 * rng.standard_normal(n))
    rows["x"] = x + np.where(
        table["clusters"] == 1, mpc(0.12, np.nan_to_num(table["cluster_z_0"], nan=0.3)), 0
    )
    rows["cluster_score"][n : n + 10] = 5.5  # ten false ones, above all
    found = values(table, rows)
    assert found["completeness"] == pytest.approx(2 / 3, abs=0.005)
    assert found["purity"] == pytest.approx(133 / 143, abs=0.01)
    assert found["false_per_deg2"] == pytest.approx(10 / (200 * 0.01))
    assert found["bias_z"] == pytest.approx(0.004, abs=0.003)
    assert found["sigma_z"] == pytest.approx(0.012, rel=0.2)
    inside = np.abs(rows["z_cluster"][:n] - z)[~missed] <= 0.01
    assert found["coverage_68_z"] == pytest.approx(inside.mean())
    assert found["bias_lnlambda"] == pytest.approx(0.1, abs=0.08)
    assert found["sigma_lnlambda"] == pytest.approx(0.3, rel=0.2)
    assert found["centring_mpc"] == pytest.approx(0.12, abs=1e-3)


def test_a_second_detection_of_a_cluster_is_false():
    table, x, y = planted()
    rows = seen_rows(table, x, y)
    again = {name: np.concatenate([one, one[:200]]) for name, one in rows.items()}
    again["cluster_score"][400:] = 4.0
    facts = metrics.measured(table, again)
    assert (facts["found"]["belongs"][:200] >= 0).all()
    assert (facts["found"]["belongs"][400:] == -1).all()
    assert values(table, again)["completeness"] == 1


def test_wrong_redshifts_are_outliers_and_not_found():
    table, x, y = planted()
    table["cluster_z_0"][:16] = 0.4
    rows = seen_rows(table, x, y)
    rows["z_cluster"][:16] -= 0.12
    found = values(table, rows)
    assert found["completeness"] == found["purity"] == pytest.approx(0.92, abs=0.005)
    assert found["outliers_z"] == pytest.approx(0.08)


def test_the_threshold_is_the_lowest_that_is_pure_enough():
    score, right = np.array([6.0, 5, 4, 3, 2, 1]), np.array([1, 0, 1, 1, 1, 0.0])
    ones = np.ones(6)
    assert against.at_purity(score, right, ones, 0.8) == (2.0, pytest.approx(0.8))
    assert against.at_purity(score, right, ones, 0.9) == (6.0, 1.0)
    assert against.at_purity(score, right, np.array([1, 0, 1, 1, 1, 0.0]), 0.9) == (2.0, 1.0)
    assert against.at_purity(score, np.zeros(6), ones)[0] == np.inf
    assert against.at_purity(np.ones(2), np.array([1.0, 0]), np.ones(2), 0.6)[0] == np.inf  # tied
    assert against.at_purity(score[:0], right[:0], ones[:0])[0] == np.inf


def test_what_the_sample_does_not_hold_is_not_asked():
    """Clusters beyond the range are missed at no cost; poor detections are not counted as false."""
    table, x, y = planted()
    table["cluster_z_0"][:50] = 0.55
    table["cluster_richness_0"][50:100] = 15.0
    rows = seen_rows(table, x, y)
    rows["cluster_score"][:100] = -9.0
    rows["cluster_score"][200:] = 9.0
    rows["richness"][200:300] = 19.0
    rows["z_cluster"][300:] = 0.52
    found = values(table, rows)
    assert found["completeness"] == found["purity"] == 1


def test_no_threshold_is_pure_where_all_is_false():
    table, x, y = planted()
    rows = seen_rows(table, x, y)
    rows["x"] = -rows["x"] + 400
    found = values(table, rows)
    assert found["completeness"] == 0
    assert np.isnan(found["purity"])
    assert "sigma_z" not in found


def test_tiles_without_clusters_cannot_be_scored_alone():
    table = tiles.objects(20, clusters=0)
    rows = seen_rows(table, np.zeros(20), np.zeros(20))
    with pytest.raises(AstromlError, match="no cluster in 20 labelled tiles"):
        metrics.score(table, rows)
    # But the report's figures of them are drawn.
    facts = metrics.measured(table, rows)
    assert not len(facts["true"]["tile"])
    assert (metrics.error(table, rows) == rows["cluster_prob"]).all()


def test_weights_are_of_tiles():
    """A tile counted twice is two tiles."""
    table = tiles.objects(60, seed=9)
    rows = cluster.rows(
        tiles.output(table, false=0.3)
        | {
            "calibration": {"prob": [1, 0], "temperature": 1, "richness": [0, 1], "richness_err": 1}
        },
        table,
    )
    copy = {name: np.concatenate([one, one]) for name, one in table.items()}
    copy["object_id"] = copy["object_id"] + np.repeat([0, 10_000], 60)
    twice = {name: np.concatenate([one, one]) for name, one in rows.items()}
    half = len(rows["object_id"])
    twice["object_id"] = twice["object_id"] + np.repeat([0, 10_000], half)
    facts = metrics.measured(table, rows)
    weighted = evaluate(metrics._measures(facts), np.full(60, 2.0))[0]
    counted = values(copy, twice, bootstrap=2)
    for name in ("completeness", "purity", "false_per_deg2", "outliers_z", "ece"):
        assert weighted[name] == pytest.approx(counted[name], rel=1e-6), name


def test_uncertainties_shrink_with_the_root_of_the_tiles():
    errors = []
    for n in (150, 2400):
        table = tiles.objects(n, seed=5, clusters=1)
        fit = {"prob": [1, 0], "temperature": 1, "richness": [0, 1], "richness_err": 1}
        rows = cluster.rows(tiles.output(table, miss=0.2) | {"calibration": fit}, table)
        errors.append(metrics.score(table, rows, bootstrap=100)["completeness"][1])
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.4)


def test_rows_in_any_order_score_the_same():
    table = tiles.objects(80, seed=2)
    fit = {"prob": [1, 0], "temperature": 1, "richness": [0, 1], "richness_err": 1}
    rows = cluster.rows(tiles.output(table) | {"calibration": fit}, table)
    order = np.random.default_rng(1).permutation(len(rows["object_id"]))
    turned = {name: one[order] for name, one in rows.items()}
    one, two = values(table, rows, bootstrap=2), values(table, turned, bootstrap=2)
    assert list(one) == list(two)
    np.testing.assert_allclose(list(one.values()), list(two.values()), rtol=1e-9, equal_nan=True)


def test_a_detector_without_errors_is_scored_too():
    table, x, y = planted()
    plain = ("object_id", "x", "y", "z_cluster", "richness", "cluster_score")
    rows = {name: one for name, one in seen_rows(table, x, y).items() if name in plain}
    found = values(table, rows)
    assert found["completeness"] == 1
    assert not {"coverage_68_z", "ece", "false_per_deg2"} & set(found)


def test_every_metric_and_axis_is_explained():
    table = tiles.objects(300)
    fit = {"prob": [1, 0], "temperature": 1, "richness": [0, 1], "richness_err": 1}
    rows = cluster.rows(tiles.output(table) | {"calibration": fit}, table)
    found = metrics.score(table, rows, bootstrap=2)
    plain = {name: pair for name, pair in found.items() if not BIN.fullmatch(name)}
    assert len(plain) < len(found)
    for name in found:
        if match_ := BIN.fullmatch(name):
            what, axis = parted(match_["stem"], plain)
            assert axis in metrics.AXES
            assert what in metrics.METRICS
        else:
            assert explained(cluster, name)[1], name


def test_panels_hold_what_the_report_can_draw():
    from astroml.report import charts

    table = tiles.objects(300)
    fit = {"prob": [1, 0], "temperature": 1, "richness": [0, 1], "richness_err": 1}
    rows = cluster.rows(tiles.output(table) | {"calibration": fit}, table)
    drawn = cluster.panels(table, rows)
    assert len(drawn) == 7
    for panel in drawn:
        assert charts.drawn(panel)["light"].startswith("data:image")
    counts = {panel.title: panel.data for panel in drawn if panel.kind == "bars"}
    pit = counts["Are the p(z) calibrated?"]
    assert pit["counts"].sum() == pytest.approx(pit["expected"] * len(pit["counts"]))
    empty = tiles.objects(20, clusters=0)
    few = cluster.rows(tiles.output(empty) | {"calibration": fit}, empty)
    assert [panel.kind for panel in cluster.panels(empty, few)] == ["points"]
