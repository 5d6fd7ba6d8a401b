"""Seeds of a training run: of its epochs, and of the networks of an ensemble."""

from __future__ import annotations

import numpy as np

from astroml.config import TaskOptions


def mix_seed(*numbers: int) -> int:
    """Return a seed that differs wherever one of the numbers does."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def of_member(settings: TaskOptions, member: int) -> TaskOptions:
    """Return the options of one network of an ensemble: the first has the options' own seed."""
    if not member:
        return settings
    seed = mix_seed(settings.train.seed, member) % 2**31
    return settings.model_copy(update={"train": settings.train.model_copy(update={"seed": seed})})
