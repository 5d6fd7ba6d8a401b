"""The README says what is there: its links, its commands, its table of stages."""

import re
import sys
from pathlib import Path

import pytest
import typer

from astroml.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#][^)]*)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_anchors_are_headings():
    titles = re.findall(r"^## (.*)$", README, re.MULTILINE)
    anchors = {title.lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_the_table_of_stages_is_the_commands_own_help():
    table = dict(re.findall(r"^\| `astroml (\w+)` \| (.*) \|$", README, re.MULTILINE))
    assert table == {name: command.help.strip() for name, command in COMMANDS.items()}


def test_make_targets_exist():
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= made


def test_commands_and_their_options_exist():
    for name, rest in re.findall(r"^\.venv/bin/astroml (\w+)(.*)$", README, re.MULTILINE):
        options = {option for one in COMMANDS[name].params for option in one.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options, name


def test_configs_that_are_named_load():
    from astroml.config import load

    for name in re.findall(r"--configfile (config/\S+)", README):
        load(ROOT / name)


def test_the_example_config_loads():
    import yaml

    from astroml.config import load

    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    load(yaml.safe_load(text))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests/science").glob("*.json")), ids=lambda p: p.stem
)
def test_measured_figures_are_those_of_the_record(path):
    sys.path.insert(0, str(path.parent))
    from table import markdown

    assert markdown(path.stem) in README
