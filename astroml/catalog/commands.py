"""The commands on catalogs: write them, ask them, match them.

Like the rest of the command line, they import nothing heavy until they run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astroml.errors import AstromlError


def catalog(
    task: Annotated[str | None, typer.Option(help="Science task that the rows are of.")] = None,
    rows: Annotated[list[Path], typer.Option(help="Rows that infer wrote, in order.")] = [],  # noqa: B006
    out: Annotated[
        list[Path],
        typer.Option(help="Files to write: .parquet, .fits, .vot, .ecsv, .csv, a task's own."),
    ] = [],  # noqa: B006
    catalogs: Annotated[
        list[Path],
        typer.Option("--catalog", help="In place of rows: a catalog; several are joined."),
    ] = [],  # noqa: B006
    hats: Annotated[
        Path | None, typer.Option(help="Folder to write as a HATS catalog, which LSDB opens.")
    ] = None,
) -> None:
    """Gather a task's rows into the catalog, with unit, UCD and description of each column."""
    from astroml.catalog import write

    if bool(rows) == bool(catalogs) or bool(rows) != bool(task):
        raise AstromlError("catalog: give either --task and --rows, or --catalog")
    if not out and not hats:
        raise AstromlError("catalog: nothing to write; give --out or --hats")
    if rows:
        write.write_catalog(task, rows, out, hats)
    else:
        write.export(catalogs, out, hats)


def query(
    sql: Annotated[
        str | None, typer.Argument(help="A SELECT; every task is a table, and all of them 'all'.")
    ] = None,
    run: Annotated[str, typer.Option(help="Name of the run.")] = "demo",
    task: Annotated[str, typer.Option(help="In place of SQL: the table.")] = "all",
    cone: Annotated[
        tuple[str, str, str] | None,
        typer.Option(help="RA DEC RADIUS: degrees, hms or dms, and arcsec."),
    ] = None,
    box: Annotated[
        tuple[str, str, str, str] | None,
        typer.Option(help="RA0 RA1 DEC0 DEC1: eastward from RA0, across RA 0 too."),
    ] = None,
    moc: Annotated[Path | None, typer.Option(help="MOC file, FITS.")] = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns, comma-separated; default all.")
    ] = None,
    order: Annotated[str | None, typer.Option(help="'COLUMN' or 'COLUMN DESC'.")] = None,
    limit: Annotated[int | None, typer.Option(help="Most rows.", min=0)] = None,
    out: Annotated[
        str | None,
        typer.Option(help="What to write: .csv, .ecsv, .fits, .vot, .parquet; '-' for CSV here."),
    ] = None,
    catalogs: Annotated[Path, typer.Option(help="Folder of the runs' catalogs.")] = Path(
        "catalogs"
    ),
) -> None:
    """Ask a run's catalogs in SQL, or for a cone, a box or a MOC; show the rows or write them."""
    from astroml.catalog import answer

    regions = {"cone": cone, "box": box, "moc": moc}
    wanted = {"columns": columns, "order": order, "limit": limit}
    answer.answer(sql, run, catalogs, task=task, regions=regions, out=out, **wanted)


def crossmatch(
    catalog: Annotated[Path, typer.Argument(help="Table of objects, such as a run's catalog.")],
    other: Annotated[Path, typer.Argument(help="Table to match it with, such as known lenses.")],
    radius: Annotated[float, typer.Option(help="Largest separation, arcsec.")] = 2.0,
    out: Annotated[
        Path | None, typer.Option(help="What to write: .csv, .ecsv, .fits, .vot, .parquet.")
    ] = None,
) -> None:
    """Match a catalog with another table on the sky; of known lenses, show how they scored."""
    from astroml.catalog import crossmatch as matching

    matching.crossmatch(catalog, other, radius=radius, out=out)


def similar(
    catalog: Annotated[Path, typer.Argument(help="Catalog with an embedding.")],
    object_id: Annotated[str, typer.Argument(help="The object that others are to be like.")],
    k: Annotated[int, typer.Option("--count", "-k", help="Objects, at most.", min=1)] = 20,
    out: Annotated[
        Path | None, typer.Option(help="What to write: .csv, .ecsv, .fits, .vot, .parquet.")
    ] = None,
) -> None:
    """Find the objects most like one, by the embedding of a catalog, such as that of anomalies."""
    from astroml.catalog import alike

    alike.write_similar(catalog, object_id, k, out)


def rerank(
    catalog: Annotated[Path, typer.Argument(help="Catalog with an embedding.")],
    labels: Annotated[Path, typer.Option(help="Table of labels: object_id and interest, 0 to 5.")],
    column: Annotated[
        str, typer.Option(help="What the list is sorted by where no label is near.")
    ] = "anomaly_score",
    out: Annotated[
        Path | None, typer.Option(help="What to write: .csv, .ecsv, .fits, .vot, .parquet.")
    ] = None,
) -> None:
    """Sort a catalog by what a person's labels make interesting, and say what to label next."""
    from astroml.catalog import alike

    alike.write_reranked(catalog, labels, column, out)
