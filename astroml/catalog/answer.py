"""The ``query`` command: what is asked for becomes SQL, and its answer a table or a file."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from astroml.catalog import query, region
from astroml.catalog.open import Catalog, Run
from astroml.errors import AstromlError

SHOWN = 50
"""Most rows on the screen."""


def answer(
    sql: str | None,
    run: str,
    catalogs: Path,
    *,
    task: str = "all",
    regions: dict | None = None,
    columns: str | None = None,
    order: str | None = None,
    limit: int | None = None,
    out: str | None = None,
) -> None:
    """Answer a query on the screen, to a file, or to standard output.

    Parameters
    ----------
    sql : str, optional
        A SELECT. With a region every table holds the rows in it alone.
    run, catalogs
        Whose catalogs, and where they lie.
    task : str
        In place of SQL, the table.
    regions : dict
        ``cone``, ``box`` and ``moc``, as the command takes them, None where not asked for.
    columns, order, limit
        In place of SQL: what is selected.
    out : str, optional
        File, or ``-`` for CSV to standard output; absent, a table on the screen.
    """
    if out not in (None, "-"):
        from astroml.catalog import formats

        formats.writer_of(Path(out))
    parts = [
        getattr(region, name)(*(given if isinstance(given, tuple) else [given]))
        for name, given in (regions or {}).items()
        if given is not None
    ]
    where = Run(run, catalogs, Path("results"))
    if sql is None:
        file = query.file_of(task, run, catalogs)
        names = [one.strip() for one in columns.split(",")] if columns else None
        conditions = " AND ".join(one.where(query.source(file)) for one in parts)
        text = query.select(file, conditions, names, order, limit)
        name = task
    else:
        if columns or order or limit is not None or task != "all":
            raise AstromlError("query: --task, --columns, --order and --limit are said in the SQL")
        text, name = query.within(sql, where.tables, parts), "query"
    found = Catalog(where, name, text)
    if out is None:
        _show(found)
    elif out == "-":
        from astroml.catalog import formats

        formats.write_csv(found.sheet, sys.stdout.buffer)
    else:
        found.write(out)
        print(f"wrote {out}: {len(found.sheet.table)} rows")


def _show(found: Catalog) -> None:
    """Print the rows as a table; a terminal's width bounds it, a file's or a pipe's does not."""
    from rich.console import Console
    from rich.table import Table

    head = query.ask(found.run.connection, found.query, most=SHOWN + 1)
    table = Table()
    for one in head.schema:
        table.add_column(one.name, justify="left" if str(one.type) == "string" else "right")
    for row in head.slice(0, SHOWN).to_pylist():
        table.add_row(*(as_text(name, value) for name, value in row.items()))
    console = Console(width=width_of_output())
    console.print(table)
    more = f"the first {SHOWN} rows; --out FILE writes all" if len(head) > SHOWN else ""
    console.print(more or f"{len(head)} row{'s' * (len(head) != 1)}", highlight=False)


def width_of_output() -> int:
    """Return the characters of a line: a terminal's; a file or a pipe takes any."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000


def as_text(name: str, value) -> str:
    """Return a cell: positions to 0.04 arcsec, other floats to four digits, lists by length."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.5f}" if name in ("ra", "dec") else f"{value:.4g}"
    return f"[{len(value)} values]" if isinstance(value, list) else str(value)
