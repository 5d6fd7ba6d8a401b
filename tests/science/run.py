"""Run a task's full evaluation and write its record: ``make science TASK=<task>``.

Each task has a module here with ``evaluate(folder, astroml)``, which returns the record's numbers;
``astroml`` runs a command of the command line. What it makes stays in ``results/science/<task>``.
"""

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from steps import SPENT

HERE = Path(__file__).parent


def astroml(*words) -> float:
    """Run an ``astroml`` command, show what it says, and return the seconds it took."""
    words = [str(word) for word in words]
    print("$ astroml", *words, flush=True)
    begun = time.monotonic()
    subprocess.run([sys.executable, "-m", "astroml.cli", *words], check=True)
    return time.monotonic() - begun


def machine() -> str:
    """Say what the numbers were measured on."""
    import torch

    name = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.is_file():
        lines = [line for line in cpu.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].split(":")[1].strip() if lines else name
    found = f"{name}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}"
    if torch.cuda.is_available():
        found += f", {torch.cuda.get_device_name()}"
    return found


def metrics_of(path: Path, names: dict[str, str]) -> tuple[dict, dict]:
    """Return values and errors of some metrics of a file that ``astroml score`` wrote.

    Parameters
    ----------
    path : Path
        The JSON file.
    names : dict
        Metric -> its key in the record.
    """
    found = json.loads(path.read_text())["metrics"]
    values = {key: found[name]["value"] for name, key in names.items()}
    return values, {key: found[name]["error"] for name, key in names.items()}


def main(task: str) -> None:
    """Evaluate a task and write ``tests/science/<task>.json``."""
    known = sorted(path.stem for path in HERE.glob("*.py") if "\ndef evaluate(" in path.read_text())
    if task not in known:
        sys.exit(
            f"ERROR: TASK={task}: found no such evaluation, expected one of {', '.join(known)}"
        )
    folder = Path("results/science") / task
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("ASTROML_REALDATA", str(Path("../shared/data").resolve()))
    record = {"task": task} | importlib.import_module(task).evaluate(folder, astroml)
    record |= {"machine": machine(), "wall_time_s": round(sum(SPENT))}
    out = HERE / f"{task}.json"
    out.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {out}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
