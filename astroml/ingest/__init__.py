"""From survey files to the store: manifest, layouts, alignment, calibration, quality."""
