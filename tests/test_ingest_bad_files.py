"""More bad input through the whole stage: odd paths, ids, files cut anywhere, disks that fill."""

import bz2
import gzip
import os
import socket
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from ingest_fits import NJY, sky, survey, tan_header, write_cube, write_image, write_manifest
from test_ingest_bad import objects, run, small_disk  # noqa: F401, a fixture

from astroml.config import Ingest
from astroml.errors import AstromlError
from astroml.ingest.run import ingest
from astroml.ingest.tally import tally
from astroml.store import open_store

ONE = survey("r", image={"file": "{file}", "hdu": 0})
TILED = survey("r", image={"file": "{file}", "hdu": 1})


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX files")
def test_paths_that_lead_nowhere(tmp_path):
    write_image(tmp_path / "good.fits", sky()[0], tan_header())
    (tmp_path / "loop.fits").symlink_to(tmp_path / "loop.fits")
    (tmp_path / "dangling.fits").symlink_to(tmp_path / "none.fits")
    (tmp_path / "good link.fits").symlink_to(tmp_path / "good.fits")
    (tmp_path / "file").write_text("x")
    listening = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(tmp_path)  # names of sockets are short
    listening.bind("socket.fits")
    os.chdir(here)
    says = {
        "loop.fits": "symbolic links",
        "dangling.fits": "no such file",
        "socket.fits": "no ordinary file",
        "/dev/zero": "no ordinary file",
        "file/a.fits": "not a directory",
        "x" * 300: "too long",
        "a\tb.fits": "no such file",
        ".": "is a directory",
        "..": "is a directory",
    }
    store, lost = run(tmp_path, objects(*says, "good.fits", "good link.fits"), ONE)
    listening.close()
    assert store.objects["object_id"].tolist() == [len(says), len(says) + 1]
    for row, (name, why) in zip(lost, says.items()):
        assert why in row["reason"], (name, row)


def test_everything_in_folders_that_are_not_ascii(tmp_path):
    folder = tmp_path / "Öffentlich ★ 'α' \"β\""
    write_cube(folder / "Bild ž.fits", sky())
    rows = [{"object_id": f"név-{n}", "ra": 150, "dec": 2, "file": name}
            for n, name in enumerate(("Bild ž.fits", "kein ß.fits"))]  # fmt: skip
    manifest = write_manifest(folder / "Liste é.csv", rows)
    out, rejects = folder / "Läger/0.h5", folder / "Läger/0.parquet"
    ingest(manifest, survey(), out, rejects, Ingest())
    assert open_store(out).objects["object_id"].tolist() == ["név-0"]
    (row,) = pq.read_table(rejects).to_pylist()
    assert row["object_id"] == "név-1"
    assert row["file"].endswith("kein ß.fits")
    tally([out], [rejects], manifest, folder / "Läger/alle.parquet")


@pytest.mark.skipif(sys.platform == "darwin", reason="there file names are text")
def test_file_names_that_are_not_even_text(tmp_path):
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.fits"
    write_image(tmp_path / "a.fits", sky()[0], tan_header())
    os.rename(tmp_path / "a.fits", raw)
    store, (row,) = run(tmp_path, objects("a.fits"), ONE)
    assert len(store) == 0
    assert row["reason"] == "no such file or directory"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_long_ids_come_back_digit_by_digit(tmp_path, kind):
    write_image(tmp_path / "a.fits", sky()[0], tan_header())
    ids = [2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**53 + 1]
    rows = [row | {"object_id": one} for row, one in zip(objects(*["a.fits"] * 5), ids)]
    if kind == "csv":
        manifest = write_manifest(tmp_path / "m.csv", rows)
    else:
        manifest = tmp_path / "m.parquet"
        pq.write_table(pa.Table.from_pylist(rows), manifest)
    out, rejects = tmp_path / "0.h5", tmp_path / "0.parquet"
    ingest(manifest, ONE, out, rejects, Ingest())
    found = open_store(out).objects["object_id"]
    assert found.dtype == np.int64
    assert found.tolist() == ids[:4]
    (row,) = pq.read_table(rejects).to_pylist()
    assert row["object_id"] == str(2**53 + 1)
    assert row["reason"] == f"object_id {2**53 + 1} is already in row 2"
    tally([out], [rejects], manifest, tmp_path / "all.parquet")


def test_ids_beyond_64_bits_become_text(tmp_path):
    write_image(tmp_path / "a.fits", sky()[0], tan_header())
    ids = [2**64 - 1, 2**63, 5]
    rows = pa.Table.from_pydict(
        {"object_id": pa.array(ids, pa.uint64()), "ra": [150.0] * 3, "dec": [2.0] * 3,
         "file": ["a.fits"] * 3}
    )  # fmt: skip
    pq.write_table(rows, tmp_path / "m.parquet")
    words = tmp_path / "m.parquet", ONE, tmp_path / "0.h5", tmp_path / "0.parquet", Ingest()
    ingest(*words)
    assert open_store(tmp_path / "0.h5").objects["object_id"].tolist() == [str(one) for one in ids]


def test_a_manifest_that_cannot_be_read(tmp_path):
    words = ONE, tmp_path / "0.h5", tmp_path / "0.parquet", Ingest()
    (tmp_path / "dir.csv").mkdir()
    (tmp_path / "empty.csv").touch()
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 9)
    for name in ("dir.csv", "empty.csv", "binary.csv", "none.csv"):
        with pytest.raises(AstromlError) as told:
            ingest(tmp_path / name, *words)
        assert name in str(told.value)
        assert "\n" not in str(told.value)
    assert not list(tmp_path.glob("0.*"))


@pytest.mark.parametrize("coding", ["RICE_1", "GZIP_2", "HCOMPRESS_1"])
def test_tiles_cut_at_any_byte(tmp_path, coding):
    """What is stored of a file that ends early is what the whole file holds, or nothing."""
    pixels = np.random.default_rng(0).integers(0, 999, (64, 64)).astype("i4")
    made = fits.CompImageHDU(pixels, tan_header(), compression_type=coding, tile_shape=(16, 64))
    fits.HDUList([fits.PrimaryHDU(), made]).writeto(tmp_path / "a.fits")
    whole = (tmp_path / "a.fits").read_bytes()
    sizes = [*range(2879, len(whole), 997), len(whole) - 1]
    for size in sizes:
        (tmp_path / f"{size}.fits").write_bytes(whole[:size])
    names = [f"{size}.fits" for size in sizes]
    store, lost = run(tmp_path, objects(*names, "a.fits"), TILED)
    assert len(lost) > len(sizes) // 2
    for image in store.read(range(len(store)))["image"][:, 0]:
        np.testing.assert_allclose(image, pixels * NJY, rtol=1e-5)
    assert store.objects["object_id"][-1] == len(sizes)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_files_cut_at_any_byte(tmp_path, pack):
    write_image(tmp_path / "plain.fits", sky()[0], tan_header())
    whole = pack((tmp_path / "plain.fits").read_bytes())
    sizes = [2, 9, 30, *range(100, len(whole), 997), len(whole) - 1]
    for size in sizes:
        (tmp_path / f"{size}.fits").write_bytes(whole[:size])
    (tmp_path / "a.fits").write_bytes(whole)
    store, lost = run(tmp_path, objects(*[f"{size}.fits" for size in sizes], "a.fits"), ONE)
    # The last byte of gzip counts the pixels again: that they are all there is known before.
    assert len(lost) >= len(sizes) - 1
    assert store.objects["object_id"][-1] == len(sizes)
    for image in store.read(range(len(store)))["image"][:, 0]:
        np.testing.assert_allclose(image, sky()[0] * NJY, rtol=1e-5)


def test_infinite_and_zero_beside_good_pixels(tmp_path):
    for name, value in (("inf", np.inf), ("minus", -np.inf), ("nan", np.nan), ("max", 3e38)):
        cube = sky()
        cube[1, 3:6, 4:9] = value
        write_cube(tmp_path / f"{name}.fits", cube)
    store, lost = run(tmp_path, objects("inf.fits", "minus.fits", "nan.fits", "max.fits"))
    assert lost == []
    found = store.read(range(4), ("image", "mask", "ivar", "sigma"))
    assert np.isfinite(found["image"]).all()
    assert (found["mask"][:, 1, 3:6, 4:9] != 0).all()
    assert (found["mask"] != 0).sum() == 4 * 15
    assert (found["ivar"][:, 1, 3:6, 4:9] == 0).all()
    np.testing.assert_allclose(found["sigma"], 0.01 * NJY, rtol=0.1)
    for name in ("masked_r", "sky_r", "centroid_dx", "masked_fraction"):
        assert np.isfinite(store.objects[name]).all()


@pytest.mark.parametrize("hop", [False, True], ids=["in order", "file by file"])
def test_a_full_disk_with_several_sets(small_disk, tmp_path, hop):  # noqa: F811
    """Shards of all sets, and the shard that waits to be sorted, are gone when the disk is full."""
    for n in range(2):
        image = np.random.default_rng(n).normal(0, 0.01, (200, 200)).astype("f4")
        write_image(tmp_path / f"{n}.fits", image, tan_header(x=100, y=100))
    rows = objects(*[f"{n % 2 if hop else n // 60}.fits" for n in range(120)])
    manifest = write_manifest(tmp_path / "m.csv", rows)
    described = tmp_path / "toy.yaml"
    described.write_text(survey("g", image={"file": "{file}"}).model_dump_json())
    words = ["--manifest", manifest, "--survey", described]
    for name in ("galaxy", "halo"):
        words += ["--set", name, "--out", small_disk / f"{name}/0.h5"]
        words += ["--rejects", small_disk / f"{name}/0.parquet"]
    words += ["--options", "{block: 8, size: {galaxy: 40, halo: 90}}"]
    command = [sys.executable, "-m", "astroml.cli", "ingest", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "the disk is full; free some space and rerun" in done.stderr
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
