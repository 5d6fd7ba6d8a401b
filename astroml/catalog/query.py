"""Ask a run's catalogs in SQL: DuckDB over the Parquet files, each task a table.

What is not known is NULL in the files, so that ``lens_prob > 0.9`` finds no object without a score,
and none comes first in ``ORDER BY lens_prob DESC``: DuckDB takes NaN for the largest number.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from astroml.errors import AstromlError

SETTINGS = {
    "memory_limit": "300MB",  # what does not fit goes to the disk
    "autoinstall_known_extensions": "false",  # nothing is fetched from the network
    "autoload_known_extensions": "false",
}


def close(word: str, known) -> str:
    """Return ``; did you mean ...?`` where a known word is close, else what is known."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, 1, 0.6)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known) or 'none'}"


def tables_of(run: str, catalogs: str | Path = "catalogs") -> dict[str, Path]:
    """Return table -> Parquet file of a run.

    Raises
    ------
    AstromlError
        If there is no such run, or nothing in it.
    """
    folder = Path(catalogs) / run
    if not folder.is_dir():
        runs = [one.name for one in Path(catalogs).glob("*") if one.is_dir()]
        raise AstromlError(f"run {run!r}: no folder {folder}{close(run, runs)}")
    found = {path.stem: path for path in sorted(folder.glob("*.parquet"))}
    if not found:
        raise AstromlError(f"run {run!r}: no catalog in {folder}; make its catalogs first")
    return found


def file_of(table: str, run: str, catalogs: str | Path = "catalogs") -> Path:
    """Return the Parquet file of a table."""
    tables = tables_of(run, catalogs)
    if table not in tables:
        raise AstromlError(f"table {table!r}: not in run {run!r}{close(table, tables)}")
    return tables[table]


def connect(tables: dict[str, Path]):
    """Return a DuckDB connection in which every file is a view."""
    import duckdb

    spill = Path(tempfile.gettempdir()) / f"astroml-query-{os.getpid()}"
    connection = duckdb.connect(config=SETTINGS | {"temp_directory": str(spill)})
    connection.execute("SET parquet_metadata_cache=true")
    for name, path in tables.items():
        view = f"CREATE VIEW {quoted(name)} AS SELECT * FROM {source(path)}"
        connection.execute(view)
    return connection


def source(path: Path) -> str:
    """Return a file as SQL has it."""
    return "read_parquet('" + str(path).replace("'", "''") + "')"


def quoted(name: str) -> str:
    """Return a name as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


def schema(path: Path):
    """Return the Arrow schema of a catalog."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as fault:
        raise AstromlError(f"{path}: not a Parquet file that can be read ({fault})") from None


def select(
    path: Path,
    where: str = "",
    columns: list[str] | None = None,
    order: str | None = None,
    limit: int | None = None,
) -> str:
    """Return the SQL that reads a catalog.

    Where rows are ordered and limited, the column that orders them is read first, and of the
    others only the rows that stay: many times faster in a wide catalog.

    Parameters
    ----------
    path : Path
        Parquet file.
    where : str
        Condition.
    columns : list of str, optional
        Those wanted, else all.
    order : str, optional
        A column, with ``ASC`` or ``DESC`` behind it if wanted; what is not known comes last.
    limit : int, optional
        Most rows.
    """
    fields = {one.name: one.type for one in schema(path)}
    for name in columns or ():
        if name not in fields:
            raise AstromlError(f"column {name!r}: not in {path.stem}{close(name, fields)}")
    wanted = ", ".join(quoted(name) for name in columns) if columns else "*"
    inner = f"SELECT * FROM {source(path)}"
    condition = f" WHERE {where}" if where else ""
    by = ""
    if order:
        name, _, way = order.strip().partition(" ")
        if name not in fields:
            raise AstromlError(f"column {name!r}: not in {path.stem}{close(name, fields)}")
        if way.strip().upper() not in ("", "ASC", "DESC"):
            raise AstromlError(f"--order: found {order!r}, expected 'COLUMN' or 'COLUMN DESC'")
        by = f" ORDER BY {quoted(name)} {way.strip()} NULLS LAST"
        if "object_id" in fields:
            by += ', "object_id"'
        if limit is not None:
            rows = f"SELECT file_row_number FROM {source(path)}{condition}{by} LIMIT {limit}"
            inner, condition = f"{inner} WHERE file_row_number IN ({rows})", ""
    end = f" LIMIT {limit}" if limit is not None else ""
    return f"SELECT {wanted} FROM ({inner}){condition}{by}{end}"


def within(sql: str, tables: dict[str, Path], parts: list) -> str:
    """Return a query whose tables hold the rows in some regions alone."""
    if not parts:
        return sql
    said = []
    for name, path in tables.items():
        condition = " AND ".join(one.where(source(path)) for one in parts)
        said.append(f"{quoted(name)} AS ({select(path, condition)})")
    return joined(said, sql)


def joined(said: list[str], sql: str) -> str:
    """Return a query behind the definitions of some tables, ``name AS (...)``."""
    sql = sql.strip().rstrip(";")
    rest = f", {sql[4:]}" if re.match(r"with\s", sql, re.IGNORECASE) else f" {sql}"
    return f"WITH {', '.join(said)}{rest}"


def ask(connection, sql: str, most: int | None = None):
    """Run a query; return an Arrow table, of at most so many rows if given.

    Raises
    ------
    AstromlError
        In one line: what DuckDB says of a mistake, where it is, and what was meant perhaps.
    """
    import duckdb

    asked, sql = sql, with_all(sql)
    try:
        statements = connection.extract_statements(sql)
        kinds = [one.type.name for one in statements]
        if kinds != ["SELECT"] and kinds != ["EXPLAIN"]:
            found = ", ".join(kinds) or "nothing"
            raise AstromlError(f"query: found {found}, expected one SELECT")
        relation = connection.sql(sql)
        return (relation if most is None else relation.limit(most)).to_arrow_table()
    except duckdb.Error as fault:
        raise AstromlError(f"query: {one_line(str(fault), sql, asked)}") from None


def with_all(sql: str) -> str:
    """Return a query in which the table ``all`` is in quotes, since ALL is a word of SQL.

    Behind FROM and JOIN, and before a dot, it can only be the table. Texts, quoted names and
    comments stay as they are.
    """
    import duckdb

    text = sql.encode()  # tokens are told by their bytes
    comment = duckdb.token_type.comment
    starts = [start for start, kind in duckdb.tokenize(sql) if kind != comment]
    words = [re.match(rb"\w*", text[start:])[0].lower() for start in starts]
    for at, before in reversed([*zip(range(1, len(words)), words)]):
        end = starts[at] + len(b"all")
        dotted = text[end:].lstrip().startswith(b".")
        if words[at] == b"all" and (before in (b"from", b"join") or dotted):
            text = text[: starts[at]] + b'"all"' + text[end:]
    return text.decode()


def one_line(text: str, sql: str, asked: str) -> str:
    """Return DuckDB's words on a mistake in one line, with its place in the query as asked."""
    lines = text.split("\n")
    first = re.sub(r"^\w+( \w+)* Error: ", "", lines[0]).strip().rstrip(".!")
    first = first[:1].lower() + first[1:]
    hint = next((one for one in lines if re.match(r"Did you mean|Candidate bindings", one)), "")
    names = re.findall(r'"([^"]+)"', hint)
    place = ""
    if word := re.search(r'"([^"]+)"|(?:name|function) (\S+) does', lines[0]):
        marked = [at for at, one in enumerate(lines) if re.match(r"^LINE \d+:", one)]
        if marked and marked[0] + 1 < len(lines):
            number = int(re.match(r"LINE (\d+)", lines[marked[0]])[1])
            head = len(re.match(r"^LINE \d+: ", lines[marked[0]])[0])
            column = lines[marked[0] + 1].find("^") - head
            before = sum(len(one) + 1 for one in sql.split("\n")[: number - 1])
            place = f" at character {_as_asked(before + column, sql, asked) + 1}"
        elif (at := asked.lower().find((word[1] or word[2]).lower())) >= 0:
            place = f" at character {at + 1}"
    mend = f"; did you mean {' or '.join(names[:3])}?" if names else ""
    return f"{first}{place}{mend}"


def _as_asked(place: int, sql: str, asked: str) -> int:
    """Return where a character of a query with quotes added was before."""
    here = 0
    for one in sql[:place]:
        here += here < len(asked) and asked[here] == one
    return here


def meanings(connection, sql: str, tables: dict[str, Path]) -> dict:
    """Return column of a query's result -> what it means, of those that are a catalog's as it is.

    A column that the query computes, or that it gives another's name, has none; one that it only
    renames keeps its meaning.
    """
    from astroml.catalog.sheet import meaning

    known = {}
    for path in reversed(tables.values()):
        known |= {one.name: one for one in meaning(schema(path))}
    asked = "SELECT json_serialize_sql(?::VARCHAR)"
    tree = connection.execute(asked, [with_all(sql)]).fetchall()[0][0]
    made, renamed = set(), {}
    for node in _walk(json.loads(tree)):
        if not (alias := node.get("alias")) or "class" not in node:
            continue
        names = node.get("column_names")
        if names and alias not in known and names[-1] in known:
            renamed[alias] = known[names[-1]]
        elif not names or names[-1] != alias:
            made.add(alias)
    found = known | {name: replace(one, name=name) for name, one in renamed.items()}
    return {name: one for name, one in found.items() if name not in made}


def _walk(node):
    """Yield every object within a JSON value."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    for one in node if isinstance(node, list) else ():
        yield from _walk(one)
