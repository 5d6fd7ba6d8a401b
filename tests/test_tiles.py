"""Objects in two tiles: the better view is kept, whatever the order of rows and parts."""

import itertools

import numpy as np
import pytest
from ingest_fits import gaussian, survey, tan_header, write_image, write_manifest

from astroml.config import Ingest
from astroml.ingest.reject import read_rejects
from astroml.ingest.run import ingest
from astroml.ingest.tan import sky_to_pixels
from astroml.store import FLAGS, open_store

TOY = survey("g", image={"file": "{tile}.fits"}, same_object=0.3)
SKY = sky_to_pixels(tan_header(x=100, y=100)).wcs


@pytest.fixture
def tiles(tmp_path):
    """Four tiles of 120 px that overlap by 40, as bricks do; a source where all four meet."""
    rng = np.random.default_rng(3)
    sky = rng.normal(0, 0.01, (200, 200)).astype("f4")
    for x, y in ((97, 103), (85, 30)):
        sky += gaussian(sky.shape, x, y, 4.0, 10)
    for name, (x, y) in zip("abcd", itertools.product((0, 80), (0, 80))):
        header = tan_header(x=100 - x, y=100 - y)
        write_image(tmp_path / f"{name}.fits", sky[y : y + 120, x : x + 120], header)
    return tmp_path


def at(x, y) -> dict:
    return dict(zip(("ra", "dec"), map(float, SKY.wcs_pix2world(x, y, 0))))


def run(folder, tiles, x, y, size=40, chunk="0/1", **off):
    """Ingest one object of several tiles; return the tile of the stored one, and the rejects."""
    rows = [{"object_id": n + 1, "tile": tile, "told": tile} | at(x, y)
            for n, tile in enumerate(tiles)]  # fmt: skip
    for n, row in enumerate(rows):
        row["dec"] += off.get("step", 0.0) * n / 3600
    manifest = write_manifest(folder / "m.csv", rows)
    out, rejects = folder / "0.h5", folder / "0.parquet"
    settings = Ingest(size={"galaxy": size}, max_masked=0.9)
    ingest(manifest, TOY, out, rejects, settings, chunk=chunk)
    store = open_store(out)
    return store, store.objects["told"].tolist() if len(store) else [], read_rejects(rejects)


@pytest.mark.parametrize("order", list(itertools.permutations("ac")))
@pytest.mark.parametrize(("x", "best"), [(85, "a"), (115, "c")])
def test_the_tile_with_more_around_the_object_is_kept(tiles, order, x, best):
    store, told, (lost,) = run(tiles, order, x, 30)
    assert told == [best]
    assert store.objects["flags"][0] & FLAGS["edge"] == 0
    kept = order.index(best)
    assert lost.object_id == str(2 - kept)
    assert lost.reason == (
        f"the same object as row {kept + 1} (object_id {kept + 1}), 0.00 arcsec away in another "
        "file; kept once"
    )


@pytest.mark.parametrize("order", list(itertools.permutations("abcd")))
def test_of_four_tiles_one_is_kept_and_all_others_name_it(tiles, order):
    _, told, lost = run(tiles, order, 97, 103, size=50)
    assert told == ["b"]
    assert len(lost) == 3
    kept = order.index("b") + 1
    assert all(f"row {kept} (object_id {kept})" in row.reason for row in lost)


def test_the_first_is_kept_where_both_show_all(tiles):
    for order in ("ac", "ca"):
        assert run(tiles, order, 85, 30, size=8)[1] == [order[0]]


def test_a_tile_that_is_not_there_loses(tiles):
    assert run(tiles, ["gone", "c"], 85, 30)[1] == ["c"]
    assert run(tiles, ["c", "gone"], 85, 30)[1] == ["c"]
    (row,) = run(tiles, ["gone"], 85, 30)[2]
    assert row.reason == "no such file or directory"


def test_tiles_that_fill_each_other_in_are_best(tiles):
    _, told, _ = run(tiles, ["c", "c;a"], 85, 30)
    assert told == ["c;a"]


def test_parts_of_the_manifest_agree(tiles):
    found = [run(tiles, "dcba", 97, 103, size=50, chunk=f"{n}/3") for n in range(3)]
    assert [tile for _, told, _ in found for tile in told] == ["b"]
    assert sum(len(lost) for *_, lost in found) == 3


def test_a_chain_loses_whom_a_kept_row_shows(tiles):
    """Rows 0.2" apart: the first and the third are not near, but both are near the second."""
    _, told, lost = run(tiles, "bad", 97, 103, size=50, step=0.2)
    assert len(told) + len(lost) == 3
    assert told == ["b", "d"]
    assert lost[0].object_id == "2"
