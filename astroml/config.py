"""Typed configuration: the one truth for defaults, checks, schema and reference.

``config/config.yaml`` holds only what differs from the defaults written here.
``load`` checks a whole file at once; the JSON schema in ``workflow/schemas/`` and
``config/README.md`` are generated from these models (``astroml config``).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from astroml.errors import AstromlError

Tracker = Literal["none", "tensorboard", "mlflow"]
"""What draws the curves of trainings."""


class Strict(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


Backbone = Annotated[
    str, Field(pattern=r"^(small|resnet18|resnet34|resnet50|timm/[A-Za-z0-9_.]+)$")
]
"""Trunk of a network."""

BACKBONES = (
    "The trunk: small, right for CPUs; a residual network of torchvision with a stem for small "
    "images (resnet18, resnet34, resnet50); or timm/<name>, any model of timm (extra: zoo)."
)


class TrainOptions(Strict):
    """The shared training loop; none of these needs touching for a first run."""

    epochs: int = Field(18, ge=1, description="Passes over the train split at most.")
    batch_size: int = Field(64, ge=2, description="Cutouts per step.")
    lr: float = Field(2e-3, gt=0, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(1e-2, ge=0, description="Decoupled weight decay.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Fraction of all steps spent warming up.")
    clip: float = Field(1.0, gt=0, description="Largest norm of the gradient.")
    ema: float = Field(0.99, ge=0, lt=1, description="Decay per step of the averaged weights.")
    patience: int = Field(8, ge=1, description="Epochs without a better validation loss.")
    shift: float = Field(1.0, ge=0, le=8, description="Largest random shift of a cutout, px.")
    seed: int = Field(1, ge=0, description="Seed of weights, order and augmentation.")
    fresh: int = Field(
        0,
        ge=0,
        description="Objects per epoch drawn for it alone, of the task's simulated sky, beside "
        "those of the train split; no two epochs see the same. 0: none.",
    )
    encoder: str | None = Field(
        None,
        description="File of weights that a backbone timm/<name> starts from, of timm's own or "
        "Zoobot's: .safetensors, or what torch.save wrote.",
    )
    fresh_only: bool = Field(
        False,
        description="Whether the fresh objects are all that is trained on; the train split then "
        "gives the normalisation alone.",
    )

    @model_validator(mode="after")
    def _something_to_train_on(self) -> TrainOptions:
        if self.fresh_only and not self.fresh:
            raise ValueError("fresh_only needs fresh objects; set fresh to their number per epoch")
        return self


class TaskOptions(Strict):
    """What every task's options share."""

    AFTERWARDS: ClassVar[tuple[str, ...]] = ("weights",)
    """Options that training does not read: changing them leaves the weights as they are."""

    weights: str | None = Field(
        None, description="Trained weights (.safetensors) to use instead of training."
    )
    train: TrainOptions = Field(TrainOptions(), description="The training loop.")


class Input(Strict):
    """The objects of the run."""

    manifest: str | None = Field(
        None,
        description="Table of objects: CSV, ECSV, FITS or Parquet with object_id, ra, dec and what "
        "the survey's file names need. Empty: a survey is simulated. Environment variables are "
        "filled in.",
    )
    root: str | None = Field(
        None,
        description="Folder that file names in the manifest start from. Empty: the manifest's own.",
    )


class Ingest(Strict):
    """From survey files to the store."""

    UNSEEN: ClassVar[tuple[str, ...]] = ("chunks", "block", "max_rejects")
    """Options that change no cutout: how the work is cut up, and when it has failed."""

    chunks: int = Field(4, ge=1, description="Parts the manifest is cut into, one job each.")
    bands: list[str] | None = Field(None, description="Bands to keep, in order. Empty: all.")
    size: dict[str, int] = Field(
        {"galaxy": 64, "halo": 256, "field": 320},
        description="Cutout side of each set, px. Sets that are not named keep their defaults.",
    )
    scale: dict[str, float | None] = Field(
        {"field": 1.048},
        description="Pixel side of a set, arcsec, to resample to, north up and the object exactly "
        "central. A set that is not named keeps the survey's own pixels, none resampled that need "
        "not be.",
    )
    background: Literal["none", "median", "mesh"] = Field(
        "none",
        description="Sky to subtract from each cutout: none, the clipped median, or a smooth mesh.",
    )
    background_box: int = Field(32, ge=8, description="Side of the mesh's boxes, px.")
    match_psf: float | None = Field(
        None,
        gt=0,
        description="Common FWHM, arcsec, that bands of better seeing are blurred to. Empty: none.",
    )
    max_masked: float = Field(
        0.5, ge=0, le=1, description="Masked fraction above which a band counts as missing."
    )
    max_rejects: float = Field(
        0.05, ge=0, le=1, description="Fraction of rejected objects above which the run fails."
    )
    missing_bands: Literal["reject", "keep"] = Field(
        "reject", description="What becomes of an object without one of the bands."
    )
    block: int = Field(256, ge=1, description="Objects per Dask task and per write.")

    @field_validator("size", "scale", mode="before")
    @classmethod
    def _others_as_usual(cls, given: Any, info: ValidationInfo) -> Any:
        """Sets that are not named keep their defaults."""
        usual = cls.model_fields[info.field_name].default
        return usual | given if isinstance(given, dict) else given


class Splits(Strict):
    """Train, validation and test sky."""

    nside: int = Field(256, ge=1, description="HEALPix nside of the sky cells that stay together.")
    val: float = Field(0.15, ge=0, lt=1, description="Fraction of the sky for validation.")
    test: float = Field(0.15, ge=0, lt=1, description="Fraction of the sky for the test.")
    seed: int = Field(1, ge=0, description="Seed of the hash that assigns the cells.")


class Infer(Strict):
    """From weights and a store to rows."""

    batch_size: int = Field(
        256,
        ge=1,
        description="Cutouts read at once, and on a GPU per forward pass; changes no result.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run.")


class Catalogs(Strict):
    """The files that a run's catalogs are written to."""

    formats: list[Literal["fits", "vot", "ecsv", "csv"]] = Field(
        ["fits", "vot"],
        description="Beside Parquet, which is always written. VOTable and ECSV take minutes for "
        "each million rows: leave them out of large runs.",
    )


class Report(Strict):
    """The page at the end."""

    top: int = Field(24, ge=1, description="Candidates drawn in the mosaic.")
    bootstrap: int = Field(200, ge=2, description="Resamplings behind each uncertainty.")
    notebooks: bool = Field(
        False,
        description="Whether the notebooks of workflow/notebooks run on the run and become pages "
        "beside its report; needs astroml-survey[notebooks].",
    )


class Inject(Strict):
    """Simulated signals added to the run's own real cutouts, scored beside them."""

    task: str = Field("lens", description="Task whose signal is added.")
    copies: int = Field(1, ge=1, le=999, description="Injected copies of each cutout.")
    seed: int = Field(1, ge=0, description="Seed of the injected signals.")
    pairs: bool = Field(
        False,
        description="Whether each host is kept as it is too, as a negative of the same group: a "
        "store to train on. Hosts that are labelled as positives are left out.",
    )
    grid: bool = Field(
        False,
        description="Whether the signals fill a grid of their strength evenly, for the selection "
        "function.",
    )


class Run(Strict):
    """Everything but the tasks, which add their own sections."""

    run: str = Field("demo", pattern=r"^[A-Za-z0-9_-]+$", description="Name of the run's folders.")
    survey: str = Field("decals", description="Name in config/surveys, or a YAML file.")
    input: Input = Field(Input(), description="The objects of the run.")
    train_on: Literal["input", "simulated"] = Field(
        "input",
        description="Train on the run's own labelled objects, or on a simulated sky made for it.",
    )
    seed: int = Field(1, ge=0, description="Seed of the simulated sky.")
    ingest: Ingest = Field(Ingest(), description="From survey files to the store.")
    splits: Splits = Field(Splits(), description="Train, validation and test sky.")
    inject: Inject | None = Field(None, description="Signals added to real cutouts; empty: none.")
    track: Tracker = Field(
        "none",
        description="What draws the curves of trainings, besides the JSON lines beside the "
        "weights: TensorBoard, in the folder weights/tensorboard, or MLflow, where its environment "
        "variables say. Changes no result.",
    )
    infer: Infer = Field(Infer(), description="From weights and a store to rows.")
    catalogs: Catalogs = Field(Catalogs(), description="What the catalogs are written as.")
    report: Report = Field(Report(), description="The page at the end.")


@cache
def config_model() -> type[Run]:
    """Return the model of a whole config file: ``Run`` plus a section per task folder."""
    from astroml import tasks

    options, skies = {}, {}
    for name in tasks.names():
        task = tasks.load(name)
        about = task.__doc__.strip().splitlines()[0]
        options[name] = (task.Options | None, Field(None, description=about))
        skies[name] = (task.Sky, Field(task.Sky(), description=about))
    section = create_model("Tasks", __base__=Strict, __doc__="Tasks of the run.", **options)
    sky = create_model("Simulate", __base__=Strict, __doc__="The simulated sky.", **skies)
    return create_model(
        "Config",
        __base__=Run,
        __doc__="One run of the pipeline.",
        tasks=(
            section,
            Field(section(), description="Tasks of the run; those named here run."),
        ),
        simulate=(sky, Field(sky(), description="The simulated sky of each task.")),
    )


def load(source: str | Path | dict[str, Any]) -> Run:
    """Read and check a whole config.

    Parameters
    ----------
    source : str, Path or dict
        A YAML file, or what one holds.

    Returns
    -------
    Run
        The checked config, every default filled in.

    Raises
    ------
    AstromlError
        If the file is not there, is not YAML, or holds an unknown key or a bad value; the message
        names every fault with its place and the nearest known key.
    """
    where = "config" if isinstance(source, dict) else str(source)
    config = check(config_model(), read_yaml(source), where)
    if not chosen_tasks(config):
        known = ", ".join(config_model().model_fields["tasks"].annotation.model_fields)
        raise AstromlError(f"{where}: no task under 'tasks'; name at least one of: {known}")
    return config


def read_yaml(source: str | Path | dict[str, Any]) -> dict[str, Any]:
    """Return the mapping in a YAML file, or the mapping itself."""
    if isinstance(source, dict):
        return source
    try:
        data = yaml.safe_load(Path(source).read_text())
    except FileNotFoundError:
        raise AstromlError(f"{source}: no such file; name a YAML file that exists") from None
    except (yaml.YAMLError, UnicodeDecodeError) as fault:
        raise AstromlError(f"{source}: not a YAML file ({' '.join(str(fault).split())})") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise AstromlError(f"{source}: found {type(data).__name__}, expected keys and values")
    return data


def check(model: type[BaseModel], data: dict[str, Any], where: str) -> Any:
    """Validate ``data`` against ``model``; each fault becomes a clause of one AstromlError."""
    try:
        return model.model_validate(data)
    except ValidationError as fault:
        clauses = [_clause(model, error) for error in fault.errors()]
        raise AstromlError(f"{where}: " + "; ".join(clauses)) from None


def _clause(model: type[BaseModel], error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{place or 'value'}: {error['msg'].lower()}, found {error['input']!r}"
    known = _fields_at(model, error["loc"][:-1])
    near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key {place!r}; {hint}"


def _fields_at(model: type[BaseModel], loc: tuple) -> list[str]:
    """Return the field names of the model found by following ``loc`` from ``model``."""
    for part in loc:
        if part in model.model_fields:
            model = submodel(model.model_fields[part].annotation) or model
    return list(model.model_fields)


def submodel(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside an annotation such as ``Model | None`` or ``dict[str, Model]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if found := submodel(inner):
            return found
    return None


def chosen_tasks(config: Run) -> dict[str, TaskOptions]:
    """Return the options of the tasks that the config names, in pipeline order."""
    return {name: options for name, options in config.tasks if options is not None}


def options_from(model: type[BaseModel], text: str | None) -> Any:
    """Build one slice of the config from the command line's ``--options``.

    Parameters
    ----------
    model : type
        The slice's model, such as ``Ingest`` or a task's ``Options``.
    text : str or None
        JSON or YAML text, or the path of such a file; None gives the defaults.
    """
    if text is None:
        return model()
    if not text.lstrip().startswith("{") and Path(text).is_file():
        return check(model, read_yaml(text), text)
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError:
        data = None
    if not isinstance(data, dict):
        raise AstromlError(f"--options: found {text!r}, expected '{{key: value}}' or a YAML file")
    return check(model, data, "--options")


def as_json(options: BaseModel, only: Collection[str] | None = None) -> str:
    """Return one line of JSON, keys in the model's order: what rules pass and hashes read.

    ``only`` names the keys to keep; without it all are kept.
    """
    kept = None if only is None else set(only)
    return json.dumps(options.model_dump(mode="json", include=kept), separators=(",", ":"))


def split_options(options: TaskOptions) -> tuple[set[str], set[str]]:
    """Return the names of a task's options that training reads, and of those that rows do.

    What says which weights there are, ``weights`` and ``members``, is read by neither.
    """
    files = {"weights", "members"}
    known, late = set(type(options).model_fields), set(options.AFTERWARDS)
    return known - late - files, late - files
