# %% [markdown]
# # Query, and look at candidates
#
# `open_catalog` opens a run's catalog. Each step, a cone, the top, a query, gives a catalog again
# and reads nothing; what shows rows reads them.

# %% tags=["parameters"]
run = "demo"
task = "lens"
count = 20  # candidates to look at

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.table import Table

import astroml
from astroml import tasks

catalog = astroml.open_catalog(task, run=run)
score = tasks.load(task).COLUMNS[0].name
print(catalog)
print("sorted by", score, "among", len(catalog.columns), "columns")

# %% [markdown]
# **The best**, as a table with units, and as pictures of one stretch.

# %%
best = catalog.top(count, by=score)
best.sql(f"SELECT object_id, ra, dec, {score}, flags FROM {task} LIMIT 10").to_pandas()

# %%
best.show(count)

# %% [markdown]
# **SQL** knows every task of the run as a table. How many objects score how high?

# %%
bins = catalog.sql(
    f"SELECT floor({score} * 20) / 20 AS low, count(*) AS objects FROM {task} "
    f"WHERE {score} IS NOT NULL GROUP BY low ORDER BY low"
).to_pandas()
plt.figure(figsize=(6, 3), layout="constrained")
plt.bar(bins["low"], bins["objects"], width=0.05, align="edge", edgecolor="white")
plt.xlabel(score)
plt.ylabel("objects")
plt.yscale("log")
plt.show()

# %% [markdown]
# **What every task says** of the best one, and **its neighbours** within 10 arcmin.

# %%
first = best.to_pandas().iloc[0]
if "all" in catalog.run.tables:
    everything = astroml.open_catalog("all", run=run).cone(first["ra"], first["dec"], 1)
    print(everything.head(1).to_pandas().T.to_string(header=False))

# %%
near = catalog.cone(first["ra"], first["dec"], 600)
print(len(near), "objects within 10 arcmin")
near.top(5, by=score).sql(f"SELECT object_id, ra, dec, {score} FROM {task}").to_pandas()

# %% [markdown]
# **The pixels** of one object, from the run's store: nJy per pixel in each band, and its mask.

# %%
cutout = catalog.cutout(best.to_pandas()["object_id"][0])
figure, axes = plt.subplots(
    1, len(cutout.bands) + 1, figsize=(11, 3), squeeze=False, layout="constrained"
)
for axis, band, image, mask, sigma in zip(
    axes[0], cutout.bands, cutout.image, cutout.mask, cutout.sigma
):
    good = np.where(mask == 0, image, np.nan)
    axis.imshow(
        good, origin="lower", extent=cutout.extent, vmin=-2 * sigma, vmax=20 * sigma, cmap="gray_r"
    )
    axis.set_title(f"{band}, noise {sigma:.3g} nJy")
axes[0, -1].imshow(cutout.rgb, origin="lower", extent=cutout.extent)
figure.supxlabel("arcsec")
plt.show()

# %% [markdown]
# **Who else knows them?** Any table that astropy reads can be matched, by file name too. This one
# is made of our own best, half an arcsecond off.

# %%
rows = best.to_astropy()[:5]
known = Table({"name": [f"known {at}" for at in range(len(rows))], "ra": rows["ra"]})
known["dec"] = rows["dec"] + 0.5 / 3600
catalog.crossmatch(known, radius=2)["name", "separation", "object_id", score].to_pandas()

# %% [markdown]
# **A short list** to give away: VOTable, FITS, ECSV, CSV or Parquet, each with its units.

# %%
out = Path(f"results/{run}/notebooks/shortlist.vot")
out.parent.mkdir(parents=True, exist_ok=True)
best.write(out)
Table.read(out)["object_id", "ra", "dec", score][:3]
