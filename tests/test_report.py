"""The page of a run and the summary: every section, nothing from outside, the same bytes."""

import base64
import hashlib
import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pages import build

from astroml import config, score, tasks
from astroml.catalog.write import write_catalog
from astroml.errors import AstromlError
from astroml.provenance import digest
from astroml.report import figures, gallery, metrics, mosaic, page, terminal, viewers
from astroml.report.gather import Run
from astroml.store import Header, open_store, write_shard

BANDS = ("g", "r", "z")
SIZE = 32
KINDS = np.array(["lens", "twin", "spiral", "edge_on"])


def draw_galaxies(n, rng):
    """Return blobs with noise, red in the middle, and a blue ring round each lens."""
    y, x = np.mgrid[:SIZE, :SIZE] - (SIZE - 1) / 2
    radius = np.hypot(x, y)
    kind = KINDS[rng.integers(0, len(KINDS), n)]
    kind[rng.random(n) < 0.3] = "lens"
    theta_e = rng.uniform(0.5, 3, n)
    flux = 10 ** rng.uniform(1.5, 2.5, n)
    core = np.exp(-radius / rng.uniform(1.5, 4, n)[:, None, None]) * flux[:, None, None]
    ring = np.exp(-0.5 * ((radius - theta_e[:, None, None] / 0.262) / 1.2) ** 2) * 12
    ring *= (kind == "lens")[:, None, None] * (0.5 + 0.5 * np.sign(x))
    image = np.stack([core * a + ring * b for a, b in ((0.3, 1.2), (1.0, 1.0), (2.0, 0.7))], axis=1)
    image += rng.normal(size=image.shape) * 2
    return image.astype(np.float32), kind, theta_e


def write_store(path, n, first, labelled=True):
    rng = np.random.default_rng(first)
    image, kind, theta_e = draw_galaxies(n, rng)
    objects = {
        "object_id": np.arange(first, first + n),
        "ra": rng.uniform(150, 151, n),
        "dec": rng.uniform(2, 3, n),
        "ebv": np.zeros(n),
        "flags": np.zeros(n, np.int32),
        "split": np.array(["train", "val", "test"])[rng.integers(0, 3, n)],
    }
    if labelled:
        lens = kind == "lens"
        objects |= {"is_lens": lens.astype(np.int8), "kind": kind}
        objects["theta_e"] = np.where(lens, theta_e, np.nan)
    block = {
        "image": image,
        "mask": np.zeros(image.shape, np.uint8),
        "sigma": np.full((n, 3), 2, np.float32),
        "psf_fwhm": np.full((n, 3), 1.2, np.float32),
        "objects": objects,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_shard(path, Header("galaxy", BANDS, SIZE, 0.262, "decals"), [block])
    return kind == "lens"


def write_rows(path, store, lens, seed=0):
    rng = np.random.default_rng(seed)
    objects = open_store(store).objects
    logit = rng.normal(size=len(lens)) * 1.5 + np.where(lens, 2.0, -2.0)
    rows = {name: objects[name] for name in ("object_id", "ra", "dec")}
    rows["lens_prob"] = (1 / (1 + np.exp(-logit))).astype(np.float32)
    rows |= {"lens_score": logit.astype(np.float32)}
    for column in tasks.load("lens").COLUMNS:
        rows.setdefault(column.name, rng.normal(size=len(lens)).astype(column.dtype))
    rows["flags"] = objects["flags"]
    rows |= {"weights": ["0123456789abcdef"] * len(lens), "input": ["fedcba9876543210"] * len(lens)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(rows), path)


def write_card(path):
    path.parent.mkdir(parents=True)
    history = [
        {"train_loss": 0.7 / k**0.5, "val": 0.6 / k**0.5 + 0.002 * k, "lr": 1e-3}
        for k in range(1, 21)
    ]
    train = {"seed": 1}
    made = {"version": "0.1.0", "options_hash": "00ff"}
    card = {"history": history, "options": {"train": train}, "provenance": made, "best_epoch": 17}
    path.write_text(json.dumps(card))


def write_common(results):
    write_card(results / "weights/lens.json")
    (results / "benchmarks").mkdir()
    for name, seconds, peak, cpu in (
        ("another", 0.2, "-", "-"),
        ("ingest.galaxy.0", 12.5, "-", 12.5),
        ("ingest.galaxy.1", 13.5, 850.5, 12),
        ("train.lens", 200, 850.5, 400),
    ):
        text = f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t0:00:12\t{peak}\t{cpu}\n"
        (results / "benchmarks" / f"{name}.tsv").write_text(text)
    reasons = ["r: no such file", "r: no such file", "z: truncated"]
    rejects = {
        "object_id": [7, 8, 9],
        "file": ["a/7.fits", "a/8.fits", "a/9.fits"],
        "stage": ["read"] * 3,
        "reason": reasons,
    }
    pq.write_table(pa.table(rejects), results / "store/galaxy/rejects.parquet")


def simulated_run(root):
    """Lay out a finished run on a simulated survey."""
    results, catalogs = root / "results/demo", root / "catalogs/demo"
    for chunk in range(2):
        shard = results / f"store/galaxy/{chunk}.h5"
        lens = write_store(shard, 400, 1000 * (chunk + 1))
        write_rows(results / f"rows/lens/store/{chunk}.parquet", shard, lens, seed=chunk)
    rows = sorted((results / "rows/lens/store").glob("*.parquet"))
    score.score("lens", rows, results / "store/galaxy", results / "metrics/lens.json", bootstrap=20)
    write_catalog("lens", rows, [catalogs / "lens.parquet", catalogs / "lens.fits"])
    write_common(results)
    return config.load({"run": "demo", "tasks": {"lens": {}}}), results, catalogs


def real_run(root):
    """Lay out a run on real objects, trained on a simulated sky, with injected lenses."""
    results, catalogs = root / "results/real", root / "catalogs/real"
    for place, n, labelled in (("store/galaxy/0", 46, False), ("sky/galaxy/0", 900, True)):
        lens = write_store(results / f"{place}.h5", n, 1000, labelled)
        name = place.replace("galaxy/", "").replace("galaxy", "0")
        lens = lens if labelled else np.zeros(n, bool)
        write_rows(results / f"rows/lens/{name}.parquet", results / f"{place}.h5", lens)
    shard = results / "injected/galaxy/0.h5"
    lens = write_store(shard, 92, 1000)  # with bare hosts among them
    write_rows(results / "rows/lens/injected/0.parquet", shard, lens, seed=4)
    sky = [results / "rows/lens/sky/0.parquet"]
    score.score(
        "lens", sky, results / "sky/galaxy/0.h5", results / "metrics/lens.json", bootstrap=20
    )
    write_common(results)
    options = {"run": "real", "train_on": "simulated", "tasks": {"lens": {}}, "inject": {}}
    options["input"] = {"manifest": "galaxies.csv"}
    return config.load(options), results, catalogs


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    root = tmp_path_factory.mktemp("simulated")
    run = simulated_run(root)
    return run, build(run, root / "report.html")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    run = real_run(root)
    return run, build(run, root / "report.html")


def test_every_section_is_there_and_linked(simulated):
    _, found = simulated
    ids = {attrs["id"] for _, attrs in found.tags if "id" in attrs}
    links = {attrs["href"] for attrs in found.all("a")}
    assert {one for one in links if one.startswith("#")} == {f"#{one}" for one in ids}
    parts = {"lens", "lens-top", "lens-table", "lens-mistakes"}
    assert {"ran", *parts, "rejects", "time", "files"} == ids


def test_what_ran_is_counted(simulated):
    _, found = simulated
    assert 'galaxy, for lens g, r, z 32 px of 0.262", 8.4" a side 803 800 3' in found.text
    splits = open_store(simulated[0][1] / "store/galaxy").objects["split"].tolist()
    assert ", ".join(f"{splits.count(one)} {one}" for one in ("train", "val", "test")) in found.text
    assert "g, r, z" in found.text
    assert "0123456789abcdef" in found.text
    assert "20, the best is 17" in found.text


def test_metrics_stand_with_uncertainty_and_meaning(simulated):
    (_, results, _), found = simulated
    measured = json.loads((results / "metrics/lens.json").read_text())["metrics"]
    shown = metrics.value_text(measured["auroc"])
    assert re.fullmatch(r"0\.\d+ ± 0\.\d+", shown)
    assert shown in found.text
    assert "Area under the ROC curve" in found.text
    assert "False positives: edge-on" in found.text
    assert "Purity to expect on the sky" in found.text


def test_nothing_comes_from_outside_and_every_picture_has_words(simulated, real):
    for _, found in (simulated, real):
        for attrs in found.all("img"):
            assert attrs["src"].startswith("data:image/png;base64,")
            assert len(attrs["alt"]) > 20
        for attrs in found.all("source"):
            assert attrs["srcset"].startswith("data:image/png;base64,")
        assert found.all("script") == [{}]
        assert not found.all("link")
        (rules,) = (one["content"] for one in found.all("meta") if one.get("http-equiv"))
        assert rules.startswith("default-src 'none'; img-src data:;")
        outside = [one for one in found.all("a") if not one["href"].startswith("#")]
        assert len(outside) >= 5 * 46
        known = tuple(address.split("{")[0] for address in viewers.VIEWERS.values())
        for attrs in outside:
            assert attrs["href"].startswith(known)
            assert attrs["rel"] == "noopener noreferrer"


def test_figures_and_mosaics_of_a_labelled_run(simulated):
    _, found = simulated
    for words in ("Completeness against false positives", "Can the probability be believed?",
                  "Scores by truth", "Who the false positives are", "Purity on the sky",
                  "Completeness against Einstein radius", "Training", "Missed: lens by truth",
                  "False positives: no lens"):  # fmt: skip
        assert words in found.text, words
    cutouts = [attrs for attrs in found.all("img") if attrs["alt"].startswith("Colour cutout")]
    assert 24 < len(cutouts) <= 24 + 2 * gallery.MISTAKES


def test_the_baseline_stands_beside_the_network(simulated):
    (_, results, _), found = simulated
    (roc,) = (attrs["alt"] for attrs in found.all("img") if attrs["alt"].startswith("ROC curve"))
    assert roc.endswith("log axis: network and hand-made features.")
    measured = json.loads((results / "metrics/lens.json").read_text())["metrics"]
    assert metrics.value_text(measured["auroc_baseline"]) in found.text
    assert "Area under the ROC curve, hand-made features" in found.text


def test_a_baseline_of_some_objects_only_is_not_drawn(simulated, tmp_path):
    (options, results, catalogs), _ = simulated
    folder = tmp_path / "demo"
    shutil.copytree(results, folder)
    left = folder / "metrics/lens.baselines.parquet"
    table = pq.read_table(left).to_pydict()
    table["lens_prob_gbdt"][3] = np.nan
    pq.write_table(pa.table(table), left)
    found = build((options, folder, catalogs), tmp_path / "report.html")
    (roc,) = (attrs["alt"] for attrs in found.all("img") if attrs["alt"].startswith("ROC curve"))
    assert roc.endswith("log axis: network.")


def test_roc_curves_are_those_of_each_score():
    from matplotlib.figure import Figure

    truth = np.arange(200) < 100
    perfect, half = truth * 1.0, np.where(np.arange(200) % 2, truth * 1.0, -1)
    figure = Figure()
    figures.draw_roc(truth.astype(int), {"good": perfect, "poor": half})(figure, figures.LIGHT)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    shown = {name: lines[name].get_ydata()[1] for name in ("good", "poor")}
    assert shown == {"good": 1.0, "poor": 0.5}
    assert lines["good"].get_linestyle() != lines["poor"].get_linestyle()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["good", "poor", "chance"]


def test_rejects_and_times_are_listed(simulated):
    _, found = simulated
    assert "3 objects were rejected" in found.text
    assert "2 read r: no such file 1 read z: truncated" in found.text
    text = found.text.replace("851 MB", "850 MB")
    assert "ingest.galaxy 2 26.0 s 13.5 s 24.5 s 850 MB" in text
    assert "train.lens 1 3 min 20 s 3 min 20 s 6 min 40 s 850 MB" in text
    assert "all 4 3 min 46 s 3 min 20 s 7 min 04 s 850 MB" in text
    order = [text.index(f" {stage} 1 ") for stage in ("train.lens", "another")]
    assert text.index("ingest.galaxy 2") < order[0] < order[1], "in the order they run"


def test_a_real_run_is_told_apart(simulated, real):
    warning = "loses much on real sky"
    assert warning in real[1].text
    assert warning not in simulated[1].text
    assert "This sky is simulated" in simulated[1].text
    assert "the simulated sky made to train on" in real[1].text


def test_injected_signals_are_compared_at_the_test_sets_threshold(real):
    _, found = real
    assert "Scores with and without injected signal" in found.text
    assert re.search(
        r"Above the dotted line at 0\.\d+ \(false-positive rate 1e-2 on the test set\) lie "
        r"\d+\.\d% of the same with injected signal and \d+\.\d% of the real objects",
        found.text,
    )


def test_bare_hosts_are_no_injected_signals(real):
    (options, results, catalogs), found = real
    label = open_store(results / "injected/galaxy").objects["is_lens"]
    assert 0 < label.sum() < len(label)
    assert len(Run(options, results, catalogs).evidence()[0].injected()["lens_prob"]) == label.sum()
    rows = pq.read_table(results / "rows/lens/injected/0.parquet").to_pydict()
    prob = np.array(rows["lens_prob"])[label == 1]
    cut = float(re.search(r"the dotted line at (0\.\d+) \(false", found.text)[1])
    share = f"{100 * np.mean(prob > cut):.1f}% of the same with injected signal"
    assert share in found.text


def test_the_card_of_an_ensemble_is_its_first_members(tmp_path):
    (options, results, catalogs) = simulated_run(tmp_path)
    shutil.move(results / "weights/lens.json", results / "weights/lens.0.json")
    for member in range(2):
        (results / f"weights/lens.{member}.safetensors").write_bytes(bytes([member]))
    alone = Run(options, results, catalogs).evidence()[0]
    assert alone.card == {}
    assert alone.members == 1
    both = config.load({"run": "demo", "tasks": {"lens": {"members": 2}}})
    evidence = Run(both, results, catalogs).evidence()[0]
    assert evidence.card["best_epoch"] == 17
    assert evidence.weights_hash == "0123456789abcdef"
    found = build((both, results, catalogs), tmp_path / "report.html")
    assert "Networks 2, each of another seed" in found.text
    assert "Epochs of the first network 20, the best is 17" in found.text
    assert "Of the first network of the ensemble." in found.text
    # Without rows the files themselves are named.
    shutil.rmtree(results / "rows")
    hashes = [digest(results / f"weights/lens.{member}.safetensors") for member in range(2)]
    assert Run(both, results, catalogs).evidence()[0].weights_hash == ", ".join(hashes)


def test_the_card_of_given_weights_is_theirs(tmp_path):
    (_, results, catalogs) = simulated_run(tmp_path)
    write_card(tmp_path / "mine/best.json")
    card = json.loads((tmp_path / "mine/best.json").read_text()) | {"best_epoch": 3}
    (tmp_path / "mine/best.json").write_text(json.dumps(card))
    given = {"weights": str(tmp_path / "mine/best.safetensors"), "members": 4}
    options = config.load({"run": "demo", "tasks": {"lens": given}})
    evidence = Run(options, results, catalogs).evidence()[0]
    assert (evidence.card["best_epoch"], evidence.members) == (3, 1)


def test_candidates_come_in_the_order_of_the_score(simulated):
    (_, _, catalogs), found = simulated
    best = pq.read_table(catalogs / "lens.parquet").sort_by([("lens_prob", "descending")])
    ids = [str(one) for one in best["object_id"].to_pylist()[:24]]
    drawn = [attrs["alt"] for attrs in found.all("img") if attrs["alt"].startswith("Colour cutout")]
    assert [text.split("object ")[1].split(",")[0] for text in drawn[:24]] == ids


def test_one_percent_of_the_negatives_pass_the_threshold(real):
    (options, results, catalogs), _ = real
    evidence = Run(options, results, catalogs).evidence()[0]
    truth, rows = evidence.truth_and_rows
    negatives = rows["lens_prob"][truth["is_lens"] == 0]
    assert 0 < (negatives > evidence.threshold).sum() <= 0.01 * len(negatives)
    assert set(truth["split"]) == {"test"}


def test_kinds_stand_beside_their_own_rate():
    from matplotlib.figure import Figure

    figure = Figure()
    kinds = np.array(["a"] * 10 + ["b"] * 10)
    figures.draw_kinds(kinds, np.arange(20) >= 15, "0.5")(figure, figures.LIGHT)
    axes = figure.axes[0]
    x, y = axes.lines[0].get_data()
    shown = dict(zip(y.tolist(), x.tolist()))
    names = {
        tick: label.get_text() for tick, label in zip(axes.get_yticks(), axes.get_yticklabels())
    }
    assert {names[place]: share for place, share in shown.items()} == {"a (10)": 0, "b (10)": 0.5}


def test_cutouts_are_those_of_the_ids_the_first_row_at_the_bottom(simulated):
    import io

    from matplotlib.image import imread

    (_, results, _), _ = simulated
    store = open_store(results / "store/galaxy")
    one, two, again = mosaic.cutouts(store, np.array([2100, 1005, 2100]))
    assert one == again != two
    pixels = imread(io.BytesIO(base64.b64decode(one.split(",")[1])))[..., :3]
    row = store.objects["object_id"].tolist().index(2100)
    mean = store.read([row])["image"][0].mean(axis=0)
    shown = pixels.mean(axis=2)
    assert np.corrcoef(mean[::-1].ravel(), shown.ravel())[0, 1] > 0.8
    assert shown.shape == (SIZE, SIZE)
    assert (
        np.corrcoef(mean[::-1].ravel(), shown.ravel())[0, 1]
        > np.corrcoef(mean.ravel(), shown.ravel())[0, 1]
    )


def test_same_files_same_bytes_even_when_the_page_is_there_already(simulated):
    run, _ = simulated
    first, second = run[1].parents[1] / "report.html", run[1] / "report.html"
    second.touch()
    page.build(*run, second)
    assert first.read_bytes() == second.read_bytes()


def test_an_empty_run_still_gives_a_page(tmp_path):
    (tmp_path / "results").mkdir()
    run = (config.load({"tasks": {"lens": {}}}), tmp_path / "results", tmp_path / "catalogs")
    found = build(run, tmp_path / "report.html")
    for words in ("No metrics", "No figures", "No candidates", "no labels", "No table of rejects",
                  "No benchmarks", "No files"):  # fmt: skip
        assert words in found.text, words
    with pytest.raises(AstromlError, match="run the workflow first"):
        page.build(run[0], tmp_path / "nothing", tmp_path, tmp_path / "report.html")


def test_hostile_text_stays_text(tmp_path):
    results = tmp_path / "results"
    (results / "store/galaxy").mkdir(parents=True)
    bad = "<script>alert(1)</script>"
    table = {"object_id": ["a"], "file": [bad], "stage": ["read"], "reason": [bad]}
    pq.write_table(pa.table(table), results / "store/galaxy/rejects.parquet")
    run = (config.load({"tasks": {"lens": {}}}), results, tmp_path)
    found = build(run, tmp_path / "report.html")
    assert found.all("script") == [{}]
    assert bad in found.text
    # Whatever slips in does not run: the browser is told of one script alone.
    text = (tmp_path / "report.html").read_text()
    ours = text.split("<script>")[1].split("</script>")[0]
    digest_ = base64.b64encode(hashlib.sha256(ours.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest_}'" in text


def test_text_ids_and_unlabelled_objects(tmp_path):
    run = real_run(tmp_path)
    (run[1] / "metrics/lens.json").unlink()
    for folder in ("rows/lens/sky", "sky", "injected", "rows/lens/injected"):
        shutil.rmtree(run[1] / folder)
    found = build(run, tmp_path / "report.html")
    assert "Scores of the run's objects" in found.text
    assert "Not known: there are no labels" in found.text


def test_colours_are_half_way_to_white_and_keep_their_hue():
    rng = np.random.default_rng(0)
    image = rng.normal(size=(5, 3, 20, 20)) * 0.1
    spectrum = np.array([40.0, 20.0, 5.0])
    image[:, :, 8:12, 8:12] += spectrum[:, None, None]
    image[0, 2, 2:4, 2:4] += 20  # something blue
    rgb = mosaic.colour(image, np.full((5, 3), 0.1))
    assert rgb.shape == (5, 20, 20, 3)
    assert rgb.dtype == np.uint8
    core = rgb[1, 10, 10].astype(int)
    # Fluxes 8:4:1 are shown as their roots; faint sky is dark grey, neither black nor coloured.
    np.testing.assert_allclose(core / core[0], [1, 2**-0.5, 8**-0.5], atol=0.05)
    sky = rgb[1, :6, :6].astype(int)
    assert 20 < sky.mean() < 80
    assert np.ptp(sky.mean((0, 1))) < 10
    assert rgb[0, 3, 3, 2] > rgb[0, 3, 3, :2].max() + 50


@pytest.mark.parametrize(
    ("bands", "red_green_blue"),
    [(("r",), [0, 0, 0]), (("g", "r"), [1, 1, 0]), (("g", "r", "z"), [2, 1, 0]),
     (("u", "g", "r", "i", "z"), [4, 2, 0])],
)  # fmt: skip
def test_bands_of_the_colours(bands, red_green_blue):
    assert mosaic.colour_bands(bands) == red_green_blue


def test_wilson_intervals_at_the_ends():
    share, below, above = figures.wilson([0, 20, 10], [20, 20, 20])
    np.testing.assert_allclose(share, [0, 1, 0.5])
    np.testing.assert_allclose([below[0], above[0]], [0, 1 / 21], atol=1e-12)
    np.testing.assert_allclose([below[1], above[1]], [1 / 21, 0], atol=1e-12)
    np.testing.assert_allclose(below[2], above[2])
    np.testing.assert_allclose(below[2], 0.5 / np.sqrt(21))


def test_durations_and_values_read_well():
    assert [page.duration(one) for one in (3.21, 200, 7300)] == ["3.2 s", "3 min 20 s", "2 h 1 min"]
    assert metrics.value_text({"value": 0.98765, "error": 0.0123}) == "0.988 ± 0.012"
    assert metrics.value_text({"value": 0.5, "error": 0.2}) == "0.50 ± 0.20"
    assert metrics.value_text({"value": None, "error": None}) == "not measured"


def test_summary_shows_rows_metrics_and_files(simulated, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    (_, results, catalogs), _ = simulated
    terminal.show(results, catalogs, 3)
    said = capsys.readouterr().out
    best = pq.read_table(catalogs / "lens.parquet").sort_by([("lens_prob", "descending")])
    for row in best.slice(0, 3).to_pylist():
        assert str(row["object_id"]) in said
    assert str(best["object_id"][3].as_py()) not in said
    assert "top 3 of 800" in said
    assert re.search(r"auroc.*0\.\d+ ± 0\.\d+", said)
    for path in (
        catalogs / "lens.parquet",
        catalogs / "lens.fits",
        results / "store/galaxy/rejects.parquet",
    ):
        assert str(path) in said
    assert "injected" not in said


def test_summary_of_nothing_is_refused(tmp_path):
    with pytest.raises(AstromlError, match="nothing of a run"):
        terminal.show(tmp_path / "a", tmp_path / "b", 5)
