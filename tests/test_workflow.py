"""The workflow end to end on a tiny sky: what it makes, what it plans, and how it survives."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SMALL = yaml.safe_load((ROOT / "tests/small.yaml").read_text())
MADE = tuple(f"catalogs/small/{name}" for name in ("lens.parquet", "lens.fits", "all.parquet"))


def snakemake(folder, *words, config=SMALL, start=subprocess.run, **how):
    """Run the workflow in a folder of its own, with the programs of this environment."""
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")),
        *("--directory", str(folder), "--profile", str(ROOT / "workflow/profiles/local")),
        *("--configfile", str(file), "--cores", "2", *words),
    ]
    # As by someone who calls .venv/bin/snakemake, and has not activated the environment.
    mine = str(Path(sys.executable).parent)
    path = os.pathsep.join(one for one in os.environ["PATH"].split(os.pathsep) if one != mine)
    return start(command, env=os.environ | {"PATH": path}, text=True, **how)


def heard(folder, *words, **how):
    done = snakemake(
        folder, *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **how
    )
    return done.returncode, done.stdout


def planned(folder, config):
    """Return the rules that a dry run would run."""
    code, text = heard(folder, "--dry-run", config=config)
    assert code == 0, text
    if "Nothing to be done" in text:
        return set()
    table = text.split("Job stats:")[1].split("total")[0]
    return set(re.findall(r"^(\w+) +\d+$", table, re.MULTILINE))


def changed(*place, value):
    """Return the small config with one value changed."""
    config = json.loads(json.dumps(SMALL))
    part = config
    for name in place[:-1]:
        part = part.setdefault(name, {})
    part[place[-1]] = value
    return config


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A whole run, left alone by the tests."""
    folder = tmp_path_factory.mktemp("finished")
    code, text = heard(folder)
    assert code == 0, text
    return folder


@pytest.mark.slow
def test_the_run_delivers(finished):
    for made in (*MADE, "results/small/report.html", "results/small/metrics/lens.json"):
        assert (finished / made).stat().st_size > 0, made
    from astropy.table import Table

    catalog = Table.read(finished / MADE[0])
    assert len(catalog) == SMALL["simulate"]["lens"]["objects"]
    metrics = json.loads((finished / "results/small/metrics/lens.json").read_text())
    assert 0 <= metrics["metrics"]["auroc"]["value"] <= 1


@pytest.mark.slow
def test_nothing_is_planned_twice(finished):
    assert planned(finished, SMALL) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "value", "rules"),
    [
        (
            ("tasks", "lens", "dropout"),
            0.3,
            {"train", "infer", "explain", "score", "catalog", "join", "report", "all"},
        ),
        (
            ("tasks", "lens", "prevalence"),
            0.01,
            {"infer", "explain", "score", "catalog", "join", "report", "all"},
        ),
        (
            ("tasks", "lens", "members"),
            2,
            {"train", "infer", "explain", "score", "catalog", "join", "report", "all"},
        ),
        # What changes no answer changes the report alone, which shows the config.
        (("infer", "batch_size"), 16, {"report", "all"}),
        (("infer", "device"), "cpu", {"report", "all"}),
        (("ingest", "block"), 16, {"report", "all"}),
        (("report", "top"), 4, {"explain", "report", "all"}),
        (
            ("ingest", "max_masked"),
            0.4,
            {
                "ingest",
                "tally",
                "settle",
                "train",
                "infer",
                "explain",
                "score",
                "catalog",
                "join",
                "report",
                "all",
            },
        ),
    ],
)
def test_a_changed_option_plans_only_what_depends_on_it(finished, place, value, rules):
    assert planned(finished, changed(*place, value=value)) == rules


@pytest.mark.slow
def test_a_misspelt_key_stops_before_any_job(tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, text = heard(tmp_path, config=SMALL | {"ingets": {}})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code != 0
    assert "unknown key 'ingets'; did you mean 'ingest'?" in text
    assert not (tmp_path / "results").exists()
    # Time of the processor: other work on the machine does not count.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10


@pytest.mark.slow
def test_the_notebooks_run_on_the_run(finished, tmp_path):
    """All four, on what a tiny run has made; nothing of the run but its report is made anew."""
    pytest.importorskip("nbclient")
    folder = tmp_path / "told"
    shutil.copytree(finished, folder, symlinks=True)
    config = changed("report", "notebooks", value=True)
    assert planned(folder, config) == {"notebook", "report", "all"}
    code, text = heard(folder, config=config)
    assert code == 0, text
    names = sorted(path.stem for path in (ROOT / "workflow/notebooks").glob("*.py"))
    pages = sorted((folder / "results/small/notebooks").glob("*.html"))
    assert [path.stem for path in pages] == names
    for path in pages:
        page = path.read_text().partition("</style>")[2]
        assert "<img" in page, path
        assert not re.search(r'Warning|Traceback|(src|href)="(?!data:|#)', page), path
        assert f'href="notebooks/{path.name}"' in (folder / "results/small/report.html").read_text()
    assert planned(folder, config) == set()


@pytest.mark.slow
def test_ten_thousand_chunks_are_planned_in_a_minute(tmp_path):
    (tmp_path / "objects.csv").write_text("object_id,ra,dec,file\n1,150,2,1.fits\n")
    config = SMALL | {"input": {"manifest": str(tmp_path / "objects.csv")}}
    config |= {"ingest": SMALL["ingest"] | {"chunks": 10_000}}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    code, text = heard(tmp_path, "--dry-run", config=config)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code == 0, text[-2000:]
    assert re.search(r"^infer +10000$", text, re.MULTILINE)
    # Time of the processor: other work on the machine does not count.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60
    told = re.findall(r"^Shell command: (.*)", text, re.MULTILINE)
    assert max(map(len, told)) < 2**17  # what a shell takes


def kill_when(folder, sign):
    """Start the workflow, kill it and all its jobs as soon as a file appears, and say so."""
    run = snakemake(
        folder,
        start=subprocess.Popen,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while run.poll() is None:
        if any(folder.glob(sign)):
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            return
        time.sleep(0.01)
    raise AssertionError(f"the run ended before {sign} appeared")


@pytest.mark.slow
@pytest.mark.parametrize(
    "signs",
    [
        ("results/small/store/galaxy/*.part", "results/small/rows/lens/store/*.part"),
        ("results/small/store/galaxy/1.h5", "results/small/rows/lens/store/1.parquet"),
    ],
    ids=["while writing", "between jobs"],
)
def test_a_killed_run_goes_on_to_the_same_catalog(finished, tmp_path, signs):
    folder = tmp_path / "killed"
    shutil.copytree(finished, folder, symlinks=True)
    for made in ("catalogs", "results/small/store", "results/small/rows"):
        shutil.rmtree(folder / made)
    for sign in signs:
        kill_when(folder, sign)
        assert not (folder / MADE[0]).exists()
    code, text = heard(folder)
    assert code == 0, text
    for made in MADE:
        assert (folder / made).read_bytes() == (finished / made).read_bytes(), made
    assert not list(folder.glob("catalogs/**/*.part"))
