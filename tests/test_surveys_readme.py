"""The page that teaches how to describe a survey is true: its example reads its files."""

import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from ingest_fits import sky, tan_header, write_image, write_manifest

from astroml.cli import app
from astroml.store import MASK, open_store

PAGE = Path(__file__).parent.parent / "config/surveys/README.md"


@pytest.fixture
def delivered(tmp_path, monkeypatch):
    """Write the page's YAML and three objects as the page says that they are delivered."""
    (described,) = re.findall("```yaml\n(.*?)```", PAGE.read_text(), re.S)
    (tmp_path / "deep.yaml").write_text(described)
    rows = []
    for n in range(3):
        folder = tmp_path / f"deep/{17 + n}"
        image = 200 * sky(n, bands=2)
        for place, band in enumerate("GR"):
            header = tan_header(150 + n, 2, scale=0.2, PHOTZP=29.0)
            hdus = [fits.PrimaryHDU(), fits.ImageHDU(image[place], header, name="SCI")]
            folder.mkdir(parents=True, exist_ok=True)
            fits.HDUList(hdus).writeto(folder / f"sci-{band}.fits")
            write_image(folder / f"rms-{band}.fits", np.full((64, 64), 2, np.float32))
            mask = np.zeros((64, 64), np.int16)
            mask[0, :5] = [1, 4, 16, 64, 1 + 16]
            write_image(folder / f"dq-{band}.fits", mask)
        rows.append({"object_id": n, "ra": 150 + n, "dec": 2, "tile": 17 + n})
    write_manifest(tmp_path / "objects.csv", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_example_of_the_page_reads_its_files(delivered):
    (command,) = re.findall("^astroml (ingest .*)$", PAGE.read_text(), re.M)
    app(command.split(), standalone_mode=False)
    store = open_store(delivered / "deep.h5")
    assert pq.read_table(delivered / "rejects.parquet").to_pylist() == []
    assert store.header.bands == ("g", "r")
    assert store.objects["object_id"].tolist() == [0, 1, 2]
    found = store.read([0, 1, 2], ("image", "ivar", "mask"))
    unit = 3631e9 * 10 ** (-0.4 * 29.0)
    for n in range(3):
        np.testing.assert_allclose(
            found["image"][n, :, 1:], 200 * sky(n, bands=2)[:, 1:] * unit, rtol=1e-3
        )
    np.testing.assert_allclose(found["ivar"][:, :, 1:], (2 * unit) ** -2, rtol=1e-3)
    bits = [MASK["bad"], MASK["saturated"], MASK["cosmic"], MASK["nodata"]]
    expected = [*bits, MASK["bad"] | MASK["cosmic"]]
    assert (found["mask"][:, :, 0, :5] == expected).all()
    assert (found["mask"][:, :, 1:] == 0).all()


def test_the_page_names_what_is_there():
    for link in re.findall(r"\]\(([^)#]+)", PAGE.read_text()):
        assert (PAGE.parent / link).exists(), link
