"""Metrics of redshifts with known answers, their errors, and the figures made of them."""

import fnmatch
import time

import numpy as np
import pytest
from scipy.stats import norm
from test_photoz import CENTRES, EDGES, OPTIONS, STEP, gaussians, rows_of, sample

from astroml.tasks import photoz
from astroml.tasks.photoz import metrics, pdf


def as_rows(z_phot, sigma=0.02, **columns):
    """Return rows of Gaussians whose point estimate is exactly what is asked for."""
    z_phot = np.asarray(z_phot, float)
    return rows_of(gaussians(z_phot, sigma)) | {"z_phot": z_phot, **columns}


def measure(z_spec, rows, bootstrap=20, **truth):
    return photoz.score({"z_spec": np.asarray(z_spec), **truth}, rows, bootstrap=bootstrap)


def test_point_metrics_by_hand():
    z_spec = np.full(5, 0.25)
    dz = np.array([-0.02, 0.0, 0.01, 0.07, 0.4])
    found = measure(z_spec, as_rows(z_spec + 1.25 * dz))
    assert found["bias"][0] == pytest.approx(0.01)
    # Distances from the median: 0.03, 0.01, 0, 0.06, 0.39.
    assert found["sigma_mad"][0] == pytest.approx(1.4826 * 0.03)
    assert found["mean_bias"][0] == pytest.approx(0.092)
    assert found["eta_005"][0] == pytest.approx(0.4)
    assert found["eta_015"][0] == pytest.approx(0.2)
    # sigma_IQR = 0.07 / 1.349 = 0.0519, so that the cut is at 0.156.
    assert found["outlier_rate"][0] == pytest.approx(0.2)


def test_outliers_of_a_sharp_sample_are_cut_at_six_percent():
    dz = np.append(np.linspace(-0.001, 0.001, 98), [0.059, 0.061])
    found = measure(np.full(100, 0.2), as_rows(0.2 + 1.2 * dz))
    assert found["outlier_rate"][0] == pytest.approx(0.01)


def test_outliers_of_a_wide_sample_are_cut_at_three_sigma():
    dz = 0.05 * norm.ppf((np.arange(1000) + 0.5) / 1000)
    found = measure(np.full(1000, 0.5), as_rows(0.5 + 1.5 * dz))
    assert found["outlier_rate"][0] == pytest.approx(0.002)  # beyond 3 sigma of a Gaussian


def test_delta_pdfs_have_no_bias_of_half_a_bin():
    places = np.arange(20, 120)
    found = measure(CENTRES[places], rows_of(np.eye(OPTIONS.bins)[places]))
    for name in ("bias", "sigma_mad", "mean_bias"):
        assert found[name][0] == pytest.approx(0, abs=1e-7)
    # All of p(z) within the bin: the integral of t^2 below the middle, and its mirror image above.
    assert found["crps"][0] == pytest.approx(STEP / 12, rel=1e-4)


def test_crps_of_gaussians_is_the_closed_form():
    mean, sigma = np.full(200, 0.5), np.full(200, 0.05)
    z_spec = np.linspace(0.3, 0.7, 200)
    off = (z_spec - mean) / sigma
    # Gneiting & Raftery 2007, J. Am. Stat. Assoc. 102, 359, eq. 21.
    exact = sigma * (off * (2 * norm.cdf(off) - 1) + 2 * norm.pdf(off) - 1 / np.sqrt(np.pi))
    found = metrics.crps(pdf.cumulate(gaussians(mean, sigma)), EDGES, z_spec)
    np.testing.assert_allclose(found, exact, atol=3e-5)  # a bin widens the Gaussian a little


def test_crps_is_the_integral_wherever_the_truth_lies():
    mass = np.random.default_rng(1).dirichlet(np.full(OPTIONS.bins, 0.1), 6)
    z_spec = np.array([-0.2, 0.0, 0.12345, 0.5, 1.0, 1.3])
    cdf, fine = pdf.cumulate(mass), np.linspace(-0.5, 1.5, 400_001)
    for each, truth, found in zip(cdf, z_spec, metrics.crps(cdf, EDGES, z_spec)):
        square = (np.interp(fine, EDGES, each) - (fine >= truth)) ** 2
        assert found == pytest.approx(np.trapezoid(square, fine), abs=1e-5)


def test_cde_loss_is_the_distance_from_the_true_density_up_to_a_constant():
    rng = np.random.default_rng(2)
    z_spec = 0.5 + 0.05 * rng.normal(size=10_000)
    true = gaussians(0.5, 0.05)[0] / STEP
    for width in (0.03, 0.05, 0.08):
        rows = rows_of(np.repeat(gaussians(0.5, width), len(z_spec), axis=0))
        value = measure(z_spec, rows, 2)["cde_loss"][0]
        claimed = gaussians(0.5, width)[0] / STEP
        expected = STEP * (((claimed - true) ** 2).sum() - (true**2).sum())
        assert value == pytest.approx(expected, rel=0.03)


def test_honest_pdfs_have_a_uniform_pit_and_the_claimed_coverage():
    mass, z_spec = sample(20_000, 3)
    found = measure(z_spec, rows_of(mass), 10)
    assert found["pit_ks"][0] < 0.012
    assert found["coverage_68"][0] == pytest.approx(0.68, abs=0.012)
    assert found["coverage_95"][0] == pytest.approx(0.95, abs=0.006)
    assert found["pit_outlier_rate"][0] < 1e-3
    narrow = measure(z_spec, rows_of(sample(20_000, 3, claimed=0.5)[0]), 10)
    assert narrow["coverage_68"][0] == pytest.approx(
        2 * norm.cdf(0.5 * norm.ppf(0.84)) - 1, abs=0.02
    )
    assert narrow["pit_ks"][0] > 0.08
    assert narrow["pit_outlier_rate"][0] == pytest.approx(2 * norm.cdf(-3.719 / 2), rel=0.15)


def test_ks_distance_is_that_of_scipy():
    from scipy.stats import kstest

    values = np.random.default_rng(4).beta(1.1, 0.9, (3, 501))
    expected = [kstest(one, "uniform").statistic for one in values]
    np.testing.assert_allclose(pdf.ks_distance(values), expected)


def test_truth_beyond_the_grid_counts_as_missed():
    found = measure([-0.01, 1.2, 0.5], rows_of(gaussians(np.full(3, 0.5), 0.05)))
    assert found["coverage_95"][0] == pytest.approx(1 / 3)
    assert found["pit_outlier_rate"][0] == pytest.approx(2 / 3)
    assert np.isfinite([*found["crps"], *found["cde_loss"], *found["pit_ks"]]).all()


def test_bins_hold_what_they_say_and_their_own_numbers():
    z_spec = np.concatenate([np.full(150, 0.12), np.full(150, 0.31), np.full(20, 0.7)])
    dz = np.concatenate([np.full(150, 0.01), np.full(150, -0.02), np.full(20, 0.2)])
    rows = as_rows(z_spec + dz * (1 + z_spec))
    flux = np.where(z_spec < 0.2, 10 ** (0.4 * (31.4 - 17.2)), 10 ** (0.4 * (31.4 - 19.7)))
    found = measure(
        z_spec,
        rows,
        flux_g=np.ones(320),
        flux_err_g=np.ones(320),
        flux_r=0.8 * flux,
        flux_err_r=np.ones(320),
        mw_transmission_r=np.full(320, 0.8),
    )
    bias = {name: value for name, (value, _) in found.items() if name.startswith("bias_")}
    assert bias == pytest.approx(
        {
            "bias_zphot_0.10_0.15": 0.01,
            "bias_zphot_0.25_0.30": -0.02,
            "bias_zspec_0.10_0.15": 0.01,
            "bias_zspec_0.30_0.35": -0.02,
            "bias_mag_17.0_17.5": 0.01,
            "bias_mag_19.5_20.0": -0.02,
        }
    )
    assert found["max_abs_bias_in_zphot_bins"][0] == pytest.approx(0.02)


def test_edges_of_bins_are_theirs_in_single_precision_too():
    values = np.repeat(np.float32([0.05, 0.1, 0.15, 0.35, 0.7]), 30).astype(float)
    found = metrics.bins_of(values, 0.05)
    assert [round(low, 2) for low, _ in found] == [0.05, 0.1, 0.15, 0.35, 0.7]
    assert metrics.bins_of(np.full(50, np.nan), 0.05) == {}


def test_largest_bias_is_not_known_without_a_bin_of_many():
    rows = as_rows(np.full(100, 0.32))
    assert np.isnan(measure(np.full(100, 0.3), rows)["max_abs_bias_in_zphot_bins"]).all()
    rows = as_rows(np.full(101, 0.32))
    found = measure(np.full(101, 0.3), rows)["max_abs_bias_in_zphot_bins"]
    assert found[0] == pytest.approx(0.02 / 1.3)


def test_other_methods_are_measured_beside():
    rng = np.random.default_rng(5)
    z_spec = rng.uniform(0.1, 0.5, 4000)
    noise = rng.normal(size=4000) * (1 + z_spec)
    rows = as_rows(z_spec + 0.01 * noise, z_knn=z_spec + 0.02 * noise + 0.01 * (1 + z_spec))
    found = measure(z_spec, rows)
    assert found["sigma_mad"][0] == pytest.approx(0.01, rel=0.05)
    assert found["sigma_mad_knn"][0] == pytest.approx(0.02, rel=0.05)
    assert found["bias_knn"][0] == pytest.approx(0.01, abs=0.002)
    assert {"eta_005_knn", "outlier_rate_knn"} < set(found)
    assert not [name for name in found if name.endswith("_gbdt")]


def test_bootstrap_error_is_the_true_scatter_of_small_and_large_samples():
    # Asymptotic errors of Gaussian samples, over sigma / sqrt(n).
    expected = {"bias": np.sqrt(np.pi / 2), "sigma_mad": 1.1664, "mean_bias": 1.0}
    for n in (400, 3 * metrics.MOST):
        errors = {name: [] for name in expected}
        for seed in range(20):
            rng = np.random.default_rng(seed)
            found = metrics.point_metrics({"dz": rng.normal(0, 0.02, n)}, 50, rng)
            for name in expected:
                errors[name].append(found[name][1] * np.sqrt(n) / 0.02)
        for name, value in expected.items():
            assert np.mean(errors[name]) == pytest.approx(value, rel=0.12), name


def test_nothing_of_twenty_is_not_zero_plus_minus_zero():
    found = measure(np.full(20, 0.3), as_rows(np.full(20, 0.3)))
    assert found["eta_015"] == (0, pytest.approx(0.5 / 21))


def test_same_seed_same_numbers():
    mass, z_spec = sample(300, 6)
    rows = rows_of(mass)
    assert repr(measure(z_spec, rows)) == repr(measure(z_spec, rows))


def test_every_metric_is_explained():
    mass, z_spec = sample(500, 7)
    rows = rows_of(mass) | {"z_knn": z_spec, "z_gbdt": z_spec}
    found = measure(z_spec, rows, flux_i=np.full(500, 1e4), flux_err_i=np.ones(500))
    patterns = list(photoz.METRICS)
    for name in found:
        pattern = next((one for one in patterns if fnmatch.fnmatchcase(name, one)), None)
        assert pattern, name
        in_bin = name[-1].isdigit() and "." in name
        assert in_bin == pattern.endswith(tuple(f"_{axis}_*" for axis in photoz.AXES)), name
    assert any("_mag_19.0_20.0" in name or "_mag_21.0" in name for name in found)


def test_many_rows_are_measured_in_seconds():
    mass, z_spec = sample(20_000, 8)
    rows = rows_of(mass)
    began = time.process_time()
    measure(z_spec, rows, 200)
    assert time.process_time() - began < 10


def test_panels_hold_numbers_to_draw():
    mass, z_spec = sample(2000, 9)
    rng = np.random.default_rng(9)
    flux = 10 ** rng.uniform(4, 6, 2000)
    truth = {"z_spec": z_spec, "flux_r": flux, "flux_err_r": np.ones(2000)}
    panels = photoz.panels(truth, rows_of(mass) | {"z_knn": z_spec + 0.01 * rng.normal(size=2000)})
    assert [panel.kind for panel in panels].count("points") == 4
    for panel in panels:
        assert all((panel.title, panel.alt, panel.text, panel.x_label, panel.y_label))
        if panel.kind == "points":
            for x, y, error in panel.data["series"].values():
                assert len(x) == len(y) == len(error) > 0
                assert np.isfinite([x, y, error]).all()
    by_kind = {panel.kind: panel for panel in panels}
    assert by_kind["density"].data["x"] is not None
    bars = by_kind["bars"].data
    assert len(bars["edges"]) == len(bars["counts"]) + 1
    assert bars["counts"].sum() == 2000
    assert bars["expected"] == 100
    assert len(by_kind["curves"].data["series"]) == 6
    assert set(panels[-1].data["series"]) == {"network", "k nearest neighbours"}
    claimed, share, _ = panels[4].data["series"]["measured"]
    np.testing.assert_allclose(share, claimed, atol=0.04)


def test_panels_of_few_rows_and_of_none():
    mass, z_spec = sample(3, 10)
    assert photoz.panels({"z_spec": z_spec}, rows_of(mass))
    empty = rows_of(np.zeros((0, OPTIONS.bins)))
    assert photoz.panels({"z_spec": z_spec[:0]}, empty) == []
