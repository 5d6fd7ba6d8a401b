"""Maps beside the rows, in the catalog and in the report."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from toy import toy_store

from astroml import infer, maps, score, tasks
from astroml.catalog.write import write_catalog
from astroml.config import Infer
from astroml.errors import AstromlError
from astroml.nets import weights
from astroml.nets.normalise import Normalisation
from astroml.report import gallery, mosaic
from astroml.rows import read_rows
from astroml.store import Header, open_store, write_shard
from astroml.tasks.tidal import metrics


def untrained(path, store, seed):
    """Write weights that mark some pixels of anything."""
    settings = tasks.load("tidal").Options(width=4)
    torch.manual_seed(seed)
    net = tasks.load("tidal", "net").build(settings, store.header.bands, store.header.size)
    net.taught.fill_(1.0)
    with torch.no_grad():
        net.pixels.bias.zero_()
    card = weights.describe(
        "tidal",
        settings,
        store.header,
        normalisation=weights.normalisation_facts(Normalisation((2.0,) * 3)),
        calibration={name: [1.0, 0.0] for name in ("tidal", *tasks.load("tidal").CLASSES)},
    )
    weights.save(path, net.state_dict(), card)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of two shards, two networks, and rows of each and of both."""
    folder = tmp_path_factory.mktemp("maps")
    toy_store(folder / "store/0.h5", "tidal", n=45)
    toy_store(folder / "store/1.h5", "tidal", n=30, seed=2)
    store = open_store(folder / "store")
    nets = [untrained(folder / f"{seed}.safetensors", store, seed) for seed in (1, 2)]
    for name, some in {"one": nets[:1], "two": nets[1:], "both": nets}.items():
        infer.infer(
            "tidal", [folder / "store"], some, folder / f"{name}.parquet", Infer(), device="cpu"
        )
    return folder


def read(path):
    with h5py.File(path) as file:
        return {name: file[name][:] for name in file}, dict(file.attrs)


def test_maps_lie_beside_the_rows_in_their_order(made):
    found, attrs = read(maps.beside(made / "one.parquet"))
    rows = read_rows([made / "one.parquet"])
    assert np.array_equal(found["object_id"], rows["object_id"])
    assert found["mask"].shape == (75, 5, 32, 32)
    assert found["mask"].dtype == np.uint8
    assert found["mask"].std() > 0
    assert attrs["channels"] == '{"mask": ["any", "stream", "shell", "tail", "diffuse"]}'
    assert (attrs["pool"], attrs["size"], attrs["task"]) == (1, 32, "tidal")
    # The area in the catalog is that of the map, where every pixel can be used.
    area = maps.on_cutout(found["mask"][:, 0], 32).sum((1, 2)) * 0.262**2
    np.testing.assert_allclose(rows["feature_area"], area, rtol=0.01, atol=0.1)


def test_an_ensemble_draws_the_mean(made):
    one, two, both = (
        read(maps.beside(made / f"{name}.parquet"))[0]["mask"].astype(float)
        for name in ("one", "two", "both")
    )
    assert np.abs(both - (one + two) / 2).max() <= 0.5
    assert np.abs(one - two).max() > 5


def test_batch_size_changes_no_map(made, tmp_path):
    out = tmp_path / "small.parquet"
    settings = Infer(batch_size=3)
    infer.infer("tidal", [made / "store"], made / "1.safetensors", out, settings, device="cpu")
    assert out.read_bytes() == (made / "one.parquet").read_bytes()
    small, whole = (read(maps.beside(path))[0] for path in (out, made / "one.parquet"))
    assert np.array_equal(small["mask"], whole["mask"])


def test_an_empty_store_has_an_empty_file(made, tmp_path):
    empty = toy_store(tmp_path / "0.h5", "tidal", n=0)
    out = tmp_path / "rows.parquet"
    infer.infer("tidal", [empty], made / "1.safetensors", out, Infer(), device="cpu")
    assert read(maps.beside(out))[0]["mask"].shape == (0, 5, 32, 32)
    files = [maps.beside(out), maps.beside(made / "one.parquet")]
    whole = tmp_path / "all_masks.h5"
    assert maps.gather_maps([out, made / "one.parquet"], whole) == 75
    assert np.array_equal(read(whole)[0]["object_id"], read(files[1])[0]["object_id"])


def test_the_catalogs_file_holds_all_maps(made, tmp_path):
    outs = [tmp_path / "tidal_masks.h5", tmp_path / "tidal.parquet"]
    parts = []
    for shard in (0, 1):
        parts.append(tmp_path / f"{shard}.parquet")
        infer.infer(
            "tidal", [made / f"store/{shard}.h5"], made / "1.safetensors", parts[-1], Infer(),
            device="cpu",
        )  # fmt: skip
    assert write_catalog("tidal", parts, outs) == 75
    whole, one = read(outs[0]), read(maps.beside(made / "one.parquet"))
    assert np.array_equal(whole[0]["mask"], one[0]["mask"])
    assert np.array_equal(whole[0]["object_id"], one[0]["object_id"])
    assert whole[1]["channels"] == one[1]["channels"]
    assert write_catalog("tidal", parts, outs[:1]) == 75
    maps.beside(parts[1]).unlink()
    with pytest.raises(AstromlError, match=r"1\.maps\.h5: no such maps; run infer again"):
        write_catalog("tidal", parts, outs[:1])


def written(path, ids, masks, size=8):
    """Write maps of given probabilities (n, y, x)."""
    header = Header("halo", ("r",), size, 0.5, "toy")
    with maps.map_writer(path, {"mask": ("any",)}, len(ids), header, {}) as append:
        append(np.array(ids), {"mask": np.asarray(masks, np.uint8)[:, None]})


def truth_store(path, planes):
    n, size = len(planes), planes.shape[-1]
    block = {
        "image": np.zeros((n, 1, size, size), np.float32),
        "mask": np.zeros((n, 1, size, size), np.uint8),
        "sigma": np.ones((n, 1), np.float32),
        "psf_fwhm": np.ones((n, 1), np.float32),
        "truth": planes.astype(np.uint8),
        "objects": {"object_id": np.arange(n) + 10, "flags": np.zeros(n, np.int32)}
        | {name: np.zeros(n) for name in ("ra", "dec", "ebv")}
        | {"split": np.full(n, "test")},
    }
    write_shard(path, Header("halo", ("r",), size, 0.5, "toy"), [block])
    return open_store(path)


def test_dice_by_hand(tmp_path):
    planes, found = np.zeros((4, 8, 8)), np.zeros((4, 8, 8))
    planes[0, :4], found[0, 2:6] = 4, 200  # half of each
    planes[1, :2], found[1, :2] = 1, 128  # all
    planes[2, 0, 0], found[2] = 8, 127  # nothing marked
    found[3] = 255  # no feature
    store = truth_store(tmp_path / "0.h5", planes)
    written(tmp_path / "a.maps.h5", [13, 12], found[[3, 2]])
    written(tmp_path / "b.maps.h5", [11, 10], found[[1, 0]])
    files = [tmp_path / "a.maps.h5", tmp_path / "b.maps.h5"]
    ids = np.array([10, 11, 12, 13])
    result = maps.overlap(files, store, ids)
    np.testing.assert_allclose(result["dice"], [0.5, 1, 0, np.nan])
    np.testing.assert_allclose(result["iou"], [1 / 3, 1, 0, np.nan])
    np.testing.assert_allclose(maps.overlap(files, store, ids[[2, 1]])["dice"], [0, 1])
    assert maps.overlap([tmp_path / "none.maps.h5"], store, ids) == {}


def test_coarse_maps_lie_on_the_cutouts_pixels():
    coarse = np.zeros((1, 3, 3), np.uint8)
    coarse[0, 0, 1], coarse[0, 2, 2] = 128, 255
    fine = maps.on_cutout(coarse, 5)[0]
    expected = np.zeros((5, 5), bool)
    expected[:2, 2:4], expected[4, 4] = True, True
    assert np.array_equal(fine, expected)


def test_masks_of_objects_in_any_order(tmp_path):
    found = np.zeros((2, 8, 8))
    found[1, 3] = 255
    written(tmp_path / "a.maps.h5", [7, 5], found)
    masks = maps.masks_of([tmp_path / "a.maps.h5"], np.array([5, 6, 7]), 8)
    assert [mask.sum() for mask in masks] == [8, 0, 0]
    assert maps.masks_of([tmp_path / "none.maps.h5"], np.array([5]), 8) is None


def test_score_measures_the_masks(made, tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "SHARP", 27.0)
    out, rows = tmp_path / "metrics.json", [made / "one.parquet"]
    found = score.score("tidal", rows, [made / "store"], out, bootstrap=5, split="all")
    assert 0 < found["metrics"]["iou"]["value"] < found["metrics"]["dice"]["value"] < 1


def test_a_line_is_drawn_around_a_mask(made):
    store = open_store(made / "store")
    ids = store.objects["object_id"][:2]
    masks = np.zeros((2, 32, 32), bool)
    masks[0, 10:20, 10:20] = True
    plain, lined = mosaic.cutouts(store, ids), mosaic.cutouts(store, ids, masks)
    assert plain[0] != lined[0]
    assert plain[1] == lined[1]
    (line,) = mosaic.rim(masks[:1])
    assert line.sum() == 44
    assert not line[10:20, 10:20].any()


def test_the_report_draws_masks_on_candidates(made, tmp_path):
    store = open_store(made / "store")
    run = SimpleNamespace(
        config=SimpleNamespace(report=SimpleNamespace(top=6)), store=lambda place, cutouts: store
    )
    evidence = SimpleNamespace(
        many=False,
        rows=lambda: read_rows([made / "one.parquet"]),
        run=run,
        column="tidal_prob",
        ranks=True,
        task=tasks.load("tidal"),
        row_files=lambda place: [made / "one.parquet"],
        explained=lambda: None,
    )
    drawn = gallery.shown(evidence)
    assert "Lines surround the pixels that the network marks" in drawn["text"]
    evidence.row_files = lambda place: [tmp_path / "none.parquet"]
    plain = gallery.shown(evidence)
    assert plain["text"] == ""
    assert [one["id"] for one in plain["tiles"]] == [one["id"] for one in drawn["tiles"]]
    assert any(one["uri"] != two["uri"] for one, two in zip(plain["tiles"], drawn["tiles"]))
