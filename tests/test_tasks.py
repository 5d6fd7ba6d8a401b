"""The contract that every task keeps. A task joins by being a folder, and a toy sky in toy.py."""

import inspect

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from toy import FLOORS, SKIES, toy_store

from astroml import infer, tasks, train
from astroml.config import Infer, TaskOptions
from astroml.nets import device
from astroml.nets.batches import make_ready, read_batches
from astroml.nets.forward import Forward, gather
from astroml.nets.normalise import Normalisation
from astroml.store import FLAGS, open_store

BANDS = {1: ("r",), 3: ("g", "r", "z"), 5: ("u", "g", "r", "i", "z")}

every_task = pytest.mark.parametrize("name", tasks.names())


def built(name, bands=3, seed=1, size=32):
    torch.manual_seed(seed)
    return tasks.load(name, "net").build(tasks.load(name).Options(), BANDS[bands], size)


def ready(name, path, n=24, bands=3):
    """Return the toy store and one batch of it as the network sees it."""
    store = open_store(toy_store(path / "toy.h5", name, n, BANDS[bands]))
    targets, _ = tasks.load(name).targets(store.objects)
    (raw,) = read_batches(store, np.arange(n), n, targets)
    raw = {key: torch.from_numpy(values) for key, values in raw.items()}
    return store, make_ready(raw, Normalisation((2.0,) * bands))


def forward(net, bands=3, batch_size=256):
    return Forward(device.start("cpu"), net, Normalisation((2.0,) * bands), batch_size)


def network_output(name, store, n, net):
    """Return what a task's ``rows`` is given, but for the calibration."""
    output = gather(forward(net).over(store, np.arange(n)))
    header = store.header
    facts = {"pixel_scale": header.pixel_scale, "size": header.size}
    return output | facts | {"options": tasks.load(name).Options()}


def calibration(name, output, store):
    task = tasks.load(name)
    return task.calibrate(output, task.targets(store.objects)[0])


def assert_rows_match_columns(name, rows, store):
    columns = tasks.load(name).COLUMNS
    # A task may add bits to the flags that the store has.
    assert set(rows) - {"object_id", "ra", "dec", "flags"} == {column.name for column in columns}
    for column in columns:
        assert len(rows[column.name]) == len(rows["object_id"])
        if column.dtype != "str":
            assert rows[column.name].dtype == column.dtype
        if column.length:
            length = getattr(tasks.load(name).Options(), column.length)
            assert rows[column.name].shape == (len(rows["object_id"]), length)
    if "flags" in rows:
        assert rows["flags"].dtype == store.objects["flags"].dtype


@every_task
def test_has_the_parts_of_a_task(name):
    task, net = tasks.load(name), tasks.load(name, "net")
    assert name in SKIES, "give the task a toy sky in tests/toy.py"
    assert task.__doc__
    assert isinstance(task.SET, str)
    assert issubclass(task.Options, TaskOptions)
    assert len(task.Options.model_fields) <= 14
    for function in (task.targets, task.calibrate, task.rows, task.score):
        assert inspect.getdoc(function)
    for function in (net.build, net.objectives):
        assert inspect.getdoc(function)


@every_task
def test_columns_are_described(name):
    columns = tasks.load(name).COLUMNS
    assert len({column.name for column in columns}) == len(columns)
    shared = {"object_id", "ra", "dec", "flags", "weights", "input"}
    for column in columns:
        assert column.name == column.name.lower()
        assert column.name not in shared
        assert column.dtype == "str" or np.dtype(column.dtype)
        assert column.ucd
        assert column.description


@every_task
@pytest.mark.parametrize("bands", [1, 3, 5])
def test_builds_and_learns_from_any_number_of_bands(name, bands, tmp_path):
    _, batch = ready(name, tmp_path, bands=bands)
    net = built(name, bands)
    output = net(batch)
    assert output
    assert all(len(values) == 24 for values in output.values())
    known = set(train.parts_of(net))
    for part, loss in tasks.load(name, "net").objectives(net, batch):
        assert part in known
        assert loss.ndim == 0
        loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


@every_task
def test_same_seed_same_loss(name, tmp_path):
    _, batch = ready(name, tmp_path)
    losses = []
    for seed in (1, 1, 2):
        net = built(name, seed=seed)
        losses.append([loss.item() for _, loss in tasks.load(name, "net").objectives(net, batch)])
    assert losses[0] == losses[1] != losses[2]


@every_task
def test_rows_match_the_columns(name, tmp_path):
    store, _ = ready(name, tmp_path)
    output = network_output(name, store, 24, built(name))
    output["calibration"] = calibration(name, output, store)
    rows = tasks.load(name).rows(output, store.objects)
    assert_rows_match_columns(name, rows, store)
    assert np.isin(rows["object_id"], store.objects["object_id"]).all()


@every_task
def test_batch_size_and_order_change_no_output(name, tmp_path):
    store, _ = ready(name, tmp_path, n=40)
    net, order = built(name), np.random.default_rng(1).permutation(40)
    one = gather(forward(net, batch_size=1).over(store, np.arange(40)))
    many = gather(forward(net, batch_size=256).over(store, np.arange(40)))
    mixed = gather(forward(net).over(store, order))
    for key, values in one.items():
        assert np.array_equal(values, many[key])
        np.testing.assert_allclose(mixed[key], values[order], rtol=1e-5, atol=1e-6)


@every_task
def test_nothing_in_gives_nothing_out(name, tmp_path):
    full, _ = ready(name, tmp_path)
    empty = open_store(toy_store(tmp_path / "empty.h5", name, 0))
    net = built(name)
    fit = calibration(name, network_output(name, full, 24, net), full)
    output = network_output(name, empty, 0, net) | {"calibration": fit}
    rows = tasks.load(name).rows(output, empty.objects)
    assert len(rows["object_id"]) == 0
    assert_rows_match_columns(name, rows, empty)


@every_task
def test_learns_its_toy_sky_and_ships_what_it_learnt(name, tmp_path):
    def spoil(block):
        block["image"][7] = np.nan

    store = toy_store(tmp_path / "toy.h5", name, 320)
    floor = FLOORS[name]
    settings = tasks.load(name).Options(**floor["options"])
    path = tmp_path / f"{name}.safetensors"
    train.train(name, settings, [store], path, device="cpu")

    infer.infer(name, [store], path, tmp_path / "a.parquet", Infer(), device="cpu")
    infer.infer(name, [store], path, tmp_path / "b.parquet", Infer(batch_size=3), device="cpu")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()

    objects = open_store(store).objects
    test = objects["split"] == "test"
    rows = pq.read_table(tmp_path / "a.parquet").to_pydict()
    # A tile has any number of rows.
    mine = np.isin(rows["object_id"], objects["object_id"][test])
    rows = {key: np.array(values)[mine] for key, values in rows.items()}
    truth = {key: values[test] for key, values in objects.items()}
    value, error = tasks.load(name).score(truth, rows, bootstrap=20)[floor["metric"]]
    assert value <= floor["most"] if "most" in floor else value >= floor["least"]
    assert np.isfinite(error)

    broken = toy_store(tmp_path / "broken.h5", name, 24, change=spoil)
    infer.infer(name, [broken], path, tmp_path / "c.parquet", Infer(), device="cpu")
    rows = pq.read_table(tmp_path / "c.parquet").to_pydict()
    spoilt = np.array(rows["object_id"]) == open_store(broken).objects["object_id"][7]
    assert spoilt.any()
    assert (np.array(rows["flags"])[spoilt] & FLAGS["no_data"]).all()
    for column in tasks.load(name).COLUMNS:
        # A quantity of what is not there may be NaN, if the column says so.
        if column.dtype.startswith("float") and "NaN" not in column.description:
            assert np.isfinite(rows[column.name]).all()
