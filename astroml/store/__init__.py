"""The HDF5 contract: what lies in a shard, who writes it, who reads it, which split a row is in."""

from astroml.store.layout import (
    FLAGS,
    FORMAT,
    MASK,
    PLANES,
    SPLITS,
    Header,
    quality_columns,
)
from astroml.store.reader import Store, open_store
from astroml.store.splits import assign_splits
from astroml.store.writer import shard_writer, write_shard

__all__ = [
    "FLAGS",
    "FORMAT",
    "MASK",
    "PLANES",
    "SPLITS",
    "Header",
    "Store",
    "assign_splits",
    "open_store",
    "quality_columns",
    "shard_writer",
    "write_shard",
]
