"""Draw a simulated sky: FITS files with a manifest, a store, or signals in real cutouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import BaseModel

from astroml import provenance, store, tasks
from astroml.config import Inject, Splits
from astroml.errors import AstromlError
from astroml.photometry import photometry_columns
from astroml.progress import Progress
from astroml.sky.cutouts import CubeWriter
from astroml.sky.populations import BLOCK, Population, cutout_set, draw, render_blocks, without
from astroml.survey import Survey, galactic_extinction, njy_per_unit

PLANES = ("image", "mask", "sigma", "psf_fwhm")
"""What a store holds of the pixels."""

DECIMALS = {"deg": 7, "mag": 4, "arcsec": 4, "": 2}
"""Decimals in the manifest by unit; what has none is written whole."""

LISTS = ("part_", "feature_", "system_", "tail_", "artefact_")
"""Beginnings of the names of columns with a value per component, not per band."""

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


def _say(verb: str, progress: Progress, device: str) -> None:
    speed = f"{progress.seconds:.1f} s ({progress.rate:.0f} objects/s)"
    print(f"{verb} {progress.done} objects in {speed} {describe(device)}")


def _options(skies: dict[str, BaseModel]) -> BaseModel | dict:
    """Return what was asked for: of one task as it is, of several by their names."""
    if len(skies) == 1:
        return next(iter(skies.values()))
    return {task: one.model_dump(mode="json") for task, one in skies.items()}


def _inputs(skies: dict[str, BaseModel]) -> list[Path]:
    """Return the files that the populations are drawn from."""
    rooms = [(tasks.load(task, "sky"), one) for task, one in skies.items()]
    return [path for sky, one in rooms if hasattr(sky, "inputs") for path in sky.inputs(one)]


def simulate_survey(
    skies: dict[str, BaseModel], survey: Survey, out, *, size: int, seed: int, device: str
) -> None:
    """Write a simulated survey: FITS cutouts, then the truth table, last the manifest.

    A run that was stopped before the manifest was written leaves none, and starts anew. A galaxy
    that is drawn several times for a store is in the survey once.

    Parameters
    ----------
    skies : dict
        The ``Sky`` of each task whose sky is drawn. Of several, each object has the labels of one
        task, which column ``labels`` names.
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
    device, out = choose_device(device), Path(out)
    writer = CubeWriter(survey, size)
    cutout_set(skies)
    drawn = draw(skies, survey, seed)
    (out / "images").mkdir(parents=True, exist_ok=True)
    (out / "manifest.csv").unlink(missing_ok=True)
    truths, rows = [], []
    stamp = provenance.stamp(
        "simulate", _options(skies), _inputs(skies),
        task=" ".join(skies), survey=survey.name, size=size, seed=seed,
    )  # fmt: skip
    with Progress("simulate", sum(map(len, drawn))) as progress:
        for one in drawn:
            columns, labels, extra = _write_images(one, survey, out, writer, device, progress)
            truths.append(_truth(columns | labels | extra, survey, one.sky.UNITS, stamp))
            rows.append(_manifest_rows(columns, labels, one.sky.UNITS))
    _say("simulated", progress, device)
    with provenance.replacing(out / "truth.parquet") as part:
        whole = pa.concat_tables(truths, promote_options="permissive")
        pq.write_table(whole.replace_schema_metadata(truths[0].schema.metadata), part)
    _write_manifest(out / "manifest.csv", rows)


def _write_images(one: Population, survey, out, writer, device: str, progress) -> tuple:
    """Write the images of a task; return the columns, labels and further facts of its objects."""
    unit = [njy_per_unit(band.zero_point) for band in survey.bands.values()]
    unit = np.array(unit, np.float32)[:, None, None]
    facts = []
    for some, pixels, labels in render_blocks(one, survey, writer.size, device):
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
        known = (*PLANES, *store.PLANES, *labels)
        extra = {name: pixels[name] for name in pixels if name not in known}
        facts.append((labels, extra))
        progress.advance(len(some["object_id"]))
    labels, extra = (
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*facts)
    )
    return {name: values[one.rows] for name, values in one.columns.items()}, labels, extra


def _manifest_rows(columns: dict, labels: dict, units: dict) -> dict[str, list[str]]:
    """Return the manifest's columns of one task, as text."""
    names = [f"images/{name}.fits" for name in columns["object_id"]]
    table = {name: columns[name] for name in POSITION}
    table |= {"file": np.array(names), "group": columns["group"], **labels}
    ways = {name: f"{{:.{DECIMALS[unit]}f}}" for name, unit in units.items() if unit in DECIMALS}
    default = {
        name: "{:.4f}" if values.dtype.kind == "f" else "{}" for name, values in table.items()
    }
    return {
        name: [(default | ways)[name].format(one) for one in values]
        for name, values in table.items()
    }


def _write_manifest(path: Path, parts: list[dict[str, list[str]]]) -> None:
    """Write the rows of all tasks; a cell of a label that a task does not have is empty."""
    names = list(dict.fromkeys(name for part in parts for name in part))
    lines = [",".join(names)]
    for part in parts:
        empty = [""] * len(part["object_id"])
        lines += [",".join(row) for row in zip(*(part.get(name, empty) for name in names))]
    with provenance.replacing(path) as written:
        written.write_text("\n".join(lines) + "\n")


def _truth(columns: dict, survey: Survey, units: dict, stamp: dict) -> pa.Table:
    """Return every drawn parameter; the last axis of those with a value per band is bands."""
    arrays, fields = [], []
    for name, values in columns.items():
        if values.ndim == 3:
            flat = {f"{name}_{band}": values[..., at] for at, band in enumerate(survey.bands)}
        elif values.ndim == 2 and not name.startswith(LISTS):
            flat = {f"{name}_{band}": values[:, at] for at, band in enumerate(survey.bands)}
        else:
            flat = {name: values}
        for key, column in flat.items():
            array = pa.array(list(column)) if column.ndim == 2 else pa.array(column)
            unit = {"unit": units[name]} if units.get(name) else None
            arrays.append(array)
            fields.append(pa.field(key, array.type, metadata=unit))
    facts = {"provenance": provenance.json.dumps(stamp)}
    return pa.table(arrays, pa.schema(fields, metadata=facts))


def simulate_store(
    skies: dict[str, BaseModel],
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
    skies, survey, size, seed, device
        See ``simulate_survey``; any layout will do.
    out : path
        The shard.
    splits : Splits
        How the sky is split.
    """
    device, cutouts = choose_device(device), cutout_set(skies)
    drawn = draw(skies, survey, seed, splits)
    empty = without(drawn, survey, size, device)
    header = _header(
        cutouts, survey, size, "simulate", _options(skies), _inputs(skies),
        task=" ".join(skies), seed=seed,
    )  # fmt: skip

    def blocks() -> Iterator[dict]:
        for one in drawn:
            for some, pixels, labels in render_blocks(one, survey, size, device):
                names, rows = (*POSITION, "group", "split"), len(some["ra"])
                objects = {name: some[name] for name in names} | labels
                objects |= {
                    name: np.full(rows, empty[name]) for name in empty if name not in labels
                }
                objects["flags"] = np.zeros(rows, np.int32)
                planes = {name: pixels[name] for name in (*PLANES, *store.PLANES) if name in pixels}
                objects |= _photometry(planes, some["ebv"], survey)
                yield planes | {"objects": objects}

    with Progress("simulate", sum(map(len, drawn))) as progress:
        store.write_shard(out, header, progress.over(blocks(), "image"))
    _say("simulated", progress, device)


def _photometry(planes: dict, ebv: np.ndarray, survey: Survey) -> dict[str, np.ndarray]:
    """Measure the object columns that ingest would."""
    wavelengths = [band.wavelength for band in survey.bands.values()]
    dimming = 10 ** (-0.4 * galactic_extinction(ebv, wavelengths))
    return photometry_columns(
        *(planes[name] for name in PLANES), survey.pixel_scale, list(survey.bands), dimming
    )


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
    survey = survey.like(real.header, real.shards[0])
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
                blank = np.zeros((len(rows), *planes["image"].shape[2:]), np.uint8)
                planes |= dict.fromkeys(getattr(sky, "PLANES", ()), blank)
                labels = sky.bare(planes["psf_fwhm"])
            else:
                planes["image"], truth = sky.inject(
                    planes["image"], planes["sigma"], planes["psf_fwhm"], survey, population,
                    settings.seed, copy * len(real) + rows, device,
                    mask=planes["mask"], grid=settings.grid,
                )  # fmt: skip
                planes |= {name: truth[name] for name in store.PLANES if name in truth}
                labels = sky.labels(truth, truth | planes)
            # Signals bring no defects; the host's own are known or not.
            unknown = np.full(len(rows), np.nan, np.float32)
            labels["artefact"] = objects.get("artefact", unknown)
            if f"flux_{real.header.bands[0]}" in objects:
                objects |= _photometry(planes, objects["ebv"], survey)
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
