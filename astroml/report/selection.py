"""The selection function on the page: the figure that ``astroml selection`` drew, and its table."""

from __future__ import annotations

import base64
import json

import numpy as np

from astroml.report.gather import Evidence


def shown(evidence: Evidence) -> dict | None:
    """Return figure and table of which injected signals were found; None where there are none.

    Returns
    -------
    dict
        ``uri`` of the figure or None, ``text``, ``names`` of the columns, and ``rows`` of texts,
        one for each cell of the grid that holds a signal.
    """
    import pyarrow.parquet as pq

    folder = evidence.run.results / "selection"
    file, figure = (folder / f"{evidence.name}.{ending}" for ending in ("parquet", "png"))
    if not file.is_file():
        return None
    table = pq.read_table(file)
    facts = json.loads((table.schema.metadata or {}).get(b"provenance", b"{}"))
    told = facts.get("options", {})
    cells = {name: table[name].to_numpy() for name in table.column_names}
    axes = [name.removesuffix("_low") for name in cells if name.endswith("_low")]
    axes = [name for name in axes if name != "completeness"]
    some = np.flatnonzero(cells["n"])
    total, found = int(cells["n"].sum()), int(cells["found"].sum())
    above = f", that is {told['column']} above {told['threshold']:.3g}" if told else ""
    return {
        "uri": _uri(figure.read_bytes()) if figure.is_file() else None,
        "text": f"{total:,} signals were injected into the run's objects at strengths of this "
        f"grid; {found:,} of them were found{above}. Intervals are 68%.",
        "names": [*axes, "injected", "found", "completeness"],
        "rows": [_row(cells, axes, cell) for cell in some],
    }


def _row(cells: dict[str, np.ndarray], axes: list[str], cell: int) -> list[str]:
    """Return a cell of the grid as texts."""
    share, low, high = (cells[f"completeness{end}"][cell] for end in ("", "_low", "_high"))
    ranges = [f"{cells[f'{axis}_low'][cell]:g} to {cells[f'{axis}_high'][cell]:g}" for axis in axes]
    counts = [f"{cells[name][cell]:,}" for name in ("n", "found")]
    return [*ranges, *counts, f"{share:.2f} ({low:.2f} to {high:.2f})"]


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
