"""Queries of a large catalog, each in a process of its own: ``python bench_query.py``.

Time is that of a warm file; the memory is the process's largest.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from rich.table import Table

from astroml import tasks
from astroml.catalog.columns import all_columns
from astroml.catalog.formats import write_parquet
from astroml.catalog.sheet import Sheet, along_the_sky

ROWS = 10_000_000

ASKED = {
    "cone of 1 arcmin": "catalog.cone(150.1, 2.2, 60)",
    "cone of 1 arcmin, RA 0": "catalog.cone(0, 0, 60)",
    "cone of 1 arcmin, pole": "catalog.cone(10, 90, 60)",
    "cone of 1 degree": "catalog.cone(150.1, 2.2, 3600)",
    "top 100, all columns": "catalog.top(100)",
    "top 100 in SQL": "catalog.sql('SELECT object_id, ra, dec, lens_prob FROM lens "
    "WHERE lens_prob > 0.5 ORDER BY lens_prob DESC LIMIT 100')",
}
"""What is asked, as Python has it."""

ASK = """
import resource, sys, time
import astroml
catalog = astroml.open_catalog("lens", "big", sys.argv[1])
best = []
for _ in range(6):
    begun = time.perf_counter()
    table = {}.sheet.table
    best.append(time.perf_counter() - begun)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(len(table), sorted(best[1:])[2], peak)
"""


def write_big(path: Path, rows: int) -> None:
    """Write a catalog of lenses all over the sky."""
    rng = np.random.default_rng(1)
    columns, data = all_columns("lens"), {}
    for column in columns:
        if column.dtype == "str":
            data[column.name] = pa.array(["0123456789abcdef"] * rows)
        elif column.dtype.startswith("int"):
            data[column.name] = np.arange(rows).astype(column.dtype)
        else:
            data[column.name] = rng.uniform(size=rows, high=1).astype(column.dtype)
    data["ra"] = rng.uniform(0, 360, rows)
    data["dec"] = np.degrees(np.arcsin(rng.uniform(-1, 1, rows)))
    table = along_the_sky(pa.table(data)).select([column.name for column in columns])
    path.parent.mkdir(parents=True)
    write_parquet(Sheet(table, columns, "lens", tasks.load("lens").__doc__), path)


def main(folder: Path, table: Table, rows: int = ROWS) -> None:
    """Add a line per query to a table of stages."""
    file = folder / "big/lens.parquet"
    write = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import bench_query"
    write += f"; from pathlib import Path; bench_query.write_big(Path({str(file)!r}), {rows})"
    subprocess.run([sys.executable, "-c", write], check=True)
    # Two cores, as a laptop has them at least.
    cores = set(sorted(os.sched_getaffinity(0))[:2])
    for name, asked in ASKED.items():
        done = subprocess.run(
            [sys.executable, "-c", ASK.format(asked), str(folder)],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        found, seconds, memory = (float(one) for one in done.stdout.split())
        words = (f"{name}, of {rows:,}", f"{found:.0f}", f"{seconds:.3f}", "", f"{memory:.0f}")
        table.add_row(*words)
    file.unlink()


if __name__ == "__main__":
    import tempfile

    from rich.console import Console

    shown = Table("query", "rows", "s", "", "peak MB")
    with tempfile.TemporaryDirectory() as place:
        main(Path(place), shown, int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
    Console(width=100).print(shown)
