"""The tidal task without its network: labels, calibration, rows, metrics with known answers."""

import numpy as np
import pytest
from scipy.stats import norm

from astroml.errors import AstromlError
from astroml.store import FLAGS
from astroml.tasks import tidal
from astroml.tasks.tidal import metrics

CLASSES = tidal.CLASSES


def said(n, **others):
    output = {f"{name}_logit": np.zeros(n) for name in ("tidal", *CLASSES)}
    output |= {f"feature_{name}": np.full(n, 1.0) for name in ("area", "flux", "flux_err")}
    fit = {name: [1.0, 0.0] for name in ("tidal", *CLASSES)}
    return {"calibration": fit, "options": tidal.Options(), **output, **others}


def objects(n):
    return {"object_id": np.arange(n), "flags": np.zeros(n, np.int32)}


def gaussian_scorer(n_yes=40_000, n_no=60_000, apart=2.0, seed=1):
    """Return truth and rows of a scorer whose ROC curve is known."""
    rng = np.random.default_rng(seed)
    yes = np.arange(n_yes + n_no) < n_yes
    score = rng.normal(size=len(yes)) + apart * yes
    # At equal numbers, and of two normal distributions, this is the logarithm of the odds.
    prob = 1 / (1 + np.exp(-(apart * score - apart**2 / 2 + np.log(n_yes / n_no))))
    truth = {"is_tidal": yes.astype(float), "mu_feature": np.where(yes, 26.0, 0.0)}
    rows = {"tidal_score": score, "tidal_prob": prob}
    return truth, rows | {f"{name}_prob": prob for name in CLASSES}


def expected_completeness(prevalence, contamination, apart=2.0):
    """Return the completeness by the formula: 1 - p over p times odds, on a fine grid."""
    cut = np.linspace(-6, 8, 200_001)
    tpr, fpr = norm.sf(cut - apart), norm.sf(cut)
    wrong = (1 - prevalence) * fpr / (prevalence * tpr + (1 - prevalence) * fpr)
    return tpr[wrong <= contamination].max()


# Metrics


@pytest.mark.parametrize("prevalence", [6, 17, 23])
@pytest.mark.parametrize("contamination", [10, 20])
def test_a_scorer_of_known_roc_has_the_completeness_of_the_formula(prevalence, contamination):
    truth, rows = gaussian_scorer()
    found = tidal.score(truth, rows, bootstrap=2)
    expected = expected_completeness(prevalence / 100, contamination / 100)
    for which in ("bright", "all"):
        name = f"completeness_{which}_at_{contamination}pct_contamination_{prevalence}pct"
        assert found[name][0] == pytest.approx(expected, abs=0.04)
    if prevalence == 17:
        stated = found[f"completeness_at_{contamination}pct_contamination"]
        assert stated == found[f"completeness_bright_at_{contamination}pct_contamination_17pct"]


def test_completeness_does_not_depend_on_the_samples_own_share():
    name = "completeness_at_20pct_contamination"
    values = [
        tidal.score(*gaussian_scorer(*numbers), bootstrap=2)[name][0]
        for numbers in ((10_000, 60_000), (60_000, 40_000))
    ]
    assert values[0] == pytest.approx(values[1], abs=0.03)


def test_contamination_by_hand():
    # Three of four positives and one of ten negatives pass.
    wrong = metrics.contaminated(np.array([3.0, 4.0]), np.array([1.0, 10.0]), 20)
    assert wrong[0] == pytest.approx(0.8 * 0.1 / (0.2 * 0.75 + 0.8 * 0.1))
    assert wrong[1] == pytest.approx(0.8)
    assert metrics.completeness(np.array([3.0, 4.0]), np.array([1.0, 10.0]), 20, 40) == 0.75
    assert metrics.completeness(np.array([3.0, 4.0]), np.array([1.0, 10.0]), 20, 30) == 0


def test_ranking_metrics_are_those_of_the_normal_distribution():
    truth, rows = gaussian_scorer()
    found = tidal.score(truth, rows, bootstrap=20)
    expected = norm.cdf(2 / np.sqrt(2))
    assert found["auroc"][0] == pytest.approx(expected, abs=4 * found["auroc"][1])
    assert found["ece"][0] < 0.01
    cut = np.linspace(8, -6, 20_001)
    tpr, fpr = norm.sf(cut - 2), norm.sf(cut)
    purity = 0.17 * tpr / (0.17 * tpr + 0.83 * fpr)
    assert found["average_precision"][0] == pytest.approx(np.trapezoid(purity, tpr), abs=0.01)


def test_the_error_is_the_scatter_between_samples():
    draws = [gaussian_scorer(400, 600, seed=seed) for seed in range(60)]
    name = "completeness_at_20pct_contamination"
    found = [tidal.score(*one, bootstrap=40)[name] for one in draws]
    values, errors = np.array(found).T
    assert np.median(errors) == pytest.approx(values.std(), rel=0.35)


def test_faint_features_count_neither_way_for_bright_ones():
    truth, rows = gaussian_scorer(4000, 6000)
    faint = np.arange(10_000) < 2000
    truth["mu_feature"] = np.where(faint, 27.5, truth["mu_feature"])
    rows["tidal_score"] = np.where(faint, -9.0, rows["tidal_score"])
    found = tidal.score(truth, rows, bootstrap=2)
    expected = expected_completeness(0.17, 0.2)
    assert found["completeness_at_20pct_contamination"][0] == pytest.approx(expected, abs=0.04)
    all_of_them = found["completeness_all_at_20pct_contamination_17pct"][0]
    assert all_of_them < 0.55 * expected


def test_recall_falls_where_features_are_not_seen():
    truth, rows = gaussian_scorer(4000, 6000)
    mu = np.where(truth["is_tidal"] == 1, np.tile([25.2, 27.8], 5000), 0)
    seen = (mu > 0) & (mu < 26)
    rng = np.random.default_rng(1)
    rows["tidal_score"] = rng.normal(size=10_000) + 4 * seen
    truth["mu_feature"] = mu
    found = tidal.score(truth, rows, bootstrap=5)
    bins = {name for name in found if name.startswith("recall_mu")}
    assert bins == {"recall_mu_25.0_25.5", "recall_mu_27.5_28.0"}
    assert found["recall_mu_25.0_25.5"][0] > 0.95
    rate = found["false_positive_rate"][0]
    assert found["recall_mu_27.5_28.0"][0] == pytest.approx(rate, abs=0.03)
    # The threshold is that of 20% contamination.
    share = found["recall_mu_25.0_25.5"][0]
    assert 0.83 * rate / (0.17 * share + 0.83 * rate) == pytest.approx(0.2, abs=0.01)


def test_each_class_is_told_from_the_others():
    rng = np.random.default_rng(2)
    n = 4000
    yes = np.arange(n) < 2000
    which = np.where(yes, np.arange(n) % 4, -1)
    truth = {"is_tidal": yes.astype(float), "mu_feature": np.where(yes, 25.5, 0)}
    rows = {"tidal_score": rng.normal(size=n) + 9 * yes, "tidal_prob": rng.random(n)}
    for at, name in enumerate(CLASSES):
        truth[name] = (which == at).astype(float)
        # Streams are told well, shells only as tidal, the rest not at all.
        known = {"stream": truth[name], "shell": yes}.get(name, 0)
        rows[f"{name}_prob"] = rng.random(n) + known
    found = tidal.score(truth, rows, bootstrap=2)
    assert found["completeness_stream"][0] == 1
    # Three quarters of what is tidal have no shell: at 17% nothing is pure to 80%.
    assert found["completeness_shell"][0] < 0.1
    assert found["completeness_tail"][0] < 0.1


def test_masks_and_fluxes_are_those_of_bright_features():
    truth, rows = gaussian_scorer(6, 6)
    truth["mu_feature"] = np.where(truth["is_tidal"] == 1, np.tile([25.5, 26.2, 27.0], 4), 0)
    truth["feature_flux"] = truth["is_tidal"] * 100.0
    rows["dice"] = np.where(truth["is_tidal"] == 1, np.tile([0.7, 0.1, 0.0], 4), np.nan)
    rows["feature_flux"] = np.tile([90.0, 80.0, 5.0], 4)
    found = tidal.score(truth, rows, bootstrap=2)
    assert found["dice"][0] == pytest.approx(0.7)
    assert found["flux_bias"][0] == pytest.approx(-0.15)


def test_one_class_is_refused_and_every_metric_is_explained():
    truth, rows = gaussian_scorer(50, 50)
    with pytest.raises(AstromlError, match="all 100 labelled objects have features"):
        tidal.score({"is_tidal": np.ones(100)}, rows)
    truth["kind"] = np.where(truth["is_tidal"] == 1, "tidal", "plain")
    truth |= {
        name: truth["is_tidal"] * (np.arange(100) % 4 == at) for at, name in enumerate(CLASSES)
    }
    rows |= {"dice": np.full(100, 0.5), "iou": np.full(100, 0.3)}
    from fnmatch import fnmatchcase

    for name in tidal.score(truth, rows, bootstrap=2):
        if name.startswith("recall_mu"):
            continue
        assert any(fnmatchcase(name, pattern) for pattern in tidal.METRICS), name


def test_panels_draw_what_is_there():
    truth, rows = gaussian_scorer(400, 600)
    truth["feature_flux"] = truth["is_tidal"] * 100
    rows["feature_flux"] = np.full(1000, 90.0)
    kinds = [panel.kind for panel in tidal.panels(truth, rows)]
    assert kinds == ["points", "points", "density"]
    assert tidal.panels({"is_tidal": np.zeros(1000)}, rows) == []


# Rows


def test_surface_brightness_is_that_of_flux_over_area():
    flux, area = np.array([1e4, 0.0, -5.0, 10.0]), np.array([100.0, 50.0, 50.0, 0.0])
    found = tidal.rows(said(4, feature_flux=flux, feature_area=area), objects(4))
    assert found["feature_mu"][0] == pytest.approx(31.4 - 2.5 * 2)
    assert np.isnan(found["feature_mu"][1:]).all()


def test_calibration_undoes_a_stretch_of_the_logits():
    rng = np.random.default_rng(3)
    true_logit = rng.normal(0, 2, 20_000)
    labels = {"is_tidal": (rng.random(20_000) < 1 / (1 + np.exp(-true_logit))).astype(float)}
    labels["shell"] = np.full(20_000, np.nan)
    output = said(20_000, tidal_logit=2 * true_logit + 1)
    fit = tidal.calibrate(output, labels)
    assert fit["tidal"] == pytest.approx([0.5, -0.5], abs=0.05)
    assert fit["shell"] == fit["stream"] == [1.0, 0.0]
    found = tidal.rows(output | {"calibration": fit}, objects(20_000))
    np.testing.assert_allclose(found["tidal_prob"], 1 / (1 + np.exp(-true_logit)), atol=0.02)


def test_passes_are_the_spread():
    passes = np.array([[-1.0, 1.0], [2.0, 2.0]])
    found = tidal.rows(said(2, passes=passes), objects(2))
    high = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(found["tidal_prob_spread"], [high - 0.5, 0], atol=1e-6)
    assert not tidal.rows(said(2), objects(2))["tidal_prob_spread"].any()


def test_members_are_merged():
    outputs = [said(1, tidal_logit=np.array([logit])) for logit in (-1.0, 1.0)]
    outputs[0]["feature_flux"], outputs[1]["feature_flux"] = np.array([80.0]), np.array([120.0])
    for one in outputs:
        one["feature_flux_err"], one["feature_area"] = np.array([15.0]), np.array([4.0])
    found = tidal.combine([tidal.rows(one, objects(1)) for one in outputs])
    assert found["tidal_prob"][0] == pytest.approx(0.5)
    assert found["tidal_prob_spread"][0] == pytest.approx(1 / (1 + np.exp(-1)) - 0.5)
    assert found["feature_flux"][0] == 100
    assert found["feature_flux_err"][0] == pytest.approx(25)
    assert found["feature_mu"][0] == pytest.approx(31.4 - 2.5 * np.log10(25))


# Labels


def test_labels_are_read_and_checked():
    table = objects(3) | {"is_tidal": np.array([1, 0, 1]), "stream": np.array([1.0, 0.0, np.nan])}
    found, labelled = tidal.targets(table)
    assert set(found) == {"is_tidal", "stream"}
    assert labelled.all()
    tidal.check(found, "train")
    table["labels"] = np.array(["tidal", "lens", "lens tidal"])
    assert tidal.targets(table)[1].tolist() == [True, False, True]
    with pytest.raises(AstromlError, match=r"column stream: 1 of 2 .* neither 0 nor 1"):
        tidal.check({"is_tidal": np.array([0, 1]), "stream": np.array([0, 3])}, "val")
    with pytest.raises(AstromlError, match="all 2 labelled rows in split val are 1"):
        tidal.check({"is_tidal": np.array([1.0, 1.0])}, "val")
    assert FLAGS["no_data"]
