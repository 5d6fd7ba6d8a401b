"""The figures of the anomaly search say what the metrics do, and are drawn."""

import numpy as np
import pytest
from test_anomaly import made

from astroml import tasks
from astroml.report import charts
from astroml.tasks.anomaly import figures, metrics

ANOMALY = tasks.load("anomaly")


@pytest.fixture(scope="module")
def labelled():
    truth, rows = made(1000, share=0.02)
    return truth, rows, ANOMALY.panels(truth, rows)


def test_recall_by_model_is_that_of_the_metrics(labelled):
    truth, rows, (_, recall, _) = labelled
    found = metrics.score(truth, rows, bootstrap=2)
    for name, label in (("anomaly", "combined"), ("ae", "autoencoder")):
        percent, share = recall.data["series"][label]
        key = metrics._named("recall_top1pct", name)
        assert np.interp(1.0, percent, share) == pytest.approx(found[key][0], abs=0.05)
        assert share[-1] == 1
    assert "variational autoencoder" not in recall.data["series"]  # it has no score


def test_gain_by_labels_is_that_of_the_metrics(labelled):
    truth, rows, (_, _, gain) = labelled
    found = metrics.score(truth, rows, bootstrap=2)
    given, share = gain.data["series"]["top 1% of the list"]
    assert given.tolist() == [0, 10, 20, 30, 40, 50]
    assert share[0] == pytest.approx(found["recall_top1pct_before_labels"][0])
    assert share[-1] == pytest.approx(found["recall_top1pct_after_labels"][0])
    assert (share <= gain.data["series"]["a perfect list"][1] + 1e-9).all()


def test_shares_above_a_score_fall_to_none(labelled):
    for levels, share in labelled[2][0].data["series"].values():
        assert (np.diff(levels) > 0).all()
        assert (np.diff(share) <= 0).all()


def test_a_catalog_has_flux_and_maps_and_all_are_drawn(labelled):
    truth, rows, panels = labelled
    n = len(truth["kind"])
    rng = np.random.default_rng(1)
    rank = np.empty(n, np.int64)
    rank[np.argsort(-rows["anomaly_score"])] = np.arange(1, n + 1)
    catalog = rows | {
        "anomaly_rank": rank,
        "residual_cluster": np.where(rank < 50, rank % 3, -1),
        "umap_x": rng.normal(size=n),
        "umap_y": rng.normal(size=n),
    }
    shown = ANOMALY.catalog_panels(catalog, truth)
    assert [panel.kind for panel in shown] == ["points", "scatter", "scatter"]
    kinds = shown[2].data["series"]
    assert set(kinds) == {"ordinary objects", "merger", "ring", "artefacts"}
    assert sum(len(x) for x, _ in kinds.values()) == n
    median = shown[0].data["series"]["median"]
    assert np.abs(median[1] - 50).max() < 4 * median[2].max()
    for panel in (*panels, *shown):
        assert charts.drawn(panel)["light"].startswith("data:image/png")
    nowhere = catalog | {"umap_x": np.full(n, np.nan), "umap_y": np.full(n, np.nan)}
    assert [panel.kind for panel in ANOMALY.catalog_panels(nowhere, {})] == ["points"]


def test_without_labels_nothing_is_drawn_of_them():
    _, rows = made(200)
    unknown = {name: np.full(200, np.nan) for name in ("is_interesting", "is_artefact")}
    assert ANOMALY.panels(unknown, rows) == []
    assert figures.FEWEST > 1


def test_methods_stand_beside_each_other_in_one_table():
    from astroml.report import metrics as report

    one = {"value": 0.9, "error": 0.01}
    given = dict.fromkeys(
        ("auroc", "auroc_ae", "auroc_baseline", "auroc_of_ring", "rank_score"), one
    )
    given["precision_top1pct"] = given["precision_top1pct_ae"] = one
    (table,) = report.tables(ANOMALY, given)
    assert table["columns"] == ["Area under the ROC curve", "Precision in the top 1%"]
    assert [name for name, _ in table["rows"]] == [
        "all together", "autoencoder", "PCA + isolation forest",
    ]  # fmt: skip
    assert table["rows"][2][1] == [one, None]
    labels = [line["label"] for line in report.lines(ANOMALY, given)]
    assert len(labels) == 4
    assert report.tables(tasks.load("lens"), given) == []
