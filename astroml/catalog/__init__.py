"""Catalogs: what each column means, and files that say it."""
