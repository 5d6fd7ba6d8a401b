"""The catalog's p(z) as a file of the qp package (LSST DESC; ``pip install qp-prob``)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from astroml.tasks.photoz.metrics import grid_of

ANCILLARY = ("object_id", "ra", "dec", "z_phot", "z_mode", "flags")
"""Columns written beside the p(z), those that there are."""


def write_qp(rows: dict[str, np.ndarray], path: str | Path) -> None:
    """Write rows as a qp ensemble of histograms; ``qp.read`` opens it.

    The file has three groups: ``meta`` (what the ensemble is, and the edges of its bins), ``data``
    (p(z), probability per unit redshift in each bin) and ``ancil`` (``ANCILLARY``, and z_mode once
    more as ``zmode``, where RAIL looks for it).

    Parameters
    ----------
    rows : dict
        Columns (n,) of the catalog and ``pz`` (n, bins).
    path : path
        HDF5 file; what is there is overwritten.
    """
    import h5py

    n, bins = rows["pz"].shape
    # Without rows nothing tells the grid; qp wants one all the same.
    edges = grid_of(rows) if n else np.linspace(0, 1, bins + 1)
    ancillary = {name: rows[name] for name in ANCILLARY if name in rows}
    if "z_mode" in rows:
        ancillary["zmode"] = rows["z_mode"]
    with h5py.File(path, "w") as file:
        file["meta/pdf_name"] = np.array([b"hist"])
        file["meta/pdf_version"] = np.array([0])
        file["meta/bins"] = edges[None]
        file["data/pdfs"] = rows["pz"]
        for name, values in ancillary.items():
            values = np.asarray(values)
            if values.dtype.kind in "UO":  # qp reads texts of a fixed length
                values = np.char.encode(values.astype(str), "utf-8")
            file[f"ancil/{name}"] = values
