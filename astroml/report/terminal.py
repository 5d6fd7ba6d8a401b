"""The summary in the terminal: some rows, metrics, and where each file lies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from astroml import tasks
from astroml.errors import AstromlError
from astroml.report.gather import evenly, ranks
from astroml.report.metrics import headlines, value_text


def show(results: str | Path, catalogs: str | Path, top: int = 5) -> None:
    """Print a run: some rows of each catalog, its metrics but those of bins, its files.

    Parameters
    ----------
    results, catalogs : path
        The run's folders.
    top : int
        Rows to print of each catalog: the highest by its first column where that one ranks, else
        at even steps from the lowest to the highest.

    Raises
    ------
    AstromlError
        If neither folder holds anything of a run.
    """
    results, catalogs = Path(results), Path(catalogs)
    found = [name for name in tasks.names() if (catalogs / f"{name}.parquet").is_file()]
    files = list_files(results, catalogs)
    if not files:
        raise AstromlError(f"{results} and {catalogs}: nothing of a run there; run the workflow")
    console = Console()
    for name in found:
        console.print(top_rows(name, catalogs / f"{name}.parquet", top, console.width))
    for file in sorted((results / "metrics").glob("*.json")):
        console.print(metrics_table(file))
    width = max(len(what) for what, _ in files)
    for what, path in files:
        console.print(f"{what:{width}}  {path}", soft_wrap=True, highlight=False, markup=False)


def top_rows(task: str, path: Path, top: int, width: int) -> Table:
    """Return some rows of a catalog, as many columns as fit; lists are left out."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = [column.name for column in tasks.load(task).COLUMNS if not column.length]
    data = pq.read_table(path, columns=["object_id", "ra", "dec", *names])
    first, n = names[0], data.num_rows
    if ranks(first):
        chosen = data.sort_by([(first, "descending"), ("object_id", "ascending")]).slice(0, top)
        title = f"{task}: top {chosen.num_rows} of {n}"
    else:
        known = data.filter(pc.is_finite(data[first]))
        known = known.sort_by([(first, "ascending"), ("object_id", "ascending")])
        chosen = known.take(evenly(known.num_rows, top))
        title = f"{task}: {chosen.num_rows} of {n}, from the lowest to the highest {first}"
    texts = {
        name: [as_text(name, value) for value in chosen[name].to_pylist()]
        for name in chosen.column_names
    }
    # Each column takes a line and two blanks beside its text.
    ends = np.cumsum([max(map(len, (name, *cells))) + 3 for name, cells in texts.items()])
    fitting = max(int(np.searchsorted(ends, width)), 4)
    table = Table(title=title, title_justify="left", caption_justify="left")
    for name in list(texts)[:fitting]:
        table.add_column(name, justify="right", overflow="fold")
    for cells in zip(*list(texts.values())[:fitting]):
        table.add_row(*cells)
    if left := list(texts)[fitting:]:
        table.caption = f"further columns: {', '.join(left)}"
    return table


def as_text(name: str, value) -> str:
    """Return a cell: positions to 0.4 arcsec, other floats to four digits."""
    if isinstance(value, float):
        return f"{value:.5f}" if name in ("ra", "dec") else f"{value:.4g}"
    return str(value)


def metrics_table(file: Path) -> Table:
    """Return the metrics that score wrote, each with its uncertainty, but those of bins."""
    found = json.loads(file.read_text())
    title = f"{found['task']}: {found['n']} objects, {found['split']} split"
    table = Table("metric", title=title, title_justify="left", caption_justify="left")
    table.add_column("value ± error", justify="right")
    shown = headlines(found["metrics"])
    for name, metric in shown.items():
        table.add_row(name, value_text(metric))
    if left := len(found["metrics"]) - len(shown):
        table.caption = f"and {left} in bins, in the file"
    return table


def list_files(results: Path, catalogs: Path) -> list[tuple[str, Path]]:
    """Return what a run left behind and where, only what is there."""
    known = {*tasks.names(), "all"}
    places = [
        ("catalog", sorted(path for path in catalogs.glob("*") if path.stem in known)),
        ("rejects", sorted((results / "store").glob("*/rejects.parquet"))),
        ("report", [results / "report.html"]),
        ("notebook", sorted((results / "notebooks").glob("*.html"))),
        ("metrics", sorted((results / "metrics").glob("*.json"))),
        ("weights", sorted((results / "weights").glob("*.safetensors"))),
        ("store", sorted((results / "store").glob("*"))),
        ("simulated survey", sorted((results / "survey").glob("*"))),
        ("labelled sky", sorted((results / "sky").glob("*"))),
        ("injected", sorted((results / "injected").glob("*"))),
        ("selection function", sorted((results / "selection").glob("*"))),
        ("evidence maps", sorted((results / "explain").glob("*.h5"))),
        ("logs", [results / "logs"]),
        ("benchmarks", [results / "benchmarks"]),
    ]
    return [(what, path) for what, paths in places for path in paths if path.exists()]
