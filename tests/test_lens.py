"""The numpy side of the lens finder: labels, calibration, rows, and metrics with known answers."""

import numpy as np
import pytest

from astroml.errors import AstromlError
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
