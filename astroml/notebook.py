"""A notebook as a page: a script in cells, run from top to bottom, with what each cell shows.

A line ``# %%`` begins a cell of code and ``# %% [markdown]`` one of text in comments, as editors
and jupytext know them. The cell ``# %% tags=["parameters"]`` holds what may be set from outside.
"""

from __future__ import annotations

import ast
import difflib
import re
from pathlib import Path
from typing import Annotated

import typer

from astroml.errors import AstromlError

MARK = re.compile(r"^# %%(?P<facts>.*)$", re.MULTILINE)
"""The line that begins a cell."""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
{colours}
body {{ max-width: 60rem; margin: 0 auto; padding: 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: #222; background: #fff; overflow-wrap: anywhere }}
pre {{ font: 13px/1.45 ui-monospace, monospace; white-space: pre-wrap; margin: 0; padding: .5rem }}
.input_area {{ background: #f5f5f2; border-left: 3px solid #bbb; margin: .8rem 0 .4rem }}
.output_subarea {{ overflow-x: auto; margin: .4rem 0 1rem }}
.output_png img {{ max-width: 100%; height: auto }}
.prompt, .anchor-link {{ display: none }}
table {{ border-collapse: collapse; font-size: 13px; overflow-wrap: normal }}
th, td {{ padding: .15rem .5rem; text-align: right; border-bottom: 1px solid #ddd }}
@media print {{ .cell {{ break-inside: avoid }} }}
</style></head><body>
{body}
</body></html>
"""


def notebook(
    script: Annotated[Path, typer.Argument(help="Script in cells, as in workflow/notebooks.")],
    out: Annotated[Path, typer.Option(help="What to write.")],
    given: Annotated[
        list[str], typer.Option("--set", help="NAME=VALUE of a parameter; may be repeated.")
    ] = [],  # noqa: B006
) -> None:
    """Run a notebook, a script in cells, and write the page of what its cells show."""
    if odd := [one for one in given if "=" not in one]:
        raise AstromlError(f"--set: found {odd[0]!r}, expected NAME=VALUE")
    render(script, out, dict(one.split("=", 1) for one in given))


def render(script: str | Path, out: str | Path, given: dict[str, str] | None = None) -> None:
    """Run a script in cells and write its page, which loads nothing from elsewhere.

    It runs in the current folder, in a process of its own; a cell that fails ends it.

    Parameters
    ----------
    script : path
        Python, in cells.
    out : path
        HTML to write.
    given : dict
        Parameter -> value, as Python has it or as plain text.
    """
    from astroml.provenance import replacing

    script = Path(script)
    if not script.is_file():
        raise AstromlError(f"{script}: no such notebook")
    book = _notebook(with_parameters(cells(script.read_text()), given or {}, script))
    _run(book, script)
    with replacing(out) as part:
        part.write_text(_page(book, script.stem))


def cells(text: str) -> list[tuple[str, str]]:
    """Return the cells of a script, each (kind, text): ``markdown``, ``code`` or ``parameters``.

    What stands before the first one is left out.
    """
    marks = list(MARK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found = []
    for mark, end in zip(marks, ends):
        body, facts = text[mark.end() : end].strip("\n"), mark["facts"]
        if "[markdown]" in facts:
            found.append(("markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE)))
        else:
            found.append(("parameters" if '"parameters"' in facts else "code", body))
    return found


def with_parameters(
    found: list[tuple[str, str]], given: dict[str, str], script: Path
) -> list[tuple[str, str]]:
    """Return cells with the values given in a cell behind the one that holds the defaults."""
    if not given:
        return found
    place = next((at for at, (kind, _) in enumerate(found) if kind == "parameters"), None)
    names = [] if place is None else re.findall(r"^(\w+) = ", found[place][1], re.MULTILINE)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            known = f"did you mean {near[0]}?" if near else f"it has {', '.join(names) or 'none'}"
            raise AstromlError(f"{script}: no parameter {name!r}; {known}")
    said = "\n".join(f"{name} = {_value(text)!r}" for name, text in given.items())
    return [*found[: place + 1], ("code", said), *found[place + 1 :]]


def _value(text: str):
    """Return what a text is in Python; the text itself where it is nothing there."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _needed():
    try:
        import nbclient
        import nbconvert
        import nbformat
        import pygments.formatters
    except ImportError as fault:
        raise AstromlError(
            f"notebook: needs the package {fault.name}; install astroml-survey[notebooks], in a "
            "clone with .venv/bin/pip install -e '.[notebooks]'"
        ) from None
    return nbclient, nbconvert, nbformat, pygments.formatters


def _notebook(found: list[tuple[str, str]]):
    """Return cells as a notebook; its cells are numbered, so that same cells give same bytes."""
    *_, nbformat, _ = _needed()
    make = {"markdown": nbformat.v4.new_markdown_cell}
    parts = [
        make.get(kind, nbformat.v4.new_code_cell)(text, id=f"cell-{at}")
        for at, (kind, text) in enumerate(found)
    ]
    return nbformat.v4.new_notebook(cells=parts)


def _run(book, script: Path) -> None:
    """Run the cells in order, and keep what they show."""
    nbclient, *_ = _needed()
    settings = {"kernel_name": "python3", "timeout": None, "coalesce_streams": True}
    client = nbclient.NotebookClient(book, **settings)
    # A socket in the user's own folder: others of the machine could listen at a port.
    client.create_kernel_manager().transport = "ipc"
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as fault:
        at = next(
            number
            for number, cell in enumerate(book.cells, 1)
            if any(one.output_type == "error" for one in cell.get("outputs", ()))
        )
        about = " ".join(fault.evalue.split())[:300]
        raise AstromlError(f"{script}, cell {at}: {fault.ename}: {about}") from fault


def _page(book, name: str) -> str:
    """Return the page of a notebook that was run."""
    _, nbconvert, _, formatters = _needed()
    body, _ = nbconvert.HTMLExporter(template_name="basic").from_notebook_node(book)
    body = re.sub(r'( id="table)\d{6,}', r"\1", body)  # astropy's, which differ from run to run
    heading = re.search(r"<h1[^>]*>(.*?)<", body)
    colours = formatters.HtmlFormatter().get_style_defs(".highlight")
    return PAGE.format(title=heading[1] if heading else name, colours=colours, body=body)
