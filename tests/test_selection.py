"""The selection function of a made-up detector whose law is known."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from scipy.stats import binom
from typer.testing import CliRunner

from astroml import store
from astroml.cli import app
from astroml.errors import AstromlError
from astroml.selection import AXES, completeness, selection, threshold_at, wilson

ROWS = 6000


def law(theta_e, arc_snr, lens_mag):
    """Share of lenses that the detector finds."""
    return 1 / (1 + np.exp(-3 * (np.log(arc_snr / 25) + (theta_e - 1.2) - 0.2 * (lens_mag - 19))))


def truth_of(rows=ROWS, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "theta_e": rng.uniform(0.5, 3, rows),
        "arc_snr": np.exp(rng.uniform(np.log(5), np.log(200), rows)),
        "lens_mag": rng.uniform(17, 21, rows),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An injected store with pairs, and rows of a detector with a known law."""
    out = tmp_path_factory.mktemp("selection")
    rng, truth = np.random.default_rng(2), truth_of()
    both = 2 * ROWS
    objects = {name: np.concatenate([values, np.zeros(ROWS)]) for name, values in truth.items()}
    objects |= {"object_id": np.arange(both), "is_lens": np.repeat([1, 0], ROWS)}
    objects |= {name: np.zeros(both) for name in ("ra", "dec", "ebv")}
    objects |= {"flags": np.zeros(both, np.int32), "split": np.full(both, "test")}
    image = np.zeros((both, 1, 2, 2), np.float32)
    planes = {"image": image, "mask": image.astype(np.uint8)}
    planes |= {name: np.ones((both, 1), np.float32) for name in ("sigma", "psf_fwhm")}
    header = store.Header("galaxy", ("r",), 2, 0.2, "toy")
    store.write_shard(out / "0.h5", header, [planes | {"objects": objects}])
    found = rng.random(ROWS) < law(**truth)
    prob = np.concatenate([np.where(found, 0.9, 0.1), rng.uniform(0, 0.8, ROWS)])
    rows = {"object_id": np.arange(both), "lens_prob": prob}
    order = rng.permutation(both)
    table = pa.table({name: values[order] for name, values in rows.items()})
    pq.write_table(table, out / "rows.parquet")
    return out


def test_the_table_recovers_the_law(folder, capsys):
    out = folder / "selection.parquet"
    selection("lens", [folder / "rows.parquet"], [folder / "0.h5"], out, figure=folder / "f.png")
    table = {name: np.array(values) for name, values in pq.read_table(out).to_pydict().items()}
    truth = truth_of()
    inside = np.ones(ROWS, bool)
    for name, (_, edges) in AXES.items():
        inside &= (truth[name] >= edges[0]) & (truth[name] <= edges[-1])
    assert table["n"].sum() == inside.sum()
    cells = np.prod([len(edges) - 1 for _, edges in AXES.values()])
    assert len(table["n"]) == cells
    full = table["n"] >= 20
    assert full.sum() > 60
    pulls, held = [], []
    for cell in np.flatnonzero(full):
        mine = np.ones(ROWS, bool)
        for name in AXES:
            low, high = table[f"{name}_low"][cell], table[f"{name}_high"][cell]
            mine &= (truth[name] >= low) & (truth[name] < high)
        assert mine.sum() == table["n"][cell]
        expected = law(**{name: values[mine] for name, values in truth.items()}).mean()
        held.append(table["completeness_low"][cell] <= expected <= table["completeness_high"][cell])
        pulls.append(table["completeness"][cell] - expected)
    # The detector's dice alone scatter the shares by up to 0.5 / sqrt(20).
    assert abs(np.mean(pulls)) < 0.01
    assert np.max(np.abs(pulls)) < 0.45
    # Within a cell the law varies, which makes shares scatter less than binomially.
    assert 0.6 < np.mean(held) < 0.95
    assert (folder / "f.png").read_bytes()[:4] == b"\x89PNG"
    said = capsys.readouterr().out
    assert "signals above lens_prob 0.5; " in said


def test_bins_are_where_they_say(folder):
    edges = {"theta_e": np.array([0.0, 1, 2]), "arc_snr": np.array([0.0, 10, 20, 30])}
    truth = {"theta_e": np.array([0.5, 1.5, 1.5]), "arc_snr": np.array([25.0, 5, 5])}
    table = completeness(truth, np.array([True, True, False]), edges)
    assert table["n"].tolist() == [0, 0, 1, 2, 0, 0]
    assert table["found"].tolist() == [0, 0, 1, 1, 0, 0]
    assert table["theta_e_low"].tolist() == [0, 0, 0, 1, 1, 1]
    assert table["arc_snr_high"].tolist() == [10, 20, 30, 10, 20, 30]
    assert np.isnan(table["completeness"][0])
    assert (table["completeness_low"][0], table["completeness_high"][0]) == (0, 1)


def test_a_false_positive_rate_sets_the_threshold(folder):
    out = folder / "fpr.csv"
    args = ["lens", [folder / "rows.parquet"], [folder / "0.h5"], out]
    # Negatives are flat up to 0.8: one in four lies above 0.6, and found lenses have 0.9.
    at = selection(*args, fpr=0.25)
    half = selection(*args, threshold=0.5)
    np.testing.assert_array_equal(at["found"], half["found"])
    assert pa.csv.read_csv(out).num_rows == len(at["n"])
    with pytest.raises(AstromlError, match="6000 negatives in the store cannot show it, it takes"):
        selection(*args, fpr=1e-5)


def test_threshold_lets_at_most_the_rate_pass():
    scores = np.random.default_rng(1).random(1000)
    for fpr in (0.5, 0.1, 0.01, 0.0015, 0.001):
        passed = (scores > threshold_at(scores, fpr)).sum()
        assert passed == int(1000 * fpr)
    assert (np.ones(50) > threshold_at(np.ones(50), 0.1)).sum() == 0


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.95])
def test_wilson_holds_the_truth_in_68_of_100(share):
    """Averaged over binomial draws; small samples, where plain errors fail."""
    n = np.arange(20, 60)
    covered = []
    for trials in n:
        found = np.arange(trials + 1)
        low, high = wilson(found, np.full(trials + 1, trials))
        covered.append(binom.pmf(found, trials, share)[(low <= share) & (share <= high)].sum())
    assert 0.6 < np.mean(covered) < 0.8


def test_wilson_is_half_open_at_the_ends():
    low, high = wilson([0, 10], [10, 10])
    assert low[0] == pytest.approx(0, abs=1e-12)
    assert 0 < high[0] < 0.15
    assert high[1] == pytest.approx(1)
    assert low[1] > 0.85


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--threshold", "0.5", "--fpr", "0.1"), "both given"),
        (("--fpr", "2"), "expected a share between 0 and 1"),
        (("--column", "lens_magic"), "not in the rows, which have object_id, lens_prob"),
        (("--out", "table.txt"), "expected .parquet or .csv"),
    ],
)
def test_faults_are_told(folder, words, said):
    given = ["selection", "--rows", folder / "rows.parquet", "--store", folder / "0.h5"]
    given += ["--out", folder / "t.parquet", *words]
    done = CliRunner().invoke(app, [str(word) for word in given])
    assert isinstance(done.exception, AstromlError)
    assert said in str(done.exception)


def test_a_store_without_labels_is_told(folder, tmp_path):
    kept = store.open_store(folder / "0.h5")
    objects = {name: values[:4] for name, values in kept.objects.items() if name != "arc_snr"}
    planes = kept.read(np.arange(4))
    store.write_shard(tmp_path / "0.h5", kept.header, [planes | {"objects": objects}])
    with pytest.raises(AstromlError, match="no column arc_snr; it is no store that inject wrote"):
        selection("lens", [folder / "rows.parquet"], [tmp_path / "0.h5"], tmp_path / "t.parquet")
