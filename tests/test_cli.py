"""The command line: one line for what a user can mend, a traceback only when asked for."""

import json
import os
import subprocess
import sys

import pytest
import typer
from toy import toy_store
from typer.testing import CliRunner

from astroml import infer, train
from astroml.cli import app
from astroml.config import Infer
from astroml.errors import AstromlError
from astroml.tasks import load


def astroml(*words, **env):
    return subprocess.run(
        [sys.executable, "-m", "astroml.cli", *words],
        capture_output=True,
        text=True,
        env=os.environ | env,
        check=False,
    )


def test_a_fault_is_one_line_and_exit_code_2(tmp_path):
    done = astroml("config", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert done.stderr.startswith("ERROR: ")
    assert len(done.stderr.strip().splitlines()) == 1


def test_debug_shows_the_traceback(tmp_path):
    done = astroml("config", str(tmp_path / "none.yaml"), ASTROML_DEBUG="1")
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_a_good_config_is_ok():
    assert "config/config.yaml: ok" in astroml("config", "config/config.yaml").stdout


@pytest.mark.parametrize("name", typer.main.get_command(app).commands)
def test_every_command_and_option_has_help(name):
    command = typer.main.get_command(app).commands[name]
    assert command.help
    for option in command.params:
        assert option.help, f"{name} {option.opts}"
    done = astroml(name, "--help")
    assert done.returncode == 0, done.stderr


def test_version():
    assert astroml("--version").stdout.startswith("astroml 0.")


def test_score_takes_rows_or_weights_and_says_the_same(tmp_path):
    store = toy_store(tmp_path / "toy.h5", n=160)
    settings = load("lens").Options(width=8, train={"epochs": 1, "batch_size": 16})
    weights, rows = tmp_path / "lens.safetensors", tmp_path / "rows.parquet"
    train.train("lens", settings, [store], weights, device="cpu")
    infer.infer("lens", [store], weights, rows, Infer(), device="cpu")
    runner, shared = CliRunner(), ["score", "--task", "lens", "--store", str(store)]
    for given, name in ((rows, "rows"), (weights, "weights")):
        words = [f"--{name}", str(given), "--out", str(tmp_path / f"{name}.json")]
        assert runner.invoke(app, shared + words).exit_code == 0
    said = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("rows", "weights")]
    assert said[0]["metrics"] == said[1]["metrics"]
    neither = runner.invoke(app, [*shared, "--out", str(tmp_path / "none.json")])
    assert isinstance(neither.exception, AstromlError)
