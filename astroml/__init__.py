"""astroml: from survey FITS cutouts to science catalogs.

Importing the package imports nothing heavy; torch stays behind the rooms that
need it (``sky``, ``train``, ``infer``, ``nets``, ``tasks/*/net.py``).
"""

__version__ = "0.1.0"

__all__ = ["__version__", "open_catalog"]


def __getattr__(name: str):
    """Import what a notebook opens a catalog with when it is first asked for."""
    if name == "open_catalog":
        from astroml.catalog.open import open_catalog

        return open_catalog
    raise AttributeError(f"module 'astroml' has no attribute {name!r}")
