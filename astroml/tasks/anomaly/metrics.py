"""How good the search is: metrics of labelled rows, each with its uncertainty."""

from __future__ import annotations

import numpy as np


def score(
    truth: dict[str, np.ndarray], rows: dict[str, np.ndarray], bootstrap: int = 200, seed: int = 1
) -> dict[str, tuple[float, float]]:
    """Measure the search on rows of which some have labels."""
    return {}
