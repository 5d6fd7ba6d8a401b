"""The catalog beside a plain Parquet write of the same table, and queries beside bare DuckDB."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bench import Case
from bench_query import write_big

import astroml
from astroml import tasks
from astroml.catalog.columns import all_columns, arrow_type
from astroml.catalog.formats import GROUP_ROWS
from astroml.catalog.write import write_catalog

RUN = "big"


def prepare_catalog(folder: Path, objects: int) -> None:
    """Write rows as infer does: numbers that hardly repeat, all over the sky."""
    made = {*getattr(tasks.load("lens"), "RANKS", {}), "_healpix_29"}
    rng, data, fields = np.random.default_rng(objects), {}, []
    for column in all_columns("lens"):
        if column.name in made:
            continue
        fields.append(pa.field(column.name, arrow_type(column)))
        if column.dtype == "str":
            data[column.name] = ["0123456789abcdef"] * objects
        elif column.dtype.startswith("int"):
            data[column.name] = np.arange(objects).astype(column.dtype)
        else:
            data[column.name] = rng.uniform(size=objects).astype(column.dtype)
    data["flags"] = np.zeros(objects, np.int32)
    data["ra"], data["dec"] = rng.uniform(0, 360, objects), rng.uniform(-90, 90, objects)
    table = pa.table(data, pa.schema(fields))
    pq.write_table(table, folder / f"told_{objects}.parquet", compression="zstd")


def case_catalog(folder: Path, objects: int) -> Case:
    """Return rows gathered into a catalog: checked, ranked, along the sky."""
    rows, out = folder / f"told_{objects}.parquet", folder / f"lens_{objects}.parquet"
    plain = folder / f"plain_{objects}.parquet"
    write_catalog("lens", [rows], [out])
    table = pq.read_table(out)
    out_bytes, row_bytes = out.stat().st_size, rows.stat().st_size
    facts = {"bytes_per_object": out_bytes / objects, "row_bytes_per_object": row_bytes / objects}

    def bound() -> None:
        pq.write_table(table, plain, compression="zstd", row_group_size=GROUP_ROWS)

    def subject() -> None:
        write_catalog("lens", [rows], [out])

    return Case(subject, objects, bound, objects, "plain Parquet write", 4, facts)


def prepare_query(folder: Path, objects: int) -> None:
    """Write a catalog of lenses all over the sky."""
    path = folder / f"{RUN}_{objects}/lens.parquet"
    if not path.exists():
        write_big(path, objects)


prepare_query_top = prepare_query_cone = prepare_query


def asked(folder: Path, objects: int, ask, sql: str) -> Case:
    """Return one query of a catalog, and the same in SQL of a bare connection."""
    path = folder / f"{RUN}_{objects}/lens.parquet"
    bare = duckdb.connect(config={"threads": 1})
    statement = sql.format(source=f"read_parquet('{path}')")

    def subject() -> None:
        ask(astroml.open_catalog("lens", f"{RUN}_{objects}", folder))

    # A query is one: its time is told of the whole catalog.
    return Case(
        subject, objects, lambda: bare.sql(statement).arrow(), objects, "the same in bare DuckDB", 6
    )


def case_query_top(folder: Path, objects: int) -> Case:
    """Return the hundred best of a catalog."""
    sql = "SELECT * FROM {source} ORDER BY lens_prob DESC NULLS LAST LIMIT 100"
    return asked(folder, objects, lambda catalog: catalog.top(100).sheet.table, sql)


def case_query_cone(folder: Path, objects: int) -> Case:
    """Return what lies within a degree of a place; the bare query looks at a box about it."""
    sql = "SELECT * FROM {source} WHERE ra BETWEEN 149.1 AND 151.1 AND dec BETWEEN 1.2 AND 3.2"
    return asked(folder, objects, lambda catalog: catalog.cone(150.1, 2.2, 3600).sheet.table, sql)
