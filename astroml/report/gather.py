"""Read what a run left behind; what is not there is None, and the page says so."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np

from astroml import config as configs
from astroml import tasks
from astroml.errors import AstromlError
from astroml.provenance import digest
from astroml.rows import as_numpy, baselines, join, read_rows
from astroml.store import FLAGS, Store, open_store

FPR = 0.01
"""False-positive rate whose threshold is used where a real sky has no labels."""

PLACE = "place"
"""Column of the rows that says where a row stands among those of all shards."""

STAGES = (
    *("simulate", "ingest", "tally", "train", "inject", "infer", "selection", "explain", "score"),
    *("catalog", "export", "masks", "join", "report"),
)
"""The order in which stages run; others follow."""


@dataclass
class Run:
    """One run's config and folders."""

    config: configs.Run
    results: Path
    catalogs: Path

    @property
    def real(self) -> bool:
        """Whether the objects come from somebody's manifest."""
        return self.config.input.manifest is not None

    def store(self, path: str, cutouts: str = "galaxy") -> Store | None:
        """Open a store of the run, ``store``, ``sky`` or ``injected``."""
        try:
            return open_store(self.results / path / cutouts)
        except AstromlError:
            return None

    def rejects(self, cutouts: str = "*") -> dict[str, list] | None:
        """Return the columns of the tables of rejects, of all sets or of one."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = sorted((self.results / "store").glob(f"{cutouts}/rejects.parquet"))
        return pa.concat_tables(map(pq.read_table, files)).to_pydict() if files else None

    def benchmarks(self) -> list[dict]:
        """Return one line per stage, in the order they run: jobs, seconds, and the largest memory.

        ``seconds`` and ``cpu`` are sums over its jobs, ``longest`` is that of one job, ``memory``
        its peak resident set, MB, or None where Snakemake could not measure it.
        """
        folder = self.results / "benchmarks"
        stages: dict[str, list[dict]] = {}
        for file in sorted(folder.rglob("*.tsv")):
            name = file.relative_to(folder).with_suffix("").as_posix()
            stage = re.sub(r"([/_.-]\d+)+$", "", name)
            lines = file.read_text().splitlines()
            for line in lines[1:]:
                stages.setdefault(stage, []).append(
                    dict(zip(lines[0].split("\t"), line.split("\t")))
                )
        order = sorted(stages, key=lambda stage: (_place(stage), stage))
        return [
            {
                "stage": stage,
                "jobs": len(stages[stage]),
                "seconds": sum(_numbers(stages[stage], "s")),
                "longest": max(_numbers(stages[stage], "s"), default=0.0),
                "cpu": sum(_numbers(stages[stage], "cpu_time")) or None,
                "memory": max(_numbers(stages[stage], "max_rss"), default=0.0) or None,
            }
            for stage in order
        ]

    def evidence(self) -> list[Evidence]:
        """Return what is known of each task of the run."""
        return [Evidence(self, name) for name in configs.chosen_tasks(self.config)]


def ranks(column: str) -> bool:
    """Return whether a first column says how good a candidate is, rather than a quantity."""
    return column.endswith(("_prob", "_score"))


def evenly(n: int, count: int) -> np.ndarray:
    """Return at most ``count`` places among ``n`` at even steps, first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(int))


def _place(stage: str) -> int:
    """Return where a stage stands among ``STAGES``."""
    first = re.split(r"[/_.-]", stage)[0]
    return STAGES.index(first) if first in STAGES else len(STAGES)


def _numbers(jobs: list[dict], name: str) -> list[float]:
    """Return a column of benchmarks, without the jobs that have no number there."""
    values = (number(job.get(name)) for job in jobs)
    return [value for value in values if value is not None]


def narrow(field) -> bool:
    """Return whether a column, as Arrow's field, is neither a list nor the same in every row."""
    return not hasattr(field.type, "list_size") and field.name not in ("weights", "input")


def number(text: str | None) -> float | None:
    """Return a benchmark's number; Snakemake writes ``-`` or ``NA`` where it has none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if np.isfinite(value) else None


@dataclass
class Evidence:
    """What a run knows of one task."""

    run: Run
    name: str
    seen: dict = field(default_factory=dict)
    """Rows that were read already, by store."""

    @cached_property
    def task(self) -> ModuleType:
        """The task's functions."""
        return tasks.load(self.name)

    @property
    def column(self) -> str:
        """The task's first column: what candidates are sorted by, or the quantity it measures."""
        return self.task.COLUMNS[0].name

    @property
    def ranks(self) -> bool:
        """Whether the first column says how good a candidate is."""
        return ranks(self.column)

    @property
    def binary(self) -> bool:
        """Whether the first column is the probability of a yes, and each object has one."""
        return self.column.endswith("_prob") and not self.many

    @property
    def many(self) -> bool:
        """Whether an object may have several rows, each at its own place."""
        return getattr(self.task, "MANY_ROWS", False)

    @property
    def members(self) -> int:
        """Networks that the rows are of."""
        options = configs.chosen_tasks(self.run.config)[self.name]
        return 1 if options.weights else getattr(options, "members", 1)

    def weights_files(self) -> list[Path]:
        """Return the weights of the run, of an ensemble those of each member, there or not."""
        if chosen := configs.chosen_tasks(self.run.config)[self.name].weights:
            return [Path(chosen)]
        numbers = [""] if self.members == 1 else [f".{at}" for at in range(self.members)]
        folder = self.run.results / "weights"
        return [folder / f"{self.name}{number}.safetensors" for number in numbers]

    @cached_property
    def card(self) -> dict:
        """The card of the weights, of an ensemble that of its first member."""
        place = self.weights_files()[0].with_suffix(".json")
        return json.loads(place.read_text()) if place.is_file() else {}

    @cached_property
    def weights_hash(self) -> str | None:
        """Hash of the weights, as the catalog's rows name it."""
        files = self.row_files("store")
        told = read_rows(files, lambda field: field.name == "weights") if files else {}
        names = sorted(set(told.get("weights", np.array([])).tolist()))
        there = [digest(file) for file in self.weights_files() if file.is_file()]
        return ", ".join(names or there) or None

    def explained(self) -> dict | None:
        """Return the maps of the evidence that explain wrote; None if it wrote none.

        Returns
        -------
        dict
            ``maps``, object_id -> (y, x) array in units of the network's ``output``, its name.
        """
        file = self.run.results / "explain" / f"{self.name}.h5"
        if not file.is_file():
            return None
        with h5py.File(file) as data:
            ids = data["object_id"][:]
            ids = np.char.decode(ids, "utf-8") if ids.dtype.kind == "S" else ids
            maps = dict(zip(ids.tolist(), data["map"][:]))
            return {"maps": maps, "output": str(data.attrs["output"])}

    @cached_property
    def metrics(self) -> dict | None:
        """What score measured."""
        file = self.run.results / "metrics" / f"{self.name}.json"
        return json.loads(file.read_text()) if file.is_file() else None

    def row_files(self, store: str) -> list[Path]:
        """Return the files of infer's rows of a store, in the order of the shards."""
        folder = self.run.results / "rows" / self.name / store
        return sorted(folder.glob("*.parquet"), key=lambda file: (len(file.name), file.name))

    def rows(self, store: str = "store") -> dict[str, np.ndarray] | None:
        """Return infer's rows of a store, without those that have no usable pixel.

        Lists are left out, since they are most of a catalog; ``lists`` reads those of some rows.
        """
        if store not in self.seen:
            self.seen[store] = self._read(store)
        return self.seen[store]

    def _read(self, store: str) -> dict[str, np.ndarray] | None:
        if not self.row_files(store):
            return None
        rows = self._narrow(store)
        if "flags" in rows:
            usable = (rows["flags"] & FLAGS["no_data"]) == 0
            rows = {name: values[usable] for name, values in rows.items()}
        if hasattr(self.task, "unique"):
            stays = self.task.unique(rows)
            rows = {name: values[stays] for name, values in rows.items()}
        return rows

    def _narrow(self, store: str) -> dict[str, np.ndarray]:
        rows = read_rows(self.row_files(store), narrow)
        return rows | {PLACE: np.arange(len(rows["object_id"]))}

    def lists(self, store: str, places: np.ndarray) -> dict[str, np.ndarray]:
        """Return the columns of lists of some rows, one shard at a time.

        Parameters
        ----------
        store : str
            Whose rows.
        places : (k,) array of int
            Their ``PLACE``.

        Returns
        -------
        dict
            name -> (k, length) array.
        """
        import pyarrow.parquet as pq

        found, start = {}, 0
        for path in self.row_files(store):
            file = pq.ParquetFile(path)
            names = [one.name for one in file.schema_arrow if hasattr(one.type, "list_size")]
            here = np.flatnonzero((places >= start) & (places < start + file.metadata.num_rows))
            if names and len(here):
                part = file.read(names).take(places[here] - start)
                for name in names:
                    values = as_numpy(part[name])
                    whole = found.setdefault(
                        name, np.empty((len(places), values.shape[1]), values.dtype)
                    )
                    whole[here] = values
            start += file.metadata.num_rows
        return found

    @cached_property
    def catalog(self) -> tuple[dict, dict] | None:
        """The rows of the run's catalog, and what the store says of each; None without either."""
        file = self.run.catalogs / f"{self.name}.parquet"
        store = self.run.store("store", self.task.SET)
        if store is None or not file.is_file():
            return None
        rows, ids = read_rows([file]), store.objects["object_id"]
        order = np.argsort(ids, kind="stable")
        place = np.searchsorted(ids, rows["object_id"], sorter=order)
        place = order[np.minimum(place, len(order) - 1)] if len(ids) else place
        if not len(ids) or not np.array_equal(ids[place], rows["object_id"]):
            return None
        return rows, {name: values[place] for name, values in store.objects.items()}

    def injected(self) -> dict[str, np.ndarray] | None:
        """Return infer's rows of injected signals, without those of bare hosts beside them."""
        rows, store = self.rows("injected"), self.run.store("injected", self.task.SET)
        if rows is None or store is None:
            return rows
        label = store.objects.get(getattr(self.task, "LABEL", None))
        if label is None:
            return rows
        keep = np.isin(rows["object_id"], store.objects["object_id"][label == 1])
        return {name: values[keep] for name, values in rows.items()}

    @cached_property
    def labelled(self) -> str | None:
        """Which store the metrics are measured on: ``sky`` if one was made to train on."""
        places = ["sky", "store"] if self.run.config.train_on == "simulated" else ["store"]
        return next((name for name in places if self.rows(name) is not None), None)

    @cached_property
    def truth_and_rows(self) -> tuple[dict, dict] | None:
        """Truth and rows of the labelled test split; None if there are none."""
        place = self.labelled
        store = self.run.store(place, self.task.SET) if place else None
        if store is None:
            return None
        split = (self.metrics or {}).get("split", "test")
        try:
            truth, rows = join(self.name, self._narrow(place), store.objects, split)
        except AstromlError:
            return None
        if not len(rows["object_id"]):
            return None
        return truth, rows | self.lists(place, rows[PLACE])

    @cached_property
    def compared(self) -> tuple[dict, dict] | None:
        """``truth_and_rows``, with what other methods say as further columns of the rows."""
        if self.truth_and_rows is None:
            return None
        truth, rows = self.truth_and_rows
        file = self.run.results / "metrics" / f"{self.name}.baselines.parquet"
        if file.is_file():
            # They take minutes, so score leaves them behind.
            said = read_rows([file])
            order = np.argsort(said["object_id"], kind="stable")
            place = np.searchsorted(said["object_id"], rows["object_id"], sorter=order)
            place = order[np.minimum(place, len(order) - 1)]
            if np.array_equal(said.pop("object_id")[place], rows["object_id"]):
                return truth, rows | {name: values[place] for name, values in said.items()}
        if set(truth["split"]) != {"test"}:
            return truth, rows
        store = self.run.store(self.labelled, self.task.SET)
        return truth, rows | baselines(self.name, store, rows["object_id"])

    @cached_property
    def threshold(self) -> float | None:
        """Value of the first column that one percent of the labelled negatives pass."""
        label = getattr(self.task, "LABEL", None)
        if not self.binary or self.truth_and_rows is None or label not in self.truth_and_rows[0]:
            return None
        truth, rows = self.truth_and_rows
        negatives = rows[self.column][truth[label] == 0]
        if len(negatives) < 1 / FPR:
            return None
        return float(np.quantile(negatives, 1 - FPR, method="higher"))
