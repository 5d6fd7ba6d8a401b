"""Anomaly rows, outliers of a whole catalog, metrics, and what labels teach."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import LocalOutlierFactor

from astroml import interest, neighbours, tasks
from astroml.store import FLAGS
from astroml.tasks.anomaly import combine, metrics, outliers
from astroml.tasks.anomaly.columns import SCORES

ANOMALY = tasks.load("anomaly")
KINDS = ("merger", "ring")


def made(n=600, share=0.04, seed=1, shift=6.0):
    """Return truth and rows: a cloud of galaxies, rare ones beside it, artefacts far off."""
    rng = np.random.default_rng(seed)
    kind = np.full(n, "galaxy", dtype="U12")
    rare = int(share * n)
    kind[:rare] = np.array(KINDS)[np.arange(rare) % 2]
    kind[rare : rare + rare // 2] = "trail"
    yes, spoilt = np.isin(kind, KINDS), kind == "trail"
    embedding = rng.normal(size=(n, 6))
    for at, name in enumerate((*KINDS, "trail")):
        embedding[kind == name, at] += shift
    flux = rng.uniform(3, 5, n)
    odd = rng.normal(size=n) + 2.5 * yes
    rows = {
        "object_id": np.arange(n) * 7,
        "anomaly_score": odd,
        "ae_score": odd + rng.normal(size=n) + 3 * spoilt,
        "vae_score": np.full(n, np.nan),
        "artefact_prob": np.where(spoilt, 0.9, 0.01) * rng.uniform(0.5, 1, n),
        "log_flux": flux,
        "embedding": embedding,
        "residual_embedding": embedding[:, :3],
        "pca_coefficients": rng.normal(size=(n, 4)) + yes[:, None],
        "pca_residual": rng.normal(size=n),
        "flags": np.zeros(n, np.int32),
    }
    truth = {
        "is_interesting": yes.astype(np.float32),
        "is_artefact": spoilt.astype(np.float32),
        "kind": kind,
        "mag_i": 25 - flux,
    }
    return truth, rows


def output(n=400, seed=1):
    """Return what a network might say, scores rising with the flux."""
    rng = np.random.default_rng(seed)
    flux = rng.uniform(2, 6, n)
    said = {f"{name}_score": flux * (3 + rng.gamma(2, 1, n)) for name in ("ae", "vae")}
    return said | {
        "flux": flux,
        "artefact_logit": np.full(n, -6.0),
        "embedding": rng.normal(size=(n, 5)),
        "residual_embedding": rng.normal(size=(n, 3)),
        "pca": rng.normal(size=(n, 4)),
        "pca_residual": rng.random(n),
    }


def objects(n=400):
    return {"object_id": np.arange(n), "flags": np.zeros(n, np.int32)}


def rows_of(said, n=400):
    return ANOMALY.rows(said | {"calibration": ANOMALY.calibrate(said, {})}, objects(n))


def test_flux_decides_neither_the_combined_score_nor_its_spread():
    rows = rows_of(output(4000), 4000)
    assert abs(spearmanr(rows["anomaly_score"], rows["log_flux"])[0]) < 0.05
    assert spearmanr(rows["ae_score"], rows["log_flux"])[0] > 0.5
    bright = rows["log_flux"] > 4
    high = [np.quantile(rows["anomaly_score"][part], 0.9) for part in (bright, ~bright)]
    assert high[0] == pytest.approx(high[1], rel=0.15)


def test_an_artefact_is_flagged_and_ranks_as_usual():
    said = output()
    said["ae_score"][:3] = said["vae_score"][:3] = 300.0
    said["artefact_logit"][:2] = 8.0
    rows = rows_of(said)
    assert rows["anomaly_score"][2] > 10
    # One spread above the median, with one in six of all galaxies.
    assert np.allclose(rows["anomaly_score"][:2], combine.USUAL, atol=0.1)
    assert (rows["flags"][:2] == FLAGS["artefact"]).all()
    assert not rows["flags"][2:].any()


def test_a_model_that_did_not_run_has_no_score_and_no_say():
    said = output()
    rows = rows_of(said)
    assert np.isnan(rows["wgan_score"]).all()
    alone = {name: values for name, values in said.items() if name != "vae_score"}
    assert np.isfinite(rows_of(alone)["anomaly_score"]).all()
    assert not np.array_equal(rows_of(alone)["anomaly_score"], rows["anomaly_score"])


def test_together_is_the_mean_by_weight():
    scores = {"ae": np.array([4.0, 1.0]), "wgan": np.array([-7.0, 1.0])}
    weight = [combine.WEIGHT[name] for name in scores]
    assert np.allclose(combine.together(scores), [np.average([4, -7], weights=weight), 1])
    assert set(combine.WEIGHT) == set(SCORES)
    assert all(weight > 0 for weight in combine.WEIGHT.values())


def test_rarity_in_one_cloud_is_mahalanobis_and_its_strays_do_not_count():
    rng = np.random.default_rng(1)
    mixing = np.array([[2.0, 0.0], [1.5, 0.3]])
    points = rng.normal(size=(4000, 2)) @ mixing.T + (5, -1)
    strays = np.full((60, 2), (-40.0, 60.0))
    cloud = combine.fit_cloud(np.concatenate([points, strays]), 1)
    away = (points - (5, -1)) @ np.linalg.inv(mixing).T
    expected = np.square(away).sum(1) / 2
    found = np.expm1(combine.rarity(points, cloud))
    far = expected > 1  # nearer, the error of the middle is what tells
    # Without its outer parts the cloud is a little narrower, by the same factor each way.
    assert np.std((found / expected)[far]) < 0.05
    assert np.mean((found / expected)[far]) == pytest.approx(1, abs=0.1)
    assert combine.rarity(strays, cloud).min() > combine.rarity(points, cloud).max()


def test_between_several_clouds_it_is_rare():
    rng = np.random.default_rng(2)
    points = rng.normal(size=(3000, 2)) * 0.3 + rng.integers(0, 3, (3000, 1)) * (4, 1)
    cloud = combine.fit_cloud(points, 3)
    between = np.mean([points[points[:, 0] < 2].mean(0), points[points[:, 0] > 6].mean(0)], 0)
    assert np.abs(between - (4, 1)).max() < 0.1
    gap = np.array([(2.0, 0.5)])
    at = combine.rarity(np.concatenate([gap, [between]]), cloud)
    assert at[0] > at[1] + 1  # between two clouds it is empty, in the middle of all it is not
    few = combine.fit_cloud(points[:3], 8)
    assert np.isfinite(combine.rarity(points, few)).all()
    lost = points.copy()
    lost[::7] = np.nan
    assert np.isfinite(combine.rarity(points, combine.fit_cloud(lost, 3))).all()


def test_slices_of_equal_scores_stay_finite():
    fit = combine.fit_slices(np.full(300, 2.0), np.arange(300.0))
    assert np.isfinite(combine.standardised(np.full(300, 2.0), np.arange(300.0), fit)).all()
    empty = combine.fit_slices(np.zeros(0), np.zeros(0))
    assert combine.standardised(np.ones(2), np.ones(2), empty).tolist() == [1.0, 1.0]


def test_labels_may_lack_and_choose_nothing_to_learn_from():
    told, usable = ANOMALY.targets({"object_id": np.arange(3), "ra": np.zeros(3)})
    assert usable.all()
    assert all(np.isnan(values).all() for values in told.values())
    mixed = {
        "object_id": np.arange(3),
        "is_interesting": np.array([1, 0, 0]),
        "labels": np.array(["anomaly", "lens", "anomaly photoz"]),
    }
    assert ANOMALY.targets(mixed)[1].tolist() == [True, False, True]


def test_options_keep_the_models_in_their_order():
    assert ANOMALY.Options(models=["wgan", "ae", "wgan"]).models == ("ae", "wgan")
    with pytest.raises(ValueError, match="no model chosen; name some of ae"):
        ANOMALY.Options(models=[])


def test_local_outlier_factor_is_the_libraries():
    points = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    points[0] += 8
    ours = outliers.local_outlier_factor(points)
    theirs = -LocalOutlierFactor(outliers.NEIGHBOURS).fit(points).negative_outlier_factor_
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert ours.argmax() == 0
    several = np.repeat(points[:10], 30, axis=0)  # more at one place than neighbours
    assert np.isfinite(outliers.local_outlier_factor(several)).all()


@pytest.mark.slow
def test_an_index_finds_nearly_what_is_nearest():
    points = np.random.default_rng(1).normal(size=(1500, 6)).astype(np.float32)
    exact, far = neighbours.nearest(points, points[:200], 10)
    assert (exact[:, 0] == np.arange(200)).all()
    assert (np.diff(far) >= 0).all()
    near, _ = neighbours.nearest(points, points[:200], 10, exact=0)
    same = [len(np.intersect1d(*pair)) for pair in zip(exact, near)]
    assert np.mean(same) > 9.5
    again, _ = neighbours.nearest(points, points[:200], 10, exact=0)
    assert np.array_equal(near, again)


def test_a_catalog_of_few_has_empty_columns_and_says_so(capsys, monkeypatch):
    _, rows = made(600)
    few = {name: values[: outliers.FEWEST - 1] for name, values in rows.items()}
    columns = outliers.whole(few)
    assert "too few for outliers" in capsys.readouterr().out
    assert np.isnan(columns["lof_score"]).all()
    assert np.isnan(columns["umap_x"]).all()
    assert (columns["residual_cluster"] == -1).all()
    monkeypatch.setattr(outliers, "mapped", lambda points: points[:, :2])
    rows["flags"][5] = FLAGS["no_data"]
    columns = outliers.whole(rows)
    names = {column.name for column in ANOMALY.RANK_COLUMNS} - set(ANOMALY.RANKS)
    assert set(columns) == names
    for name in ("iforest_score", "lof_score", "pca_score", "umap_x", "umap_y"):
        assert np.isnan(columns[name]).tolist() == (rows["flags"] > 0).tolist()


def test_outliers_are_the_same_again_and_find_the_odd():
    truth, rows = made(600, share=0.02, shift=9.0)
    one, other = outliers.outlier_scores(rows), outliers.outlier_scores(rows)
    yes = truth["is_interesting"] == 1
    for name in one:
        assert np.array_equal(one[name], other[name])
    assert roc_auc_score(yes, one["lof_score"]) > 0.9
    assert roc_auc_score(yes, one["iforest_score"]) > 0.9


def test_flux_decides_no_outlier():
    _, rows = made(2000, share=0.0)
    rows["embedding"] = rows["embedding"] * (rows["log_flux"] - 2)[:, None]  # wider when bright
    learned = neighbours.whitened(rows["embedding"])
    assert spearmanr(outliers.isolation(learned), rows["log_flux"])[0] > 0.3
    found = outliers.outlier_scores(rows)
    assert all(abs(spearmanr(one, rows["log_flux"])[0]) < 0.1 for one in found.values())


def test_groups_part_the_oddest_by_their_residuals():
    rng = np.random.default_rng(1)
    which = rng.integers(0, 3, 900)
    centres = np.array([[0.0, 9], [9, 0], [-9, -9]])
    odd = np.where(np.arange(900) < 60, 10.0, 0.0) + rng.random(900)
    found = outliers.groups(centres[which] + rng.normal(size=(900, 2)), odd)
    oddest = np.argsort(-odd)[:45]
    assert (found[np.setdiff1d(np.arange(900), oddest)] == -1).all()
    pairs = set(zip(found[oddest].tolist(), which[oddest].tolist()))
    assert len(pairs) == 3
    counts = np.bincount(found[oddest])
    assert (np.diff(counts) <= 0).all()
    assert (outliers.groups(np.zeros((900, 2)), odd)[oddest] == 0).all()


@pytest.mark.slow
def test_the_map_keeps_neighbours_and_its_seed(monkeypatch):
    truth, rows = made(600, shift=12.0)
    points, odd = neighbours.whitened(rows["embedding"]), rows["anomaly_score"]
    place = outliers.layout(points, odd)
    assert np.array_equal(place, outliers.layout(points, odd))
    kind = truth["kind"]
    index, _ = neighbours.nearest(place, place, 4)
    same = (kind[index[:, 1:]] == kind[:, None]).mean(1)
    assert all(same[kind == name].mean() > 0.8 for name in KINDS)
    monkeypatch.setattr(outliers, "MAPPED", 300)
    few = outliers.layout(points, odd)
    assert np.isfinite(few).all()


def test_metrics_are_those_of_other_codes():
    truth, rows = made()
    found = metrics.score(truth, rows, bootstrap=20)
    yes, spoilt = truth["is_interesting"] == 1, truth["is_artefact"] == 1
    odd = rows["anomaly_score"]
    assert found["auroc"][0] == pytest.approx(roc_auc_score(yes[~spoilt], odd[~spoilt]))
    assert found["average_precision"][0] == pytest.approx(average_precision_score(yes, odd))
    top = np.argsort(-odd)[:50]
    assert found["precision_top_50"][0] == pytest.approx(yes[top].mean())
    assert found["recall_top_50"][0] == pytest.approx(yes[top].sum() / yes.sum())
    ordinary = ~yes & ~spoilt
    rank = spearmanr(-odd[ordinary], truth["mag_i"][ordinary])[0]
    assert found["spearman_rank_magnitude"][0] == pytest.approx(rank)
    assert found["artefact_share_top1pct_ae"][0] > found["artefact_share_top1pct"][0]
    assert {f"recall_top1pct_of_{kind}" for kind in KINDS} <= set(found)
    assert not [name for name in found if name.endswith("_vae")]  # it has no score
    assert all(np.isfinite(value) for pair in found.values() for value in pair)


def test_the_rank_weighted_score_is_the_sum_of_the_paper():
    truth, rows = made()
    found = metrics.score(truth, rows, bootstrap=2)["rank_score"][0]
    yes = (truth["is_interesting"] == 1)[np.argsort(-rows["anomaly_score"])]
    n = yes.sum()
    weights = n + 1 - np.arange(1, n + 1)
    assert found == pytest.approx((weights * yes[:n]).sum() / weights.sum())
    rows["anomaly_score"] = truth["is_interesting"]
    assert metrics.score(truth, rows, bootstrap=2)["rank_score"][0] == pytest.approx(1)


def test_without_labels_only_what_needs_none_is_measured():
    truth, rows = made()
    unknown = {name: np.full(600, np.nan) for name in ("is_interesting", "is_artefact")}
    found = metrics.score(unknown, rows, bootstrap=5)
    assert found
    assert all(name.startswith("spearman_rank_magnitude") for name in found)
    half = {name: np.asarray(truth[name], float).copy() for name in unknown}
    half["is_interesting"][::2] = np.nan
    known = np.isfinite(half["is_interesting"]) & (half["is_artefact"] == 0)
    expected = roc_auc_score(half["is_interesting"][known], rows["anomaly_score"][known])
    assert metrics.score(half, rows, bootstrap=2)["auroc"][0] == pytest.approx(expected)


def test_a_list_overlaps_itself_and_no_reversed_one():
    _, rows = made()
    assert metrics.overlap(rows, rows) == 1
    assert metrics.overlap(rows, rows | {"anomaly_score": -rows["anomaly_score"]}) == 0
    mixed = np.random.default_rng(1).permutation(600)
    assert metrics.overlap(rows, {name: values[mixed] for name, values in rows.items()}) == 1


def test_labels_lift_what_is_like_the_liked():
    truth, rows = made(1500, share=0.02, shift=5.0)
    yes = truth["is_interesting"] == 1
    lists, labelled = metrics.played(rows, yes)
    assert len(lists) == 6
    assert len(labelled) == len(set(labelled.tolist())) == 50
    recall = [yes[np.argsort(-one)[:30]].mean() for one in lists]
    assert recall[-1] > 1.5 * recall[0]
    # More than there are labels, so that some are left to be found.
    truth, rows = made(6000, share=0.01, shift=5.0)
    found = metrics.score(truth, rows, bootstrap=2)
    assert found["recall_top1pct_after_labels"][0] > found["recall_top1pct_before_labels"][0]
    assert found["recall_unlabelled_after"][0] > found["recall_unlabelled_before"][0]


def test_where_nobody_looked_the_order_is_that_of_the_oddness():
    points = np.random.default_rng(1).normal(size=(200, 3))
    points[100:] += 50.0
    odd = np.random.default_rng(2).normal(size=200)
    prior = interest.expected(odd)
    mean, error = interest.learn(points, prior, np.arange(5), np.zeros(5))
    np.testing.assert_allclose(mean[100:], prior[100:], atol=1e-6)
    assert error[100:].min() > error[:5].max()


def test_expected_improvement_is_the_mean_of_what_is_gained():
    rng = np.random.default_rng(1)
    mean, error, best = np.array([1.0, 3.0]), np.array([1.0, 0.5]), 2.0
    drawn = np.maximum(mean + error * rng.normal(size=(400_000, 2)) - best, 0).mean(0)
    np.testing.assert_allclose(interest.improvement(mean, error, best), drawn, rtol=0.02)
