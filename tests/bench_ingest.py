"""Speed and memory of ingest, beside bare fitsio on the same files: part of ``make bench``.

Every number is from a fresh process, on files that are in the disk's cache; start-up is left out of
the rates and is part of the memory. The 20,000 cubes are names of 1,000 files, each read anew.
Seconds of the processor are those of all threads of the process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import yaml
from astropy.io import fits
from ingest_fits import SCALE, sky, survey, tan_header, write_manifest

FILES = 1000
MANY = 20_000
SIDE = 4096
"""px, of a mosaic."""
CUTOUTS = 4000
PROCESSES = 1

INGEST = """
import json, sys, time
from astroml.config import Ingest
from astroml.ingest.run import ingest
from astroml.survey import load_survey
manifest, survey, out, workers, chunk = json.loads(sys.argv[1])
begun, spent = time.perf_counter(), time.process_time()
ingest(manifest, load_survey(survey), out, out + ".rejects", Ingest(), workers=workers, chunk=chunk)
print("seconds", time.perf_counter() - begun, time.process_time() - spent)
"""

BARE = """
import json, sys, time
from concurrent.futures import ProcessPoolExecutor
import fitsio
paths, processes = json.load(sys.stdin)
def read(some):
    return sum(fitsio.read(path).nbytes for path in some)
for again in range(2):
    begun, spent = time.perf_counter(), time.process_time()
    if processes == 1:
        read(paths)
    else:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(read, [paths[n::processes] for n in range(processes)]))
print("seconds", time.perf_counter() - begun, time.process_time() - spent)
"""


def child(code: str, *words: str, told: str = "") -> tuple[float, float, float]:
    """Run Python code; return the seconds that it prints, of the clock and of the processor, and
    its peak memory in MB."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(told)
    process.stdin.close()
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"the benchmark of ingest failed: {said}")
    seconds, spent = map(float, said.split()[-2:])
    return seconds, spent, usage.ru_maxrss / 1024


def ready_made(folder: Path) -> tuple[Path, Path, list[str]]:
    """Write cubes of three bands; return manifests of 1,000 and 20,000 rows, and all files."""
    names, rows = [f"{n}.fits" for n in range(MANY)], []
    for n, name in enumerate(names):
        ra, dec = 100 + 0.01 * (n % FILES), 2 + 0.003 * (n % FILES)
        rows.append({"object_id": n, "ra": ra, "dec": dec, "file": name})
        if n < FILES:
            header = tan_header(ra=ra, dec=dec, BANDS="grz", OBJECT=f"object {n}")
            fits.PrimaryHDU(sky(n), header).writeto(folder / name)
        else:
            (folder / name).hardlink_to(folder / names[n % FILES])
    few = write_manifest(folder / "few.csv", rows[:FILES])
    return few, write_manifest(folder / "many.csv", rows), [str(folder / name) for name in names]


def mosaics(folder: Path) -> Path:
    """Write three large images and a catalog of places on them; return the manifest."""
    rng = np.random.default_rng(1)
    middle = (SIDE - 1) / 2
    for band in "grz":
        image = rng.normal(0, 0.01, (SIDE, SIDE)).astype(np.float32)
        fits.PrimaryHDU(image, tan_header(x=middle, y=middle)).writeto(folder / f"{band}.fits")
    x, y = rng.uniform(40, SIDE - 40, (2, CUTOUTS)) - middle
    dec = 2 + y * SCALE / 3600
    ra = 150 - x * SCALE / 3600 / np.cos(np.radians(dec))
    rows = [{"object_id": n, "ra": ra[n], "dec": dec[n]} for n in range(CUTOUTS)]
    return write_manifest(folder / "mosaics.csv", rows)


def describe(folder: Path, name: str, **image) -> str:
    """Write the description of a survey."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(survey(image=image).model_dump(mode="json")))
    return str(path)


def main(folder: Path, table) -> None:
    """Measure and fill the rows of a table: what, objects, s, objects/s, peak MB."""
    few, many, files = ready_made(folder)
    cubes = describe(folder, "cubes", file="{file}", hdu=0, axis="band")
    places = describe(folder, "places", file="{band}.fits", hdu=0)

    def measure(what, manifest, described, count, workers=1):
        told = [str(manifest), described, str(folder / "out.h5"), workers, "0/1"]
        found = child(INGEST, json.dumps(told))
        add(table, f"ingest: {what}", count, *found)
        return count / found[0]

    bare = child(BARE, told=json.dumps([files, PROCESSES]))
    add(table, "bare fitsio: the same cubes", MANY, *bare)
    measure("cubes of 3 x 64 x 64", few, cubes, FILES)
    rate = measure("the same, 20 times as many", many, cubes, MANY)
    measure(f"from three images of {SIDE} x {SIDE}", mosaics(folder), places, CUTOUTS)
    table.caption = f"ingest reads cubes at {rate * bare[0] / MANY:.2f} of bare fitsio's rate"


def add(table, what: str, count: int, seconds: float, spent: float, memory: float) -> None:
    """Add one row."""
    rate = f"{count / seconds:.0f}"
    table.add_row(what, str(count), f"{seconds:.2f}", rate, f"{memory:.0f}", f"{spent:.2f}")


if __name__ == "__main__":
    import tempfile

    from rich.console import Console
    from rich.table import Table

    found = Table("stage", "objects", "s", "objects/s", "peak MB", "CPU s")
    with tempfile.TemporaryDirectory() as place:
        main(Path(place), found)
    Console().print(found)
