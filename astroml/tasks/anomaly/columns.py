"""Columns of the anomaly catalog."""

from __future__ import annotations

from astroml.tasks import Column

MODELS = ("ae", "vae", "wgan", "pixelcnn", "colour")
"""Models that score cutouts one by one; a run may leave some out."""

SCORES = (*MODELS, "residual", "density")
"""What scores cutouts one by one; the last two are of the autoencoder, which is always there."""

OUTLIERS = ("iforest", "lof", "pca")
"""Methods that score a whole catalog: what is odd in it shows only beside the others."""

NAMES = {
    "anomaly": "combined",
    "ae": "autoencoder",
    "vae": "variational autoencoder",
    "wgan": "WGAN",
    "pixelcnn": "PixelCNN",
    "colour": "density of colours",
    "residual": "shape of the residual",
    "density": "density of the embedding",
    "iforest": "isolation forest",
    "lof": "local outlier factor",
    "pca": "PCA + isolation forest",
}
"""Score -> its name for people; the combined one first."""

MEANING = {
    "ae": "Residual of the autoencoder's reconstruction",
    "vae": "Negative evidence bound (ELBO) of the variational autoencoder: reconstruction residual "
    "and divergence",
    "wgan": "Residual of the generator's best likeness, of the image and of the critic's features, "
    "after Storey-Fisher et al. 2021",
    "pixelcnn": "Negative log-likelihood of the pixels by the PixelCNN",
    "colour": "Rareness of the colours in a mixture of normal distributions: of one alone, sigmas "
    "from its mean",
    "residual": "Rareness of the residual's embedding in a mixture of normal distributions of that "
    "of validation objects: ln (1 - ln p), p over that of the commonest",
    "density": "Rareness of the embedding in such a mixture",
}


def _of_model(name: str) -> Column:
    return Column(
        f"{name}_score",
        "float32",
        "",
        "stat.value",
        f"{MEANING[name]}; weighed by the noise of usable pixels, of a cutout of unit flux; higher "
        "is odder. NaN where the run does not have this model",
    )


COLUMNS = (
    Column(
        "anomaly_score",
        "float32",
        "",
        "stat.value",
        "How odd the object is by all models of the run: weighted mean of their scores, each from "
        "the median in units of the spread of validation objects of like flux; what lies more "
        "than one spread above it is lessened by artefact_prob. Higher is odder, 0 is usual",
    ),
    *(_of_model(name) for name in SCORES),
    Column(
        "artefact_prob",
        "float32",
        "",
        "stat.probability",
        "Probability of an artefact in the cutout: a trail, a ghost, a cosmic ray, a saturated "
        "star, an edge or a missing band, at the share of artefacts painted in training; above 0.5 "
        "flagged artefact",
    ),
    Column(
        "log_flux",
        "float32",
        "",
        "phot.flux",
        "Logarithm of the cutout's light, as the models have it: what puts objects in slices",
    ),
    Column(
        "embedding",
        "float32",
        "",
        "stat.value",
        "Place of the object in the learned space, in which near is alike",
        length="latent",
    ),
    Column(
        "residual_embedding",
        "float32",
        "",
        "stat.value",
        "Place of what the models could not reproduce, by an autoencoder of residual images",
        length="residual",
    ),
    Column(
        "pca_coefficients",
        "float32",
        "",
        "stat.value",
        "Coefficients of the pixels' principal components, of the same cutout of unit flux",
        length="components",
    ),
    Column(
        "pca_residual",
        "float32",
        "",
        "stat.value",
        "Residual of the pixels beyond their principal components",
    ),
)

RANKS = {f"{name}_rank": f"{name}_score" for name in NAMES}
"""Columns that a whole catalog has and a part of it cannot know: name -> the column they rank."""


def _of_outliers(name: str, what: str) -> Column:
    return Column(
        f"{name}_score",
        "float32",
        "",
        "stat.value",
        f"{what}, among the objects of this catalog: from the median in units of the spread of "
        "objects of like flux; higher is odder. NaN in a catalog of too few",
    )


RANK_COLUMNS = (
    _of_outliers("iforest", "Isolation forest on the embedding"),
    _of_outliers("lof", "Local outlier factor on the embedding"),
    _of_outliers("pca", "Baseline: isolation forest on the principal components of the pixels"),
    *(
        Column(
            f"{name}_rank",
            "int64",
            "",
            "stat.rank",
            f"Rank by {name}_score in this catalog, 1 the oddest; equal scores in the order of "
            "object_id, objects without a usable pixel or a score last",
        )
        for name in NAMES
    ),
    Column(
        "residual_cluster",
        "int64",
        "",
        "meta.code.class",
        "Group of objects of this catalog with like residuals, 0 the largest; -1 none",
    ),
    Column(
        "umap_x",
        "float32",
        "",
        "stat.value",
        "First coordinate of the embedding in a map of two dimensions (UMAP, McInnes et al. 2018); "
        "NaN in a catalog of too few",
    ),
    Column("umap_y", "float32", "", "stat.value", "Second coordinate of that map; NaN likewise"),
)
"""What whole catalogs have; see ``outliers``."""
