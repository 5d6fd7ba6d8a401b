"""The command line: one line for what a user can mend, a traceback only when asked for."""

import os
import subprocess
import sys

import pytest
import typer

from astroml.cli import app


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
