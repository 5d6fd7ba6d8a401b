"""Draw a simulated sky: FITS files with a manifest, a store, or signals in real cutouts."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from astroml import provenance, store, tasks
from astroml.config import Inject, Splits
from astroml.errors import AstromlError
from astroml.progress import Progress
from astroml.sky.cutouts import CubeWriter
from astroml.survey import Survey, njy_per_unit

BLOCK = 128
"""Objects rendered and written at once."""

POSITION = ("object_id", "ra", "dec", "ebv")
"""Columns of every manifest and store."""


def choose_device(name: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise AstromlError("--device cuda: no CUDA GPU is visible; use --device auto or cpu")
    return name


def describe(device: str) -> str:
    """Say in words where rendering ran."""
    if device == "cuda":
        return f"on {torch.cuda.get_device_name()}"
    return f"on cpu, {torch.get_num_threads()} threads"


def render_blocks(sky, columns, survey, size: int, seed: int, device: str) -> Iterator[tuple]:
    """Render a population block by block, in order; yield columns, pixels and labels of each.

    The next block is rendered while the caller writes the last one.
    """

    def draw(begin: int) -> tuple:
        rows = np.arange(begin, min(begin + BLOCK, len(columns["object_id"])))
        rendered = sky.render(columns, survey, size, rows, device=device, seed=seed)
        some = {name: values[rows] for name, values in columns.items()}
        return some, rendered, sky.labels(some, rendered)

    with ThreadPoolExecutor(1) as ahead:
        waiting = None
        for begin in range(0, len(columns["object_id"]), BLOCK):
            coming = ahead.submit(draw, begin)
            if waiting:
                yield waiting.result()
            waiting = coming
        yield waiting.result()


def _say(verb: str, progress: Progress, device: str) -> None:
    speed = f"{progress.seconds:.1f} s ({progress.rate:.0f} objects/s)"
    print(f"{verb} {progress.done} objects in {speed} {describe(device)}")


def simulate_survey(
    task: str, population, survey: Survey, out, *, size: int, seed: int, device: str
) -> None:
    """Write a simulated survey: FITS cutouts, then the truth table, last the manifest.

    A run that was stopped before the manifest was written leaves none, and starts anew.

    Parameters
    ----------
    task : str
        Task whose sky is drawn.
    population : BaseModel
        The task's ``Sky``.
    survey : Survey
        Bands, pixels, noise; its layout must be the cube that ``CubeWriter`` writes.
    out : path
        Folder: ``images/<object_id>.fits``, ``truth.parquet``, ``manifest.csv``.
    size : int
        Side of the cutouts, px.
    seed : int
        Seed of the sky.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    """
    sky, device, out = tasks.load(task, "sky"), choose_device(device), Path(out)
    writer = CubeWriter(survey, size)
    columns = sky.population(population, survey, seed)
    unit = [njy_per_unit(band.zero_point) for band in survey.bands.values()]
    unit = np.array(unit, np.float32)[:, None, None]
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "manifest.csv").unlink(missing_ok=True)
    facts = []
    with Progress("simulate", len(columns["object_id"])) as progress:
        for some, pixels, labels in render_blocks(sky, columns, survey, size, seed, device):
            ivar = (unit[None] / pixels["sigma"][..., None, None]) ** 2
            # Pixels that are masked have no weight.
            ivar = np.where(pixels["mask"] > 0, 0, ivar)
            for row, name in enumerate(some["object_id"]):
                writer.write(
                    out / "images" / f"{name}.fits",
                    pixels["image"][row] / unit,
                    ivar[row],
                    pixels["mask"][row],
                    some["ra"][row],
                    some["dec"][row],
                )
            facts.append(labels | {"magnification": pixels["magnification"]})
            progress.advance(len(some["object_id"]))
    _say("simulated", progress, device)
    labels = {name: np.concatenate([one[name] for one in facts]) for name in facts[0]}
    stamp = provenance.stamp(
        "simulate", population, task=task, survey=survey.name, size=size, seed=seed
    )
    _write_truth(out / "truth.parquet", columns | labels, survey, sky.UNITS, stamp)
    del labels["magnification"]
    _write_manifest(out / "manifest.csv", columns, labels)


def _write_manifest(path: Path, columns: dict, labels: dict) -> None:
    names = [f"images/{name}.fits" for name in columns["object_id"]]
    table = {name: columns[name] for name in POSITION}
    table |= {"file": np.array(names), "group": columns["group"], **labels}
    ways = {
        "ra": "{:.7f}",
        "dec": "{:.7f}",
        "ebv": "{:.4f}",
        "theta_e": "{:.4f}",
        "arc_snr": "{:.2f}",
    }
    default = {name: "{:.4f}" if table[name].dtype.kind == "f" else "{}" for name in table}
    ways = default | ways
    texts = [[ways[name].format(one) for one in values] for name, values in table.items()]
    lines = [",".join(table), *(",".join(row) for row in zip(*texts))]
    with provenance.replacing(path) as part:
        part.write_text("\n".join(lines) + "\n")


def _write_truth(path: Path, columns: dict, survey: Survey, units: dict, stamp: dict) -> None:
    """Write every drawn parameter; columns with a value per band get the band's name."""
    arrays, fields = [], []
    for name, values in columns.items():
        if name == "part_flux":
            flat = {f"part_flux_{band}": values[..., at] for at, band in enumerate(survey.bands)}
        elif values.ndim == 2 and not name.startswith("part_"):
            flat = {f"{name}_{band}": values[:, at] for at, band in enumerate(survey.bands)}
        else:
            flat = {name: values}
        for key, column in flat.items():
            array = pa.array(list(column)) if column.ndim == 2 else pa.array(column)
            unit = {"unit": units[name]} if units.get(name) else None
            arrays.append(array)
            fields.append(pa.field(key, array.type, metadata=unit))
    facts = {"provenance": provenance.json.dumps(stamp)}
    with provenance.replacing(path) as part:
        pq.write_table(pa.table(arrays, pa.schema(fields, metadata=facts)), part)


def simulate_store(
    task: str,
    population,
    survey: Survey,
    out,
    *,
    splits: Splits,
    size: int,
    seed: int,
    device: str,
) -> None:
    """Write a simulated sky as one labelled shard, without FITS files in between.

    Parameters
    ----------
    task, population, survey, size, seed, device
        See ``simulate_survey``; any layout will do.
    out : path
        The shard.
    splits : Splits
        How the sky is split.
    """
    sky, device, module = tasks.load(task, "sky"), choose_device(device), tasks.load(task)
    columns = sky.population(population, survey, seed)
    columns["split"] = store.assign_splits(columns["ra"], columns["dec"], columns["group"], splits)
    header = _header(module.SET, survey, size, "simulate", population, task=task, seed=seed)

    def blocks() -> Iterator[dict]:
        for some, pixels, labels in render_blocks(sky, columns, survey, size, seed, device):
            names = (*POSITION, "group", "split")
            objects = {name: some[name] for name in names} | labels
            objects["flags"] = np.zeros(len(some["ra"]), np.int32)
            planes = {name: pixels[name] for name in ("image", "mask", "sigma", "psf_fwhm")}
            yield planes | {"objects": objects}

    with Progress("simulate", len(columns["object_id"])) as progress:
        store.write_shard(out, header, progress.over(blocks(), "image"))
    _say("simulated", progress, device)


def _header(cutouts, survey, size, stage, options, inputs=None, **facts) -> store.Header:
    bands = tuple(survey.bands)
    return store.Header(
        set=cutouts,
        bands=bands,
        size=size,
        pixel_scale=survey.pixel_scale,
        survey=survey.name,
        provenance=provenance.stamp(stage, options, inputs, bands=bands, unit="nJy", **facts),
    )


def inject(paths, settings: Inject, population, survey: Survey, out, *, device: str) -> None:
    """Add simulated signals to the cutouts of a store; write them as one labelled shard.

    Parameters
    ----------
    paths : list of path
        The store: folder of shards, or shards.
    settings : Inject
        Task, copies of each cutout, seed.
    population : BaseModel
        The task's ``Sky``.
    survey : Survey
        Its gains and noise correlation; must have the store's bands.
    out : path
        The shard.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    """
    real, sky, device = (
        store.open_store(paths),
        tasks.load(settings.task, "sky"),
        choose_device(device),
    )
    if not hasattr(sky, "inject"):
        raise AstromlError(
            f"task {settings.task!r} has no signal that can be added to real cutouts"
        )
    survey = survey.pick(list(real.header.bands))
    if abs(survey.pixel_scale / real.header.pixel_scale - 1) > 1e-3:
        raise AstromlError(
            f"survey {survey.name}: pixel_scale {survey.pixel_scale} arcsec, but the store "
            f"{real.shards[0]} has {real.header.pixel_scale}; name the store's survey"
        )
    header = _header(
        real.header.set, survey, real.header.size, "inject", settings, real.shards,
        task=settings.task, seed=settings.seed, sky=population.model_dump(mode="json"),
    )  # fmt: skip
    hosts = _hosts(real, settings)
    with Progress("inject", len(hosts) * (settings.copies + settings.pairs)) as progress:
        blocks = _injected(real, hosts, sky, settings, population, survey, device)
        store.write_shard(out, header, progress.over(blocks, "image"))
    _say("injected", progress, device)


def _hosts(real, settings: Inject) -> np.ndarray:
    """Return the rows of a store that signals are added to."""
    hosts = np.arange(len(real))
    label = tasks.load(settings.task).LABEL
    if settings.pairs and label in real.objects:
        hosts = hosts[real.objects[label] != 1]
        if left_out := len(real) - len(hosts):
            print(f"left out: {left_out} hosts that are labelled {label}")
    if not len(hosts):
        raise AstromlError(f"{real.shards[0]}: no host to add signals to; name another store")
    return hosts


def _injected(real, hosts, sky, settings: Inject, population, survey, device: str) -> Iterator:
    """Yield blocks of hosts with signals, copy by copy, then as they are if pairs are wanted."""
    names = ["image", "mask", "sigma", "psf_fwhm"] + (["ivar"] if real.has("ivar") else [])
    for copy in (*range(settings.copies), *([BARE] if settings.pairs else [])):
        for begin in range(0, len(hosts), BLOCK):
            rows = hosts[begin : begin + BLOCK]
            planes = real.read(rows, names)
            objects = _host_columns(real, rows, settings, copy)
            if copy == BARE:
                labels = sky.bare(planes["psf_fwhm"])
            else:
                planes["image"], truth = sky.inject(
                    planes["image"], planes["sigma"], planes["psf_fwhm"], survey, population,
                    settings.seed, copy * len(real) + rows, device,
                    mask=planes["mask"], grid=settings.grid,
                )  # fmt: skip
                labels = sky.labels(truth, truth | planes)
            # Signals bring no defects; the host's own are known or not.
            unknown = np.full(len(rows), np.nan, np.float32)
            labels["artefact"] = objects.get("artefact", unknown)
            yield planes | {"objects": objects | labels}


BARE = 999
"""Number, among the copies of a host, of the host as it is."""


def _host_columns(real, rows, settings: Inject, copy: int) -> dict[str, np.ndarray]:
    """Return the object columns of copies of hosts; a host and its copies share a group."""
    objects = {name: values[rows] for name, values in real.objects.items()}
    objects["host_id"] = objects["object_id"]
    objects["object_id"] = new_ids(real.objects["object_id"], copy)[rows]
    group = np.asarray(real.objects.get("group", np.full(len(real), -1)))
    alone = group.max(initial=-1) + 1 + np.arange(len(real))
    objects["group"] = np.where(group < 0, alone, group)[rows]
    if "labels" in objects:
        objects["labels"] = np.full(len(rows), settings.task)
    return objects


def new_ids(object_id: np.ndarray, copy: int) -> np.ndarray:
    """Return ids for copies: 1000 times the host's plus the copy, or ``<host>-inj<copy>``.

    Text is used where the ids are text, or too large to be multiplied; it is ``<host>-bare`` for
    copy ``BARE``.
    """
    if object_id.dtype.kind in "iu" and np.abs(object_id.astype(float)).max(initial=0) < 9e15:
        return object_id.astype(np.int64) * 1000 + copy
    ending = "bare" if copy == BARE else f"inj{copy}"
    return np.array([f"{name}-{ending}" for name in object_id])
