"""Real galaxies through the anomaly search: every object gets a rank, and the oddest a picture."""

from pathlib import Path
from unittest.mock import patch

import numpy as np
import pyarrow.parquet as pq
import pytest

from astroml import config, infer, tasks, train
from astroml.catalog.write import write_catalog
from astroml.config import Infer
from astroml.ingest.reject import read_rejects
from astroml.ingest.run import ingest
from astroml.report import mosaic
from astroml.sky.simulate import simulate_store
from astroml.store import FLAGS, open_store
from astroml.survey import load_survey

pytestmark = pytest.mark.realdata

ROOT = Path(__file__).parent.parent
RUNS = {"anomalies_des": 46, "anomalies_hsc": 454}


@pytest.fixture(scope="module", params=RUNS)
def stored(request, realdata, tmp_path_factory):
    """Ingest an example run; return its name, config, survey and store."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ASTROML_REALDATA", str(realdata))
        run = config.load(ROOT / f"config/examples/{request.param}.yaml")
        survey = load_survey(str(ROOT / f"config/surveys/{run.survey}.yaml"), run.ingest.bands)
        folder = tmp_path_factory.mktemp(request.param)
        out, lost = folder / "real.h5", folder / "rejects.parquet"
        ingest(ROOT / run.input.manifest, survey, out, lost, run.ingest, root=run.input.root)
    assert read_rejects(lost) == []
    return request.param, run, survey, out


def test_every_object_is_there(stored):
    name, run, _, path = stored
    store = open_store(path)
    assert len(store) == RUNS[name]
    assert not (store.objects["flags"] & FLAGS["no_data"]).any()
    assert run.report.top <= RUNS[name]


@pytest.mark.slow
def test_every_object_gets_a_rank_and_the_oddest_a_picture(stored, tmp_path):
    name, run, survey, path = stored
    sky = run.simulate.anomaly.model_copy(update={"objects": 120})
    made = tmp_path / "sky.h5"
    splits = config.Splits(nside=1024)
    simulate_store({"anomaly": sky}, survey, made, size=64, seed=1, splits=splits, device="cpu")
    options = tasks.load("anomaly").Options(
        width=4, latent=8, models=["ae"], train={"epochs": 1, "batch_size": 16}
    )
    weights, rows = tmp_path / "anomaly.safetensors", tmp_path / "rows.parquet"
    train.train("anomaly", options, [made], weights, device="cpu")
    infer.infer("anomaly", [path], weights, rows, Infer(), device="cpu")
    with patch("astroml.tasks.anomaly.outliers.mapped", lambda points: points[:, :2]):
        write_catalog("anomaly", [rows], [tmp_path / "anomaly.parquet"])
    catalog = pq.read_table(tmp_path / "anomaly.parquet").sort_by("anomaly_rank")
    assert catalog["anomaly_rank"].to_pylist() == list(range(1, RUNS[name] + 1))
    assert np.isfinite(catalog["anomaly_score"].to_numpy()).all()
    oddest = catalog["object_id"].to_numpy()[: run.report.top].astype(str)
    assert len(mosaic.cutouts(open_store(path), oddest)) == run.report.top
