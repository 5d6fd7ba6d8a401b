"""Generated files are up to date, every key and command is explained, schema and loader agree."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from jsonschema import Draft202012Validator

from astroml import reference, tasks
from astroml.catalog.columns import all_columns
from astroml.config import Strict, TrainOptions, config_model, load, submodel
from astroml.errors import AstromlError
from astroml.store import layout
from astroml.survey import Survey
from astroml.tasks import Column

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", reference.texts())
def test_committed_files_are_what_would_be_generated(name):
    assert (ROOT / name).read_text() == reference.texts()[name], "run: astroml config --write"


def test_writing_is_stable_and_says_what_it_wrote(tmp_path):
    first = reference.write_all(tmp_path)
    before = [path.read_bytes() for path in first]
    assert reference.write_all(tmp_path) == first
    assert [path.read_bytes() for path in first] == before
    assert {str(path.relative_to(tmp_path)) for path in first} == set(reference.texts())


def fields_of(model, prefix=""):
    for name, field in model.model_fields.items():
        yield prefix + name, field
        if below := submodel(field.annotation):
            yield from fields_of(below, f"{prefix}{name}.")


@pytest.mark.parametrize("model", [config_model(), Survey], ids=["config", "survey"])
def test_every_key_is_described_and_in_the_reference(model):
    text = reference.config_text()
    for key, field in fields_of(model):
        assert field.description, key
        leaf = submodel(field.annotation) is None
        key = key.replace("bands.", "bands.<name>.") if model is Survey else key
        assert f"`{key}`" in text or key == "bands" or not leaf, key


def test_every_command_and_parameter_has_help():
    from typer.main import get_command

    from astroml.cli import app

    for name, command in get_command(app).commands.items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"


@pytest.fixture(scope="module")
def schema():
    schema = json.loads(reference.schema_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def committed_configs():
    return [ROOT / "config/config.yaml", *sorted((ROOT / "config/examples").glob("*.yaml"))]


@pytest.mark.parametrize("path", committed_configs(), ids=lambda path: path.stem)
def test_schema_and_loader_accept_the_committed_configs(schema, path):
    schema.validate(yaml.safe_load(path.read_text()))
    load(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"surwey": "hsc"}, "did you mean 'survey'"),
        ({"tasks": {"lens": {"train": {"epoch": 3}}}}, "did you mean 'epochs'"),
        ({"tasks": {"lense": {}}}, "did you mean 'lens'"),
        ({"splits": {"val": 1.5}}, "splits.val"),
        ({"ingest": {"chunks": "many"}}, "ingest.chunks"),
        ({"ingest": {"missing_bands": "ignore"}}, "missing_bands"),
        ({"run": "a/b"}, "run"),
        ({"simulate": {"lens": {"theta_e": [1, 2, 3]}}}, "theta_e"),
    ],
)
def test_schema_and_loader_refuse_the_same(schema, change, says):
    data = {"tasks": {"lens": {}}} | change
    assert not schema.is_valid(data)
    with pytest.raises(AstromlError, match=says):
        load(data)


def test_a_whole_resolved_config_is_accepted_again(schema):
    whole = load({"tasks": {"lens": {}}}).model_dump(mode="json")
    schema.validate(whole)
    assert load(whole).model_dump(mode="json") == whole


def test_the_default_shown_is_the_one_that_holds():
    class Inner(Strict):
        train: TrainOptions = TrainOptions(epochs=77)

    lines = reference._sections(Inner, "", "x")
    assert any("`train.epochs`" in line and "`77`" in line for line in lines)


@pytest.mark.parametrize("task", tasks.names())
def test_every_column_is_in_the_reference(task):
    text = reference.catalogs_text()
    for column in all_columns(task):
        assert f"| `{column.name}` |" in text
        assert f"`{column.ucd}`" in text


def test_lists_and_a_tasks_own_files_are_told(monkeypatch):
    def export(rows, path):
        """Write numbers."""

    pz = Column("pz", "float32", "", "stat.probability", "p(z)", length="bins")
    task = SimpleNamespace(__doc__="Lists.", COLUMNS=(pz,), EXPORTS={".npz": export})
    monkeypatch.setattr(tasks, "load", lambda name, part="": task)
    text = "\n".join(reference._catalog("far", task))
    assert "| `pz` | float32[bins] |  | `stat.probability` | p(z) |" in text
    assert text.endswith("A run also writes `far.npz`. Write numbers.\n")


def test_what_a_store_may_measure_is_in_the_reference():
    text = reference.catalogs_text()
    for name in (*layout.QUALITY, *layout.PHOTOMETRY):
        assert f"| `{name}` |" in text
    for name in (*layout.QUALITY_PER_BAND, *layout.PHOTOMETRY_PER_BAND):
        assert f"| `{name}_<band>` |" in text
