"""Scoring: rows meet labels by object, faults are sentences, the file says what was measured."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astroml.errors import AstromlError
from astroml.rows import join, read_rows
from astroml.score import score
from astroml.store import FLAGS, Header, open_store, write_shard


def write_store(path, ids, **columns):
    n = len(ids)
    shape = (n, 1, 4, 4)
    objects = {
        "object_id": np.asarray(ids),
        "ra": np.zeros(n),
        "dec": np.zeros(n),
        "ebv": np.zeros(n),
        "flags": np.zeros(n, np.int32),
        "split": np.full(n, "test"),
        **columns,
    }
    block = {
        "image": np.zeros(shape, np.float32),
        "mask": np.zeros(shape, np.uint8),
        "sigma": np.ones((n, 1), np.float32),
        "psf_fwhm": np.ones((n, 1), np.float32),
        "objects": objects,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(path, Header("galaxy", ("r",), 4, 0.3, "test"), [block])
    return path


def write_rows(path, ids, prob, **columns):
    prob = np.asarray(prob)
    rows = {
        "object_id": np.asarray(ids),
        "ra": np.zeros(len(ids)),
        "dec": np.zeros(len(ids)),
        "lens_prob": prob.astype(np.float32),
        "lens_score": np.log(prob / (1 - prob)).astype(np.float32),
        "flags": np.zeros(len(ids), np.int32),
        **columns,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path)
    return path


@pytest.fixture
def labelled(tmp_path):
    """Two shards whose lenses all score above the others, rows in another order than the store."""
    rng = np.random.default_rng(1)
    stores, rows = [], []
    for chunk in range(2):
        ids = np.arange(30) + 100 * chunk
        lens = np.arange(30) % 3 == 0
        split = np.where(np.arange(30) < 20, "test", "train")
        stores.append(write_store(tmp_path / f"store/{chunk}.h5", ids, is_lens=lens, split=split))
        prob = np.where(lens, rng.uniform(0.6, 0.9, 30), rng.uniform(0.1, 0.4, 30))
        mixed = rng.permutation(30)
        rows.append(write_rows(tmp_path / f"rows/{chunk}.parquet", ids[mixed], prob[mixed]))
    return stores, rows


def test_rows_meet_labels_by_object_and_only_the_split_is_measured(labelled, tmp_path, capsys):
    stores, rows = labelled
    out = tmp_path / "metrics/lens.json"
    result = score("lens", rows[::-1], stores, out, split="test", bootstrap=20)
    assert json.loads(out.read_text()) == result
    assert (result["task"], result["split"], result["n"]) == ("lens", "test", 40)
    assert result["metrics"]["auroc"]["value"] == 1
    assert set(result["provenance"]["inputs"]) == {"0.parquet", "1.parquet"}
    said = capsys.readouterr().out
    assert "auroc" in said
    assert "1.0000" in said
    assert score("lens", rows, stores, out, split="all", bootstrap=20)["n"] == 60
    assert score("lens", rows, stores[0].parent, out, split="train", bootstrap=20)["n"] == 20


def test_same_rows_same_bytes_and_other_labels_other_hash(labelled, tmp_path):
    stores, rows = labelled
    outs = [tmp_path / f"{name}.json" for name in "abc"]
    for out in outs[:2]:
        score("lens", rows, stores, out, bootstrap=20)
    assert outs[0].read_bytes() == outs[1].read_bytes()
    ids = np.arange(30)
    write_store(stores[0], ids, is_lens=ids % 2 == 0)
    score("lens", rows, stores, outs[2], bootstrap=20)
    hashes = [json.loads(out.read_text())["provenance"]["labels"] for out in outs]
    assert hashes[0] != hashes[2]


def test_shuffled_rows_give_the_same_value(labelled, tmp_path):
    stores, rows = labelled
    first = score("lens", rows, stores, tmp_path / "a.json", bootstrap=20)
    second = score("lens", rows[::-1], stores, tmp_path / "b.json", bootstrap=20)
    for name, metric in first["metrics"].items():
        assert metric["value"] == pytest.approx(second["metrics"][name]["value"])


def test_truth_stands_in_the_rows_order(labelled):
    stores, rows = labelled
    truth, found = join("lens", read_rows(rows), open_store(stores).objects, "all")
    np.testing.assert_array_equal(truth["object_id"], found["object_id"])
    np.testing.assert_array_equal(truth["is_lens"] == 1, found["lens_prob"] > 0.5)


def test_text_ids_and_several_rows_per_object_join(tmp_path):
    ids = np.array(["a", "b", "c"])
    store = write_store(tmp_path / "s.h5", ids, is_lens=[1, 0, 1])
    rows = write_rows(tmp_path / "r.parquet", ["c", "a", "b", "a"], [0.9, 0.8, 0.1, 0.7])
    truth, found = join("lens", read_rows([rows]), open_store(store).objects)
    assert found["object_id"].tolist() == ["c", "a", "b", "a"]
    assert truth["is_lens"].tolist() == [1, 1, 0, 1]


def test_rows_without_pixels_are_not_measured(tmp_path):
    store = write_store(tmp_path / "s.h5", np.arange(4), is_lens=[1, 0, 1, 0])
    flags = np.array([0, 0, FLAGS["no_data"] | 1, 2], np.int32)
    rows = write_rows(tmp_path / "r.parquet", np.arange(4), [0.9, 0.1, 0.01, 0.2], flags=flags)
    result = score("lens", [rows], store, tmp_path / "m.json", bootstrap=20)
    assert result["n"] == 3
    assert result["metrics"]["auroc"]["value"] == 1


def test_what_cannot_be_measured_is_null_not_nan(tmp_path):
    store = write_store(tmp_path / "s.h5", np.arange(2), is_lens=[1, 0])
    rows = write_rows(tmp_path / "r.parquet", np.arange(2), [0.9, 0.1])
    score("lens", [rows], store, tmp_path / "m.json", bootstrap=2)
    assert "NaN" not in (tmp_path / "m.json").read_text()


@pytest.mark.parametrize(
    ("columns", "options", "says"),
    [
        ({}, {}, "no labelled object for lens in the test split of 4"),
        ({"is_lens": [1, 1, 1, 1]}, {}, "test split: all 4 labelled objects are lenses"),
        ({"is_lens": [0, 0, 0, 0]}, {}, "are non-lenses; metrics need both"),
        ({"is_lens": [1, 0, 1, 0]}, {"split": "val"}, "no labelled object for lens in the val"),
        ({"is_lens": [1, 0, np.nan, 0]}, {}, "label is_lens: 1 of 4 are NaN"),
        ({"is_lens": [1, 0, 1, 0]}, {"split": "tests"}, "expected one of train, val, test, all"),
        ({"is_lens": [1, 0, 1, 0]}, {"bootstrap": 1}, "expected at least 2"),
    ],
)
def test_labels_that_cannot_be_used_are_refused_in_a_sentence(tmp_path, columns, options, says):
    store = write_store(tmp_path / "s.h5", np.arange(4), **columns)
    rows = write_rows(tmp_path / "r.parquet", np.arange(4), [0.9, 0.1, 0.8, 0.2])
    with pytest.raises(AstromlError, match=says):
        score("lens", [rows], store, tmp_path / "m.json", **options)
    assert not (tmp_path / "m.json").exists()


@pytest.mark.parametrize(
    ("ids", "says"),
    [
        ([0, 1, 2], "1 of 4 objects of the store have no row, such as 3"),
        ([0, 1, 2, 3, 9], "1 rows belong to no object of the store, such as 9"),
    ],
)
def test_rows_and_store_must_belong_together(tmp_path, ids, says):
    store = write_store(tmp_path / "s.h5", np.arange(4), is_lens=[1, 0, 1, 0])
    rows = write_rows(tmp_path / "r.parquet", ids, np.full(len(ids), 0.5))
    with pytest.raises(AstromlError, match=says):
        score("lens", [rows], store, tmp_path / "m.json")


def test_an_empty_part_does_not_decide_the_type_of_ids(tmp_path):
    one = write_rows(tmp_path / "0.parquet", np.arange(0), np.zeros(0))
    two = write_rows(tmp_path / "1.parquet", ["a", "b"], np.full(2, 0.5))
    assert read_rows([one, two])["object_id"].tolist() == ["a", "b"]


def test_missing_junk_and_unlike_rows_are_refused(tmp_path):
    with pytest.raises(AstromlError, match="run infer first"):
        read_rows([tmp_path / "none.parquet"])
    with pytest.raises(AstromlError, match="no rows given"):
        read_rows([])
    (tmp_path / "junk.parquet").write_text("junk")
    with pytest.raises(AstromlError, match="not a Parquet file"):
        read_rows([tmp_path / "junk.parquet"])
    one = write_rows(tmp_path / "0.parquet", [1], [0.5])
    two = write_rows(tmp_path / "1.parquet", [2], [0.5], extra=[1])
    with pytest.raises(AstromlError, match="columns extra differ"):
        read_rows([one, two])


def test_rows_split_over_files_with_an_empty_one_keep_their_types(tmp_path):
    one = write_rows(tmp_path / "0.parquet", np.arange(0), np.zeros(0))
    two = write_rows(tmp_path / "1.parquet", np.arange(3), np.full(3, 0.5))
    rows = read_rows([one, two])
    assert rows["object_id"].dtype == np.int64
    assert rows["lens_prob"].dtype == np.float32
