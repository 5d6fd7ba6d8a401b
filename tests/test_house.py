"""The rules of the house, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from astroml import tasks

PACKAGE = Path("astroml")
ROOMS = {"sky", "ingest", "train", "infer", "explain", "export", "score", "catalog", "report"}
TORCH = ("torch", "torchvision", "lightning_fabric", "caustics", "safetensors.torch")
SOURCES = sorted(PACKAGE.rglob("*.py"))


def imports(path):
    """Yield every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_rooms_never_import_rooms(path):
    mine = room(path)
    if mine in {"__init__", "cli", "reference"}:  # the doors of the house
        return
    for name in imports(path):
        other = name.split(".")[1] if name.startswith("astroml.") else None
        if other in ROOMS:
            sky_of_task = mine == "tasks" and path.stem == "sky" and other == "sky"
            assert other == mine or sky_of_task, f"{path} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_tasks_never_import_tasks(path):
    parts = path.relative_to(PACKAGE).parts
    if parts[0] != "tasks" or len(parts) < 3:
        return
    others = {f"astroml.tasks.{name}" for name in tasks.names() if name != parts[1]}
    for name in imports(path):
        assert not any(name == other or name.startswith(other + ".") for other in others)


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_torch_stays_behind_its_door(path):
    allowed = room(path) in {"sky", "train", "infer", "nets"} or (
        room(path) == "tasks" and path.stem in {"net", "sky"}
    )
    if not allowed:
        assert not [name for name in imports(path) if name.split(".")[0] in TORCH]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_modules_and_functions_stay_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
            assert node.end_lineno - first < 60, f"{node.name} is too long"


def test_no_drawer_for_odds_and_ends():
    assert not {path.stem for path in SOURCES} & {"utils", "util", "helpers", "common", "misc"}


@pytest.mark.parametrize(
    "what", ["astroml", "astroml.cli", "astroml.config", "astroml.store", "astroml.tasks.lens"]
)
def test_torch_is_not_loaded_by_the_halls(what):
    code = f"import sys, {what}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_help_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['astroml', '--help']\n"
        "from astroml.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'astropy', 'pydantic', 'h5py', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(','.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "simulate" in done.stdout


def test_every_word_is_spelled_the_same():
    """A task is a folder, a config key; a stage a rule, a command, a version."""
    from astroml.cli import app
    from astroml.config import config_model
    from astroml.provenance import VERSIONS

    commands = {command.callback.__name__ for command in app.registered_commands}
    assert set(VERSIONS) <= commands
    rules = {path.stem for path in Path("workflow/rules").glob("*.smk")} - {"common"}
    assert rules == set(VERSIONS)
    model = config_model().model_fields
    assert list(model["tasks"].annotation.model_fields) == tasks.names()
    assert list(model["simulate"].annotation.model_fields) == tasks.names()
