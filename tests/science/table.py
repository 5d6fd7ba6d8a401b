"""The records as tables of the README: ``python tests/science/table.py`` prints them."""

import json
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS = {
    "photoz": {"": "real photometry, rendered", "sim_": "simulated sky"},
    "lens": {"": "value"},
    "tidal": {"": "value"},
    "cluster": {"": "value"},
    "anomaly": {"": "value"},
}
"""Task -> prefix of the record's keys -> heading."""


def markdown(task: str) -> str:
    """Return a task's record as a table, one line per number that has an error."""
    record = json.loads((HERE / f"{task}.json").read_text())
    errors, columns = record["errors"], COLUMNS[task]
    others = [prefix for prefix in columns if prefix]
    names = [name for name in errors if not any(name.startswith(prefix) for prefix in others)]
    lines = [
        f"| {task} | " + " | ".join(columns.values()) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in names:
        cells = [f"{record[p + name]:.4f} ± {errors[p + name]:.4f}" for p in columns]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    for task in COLUMNS:
        if (HERE / f"{task}.json").is_file():
            print(markdown(task) + "\n")
