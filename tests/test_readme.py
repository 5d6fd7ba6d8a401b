"""The README says what is there: links, commands, keys, tables; its commands are run or planned."""

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml
from test_workflow import snakemake
from typer.testing import CliRunner

from astroml import config, tasks
from astroml.catalog import show
from astroml.cli import app
from astroml.errors import AstromlError
from catalogs import make_run

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests/science"))
import table  # noqa: E402

README = (ROOT / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands
SHOWN = re.findall(r"^\.venv/bin/astroml (.*)$", README, re.MULTILINE)
"""Commands in blocks."""
INLINE = [one for one in re.findall(r"`([^`\n]+)`", README.replace("```", "")) if one.strip()]
"""Code within sentences."""


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#][^)]*)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_anchors_are_headings():
    titles = re.findall(r"^##+ (.*)$", README, re.MULTILINE)
    anchors = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_pictures_say_in_words_what_they_show():
    pictures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", README)
    assert {name for _, name in pictures} >= {"workflow/flow.svg", "catalogs/demo.png"}
    assert all(len(words) > 20 for words, _ in pictures)


def test_the_table_of_stages_is_the_commands_own_help():
    told = dict(re.findall(r"^\| `astroml (\w+)` \| (.*) \|$", README, re.MULTILINE))
    assert told == {name: command.help.strip() for name, command in COMMANDS.items()}


def test_make_targets_and_extras_exist():
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)|`make (\w+)", README, re.MULTILINE)) <= {
        pair for name in made for pair in ((name, ""), ("", name))
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(re.findall(r'-e "\.\[(\w+)\]"', README)) <= set(project["optional-dependencies"])


@pytest.mark.parametrize(
    "text", [*SHOWN, *(one[8:] for one in INLINE if re.match(r"astroml \w", one))]
)
def test_commands_options_and_their_files_exist(text):
    name, *words = shlex.split(text)
    options = {option for one in COMMANDS[name].params for option in one.opts}
    assert {word for word in words if word.startswith("--")} <= options
    for word in words:
        if re.match(r"(workflow|config|tests)/", word):
            assert (ROOT / word).exists(), word


def test_keys_within_sentences_are_real():
    schema = config.config_model().model_json_schema()
    names = {name for part in schema["$defs"].values() for name in part.get("properties", {})}
    names |= {*schema["properties"], *(tasks.load(task).SET for task in tasks.names())}
    seen = set()

    def look(node):
        for key, value in node.items() if isinstance(node, dict) else ():
            seen.add(key)
            look(value)

    for one in INLINE:
        if re.match(r"\{?\w+: \S", one):
            look(yaml.safe_load(one))
        elif re.fullmatch(r"(tasks|ingest|infer|report|catalogs)(\.\w+)+", one):
            seen |= set(one.split("."))
    assert len(seen) > 10
    assert seen <= names


def test_configs_that_are_named_load():
    for name in re.findall(r"--configfile (config/\S+)", README):
        config.load(ROOT / name)


def test_the_example_config_loads():
    (text,) = blocks("yaml")
    config.load(yaml.safe_load(text))


@pytest.mark.realdata
def test_the_example_of_own_data_is_ingested(realdata, tmp_path):
    """With the one band of the brick that is at hand."""
    (text,), (rows,) = blocks("yaml"), blocks("csv")
    given = yaml.safe_load(text)
    manifest = tmp_path / given["input"]["manifest"]
    manifest.write_text(rows)
    folder = realdata / "legacy_dr6_brick"
    for name in re.findall(r"^data/(\S+)$", README, re.MULTILINE):
        assert (folder / name).is_file()
    words = ["--manifest", str(manifest), "--root", str(folder), "--survey", given["survey"]]
    words += ["--options", "{bands: [g]}", "--out", "0.h5", "--rejects", "rejects.parquet"]
    command = [sys.executable, "-m", "astroml.cli", "ingest", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "3 objects in = 3 stored + 0 rejected" in done.stdout, done.stderr


def test_what_is_asked_of_catalogs_is_answered(tmp_path, monkeypatch):
    """On a made-up run in place of the demo, in the README's order."""
    make_run(tmp_path, 60)
    monkeypatch.chdir(tmp_path)
    asked = [one for one in SHOWN if one.split()[0] in ("query", "crossmatch", "catalog")]
    assert len(asked) >= 4
    for text in asked:
        done = CliRunner().invoke(app, shlex.split(text), catch_exceptions=False)
        assert done.exit_code == 0, text
    assert (tmp_path / "around.vot").is_file()
    assert (tmp_path / "hats/lens/hats.properties").is_file()


def test_the_python_runs(tmp_path, monkeypatch):
    """But for the pixels, of which a made-up run has none."""
    make_run(tmp_path, 60)
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr(show, "mosaic", lambda *given: seen.append(given[1:]))
    monkeypatch.setattr(show, "find", lambda catalog, ids: seen.append(ids))
    (text,) = blocks("python")
    with pytest.raises(TypeError, match="NoneType"):  # cutout is the last, and finds no store
        exec(text, {})
    assert seen == [(20,), [101002395]]


def test_the_tables_are_those_of_the_records():
    assert table.filled(README) == README, "run: make references"


def test_a_record_appears_as_soon_as_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "HERE", tmp_path)
    assert "0.8125" not in README
    numbers = '"auroc": 0.8125, "odd": 0.5, "errors": {"auroc": 0.0625, "odd": 0.25}'
    for task in tasks.names():
        (tmp_path / f"{task}.json").write_text(f"{{{numbers}}}")
    monkeypatch.setattr(table, "COLUMNS", {})
    monkeypatch.setattr(table, "SHOWN", {})
    text = table.filled(README)
    assert "AUROC 0.8125 ± 0.0625 ([all](tests/science/tidal.json))" in text
    assert text.count("| `odd` | 0.5000 ± 0.2500 |") == len(tasks.names())
    assert "Without a record" not in text
    assert table.filled(text) == text


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", re.findall(r"^\.venv/bin/snakemake --profile \S+local ?(.*)$", README, re.MULTILINE)
)
def test_what_is_asked_of_the_workflow_can_be_planned(words, tmp_path):
    words = shlex.split(words)
    given = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    if "--configfile" in words:
        words, given = [], yaml.safe_load(blocks("yaml")[0])
        (tmp_path / given["input"]["manifest"]).write_text(blocks("csv")[0])
    rest = [word for word in words if word != "--dry-run"]
    done = snakemake(tmp_path, "--dry-run", *rest, config=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_commands_fault_would_be_seen(tmp_path, monkeypatch):
    """The tests above call commands in this process, where a fault is raised."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AstromlError):
        CliRunner().invoke(app, ["query", "SELECT 1"], catch_exceptions=False)
