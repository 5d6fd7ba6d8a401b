"""The numpy side of the redshifts: labels, p(z), calibration, rows, and the qp file."""

import itertools
import json

import h5py
import numpy as np
import pytest
from scipy.stats import norm

from astroml.errors import AstromlError
from astroml.store import FLAGS
from astroml.tasks import photoz
from astroml.tasks.photoz import metrics, pdf, unlike

OPTIONS = photoz.Options()
EDGES = pdf.bin_edges(OPTIONS.z_max, OPTIONS.bins)
STEP = EDGES[1] - EDGES[0]
CENTRES = (EDGES[:-1] + EDGES[1:]) / 2
SAME = {"temperature": 1.0, "beta": [1.0, 1.0]}


def gaussians(mean, sigma):
    """Return the exact probabilities (n, bins) of Gaussians."""
    cdf = norm.cdf(EDGES, np.reshape(mean, (-1, 1)), np.reshape(sigma, (-1, 1)))
    mass = np.diff(cdf, axis=1)
    return mass / mass.sum(1, keepdims=True)


def sample(n, seed=0, claimed=1.0, shift=0.0):
    """Return p(z) claimed, and z_spec drawn from Gaussians of the true width and place."""
    rng = np.random.default_rng(seed)
    mean = rng.uniform(0.2, 0.7, n)
    sigma = np.where(rng.random(n) < 0.3, 0.04, 0.02)
    z_spec = mean + sigma * rng.normal(size=n)
    return gaussians(mean + shift * sigma, claimed * sigma), z_spec


def output(mass, calibration=SAME, summary=None):
    n = len(mass)
    summary = np.zeros((n, 3)) if summary is None else summary
    plain = {"mean": [0.0] * 3, "scale": [1.0] * 3, "factor": [[1], [0, 1], [0, 0, 1]], "unit": 1}
    return {
        "pdf": mass,
        "summary": summary,
        "options": OPTIONS,
        "calibration": {"unlike": plain, **calibration},
    }


def objects(n):
    return {"object_id": np.arange(n), "flags": np.full(n, FLAGS["masked"], np.int32)}


def rows_of(mass, calibration=SAME, summary=None):
    return photoz.rows(output(mass, calibration, summary), objects(len(mass)))


def calibrated(mass, z_spec):
    return photoz.calibrate(
        {"pdf": mass, "summary": np.zeros((len(mass), 3)), "options": OPTIONS}, {"z_spec": z_spec}
    )


# Labels


def test_targets_without_a_redshift_are_unlabelled():
    targets, labelled = photoz.targets({"object_id": np.arange(3)})
    assert np.isnan(targets["z_spec"]).all()
    assert not labelled.any()
    table = {"object_id": np.arange(4), "z_spec": np.array([0.1, np.nan, 0.3, 0.4])}
    targets, labelled = photoz.targets(table)
    assert targets["z_spec"].dtype == np.float32
    assert labelled.tolist() == [True, False, True, True]
    table["labels"] = np.array(["lens photoz", "photoz", "lens", "photoz"])
    assert photoz.targets(table)[1].tolist() == [True, False, False, True]


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        ([0.1, 1.2, 0.3], OPTIONS, "1 of 3 labelled rows in split val lie outside .* 0 to 1; rai"),
        ([0.1, -0.01, -9], None, "2 of 3 labelled rows in split val lie outside .*, 0 or more"),
        ([0.25, 0.25], OPTIONS, "all 2 labelled rows in split val are at redshift 0.25"),
    ],
)
def test_labels_that_teach_nothing_are_refused(values, options, says):
    with pytest.raises(AstromlError, match=says):
        photoz.check({"z_spec": np.array(values)}, "val", options)


def test_labels_on_the_grid_are_accepted_to_its_ends():
    photoz.check({"z_spec": np.array([0.0, 1.0])}, "train", OPTIONS)
    photoz.check({"z_spec": np.array([0.0, 1.5])}, "train")


# What is read off p(z)


def test_a_single_bin_gives_exactly_its_centre():
    mass = np.eye(OPTIONS.bins)[[0, 17, OPTIONS.bins - 1]]
    rows = rows_of(mass)
    for name in ("z_phot", "z_mean", "z_mode"):
        np.testing.assert_allclose(rows[name], CENTRES[[0, 17, -1]], rtol=1e-6)
    np.testing.assert_allclose(rows["z_high_68"] - rows["z_low_68"], 0.68 * STEP, rtol=1e-4)
    np.testing.assert_allclose(rows["odds"], 1)


def test_a_gaussian_gives_its_own_numbers():
    mean, sigma = np.array([0.31234, 0.5, 0.6871]), np.array([0.03, 0.05, 0.04])
    rows = rows_of(gaussians(mean, sigma))
    np.testing.assert_allclose(rows["z_phot"], mean, atol=2e-4)
    np.testing.assert_allclose(rows["z_mean"], mean, atol=1e-5)
    np.testing.assert_allclose(rows["z_mode"], mean, atol=STEP / 2 + 1e-6)
    for level, width in (("68", norm.ppf(0.84)), ("95", norm.ppf(0.975))):
        np.testing.assert_allclose(rows[f"z_high_{level}"], mean + width * sigma, atol=3e-4)
        np.testing.assert_allclose(rows[f"z_low_{level}"], mean - width * sigma, atol=3e-4)
    reach = 0.06 * (1 + mean) / sigma
    np.testing.assert_allclose(rows["odds"], 2 * norm.cdf(reach) - 1, atol=3e-3)
    np.testing.assert_allclose(rows["pz"].sum(1) * rows["pz_step"], 1, rtol=1e-5)
    grid = rows["pz_first"][0] + np.arange(OPTIONS.bins) * rows["pz_step"][0]
    np.testing.assert_allclose(grid, CENTRES, atol=1e-6)
    peak = norm.pdf(0) / sigma
    np.testing.assert_allclose(rows["pz"].max(1), peak, rtol=0.01)


def test_intervals_are_nested_whatever_the_shape():
    mass = np.random.default_rng(1).dirichlet(np.full(OPTIONS.bins, 0.02), 300)
    rows = rows_of(mass)
    order = ("z_low_95", "z_low_68", "z_phot", "z_high_68", "z_high_95")
    for low, high in itertools.pairwise(order):
        assert (rows[low] <= rows[high]).all()


def test_what_is_not_finite_becomes_flat_flagged_and_never_nan():
    mass = np.tile(gaussians(0.4, 0.03), (5, 1))
    mass[0, 3], mass[1, 3], mass[2], mass[3, 3] = np.nan, np.inf, 0, -1
    summary = np.zeros((5, 3))
    summary[4, 1] = np.nan
    fit = {"temperature": 1.5, "beta": [1.4, 0.7]}
    rows = rows_of(mass, fit, summary)
    for column in photoz.COLUMNS:
        assert np.isfinite(rows[column.name]).all(), column.name
    np.testing.assert_allclose(rows["pz"][:4], 1 / OPTIONS.z_max)
    np.testing.assert_allclose(rows["z_phot"][:4], 0.5)
    assert (rows["unlike"] == unlike.FARTHEST).all()
    assert (rows["flags"] == FLAGS["masked"] | FLAGS["unlike"]).all()


def test_rows_keep_the_bits_that_the_store_has():
    summary = np.array([[0.0, 0, 0], [0, 0.9, 0], [0, 1.1, 0]])
    rows = rows_of(np.tile(gaussians(0.4, 0.03), (3, 1)), summary=summary)
    np.testing.assert_allclose(rows["unlike"], [0, 0.9, 1.1])
    assert rows["flags"].tolist() == [2, 2, 2 | FLAGS["unlike"]]
    assert rows["flags"].dtype == np.int32


# Calibration


def test_honest_pdfs_are_left_as_they_are():
    mass, z_spec = sample(6000)
    fit = calibrated(mass, z_spec)
    assert fit["temperature"] == pytest.approx(1, abs=0.1)
    assert fit["beta"] == pytest.approx([1, 1], abs=0.06)
    assert fit["pit_ks_before"] < 0.02
    assert fit["pit_ks_after"] < 0.02
    assert sum(fit["pit_after"]) == 6000
    after = rows_of(mass, fit)
    np.testing.assert_allclose(after["z_phot"], rows_of(mass)["z_phot"], atol=2e-3)


@pytest.mark.parametrize("claimed", [0.5, 1.6])
def test_wrong_widths_are_mended_on_unseen_objects(claimed):
    fit = calibrated(*sample(5000, 1, claimed))
    # p^(1/T) of a Gaussian is one that is wider by the root of T.
    assert fit["temperature"] == pytest.approx(claimed**-2, rel=0.15)
    assert fit["pit_ks_before"] > 0.06
    assert fit["pit_ks_after"] < 0.015
    mass, z_spec = sample(10_000, 2, claimed)
    found = photoz.score({"z_spec": z_spec}, rows_of(mass, fit), bootstrap=5)
    assert found["pit_ks"][0] < 0.02
    assert found["coverage_68"][0] == pytest.approx(0.68, abs=0.015)
    assert found["coverage_95"][0] == pytest.approx(0.95, abs=0.01)
    wrong = photoz.score({"z_spec": z_spec}, rows_of(mass), bootstrap=5)
    assert wrong["crps"][0] > found["crps"][0]
    assert wrong["cde_loss"][0] > found["cde_loss"][0]


def test_shifted_pdfs_are_moved_back():
    mass, z_spec = sample(5000, 3, shift=0.5)
    fit = calibrated(mass, z_spec)
    a, b = fit["beta"]
    assert b > a * 1.3  # z_phot too high: the PIT is low, and more of p(z) must lie below
    assert fit["pit_ks_before"] > 0.15
    assert fit["pit_ks_after"] < 0.03
    bias = np.median(rows_of(mass, fit)["z_phot"] - z_spec)
    assert np.median(rows_of(mass)["z_phot"] - z_spec) == pytest.approx(0.5 * 0.024, rel=0.2)
    assert abs(bias) < 0.002


def test_a_few_wrong_spectra_do_not_widen_all():
    mass, z_spec = sample(5000, 4)
    z_spec[::50] = np.random.default_rng(1).uniform(0, 1, 100)
    fit = calibrated(mass, z_spec)
    assert fit["temperature"] == pytest.approx(1, abs=0.12)
    assert fit["beta"] == pytest.approx([1, 1], abs=0.1)


def test_the_likelihood_is_that_of_what_is_delivered():
    mass, z_spec = sample(2000, 5, 0.5)
    fit = calibrated(mass, z_spec)

    def likelihood(rows):
        place = pdf.find_bin(EDGES, z_spec)
        return np.log(rows["pz"][np.arange(len(place)), place] + 1e-3).mean()

    best = likelihood(rows_of(mass, fit))
    for temperature, a, b in ((1.2, 1, 1), (1 / 1.2, 1, 1), (1, 1.2, 1), (1, 1, 1.2), (1, 0.8, 1)):
        other = {
            "temperature": fit["temperature"] * temperature,
            "beta": [fit["beta"][0] * a, fit["beta"][1] * b],
        }
        assert likelihood(rows_of(mass, other)) < best


@pytest.mark.parametrize("n", [0, 1, 2, 7, 40])
def test_small_samples_give_a_tame_finite_calibration(n):
    mass, z_spec = sample(n, 6, 0.7)
    summary = np.random.default_rng(n).normal(size=(n, 30))
    made = {"pdf": mass, "summary": summary, "options": OPTIONS}
    fit = photoz.calibrate(made, {"z_spec": z_spec})
    assert json.loads(json.dumps(fit, allow_nan=False)) == fit
    assert 0.5 < fit["temperature"] < 4
    assert all(0.5 < value < 2 for value in fit["beta"])
    rows = photoz.rows(made | {"calibration": fit}, objects(n))
    for column in photoz.COLUMNS:
        assert np.isfinite(rows[column.name]).all()
        assert rows[column.name].dtype == column.dtype
    assert rows["pz"].shape == (n, OPTIONS.bins)


@pytest.mark.parametrize("what", ["delta", "flat", "lost", "nan", "same"])
def test_degenerate_samples_give_a_finite_calibration(what):
    mass, z_spec = sample(60, 7)
    summary = np.random.default_rng(7).normal(size=(60, 4))
    if what == "delta":
        mass = np.eye(OPTIONS.bins)[pdf.find_bin(EDGES, z_spec)]
    elif what == "flat":
        mass = np.full((60, OPTIONS.bins), 1 / OPTIONS.bins)
    elif what == "lost":
        z_spec = 1.0 - z_spec
    elif what == "nan":
        mass[:], z_spec[:30], summary[:] = np.nan, np.nan, np.nan
    else:
        summary[:] = 0.7
    made = {"pdf": mass, "summary": summary, "options": OPTIONS}
    fit = photoz.calibrate(made, {"z_spec": z_spec})
    assert json.loads(json.dumps(fit, allow_nan=False)) == fit
    rows = photoz.rows(made | {"calibration": fit}, objects(60))
    assert all(np.isfinite(rows[column.name]).all() for column in photoz.COLUMNS)


def test_recalibrated_rows_are_probabilities():
    mass = pdf.recalibrate(sample(100)[0], 2.0, 0.6, 1.7)
    assert (mass >= 0).all()
    np.testing.assert_allclose(mass.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(pdf.recalibrate(mass, 1, 1, 1), mass, atol=1e-12)


# Objects unlike the others


@pytest.mark.parametrize(("n", "k"), [(2000, 40), (300, 60)])
def test_one_percent_of_the_like_and_all_of_the_unlike_are_flagged(n, k):
    rng = np.random.default_rng(8)
    mix = rng.normal(size=(k, k)) * rng.uniform(0.01, 100, k)
    fitted = unlike.fit(rng.normal(size=(n, k)) @ mix + 5)
    like = unlike.measure(rng.normal(size=(20_000, k)) @ mix + 5, fitted)
    assert 0.004 < (like > 1).mean() < 0.02
    # Far in a direction in which the sample hardly varies, though not in any one of its numbers.
    thin = np.linalg.inv(mix)[:, 0] / np.linalg.norm(np.linalg.inv(mix)[:, 0])
    odd = (
        rng.normal(size=(500, k)) @ mix + 5 + 15 * thin / np.linalg.norm(np.linalg.inv(mix) @ thin)
    )
    if n > 20 * k:
        assert (unlike.measure(odd, fitted) > 1).mean() > 0.5
    assert (unlike.measure(rng.normal(size=(500, k)) @ mix * 3 + 5, fitted) > 1).all()


def test_what_never_changed_and_does_is_unlike():
    rng = np.random.default_rng(9)
    seen = np.column_stack([rng.normal(size=(500, 5)), np.zeros(500)])
    fitted = unlike.fit(seen)
    seen[:, 5] = 1
    assert (unlike.measure(seen, fitted) > 1).all()


def test_distance_is_that_of_mahalanobis():
    rng = np.random.default_rng(10)
    seen = rng.normal(size=(5000, 3)) @ [[2, 1, 0], [0, 1, 0.3], [0, 0, 0.5]]
    fitted = unlike.fit(seen)
    from scipy.spatial.distance import mahalanobis

    inverse = np.linalg.inv(np.cov(seen.T))
    expected = [mahalanobis(one, seen.mean(0), inverse) for one in seen[:50]]
    np.testing.assert_allclose(
        unlike.measure(seen[:50], fitted) * fitted["unit"], expected, rtol=0.02
    )


# The file of qp


def test_qp_opens_the_file_and_finds_the_same_pdfs(tmp_path):
    qp = pytest.importorskip("qp")
    mass, _ = sample(30, 11)
    rows = rows_of(mass, {"temperature": 1.3, "beta": [0.9, 1.2]})
    rows |= {"ra": np.linspace(0, 350, 30), "dec": np.linspace(-80, 80, 30)}
    rows["object_id"] = rows["object_id"] + 2**60
    path = tmp_path / "photoz.hdf5"
    photoz.EXPORTS[".hdf5"](rows, path)
    ensemble = qp.read(str(path))
    assert ensemble.npdf == 30
    np.testing.assert_allclose(ensemble.pdf(CENTRES), rows["pz"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.ravel(ensemble.ppf(0.5)), rows["z_phot"], atol=1e-6)
    np.testing.assert_allclose(np.ravel(ensemble.ppf(0.16)), rows["z_low_68"], atol=1e-6)
    cdf = pdf.cumulate(rows["pz"].astype(float))
    np.testing.assert_allclose(ensemble.cdf(EDGES[1:-1]), cdf[:, 1:-1], atol=1e-5)
    np.testing.assert_allclose(np.ravel(ensemble.mean()), rows["z_mean"], atol=1e-5)
    for name in ("object_id", "ra", "dec", "z_phot", "z_mode", "flags"):
        np.testing.assert_array_equal(ensemble.ancil[name], rows[name])
    np.testing.assert_array_equal(ensemble.ancil["zmode"], rows["z_mode"])


def test_qp_file_holds_text_ids_no_rows_and_the_same_bytes(tmp_path):
    qp = pytest.importorskip("qp")
    rows = rows_of(sample(3, 12)[0]) | {"object_id": np.array(["a", "bb", "Ž"])}
    for name in ("one.hdf5", "two.hdf5"):
        photoz.EXPORTS[".hdf5"](rows, tmp_path / name)
    assert (tmp_path / "one.hdf5").read_bytes() == (tmp_path / "two.hdf5").read_bytes()
    assert qp.read(str(tmp_path / "one.hdf5")).ancil["object_id"].tolist() == ["a", "bb", "Ž"]
    nothing = {name: values[:0] for name, values in rows.items()}
    photoz.EXPORTS[".hdf5"](nothing, tmp_path / "none.hdf5")
    with h5py.File(tmp_path / "none.hdf5") as file:
        assert file["data/pdfs"].shape == (0, OPTIONS.bins)


def test_qp_agrees_on_pit_and_point_metrics():
    qp = pytest.importorskip("qp")
    from qp.metrics.pit import PIT
    from qp.metrics.point_estimate_metric_classes import (
        PointBias,
        PointOutlierRate,
        PointSigmaIQR,
        PointSigmaMAD,
    )

    mass, z_spec = sample(3000, 13, 0.7)
    z_spec[:60] += 0.25
    rows = rows_of(mass)
    found = photoz.score({"z_spec": z_spec}, rows, bootstrap=5)
    ensemble = qp.hist.create_ensemble(bins=EDGES, pdfs=rows["pz"])
    pit = PIT(ensemble, z_spec)
    facts = metrics.per_object({"z_spec": z_spec}, rows)
    np.testing.assert_allclose(facts["pit"], pit.pit_samps, atol=1e-5)
    assert found["pit_ks"][0] == pytest.approx(pit.evaluate_PIT_KS().statistic, abs=1e-5)
    z_phot = rows["z_phot"].astype(float)
    assert found["bias"][0] == pytest.approx(PointBias().evaluate(z_phot, z_spec))
    assert found["sigma_mad"][0] == pytest.approx(
        PointSigmaMAD().evaluate(z_phot, z_spec), rel=1e-3
    )
    outliers = PointOutlierRate().evaluate(z_phot, z_spec)
    assert found["outlier_rate"][0] == pytest.approx(outliers)
    assert outliers > PointSigmaIQR().evaluate(z_phot, z_spec) > 0
