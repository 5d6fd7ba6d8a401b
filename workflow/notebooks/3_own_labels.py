# %% [markdown]
# # Train on your own labels
#
# Labels are a column of the manifest. A network learns from the part of the sky that is for
# training, and is measured on a part that it has never seen.

# %% tags=["parameters"]
run = "demo"
task = "lens"
labels = ""  # your table: object_id and the label's column; empty: the simulated sky's truth
manifest = ""  # where the files are; empty: the run's simulated survey
survey = "decals"
root = None
count = 1500  # objects to label
epochs = 6
width = 12  # channels of the first layers: small, to be quick

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table, join

import astroml
from astroml import config, tasks
from astroml.catalog.write import write_catalog
from astroml.infer import infer
from astroml.ingest.run import ingest
from astroml.score import score
from astroml.store import open_store
from astroml.survey import load_survey
from astroml.train import train

module = tasks.load(task)
manifest = Path(manifest or f"results/{run}/survey/{module.SET}/manifest.csv")
folder = Path(root or manifest.parent)
top = Path(f"results/{run}/notebooks/own_labels")
mine = top / "mine"  # the folder of a run of its own, called mine
mine.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# **The labels.** Yours may come from a spreadsheet or from a committee's votes; here the truth of
# the simulated sky stands in for them.

# %%
theirs = open_store(f"results/{run}/store/{module.SET}")
targets, known = module.targets(theirs.objects)
if labels:
    table = Table.read(labels)
else:
    at = np.flatnonzero(known)[:count]
    table = Table({"object_id": theirs.objects["object_id"][at]})
    table[module.LABEL] = targets[module.LABEL][at]
print(f"{len(table)} labels, column {module.LABEL}")
print(table[:5])

# %% [markdown]
# **The manifest with the labels**, and without the truth that stood in it.

# %%
objects = Table.read(manifest)
objects.remove_columns([one for one in (*targets, "labels") if one in objects.colnames])
labelled = join(objects, table["object_id", module.LABEL], keys="object_id")
labelled.write(mine / "manifest.csv", overwrite=True)

# %% [markdown]
# **Ingest** puts each cell of the sky into one split, so that neighbours never sit on both sides.

# %%
like = theirs.header.provenance
shard = mine / f"store/{module.SET}/0.h5"
ingest(
    mine / "manifest.csv",
    load_survey(survey),
    shard,
    mine / "rejects.parquet",
    config.Ingest(**like["options"]),
    splits=config.Splits(**like["splits"]),
    cutouts=module.SET,
    root=folder,
)
store = open_store(shard)
for split in ("train", "val", "test"):
    values = store.objects[module.LABEL][store.objects["split"] == split]
    print(f"{split:5} {len(values):5} objects, mean label {values.mean():.2f}")

# %% [markdown]
# **Training** keeps the epoch that is best on validation; weights and their card lie side by side.

# %%
options = module.Options(width=width, train={"epochs": epochs})
weights = mine / f"weights/{task}.safetensors"
train(task, options, [shard], weights)

# %%
history = json.loads(weights.with_suffix(".json").read_text())["history"]
plt.figure(figsize=(6, 3), layout="constrained")
# A part that takes every fifth turn may have none in a short epoch: a gap, not a number.
for name in dict.fromkeys(name for epoch in history for name in epoch):
    if name.startswith(("train", "val")):
        losses = [epoch.get(name, float("nan")) for epoch in history]
        plt.plot(losses, marker="o", label=name)
plt.xlabel("epoch")
plt.ylabel("loss")
plt.legend()
plt.show()

# %% [markdown]
# **How good is it?** On the test split, with an uncertainty from resampling it.

# %%
rows = mine / "rows.parquet"
infer(task, [shard], weights, rows, config.Infer())
measured = score(task, [rows], [shard], mine / f"metrics/{task}.json")
for name, one in list(measured["metrics"].items())[:8]:
    print(f"{name:24} {one['value']:.4f} ± {one['error']:.4f}")

# %% [markdown]
# **The catalog** of the run `mine`, opened like any other.

# %%
write_catalog(task, [rows], [top / f"catalogs/mine/{task}.parquet"])
catalog = astroml.open_catalog(task, "mine", catalogs=top / "catalogs", results=top)
catalog.top(10, by=module.COLUMNS[0].name).show(10)
