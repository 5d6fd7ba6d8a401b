"""Cutouts read as bytes: the same as HDF5 gives, whatever the order, the shards and the filters."""

import pickle

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astroml.store import Header, direct, open_store, write_shard
from astroml.store.direct import Shards, find_places

HEADER = Header("galaxy", ("g", "r"), 5, 0.262, "decals")
NAMES = ("image", "mask", "truth", "sigma")


def block(rows, seed):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.normal(size=(rows, 2, 5, 5)).astype("f4"),
        "mask": rng.integers(0, 255, (rows, 2, 5, 5), dtype="u1"),
        "truth": rng.integers(0, 2, (rows, 5, 5), dtype="u1"),
        "sigma": rng.uniform(1, 2, (rows, 2)).astype("f4"),
        "psf_fwhm": rng.uniform(1, 2, (rows, 2)).astype("f4"),
        "objects": {name: np.zeros(rows) for name in ("ra", "dec", "ebv")}
        | {"object_id": np.arange(rows), "flags": np.zeros(rows, "i4")}
        | {"split": np.full(rows, "train")},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three shards, written in blocks whose planes lie between each other."""
    folder = tmp_path_factory.mktemp("store")
    for shard, sizes in enumerate(([4, 7, 1], [9], [3, 3])):
        write_shard(folder / f"{shard}.h5", HEADER, [block(n, [shard, n]) for n in sizes])
    return folder


@pytest.fixture(scope="module")
def told(folder):
    """What HDF5 itself says is in the shards."""
    found = {name: [] for name in NAMES}
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as shard:
            for name in NAMES:
                found[name].append(shard[name][:])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def test_what_can_be_read_as_bytes(folder):
    """Pixels; not what is packed, nor what has many rows to a chunk."""
    assert set(find_places(folder / "0.h5")) == {"image", "mask"}


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_rows_are_what_hdf5_gives(folder, told, data):
    store = open_store(folder)
    some = st.lists(st.integers(0, len(store) - 1), max_size=20)
    runs = st.integers(0, len(store) - 1).map(lambda at: list(range(at, len(store))))
    rows = data.draw(some | runs)
    read = store.read(rows, NAMES)
    assert list(read) == list(NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(read[name], told[name][rows])
        assert read[name].dtype == told[name].dtype
        assert read[name].flags.writeable


def test_maps_are_let_go(folder, told, monkeypatch):
    """Neither the bytes touched nor the number of files that are open grows with what is read."""
    monkeypatch.setattr(direct, "MAPPED", 2000)
    monkeypatch.setattr(direct, "OPEN", 2)
    store, rng = open_store(folder), np.random.default_rng(1)
    for _ in range(20):
        rows = rng.permutation(len(store))[:6]
        read = store.read(rows, ("image",))["image"]
        np.testing.assert_array_equal(read, told["image"][rows])
        assert len(store._direct.maps) <= 2
        assert store._direct.touched <= 2000


def test_neighbours_are_read_without_a_map(folder):
    store = open_store(folder)
    store.read(np.arange(len(store)), ("image",))
    assert not store._direct.maps


def test_a_shard_that_was_written_anew_is_found_anew(tmp_path):
    path = tmp_path / "0.h5"
    write_shard(path, HEADER, [block(6, 1)])
    shards, rows = Shards(), np.array([5, 0, 3])
    shards.read(path, ("image",), rows)
    write_shard(path, HEADER, [block(2, 8), block(6, 2)])
    shards.maps.clear()
    new = np.concatenate([block(2, 8)["image"], block(6, 2)["image"]])
    np.testing.assert_array_equal(shards.read(path, ("image",), rows)["image"], new[rows])


def test_a_store_goes_to_another_process(folder, told):
    store = open_store(folder)
    rows = np.array([20, 3])
    store.read(rows)
    again = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(again.read(rows)["image"], told["image"][rows])


def test_a_file_that_was_cut_is_a_fault(tmp_path):
    path = tmp_path / "0.h5"
    write_shard(path, HEADER, [block(6, 1)])
    place = find_places(path)["image"]
    with open(path, "r+b") as file:
        file.truncate(int(place.starts[5]))
    with open(path, "rb", buffering=0) as file, pytest.raises(OSError, match="bytes early"):
        direct._read_runs(file.fileno(), place, np.arange(6))
