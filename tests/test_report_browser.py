"""The page in headless Chromium: it loads nothing, shows all, fits, can be read and sorted."""

import base64
import json

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from browser import binary, browser
from test_report import SIZE, simulated_run

from astroml.report import page

pytestmark = pytest.mark.skipif(
    binary() is None, reason="no Chromium here; on Debian: apt install chromium"
)

WIDTHS = (400, 1400)

IMAGES = """
(async () => {
  const bad = [];
  for (const one of document.images) {
    try { await one.decode(); } catch { bad.push(one.alt || one.src.slice(0, 60)); }
  }
  return bad;
})()"""

OVERFLOW = """
(() => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  const wide = document.documentElement.clientWidth, found = [];
  if (document.documentElement.scrollWidth > wide) found.push("page");
  for (const one of document.body.querySelectorAll("*")) {
    const box = one.getBoundingClientRect();
    const scrolls = one.parentElement.closest(".scroll, .map");
    if (box.width && (box.right > wide + 1 || box.left < -1) && !scrolls)
      found.push(one.tagName + "." + one.className + " " + one.textContent.trim().slice(0, 30));
  }
  return found;
})()"""

CONTRAST = """
(() => {
  const rgba = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
                           return [r, g, b, a]; };
  const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.04045 ? v / 12.92
                           : ((v + 0.055) / 1.055) ** 2.4);
                         return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = (one) => { for (; one; one = one.parentElement) {
                              const c = rgba(getComputedStyle(one).backgroundColor);
                              if (c[3] > 0.99) return c; }
                            return [255, 255, 255, 1]; };
  const found = new Set();
  for (const one of document.body.querySelectorAll("*")) {
    const own = [...one.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || one.closest(".cutout, script") || !one.getClientRects().length) continue;
    const style = getComputedStyle(one), svg = one instanceof SVGElement;
    const a = light(rgba(svg ? style.fill : style.color)), b = light(behind(one));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.add(one.tagName + "." + (svg ? "" : one.className) + " "
                               + ratio.toFixed(1));
  }
  return [...found];
})()"""
"""Text against what lies behind it, below the 4.5 of WCAG 2.2 (1.4.3)."""


@pytest.fixture(scope="module")
def tab():
    with browser() as one:
        yield one


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A page with all there is to see: cutouts, maps of evidence, tables, rejects, times."""
    root = tmp_path_factory.mktemp("page")
    run = simulated_run(root)
    rows = pq.read_table(sorted((run[1] / "rows/lens/store").glob("*.parquet"))[0])
    (run[1] / "explain").mkdir()
    with h5py.File(run[1] / "explain/lens.h5", "w") as data:
        data["object_id"] = rows["object_id"].to_numpy()
        data["map"] = np.random.default_rng(1).normal(size=(len(rows), SIZE, SIZE))
        data.attrs["output"] = "lens_logit"
    page.build(*run, root / "report.html")
    return root / "report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_shows_all_fits_and_can_be_read(tab, built, width, scheme):
    tab.look(built.as_uri(), width, scheme=scheme)
    assert tab.faults() == []
    assert tab.value("document.images.length") > 30
    assert tab.value(IMAGES) == []
    assert tab.value(CONTRAST) == []
    assert tab.value(OVERFLOW) == []
    assert tab.faults() == []


def test_on_paper_it_is_dark_on_white(tab, built):
    tab.look(built.as_uri(), 760, scheme="dark", media="print")
    assert tab.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.value(CONTRAST) == []
    figure = "document.querySelector('.figures img')"
    assert tab.value(f"{figure}.currentSrc === {figure}.src"), "the figure for light screens"
    pdf = base64.b64decode(tab.call("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")


def test_dark_screens_get_dark_figures_and_maps(tab, built):
    tab.look(built.as_uri(), scheme="dark")
    for name in (".figures img", "img.evidence"):
        one = f"document.querySelector('{name}')"
        assert tab.value(f"{one}.currentSrc !== {one}.src"), name


def column(tab, at):
    rows = "[...document.querySelectorAll('.candidates tbody tr')]"
    return json.loads(tab.value(f"JSON.stringify({rows}.map(r => r.cells[{at}].dataset.key "
                                f"?? r.cells[{at}].textContent))"))  # fmt: skip


def test_the_keyboard_sorts_the_table(tab, built):
    tab.look(built.as_uri())
    names = tab.value("[...document.querySelectorAll('.candidates th')].map(h => h.innerText)")
    at = next(i for i, name in enumerate(names) if name.startswith("theta_e"))
    before = column(tab, at)
    head = f"document.querySelectorAll('.candidates th')[{at}]"
    tab.value(f"{head}.querySelector('button').focus()")
    tab.press("Enter", 13)
    highest = [float(one) for one in column(tab, at)]
    assert tab.value(f"{head}.ariaSort") == "descending"
    assert highest == sorted(map(float, before), reverse=True) != [float(one) for one in before]
    tab.press(" ", 32)
    assert tab.value(f"{head}.ariaSort") == "ascending"
    assert [float(one) for one in column(tab, at)] == highest[::-1]
    assert tab.faults() == []


def test_without_scripts_it_is_a_plain_table(tab, built):
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.look(built.as_uri())
        root = tab.call("DOM.getDocument")["root"]["nodeId"]
        found = {
            name: len(tab.call("DOM.querySelectorAll", nodeId=root, selector=name)["nodeIds"])
            for name in (".candidates th button", ".candidates tbody tr", ".candidates .look a")
        }
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert found == {
        ".candidates th button": 0,
        ".candidates tbody tr": 100,
        ".candidates .look a": 500,
    }


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("<script>throw Error('no')</script>", "faults"),
        ("<script>console.error('no')</script>", "faults"),
        ("<script src='https://example.org/a.js'></script>", "faults"),
        ("<img src='data:image/png;base64,AAAA' alt='a broken picture'>", IMAGES),
        ("<img src='missing.png' alt='a missing picture'>", IMAGES),
        ("<div style='width:3000px'>wide</div>", OVERFLOW),
        ("<p style='position:relative;left:1000px;width:900px'>aside</p>", OVERFLOW),
        ("<p style='color:#999;background:#fff'>pale</p>", CONTRAST),
    ],
)
def test_the_checks_see_what_is_wrong(tab, tmp_path, text, check):
    bad = tmp_path / "bad.html"
    bad.write_text(f"<!DOCTYPE html><meta charset='utf-8'><title>bad</title><body>{text}</body>")
    tab.look(bad.as_uri())
    assert (tab.faults() if check == "faults" else tab.value(check)) != []
