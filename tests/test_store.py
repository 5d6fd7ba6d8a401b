"""The store: round trips, whole files or none, refusals, and splits that leak nothing."""

import errno
import os

import h5py
import numpy as np
import pytest
import toy
from hypothesis import given, settings
from hypothesis import strategies as st

from astroml.config import Splits
from astroml.errors import AstromlError
from astroml.store import SPLITS, Header, assign_splits, open_store, write_shard

HEADER = Header("galaxy", ("g", "r"), 6, 0.262, "decals", provenance={"stage": "test"})


def block(rows, first=0, seed=0, ids=None, **columns):
    rng = np.random.default_rng(seed + first)
    ids = np.arange(first, first + rows) if ids is None else ids
    return {
        "image": rng.normal(size=(rows, 2, 6, 6)).astype("f4"),
        "mask": rng.integers(0, 2, (rows, 2, 6, 6), dtype="u1"),
        "sigma": rng.uniform(1, 2, (rows, 2)).astype("f4"),
        "psf_fwhm": rng.uniform(1, 2, (rows, 2)).astype("f4"),
        "objects": {
            "object_id": ids,
            "ra": rng.uniform(0, 360, rows),
            "dec": rng.uniform(-90, 90, rows),
            "ebv": np.zeros(rows),
            "flags": np.zeros(rows, "i4"),
            "split": np.full(rows, "train"),
        }
        | columns,
    }


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=3),
    data=st.data(),
)
def test_round_trip_in_any_order(tmp_path_factory, sizes, data):
    folder = tmp_path_factory.mktemp("store")
    images, ids, first = [], [], 0
    for shard, blocks in enumerate(sizes):
        made = []
        for rows in blocks:
            made.append(block(rows, first))
            first += rows
        assert write_shard(folder / f"{shard}.h5", HEADER, made) == sum(blocks)
        images += [one["image"] for one in made]
        ids += [one["objects"]["object_id"] for one in made]
    store = open_store(folder)
    assert len(store) == first
    assert store.header == HEADER
    if first:
        rows = data.draw(st.lists(st.integers(0, first - 1), max_size=12))
        read = store.read(rows, names=("image",))["image"]
        np.testing.assert_array_equal(read, np.concatenate(images)[rows])
        np.testing.assert_array_equal(store.objects["object_id"], np.concatenate(ids))


def test_text_ids_and_columns_survive(tmp_path):
    names = np.array(["J0214-0405", "é", ""])
    write_shard(tmp_path / "0.h5", HEADER, [block(3, ids=names, kind=np.array(["a", "bb", "ccc"]))])
    objects = open_store(tmp_path).objects
    assert list(objects["object_id"]) == list(names)
    assert list(objects["kind"]) == ["a", "bb", "ccc"]


def test_ids_beyond_2_53_survive(tmp_path):
    ids = np.array([2**53 + 1, 2**62 + 1], "i8")
    write_shard(tmp_path / "0.h5", HEADER, [block(2, ids=ids)])
    assert list(open_store(tmp_path).objects["object_id"]) == list(ids)


def test_float_ids_are_never_written(tmp_path):
    with pytest.raises(ValueError, match="object_id is float"):
        write_shard(tmp_path / "0.h5", HEADER, [block(2, ids=np.array([1.0, 2.0]))])
    assert not list(tmp_path.iterdir())


def test_same_blocks_same_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_shard(tmp_path / name, HEADER, [block(3), block(2, 3)])
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def blocks():
        yield block(3)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_shard(tmp_path / "0.h5", HEADER, blocks())
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_sentence(tmp_path):
    def blocks():
        yield block(3)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(AstromlError, match="the disk is full; free some space and rerun"):
        write_shard(tmp_path / "0.h5", HEADER, blocks())
    assert not list(tmp_path.iterdir())


def test_ivar_is_optional(tmp_path):
    write_shard(tmp_path / "0.h5", HEADER, [block(2) | {"ivar": np.ones((2, 2, 6, 6), "f4")}])
    store = open_store(tmp_path)
    assert store.has("ivar")
    assert store.read([1], names=("ivar",))["ivar"].sum() == 72


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(AstromlError, match="run ingest first"):
        open_store(tmp_path)
    with pytest.raises(AstromlError, match="no such shard"):
        open_store(tmp_path / "0.h5")
    (tmp_path / "0.h5").write_text("hello")
    with pytest.raises(AstromlError, match="not an HDF5 file"):
        open_store(tmp_path)


def test_another_format_version_is_refused(tmp_path):
    write_shard(tmp_path / "0.h5", HEADER, [block(1)])
    with h5py.File(tmp_path / "0.h5", "a") as shard:
        shard.attrs["format"] = 99
    with pytest.raises(AstromlError, match="found store format 99, expected 1; ingest it anew"):
        open_store(tmp_path)


def test_shards_that_do_not_belong_together_are_refused(tmp_path):
    write_shard(tmp_path / "0.h5", HEADER, [block(1)])
    other = Header("galaxy", ("g", "r"), 6, 0.5, "sdss")
    write_shard(tmp_path / "1.h5", other, [block(1)])
    with pytest.raises(AstromlError, match=r"pixel_scale 0\.262 against 0\.5"):
        open_store(tmp_path)


def sky(rows=3000, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(150, 158, rows), rng.uniform(0, 8, rows)


def test_splits_keep_their_fractions():
    split = assign_splits(*sky())
    shares = [np.mean(split == name) for name in SPLITS]
    np.testing.assert_allclose(shares, [0.7, 0.15, 0.15], atol=0.04)


def test_no_cell_and_no_group_sits_on_two_sides():
    ra, dec = sky()
    group = np.arange(3000) // 2
    ra[1::2], dec[1::2] = ra[::2] + 1e-3, dec[::2]
    split = assign_splits(ra, dec, group)
    assert (split[1::2] == split[::2]).all()
    from astropy import units as u
    from astropy_healpix import HEALPix

    cell = HEALPix(Splits().nside, order="nested").lonlat_to_healpix(ra * u.deg, dec * u.deg)
    for one in np.unique(cell):
        assert len(set(split[cell == one])) == 1
    assert len(set(split)) == 3


def test_a_group_across_two_cells_ties_them():
    ra = np.array([10.0, 10.001, 50.0, 50.001])
    for seed in range(20):
        alone = assign_splits(ra, np.zeros(4), splits=Splits(seed=seed))
        tied = assign_splits(ra, np.zeros(4), ["", "a", "a", ""], Splits(seed=seed))
        assert len(set(tied)) == 1
        assert alone[0] == alone[1]


def test_the_split_of_an_object_does_not_depend_on_the_others():
    ra, dec = sky()
    assert (assign_splits(ra, dec)[:100] == assign_splits(ra[:100], dec[:100])).all()


def test_no_objects_no_splits():
    assert len(assign_splits([], [])) == 0
    assert len(assign_splits([], [], [])) == 0


def test_planes_of_labels_are_optional_and_zero_where_a_block_has_none(tmp_path):
    block = toy.tidal(6, ("r",), 1)
    bare = toy.tidal(4, ("r",), 2)
    del bare["truth"]
    header = Header("halo", ("r",), toy.SIZE, toy.SCALE, "toy")
    for order in ((block, bare), (bare, block)):
        write_shard(tmp_path / "0.h5", header, order)
        store = open_store(tmp_path / "0.h5")
        expected = [one.get("truth", np.zeros((4, toy.SIZE, toy.SIZE), np.uint8)) for one in order]
        assert store.has("truth")
        found = store.read(np.arange(10), ("truth", "image"))
        assert np.array_equal(found["truth"], np.concatenate(expected))
        assert found["truth"].dtype == np.uint8
    write_shard(tmp_path / "1.h5", header, [bare])
    assert not open_store(tmp_path / "1.h5").has("truth")
