"""Several cutout sets: one ingest job per part of the manifest reads the files for all of them.

There is one task so far. So a copy of the project gets a second one, which differs by its set: that
is all that a new task needs.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_workflow import ROOT, SMALL

from astroml.store import open_store

pytestmark = pytest.mark.slow

BOTH = SMALL | {
    "run": "both",
    "ingest": SMALL["ingest"] | {"size": {"galaxy": 24, "halo": 40}},
    "tasks": {"lens": SMALL["tasks"]["lens"], "rings": SMALL["tasks"]["lens"]},
    "simulate": {"lens": {"objects": 120}, "rings": {"objects": 120}},
}
GIVEN = BOTH | {"run": "given", "input": {"manifest": "results/both/survey/halo/manifest.csv"}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with a task ``rings`` that looks at the set ``halo``."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "Snakefile", folder)
    for name in ("astroml", "workflow", "config", "catalogs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(folder / "astroml/tasks/lens", folder / "astroml/tasks/rings")
    file = folder / "astroml/tasks/rings/__init__.py"
    text = file.read_text()
    assert 'SET = "galaxy"' in text
    file.write_text(text.replace('SET = "galaxy"', 'SET = "halo"'))
    heard(folder, "-m", "astroml.cli", "config", "--write")
    return folder


def heard(folder, *words):
    """Run Python in the copy, which it imports; return what it says."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, text=True, check=False, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=os.environ | {"PATH": path, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


def snakemake(folder, config, *words):
    file = folder / f"{config['run']}.yaml"
    file.write_text(yaml.safe_dump(config))
    words = ("--configfile", str(file), "--cores", "2", *words)
    return heard(folder, "-m", "snakemake", "--profile", "workflow/profiles/local", *words)


def planned(text) -> dict[str, int]:
    """Return how often a dry run would run each rule."""
    if "Nothing to be done" in text:
        return {}
    table = text.split("Job stats:")[1].split("\ntotal")[0]
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def changed(config, *place, value):
    config = json.loads(json.dumps(config))
    part = config
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    return config


@pytest.fixture(scope="module")
def finished(project):
    """A run of both tasks on given objects: those of a simulated sky."""
    snakemake(project, BOTH, "results/both/survey/halo/manifest.csv")
    text = snakemake(project, GIVEN, "--dry-run", "--printshellcmds")
    snakemake(project, GIVEN)
    return project, text


def test_one_job_per_part_for_all_sets(finished):
    project, text = finished
    jobs = planned(text)
    assert {rule: jobs[rule] for rule in ("ingest", "tally", "train", "infer", "catalog")} == {
        "ingest": 2, "tally": 2, "train": 2, "infer": 4, "catalog": 2,
    }  # fmt: skip
    commands = re.findall(r"astroml ingest .*", text)
    assert len(commands) == 2
    for command in commands:
        assert command.count(" --set galaxy ") == command.count(" --set halo ") == 1
        outs = re.findall(r"--(?:out|rejects) \S*/(galaxy|halo)/[01]\.\S+", command)
        assert outs == ["galaxy", "halo"] * 2
    for name, size in (("galaxy", 24), ("halo", 40)):
        store = open_store(sorted((project / f"results/given/store/{name}").glob("?.h5")))
        assert (store.header.set, store.header.size, len(store)) == (name, size, 120)
    for task in ("lens", "rings"):
        assert (project / f"catalogs/given/{task}.parquet").stat().st_size > 0


def test_a_simulated_sky_is_made_and_read_for_each_set(project):
    jobs = planned(snakemake(project, BOTH, "--dry-run"))
    assert jobs["ingest"] == 4
    assert jobs["train"] == 2


def test_a_change_reruns_what_depends_on_it(finished):
    project, _ = finished
    assert planned(snakemake(project, GIVEN, "--dry-run")) == {}
    one = changed(GIVEN, "tasks", "rings", value=GIVEN["tasks"]["rings"] | {"dropout": 0.3})
    text = snakemake(project, one, "--dry-run", "--printshellcmds")
    jobs = planned(text)
    assert jobs == {
        "train": 1, "infer": 2, "explain": 1, "score": 1, "catalog": 1, "join": 1, "report": 1,
        "all": 1,
    }  # fmt: skip
    assert "--task rings " in text
    assert "--task lens " not in text
    jobs = planned(
        snakemake(project, changed(GIVEN, "ingest", "size", "halo", value=32), "--dry-run")
    )
    assert jobs["ingest"] == 2
    assert jobs["train"] == 2
