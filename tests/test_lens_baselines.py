"""The network's rival: trees on hand-made features, which learn from the train split alone."""

import sys

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score
from toy import toy_store

from astroml.score import score
from astroml.store import FLAGS, open_store
from astroml.tasks import lens
from astroml.tasks.lens.baselines import chosen, measured

MODULE = sys.modules["astroml.tasks.lens.baselines"]


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A toy sky of 400 cutouts, and what is said of it."""
    path = toy_store(tmp_path_factory.mktemp("toy") / "0.h5", "lens", 400)
    store = open_store(path)
    return path, store.objects, lens.baselines(store)["lens_prob_gbdt"]


def changed(path, out, **columns):
    """Return a copy of a store with some columns changed."""
    out.write_bytes(path.read_bytes())
    with h5py.File(out, "r+") as file:
        for name, values in columns.items():
            file["objects"][name][:] = values
    return open_store(out)


def test_it_finds_arcs_it_was_not_shown_and_says_nothing_of_the_others(toy):
    _, objects, said = toy
    test = objects["split"] == "test"
    assert roc_auc_score(objects["is_lens"][test], said[test]) > 0.95
    assert ((said[test] >= 0) & (said[test] <= 1)).all()
    assert np.isnan(said[~test]).all()
    assert said.dtype == np.float32


def test_labels_of_other_splits_and_objects_without_data_change_nothing(toy, tmp_path):
    path, objects, said = toy
    train = objects["split"] == "train"
    turned = changed(path, tmp_path / "a.h5", is_lens=objects["is_lens"] ^ ~train)
    np.testing.assert_array_equal(lens.baselines(turned)["lens_prob_gbdt"], said)
    empty = train & (np.arange(400) % 3 == 0)
    flags = np.where(empty, FLAGS["no_data"], 0)
    one, two = (
        lens.baselines(changed(path, tmp_path / f"{at}.h5", is_lens=labels, flags=flags))
        for at, labels in enumerate((objects["is_lens"], objects["is_lens"] ^ empty))
    )
    np.testing.assert_array_equal(one["lens_prob_gbdt"], two["lens_prob_gbdt"])
    assert not np.array_equal(one["lens_prob_gbdt"], said, equal_nan=True)


def test_without_both_classes_or_a_test_split_it_says_nothing(toy, tmp_path):
    path, _, _ = toy
    assert lens.baselines(changed(path, tmp_path / "a.h5", is_lens=np.zeros(400, int))) == {}
    for split in ("train", "test"):
        alone = changed(path, tmp_path / f"{split}.h5", split=split)
        assert lens.baselines(alone) == {}


def test_rows_to_learn_from_are_a_fixed_choice(monkeypatch):
    rng = np.random.default_rng(1)
    label = (np.arange(1000) % 10 == 0).astype(float)
    ids = rng.permutation(1000)
    everything = np.ones(1000, bool)
    assert len(chosen(label, ids, everything)) == 1000
    monkeypatch.setattr(MODULE, "MOST", 400)
    rows = chosen(label, ids, everything)
    assert (np.diff(rows) > 0).all()
    assert [(label[rows] == one).sum() for one in (0, 1)] == [200, 100]
    # Whatever the order of the store, they are the same objects, from all over the ids.
    mixed = rng.permutation(1000)
    again = mixed[chosen(label[mixed], ids[mixed], everything)]
    assert set(again) == set(rows)
    assert np.histogram(ids[rows][label[rows] == 0], 4, (0, 1000))[0].min() > 35
    assert chosen(label, ids, ~everything).tolist() == []


def test_features_are_of_the_rows_asked_for(toy, monkeypatch):
    store, rows = open_store(toy[0]), np.array([7, 3, 399, 12, 13])
    whole = measured(store, np.arange(400))
    monkeypatch.setattr(MODULE, "BLOCK", 2)
    np.testing.assert_array_equal(measured(store, rows), whole[rows])


def test_score_measures_it_on_the_same_rows_and_keeps_it(toy, tmp_path, capsys):
    first, objects, said = toy
    # Wrong labels in the test split, so that not all areas are one.
    wrong = (objects["split"] == "test") & (np.arange(400) % 5 == 0)
    path = tmp_path / "0.h5"
    objects = changed(first, path, is_lens=objects["is_lens"] ^ wrong).objects
    mixed = np.random.default_rng(2).permutation(400)
    columns = {column.name: np.full(400, 0.5, np.float32) for column in lens.COLUMNS}
    rows = {"object_id": objects["object_id"][mixed], **columns}
    pq.write_table(pa.table(rows), tmp_path / "rows.parquet")
    out = tmp_path / "lens.json"
    found = score("lens", [tmp_path / "rows.parquet"], path, out, bootstrap=10)["metrics"]
    test = objects["split"] == "test"
    seen = lens.detectable(objects)
    expected = {
        "auroc_baseline": test & (seen | (objects["is_lens"] == 0)),
        "auroc_baseline_all": test,
    }
    for name, which in expected.items():
        area = roc_auc_score(objects["is_lens"][which], said[which])
        assert found[name]["value"] == pytest.approx(area)
        assert found[name]["error"] > 0
        assert 0.6 < area < 0.95
    assert found["auroc"]["value"] == 0.5
    assert "tpr_at_fpr_1e-3_baseline" not in found  # too few non-lenses
    assert "auroc_baseline" in capsys.readouterr().out
    kept = pq.read_table(out.with_suffix(".baselines.parquet")).to_pydict()
    by_id = dict(zip(kept["object_id"], kept["lens_prob_gbdt"]))
    assert by_id == dict(zip(objects["object_id"][test].tolist(), said[test].tolist()))
    # Of rows that it learnt from there is nothing to measure.
    found = score("lens", [tmp_path / "rows.parquet"], path, out, split="all", bootstrap=10)
    assert not [name for name in found["metrics"] if "baseline" in name]


def test_completeness_at_a_rate_that_many_non_lenses_allow():
    n = 12_000
    truth = np.arange(n) < 1000
    rows = {"lens_score": np.zeros(n), "lens_prob": np.full(n, 0.5)}
    rival = np.where(truth, 0.5, 0.1)
    rival[:300] = 0.05
    found = lens.score({"is_lens": truth}, rows | {"lens_prob_gbdt": rival}, bootstrap=2)
    assert found["tpr_at_fpr_1e-3_baseline"][0] == pytest.approx(0.7)
    assert found["tpr_at_fpr_1e-3"][0] == 0
    for name in ("auroc_baseline", "auroc_baseline_all", "tpr_at_fpr_1e-3_baseline"):
        assert name in lens.METRICS
    part = np.where(np.arange(n) == 5, np.nan, rival)
    found = lens.score({"is_lens": truth}, rows | {"lens_prob_gbdt": part}, bootstrap=2)
    assert not [name for name in found if "baseline" in name], "not all objects have one"


def test_rivals_are_columns_of_the_baselines(toy):
    assert set(lens.RIVALS) == set(lens.baselines(open_store(toy[0])))
