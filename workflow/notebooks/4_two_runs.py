# %% [markdown]
# # Compare two runs
#
# Two networks, or two settings, and the objects that both have seen: do they agree, which of them
# is better, and where do they differ? Here the run meets the network of the third notebook.

# %% tags=["parameters"]
task = "lens"
first = "demo"
second = "mine"
catalogs = ""  # folders of the second run; empty: those of the third notebook
results = ""
count = 50  # candidates that are compared

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from scipy.stats import spearmanr

import astroml
from astroml import tasks

results = Path(results or f"results/{first}/notebooks/own_labels")
catalogs = Path(catalogs or results / "catalogs")
one = astroml.open_catalog(task, first)
two = astroml.open_catalog(task, second, catalogs=catalogs, results=results)
score = tasks.load(task).COLUMNS[0].name
print(one, two, sep="\n")

# %% [markdown]
# **What made them?** Every row names the weights and the input, every file what it was made of.

# %%
for name, catalog in ((first, one), (second, two)):
    made = catalog.sql(f"SELECT DISTINCT weights FROM {task}").to_pandas()["weights"]
    facts = json.loads(pq.read_schema(catalog.file).metadata[b"astroml.provenance"])
    print(f"{name}: weights {', '.join(made)}, astroml {facts['version']}")

# %% [markdown]
# **The objects of both**, side by side. Either network has learnt from some of them.

# %%
both = one.to_pandas().merge(two.to_pandas(), on="object_id", suffixes=("_1", "_2"))
both = both.dropna(subset=[f"{score}_1", f"{score}_2"])
rank = spearmanr(both[f"{score}_1"], both[f"{score}_2"]).statistic
print(f"{len(both)} objects in both; rank correlation of {score} {rank:.3f}")
plt.figure(figsize=(4.2, 4), layout="constrained")
plt.plot(both[f"{score}_1"], both[f"{score}_2"], ".", markersize=3, alpha=0.5)
plt.axline((0, 0), slope=1, color="gray", linewidth=1)
plt.xlabel(f"{score}, {first}")
plt.ylabel(f"{score}, {second}")
plt.show()

# %% [markdown]
# **The same candidates?** Of the best of each among the objects of both, how many are the best of
# the other too. Chance alone gives the share in brackets.

# %%
for size in (10, 20, count):
    size = min(size, len(both))
    heads = [set(both.nlargest(size, f"{score}_{at}")["object_id"]) for at in (1, 2)]
    shared = len(heads[0] & heads[1])
    print(f"top {size}: {shared} in both ({size / len(both):.0%} by chance)")

# %% [markdown]
# **Which is better?** Each on its own test split; errors add in quadrature, as if the splits had
# nothing in common. Where they share objects, the difference is known better than that.

# %%
files = (Path(f"results/{first}/metrics/{task}.json"), results / second / f"metrics/{task}.json")
measured = [json.loads(file.read_text())["metrics"] for file in files]
print(f"{'metric':28} {first:>18} {second:>18}  difference")
for name in list(measured[0])[:10]:
    if name in measured[1]:
        (a, b) = (metrics[name] for metrics in measured)
        sigma = np.hypot(a["error"], b["error"])
        values = "  ".join(f"{one['value']:8.4f} ± {one['error']:.4f}" for one in (a, b))
        moved = f"{(b['value'] - a['value']) / sigma:+.1f} sigma" if sigma else ""
        print(f"{name:28} {values}  {moved}")

# %% [markdown]
# **Where do they differ most?** Look at those before you believe either.

# %%
both["moved"] = both[f"{score}_2"] - both[f"{score}_1"]
most = both.loc[both["moved"].abs().sort_values(ascending=False).index].head(10)
most[["object_id", "ra_1", "dec_1", f"{score}_1", f"{score}_2", "moved"]].round(4)

# %%
wanted = ", ".join(repr(name) for name in most["object_id"].tolist())
one.sql(f"SELECT * FROM {task} WHERE object_id IN ({wanted})").show(10)
