"""The stage as a whole: known flux, nothing lost, same bytes however it is cut up."""

import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from ingest_fits import NJY, sky, survey, tan_header, write_cube, write_image, write_manifest

from astroml.config import Ingest, Splits
from astroml.errors import AstromlError
from astroml.ingest.run import ingest, tally
from astroml.ingest.schedule import in_order
from astroml.store import FLAGS, MASK, open_store

SETTINGS = Ingest(block=7)


def cubes(folder, n=20, size=64) -> tuple:
    """Write n good objects and their manifest; return its path and the rows."""
    rows = []
    for k in range(n):
        ra, dec = 10.0 + 15 * k, -20.0 + 2 * k
        place = tan_header(ra, dec, (size - 1) / 2, (size - 1) / 2)
        write_cube(folder / f"images/{k}.fits", sky(k, (size, size)), place)
        row = {"object_id": 1000 + k, "ra": ra, "dec": dec, "ebv": 0.01 * k}
        rows.append(row | {"file": f"images/{k}.fits", "is_lens": k % 2, "group": k // 2})
    return write_manifest(folder / "m.csv", rows), rows


def run(manifest, out, toy=None, settings=SETTINGS, **more):
    ingest(manifest, toy or survey(), out, out.with_suffix(".parquet"), settings, **more)
    return open_store(out), pq.read_table(out.with_suffix(".parquet")).to_pylist()


def test_what_comes_out(tmp_path, capsys):
    manifest, rows = cubes(tmp_path)
    store, rejects = run(manifest, tmp_path / "o/0.h5")
    assert rejects == []
    found = store.read(range(20), ("image", "mask", "ivar", "sigma", "psf_fwhm"))
    for k in range(20):
        np.testing.assert_allclose(found["image"][k], sky(k) * NJY, rtol=1e-5)
    assert (found["mask"] == 0).all()
    np.testing.assert_allclose(found["ivar"], 1e4 / NJY**2, rtol=1e-5)
    np.testing.assert_allclose(found["sigma"], 0.01 * NJY, rtol=0.15)
    assert found["sigma"].mean() == pytest.approx(0.01 * NJY, rel=0.02)
    assert (found["psf_fwhm"] == np.float32(1.2)).all()
    objects = store.objects
    assert objects["object_id"].tolist() == [row["object_id"] for row in rows]
    assert "file" not in objects
    for name in ("ra", "dec", "ebv", "is_lens", "group"):
        np.testing.assert_allclose(objects[name], [row[name] for row in rows])
    assert set(objects["split"]) <= {"train", "val", "test"}
    for name in ("flags", "dx", "dy", "masked_fraction"):
        np.testing.assert_allclose(objects[name], 0, atol=1e-5)
    header = store.header
    assert (header.set, header.bands, header.size) == ("galaxy", ("g", "r", "z"), 64)
    assert header.provenance["stage"] == "ingest"
    assert header.provenance["inputs"].keys() == {"m.csv"}
    said = capsys.readouterr().out
    assert "20 objects in = 20 stored + 0 rejected" in said
    assert "objects/s, peak memory" in said


def test_nan_and_flagged_pixels_are_masked_and_zero(tmp_path):
    cube, ivar, mask = sky(), np.full((3, 64, 64), 1e4, np.float32), np.zeros((64, 64), np.int16)
    cube[1, 5, 6], ivar[2, 7, 8], mask[31, 31], mask[9, 9] = np.nan, 0, 4, 32
    write_cube(tmp_path / "a.fits", cube, ivar=ivar, mask=mask)
    row = {"object_id": 1, "ra": 150, "dec": 2, "file": "a.fits"}
    store, _ = run(write_manifest(tmp_path / "m.csv", [row]), tmp_path / "0.h5")
    found = store.read([0], ("image", "mask", "ivar"))
    assert (found["mask"][0, :, 31, 31] == MASK["saturated"]).all()
    assert (found["mask"][0, :, 9, 9] == MASK["bad"]).all()
    assert found["mask"][0, 1, 5, 6] == found["mask"][0, 2, 7, 8] == MASK["nodata"]
    assert (found["mask"] != 0).sum() == 8
    assert (found["image"][found["mask"] != 0] == 0).all()
    assert (found["ivar"][found["mask"] != 0] == 0).all()
    assert store.objects["flags"].tolist() == [FLAGS["saturated"]]


def write_menagerie(folder) -> dict[str, str]:
    """Write one bad file of each kind; return file -> what the reason must say."""
    whole = (folder / "images/0.fits").read_bytes()
    images = folder / "images"
    (images / "dir.fits").mkdir()
    (images / "zero.fits").touch()
    (images / "cut.fits").write_bytes(whole[: len(whole) // 2])
    (images / "head.fits").write_bytes(whole[:100])
    (images / "text.fits").write_text("this is no FITS file\n" * 500)
    (images / "binary.fits").write_bytes(bytes(range(256)) * 40)
    os.mkfifo(images / "pipe.fits")
    bomb = whole.replace(b"NAXIS1  =                   64", b"NAXIS1  =               200000")
    bomb = bomb.replace(b"NAXIS2  =                   64", b"NAXIS2  =               300000")
    (images / "bomb.fits").write_bytes(bomb)
    write_image(images / "bomb.fits.gz", sky(), tan_header(BANDS="grz"))
    write_cube(images / "nan.fits", np.full((3, 64, 64), np.nan, np.float32))
    write_cube(images / "inf.fits", np.full((3, 64, 64), np.inf, np.float32))
    write_cube(images / "same.fits", np.zeros((3, 64, 64), np.float32))
    write_cube(images / "two.fits", sky(bands=2), bands="gr")
    write_cube(images / "four.fits", sky(bands=4), bands="grz")
    write_cube(images / "flat.fits", sky()[:, 0])
    write_cube(images / "shape.fits", sky(), ivar=np.ones((3, 60, 60), np.float32))
    write_cube(images / "away.fits", sky(), tan_header(x=500))
    write_cube(images / "wcs.fits", sky(), tan_header(CD1_1=0.0))
    write_cube(images / "half.fits", np.where(np.arange(64) < 40, np.nan, sky()))
    return {
        "none.fits": "no such file",
        "dir.fits": "is a directory",
        "zero.fits": "is empty",
        "cut.fits": "cut off",
        "head.fits": "header",
        "text.fits": "not a FITS file",
        "binary.fits": "not a FITS file",
        "pipe.fits": "no ordinary file",
        "bomb.fits": "cut off",
        "bomb.fits.gz": "no HDU MASKBITS; it has PRIMARY",
        "nan.fits": "too few usable pixels, masked fraction of g: 100%, r: 100%, z: 100%",
        "inf.fits": "too few usable pixels",
        "same.fits": "too few usable pixels",
        "two.fits": "no band z; it has g, r",
        "four.fits": "has 4 planes for bands grz",
        "flat.fits": "holds no image",
        "shape.fits": "its image (64, 64)",
        "away.fits": "off the image",
        "wcs.fits": "WCS makes no sense",
        "half.fits": "masked fraction of g: 62%",
        "images\0.fits": "not a file name",
    }


def test_the_menagerie(tmp_path):
    _, rows = cubes(tmp_path, n=4)
    expected = write_menagerie(tmp_path)
    bad = [
        {"object_id": f"{n}", "ra": 150.0, "dec": 2.0, "file": f"images/{name}"}
        for n, name in enumerate(expected)
    ]
    mixed = [rows[0], *bad[:9], rows[1], *bad[9:], rows[2], rows[2], rows[3] | {"dec": 95}]
    manifest = write_manifest(tmp_path / "m.csv", mixed)
    store, rejects = run(manifest, tmp_path / "0.h5")
    assert store.objects["object_id"].tolist() == [1000, 1001, 1002]
    assert len(rejects) + len(store) == len(mixed)
    order = [str(row["object_id"]) for row in mixed]
    places = [order.index(row["object_id"]) for row in rejects]
    assert places == sorted(places)
    for row, (name, says) in zip(rejects, expected.items()):
        assert says in row["reason"], (name, row)
        assert len(row["reason"]) < 300
        assert row["file"].endswith(name)
        assert row["stage"] in ("read", "align", "measure")
    assert [row["reason"] for row in rejects[-2:]] == [
        f"object_id 1002 is already in row {len(mixed) - 2}",
        "dec is 95.0, expected a number from -90 to 90",
    ]
    parts = [tmp_path / "0.h5"], [tmp_path / "0.parquet"]
    tally(*parts, manifest, tmp_path / "all.parquet")
    assert pq.read_table(tmp_path / "all.parquet").to_pylist() == rejects


def test_missing_bands_can_be_kept(tmp_path):
    cube = sky()
    cube[2] = np.nan
    write_cube(tmp_path / "a.fits", cube)
    write_cube(tmp_path / "b.fits", sky(bands=2), bands="gr")
    write_cube(tmp_path / "c.fits", np.full((3, 64, 64), np.nan, np.float32))
    rows = [
        {"object_id": n, "ra": 150, "dec": 2, "file": f"{name}.fits"}
        for n, name in enumerate("abcd")
    ]
    manifest = write_manifest(tmp_path / "m.csv", rows)
    store, rejects = run(manifest, tmp_path / "0.h5", settings=Ingest(missing_bands="keep"))
    assert store.objects["object_id"].tolist() == [0, 1]
    assert [row["object_id"] for row in rejects] == ["2", "3"]
    found = store.read([0, 1])
    assert (found["mask"][:, 2] == MASK["nodata"]).all()
    assert (found["image"][:, 2] == 0).all()
    np.testing.assert_allclose(found["image"][:, 0], np.stack([sky()[0]] * 2) * NJY, rtol=1e-5)
    assert (found["sigma"] > 0).all()
    assert store.objects["flags"].tolist() == [FLAGS["missing_band"] | FLAGS["masked"]] * 2
    _, rejects = run(manifest, tmp_path / "1.h5")
    assert len(rejects) == 4


def test_chunks_together_are_the_whole(tmp_path):
    manifest, _ = cubes(tmp_path)
    (tmp_path / "images/3.fits").unlink()
    whole, lost = run(manifest, tmp_path / "whole.h5")
    parts = [run(manifest, tmp_path / f"parts/{i}.h5", chunk=f"{i}/3") for i in range(3)]
    assert [row for _, rejects in parts for row in rejects] == lost
    joined = open_store(tmp_path / "parts")
    assert joined.objects.keys() == whole.objects.keys()
    for name, values in whole.objects.items():
        np.testing.assert_array_equal(joined.objects[name], values, err_msg=name)
    names = ("image", "mask", "ivar", "sigma", "psf_fwhm")
    one, other = whole.read(range(19), names), joined.read(range(19), names)
    for name in names:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    files = [tmp_path / f"parts/{i}.parquet" for i in range(3)]
    tally([tmp_path / "parts"], files, manifest, tmp_path / "all.parquet", 0.05)
    with pytest.raises(AstromlError, match=r"1 of 20 .* no such file or directory; see .*all"):
        tally([tmp_path / "parts"], files, manifest, tmp_path / "all.parquet", 0.04)
    with pytest.raises(
        AstromlError, match=r"7 neither stored nor rejected, first object_id '1013'"
    ):
        tally([tmp_path / f"parts/{i}.h5" for i in (0, 1)], files, manifest, tmp_path / "a.parquet")


def test_same_bytes_for_any_number_of_workers(tmp_path):
    manifest, _ = cubes(tmp_path)
    (tmp_path / "images/3.fits").unlink()
    for name, workers in (("a", 1), ("b", 2), ("c", 1)):
        run(manifest, tmp_path / f"{name}/0.h5", settings=Ingest(block=2), workers=workers)
    for kind in ("h5", "parquet"):
        first, *others = [(tmp_path / f"{name}/0.{kind}").read_bytes() for name in "abc"]
        assert all(other == first for other in others), kind


def test_the_whole_manifest_decides_the_splits(tmp_path):
    manifest, _ = cubes(tmp_path)
    splits = Splits(val=0.3, test=0.3)
    parts = [run(manifest, tmp_path / f"{i}.h5", chunk=f"{i}/20", splits=splits) for i in range(20)]
    split = np.concatenate([store.objects["split"] for store, _ in parts])
    assert (split[::2] == split[1::2]).all()  # groups of two, far apart
    assert len(set(split)) == 3


def test_an_empty_part_is_a_shard_too(tmp_path):
    manifest, _ = cubes(tmp_path, n=2)
    store, rejects = run(manifest, tmp_path / "0.h5", chunk="0/3")
    assert (len(store), rejects) == (0, [])
    (tmp_path / "images/0.fits").unlink()
    store, rejects = run(manifest, tmp_path / "1.h5", chunk="1/3")
    assert (len(store), len(rejects)) == (0, 1)


def test_rejects_are_there_before_the_shard(tmp_path, monkeypatch):
    manifest, _ = cubes(tmp_path, n=2)
    out, rejects = tmp_path / "0.h5", tmp_path / "0.parquet"
    from astroml.ingest import run as module

    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_rejects", killed)
    with pytest.raises(KeyboardInterrupt):
        ingest(manifest, survey(), out, rejects, SETTINGS)
    assert list(tmp_path.glob("0.*")) == []


def test_file_names_that_are_not_ascii(tmp_path):
    write_cube(tmp_path / "Größe/α β.fits", sky())
    row = {"object_id": "objekt-ä", "ra": 150, "dec": 2, "file": "Größe/α β.fits"}
    store, _ = run(write_manifest(tmp_path / "m.csv", [row]), tmp_path / "0.h5")
    assert store.objects["object_id"].tolist() == ["objekt-ä"]


def test_faults_of_the_whole_run(tmp_path):
    manifest, _ = cubes(tmp_path, n=1)
    with pytest.raises(AstromlError, match="no size for cutout set 'moon'; 'size' has galaxy"):
        run(manifest, tmp_path / "0.h5", cutouts="moon")
    with pytest.raises(AstromlError, match="no such folder"):
        run(manifest, tmp_path / "0.h5", root=tmp_path / "none")
    with pytest.raises(AstromlError, match="no column 'nme'"):
        run(manifest, tmp_path / "0.h5", survey(image={"file": "{nme}.fits"}))
    with pytest.raises(AstromlError, match=r"no such table of rejects"):
        tally([tmp_path], [tmp_path / "none.parquet"], manifest, tmp_path / "a.parquet")


def test_few_blocks_are_in_flight():
    taken = []

    def jobs():
        for n in range(10):
            taken.append(n)
            yield n

    results = in_order(abs, jobs())
    assert next(results) == 0
    assert taken == [0]
    assert list(results) == list(range(1, 10))
