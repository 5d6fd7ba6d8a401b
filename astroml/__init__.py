"""astroml: from survey FITS cutouts to science catalogs.

Importing the package imports nothing heavy; torch stays behind the rooms that
need it (``sky``, ``train``, ``infer``, ``nets``, ``tasks/*/net.py``).
"""

__version__ = "0.1.0"
