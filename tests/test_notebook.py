"""Notebooks: scripts in cells that run from top to bottom and become pages on their own."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from astroml.errors import AstromlError
from astroml.notebook import cells, render, with_parameters
from astroml.report.terminal import list_files

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted((ROOT / "workflow/notebooks").glob("*.py"))

SCRIPT = """# What stands before the first cell is left out.
# %% [markdown]
# # A *title*
#
# Text.

# %% tags=["parameters"]
name = "demo"
count = 3

# %%
print(name, count + 1)

# %%
from matplotlib.figure import Figure
import astroml.catalog.show as show
figure = show.picture(figsize=(1, 1))
figure
"""


def test_cells_are_told_apart():
    kinds, texts = zip(*cells(SCRIPT))
    assert kinds == ("markdown", "parameters", "code", "code")
    assert texts[0] == "# A *title*\n\nText."
    assert texts[1] == 'name = "demo"\ncount = 3'
    assert texts[2] == "print(name, count + 1)"
    assert cells("x = 1\n") == []


def test_parameters_stand_behind_their_defaults():
    given = {"name": "it's", "count": "7"}
    found = with_parameters(cells(SCRIPT), given, Path("x.py"))
    assert found[2] == ("code", 'name = "it\'s"\ncount = 7')
    assert [kind for kind, _ in found] == ["markdown", "parameters", "code", "code", "code"]
    assert with_parameters(cells(SCRIPT), {}, Path("x.py")) == cells(SCRIPT)


def test_faults_are_told(tmp_path):
    with pytest.raises(AstromlError, match=r"x.py: no parameter 'nam'; did you mean name\?"):
        with_parameters(cells(SCRIPT), {"nam": "1"}, Path("x.py"))
    with pytest.raises(AstromlError, match=r"no parameter 'run'; it has none"):
        with_parameters([("code", "x = 1")], {"run": "1"}, Path("x.py"))
    with pytest.raises(AstromlError, match=r"none.py: no such notebook"):
        render(tmp_path / "none.py", tmp_path / "none.html")


def notebook(folder, script, *words):
    (folder / "x.py").write_text(script)
    command = [sys.executable, "-m", "astroml.cli", "notebook", "x.py", "--out", "x.html", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_a_page_shows_what_the_cells_show(tmp_path):
    pytest.importorskip("nbclient")
    code, told = notebook(tmp_path, SCRIPT, "--set", "name=small", "--set", "count=8")
    assert code == 0, told
    page = (tmp_path / "x.html").read_text()
    assert "<title>A <em>title</em></title>" not in page
    assert re.search(r"<title>A\b", page)
    assert "small 9" in page
    assert 'src="data:image/png;base64,' in page  # though pyplot was not imported
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "<script" not in page


def test_a_cell_that_fails_is_named_and_leaves_no_page(tmp_path):
    pytest.importorskip("nbclient")
    code, told = notebook(tmp_path, SCRIPT + "\n# %%\nfigure.no_such_thing\n")
    assert code == 2
    assert "ERROR: x.py, cell 5: AttributeError:" in told
    assert "Traceback" not in told
    assert not (tmp_path / "x.html").exists()
    code, told = notebook(tmp_path, SCRIPT, "--set", "name")
    assert (code, told) == (2, "ERROR: --set: found 'name', expected NAME=VALUE\n")


def test_a_missing_package_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nbclient", None)
    (tmp_path / "x.py").write_text(SCRIPT)
    with pytest.raises(AstromlError, match=r"needs the package nbclient; install .*\[notebooks\]"):
        render(tmp_path / "x.py", tmp_path / "x.html")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_each_begins_with_a_title_and_names_its_parameters(path):
    found = cells(path.read_text())
    assert found[0][0] == "markdown"
    assert found[0][1].startswith("# ")
    assert found[1][0] == "parameters"
    assert [kind for kind, _ in found].count("parameters") == 1
    for kind, text in found:
        assert kind == "markdown" or ast.parse(text).body


def test_the_first_has_ten_cells():
    kinds = [kind for kind, _ in cells(SCRIPTS[0].read_text())]
    assert len(kinds) - kinds.count("markdown") == 10


def test_pages_are_among_the_files_of_a_run(tmp_path):
    page = tmp_path / "results/notebooks/x.html"
    page.parent.mkdir(parents=True)
    page.touch()
    assert ("notebook", page) in list_files(tmp_path / "results", tmp_path / "catalogs")
