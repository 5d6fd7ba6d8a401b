import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from toy import toy_store

from astroml import infer, tasks
from astroml.config import Infer
from astroml.errors import AstromlError
from astroml.nets import weights
from astroml.nets.normalise import Normalisation
from astroml.provenance import digest, stamp
from astroml.rows import read_rows
from astroml.store import FLAGS, MASK, open_store
from astroml.tasks.lens import COLUMNS
from astroml.tasks.lens.parameters import PARAMETERS

CALIBRATION = {
    "slope": 1.5,
    "offset": -0.1,
    "artefact_slope": 1.0,
    "artefact_offset": -3.0,
    "sigma": {key: {"claimed": [1.0], "factor": [1.0]} for key in PARAMETERS},
    "roc": {"threshold": [-1.0, 0.0], "tpr": [0.9, 0.5], "fpr": [0.1, 0.01]},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Untrained weights, and a store of two shards."""
    folder = tmp_path_factory.mktemp("made")
    toy_store(folder / "store/0.h5", n=45)
    toy_store(folder / "store/1.h5", n=30, seed=2)
    header = open_store(folder / "store").header
    settings = tasks.load("lens").Options(width=8)
    torch.manual_seed(1)
    net = tasks.load("lens", "net").build(settings, header.bands, header.size)
    card = weights.describe(
        "lens",
        settings,
        header,
        normalisation=weights.normalisation_facts(Normalisation((2.0,) * 3)),
        calibration=CALIBRATION,
    )
    weights.save(folder / "lens.safetensors", net.state_dict(), card)
    return folder


def score(made, out, store=None, batch_size=256):
    stores = store or [made / "store"]
    settings = Infer(batch_size=batch_size)
    infer.infer("lens", stores, made / "lens.safetensors", out, settings, device="cpu")
    return pq.read_table(out)


def test_rows_are_typed_and_in_the_order_of_the_store(made, tmp_path):
    table = score(made, tmp_path / "rows.parquet")
    store = open_store(made / "store")
    own = [column.name for column in COLUMNS]
    assert table.schema.names == [*("object_id", "ra", "dec", *own, "flags", "weights", "input")]
    for name in ("object_id", "ra", "dec", "flags"):
        assert np.array_equal(table[name].to_numpy(), store.objects[name])
    assert [field.type for field in table.schema] == [
        *(pa.int64(), pa.float64(), pa.float64(), *[pa.float32()] * len(own)),
        *(pa.int32(), pa.string(), pa.string()),
    ]
    assert set(table["weights"].to_pylist()) == {digest(made / "lens.safetensors")}
    inputs = [digest(shard) for shard in store.shards]
    assert table["input"].to_pylist() == [inputs[0]] * 45 + [inputs[1]] * 30
    facts = json.loads(table.schema.metadata[b"astroml"])
    assert (facts["stage"], facts["task"]) == ("infer", "lens")


def test_rows_that_the_network_was_trained_on_say_so(made, tmp_path):
    store = open_store(made / "store")
    tuned_on = store.objects["split"] != "test"
    assert 0 < tuned_on.sum() < len(store)
    state, card = weights.load(made / "lens.safetensors")
    card["provenance"] = stamp("train", {}, store.shards[1:])
    weights.save(tmp_path / "lens.safetensors", state, card)
    out = tmp_path / "rows.parquet"
    infer.infer("lens", [made / "store"], tmp_path / "lens.safetensors", out, Infer(), device="cpu")
    flags = pq.read_table(out)["flags"].to_numpy()
    tuned_on[: store.starts[1]] = False
    assert np.array_equal(flags & FLAGS["trained"] > 0, tuned_on)
    assert np.array_equal(flags & ~FLAGS["trained"], store.objects["flags"])


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_batch_size_changes_no_byte(made, tmp_path, batch_size):
    score(made, tmp_path / "a.parquet", batch_size=batch_size)
    score(made, tmp_path / "b.parquet", batch_size=64)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_shards_alone_give_the_rows_of_the_whole(made, tmp_path):
    whole = score(made, tmp_path / "whole.parquet")
    parts = [score(made, tmp_path / f"{i}.parquet", [made / f"store/{i}.h5"]) for i in (0, 1)]
    assert whole.equals(pa.concat_tables([part.replace_schema_metadata() for part in parts]))


def test_order_changes_no_score(made, tmp_path):
    order = np.random.default_rng(3).permutation(45)

    def change(block):
        for name in ("image", "mask", "sigma", "psf_fwhm"):
            block[name] = block[name][order]
        block["objects"] = {name: values[order] for name, values in block["objects"].items()}

    store = toy_store(tmp_path / "0.h5", n=45, change=change)
    mixed = score(made, tmp_path / "mixed.parquet", [store])
    plain = score(made, tmp_path / "plain.parquet", [made / "store/0.h5"])
    one, two = (table["lens_score"].to_numpy() for table in (mixed, plain))
    np.testing.assert_allclose(one, two[order], rtol=0, atol=1e-6)


def test_cutouts_without_data_are_flagged_and_finite(made, tmp_path):
    def change(block):
        block["image"][3] = np.nan
        block["mask"][4] = MASK["nodata"]
        block["image"][5, :, 2, 2] = np.inf
        block["objects"]["flags"][3] = FLAGS["edge"]

    table = score(made, tmp_path / "rows.parquet", [toy_store(tmp_path / "0.h5", change=change)])
    assert np.isfinite(table["lens_prob"].to_numpy()).all()
    assert np.isfinite(table["lens_score"].to_numpy()).all()
    flags = table["flags"].to_numpy()
    assert flags[3] == FLAGS["edge"] | FLAGS["no_data"]
    assert flags[4] == FLAGS["no_data"]
    assert not np.delete(flags, [3, 4]).any()


def test_output_that_is_not_finite_is_flagged():
    output = {"a": np.array([1.0, np.nan, 3.0]), "b": np.array([[1, 2], [3, 4], [5, np.inf]])}
    assert infer.replace_odd(output).tolist() == [False, True, True]
    assert output["a"].tolist() == [1, 0, 3]
    assert output["b"].tolist() == [[1, 2], [3, 4], [5, 0]]


def test_empty_store_gives_an_empty_typed_file(made, tmp_path):
    full = score(made, tmp_path / "full.parquet")
    empty = score(made, tmp_path / "empty.parquet", [toy_store(tmp_path / "0.h5", n=0)])
    assert len(empty) == 0
    assert empty.schema.remove_metadata() == full.schema.remove_metadata()


def test_ids_of_text_stay_text(made, tmp_path):
    def change(block):
        block["objects"]["object_id"] = np.array([f"J{i:04}" for i in range(160)])

    table = score(made, tmp_path / "rows.parquet", [toy_store(tmp_path / "0.h5", change=change)])
    assert table.schema.field("object_id").type == pa.string()
    assert table["object_id"].to_pylist()[:2] == ["J0000", "J0001"]


def test_any_number_of_rows_finds_its_object():
    ids = np.array([30, 10, 20])
    assert infer.rows_of(np.array([10, 10, 30]), ids).tolist() == [1, 1, 0]
    assert infer.rows_of(ids[:0], ids).tolist() == []


def test_quality_of_the_store_travels_along(made, tmp_path):
    def change(block):
        n = len(block["objects"]["ra"])
        block["objects"]["sky_r"] = np.arange(n, dtype=np.float32)
        block["objects"]["masked_fraction"] = np.linspace(0, 1, n).astype(np.float32)
        block["objects"]["sky_q"] = block["objects"]["mag"] = np.zeros(n, np.float32)

    path = toy_store(tmp_path / "0.h5", n=45, change=change)
    table = score(made, tmp_path / "rows.parquet", [path])
    names = table.column_names
    assert names[names.index("flags") + 1 : names.index("weights")] == ["masked_fraction", "sky_r"]
    assert table["sky_r"].to_pylist() == list(range(45))
    plain = score(made, tmp_path / "plain.parquet", [toy_store(tmp_path / "1.h5", n=45)])
    assert table.select(plain.column_names[:-1]) == plain.select(plain.column_names[:-1])


def test_photometry_of_the_store_travels_along(made, tmp_path):
    names = ["r_half", "flux_g", "flux_r", "flux_err_g", "mw_transmission_r"]

    def change(block):
        for at, name in enumerate(names):
            block["objects"][name] = np.arange(45, dtype=np.float32) + 100 * at
        block["objects"]["flux_r"][3] = np.nan

    path = toy_store(tmp_path / "0.h5", n=45, change=change)
    table = score(made, tmp_path / "rows.parquet", [path])
    assert table.column_names[-2 - len(names) : -2] == names
    assert table["flux_err_g"].to_pylist() == list(range(300, 345))
    assert table.schema.field("flux_r").type == pa.float32()
    assert np.isnan(table["flux_r"].to_numpy()[3])
    assert table["flux_r"].null_count == 0


@pytest.mark.parametrize("n", [3, 0])
def test_lists_are_as_long_as_the_options_say(tmp_path, n):
    columns = (tasks.Column("pz", "float32", "", "", "A list", length="bins"),)
    settings = SimpleNamespace(bins=4)
    schema = infer.schema_of(columns, np.dtype(np.int64), [], settings)
    assert schema.field("pz").type == pa.list_(pa.float32(), 4)
    rows = {name: np.zeros(n) for name in ("object_id", "ra", "dec", "flags")}
    rows |= {"weights": "a", "input": "b", "pz": np.arange(n * 4.0).reshape(n, 4)}
    pq.write_table(infer.as_table(rows, schema), tmp_path / "rows.parquet")
    found = read_rows([tmp_path / "rows.parquet"] * 2)["pz"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.concatenate([rows["pz"]] * (2 if n else 1)))
    with pytest.raises((pa.ArrowInvalid, ValueError)):
        infer.as_table(rows | {"pz": np.zeros((n + 1, 4))}, schema)


def test_store_that_does_not_fit_leaves_nothing_behind(made, tmp_path):
    store = toy_store(tmp_path / "0.h5", bands=("g", "r"))
    with pytest.raises(AstromlError, match="trained on other pixels"):
        score(made, tmp_path / "rows.parquet", [store])
    assert [file.name for file in tmp_path.iterdir()] == ["0.h5"]


# Ensembles and options that training did not read


@pytest.fixture(scope="module")
def ensemble(made, tmp_path_factory):
    """Three networks of other seeds and calibrations."""
    folder = tmp_path_factory.mktemp("ensemble")
    _, card = weights.load(made / "lens.safetensors")
    files = []
    for seed in range(3):
        torch.manual_seed(seed)
        settings = tasks.load("lens").Options(width=8)
        net = tasks.load("lens", "net").build(settings, tuple(card["bands"]), card["size"])
        files.append(folder / f"lens.{seed}.safetensors")
        fit = CALIBRATION | {"slope": 1.0 + seed}
        weights.save(files[-1], net.state_dict(), card | {"calibration": fit})
    return files


def rows_by(files, store, out, **how):
    infer.infer("lens", [store], files, out, how.pop("settings", Infer()), device="cpu", **how)
    return pq.read_table(out)


def test_several_weights_are_merged_by_the_task(made, ensemble, tmp_path):
    store = made / "store"
    together = rows_by(ensemble, store, tmp_path / "all.parquet")
    alone = [rows_by(file, store, tmp_path / "one.parquet") for file in ensemble]
    score_of = np.stack([one["lens_score"].to_numpy() for one in alone])
    prob_of = np.stack([one["lens_prob"].to_numpy() for one in alone])
    np.testing.assert_allclose(together["lens_score"], score_of.mean(0), rtol=1e-5)
    np.testing.assert_allclose(together["lens_prob"], prob_of.mean(0), rtol=1e-5)
    np.testing.assert_allclose(together["lens_prob_spread"], prob_of.std(0), atol=1e-6)
    assert (together["lens_prob_spread"].to_numpy() > 0).all()
    assert not alone[0]["lens_prob_spread"].to_numpy().any()
    assert together.column_names == alone[0].column_names
    assert together["object_id"].equals(alone[0]["object_id"])
    hashes = {one["weights"][0].as_py() for one in (*alone, together)}
    assert len(hashes) == 4


def test_batch_size_changes_no_byte_of_an_ensemble(made, ensemble, tmp_path):
    for size in (3, 64):
        rows_by(
            ensemble, made / "store", tmp_path / f"{size}.parquet", settings=Infer(batch_size=size)
        )
    assert (tmp_path / "3.parquet").read_bytes() == (tmp_path / "64.parquet").read_bytes()


def test_a_row_is_flagged_if_any_member_was_trained_on_it(made, ensemble, tmp_path):
    store = open_store(made / "store")
    state, card = weights.load(ensemble[1])
    card["provenance"] = stamp("train", {}, store.shards)
    weights.save(tmp_path / "seen.safetensors", state, card)
    files = [ensemble[0], tmp_path / "seen.safetensors"]
    flags = rows_by(files, made / "store", tmp_path / "rows.parquet")["flags"].to_numpy()
    assert np.array_equal(flags & FLAGS["trained"] > 0, store.objects["split"] != "test")


def test_ensembles_that_make_no_sense_are_refused(made, ensemble, tmp_path, monkeypatch):
    out = tmp_path / "rows.parquet"
    with pytest.raises(AstromlError, match="same weights are given twice"):
        rows_by([ensemble[0], ensemble[0]], made / "store", out)
    with pytest.raises(AstromlError, match="no weights given"):
        rows_by([], made / "store", out)
    monkeypatch.delattr(tasks.load("lens"), "combine")
    with pytest.raises(AstromlError, match="cannot merge the rows of several networks; name one"):
        rows_by(ensemble, made / "store", out)
    assert not out.exists()


def test_prevalence_needs_no_new_training(made, ensemble, tmp_path):
    store, plain = made / "store", tmp_path / "a.parquet"
    rare = rows_by(ensemble[0], store, plain)
    common = rows_by(ensemble[0], store, tmp_path / "b.parquet", late={"prevalence": 0.1})
    assert (common["purity"].to_numpy() > rare["purity"].to_numpy()).all()
    assert common["lens_prob"].equals(rare["lens_prob"])
    with pytest.raises(AstromlError, match="options: unknown key 'prevalance'"):
        rows_by(ensemble[0], store, plain, late={"prevalance": 0.1})
