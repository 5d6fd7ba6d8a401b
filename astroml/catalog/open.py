"""A catalog in Python: ``astroml.open_catalog("lens", run="demo")``.

Every step gives a catalog again and reads nothing; ``to_astropy``, ``to_pandas``, ``len`` and what
shows it do.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from astroml.catalog import query, region
from astroml.errors import AstromlError


def open_catalog(
    task: str = "all",
    run: str = "demo",
    catalogs: str | Path = "catalogs",
    results: str | Path = "results",
) -> Catalog:
    """Open a catalog of a run.

    Parameters
    ----------
    task : str
        A task, or ``all`` for every object with what each task says of it.
    run : str
        Name of the run.
    catalogs, results : path
        Folders that hold the runs' catalogs and stores.
    """
    file = query.file_of(task, run, catalogs)
    return Catalog(Run(run, Path(catalogs), Path(results)), task, file=file)


@dataclass(frozen=True)
class Run:
    """Where a run's files lie, and the connection through which they are asked."""

    name: str
    catalogs: Path
    results: Path

    @cached_property
    def tables(self) -> dict[str, Path]:
        """Table -> Parquet file."""
        return query.tables_of(self.name, self.catalogs)

    @cached_property
    def connection(self):
        """One DuckDB connection for all catalogs of the run."""
        return query.connect(self.tables)


@dataclass(frozen=True)
class Catalog:
    """Rows of a catalog, or of a query: what is to be read, until it is."""

    run: Run
    name: str
    """The table it began as."""
    query: str = ""
    """SQL; empty while it is the whole file."""
    file: Path | None = None

    @property
    def _sql(self) -> str:
        return self.query or query.select(self.file)

    def sql(self, text: str) -> Catalog:
        """Ask in SQL, in which this catalog is a table of its task's name.

        Other tasks of the run are tables too, and ``all``.
        """
        if self.query:
            text = query.joined([f"{query.quoted(self.name)} AS ({self.query})"], text)
        text = text.strip().rstrip(";")
        self._schema(text)
        return replace(self, query=text, file=None)

    def cone(self, ra, dec, radius) -> Catalog:
        """Return the rows within a radius (arcsec) of a place (deg, or hms and dms as text)."""
        return self._within(region.cone(ra, dec, radius))

    def box(self, ra0, ra1, dec0, dec1) -> Catalog:
        """Return the rows in a box, deg: eastward from ``ra0`` to ``ra1``, across RA 0 too."""
        return self._within(region.box(ra0, ra1, dec0, dec1))

    def moc(self, path) -> Catalog:
        """Return the rows in a MOC, a FITS file."""
        return self._within(region.moc(path))

    def _within(self, part: region.Region) -> Catalog:
        if not self.query:
            return replace(self, query=query.select(self.file, part.where(query.source(self.file))))
        inner = f"({self.query})"
        indexed = region.CELL in self.columns or not part.exact
        where = part.where(inner) if indexed else part.exact
        return replace(self, query=f"SELECT * FROM {inner} WHERE {where}")

    def top(self, n: int = 20, by: str | None = None) -> Catalog:
        """Return the first rows by a column, the highest first; what is not known comes last.

        Parameters
        ----------
        n : int
            Most rows.
        by : str, optional
            Column; absent, the first that is a probability or a score.
        """
        by = by or next((one for one in self.columns if one.endswith(("_prob", "_score"))), None)
        if by is None:
            raise AstromlError(f"{self.name}: no probability or score; name a column, by='...'")
        if by not in self.columns:
            raise AstromlError(f"column {by!r}: not in {self.name}{query.close(by, self.columns)}")
        if not self.query:
            text = query.select(self.file, order=f"{by} DESC", limit=n)
        else:
            also = ', "object_id"' if "object_id" in self.columns else ""
            text = (
                f"SELECT * FROM ({self.query}) ORDER BY {query.quoted(by)} DESC NULLS LAST{also} "
                f"LIMIT {int(n)}"
            )
        return replace(self, query=text, file=None)

    def head(self, n: int = 20) -> Catalog:
        """Return the first rows as they come."""
        return replace(self, query=f"SELECT * FROM ({self._sql}) LIMIT {int(n)}", file=None)

    @cached_property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._schema(self._sql)

    def _schema(self, text: str) -> list[str]:
        return query.ask(self.run.connection, text, most=0).column_names

    def __len__(self) -> int:
        count = f"SELECT count(*) AS n FROM ({self._sql})"
        return query.ask(self.run.connection, count)["n"][0].as_py()

    @cached_property
    def sheet(self):
        """The rows as an Arrow table, with what its columns mean."""
        from astroml.catalog.sheet import Sheet, even_lists, meaning

        table = even_lists(query.ask(self.run.connection, self._sql))
        known = query.meanings(self.run.connection, self._sql, self.run.tables)
        plain = meaning(table.schema)
        columns = tuple(replace(known.get(one.name, one), dtype=one.dtype) for one in plain)
        about = {"run": self.run.name, "query": self._sql}
        return Sheet(table, columns, self.name, f"Rows of run {self.run.name}", about)

    def to_astropy(self):
        """Read the rows as an astropy Table with units, descriptions and UCDs (in ``meta``)."""
        from astroml.catalog.sheet import as_astropy

        return as_astropy(self.sheet)

    def to_pandas(self):
        """Read the rows as a pandas DataFrame; numbers that are not known are NaN."""
        return self.sheet.table.to_pandas()

    def write(self, path: str | Path) -> None:
        """Write the rows; the ending says how: .csv, .ecsv, .fits, .vot, .parquet."""
        from astroml.catalog import formats

        formats.write(self.sheet, path)

    def crossmatch(self, other, radius: float = 2.0):
        """Match the rows with another table on the sky; see ``catalog.crossmatch``.

        Parameters
        ----------
        other : path, astropy Table or Catalog
            Entries, each of which gets the nearest row.
        radius : float
            Largest separation, arcsec.

        Returns
        -------
        astropy.table.Table
            The entry's columns, ``separation`` (arcsec), ``entries``, then the row's.
        """
        from astroml.catalog import crossmatch

        if isinstance(other, Catalog):
            other = other.to_astropy()
        elif isinstance(other, str | Path):
            other = crossmatch.read_table(Path(other))
        return crossmatch.match(self.to_astropy(), other, radius=radius)[0]

    def similar(self, object_id, k: int = 20):
        """Return the objects most like one, the nearest first; see ``catalog.alike``.

        Returns
        -------
        astropy.table.Table
            The rows, with ``distance`` in the embedding behind ``object_id``.
        """
        from astroml.catalog import alike
        from astroml.catalog.sheet import as_astropy

        return as_astropy(alike.similar(self.sheet, object_id, k))

    def rerank(self, labels, column: str = "anomaly_score"):
        """Return the rows in the order of the interest that labels let expect.

        Parameters
        ----------
        labels : dict or path
            object_id -> interest, 0 to 5, or a table with these two columns.
        column : str
            What the rows are sorted by where no label is near.

        Returns
        -------
        astropy.table.Table
            The rows, with ``interest`` and more behind ``object_id``; see ``catalog.alike``.
        """
        from astroml.catalog import alike
        from astroml.catalog.sheet import as_astropy

        if isinstance(labels, dict):
            labels = {one: alike.checked(one, value, "labels") for one, value in labels.items()}
        else:
            labels = alike.read_labels(Path(labels))
        return as_astropy(alike.rerank(self.sheet, labels, column))

    def cutout(self, object_id):
        """Read an object's pixels from the run's store; see ``catalog.show``."""
        from astroml.catalog import show

        return show.cutout(self, object_id)

    def show(self, n: int = 20):
        """Draw colour cutouts of the first rows, as a matplotlib figure."""
        from astroml.catalog import show

        return show.mosaic(self, n)

    def __repr__(self) -> str:
        return f"<Catalog {self.name} of run {self.run.name}: {len(self)} rows>"

    def _repr_html_(self) -> str:
        return f"<p>{html.escape(repr(self))}</p>{self.head().to_astropy()._repr_html_()}"
