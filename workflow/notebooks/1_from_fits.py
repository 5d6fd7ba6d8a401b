# %% [markdown]
# # From FITS to catalog in ten cells
#
# A survey's files, a network that is trained, and each step between them and a catalog. Every step
# is a command too (`astroml ingest`, `infer`, `catalog`), and a rule of the workflow. The notebook
# runs in the project's folder, where `results/` and `catalogs/` lie.

# %% tags=["parameters"]
run = "demo"
task = "lens"
manifest = ""  # your table of objects; empty: that of the run's simulated survey
survey = "decals"  # a name in config/surveys, or your own description
root = None  # folder that file names start from; None: the manifest's own
count = 40  # objects to take

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.table import Table

from astroml import config, tasks
from astroml.catalog.write import write_catalog
from astroml.infer import infer
from astroml.ingest.run import ingest
from astroml.rgb import colour, colour_bands
from astroml.store import MASK, open_store
from astroml.survey import load_survey

cutouts = tasks.load(task).SET
manifest = Path(manifest or f"results/{run}/survey/{cutouts}/manifest.csv")
folder = Path(root or manifest.parent)
out = Path(f"results/{run}/notebooks/from_fits")
out.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# **The manifest** is a table with `object_id`, `ra`, `dec`, and what the files' names need.

# %%
objects = Table.read(manifest)[:count]
objects.write(out / "manifest.csv", overwrite=True)
objects[objects.colnames[:6]][:5].to_pandas()

# %% [markdown]
# **The survey's description** says what the files mean: bands, zero points, seeing, layout.

# %%
described = load_survey(survey)
for name, band in described.bands.items():
    print(f"{name}: zero point {band.zero_point} mag, seeing {band.psf_fwhm} arcsec")
print(f"pixels of {described.pixel_scale} arcsec, in {described.unit}")
if "file" in objects.colnames:
    fits.info(folder / objects["file"][0])

# %% [markdown]
# **Ingest** reads, calibrates, aligns and masks. The run's own store says how it was made, and this
# small one is made alike. What cannot be read becomes a row of the rejects, with the reason.

# %%
like = open_store(f"results/{run}/store/{cutouts}").header
settings = config.Ingest(**like.provenance["options"])
shard, rejects = out / "0.h5", out / "rejects.parquet"
ingest(out / "manifest.csv", described, shard, rejects, settings, cutouts=cutouts, root=folder)
pd.read_parquet(rejects)

# %% [markdown]
# **The store** holds cutouts in nJy with masks, noise and seeing, and a table of the objects.

# %%
store = open_store(shard)
data = store.read(np.arange(len(store)))
for name, values in data.items():
    print(f"{name:9} {values.shape} {values.dtype}")
print(f"bands {store.header.bands}, pixels of {store.header.pixel_scale} arcsec")
print(f"masked: {(data['mask'] != 0).mean():.2%} of the pixels; bits {dict(MASK)}")

# %%
bands = colour_bands(store.header.bands)
shown = colour(np.nan_to_num(data["image"][:10, bands]), data["sigma"][:10, bands])
figure, axes = plt.subplots(2, 5, figsize=(10, 4.2), layout="constrained")
half = store.header.size * store.header.pixel_scale / 2
for axis, picture, name in zip(axes.flat, shown, store.objects["object_id"]):
    axis.imshow(picture, origin="lower", extent=(-half, half, -half, half))
    axis.set_title(name, fontsize=8)
figure.supxlabel("arcsec")
plt.show()

# %% [markdown]
# **The weights** carry a card: bands, scale, normalisation, and how well they did on validation.

# %%
weights = sorted(Path(f"results/{run}/weights").glob(f"{task}*.safetensors"))
card = json.loads(weights[0].with_suffix(".json").read_text())
print(f"{card['task']}: bands {card['bands']}, {card['objects']}, best epoch {card['best_epoch']}")

# %% [markdown]
# **Infer** scores every cutout, and **catalog** gathers the rows with unit, UCD and description.

# %%
infer(task, [shard], weights, out / "rows.parquet", config.Infer())
rows = write_catalog(task, [out / "rows.parquet"], [out / f"{task}.parquet", out / f"{task}.fits"])

# %%
catalog = Table.read(out / f"{task}.fits")
for column in catalog.itercols():
    print(f"{column.name:20} {column.unit or ''!s:8} {str(column.description or '')[:70]}")
catalog[catalog.colnames[:8]][:5]
