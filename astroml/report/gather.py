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
from astroml.rows import baselines, join, read_rows
from astroml.store import FLAGS, Store, open_store

FPR = 0.01
"""False-positive rate whose threshold is used where a real sky has no labels."""


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

    def rejects(self) -> dict[str, list] | None:
        """Return the columns of the tables of rejects, one after the other."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = sorted((self.results / "store").glob("*/rejects.parquet"))
        return pa.concat_tables(map(pq.read_table, files)).to_pydict() if files else None

    def benchmarks(self) -> list[dict]:
        """Return one line per stage: jobs, seconds, the longest job, the largest memory."""
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
        return [
            {
                "stage": stage,
                "jobs": len(jobs),
                "seconds": sum(number(job.get("s")) or 0 for job in jobs),
                "longest": max(number(job.get("s")) or 0 for job in jobs),
                "memory": max(number(job.get("max_rss")) or 0 for job in jobs) or None,
            }
            for stage, jobs in stages.items()
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
        rows = self.rows()
        names = sorted(set(rows["weights"].tolist())) if rows and "weights" in rows else []
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
        """Return infer's rows of a store, without those that have no usable pixel."""
        if store not in self.seen:
            self.seen[store] = self._read(store)
        return self.seen[store]

    def _read(self, store: str) -> dict[str, np.ndarray] | None:
        files = self.row_files(store)
        if not files:
            return None
        rows = read_rows(files)
        if "flags" in rows:
            usable = (rows["flags"] & FLAGS["no_data"]) == 0
            rows = {name: values[usable] for name, values in rows.items()}
        if hasattr(self.task, "unique"):
            stays = self.task.unique(rows)
            rows = {name: values[stays] for name, values in rows.items()}
        return rows

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
        all_rows = read_rows(self.row_files(place))
        try:
            truth, rows = join(self.name, all_rows, store.objects, split)
        except AstromlError:
            return None
        return (truth, rows) if len(rows["object_id"]) else None

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
