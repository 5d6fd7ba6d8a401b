"""How a training run goes, epoch by epoch: always as JSON lines, and to a tracker if one is named.

TensorBoard and MLflow draw the curves of many runs side by side.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from astroml.config import Tracker
from astroml.errors import AstromlError
from astroml.provenance import replacing

History = list[dict[str, float]]


@contextmanager
def tracking(
    tracker: Tracker, out: Path, done: History, options: dict
) -> Iterator[Callable[[History], None]]:
    """Give a function that is told of a run's history after each epoch.

    It writes ``<out>.jsonl``, a line per epoch, whole each time: a run taken up after a kill has
    one line for each epoch too. No times are in it, so that the same run gives the same bytes.

    Parameters
    ----------
    tracker : str
        ``none``, ``tensorboard`` or ``mlflow``.
    out : Path
        The weights that the run will write. TensorBoard's files go to ``tensorboard/<name>`` beside
        them; MLflow goes where its environment variables say.
    done : list of dict
        The epochs of an earlier run that this one goes on from.
    options : dict
        What the run is told, for MLflow's table of runs.
    """
    with TRACKERS[tracker](out, len(done), options) as log:
        # MLflow begins a new run each time, so that it has to be told of the beginning too.
        for epoch, facts in enumerate(done if tracker == "mlflow" else [], 1):
            log(epoch, facts)

        def tell(history: History) -> None:
            lines = [{"epoch": epoch, **facts} for epoch, facts in enumerate(history, 1)]
            with replacing(out.with_suffix(".jsonl")) as part:
                part.write_text("".join(json.dumps(line) + "\n" for line in lines))
            log(len(history), history[-1])

        yield tell


@contextmanager
def _nothing(out: Path, done: int, options: dict) -> Iterator[Callable]:
    yield lambda epoch, facts: None


@contextmanager
def _tensorboard(out: Path, done: int, options: dict) -> Iterator[Callable]:
    board = found("torch.utils.tensorboard", "tensorboard")
    folder = out.parent / "tensorboard" / out.stem
    # What a killed run said of an epoch that is now learnt again is not shown.
    with board.SummaryWriter(str(folder), purge_step=done + 1) as writer:

        def log(epoch: int, facts: dict[str, float]) -> None:
            for name, value in facts.items():
                writer.add_scalar(name, value, epoch)
            writer.flush()

        yield log


@contextmanager
def _mlflow(out: Path, done: int, options: dict) -> Iterator[Callable]:
    mlflow = found("mlflow", "mlflow")
    with mlflow.start_run(run_name=out.stem):
        mlflow.log_params(options)
        yield lambda epoch, facts: mlflow.log_metrics(facts, step=epoch)


TRACKERS = {"none": _nothing, "tensorboard": _tensorboard, "mlflow": _mlflow}


def found(module: str, package: str):
    """Return a module of a tracker, or say how to get it."""
    try:
        return import_module(module)
    except ImportError:
        raise AstromlError(
            f"track: {package} is not installed; run pip install {package}, or set track: none"
        ) from None
