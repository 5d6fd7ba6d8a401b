"""What simulate and inject write: FITS files, manifest, truth, stores."""

import csv
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from astropy.io import fits
from astropy.wcs import WCS

from astroml import store, tasks
from astroml.config import Inject, Splits
from astroml.errors import AstromlError
from astroml.photometry import photometry_columns
from astroml.sky import simulate
from astroml.sky.cutouts import CubeWriter
from astroml.store import MASK
from astroml.survey import galactic_extinction, load_survey, njy_per_unit
from astroml.tasks.lens import Sky

SIZE = 32
POPULATION = Sky(objects=70)


def survey_of(name, bands=None):
    return load_survey(name, bands)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("sky") / "survey"
    args = {"size": SIZE, "seed": 3, "device": "cpu"}
    simulate.simulate_survey({"lens": POPULATION}, survey_of("decals"), out, **args)
    return out


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    out = tmp_path_factory.mktemp("store") / "0.h5"
    args = {"splits": Splits(), "size": SIZE, "seed": 3, "device": "cpu"}
    simulate.simulate_store({"lens": POPULATION}, survey_of("decals"), out, **args)
    return out


def rows_of(folder):
    with (folder / "manifest.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_manifest_names_every_file(folder):
    rows = rows_of(folder)
    assert len(rows) == 70
    assert ",".join(rows[0]) == (
        "object_id,ra,dec,ebv,file,group,is_lens,kind,theta_e,arc_snr,e1,e2,shear_1,shear_2,"
        "source_x,source_y,lens_mag,artefact,seeing"
    )
    assert rows[0]["object_id"] == "1000000"
    assert all((folder / row["file"]).is_file() for row in rows)
    assert len(list((folder / "images").iterdir())) == 70
    for row in rows:
        assert (float(row["theta_e"]) > 0) == (row["is_lens"] == "1") == (row["kind"] == "lens")


def test_files_are_laid_out_as_the_cutout_service_does(folder):
    with fits.open(folder / rows_of(folder)[0]["file"]) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "INVVAR", "MASKBITS"]
        head = hdus[0].header
        assert head["BANDS"] == "grz"
        assert [head[f"BAND{number}"] for number in range(3)] == ["g", "r", "z"]
        assert (head["SURVEY"], head["MAGZERO"], head["BUNIT"]) == ("decals", 22.5, "nanomaggy")
        assert head["BITPIX"] == -32
        assert head["CRPIX1"] == SIZE / 2 + 0.5
        assert "DATE" not in head
        assert hdus[0].data.shape == hdus[1].data.shape == (3, SIZE, SIZE)
        assert hdus[2].data.shape == (SIZE, SIZE)


def test_wcs_puts_the_object_in_the_middle(folder):
    for row in rows_of(folder)[:5]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            wcs = WCS(fits.getheader(folder / row["file"]), naxis=2)
        x, y = wcs.world_to_pixel_values(float(row["ra"]), float(row["dec"]))
        assert (x, y) == pytest.approx(((SIZE - 1) / 2,) * 2, abs=0.01)
        scale = np.sqrt(np.abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
        assert scale == pytest.approx(0.262, rel=1e-5)
        # East is towards lower x, north towards higher y.
        ra, dec = wcs.pixel_to_world_values(x - 1, y + 1)
        assert ra > float(row["ra"])
        assert dec > float(row["dec"])


def test_pixels_agree_with_the_store(folder, shard):
    kept = store.open_store(shard)
    for row, facts in enumerate(rows_of(folder)[:20]):
        with fits.open(folder / facts["file"]) as hdus:
            image = hdus[0].data * njy_per_unit(22.5)
            pixels = kept.read([row])
            np.testing.assert_allclose(image, pixels["image"][0], rtol=1e-5, atol=1e-3)
            masked = pixels["mask"][0] > 0
            sigma = np.broadcast_to(pixels["sigma"][0][:, None, None], image.shape)
            ivar = hdus[1].data
            assert ((ivar == 0) == masked).all()
            wanted = (njy_per_unit(22.5) / sigma[~masked]) ** 2
            np.testing.assert_allclose(ivar[~masked], wanted, rtol=1e-4)


def test_mask_bits_are_the_surveys():
    writer = CubeWriter(survey_of("decals"), 4)
    mask = np.zeros((3, 4, 4), np.uint8)
    mask[0, 0, 0], mask[1, 0, 0], mask[2, 1, 1] = MASK["bad"], MASK["saturated"], MASK["cosmic"]
    mask[:, 3] = MASK["nodata"]
    values = writer.to_survey(mask)
    assert values[0, 0] == 32 + 8
    assert values[1, 1] == 128
    assert not values[3].any()
    whole = CubeWriter(survey_of("hsc"), 4)
    mask = np.zeros((5, 4, 4), np.uint8)
    mask[2, 1, 1] = MASK["cosmic"] | MASK["nodata"]
    assert (whole.to_survey(mask) == mask).all()


def test_same_seed_same_bytes_on_any_number_of_threads(folder, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2 if before == 1 else 1)
    try:
        args = {"size": SIZE, "seed": 3, "device": "cpu"}
        simulate.simulate_survey({"lens": POPULATION}, survey_of("decals"), tmp_path, **args)
        assert torch.get_num_threads() == (2 if before == 1 else 1)
    finally:
        torch.set_num_threads(before)
    names = [f"images/{file.name}" for file in (folder / "images").iterdir()]
    for name in [*names, "manifest.csv", "truth.parquet"]:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_truth_holds_every_parameter_with_its_unit(folder):
    table = pq.read_table(folder / "truth.parquet")
    assert table.num_rows == 70
    units = {field.name: (field.metadata or {}).get(b"unit") for field in table.schema}
    assert units["lens_theta_e"] == b"arcsec"
    assert units["psf_fwhm_r"] == b"arcsec"
    assert units["part_flux_z"] == b"nJy"
    assert units["source_flux_g"] == b"nJy"
    assert b"seed" in table.schema.metadata[b"provenance"]
    arcs = np.array(table["arc_snr"])
    assert np.allclose(arcs, [float(row["arc_snr"]) for row in rows_of(folder)], atol=0.01)


def test_a_stopped_run_leaves_no_manifest(tmp_path, monkeypatch):
    (tmp_path / "manifest.csv").write_text("of an earlier run\n")
    monkeypatch.setattr(CubeWriter, "write", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    args = {"size": SIZE, "seed": 3, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        simulate.simulate_survey({"lens": Sky(objects=4)}, survey_of("decals"), tmp_path, **args)
    assert not (tmp_path / "manifest.csv").exists()


def test_speed_is_printed(capsys, tmp_path):
    args = {"splits": Splits(), "size": SIZE, "seed": 3, "device": "cpu"}
    simulate.simulate_store({"lens": Sky(objects=5)}, survey_of("hsc"), tmp_path / "0.h5", **args)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("simulated 5 objects in ")
    assert "objects/s) on cpu, " in last


def test_a_layout_that_is_not_the_cube_is_refused(tmp_path):
    args = {"size": SIZE, "seed": 3, "device": "cpu"}
    with pytest.raises(AstromlError, match="survey des: its layout is not the cube"):
        simulate.simulate_survey({"lens": Sky(objects=4)}, survey_of("des"), tmp_path, **args)
    assert not list(tmp_path.iterdir())


def test_the_store_is_labelled_and_split(shard):
    kept = store.open_store(shard)
    objects = kept.objects
    assert kept.header.bands == ("g", "r", "z")
    assert kept.header.set == tasks.load("lens").SET
    assert kept.header.provenance["stage"] == "simulate"
    assert kept.header.provenance["seed"] == 3
    assert objects["object_id"].dtype == np.int64
    assert (objects["flags"] == 0).all()
    pairs = objects["group"][objects["kind"] == "twin"]
    for pair in pairs[pairs >= 0]:
        assert len(set(objects["split"][objects["group"] == pair])) == 1
    targets, labelled = tasks.load("lens").targets(objects)
    assert labelled.all()
    assert targets["is_lens"].sum() == 28


def test_a_store_has_the_photometry_that_ingest_would_measure(shard):
    kept = store.open_store(shard)
    planes = kept.read(np.arange(70))
    survey = survey_of("decals")
    wavelengths = [band.wavelength for band in survey.bands.values()]
    dimming = 10 ** (-0.4 * galactic_extinction(kept.objects["ebv"], wavelengths))
    names = ("image", "mask", "sigma", "psf_fwhm")
    wanted = photometry_columns(*(planes[name] for name in names), 0.262, "grz", dimming)
    for name, values in wanted.items():
        np.testing.assert_allclose(kept.objects[name], values, rtol=1e-4, atol=1e-3, err_msg=name)
    assert (kept.objects["mw_transmission_g"] < kept.objects["mw_transmission_z"]).all()


def test_injected_cutouts_are_measured_anew(shard, tmp_path):
    path = tmp_path / "0.h5"
    simulate.inject([shard], Inject(), Sky(), survey_of("decals"), path, device="cpu")
    before, after = store.open_store(shard).objects, store.open_store(path).objects
    assert np.nanmedian(after["flux_g"] - before["flux_g"]) > 0


TWO = {"lens": Sky(objects=40), "photoz": tasks.load("photoz").Sky(objects=30)}


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    args = {"size": SIZE, "seed": 3, "device": "cpu"}
    simulate.simulate_survey(TWO, survey_of("decals"), out, **args)
    return out


def test_two_tasks_fill_one_survey(two):
    rows = rows_of(two)
    assert len(rows) == 70
    assert len({row["object_id"] for row in rows}) == 70
    assert len({(row["ra"], row["dec"]) for row in rows}) == 70
    for row in rows:
        lens = row["labels"] == "lens"
        assert lens == (row["is_lens"] in ("0", "1")) == (row["z_spec"] == "")
        assert row["kind"]
    assert sum(row["labels"] == "photoz" for row in rows) == 30
    truth = pq.read_table(two / "truth.parquet")
    assert truth.num_rows == 70
    assert truth["lens_theta_e"].null_count == 30
    assert truth["z_true"].null_count == 40
    assert b"photoz" in truth.schema.metadata[b"provenance"]


def test_the_first_task_is_as_it_is_alone(two, folder, tmp_path):
    args = {"size": SIZE, "seed": 3, "device": "cpu"}
    simulate.simulate_survey({"lens": TWO["lens"]}, survey_of("decals"), tmp_path, **args)
    for row in rows_of(tmp_path):
        assert (tmp_path / row["file"]).read_bytes() == (two / row["file"]).read_bytes()


def test_two_tasks_are_ingested_with_their_labels(two, tmp_path):
    from astroml.config import Ingest
    from astroml.ingest import run

    path = tmp_path / "0.h5"
    sizes = Ingest(size={"galaxy": SIZE}, missing_bands="keep")
    run.ingest(
        two / "manifest.csv", survey_of("decals"), [path], [tmp_path / "r.parquet"], sizes,
        splits=Splits(), cutouts=["galaxy"],
    )  # fmt: skip
    check_two(store.open_store(path).objects)


def test_two_tasks_fill_one_store(tmp_path):
    path = tmp_path / "0.h5"
    args = {"splits": Splits(), "size": SIZE, "seed": 3, "device": "cpu"}
    simulate.simulate_store(TWO, survey_of("decals"), path, **args)
    check_two(store.open_store(path).objects)


def check_two(objects):
    targets, labelled = tasks.load("lens").targets(objects)
    assert labelled.sum() == 40
    assert (targets["is_lens"][labelled] == 1).sum() == 16
    tasks.load("lens").check({"is_lens": targets["is_lens"][labelled]}, "train")
    redshifts = objects["z_spec"].astype(float)
    assert np.isfinite(redshifts).sum() == 30
    assert np.isnan(redshifts[labelled]).all()
    assert not (objects["group"][~labelled] >= 0).any()


def test_tasks_of_different_cutouts_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(tasks.load("photoz"), "SET", "cluster")
    args = {"size": SIZE, "seed": 3, "device": "cpu"}
    with pytest.raises(AstromlError, match="lens galaxy, photoz cluster"):
        simulate.simulate_survey(TWO, survey_of("decals"), tmp_path, **args)


def test_the_command_takes_several_tasks(tmp_path):
    from typer.testing import CliRunner

    from astroml.cli import app

    options = "{lens: {objects: 6}, photoz: {objects: 4}}"
    args = ["simulate", "--task", "lens", "--task", "photoz", "--options", options]
    args += ["--size", "32", "--out", str(tmp_path), "--device", "cpu"]
    done = CliRunner().invoke(app, args, catch_exceptions=False)
    assert done.exit_code == 0
    assert [row["labels"] for row in rows_of(tmp_path)] == ["lens"] * 6 + ["photoz"] * 4
    with pytest.raises(AstromlError, match="no such task"):
        CliRunner().invoke(
            app, [*args[:4], "redshift", "--out", str(tmp_path)], catch_exceptions=False
        )


def test_inject_writes_a_labelled_store(shard, tmp_path):
    settings = Inject(copies=2, seed=4)
    simulate.inject([shard], settings, Sky(), survey_of("decals"), tmp_path / "0.h5", device="cpu")
    before, after = store.open_store(shard), store.open_store(tmp_path / "0.h5")
    assert len(after) == 140
    assert (after.objects["is_lens"] == 1).all()
    assert (after.objects["host_id"] == np.tile(before.objects["object_id"], 2)).all()
    wanted = [*before.objects["object_id"] * 1000, *before.objects["object_id"] * 1000 + 1]
    assert (after.objects["object_id"] == wanted).all()
    assert (after.objects["split"] == np.tile(before.objects["split"], 2)).all()
    first, second, host = (
        after.read([5])["image"],
        after.read([75])["image"],
        before.read([5])["image"],
    )
    assert (first - host).sum() > 0
    assert np.abs(first - second).max() > 0
    again = tmp_path / "again.h5"
    simulate.inject([shard], settings, Sky(), survey_of("decals"), again, device="cpu")
    assert again.read_bytes() == (tmp_path / "0.h5").read_bytes()


def test_inject_refuses_another_surveys_pixels(shard, tmp_path):
    with pytest.raises(
        AstromlError, match=r"survey sdss: pixel_scale 0\.396 arcsec, but the store"
    ):
        simulate.inject(
            [shard], Inject(), Sky(), survey_of("sdss"), tmp_path / "0.h5", device="cpu"
        )


def test_new_ids_of_text_and_of_large_numbers():
    assert simulate.new_ids(np.array(["a", "b"]), 1).tolist() == ["a-inj1", "b-inj1"]
    assert simulate.new_ids(np.array([12]), 3).tolist() == [12003]
    assert simulate.new_ids(np.array([1237648720693755918]), 0).tolist() == [
        "1237648720693755918-inj0"
    ]


def test_no_gpu_is_a_fault_with_a_remedy():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(AstromlError, match="--device cuda: no CUDA GPU is visible"):
        simulate.choose_device("cuda")
    assert simulate.choose_device("auto") == "cpu"


def injected(shard, out, **settings):
    settings = Inject(seed=4, **settings)
    simulate.inject([shard], settings, Sky(), survey_of("decals"), out, device="cpu")
    return store.open_store(out)


def test_pairs_are_hosts_with_and_without_their_arc(shard, tmp_path, capsys):
    before, after = store.open_store(shard), injected(shard, tmp_path / "0.h5", pairs=True)
    assert "left out: 28 hosts" in capsys.readouterr().out
    assert len(after) == 2 * 42
    objects = after.objects
    assert (objects["is_lens"] == np.repeat([1, 0], 42)).all()
    assert len(np.unique(objects["object_id"])) == 84
    assert set(before.objects["object_id"][before.objects["is_lens"] == 1]).isdisjoint(
        objects["host_id"]
    )
    for row in range(42):
        pair = [row, row + 42]
        assert len(set(objects["host_id"][pair])) == len(set(objects["group"][pair])) == 1
        assert len(set(objects["split"][pair])) == 1
        where = np.flatnonzero(before.objects["object_id"] == objects["host_id"][row])
        host = before.read(where)["image"][0]
        np.testing.assert_array_equal(after.read([row + 42])["image"][0], host)
        assert (after.read([row])["image"][0] - host).sum() > 0
    # Hosts share a group with their own copies alone.
    assert np.unique(objects["group"], return_counts=True)[1].max() == 2


def test_injected_rows_have_all_labels(shard, tmp_path):
    before = store.open_store(shard)
    objects = injected(shard, tmp_path / "0.h5", pairs=True).objects
    names = ("theta_e", "arc_snr", "e1", "e2", "shear_1", "source_x", "lens_mag")
    for name in names:
        assert (objects[name][:42] != 0).all(), name
        assert (objects[name][42:] == 0).all(), name
    assert set(before.objects) <= set(objects)
    assert (objects["kind"] == np.repeat(["lens", "twin"], 42)).all()
    hosts = np.searchsorted(before.objects["object_id"], objects["host_id"])
    np.testing.assert_array_equal(objects["artefact"], before.objects["artefact"][hosts])
    np.testing.assert_allclose(objects["seeing"], before.objects["seeing"][hosts], rtol=1e-5)
    truth = tasks.load("lens", "sky").population(POPULATION, survey_of("decals"), 3)
    plain = (truth["kind"] == "elliptical") | (truth["kind"] == "twin")
    # Of g, r and z, r lies nearest to i.
    mags = 31.4 - 2.5 * np.log10(truth["part_flux"][plain, 0, 1])
    wanted = dict(zip(truth["object_id"][plain], mags))
    gaps = [
        mag - wanted[host]
        for mag, host in zip(objects["lens_mag"][:42], objects["host_id"])
        if host in wanted
    ]
    # The aperture misses the wings.
    assert 0 < np.median(gaps) < 0.5
    assert np.std(gaps) < 0.4


def test_a_grid_is_filled_evenly_and_the_snr_is_the_wanted_one(shard, tmp_path):
    after = injected(shard, tmp_path / "0.h5", grid=True, copies=10)
    theta_e, snr = after.objects["theta_e"], after.objects["arc_snr"]
    up = np.log(snr / 5) / np.log(200 / 5)
    assert (up > -0.01).mean() > 0.99
    assert (up < 1.01).all()
    cells = np.histogram2d((theta_e - 0.5) / 2.5, up, 10, [(0, 1), (0, 1)])[0]
    # 700 objects in 100 cells; those of the lowest S/N may fall below its edge.
    assert cells.min() >= 6
    assert cells.max() <= 8


def test_text_ids_and_unlabelled_hosts(shard, tmp_path):
    before = store.open_store(shard)
    planes = before.read(np.arange(4))
    keep = ("ra", "dec", "ebv", "flags", "split")
    objects = {name: before.objects[name][:4] for name in keep}
    objects["object_id"] = np.array(["a", "b", "c", "d"])
    store.write_shard(tmp_path / "text.h5", before.header, [planes | {"objects": objects}])
    after = injected(tmp_path / "text.h5", tmp_path / "0.h5", pairs=True)
    assert after.objects["object_id"].tolist()[3:5] == ["d-inj0", "a-bare"]
    assert np.isnan(after.objects["artefact"]).all()
