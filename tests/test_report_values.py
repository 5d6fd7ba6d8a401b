"""The page of a task that measures a quantity: its own figures, a walk over values, bins apart."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import build

from astroml import config, score, tasks
from astroml.catalog.write import write_catalog
from astroml.report import gallery, terminal
from astroml.report.gather import Run, evenly
from astroml.store import Header, open_store, write_shard
from astroml.tasks import Column, Panel

BINS = 60
SIZE = 24


def z_column(name):
    return Column(name, "float32", "", "src.redshift.phot", f"Redshift {name}")


def targets(objects):
    z_spec = objects.get("z_spec", np.full(len(objects["object_id"]), np.nan))
    return {"z_spec": np.asarray(z_spec, np.float32)}, np.isfinite(z_spec)


def baselines(store):
    """Another method's word on each object: here, its own id over a thousand."""
    return {"z_knn": store.objects["object_id"] / 1000}


def error(truth, rows):
    return np.abs(rows["z_phot"] - truth["z_spec"]) / (1 + truth["z_spec"])


def measure(truth, rows, bootstrap):
    dz = error(truth, rows)
    values = {"sigma_mad": (1.4826 * np.median(dz), 0.001), "sigma_mad_knn": (0.04, 0.002)}
    values["bias"] = (0.00031, 0.00042)
    for low in (0.3, 0.0, 0.15):
        place = f"zphot_{low:.2f}_{low + 0.15:.2f}"
        values |= {f"sigma_mad_{place}": (0.0123 + low, 0.001), f"bias_{place}": (-low, 0.01)}
    return values | {"sigma_mad_mag_17.5_18.0": (0.0456, 0.003), "n_mag_17.5_18.0": (1234, 0)}


def panels(truth, rows):
    centre = np.linspace(0.05, 0.55, 8)
    noise = 0.004 * np.sin(7 * centre)
    error = np.full(8, 0.002)
    counts, edges = np.histogram(np.random.default_rng(3).random(900), 20, (0, 1))
    six = [f"object {one}" for one in rows["object_id"][:6]]
    grid = rows["pz_first"][0] + rows["pz_step"][0] * np.arange(BINS)
    curves = dict(zip(six, ((grid, pz) for pz in rows["pz"])))
    words = ("for those who cannot see it", "A caption.")
    return [
        Panel("density", "z against z", *words, "z_spec", "z_phot",
              {"x": truth["z_spec"], "y": rows["z_phot"]}),
        Panel("points", "Bias against z", *words, "z_phot", "median dz",
              {"series": {"network": (centre, noise, error), "neighbours": (centre, -noise, error),
                          "trees": (centre, noise + 0.004, error)}, "bands": [(-0.005, 0.005)]}),
        Panel("points", "Coverage", *words, "claimed", "inside",
              {"series": {"measured": (centre, centre + noise, error),
                          "exact": (centre, centre, None)}, "bands": []}),
        Panel("bars", "PIT", *words, "PIT", "objects",
              {"edges": edges, "counts": counts, "expected": 45}),
        Panel("curves", "Six objects", *words, "redshift", "p(z)",
              {"series": curves, "marks": {"z_spec": truth["z_spec"][:6],
                                           "z_phot": rows["z_phot"][:6]}}),
    ]  # fmt: skip


def make_task():
    """Return a task as photo-z is one, from here alone."""
    columns = [z_column("z_phot"), z_column("pz_first"), z_column("pz_step")]
    lists = Column("pz", "float32", "", "stat.probability", "p(z)", length="bins")
    return SimpleNamespace(
        __doc__="Redshifts, for the tests.",
        SET="galaxy",
        LABEL="z_spec",
        COLUMNS=(*columns, lists),
        METRICS={"sigma_mad": ("Scatter", "1.48 MAD."), "sigma_mad_*": ("Scatter, *", "Also.")},
        AXES={"zphot": "photometric redshift"},
        ERROR="|z_phot - z_spec| / (1 + z_spec)",
        **{one.__name__: one for one in (targets, baselines, error, panels)},
        score=measure,
    )


@pytest.fixture(scope="module")
def task():
    """Let the name photoz stand for the task from here."""
    config.config_model()  # is kept from its first call, and must be that of the real tasks
    made, load = make_task(), tasks.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tasks, "load", lambda name, part="": made if name == "photoz" else load(name, part)
        )
        yield made


def write_store(path, n, first, labelled=True):
    """Write round galaxies, the farther the fainter, smaller and redder."""
    rng = np.random.default_rng(first)
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    z = rng.gamma(3, 0.06, n).clip(0.01, 0.6)
    light = (
        np.exp(-np.hypot(x, y) / (4 - 4 * z)[:, None, None]) * 200 * np.exp(-4 * z)[:, None, None]
    )
    colour = np.stack([0.8 - z, 0.8 + 0 * z, 0.9 + z], axis=1)[:, :, None, None]
    image = light[:, None] * colour + rng.normal(0, 2, (n, 3, SIZE, SIZE))
    objects = {
        "object_id": np.arange(first, first + n),
        "ra": rng.uniform(150, 151, n),
        "dec": rng.uniform(2, 3, n),
        "ebv": np.zeros(n),
        "flags": np.zeros(n, np.int32),
        "split": np.array(["train", "val", "test"])[np.arange(n) % 3],
    }
    if labelled:
        objects["z_spec"] = np.where(np.arange(n) % 7 == 0, np.nan, z)
    block = {
        "image": image.astype(np.float32),
        "mask": np.zeros(image.shape, np.uint8),
        "sigma": np.full((n, 3), 2, np.float32),
        "psf_fwhm": np.full((n, 3), 1.2, np.float32),
        "objects": objects,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(path, Header("galaxy", ("g", "r", "z"), SIZE, 0.262, "decals"), [block])
    return z


def write_rows(path, store, z):
    rng = np.random.default_rng(len(z))
    objects = open_store(store).objects
    far = rng.random(len(z)) < 0.02
    z_phot = np.where(
        far, rng.uniform(0, 0.6, len(z)), z + 0.02 * (1 + z) * rng.normal(size=len(z))
    )
    grid = (np.arange(BINS) + 0.5) * 0.7 / BINS
    pz = np.exp(-0.5 * ((grid - z_phot[:, None]) / 0.03) ** 2)
    pz = (pz / pz.sum(1, keepdims=True) / grid[0] / 2).astype(np.float32)
    rows = {name: objects[name] for name in ("object_id", "ra", "dec")}
    rows["z_phot"] = np.maximum(z_phot, 0).astype(np.float32)
    rows |= {name: np.full(len(z), one, np.float32) for name, one in
             (("pz_first", grid[0]), ("pz_step", 2 * grid[0]))}  # fmt: skip
    rows["pz"] = pa.FixedSizeListArray.from_arrays(pa.array(pz.ravel()), BINS)
    rows["flags"] = objects["flags"]
    rows |= dict.fromkeys(("weights", "input"), pa.array(["ab"] * len(z), pa.string()))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path)


def lay_out(root, labelled=True, n=600):
    """Lay out a finished run of the task."""
    results, catalogs = root / "results/far", root / "catalogs/far"
    shard = results / "store/galaxy/0.h5"
    rows = results / "rows/photoz/store/0.parquet"
    write_rows(rows, shard, write_store(shard, n, 1000, labelled))
    if labelled:
        out = results / "metrics/photoz.json"
        score.score("photoz", [rows], shard, out, bootstrap=20)
    write_catalog("photoz", [rows], [catalogs / "photoz.parquet"])
    (results / "weights").mkdir()
    history = [{"train_loss": 4 / k**0.3, "val": 3.8 / k**0.3} for k in range(1, 9)]
    fit = {"pit_before": [50, 10, 10, 50], "pit_after": [30, 31, 29, 30]}
    fit |= {"pit_ks_before": 0.123, "pit_ks_after": 0.045}
    card = {"history": history, "calibration": fit}
    (results / "weights/photoz.json").write_text(json.dumps(card))
    return config.load({"run": "far", "tasks": {"photoz": {}}}), results, catalogs


@pytest.fixture(scope="module")
def far(task, tmp_path_factory):
    root = tmp_path_factory.mktemp("far")
    run = lay_out(root)
    return run, build(run, root / "report.html")


def alts(found):
    return [attrs["alt"] for attrs in found.all("img") if attrs["alt"].startswith("Colour cutout")]


def test_the_tasks_own_figures_are_drawn_with_their_words(far):
    _, found = far
    for title in ("z against z", "Bias against z", "Coverage", "PIT", "Six objects", "Training",
                  "z_phot of the run's objects", "What calibration mended"):  # fmt: skip
        assert title in found.text
    assert "0.123 before, 0.045 after" in found.text
    told = [attrs["alt"] for attrs in found.all("img")].count("for those who cannot see it")
    assert told == 5
    assert "Scores of the run" not in found.text
    assert "ROC" not in found.text


def test_objects_go_from_the_lowest_to_the_highest_value(far):
    (options, _, catalogs), found = far
    assert "Top candidates" not in found.text
    assert "From the lowest to the highest z_phot" in found.text
    values = pq.read_table(catalogs / "photoz.parquet")["z_phot"].to_numpy()
    drawn = alts(found)[: options.report.top]
    shown = [float(re.search(r"z_phot ([\d.]+)", text)[1]) for text in drawn]
    assert shown == sorted(shown)
    expected = np.quantile(values, np.linspace(0, 1, options.report.top), method="nearest")
    np.testing.assert_allclose(shown, expected, atol=0.003)


def test_tiles_say_the_truth_where_it_is_known(far):
    (_, results, _), found = far
    objects = open_store(results / "store/galaxy").objects
    truth = dict(zip(objects["object_id"].tolist(), objects["z_spec"]))
    unknown = 0
    for text in alts(found):
        z_spec = truth[int(re.search(r"object (\d+)", text)[1])]
        said = re.search(r"z_spec ([\d.]+)", text)
        assert bool(said) == np.isfinite(z_spec), text
        unknown += said is None
        assert said is None or abs(float(said[1]) - z_spec) < 0.001
    assert unknown, "some have no label"


def test_each_cutout_has_its_own_density(far):
    (_, _, catalogs), found = far
    drawn = [attrs["aria-label"] for attrs in found.all("svg")]
    assert len(drawn) == len(alts(found))
    rows = pq.read_table(catalogs / "photoz.parquet").to_pydict()
    z_phot = dict(zip(rows["object_id"], rows["z_phot"]))
    for words, alt in zip(drawn, alts(found)):
        expected = z_phot[int(re.search(r"object (\d+)", alt)[1])]
        # The width of the grid's bins, and what is cut off at 0.
        assert float(re.search(r"median ([\d.]+)", words)[1]) == pytest.approx(expected, abs=0.03)
        said = re.search(r"z_spec ([\d.]+)", alt)
        assert (f"truth {said[1]}" if said else "truth") in words or not said


def test_lists_are_read_of_the_rows_asked_for(far):
    evidence = Run(*far[0]).evidence()[0]
    rows = evidence.rows()
    assert "pz" not in rows
    every = np.stack(pq.read_table(evidence.row_files("store")[0])["pz"].to_pylist())
    places = np.array([7, 3, 599])
    np.testing.assert_array_equal(evidence.lists("store", places)["pz"], every[places])
    labelled = evidence.truth_and_rows[1]
    np.testing.assert_array_equal(labelled["pz"], every[labelled["object_id"] - 1000])


def test_the_worst_are_those_that_the_task_calls_so(far):
    (options, _, _), found = far
    assert "Largest |z_phot - z_spec| / (1 + z_spec) among" in found.text
    truth, rows = Run(*far[0]).evidence()[0].truth_and_rows
    size = error(truth, rows)
    worst = rows["object_id"][np.argsort(-size)][: gallery.MISTAKES].tolist()
    drawn = alts(found)[options.report.top :]
    assert [int(re.search(r"object (\d+)", text)[1]) for text in drawn] == worst
    assert f"error {size.max():.3f}" in drawn[0]


def test_a_task_that_cannot_say_what_is_wrong_shows_no_mistakes(far, task, monkeypatch, tmp_path):
    monkeypatch.delattr(task, "error")
    found = build(far[0], tmp_path / "report.html")
    assert "mistakes" not in found.text.lower()
    assert not [attrs for _, attrs in found.tags if attrs.get("id") == "photoz-mistakes"]


def test_other_methods_stand_beside_their_own_objects(far):
    evidence = Run(*far[0]).evidence()[0]
    truth, rows = evidence.compared
    np.testing.assert_array_equal(rows["z_knn"], rows["object_id"] / 1000)
    assert len(truth["z_spec"]) == len(rows["z_knn"]) < 600
    assert "z_knn" not in evidence.truth_and_rows[1]


def test_what_score_left_of_other_methods_is_not_made_anew(far):
    run, _ = far
    _, rows = Run(*run).evidence()[0].compared
    left = run[1] / "metrics/photoz.baselines.parquet"
    ids = rows["object_id"][::-1]
    pq.write_table(pa.table({"object_id": ids, "z_gbdt": ids / 500}), left)
    try:
        _, again = Run(*run).evidence()[0].compared
        np.testing.assert_array_equal(again["z_gbdt"], again["object_id"] / 500)
        assert "z_knn" not in again
        # Those of other objects are of no use.
        pq.write_table(pa.table({"object_id": ids[1:], "z_gbdt": ids[1:] / 500}), left)
        assert "z_knn" in Run(*run).evidence()[0].compared[1]
    finally:
        left.unlink()


def test_other_methods_are_asked_of_the_test_split_only(far):
    run, _ = far
    file = run[1] / "metrics/photoz.json"
    kept = file.read_text()
    file.write_text(json.dumps(json.loads(kept) | {"split": "all"}))
    (run[1] / "metrics/photoz.baselines.parquet").unlink(missing_ok=True)
    try:
        truth, rows = Run(*run).evidence()[0].compared
        assert set(truth["split"]) == {"train", "val", "test"}
        assert "z_knn" not in rows
    finally:
        file.write_text(kept)


def test_metrics_of_bins_are_folded_away(far):
    _, found = far
    text = found.text
    assert len(found.all("details")) == 2 + text.count("sky viewers")
    head, _, rest = text.partition("Metrics in 3 bins of photometric redshift")
    assert "Scatter 1.48 MAD." in head
    assert "0.00031 ± 0.00042" in head
    assert "0.15 to 0.30" not in head
    assert rest.index("0.00 to 0.15") < rest.index("0.15 to 0.30") < rest.index("0.30 to 0.45")
    assert "0.30 to 0.45 0.3123 ± 0.0010 -0.300 ± 0.010" in rest
    assert "Metrics in 1 bin of mag" in rest
    assert "17.5 to 18.0 0.0456 ± 0.0030 1,234" in rest


def test_no_labels_no_figures_of_truth(task, tmp_path):
    run = lay_out(tmp_path, labelled=False, n=90)
    found = build(run, tmp_path / "report.html")
    assert "z_phot of the run's objects" in found.text
    assert "No metrics" in found.text
    assert "z against z" not in found.text
    assert all("z_spec" not in text for text in alts(found))
    assert len(alts(found)) == run[0].report.top


def test_an_empty_run_still_gives_a_page(task, tmp_path):
    (tmp_path / "results").mkdir()
    run = (config.load({"tasks": {"photoz": {}}}), tmp_path / "results", tmp_path / "catalogs")
    found = build(run, tmp_path / "report.html")
    assert "No candidates" in found.text
    run = lay_out(tmp_path, labelled=False, n=0)
    assert "No candidates" in build(run, tmp_path / "report.html").text


def test_summary_leaves_out_lists_and_bins(far, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    (_, results, catalogs), _ = far
    terminal.show(results, catalogs, 4)
    said = capsys.readouterr().out
    assert "photoz: 4 of 600, from the lowest to the highest z_phot" in said
    assert re.search(r"sigma_mad .*0\.\d+ ± 0\.001", said)
    assert "zphot_0.15" not in said
    assert "and 8 in bins, in the file" in said
    values = np.sort(pq.read_table(catalogs / "photoz.parquet")["z_phot"].to_numpy())
    for value in (values[0], values[-1]):
        assert f"{value:.4g}" in said
    assert "pz_step" in said
    assert not re.search(r"\bpz\b", said)


@pytest.mark.parametrize(
    ("n", "count", "places"),
    [(0, 5, []), (1, 5, [0]), (3, 5, [0, 1, 2]), (9, 3, [0, 4, 8]), (5, 1, [0])],
)
def test_even_steps(n, count, places):
    assert evenly(n, count).tolist() == places


def test_summary_shows_the_columns_that_fit(far, capsys, monkeypatch):
    (_, results, catalogs), _ = far
    monkeypatch.setenv("COLUMNS", "52")
    terminal.show(results, catalogs, 4)
    said = capsys.readouterr().out
    first = said.split("sigma_mad")[0]
    assert "z_phot" in first
    assert "pz_step" not in first.split("further columns")[0]
    assert "further columns: pz_first, pz_step" in first
    assert max(len(line) for line in first.splitlines()) <= 52
    values = pq.read_table(catalogs / "photoz.parquet")["z_phot"].to_numpy()
    assert f" {values.max():.4g} " in first
