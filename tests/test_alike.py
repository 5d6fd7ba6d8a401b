"""More like this, and lists that labels sort anew: from a file, in Python, as commands."""

from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from typer.testing import CliRunner

import astroml
from astroml import tasks
from astroml.catalog.write import export, write_catalog
from astroml.cli import app
from astroml.errors import AstromlError
from astroml.store import FLAGS
from catalogs import rows_of, sky, write_rows

N, DIMENSIONS = 240, 5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A catalog of anomalies: a cloud, and a group of twelve far from it that scores low."""
    folder = tmp_path_factory.mktemp("alike")
    rng = np.random.default_rng(1)
    rows = rows_of("anomaly", np.arange(N) * 3, *sky(N))
    points = rng.normal(size=(N, DIMENSIONS))
    points[:12] += 8
    points[12:24] -= 8  # another group, which scores high
    score = np.where((np.arange(N) >= 12) & (np.arange(N) < 24), 5.0, rng.normal(size=N))
    flags = np.zeros(N, np.int32)
    flags[30] = FLAGS["no_data"]
    flat = pa.array(points.astype(np.float32).ravel())
    rows |= {
        "embedding": pa.FixedSizeListArray.from_arrays(flat, DIMENSIONS),
        "anomaly_score": pa.array(score.astype(np.float32)),
        "flags": pa.array(flags),
    }
    part = write_rows(folder / "rows.parquet", rows)
    file = folder / "catalogs/demo/anomaly.parquet"
    with patch("astroml.tasks.anomaly.outliers.mapped", lambda points: points[:, :2]):
        write_catalog("anomaly", [part], [file])
    return folder, file, points


@pytest.fixture
def catalog(run):
    return astroml.open_catalog("anomaly", "demo", run[0] / "catalogs", run[0] / "results")


def test_the_nearest_are_those_of_a_plain_search(catalog, run):
    found = catalog.similar(0, 11)
    assert set(found["object_id"]) == set(np.arange(1, 12) * 3)
    assert (np.diff(found["distance"]) >= 0).all()
    usable = np.arange(N) != 30
    points = (run[2] - run[2][usable].mean(0)) / run[2][usable].std(0)
    distance = np.linalg.norm(points - points[7], axis=1)
    order = np.argsort(np.where(usable, distance, np.inf))[1:6]
    near = catalog.similar(21, 5)
    assert list(near["object_id"]) == list(order * 3)
    np.testing.assert_allclose(near["distance"], distance[order], rtol=1e-5)
    assert near.colnames[:2] == ["object_id", "distance"]
    assert len(catalog.similar(0, 1000)) == N - 2


def test_labels_lift_a_group_and_let_another_fall(catalog):
    plain = catalog.rerank({90 + 30 * 3: 0})
    assert set(plain["object_id"][:12]) == set(np.arange(12, 24) * 3)
    liked = catalog.rerank({0: 5, 3: 5, 36: 0, 39: 0, 300: 0, 303: 1})
    assert set(liked["object_id"][:12]) == set(np.arange(12) * 3)
    assert not set(liked["object_id"][:24]) >= set(np.arange(12, 24) * 3)
    assert list(liked["interest_rank"]) == list(range(1, N + 1))
    assert liked["object_id"][-1] == 90  # without a pixel
    assert np.isnan(liked["interest"][-1])
    known = {row["object_id"]: row["label"] for row in liked if np.isfinite(row["label"])}
    assert known == {0: 5, 3: 5, 36: 0, 39: 0, 300: 0, 303: 1}
    assert (liked["expected_improvement"][:-1] >= 0).all()


def test_commands_write_what_the_notebook_gives(catalog, run, tmp_path):
    labels, out = tmp_path / "labels.csv", tmp_path / "new.parquet"
    labels.write_text("object_id,interest\n0,5\n36,0\n39,\n")
    done = CliRunner().invoke(
        app, ["rerank", str(run[1]), "--labels", str(labels), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    written, given = pq.read_table(out), catalog.rerank(labels)
    assert written["object_id"].to_pylist() == list(given["object_id"])
    assert len(catalog.rerank({0: 5, 36: 0})) == N  # an empty cell is no label
    assert list(catalog.rerank({0: 5, 36: 0})["object_id"]) == list(given["object_id"])
    done = CliRunner().invoke(app, ["similar", str(run[1]), "0", "-k", "3"])
    assert done.exit_code == 0, done.output
    assert "distance" in done.output
    assert Table.read(out)["interest"].description.startswith("Interest to expect")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("object_id,interest\n0,7\n", "object 0: found interest 7, expected 0 to 5"),
        ("object_id,interest\n0,much\n", "found interest much, expected 0 to 5"),
        ("object_id,interest\n0,1\n0,2\n", "object 0 is labelled twice"),
        ("object_id,stars\n0,1\n", "no column interest; found object_id, stars"),
        ("object_id,interest\n1,1\n", "object 1: not in anomaly"),
        ("object_id,interest\n90,1\n", "no label of an object with usable pixels"),
    ],
)
def test_labels_that_cannot_be_used_are_told(catalog, tmp_path, text, words):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(AstromlError, match=words):
        catalog.rerank(path)


def test_what_has_no_likeness_is_told(catalog, run):
    with pytest.raises(AstromlError, match="object 90: it has no usable pixel"):
        catalog.similar(90)
    with pytest.raises(AstromlError, match="object 1: not in anomaly"):
        catalog.similar(1)
    other = catalog.sql("SELECT object_id, ra FROM anomaly")
    with pytest.raises(AstromlError, match="no column embedding; found object_id, ra"):
        other.similar(0)


def test_the_embedding_goes_to_hdf5_from_the_catalog(run, tmp_path):
    import h5py

    folder, file, points = run
    out = folder / "catalogs/demo/anomaly.hdf5"
    assert export([file], [out]) == N
    with h5py.File(out) as data:
        order = np.argsort(data["object_id"][:])
        np.testing.assert_allclose(data["embedding"][:][order], points, rtol=1e-6)
        assert set(data) >= {"residual_embedding", *tasks.load("anomaly").RANKS, "umap_x"}
    with pytest.raises(AstromlError, match=r"found '\.hdf5', expected one of"):
        export([file, file], [tmp_path / "all.hdf5"])


def test_ranks_of_a_whole_catalog_do_not_depend_on_its_parts(run, tmp_path):
    folder, file, _ = run
    table = pq.read_table(folder / "rows.parquet")
    parts = [tmp_path / f"{at}.parquet" for at in (0, 1)]
    pq.write_table(table.slice(N // 3), parts[0])
    pq.write_table(table.slice(0, N // 3), parts[1])
    with patch("astroml.tasks.anomaly.outliers.mapped", lambda points: points[:, :2]):
        write_catalog("anomaly", parts, [tmp_path / "anomaly.parquet"])
    one, other = (
        pq.read_table(path).sort_by("object_id") for path in (file, tmp_path / "anomaly.parquet")
    )
    assert one.equals(other)
    rank = one["anomaly_rank"].to_numpy()
    assert sorted(rank) == list(range(1, N + 1))
    assert rank[30] == N
    assert one["anomaly_score"].to_numpy()[rank == 1] == 5
