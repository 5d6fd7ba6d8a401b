"""Throughput and memory of each stage on this machine: ``make bench``.

Each stage runs as its own command, as in the workflow, on one simulated survey; start-up is part
of the time, as it is for a user.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_ingest
import bench_query
from rich.console import Console
from rich.table import Table

OBJECTS = 2000
EPOCHS = 2


def measure(*words: str) -> tuple[float, float]:
    """Run one astroml command; return its wall time in s and its peak memory in MB."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "astroml.cli", *map(str, words)])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"astroml {words[0]} failed")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


def stages(folder: Path) -> list[tuple[str, int, tuple]]:
    """List what is measured: name, number of objects, command."""
    task = ("--task", "lens")
    sky = ("--options", json.dumps({"objects": OBJECTS}))
    epochs = ("--options", json.dumps({"train": {"epochs": EPOCHS}}))
    survey, store = folder / "survey", folder / "0.h5"
    weights = folder / "lens.safetensors"
    parts = ("--manifest", survey / "manifest.csv", "--rejects", folder / "rejects.parquet")
    rows = folder / "rows.parquet"
    return [
        ("simulate to FITS", OBJECTS, ("simulate", *task, *sky, "--out", survey)),
        (
            "simulate to a store",
            OBJECTS,
            ("simulate", *task, *sky, "--to", "store", "--out", folder / "s.h5"),
        ),
        ("ingest", OBJECTS, ("ingest", *parts, "--out", store)),
        ("train", OBJECTS * EPOCHS, ("train", *task, "--store", store, *epochs, "--out", weights)),
        ("infer", OBJECTS, ("infer", *task, "--store", store, "--weights", weights, "--out", rows)),
        ("catalog", OBJECTS, ("catalog", *task, "--rows", rows, "--out", folder / "lens.parquet")),
    ]


def main() -> None:
    """Measure every stage and print one table."""
    table = Table("stage", "objects", "s", "objects/s", "peak MB")
    with tempfile.TemporaryDirectory() as folder:
        for name, objects, words in stages(Path(folder)):
            seconds, memory = measure(*words)
            table.add_row(
                name, str(objects), f"{seconds:.1f}", f"{objects / seconds:.0f}", f"{memory:.0f}"
            )
        parts = Path(folder) / "ingest"
        parts.mkdir()
        table.add_section()
        bench_ingest.main(parts, table)
        table.add_section()
        bench_query.main(Path(folder) / "catalogs", table)
    Console().print(table)


if __name__ == "__main__":
    main()
