"""The numpy side of the lens finder: labels, calibration, rows, and metrics with known answers."""

import numpy as np
import pytest

from astroml.errors import AstromlError
from astroml.store import FLAGS
from astroml.tasks import lens


def as_rows(score, prob=None):
    score = np.asarray(score, float)
    prob = 1 / (1 + np.exp(-score)) if prob is None else np.asarray(prob, float)
    return {"lens_score": score, "lens_prob": prob}


def measure(truth, score, prob=None, bootstrap=50, **labels):
    truth = {"is_lens": np.asarray(truth), **labels}
    return lens.score(truth, as_rows(score, prob), bootstrap=bootstrap)


def said(logit, **others):
    """Return what a network says: a logit, and parameters of which it knows nothing."""
    n = len(logit)
    output = {"lens_logit": np.asarray(logit, float), "artefact_logit": np.full(n, -3.0)}
    for name in lens.PARAMETERS:
        output |= {f"{name}_mean": np.zeros(n), f"{name}_logvar": np.zeros(n)}
    return output | {"options": lens.Options()} | others


def objects_of(n):
    return {"object_id": np.arange(n), "flags": np.zeros(n, np.int32)}


def rows_of(logit, fit=None, **others):
    plain = lens.calibrate(said([-1.0, 1.0]), {"is_lens": np.array([0.0, 1.0])})
    output = said(logit, calibration=plain | (fit or {}), **others)
    return lens.rows(output, objects_of(len(logit)))


def test_targets_without_the_label_are_nan_and_unlabelled():
    targets, labelled = lens.targets({"object_id": np.arange(3)})
    assert np.isnan(targets["is_lens"]).all()
    assert not labelled.any()


def test_targets_read_the_label_and_who_has_one():
    objects = {"object_id": np.arange(3), "is_lens": np.array([1, 0, 1], np.int8)}
    targets, labelled = lens.targets(objects)
    assert targets["is_lens"].dtype == np.float32
    assert targets["is_lens"].tolist() == [1, 0, 1]
    assert labelled.all()
    objects["labels"] = np.array(["lens photoz", "photoz", ""])
    assert lens.targets(objects)[1].tolist() == [True, False, False]


def test_calibration_recovers_a_planted_slope_and_offset():
    rng = np.random.default_rng(3)
    logit = rng.normal(scale=3, size=40_000)
    truth = rng.random(len(logit)) < 1 / (1 + np.exp(-(0.6 * logit - 0.8)))
    fit = lens.calibrate({"lens_logit": logit}, {"is_lens": truth.astype(float)})
    assert fit["slope"] == pytest.approx(0.6, abs=0.02)
    assert fit["offset"] == pytest.approx(-0.8, abs=0.04)


def test_calibration_stays_finite_where_the_classes_do_not_overlap():
    logit = np.array([-4.0, -4, -4, 4, 4, 4])
    fit = lens.calibrate({"lens_logit": logit}, {"is_lens": (logit > 0).astype(float)})
    # Platt's targets for three of each are 1/5 and 4/5.
    assert fit["slope"] == pytest.approx(np.log(4) / 4, abs=1e-4)
    assert fit["offset"] == pytest.approx(0, abs=1e-4)


def test_rows_are_the_calibrated_probability_and_never_overflow():
    logit = np.array([-1e6, 0, 2, 1e6])
    rows = rows_of(logit, {"slope": 0.5, "offset": 1.0})
    assert list(rows) == ["object_id", *(column.name for column in lens.COLUMNS), "flags"]
    for column in lens.COLUMNS:
        assert rows[column.name].dtype == column.dtype
    np.testing.assert_allclose(rows["lens_prob"], [0, 0.7310586, 0.8807971, 1], atol=1e-6)


def test_calibrated_rows_of_a_skewed_network_are_calibrated():
    rng = np.random.default_rng(5)
    logit = rng.normal(scale=2, size=30_000)
    truth = (rng.random(len(logit)) < 1 / (1 + np.exp(-(2 * logit + 1)))).astype(float)
    fit = lens.calibrate({"lens_logit": logit}, {"is_lens": truth})
    rows = rows_of(logit, fit)
    found = lens.score({"is_lens": truth}, rows, bootstrap=10)
    assert found["ece"][0] < 0.01
    assert measure(truth, logit, bootstrap=10)["ece"][0] > 0.05


def test_perfect_ranking_scores_one():
    truth = np.arange(400) % 4 == 0
    found = measure(truth, np.where(truth, 3.0, -3.0))
    for name in ("auroc", "average_precision", "tpr_zero_fp", "tpr_at_fpr_1e-2", "completeness"):
        assert found[name][0] == 1, name


def test_inverted_ranking_scores_zero():
    truth = np.arange(400) % 4 == 0
    found = measure(truth, np.where(truth, -3.0, 3.0))
    assert found["auroc"][0] == 0
    assert found["tpr_zero_fp"][0] == 0


def test_random_scores_are_half_within_the_error():
    rng = np.random.default_rng(0)
    value, error = measure(rng.random(2000) < 0.3, rng.normal(size=2000), bootstrap=200)["auroc"]
    assert abs(value - 0.5) < 3 * error
    assert error == pytest.approx(0.0141, rel=0.25)  # Hanley & McNeil 1982 at 0.5, 600 and 1400


def test_a_small_roc_by_hand():
    # From the top: lens, lens, other, lens, nine others, lens: 4 lenses, 10 others.
    truth = np.array([1, 1, 0, 1, *[0] * 9, 1])
    found = measure(truth, np.arange(14, 0, -1.0) - 7)
    assert found["tpr_zero_fp"][0] == 0.5
    assert found["tpr_at_fpr_1e-1"][0] == 0.75  # one of ten others may pass
    assert found["auroc"][0] == pytest.approx((10 + 10 + 9 + 0) / 40)
    assert found["average_precision"][0] == pytest.approx((1 + 1 + 3 / 4 + 4 / 14) / 4)
    assert found["completeness"][0] == 0.75
    assert "tpr_at_fpr_1e-2" not in found


def test_one_bright_impostor_ends_completeness_without_false_positives():
    truth = np.arange(400) < 100
    score = np.where(truth, np.arange(400), -1.0)
    score[399] = 74.5  # above 75 of the lenses; one of 300 may pass at 1e-2
    found = measure(truth, score)
    assert found["tpr_zero_fp"][0] == 0.25
    assert found["tpr_at_fpr_1e-2"][0] == 1


def test_completeness_counts_what_lies_above_one_half():
    prob = np.array([0.45, 0.5, 0.55, 0.95, 0.1, 0.2])
    found = measure([1, 1, 1, 1, 0, 0], prob, prob)
    assert found["completeness"][0] == 0.5


def test_ties_between_the_classes_count_half():
    assert measure([1, 0, 1, 0], [0, 0, 0, 0])["auroc"][0] == 0.5
    assert measure([1, 0, 1, 0], [0, 0, 0, 0])["tpr_zero_fp"][0] == 0


@pytest.mark.parametrize(
    ("negatives", "stated"),
    [(9, []), (99, ["1e-1"]), (100, ["1e-1", "1e-2"]), (10_000, ["1e-1", "1e-2", "1e-3"])],
)
def test_a_false_positive_rate_is_stated_only_where_the_sample_allows_it(negatives, stated):
    rng = np.random.default_rng(1)
    truth = np.arange(negatives + 50) < 50
    found = measure(truth, rng.normal(size=len(truth)) + truth, bootstrap=3)
    names = [name for name in found if name.startswith("tpr_at_fpr_")]
    assert names == [f"tpr_at_fpr_{level}" for level in stated]


def test_purity_on_the_sky_follows_from_prevalence():
    truth = np.arange(400) % 2 == 0
    found = measure(truth, np.where(truth, 3.0, -3.0))
    assert found["purity_on_sky"][0] == pytest.approx(1e-3 / (1e-3 + 0.999 * 0.01))


def test_bootstrap_error_shrinks_with_the_root_of_the_sample():
    errors = []
    for n in (500, 8000):
        rng = np.random.default_rng(n)
        truth = rng.random(n) < 0.4
        errors.append(measure(truth, rng.normal(size=n) + truth, bootstrap=200)["auroc"][1])
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.25)


def test_bootstrap_error_is_the_true_scatter():
    values, errors = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.random(300) < 0.4
        value, error = measure(truth, rng.normal(size=300) + truth, bootstrap=20)["auroc"]
        values.append(value)
        errors.append(error)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.3)


def test_calibration_error_by_hand_and_small_where_it_should_be():
    truth = np.array([1, 0, 0, 0, 1, 1])
    prob = np.array([0.25, 0.25, 0.25, 0.25, 0.95, 0.85])
    found = measure(truth, prob, prob)
    assert found["ece"][0] == pytest.approx((0.05 + 0.15) / 6)
    rng = np.random.default_rng(2)
    prob = rng.random(50_000)
    truth = rng.random(50_000) < prob
    assert measure(truth, prob, prob, bootstrap=3)["ece"][0] < 0.01
    assert measure(truth, prob, prob, bootstrap=3)["brier"][0] == pytest.approx(1 / 6, abs=0.01)


def test_probability_one_falls_in_the_last_bin():
    assert measure([1, 0], [1.0, 0.0], [1.0, 0.0])["ece"][0] == 0


def test_false_positives_are_counted_by_kind():
    kind = np.array(["lens"] * 10 + ["twin"] * 10 + ["ring"] * 20)
    truth = kind == "lens"
    prob = np.full(40, 0.1)
    prob[:10] = 0.9
    prob[10:13] = 0.8
    found = measure(truth, prob, prob, kind=kind)
    assert found["fpr_twin"][0] == pytest.approx(0.3)
    assert found["fpr_ring"][0] == 0
    # Nothing of twenty is not "0 +- 0": Wilson's interval is half of 1/21 wide.
    assert found["fpr_ring"][1] == pytest.approx(0.5 / 21)
    assert found["fpr_twin"][1] == pytest.approx(np.sqrt(0.21 / 10), rel=0.3)
    assert "fpr_lens" not in found


def test_a_kind_too_rare_for_the_resamplings_has_an_error_all_the_same():
    kind = np.array(["lens"] * 200 + ["twin"] * 200 + ["ring"])
    truth = kind == "lens"
    found = measure(truth, truth * 1.0, truth * 1.0, bootstrap=2, kind=kind)
    assert np.isfinite(found["fpr_ring"]).all()


def test_same_seed_same_numbers():
    rng = np.random.default_rng(4)
    truth = rng.random(100) < 0.5
    score = rng.normal(size=100)
    assert measure(truth, score) == measure(truth, score)


@pytest.mark.parametrize(("truth", "says"), [([1, 1], "are lenses"), ([0, 0], "are non-lenses")])
def test_one_class_cannot_be_measured(truth, says):
    with pytest.raises(AstromlError, match=says):
        measure(truth, [0, 1])


def test_every_metric_is_explained():
    import fnmatch

    kind = np.array(["lens", "twin"] * 300)
    found = measure(kind == "lens", np.arange(600), kind=kind)
    for name in found:
        assert any(fnmatch.fnmatchcase(name, pattern) for pattern in lens.METRICS), name


# Against scikit-learn


@pytest.mark.parametrize("decimals", [1, 6])
def test_ranking_metrics_are_scikit_learns(decimals):
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    rng = np.random.default_rng(7)
    truth = rng.random(3000) < 0.2
    rank = np.round(rng.normal(size=3000) + 1.5 * truth, decimals)  # with ties, and without
    found = measure(truth, rank, bootstrap=2)
    assert found["auroc"][0] == pytest.approx(roc_auc_score(truth, rank), abs=1e-12)
    assert found["auroc_all"][0] == found["auroc"][0]
    expected = average_precision_score(truth, rank)
    assert found["average_precision"][0] == pytest.approx(expected, abs=1e-12)
    fpr, tpr, _ = roc_curve(truth, rank, drop_intermediate=False)
    assert found["tpr_at_fpr_1e-2"][0] == pytest.approx(tpr[fpr <= 0.01].max())
    assert found["tpr_zero_fp"][0] == pytest.approx(tpr[fpr == 0].max())


def test_weights_are_copies_of_objects():
    from astroml.resampling import evaluate
    from astroml.tasks.lens import metrics

    rng = np.random.default_rng(8)
    n = 400
    truth = {"is_lens": rng.random(n) < 0.4, "kind": rng.choice(["a", "b"], n)}
    truth |= {"theta_e": rng.uniform(0.5, 3, n), "e1": rng.normal(0, 0.1, n)}
    rows = as_rows(np.round(rng.normal(size=n) + truth["is_lens"], 1))
    for name in ("theta_e", "e1"):
        rows[name] = truth[name] + rng.normal(0, 0.2, n)
        rows[f"{name}_err"] = np.full(n, 0.2)
    counts = rng.integers(0, 3, n)

    def values(truth, rows, weights):
        is_lens = truth["is_lens"]
        return evaluate(metrics._measures(truth, rows, is_lens, is_lens), weights)[0]

    copied = [{k: np.repeat(v, counts) for k, v in table.items()} for table in (truth, rows)]
    by_weight, by_copy = (
        values(truth, rows, counts.astype(float)),
        values(*copied, np.ones(1).repeat(counts.sum())),
    )
    assert set(by_weight) == set(by_copy)
    for name, value in by_weight.items():
        tolerance = 0.01 if "_bias" in name or "_scatter" in name else 1e-9  # quantiles interpolate
        assert value == pytest.approx(by_copy[name], abs=tolerance), name


# Detectable lenses


def sample(n=4000, seed=1):
    """Lenses of which half are too small or too faint, and score like non-lenses."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.5
    large = rng.random(n) < 0.5
    labels = {
        "theta_e": np.where(truth, np.where(large, 1.5, 0.5), 0.0),
        "arc_snr": np.where(truth, 50.0, 0.0),
        "seeing": np.full(n, 0.7),
    }
    return truth, rng.normal(size=n) + 4 * (truth & large), labels


def test_lenses_that_nobody_finds_count_in_auroc_all_alone():
    truth, rank, labels = sample()
    found = measure(truth, rank, **labels, bootstrap=3)
    assert found["auroc"][0] > 0.99
    assert found["auroc_all"][0] == pytest.approx(0.75, abs=0.02)
    faint = labels | {"arc_snr": np.where(truth, 15.0, 0.0)}
    assert "auroc" not in measure(truth, rank, **faint, bootstrap=3)
    assert (
        measure(truth, rank, bootstrap=3)["auroc"] == measure(truth, rank, bootstrap=3)["auroc_all"]
    )


def test_limits_of_what_is_detectable():
    truth = {
        "is_lens": np.array([1, 1, 1, 1, 0, 1]),
        "theta_e": np.array([1.19, 1.21, 1.21, 3.0, 3.0, np.nan]),
        "arc_snr": np.array([99, 20.1, 19.9, 99, 99, 99]),
        "seeing": np.array([1, 1, 1, 2.6, 1, 1]),
    }
    assert lens.detectable(truth).tolist() == [False, True, False, False, False, False]


def test_tpr10_allows_fewer_than_ten_in_a_hundred_thousand():
    # 40,000 non-lenses allow 3 of them above the threshold; 4 would be ten in 100,000.
    negatives = 40_000
    truth = np.arange(negatives + 100) < 100
    rank = np.where(truth, np.arange(negatives + 100), -1.0)
    for k, above in enumerate((90, 70, 50, 30)):
        rank[100 + k] = 99.5 - above  # this many lenses score higher
    found = measure(truth, rank, bootstrap=2)
    assert found["tpr_zero_fp"][0] == pytest.approx(0.30)
    assert found["tpr10"][0] == pytest.approx(0.90)
    rank[104] = 99.5 - 80
    assert measure(truth, rank, bootstrap=2)["tpr10"][0] == pytest.approx(0.80)
    assert "tpr10" not in measure(truth[:5000], rank[:5000], bootstrap=2)


def test_a_lens_and_its_twin_are_drawn_together():
    rng = np.random.default_rng(3)
    truth = rng.random(1000) < 0.5
    rank = rng.normal(size=1000) + truth
    alone = measure(np.tile(truth, 4), np.tile(rank, 4), bootstrap=300)
    group = np.tile(np.arange(1000), 4)
    together = measure(np.tile(truth, 4), np.tile(rank, 4), bootstrap=300, group=group)
    # Four copies are no new evidence: the error is that of the thousand.
    assert together["auroc"][0] == alone["auroc"][0]
    assert together["auroc"][1] / alone["auroc"][1] == pytest.approx(2, rel=0.2)
    none = measure(np.tile(truth, 4), np.tile(rank, 4), bootstrap=300, group=np.full(4000, -1))
    assert none["auroc"][1] == pytest.approx(alone["auroc"][1], rel=0.2)


def test_fifty_thousand_objects_are_measured_in_seconds():
    import time

    rng = np.random.default_rng(1)
    n = 52_000
    truth = np.arange(n) < 2000
    labels = {name: rng.normal(size=n) for name in lens.PARAMETERS}
    labels |= {"theta_e": rng.uniform(1, 3, n), "kind": rng.choice(list("abcdefgh"), n)}
    rows = as_rows(rng.normal(size=n) + 3 * truth)
    for name in lens.PARAMETERS:
        rows |= {name: labels[name] + 0.1, f"{name}_err": np.full(n, 0.1)}
    begun = time.process_time()
    lens.score({"is_lens": truth, **labels}, rows, bootstrap=200)
    assert time.process_time() - begun < 20


# Parameters


def test_parameter_metrics_by_hand():
    n, rng = 4000, np.random.default_rng(2)
    truth = np.arange(n) % 2 == 0
    theta_e, e1 = rng.uniform(0.5, 3, n), rng.normal(0, 0.2, n)
    wrong = rng.normal(size=n)
    rows = as_rows(truth * 2.0 - 1) | {
        "theta_e": theta_e * (1.03 + 0.1 * wrong),
        "theta_e_err": 0.1 * theta_e,
        "e1": e1 + 0.02 + 0.05 * wrong,
        "e1_err": np.full(n, 0.1),
    }
    labels = {"is_lens": truth, "theta_e": np.where(truth, theta_e, 0), "e1": e1}
    found = {name: value for name, (value, _) in lens.score(labels, rows, bootstrap=5).items()}
    assert found["theta_e_bias"] == pytest.approx(0.03, abs=0.01)
    assert found["theta_e_scatter"] == pytest.approx(0.1, rel=0.05)
    relative = rows["theta_e"][truth] / theta_e[truth] - 1
    assert found["theta_e_outliers"] == np.mean(np.abs(relative) > 0.2)
    assert found["theta_e_coverage_68"] == np.mean(np.abs(relative) < 0.1)
    assert found["e1_bias"] == pytest.approx(0.02, abs=0.01)
    assert found["e1_scatter"] == pytest.approx(0.05, rel=0.05)
    assert found["e1_coverage_68"] > 0.9
    assert "e1_outliers" not in found
    assert not [name for name in found if name.startswith("shear")]


def test_every_metric_of_the_parameters_is_explained():
    truth = np.arange(600) % 2 == 0
    values = np.linspace(0.5, 1, 600)
    rows = as_rows(np.arange(600))
    for name in lens.PARAMETERS:
        rows |= {name: values, f"{name}_err": values}
    labels = {"is_lens": truth, **dict.fromkeys(lens.PARAMETERS, values)}
    found = lens.score(labels, rows, bootstrap=2)
    assert {f"{name}_coverage_68" for name in lens.PARAMETERS} <= set(found)
    for name in found:
        assert name in lens.METRICS or name.startswith(("fpr_", "tpr_at_fpr_")), name


def test_targets_hold_what_a_store_has_of_the_parameters():
    objects = {"object_id": np.arange(2), "is_lens": np.array([1, 0]), "e1": np.array([0.1, 0])}
    targets, _ = lens.targets(objects)
    assert set(targets) == {"is_lens", "e1"}
    objects["artefact"] = np.array([0, 1])
    assert lens.targets(objects)[0]["artefact"].dtype == np.float32


def test_calibrated_errors_cover_two_thirds():
    rng = np.random.default_rng(4)
    n = 20_000
    theta_e, true_shear = np.exp(rng.normal(0.3, 0.4, n)), rng.normal(0, 0.05, n)
    sigma = rng.uniform(0.05, 0.5, n)  # in the parameter's scale, claimed twice too small
    theta = lens.PARAMETERS["theta_e"]
    output = said(np.zeros(n)) | {
        "theta_e_mean": theta.seen(theta_e) + 2 * sigma * rng.normal(size=n),
        "theta_e_logvar": 2 * np.log(sigma),
        "shear_1_mean": true_shear / 0.04 + sigma * rng.normal(size=n),
        "shear_1_logvar": 2 * np.log(sigma),
    }
    truth = {"is_lens": np.ones(n), "theta_e": theta_e, "shear_1": true_shear}
    truth["is_lens"][::2] = 0
    truth["theta_e"][::2] = 0  # what is no lens teaches nothing
    fit = lens.calibrate(output, truth)
    assert fit["sigma"]["theta_e"]["factor"] == pytest.approx([2] * 4, rel=0.06)
    assert fit["sigma"]["shear_1"]["factor"] == pytest.approx([1] * 4, rel=0.06)
    assert fit["sigma"]["e1"]["factor"] == [1]  # no label
    rows = lens.rows(output | {"calibration": fit}, objects_of(n))
    for name in ("theta_e", "shear_1"):
        inside = np.abs(rows[name] - truth[name]) < rows[f"{name}_err"]
        assert inside[1::2].mean() == pytest.approx(0.68, abs=0.02), name


def test_errors_are_right_for_clear_lenses_and_for_faint_ones():
    rng = np.random.default_rng(5)
    n = 20_000
    sigma = np.exp(rng.uniform(np.log(0.05), np.log(1.0), n))
    true_shear = rng.normal(0, 0.05, n)
    # What is claimed small is too small by 2, what is claimed large too large by 2.
    real = sigma * np.interp(np.log(sigma), np.log([0.05, 1.0]), [2.0, 0.5])
    output = said(np.zeros(n)) | {
        "shear_1_mean": true_shear / 0.04 + real * rng.normal(size=n),
        "shear_1_logvar": 2 * np.log(sigma),
    }
    truth = {"is_lens": np.ones(n), "shear_1": true_shear}
    fit = lens.calibrate(output, truth)
    rows = lens.rows(output | {"calibration": fit}, objects_of(n))
    inside = np.abs(rows["shear_1"] - true_shear) < rows["shear_1_err"]
    for which in (sigma < 0.1, (sigma > 0.1) & (sigma < 0.4), sigma > 0.4):
        assert inside[which].mean() == pytest.approx(0.68, abs=0.04)


def test_parameters_come_back_as_they_were_seen():
    for name, parameter in lens.PARAMETERS.items():
        value = np.array([0.3, 1.0, 2.5]) if parameter.log else np.array([-0.2, 0.0, 0.4])
        told, error = parameter.told(parameter.seen(value), np.full(3, 1e-3))
        np.testing.assert_allclose(told, value, rtol=1e-9, atol=1e-12, err_msg=name)
        size = value if parameter.log else np.ones(3)
        np.testing.assert_allclose(error, 1e-3 * parameter.scale * size, rtol=1e-3)
    assert np.isnan(lens.PARAMETERS["theta_e"].seen(np.array([0.0, -1.0]))).all()


def test_what_an_untrained_network_says_stays_a_number():
    wild = {f"{name}_mean": np.array([-1e9, 1e9]) for name in lens.PARAMETERS}
    rows = rows_of(
        [0.0, 0.0],
        {"sigma": {key: {"claimed": [1.0], "factor": [1000000.0]} for key in lens.PARAMETERS}},
        **wild,
    )
    assert all(np.isfinite(values).all() for values in rows.values())


# Artefacts


def test_artefacts_are_calibrated_and_flagged():
    rng = np.random.default_rng(6)
    logit = rng.normal(scale=3, size=20_000)
    spoilt = (rng.random(len(logit)) < 1 / (1 + np.exp(-(0.5 * logit - 1)))).astype(float)
    truth = {"is_lens": np.arange(len(logit)) % 2.0, "artefact": spoilt}
    output = said(rng.normal(size=len(logit)), artefact_logit=logit)
    fit = lens.calibrate(output, truth)
    assert fit["artefact_slope"] == pytest.approx(0.5, abs=0.03)
    assert fit["artefact_offset"] == pytest.approx(-1, abs=0.06)
    objects = objects_of(len(logit))
    objects["flags"][:] = FLAGS["edge"]
    rows = lens.rows(output | {"calibration": fit}, objects)
    flagged = rows["flags"] & FLAGS["artefact"] > 0
    assert np.array_equal(flagged, rows["artefact_prob"] > 0.5)
    assert (rows["flags"] & FLAGS["edge"] > 0).all()


# Purity


def test_purity_is_bayes_with_the_rates_of_the_validation_split():
    from astroml.tasks.lens.calibrate import purity, roc_table

    rng = np.random.default_rng(9)
    truth = (np.arange(60_000) < 10_000).astype(float)
    logit = rng.normal(size=len(truth)) + 2 * truth
    roc = roc_table(logit, truth)
    assert len(roc["threshold"]) <= 64
    assert roc["fpr"][-1] == pytest.approx(1 / 50_000)
    at = np.array([-9.0, 1.0, 2.0])
    expected = [
        0.01 * tpr / (0.01 * tpr + 0.99 * fpr)
        for tpr, fpr in [
            ((logit[truth == 1] >= t).mean(), (logit[truth == 0] >= t).mean()) for t in at
        ]
    ]
    np.testing.assert_allclose(purity(at, roc, 0.01), expected, rtol=0.2)
    steps = purity(np.linspace(-5, 9, 500), roc, 0.01)
    assert (np.diff(steps) >= 0).all()
    assert steps[0] == pytest.approx(0.01)
    # No more is claimed than the non-lenses at hand can show.
    few = roc_table(logit[::100], truth[::100])
    assert purity(np.array([99.0]), few, 0.01)[0] < 0.01 / (0.01 + 0.99 / 500) + 1e-9


def test_purity_without_a_class_is_the_prevalence():
    rows = rows_of([-3.0, 5.0], {"roc": {"threshold": [], "tpr": [], "fpr": []}})
    assert rows["purity"] == pytest.approx(1e-3)


# Ensembles


def test_an_ensemble_of_one_network_twice_is_that_network():
    rng = np.random.default_rng(1)
    rows = rows_of(rng.normal(size=50), artefact_logit=rng.normal(size=50))
    twice = lens.combine([rows, rows])
    assert list(twice) == list(rows)
    for name, values in rows.items():
        assert twice[name].dtype == values.dtype
        np.testing.assert_allclose(twice[name], values, rtol=1e-5, atol=1e-7, err_msg=name)


def test_an_ensemble_weights_by_variance_and_counts_the_scatter():
    one, two = rows_of([1.0, 1.0]), rows_of([3.0, 1.0])
    one["theta_e"][:], one["theta_e_err"][:] = [1.0, 1.0], [0.1, 0.3]
    two["theta_e"][:], two["theta_e_err"][:] = [2.0, 1.0], [0.2, 0.3]
    one["flags"][0], two["flags"][0] = FLAGS["no_data"], FLAGS["artefact"]
    both = lens.combine([one, two])
    mean = (100 * 1 + 25 * 2) / 125
    assert both["theta_e"] == pytest.approx([mean, 1.0])
    scatter = (100 * (1 - mean) ** 2 + 25 * (2 - mean) ** 2) / 125
    assert both["theta_e_err"] == pytest.approx([np.sqrt(2 / 125 + scatter), 0.3])
    assert both["lens_score"] == pytest.approx([2.0, 1.0])
    probs = [one["lens_prob"][0], two["lens_prob"][0]]
    assert both["lens_prob"][0] == pytest.approx(np.mean(probs))
    assert both["lens_prob_spread"] == pytest.approx([np.std(probs), 0], abs=1e-7)
    assert both["flags"][0] == FLAGS["no_data"]  # together they see no artefact
    assert both["artefact_prob"][0] < 0.5


def test_ranks_are_described():
    assert set(lens.RANKS) == {column.name for column in lens.RANK_COLUMNS}
    assert set(lens.RANKS.values()) <= {column.name for column in lens.COLUMNS}
