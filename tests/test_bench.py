"""The benchmark measures what it says, and the plan follows from its record."""

import importlib
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import bench
import bench_plan
import pytest

HERE = Path(__file__).parent
RECORD = json.loads(bench.RECORD.read_text())


def busy(seconds):
    def work():
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return work


def test_the_page_follows_from_the_record():
    told = "run: python tests/bench_plan.py"
    assert bench_plan.PAGE.read_text() == bench_plan.page(RECORD), told


def test_a_ratio_is_that_of_the_rates():
    """Twice the work for half as many objects is a quarter of the bound's rate."""
    found = bench.measure(bench.Case(busy(0.04), 10, busy(0.02), 20, "half", rounds=3))
    assert found["ratio_cpu"] == pytest.approx(0.25, rel=0.3)
    assert found["cpu_per_object"] == pytest.approx(0.004, rel=0.3)
    assert found["bound"] == "half"


HOLD = """
import sys, time
import bench

def hold():
    block = bytearray(150 * 2**20)
    time.sleep(0.1)
    return block

subject = {"little": lambda: time.sleep(0.05), "much": hold}[sys.argv[1]]
print(bench.measure(bench.Case(subject, 1, lambda: None, 1, "", 1))["own_mb"])
"""


def test_memory_is_the_subjects_at_its_largest():
    """In processes of their own, as the benchmark does: what tests held before would count."""
    little, much = (
        float(subprocess.check_output([sys.executable, "-c", HOLD, which], cwd=HERE, text=True))
        for which in ("little", "much")
    )
    assert 100 < much - little < 200


@pytest.mark.parametrize("stage", bench.STAGES)
def test_every_stage_can_be_prepared_and_measured(stage):
    module = importlib.import_module(bench.STAGES[stage][0])
    assert callable(getattr(module, f"case_{stage}"))
    assert callable(getattr(module, f"prepare_{stage}"))


@pytest.mark.parametrize("stage", ["store", "catalog", "ingest", "manifest", "tally"])
def test_a_small_measurement(stage, tmp_path):
    bench.one(stage, 100, tmp_path, prepare=True)
    found = bench.one(stage, 100, tmp_path, prepare=False)
    assert found["cpu_per_object"] > 0
    assert math.isfinite(found["ratio"])
    json.dumps(found)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train", "infer_narrow", "infer_gpu", "query_cone"])
def test_a_small_measurement_of_networks_and_queries(stage, tmp_path):
    bench.one(stage, 100, tmp_path, prepare=True)
    found = bench.one(stage, 100, tmp_path, prepare=False)
    assert set(found) == {"skipped"} or found["cpu_per_object"] > 0


def test_what_is_measured_anew_replaces_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "RECORD", tmp_path / "bench.json")
    old = [{"stage": "store", "objects": n, "is": "old"} for n in (1, 2)]
    assert bench.merged({"cases": old})["cases"] == old
    (tmp_path / "bench.json").write_text(json.dumps({"cases": old}))
    new = [{"stage": stage, "objects": 2, "is": "new"} for stage in ("store", "ingest")]
    kept = bench.merged({"cases": new})["cases"]
    assert kept == [new[1], old[0], new[0]]


def test_the_table_shows_every_case(capsys):
    from rich.console import Console

    Console(width=160).print(bench.shown(RECORD))
    shown = capsys.readouterr().out
    for case in RECORD["cases"]:
        assert f"{case['objects']:,}" in shown


@pytest.fixture
def record():
    """A record whose figures are round."""
    about = {"load": 0.0, "bound": "", "ratio": 1.0, "ratio_cpu": 1.0, "peak_mb": 1.0}
    sizes = {"fits_bytes_per_object": 5e4, "bytes_per_object": 6e4, "row_bytes_per_object": 200.0}
    cases = []
    for stage in ("ingest", "store", "infer", "catalog", "manifest", "tally"):
        for objects in (1000, 10_000):
            # Nine thousand objects more take nine million bytes more.
            own = 100 + objects * 1000 / 2**20
            seen = {"stage": stage, "objects": objects, "cpu_per_object": 1e-3, "own_mb": own}
            cases.append(about | sizes | seen)
    machine = {"processor": "x", "cores": 1, "memory_gb": 1, "python": "3"}
    return {"date": "2000-01-01", "machine": machine, "cases": cases}


def test_the_plan_is_arithmetic(record):
    known = bench_plan.figures(record)
    assert known.memory["catalog"] == pytest.approx(1000)
    need = bench_plan.need(10**6, known)
    assert need.core_hours["ingest"] == pytest.approx(1e6 * 1e-3 / 3600)
    assert need.gigabytes["store"] == pytest.approx(60)
    # A millisecond a row: a chunk's manifest is as long as the chunk at 100,000 objects.
    assert bench_plan.limits(known)[0][0] == pytest.approx(1e5)
    assert bench_plan.objects_per_run(known) == 10**5
    assert need.runs * need.chunks * bench_plan.CHUNK == 10**6


def test_a_thousand_times_the_objects_is_a_thousand_times_the_work(record):
    known = bench_plan.figures(record)
    one, many = (bench_plan.need(objects, known) for objects in (10**6, 10**9))
    for stage in ("ingest", "infer", "catalog"):
        assert many.core_hours[stage] == pytest.approx(1000 * one.core_hours[stage])
    assert many.files == 1000 * one.files
    assert many.runs * many.chunks == 1000 * one.runs * one.chunks


def test_aims_are_held_against_the_record(record):
    def verdicts():
        lines = bench_plan.aims(record)
        return {line.split("|")[1].strip(): line.split("|")[3].strip() for line in lines[2:-1]}

    assert verdicts()["`store`: 0.8 of its bound"] == "met"
    assert verdicts()["`catalog`: time per object"] == "met"
    for case in record["cases"]:
        case["ratio"] = 0.7
        if case["objects"] == 10_000:
            case["cpu_per_object"] *= 1.2
    assert verdicts()["`store`: 0.8 of its bound"] == "missed"
    assert verdicts()["`catalog`: time per object"] == "missed"


def test_a_busy_clock_is_not_told(record):
    case = record["cases"][0] | {"load": 3.0, "ratio": 0.123}
    assert bench_plan.clock(case, {"cores": 2}) == "busy"
    assert bench_plan.clock(case, {"cores": 4}) == "0.12"


def test_the_page_changes_with_the_record(record):
    before = bench_plan.page(record)
    for case in record["cases"]:
        case["cpu_per_object"] *= 2 if case["stage"] == "infer" else 1
    assert bench_plan.page(record) != before


def test_what_was_not_measured_is_said(record):
    record["cases"] = [case for case in record["cases"] if case["stage"] != "infer"]
    assert "not measured" in bench_plan.page(record)
