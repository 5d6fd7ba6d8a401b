"""The learned space as a plain HDF5 file, for whoever wants to search or draw it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from astroml.tasks.anomaly.columns import RANK_COLUMNS

BESIDE = ("ra", "dec", "flags", "anomaly_score", "artefact_prob", "log_flux")
"""Columns of the rows that are written beside the embedding."""


def write_embedding(rows: dict[str, np.ndarray], path: str | Path) -> None:
    """Write embeddings and what they were sorted into.

    The file has the data sets ``embedding`` (n, latent) and ``residual_embedding`` (n, residual),
    ``object_id`` (n,), and one (n,) for each of ``BESIDE`` and ``RANK_COLUMNS``.

    Parameters
    ----------
    rows : dict
        Columns (n,) of the catalog, the embeddings (n, k).
    path : path
        HDF5 file; what is there is overwritten.
    """
    import h5py

    names = ("object_id", *BESIDE, *(column.name for column in RANK_COLUMNS))
    with h5py.File(path, "w") as file:
        for name in ("embedding", "residual_embedding"):
            values = np.asarray(rows[name], np.float32)
            file.create_dataset(name, data=values, compression="gzip" if len(values) else None)
        for name in (name for name in names if name in rows):
            values = np.asarray(rows[name])
            if values.dtype.kind in "UO":
                values = np.char.encode(values.astype(str), "utf-8")
            file[name] = values
