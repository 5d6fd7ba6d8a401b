"""What a report shows only where a run made it: maps of the evidence, the selection function."""

import base64
import io
import re
import shutil

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from matplotlib.image import imread
from pages import build
from test_report import SIZE, real_run, write_rows, write_store

from astroml import selection
from astroml.report import mosaic
from astroml.report.gather import Run
from astroml.store import open_store

TOP = 24


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A run without either."""
    return real_run(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def run(bare, tmp_path):
    options, results, catalogs = bare
    shutil.copytree(results, tmp_path / "real")
    return options, tmp_path / "real", catalogs


def best(results, count):
    rows = pq.read_table(results / "rows/lens/store/0.parquet").sort_by(
        [("lens_prob", "descending")]
    )
    return rows["object_id"].to_numpy()[:count]


def write_maps(results, ids, maps):
    file = results / "explain/lens.h5"
    file.parent.mkdir()
    with h5py.File(file, "w") as data:
        data["object_id"] = np.char.encode(ids, "utf-8") if ids.dtype.kind == "U" else ids
        data["map"] = maps
        data.attrs["output"] = "lens_logit"


def pixels(uri):
    return imread(io.BytesIO(base64.b64decode(uri.split(",")[1])))[..., :3]


def test_without_them_the_page_says_nothing_of_them(bare, tmp_path):
    found = build(bare, tmp_path / "report.html")
    assert "integrated gradients" not in found.text
    assert "injected signals are found" not in found.text
    assert not [attrs for attrs in found.all("img") if attrs.get("class") == "evidence"]


def test_evidence_stands_below_its_own_cutout(run, tmp_path):
    ids = best(run[1], TOP)
    maps = np.zeros((TOP - 1, SIZE, SIZE), np.float32)
    maps[:, 3, 5] = -0.5  # row, column: against
    maps[4, 20, 10] = 0.5  # for, in the fifth alone
    shuffled = np.random.default_rng(1).permutation(TOP - 1)
    write_maps(run[1], ids[:-1][shuffled], maps[shuffled])  # the last has no map
    found = build(run, tmp_path / "report.html")
    drawn = [attrs for attrs in found.all("img") if attrs.get("class") == "evidence"]
    words = [re.search(r"object (\d+)", attrs["alt"])[1] for attrs in drawn]
    assert words == [str(one) for one in ids[:-1]]
    order = [attrs["alt"] for attrs in found.all("img") if f"object {ids[4]}" in attrs["alt"]]
    assert order[0].startswith("Colour cutout")
    assert order[1].startswith("Evidence for and against")
    fourth, fifth = pixels(drawn[3]["src"]), pixels(drawn[4]["src"])
    assert fifth.shape == (SIZE, SIZE, 3)
    # The first row is at the bottom, as in the cutouts.
    red, blue = fifth[SIZE - 1 - 20, 10], fifth[SIZE - 1 - 3, 5]
    assert red[0] > red[2] + 0.2
    assert blue[2] > blue[0] + 0.2
    np.testing.assert_array_equal(fourth[SIZE - 1 - 20, 10], fourth[0, 0])
    assert (fourth[0, 0] > 0.95).all()
    assert "integrated gradients of lens_logit" in found.text
    assert "Red pixels raised the score, blue ones lowered it" in found.text


def test_one_scale_for_all_maps():
    maps = [np.full((20, 20), value) for value in (1.0, 0.5, -1.0, 0.0)]
    uris, limit = mosaic.evidence(maps)
    assert limit == 1
    strong, half, against, none = (pixels(one["light"])[0, 0] for one in uris)
    assert strong.sum() < half.sum() - 0.5 < none.sum() - 1
    assert half[0] > half[2] + 0.2
    assert against[2] > against[0]
    assert none.min() > 0.95
    alone = mosaic.evidence([maps[3]])[0][0]["light"]
    np.testing.assert_allclose(pixels(alone).min(), none.min())
    assert {scheme: text.count("#") for scheme, text in mosaic.scale().items()} == {
        "light": 9,
        "dark": 9,
    }


def test_on_dark_screens_nothing_is_dark_and_evidence_bright():
    maps = [np.full((20, 20), value) for value in (1.0, 0.5, -1.0, 0.0)]
    strong, half, against, none = (pixels(one["dark"])[0, 0] for one in mosaic.evidence(maps)[0])
    assert none.max() < 0.15
    assert strong.sum() > half.sum() + 0.5 > none.sum() + 1
    assert strong[0] > strong[2] + 0.2
    assert against[2] > against[0] + 0.2


def test_maps_of_objects_with_text_ids(run):
    write_maps(run[1], np.array(["a", "ß"]), np.zeros((2, SIZE, SIZE)))
    maps = Run(*run).evidence()[0].explained()["maps"]
    assert list(maps) == ["a", "ß"]


def test_the_selection_function_is_shown_with_its_table(run, tmp_path):
    results = run[1]
    shard = tmp_path / "grid.h5"
    lens = write_store(shard, 300, 1)
    rng = np.random.default_rng(1)
    with h5py.File(shard, "r+") as data:
        for name, low, high in (("arc_snr", 5, 200), ("lens_mag", 16, 23)):
            data["objects"][name] = rng.uniform(low, high, 300)
    rows = tmp_path / "rows.parquet"
    write_rows(rows, shard, lens)
    out = results / "selection/lens.parquet"
    out.parent.mkdir()
    figure = out.with_suffix(".png")
    selection.selection("lens", [rows], [shard], out, figure=figure, threshold=0.7)
    found = build(run, tmp_path / "report.html")
    assert "Which injected signals are found" in found.text
    (drawn,) = (attrs for attrs in found.all("img") if "grid of their strength" in attrs["alt"])
    assert base64.b64decode(drawn["src"].split(",")[1]) == figure.read_bytes()
    prob, label = pq.read_table(rows)["lens_prob"].to_numpy(), open_store(shard).objects["is_lens"]
    hits = int(((prob > 0.7) & (label == 1)).sum())
    assert f"{lens.sum()} signals were injected" in found.text
    assert f"{hits} of them were found, that is lens_prob above 0.7" in found.text
    table = pq.read_table(out).to_pydict()
    filled = np.flatnonzero(table["n"])
    assert f"Completeness in {len(filled)} cells of the grid" in found.text
    one = filled[3]
    cells = [
        f"{table[f'{axis}_{end}'][one]:g}" for axis in selection.AXES for end in ("low", "high")
    ]
    ranges = " ".join(f"{low} to {high}" for low, high in zip(cells[::2], cells[1::2]))
    assert f"{ranges} {table['n'][one]} {table['found'][one]}" in found.text
    assert str(figure) in found.text
    figure.unlink()
    found = build(run, tmp_path / "report.html")
    assert "Which injected signals are found" in found.text
