"""What a survey takes, from the record of the benchmark: ``python tests/bench_plan.py`` writes
``workflow/README.md``, which a test holds against the record."""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import dataclass
from pathlib import Path

from bench import AIMS, EVEN

HERE = Path(__file__).parent
RECORD = HERE / "bench.json"
PAGE = HERE.parent / "workflow/README.md"

SIZES = (10**6, 10**7, 10**8, 10**9)
"""Objects of a survey."""

SLOWER = 0.1
"""Share by which time per object and memory may grow from the fewest objects to the most."""

NODE = {"cores": 64, "memory_gb": 256}
"""The node that hours are told of."""

CHUNK = 100_000
"""Objects of a chunk: minutes of one core, and a shard of some gigabytes."""

PLANNED = 10_000
"""Chunks of a run that Snakemake is tested to plan within a minute."""

FILES = ("shard", "rejects", "rows", "2 logs", "2 benchmarks", "3 records of Snakemake")
"""Files of a chunk, for one task."""


INTRODUCTION = """
Written by `python tests/bench_plan.py` from the record of `make bench`, `tests/bench.json`; a test
fails when they differ. Cutouts are 64x64 px in three bands, one FITS file per object; one task, the
lens finder as it is by default, on CPUs.
"""

MEASURED = """
One thread. On a busy machine rates by the clock say little: the plan counts seconds of the
processor, which other work changes less. `manifest` is what each chunk does with the whole manifest
before its first file; a query's time is divided by the rows of its catalog. Memory is that of the
whole process, with Python and its libraries; pages of mapped files are the disk's cache, which the
system takes back when it needs room.
"""

HOURS = """
Reading the manifest counts once for every chunk; the start of each job, some seconds of a core, is
left out.
"""

BESIDE = """
Beside them lie the survey's own files, as many as objects where each has one; cutouts from large
images need none.
"""

RUNS = """
the largest round number below the first limit above. A larger survey is several runs, each with a
manifest of its own part of the sky, its own `run` name, and the `weights` of one training. VOTable
and FITS copies (`catalogs.formats`) are for catalogs that fit a laptop.
"""


@dataclass(frozen=True)
class Figures:
    """What the plan takes from the record, per object; NaN where it was not measured."""

    cpu: dict[str, float]
    """Stage -> seconds of the processor."""
    memory: dict[str, float]
    """Stage -> bytes by which its memory grows."""
    size: dict[str, float]
    """Kind of file -> bytes."""


def largest(record: dict, stage: str) -> dict:
    """Return the case of most objects of a stage; empty if there is none."""
    cases = [one for one in record["cases"] if one["stage"] == stage and "skipped" not in one]
    return max(cases, key=lambda one: one["objects"], default={})


def growth(record: dict, stage: str) -> float:
    """Return bytes of memory per object, between the fewest and the most that were measured."""
    cases = [one for one in record["cases"] if one["stage"] == stage and "skipped" not in one]
    few, many = (pick(cases, key=lambda one: one["objects"], default=None) for pick in (min, max))
    if few is many:
        return math.nan
    grown = (many["own_mb"] - few["own_mb"]) * 2**20
    return max(grown, 0.0) / (many["objects"] - few["objects"])


def figures(record: dict) -> Figures:
    """Return what the plan takes from the record."""
    stages = ("ingest", "infer", "catalog", "manifest", "tally")
    told = {stage: largest(record, stage) for stage in (*stages, "store")}
    kinds = {
        "FITS": ("ingest", "fits_bytes_per_object"),
        "store": ("store", "bytes_per_object"),
        "rows": ("catalog", "row_bytes_per_object"),
        "catalog": ("catalog", "bytes_per_object"),
        "manifest": ("manifest", "bytes_per_object"),
    }
    return Figures(
        {stage: told[stage].get("cpu_per_object", math.nan) for stage in stages},
        {stage: growth(record, stage) for stage in ("manifest", "tally", "catalog")},
        {kind: told[stage].get(key, math.nan) for kind, (stage, key) in kinds.items()},
    )


def limits(known: Figures) -> list[tuple[float, str]]:
    """Return what breaks a single run, and at how many objects, the fewest first."""
    memory, share = NODE["memory_gb"] * 2**30, NODE["memory_gb"] / NODE["cores"] * 2**30
    found = [
        (
            known.cpu["ingest"] * CHUNK / known.cpu["manifest"],
            "every ingest job reads the whole manifest: longer than its own chunk takes",
        ),
        (
            share / known.memory["manifest"] if known.memory["manifest"] else math.inf,
            f"the manifest in memory: more than one core's {share / 2**30:.0f} GB",
        ),
        (
            PLANNED * CHUNK,
            f"Snakemake plans every chunk before the first job: tested to {PLANNED:,} chunks",
        ),
        (
            memory / known.memory["tally"] if known.memory["tally"] else math.inf,
            f"`tally` holds every object_id: more than a node's {NODE['memory_gb']} GB",
        ),
        (
            memory / known.memory["catalog"] if known.memory["catalog"] else math.inf,
            f"`catalog` sorts one table in memory: more than a node's {NODE['memory_gb']} GB",
        ),
    ]
    return sorted(one for one in found if not math.isnan(one[0]))


def objects_per_run(known: Figures) -> int:
    """Return the largest of 1, 2 and 5 times a power of ten that no limit stops; a chunk at least.

    What would take a whole survey in one run is left as it is.
    """
    first = min(limits(known)[0][0], SIZES[-1])
    steps = (times * 10**digits for digits in range(5, 10) for times in (1, 2, 5))
    return max((step for step in steps if step <= first), default=CHUNK)


@dataclass(frozen=True)
class Need:
    """What so many objects take."""

    runs: int
    chunks: int
    """Of each run."""
    core_hours: dict[str, float]
    gigabytes: dict[str, float]
    files: int
    """That the workflow writes."""

    @property
    def node_hours(self) -> float:
        """Of a node with all cores at work."""
        known = [hours for hours in self.core_hours.values() if not math.isnan(hours)]
        return sum(known) / NODE["cores"]


def need(objects: int, known: Figures) -> Need:
    """Return what a survey of so many objects takes, for one task."""
    runs = max(1, -(-objects // objects_per_run(known)))
    chunks = max(1, objects // runs // CHUNK)
    hours = {stage: known.cpu[stage] * objects / 3600 for stage in ("ingest", "infer", "catalog")}
    # Each chunk reads its run's manifest, and the tally does once more.
    hours["manifest"] = known.cpu["manifest"] * objects * chunks / 3600
    hours["tally"] = known.cpu["tally"] * objects / 3600
    sizes = {kind: size * objects / 1e9 for kind, size in known.size.items()}
    per_chunk = sum(int(one.split()[0]) if one[0].isdigit() else 1 for one in FILES)
    return Need(runs, chunks, hours, sizes, runs * chunks * per_chunk)


def aims(record: dict) -> list[str]:
    """Return the table of what was aimed at and what came out, of the stages that were measured."""
    lines, cores = [], record["machine"]["cores"]
    for stage, least in AIMS.items():
        if one := largest(record, stage):
            found, how = one["ratio"], "by the clock"
            if one["load"] > cores:
                found, how = one["ratio_cpu"], "in seconds of the processor"
            verdict = "met" if found >= least else "missed"
            text = f"{found:.2f} {how}, {one['objects']:,} objects"
            lines.append([f"`{stage}`: {least} of its bound", text, verdict])
    for stage in EVEN:
        cases = [one for one in record["cases"] if one["stage"] == stage]
        few, many = (pick(cases, key=lambda one: one["objects"], default={}) for pick in (min, max))
        if few is many or not cases:
            continue
        slower = many["cpu_per_object"] / few["cpu_per_object"] - 1
        span = f"{few['objects']:,} to {many['objects']:,} objects"
        verdict = "met" if slower <= SLOWER else "missed"
        lines.append([f"`{stage}`: time per object", f"{slower:+.0%}, {span}", verdict])
        grown = many["own_mb"] / few["own_mb"] - 1
        verdict = "met" if grown <= SLOWER else "missed"
        lines.append([f"`{stage}`: memory", f"{grown:+.0%}, {span}", verdict])
    return table(["aim", "found", ""], lines)


def number(value: float) -> str:
    """Return a number of two digits, or three where it is one; a dash for what is not known."""
    if math.isnan(value):
        return "not measured"
    if value < 10:
        return f"{value:.2g}"
    digits = 2 - math.floor(math.log10(value))
    return f"{round(value, min(digits, 0)):,.0f}"


def power(value: int) -> str:
    """Return a power of ten as people write it."""
    return f"10^{round(math.log10(value))}"


def table(head: list[str], lines: list[list[str]]) -> list[str]:
    """Return a Markdown table."""
    rows = [head, ["---"] * len(head), *lines]
    return [*(f"| {' | '.join(row)} |" for row in rows), ""]


def clock(case: dict, machine: dict) -> str:
    """Return the ratio by the clock, unless other work had the cores."""
    return "busy" if case["load"] > machine["cores"] else f"{case['ratio']:.2f}"


def measured(record: dict) -> list[str]:
    """Return the table of what was measured."""
    lines = []
    for one in record["cases"]:
        name = [f"`{one['stage']}`", f"{one['objects']:,}"]
        if "skipped" in one:
            lines.append([*name, one["skipped"], "", "", "", "", ""])
            continue
        lines.append(
            [
                *name,
                number(1e6 * one["cpu_per_object"]),
                one["bound"],
                f"{one['ratio_cpu']:.2f}",
                clock(one, record["machine"]),
                f"{one['peak_mb']:.0f}",
                f"{one['own_mb']:.0f}",
            ]
        )
    head = ["stage", "objects", "CPU us per object", "bound", "of bound, CPU", "of bound, clock"]
    return table([*head, "peak MB", "without mapped files"], lines)


def settings(needs: dict[int, Need], per_run: int) -> list[str]:
    """Return the table of settings at each size."""
    lines = []
    for objects, one in needs.items():
        hours = one.node_hours * NODE["cores"]
        where = "one machine" if hours < 24 * 8 else "a cluster: workflow/profiles/slurm"
        formats = "`[fits, vot]`" if objects <= 10**6 else "`[]`"
        runs = "one" if one.runs == 1 else f"{one.runs}, by parts of the sky"
        lines.append([power(objects), runs, f"{one.chunks}", formats, where])
    head = ["objects", "runs", "`ingest.chunks` of each", "`catalogs.formats`", "where"]
    text = f"A chunk is {CHUNK:,} objects; a run has at most {per_run:,}, {RUNS}"
    return [*said(text), *table(head, lines)]


def said(text: str) -> list[str]:
    """Return a paragraph."""
    return [textwrap.fill(" ".join(text.split()), 100), ""]


def page(record: dict) -> str:
    """Return workflow/README.md."""
    known, machine = figures(record), record["machine"]
    needs = {objects: need(objects, known) for objects in SIZES}
    sizes = [power(objects) for objects in SIZES]
    stages = ("ingest", "infer", "catalog", "manifest", "tally")
    hours = [[f"`{one}`"] + [number(n.core_hours[one]) for n in needs.values()] for one in stages]
    hours.append(["node-hours in all"] + [number(n.node_hours) for n in needs.values()])
    disk = [[kind] + [number(n.gigabytes[kind]) for n in needs.values()] for kind in known.size]
    files = ["written by the workflow"] + [number(n.files) for n in needs.values()]
    loads = [round(one["load"]) for one in record["cases"]]
    made = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, Python "
    made += f"{machine['python']}, {record['date']}; load {min(loads)} to {max(loads)}."
    lines = [
        "# From a laptop to a billion objects",
        "",
        *said(INTRODUCTION),
        "## What was measured",
        "",
        *said(f"{made} {MEASURED}"),
        *measured(record),
        *aims(record),
        "## Core-hours",
        "",
        *said(f"A node has {NODE['cores']} cores and {NODE['memory_gb']} GB. {HOURS}"),
        *table(["core-hours", *sizes], hours),
        "## Disk and files",
        "",
        *table(["GB", *sizes], disk),
        *table(["files", *sizes], [files]),
        *said(f"A chunk has {', '.join(FILES)}. {BESIDE}"),
        "## What breaks first",
        "",
        "In a single run, the first limit first:",
        "",
        *table(["objects", "what"], [[number(at), what] for at, what in limits(known)]),
        "## Settings at each size",
        "",
        *settings(needs, objects_per_run(known)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(json.loads(RECORD.read_text())))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
