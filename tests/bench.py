"""Throughput and memory of each stage beside its own bound, at several sizes: ``make bench``.

The bound is what the stage cannot beat, measured in the same process in turn with the stage: bare
fitsio, numpy's memory map, the bare network on a batch in memory, a plain Parquet write. Of several
rounds the best counts. Each measurement is a process of its own, its network on one thread, its
files in the disk's cache; start-up is left out of the time and is part of the memory. Seconds of
the processor (all threads) are told beside those of the clock: other work on the machine, of which
the load tells, changes them less.

The record is ``tests/bench.json``, from which ``bench_plan`` writes ``workflow/README.md``.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
RECORD = HERE / "bench.json"

STAGES = {
    "ingest": ("bench_ingest", (10**3, 10**4, 10**5)),
    "manifest": ("bench_ingest", (10**4, 10**5, 10**6)),
    "tally": ("bench_ingest", (10**3, 10**4, 10**5)),
    "store": ("bench_store", (10**3, 10**4, 10**5)),
    "train": ("bench_nets", (10**3, 10**4, 10**5)),
    "infer": ("bench_nets", (10**3, 10**4)),
    "infer_narrow": ("bench_nets", (10**3, 10**4, 10**5)),
    "infer_gpu": ("bench_nets", (10**5,)),
    "catalog": ("bench_catalog", (10**3, 10**4, 10**5)),
    "query_top": ("bench_catalog", (10**4, 10**5, 10**6)),
    "query_cone": ("bench_catalog", (10**4, 10**5, 10**6)),
}
"""Stage -> the module that measures it, and numbers of objects."""

TITLES = {
    "manifest": "manifest, before a chunk",
    "store": "store, random batches",
    "train": "train, its steps",
    "infer_narrow": "infer, narrow network",
    "infer_gpu": "infer on a GPU",
    "query_top": "query, top 100",
    "query_cone": "query, cone of 1 degree",
}
"""Stage -> how the table calls it, where not by its name."""

AIMS = {"store": 0.8, "train": 0.9, "infer": 0.9}
"""Stage -> least ratio to its bound."""

EVEN = ("ingest", "store", "train", "infer", "infer_narrow", "catalog")
"""Stages whose time per object and memory should not grow."""


@dataclass(frozen=True)
class Case:
    """Something to measure and its bound."""

    subject: Callable[[], object]
    objects: int
    """That one call of the subject works through."""
    bound: Callable[[], object]
    bound_objects: int
    bound_name: str
    rounds: int = 5
    facts: dict = field(default_factory=dict)
    """Other figures, such as bytes per object."""


class Sampler:
    """The largest memory of this process while a block runs, less the pages of mapped files, MB."""

    def __enter__(self) -> Sampler:
        self.peak, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        page = os.sysconf("SC_PAGE_SIZE") / 2**20
        while not self._over.wait(0.01):
            resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
            self.peak = max(self.peak, (resident - shared) * page)

    def __exit__(self, *fault) -> None:
        self._over.set()
        self._thread.join()


def timed(call: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of a call, of the clock and of the processor."""
    begun, spent = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begun, time.process_time() - spent


def measure(case: Case) -> dict:
    """Measure a case and its bound in turn; the subject's memory is that of its first call."""
    with Sampler() as memory:
        mine = [timed(case.subject)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    bounds = [timed(case.bound)]
    for _ in range(case.rounds - 1):
        mine.append(timed(case.subject))
        bounds.append(timed(case.bound))
    seconds, cpu = (min(one) / case.objects for one in zip(*mine))
    bound_seconds, bound_cpu = (min(one) / case.bound_objects for one in zip(*bounds))
    return {
        "bound": case.bound_name,
        "rounds": case.rounds,
        "seconds_per_object": seconds,
        "cpu_per_object": cpu,
        "bound_seconds_per_object": bound_seconds,
        "bound_cpu_per_object": bound_cpu,
        "ratio": bound_seconds / seconds,
        "ratio_cpu": bound_cpu / max(cpu, 1e-12),
        "peak_mb": peak,
        "own_mb": memory.peak,
        **case.facts,
    }


def one(stage: str, objects: int, folder: Path, prepare: bool) -> dict | None:
    """Prepare the files of a measurement, or measure."""
    module = importlib.import_module(STAGES[stage][0])
    if prepare:
        return getattr(module, f"prepare_{stage}", lambda *_: None)(folder, objects)
    case = getattr(module, f"case_{stage}")(folder, objects)
    return {"skipped": case} if isinstance(case, str) else measure(case)


def in_process(stage: str, objects: int, folder: Path, *, prepare: bool) -> dict | None:
    """Do ``one`` in a process of its own, of one thread where it can choose."""
    words = ["--one", stage, "--sizes", str(objects), "--folder", str(folder)]
    done = subprocess.run(
        [sys.executable, str(HERE / "bench.py"), *words, *["--prepare"] * prepare],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the benchmark of {stage} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> dict:
    """Say what was measured on."""
    cpu = Path("/proc/cpuinfo")
    names = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": names[0].split(":")[1].strip() if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 2**30),
        "python": platform.python_version(),
    }


def shown(record: dict):
    """Return the record as a table."""
    from rich.table import Table

    table = Table(title=f"One thread on {record['machine']['processor']}, {record['date']}")
    for name in (
        "stage",
        "objects",
        "objects/s",
        "CPU us/object",
        "bound",
        "of bound",
        "of its CPU",
    ):
        table.add_column(name)
    table.add_column("peak MB")
    table.add_column("without mapped files")
    before = None
    for case in record["cases"]:
        if before not in (None, case["stage"]):
            table.add_section()
        before = case["stage"]
        name, size = TITLES.get(before, before), f"{case['objects']:,}"
        if "skipped" in case:
            table.add_row(name, size, case["skipped"])
            continue
        table.add_row(
            name,
            size,
            f"{1 / case['seconds_per_object']:,.0f}",
            f"{1e6 * case['cpu_per_object']:,.3g}",
            case["bound"],
            f"{case['ratio']:.2f}",
            f"{case['ratio_cpu']:.2f}",
            f"{case['peak_mb']:.0f}",
            f"{case['own_mb']:.0f}",
        )
    return table


def run(stages: list[str], sizes: list[int] | None, folder: Path):
    """Measure stages at their sizes, or at others; yield a record of what is done after each."""
    record = {"date": datetime.date.today().isoformat(), "machine": machine(), "cases": []}
    for stage in stages:
        for objects in sizes or STAGES[stage][1]:
            in_process(stage, objects, folder, prepare=True)
            found = in_process(stage, objects, folder, prepare=False)
            about = {"stage": stage, "objects": objects, "load": round(os.getloadavg()[0], 1)}
            record["cases"].append(about | found)
            print(f"{stage} of {objects:,}: {found.get('ratio_cpu', found)}", file=sys.stderr)
            yield record


def merged(record: dict) -> dict:
    """Return a record with the cases of the committed one that were not measured anew."""
    if not RECORD.exists():
        return record
    new = {(case["stage"], case["objects"]) for case in record["cases"]}
    old = json.loads(RECORD.read_text())["cases"]
    cases = [case for case in old if (case["stage"], case["objects"]) not in new]
    order = list(STAGES)
    cases = sorted(
        [*cases, *record["cases"]], key=lambda case: (order.index(case["stage"]), case["objects"])
    )
    return record | {"cases": cases}


def main() -> None:
    """Measure, print the table, write the record and the plan."""
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("stages", nargs="*", help="Stages to measure; default all.")
    told.add_argument("--sizes", nargs="+", type=int, help="Numbers of objects.")
    told.add_argument("--folder", type=Path, help="Where the files are made, and stay.")
    told.add_argument("--record", action="store_true", help="Renew the record and the plan.")
    told.add_argument("--one", help=argparse.SUPPRESS)
    told.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    told = told.parse_args()
    if told.one:
        print(json.dumps(one(told.one, told.sizes[0], told.folder, told.prepare)))
        return
    from rich.console import Console

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as made:
        folder = told.folder or Path(made)
        for record in run(told.stages or list(STAGES), told.sizes, folder):
            if told.record:
                record = merged(record)
                RECORD.write_text(json.dumps(record, indent=1) + "\n")
    Console(width=130).print(shown(record))
    if told.record:
        import bench_plan

        bench_plan.main()


if __name__ == "__main__":
    main()
