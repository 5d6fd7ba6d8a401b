"""What the network is measured against: neighbours and trees on the same fluxes."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_photoz import rows_of, sample
from toy import toy_store

from astroml.score import score
from astroml.store import open_store
from astroml.tasks import photoz
from astroml.tasks.photoz.baselines import asinh_magnitudes

BANDS = "ugriz"


@pytest.fixture(autouse=True, scope="module")
def _few_trees():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["astroml.tasks.photoz.baselines"], "ROUNDS", 150)
        yield


def table(n=800, seed=0, noise=0.0):
    """Return galaxies whose colours are smooth functions of redshift and type."""
    rng = np.random.default_rng(seed)
    z_spec, kind = rng.uniform(0.05, 0.5, n), rng.uniform(0, 1, n)
    magnitude = rng.uniform(16, 20, n)
    objects = {
        "object_id": np.arange(n),
        "z_spec": z_spec.astype(np.float32),
        "split": np.array(["train", "train", "val", "test"])[np.arange(n) % 4],
        "ebv": np.full(n, 0.05),
    }
    for at, band in enumerate(BANDS):
        dust = 0.95 - 0.02 * at
        colour = at * (0.3 * kind - z_spec) - 0.4 * at * np.sin(3 * z_spec + at)
        flux = 10 ** (0.4 * (31.4 - magnitude - colour))
        error = np.full(n, max(noise, 1e-3)) * 3000
        objects[f"flux_{band}"] = (flux + error * rng.normal(size=n)) * dust
        objects[f"flux_err_{band}"] = error * dust
        objects[f"mw_transmission_{band}"] = np.full(n, dust)
    return objects


def said(objects):
    """Return what the methods say of a table of objects; of a store they read no more."""
    return photoz.baselines(SimpleNamespace(objects=objects))


def scatter(objects, found, name):
    test = objects["split"] == "test"
    dz = (found[name] - objects["z_spec"])[test] / (1 + objects["z_spec"][test])
    return 1.4826 * np.median(np.abs(dz - np.median(dz)))


@pytest.fixture(scope="module")
def smooth():
    objects = table()
    return objects, said(objects)


def test_a_relation_without_noise_is_recovered(smooth):
    objects, found = smooth
    assert scatter(objects, found, "z_knn") < 0.004
    assert scatter(objects, found, "z_gbdt") < 0.012
    for values in found.values():
        assert values.dtype == np.float32
        assert values.shape == (800,)


def test_train_rows_are_not_their_own_neighbours():
    objects = table(600)
    objects["z_spec"] = np.random.default_rng(1).uniform(0, 1, 600)  # nothing to be learnt
    found = said(objects)["z_knn"]
    train = objects["split"] == "train"
    assert np.corrcoef(found[train], objects["z_spec"][train])[0, 1] < 0.2


def test_test_labels_and_other_splits_change_nothing(smooth):
    objects, found = smooth
    changed = dict(objects)
    changed["z_spec"] = np.where(objects["split"] == "test", 0.9, objects["z_spec"])
    for name, values in said(changed).items():
        np.testing.assert_array_equal(values, found[name])


def test_what_is_not_measured_is_borne():
    objects = table(noise=1.0)
    rng = np.random.default_rng(2)
    for band in BANDS:
        objects[f"flux_{band}"][rng.random(800) < 0.05] = np.nan
    objects["flux_u"][:100] = -50.0
    objects["flux_err_z"][100:110] = 0
    for band in BANDS:
        objects[f"flux_{band}"][7] = np.nan
    objects["z_spec"][::10] = np.nan
    found = said(objects)
    for values in found.values():
        assert np.isfinite(values).all()


@pytest.mark.parametrize("n", [4, 12, 40])
def test_few_rows_still_give_numbers(n):
    found = said(table(n))
    assert all(np.isfinite(values).all() for values in found.values())
    assert set(found) == {"z_knn", "z_gbdt"}


def test_nothing_to_learn_from_gives_nothing():
    objects = table(40)
    assert said({k: v for k, v in objects.items() if "flux" not in k}) == {}
    assert said({k: v for k, v in objects.items() if k != "z_spec"}) == {}
    assert said(objects | {"split": np.full(40, "test")}) == {}


def test_bright_asinh_magnitudes_are_magnitudes():
    objects = table(40)
    magnitudes, errors = asinh_magnitudes(objects, ["r"], np.arange(40))
    flux = objects["flux_r"] / objects["mw_transmission_r"]
    error = objects["flux_err_r"] / objects["mw_transmission_r"]
    np.testing.assert_allclose(magnitudes[:, 0], 31.4 - 2.5 * np.log10(flux), atol=1e-6)
    np.testing.assert_allclose(errors[:, 0], 2.5 / np.log(10) * error / flux, rtol=1e-4)


@pytest.mark.parametrize("bands", [("r",), ("g", "r", "z")])
def test_score_measures_them_on_the_same_rows_and_keeps_them(bands, tmp_path, capsys):
    store = toy_store(tmp_path / "toy.h5", "photoz", 1000, bands)
    objects = open_store(store).objects
    mass, _ = sample(1000)
    rows = rows_of(mass) | {name: objects[name] for name in ("object_id", "ra", "dec")}
    mixed = np.random.default_rng(1).permutation(1000)
    columns = {
        name: pa.FixedSizeListArray.from_arrays(values[mixed].ravel(), values.shape[1])
        if values.ndim == 2
        else values[mixed]
        for name, values in rows.items()
    }
    pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
    out = tmp_path / "photoz.json"
    result = score("photoz", [tmp_path / "rows.parquet"], store, out, bootstrap=10)
    assert json.loads(out.read_text()) == result
    # p(z) is drawn at random here; the other methods look at fluxes.
    assert result["metrics"]["sigma_mad"]["value"] > 0.1
    assert result["metrics"]["sigma_mad_knn"]["value"] < 0.03
    assert result["metrics"]["sigma_mad_gbdt"]["value"] < 0.03
    shown = capsys.readouterr().out
    assert "sigma_mad_knn" in shown
    assert "in bins of mag" in shown
    assert "bias_mag" not in shown
