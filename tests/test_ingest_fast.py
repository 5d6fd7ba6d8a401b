"""Objects that are read together come out as they do when each is looked at by itself."""

import numpy as np
import pytest
from astropy.io import fits
from ingest_fits import SCALE, sky, survey, tan_header, write_cube, write_image, write_manifest

from astroml.config import Ingest
from astroml.ingest import alike, block, files, together
from astroml.ingest.reject import read_rejects
from astroml.ingest.run import ingest
from astroml.store import open_store

CUBE = {"image": {"hdu": 0, "axis": "band"}}
LEGACY = CUBE | {
    "noise": {"hdu": "INVVAR", "axis": "band"},
    "mask": {"hdu": "MASKBITS"},
    "mask_bits": {"saturated": 28, "bad": 224},
}


@pytest.fixture
def both(tmp_path, monkeypatch):
    """Ingest rows in both ways, compare all that is stored and rejected; return what was stored,
    the rejects, and how many objects were read together."""

    def run(described, rows, size=64, **changes):
        manifest = write_manifest(tmp_path / "m.csv", rows)
        settings = Ingest(**{"size": {"galaxy": size}, "max_masked": 0.9} | changes)
        counted, found = [], []
        put = together.put

        def counting(group, stack, *rest):
            counted.extend(group.rows.tolist())
            put(group, stack, *rest)

        monkeypatch.setattr(block, "put", counting)
        for way in ("together", "alone"):
            if way == "alone":
                monkeypatch.setattr(block, "can_gather", lambda *told: False)
            files.shared_files().__exit__()
            out, lost = tmp_path / f"{way}.h5", tmp_path / f"{way}.parquet"
            ingest(manifest, described, out, lost, settings)
            store = open_store([out])
            names = ["image", "mask", "sigma", "psf_fwhm"] + ["ivar"] * store.has("ivar")
            every = store.read(np.arange(len(store)), names)
            found.append((every | store.objects, read_rejects(lost)))
        monkeypatch.undo()
        (mine, lost), (theirs, rejects) = found
        assert lost == rejects
        assert set(mine) == set(theirs)
        for name, values in theirs.items():
            np.testing.assert_array_equal(mine[name], values, err_msg=name)
        assert len(lost) + len(theirs["image"]) == len(rows)
        return theirs, lost, len(counted)

    return run


def rows_of(names, ra=150.0, dec=2.0):
    return [{"object_id": n, "ra": ra, "dec": dec, "file": one} for n, one in enumerate(names)]


def cubes(folder, n=9, **options):
    rng = np.random.default_rng(0)
    names = []
    for seed in range(n):
        cube = sky(seed, **options)
        cube[0, 3:5, 7] = np.nan
        shape = cube.shape
        ivar = rng.uniform(5e3, 2e4, shape).astype("f4")
        ivar[1, :4] = 0
        mask = rng.choice([0, 0, 0, 4, 32], shape[1:]).astype("i2")
        ra, dec = 150.0 + seed * 1e-5, 2.0 - seed * 2e-5
        x, y = (shape[2] - 1) / 2 + seed % 3 / 4, (shape[1] - 1) / 2 - seed % 4
        header = tan_header(ra=ra, dec=dec, x=x, y=y, OBJECT=f"no {seed}")
        write_cube(folder / f"{seed}.fits", cube, header, ivar, mask)
        names.append(f"{seed}.fits")
    return names


@pytest.mark.parametrize("shape", [(64, 64), (63, 65), (50, 81)])
@pytest.mark.parametrize("size", [64, 33, 20])
@pytest.mark.parametrize("layout", [CUBE, LEGACY])
def test_cubes(tmp_path, both, shape, size, layout):
    names = cubes(tmp_path, shape=shape)
    found, lost, count = both(survey(**layout), rows_of(names), size, block=7)
    assert (len(lost), count) == (0, 7)  # of nine, two are in a block too small for an example
    assert len(np.unique(found["dx"])) > 3


def test_the_objects_own_numbers_count(tmp_path, both):
    """The pole of each file's map, not the example's, says where its object is."""
    names = cubes(tmp_path)
    found, _, count = both(survey(**CUBE), rows_of(names))
    assert count == 9
    step = 3600 / SCALE
    x = 31.5 + np.arange(9) % 3 / 4 + np.arange(9) * 1e-5 * step * np.cos(np.radians(2))
    expected = x - 31.5 - np.ceil(x - 31.5 - 0.5 - 1e-6)
    np.testing.assert_allclose(found["dx"], expected, atol=1e-3)


def test_good_files_among_bad_ones(tmp_path, both):
    names = cubes(tmp_path, n=20)
    whole = (tmp_path / "0.fits").read_bytes()

    def spoil(n, old, new):
        raw = (tmp_path / f"{n}.fits").read_bytes()
        assert raw.count(old) >= 1
        assert len(old) == len(new)
        (tmp_path / f"{n}.fits").write_bytes(raw.replace(old, new, 1))

    spoil(1, b"'grz     '", b"'gri     '")  # another band
    spoil(2, b"'grz     '", b"'zrg     '")  # another order: good, but not alike
    spoil(3, b"CRVAL1  =", b"CRVALX  =")
    spoil(4, b"CD2_2   =", b"CD9_9   =")
    spoil(5, b"NAXIS1  =                   64", b"NAXIS1  =                   32")
    spoil(6, b"RA---TAN", b"RA---SIN")
    (tmp_path / "7.fits").write_bytes(whole[:-2880])
    (tmp_path / "8.fits").write_bytes(b"")
    (tmp_path / "9.fits").unlink()
    (tmp_path / "10.fits").write_bytes(whole + b" " * 2880)
    spoil(11, b"OBJECT  =", b"BSCALE  =")
    header = fits.getheader(tmp_path / "12.fits")
    spoil(12, fits.Card("CRVAL1", header["CRVAL1"]).image[:30].encode(),
          b"CRVAL1  =                  nan")  # fmt: skip
    rows = rows_of(names)
    rows[13]["ra"] = 151.0
    _, lost, count = both(survey(**LEGACY), rows)
    assert 7 <= count < 14
    assert len(lost) >= 6


@pytest.mark.parametrize("kind", ["i2", "i4", "f8", "u1", "scaled", "unsigned"])
def test_any_kind_of_numbers(tmp_path, both, kind):
    rng = np.random.default_rng(1)
    names = [f"{n}.fits" for n in range(6)]
    for name in names:
        counts = rng.normal(100, 20, (3, 64, 64))
        kinds = {"scaled": "i2", "unsigned": "u2"}
        hdu = fits.PrimaryHDU(counts.astype(kinds.get(kind, kind)), tan_header(BANDS="grz"))
        if kind == "scaled":
            hdu.scale("int16", bscale=0.5, bzero=3)
        hdu.writeto(tmp_path / name)
    found, lost, count = both(survey(sigma=20, **CUBE), rows_of(names))
    assert lost == []
    assert count == (0 if kind in ("scaled", "unsigned") else 6)
    assert abs(np.median(found["image"]) / 3630.78 - 100) < 3


@pytest.mark.parametrize("shift", [0.0, 3.0, 0.4])
def test_one_file_per_band(tmp_path, both, shift):
    layout = {
        "image": {"file": "{object_id}-{band}.fits"},
        "noise": {"file": "{object_id}-{band}.var.fits", "optional": True},
        "noise_kind": "variance",
        "zero_point_key": "ZP",
        "saturation_key": "SAT",
    }
    for n in range(6):
        for k, band in enumerate("gr"):
            header = tan_header(x=31.5 + shift * k, y=30.0 + n / 7, ZP=25.0 + k, SAT=0.1, DAY=n)
            write_image(tmp_path / f"{n}-{band}.fits", sky(n, bands=1)[0], header)
            write_image(tmp_path / f"{n}-{band}.var.fits", np.full((64, 64), 1e-4, "f4"))
    (tmp_path / "4-r.var.fits").unlink()
    _, lost, count = both(survey("gr", **layout), rows_of(["x"] * 6), 40)
    assert lost == []
    assert count == (5 if shift != 0.4 else 0)


@pytest.mark.parametrize("size", [64, 65, 12])
@pytest.mark.parametrize("side", [300, 2100])
def test_mosaics(tmp_path, both, size, side):
    rng = np.random.default_rng(2)
    layout = {
        "image": {"file": "{band}.fits"},
        "noise": {"file": "{band}.rms.fits"},
        "noise_kind": "rms",
        "mask": {"file": "mask.fits"},
        "saturation_key": "SAT",
    }
    for k, band in enumerate("gr"):
        image = rng.normal(0, 0.01, (side, side + 10)).astype("f4")
        image[100:140, 30:40] = np.nan
        write_image(tmp_path / f"{band}.fits", image, tan_header(x=100 + 2 * k, y=90, SAT=0.03))
        write_image(tmp_path / f"{band}.rms.fits", np.full(image.shape, 0.01, "f4"))
    write_image(tmp_path / "mask.fits", rng.choice([0, 0, 0, 2], image.shape).astype("i4"))
    rows = []
    for n in range(40):
        x, y = rng.uniform(-20, 320, 2)
        dec = 2 + (y - 90) * SCALE / 3600
        ra = 150 - (x - 100) * SCALE / 3600 / np.cos(np.radians(dec))
        rows.append({"object_id": n, "ra": ra, "dec": dec})
    found, lost, count = both(survey("gr", **layout), rows, size)
    assert 0 < len(lost) < 30
    assert count >= len(found["image"]) - 4
    assert (found["flags"] & 4).any()


def test_pixel_positions_and_cubes_of_objects(tmp_path, both):
    rng = np.random.default_rng(3)
    write_image(tmp_path / "a.fits", rng.normal(0, 0.01, (200, 220)).astype("f4"))
    rows = [{"object_id": n, "x": 10.0 + 7 * n, "y": 100.25, "index": 3} for n in range(30)]
    rows[4]["x"] = "nan"
    layout = {"image": {"file": "a.fits"}, "pixel_columns": ["x", "y"], "pixel_origin": 1}
    found, lost, count = both(survey("g", **layout), rows, 32)
    assert (len(found["image"]), len(lost), count) == (29, 1, 29)
    write_image(tmp_path / "b.fits", rng.normal(0, 0.01, (12, 32, 32)).astype("f4"))
    rows = [{"object_id": n, "ra": 150, "dec": 2, "index": 11 - n} for n in range(14)]
    layout = {"image": {"file": "b.fits", "axis": "object"}}
    found, lost, count = both(survey("g", **layout), rows, 32)
    assert (len(lost), count) == (2, 12)


def test_the_pattern_holds_what_decided(tmp_path):
    """Of the cards that differ from file to file only those may that nobody asked for."""
    write_cube(tmp_path / "a.fits", sky(0), tan_header(OBJECT="one"))
    file = alike.PlainFile(tmp_path / "a.fits", (tmp_path / "a.fits").stat().st_size)
    file.image(0).header.get("BANDS")
    raw = np.frombuffer(file.raw, np.uint8)
    pattern = alike.Pattern.of(file)
    text = bytes(raw)

    def fits_still(old, new):
        return pattern.fit(np.frombuffer(text.replace(old, new, 1), np.uint8)[None])[0]

    assert fits_still(b"'one     '", b"'two     '")
    assert not fits_still(b"OBJECT  =", b"BSCALE  =")
    assert not fits_still(b"'grz     '", b"'zrg     '")
    assert not fits_still(b"NAXIS1  =                   64", b"NAXIS1  =                   32")
    file.image(0).header.full()
    assert alike.Pattern.of(file) is None
