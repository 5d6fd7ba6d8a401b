"""The typed config: what it accepts, and how it answers what it does not."""

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from astroml import config, tasks
from astroml.config import as_json, chosen_tasks, load, options_from
from astroml.errors import AstromlError

LENS = {"tasks": {"lens": {}}}


def test_the_default_run_loads():
    run = load("config/config.yaml")
    assert run.run == "demo"
    assert list(chosen_tasks(run)) == [name for name in tasks.names() if name in chosen_tasks(run)]


@pytest.mark.parametrize(
    ("wrong", "place", "near"),
    [
        ({"ingets": {}}, "ingets", "'ingest'"),
        ({"ingest": {"chunk": 2}}, "ingest.chunk", "'chunks'"),
        ({"tasks": {"lens": {"train": {"epoch": 2}}}}, "tasks.lens.train.epoch", "'epochs'"),
        ({"tasks": {"lense": {}}}, "tasks.lense", "'lens'"),
        ({"simulate": {"lens": {"objcts": 2}}}, "simulate.lens.objcts", "'objects'"),
    ],
)
def test_a_misspelt_key_is_named_with_its_nearest_neighbour(wrong, place, near):
    with pytest.raises(AstromlError) as fault:
        load(LENS | wrong)
    assert f"unknown key '{place}'" in str(fault.value)
    assert f"did you mean {near}?" in str(fault.value)


def test_all_faults_are_told_at_once():
    with pytest.raises(AstromlError, match=r"seed: .*ingest\.chunks: ") as fault:
        load(LENS | {"ingest": {"chunks": 0}, "seed": -1})
    assert "greater than or equal to 1, found 0" in str(fault.value)


def test_a_config_without_a_task_is_refused():
    with pytest.raises(AstromlError, match="no task under 'tasks'; name at least one of: "):
        load({})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("- a list", "found list, expected keys and values"), ("a: [", "not a YAML file")],
)
def test_what_is_no_config_is_refused(tmp_path, text, sentence):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(AstromlError, match=sentence):
        load(file)


def test_a_missing_file_is_named():
    with pytest.raises(AstromlError, match=r"nowhere\.yaml: no such file"):
        load("nowhere.yaml")


@settings(max_examples=30, deadline=None)
@given(
    chunks=st.integers(1, 1000),
    seed=st.integers(0, 2**31),
    epochs=st.integers(1, 500),
    bands=st.none() | st.lists(st.sampled_from("ugrizy"), min_size=1, unique=True),
)
def test_round_trip_through_json_and_yaml(chunks, seed, epochs, bands):
    run = load(
        {
            "seed": seed,
            "ingest": {"chunks": chunks, "bands": bands},
            "tasks": {"lens": {"train": {"epochs": epochs}}},
        }
    )
    assert load(json.loads(as_json(run))) == run
    assert load(yaml.safe_load(as_json(run))) == run


def test_options_come_as_text_or_file(tmp_path):
    file = tmp_path / "o.yaml"
    file.write_text("chunks: 7\n")
    for text in ("{chunks: 7}", '{"chunks": 7}', str(file)):
        assert options_from(config.Ingest, text).chunks == 7
    assert options_from(config.Ingest, None) == config.Ingest()
    with pytest.raises(AstromlError, match=r"expected '\{key: value\}' or a YAML file"):
        options_from(config.Ingest, "chunks")
    with pytest.raises(AstromlError, match=r"did you mean 'chunks'"):
        options_from(config.Ingest, "{chunk: 7}")


def test_every_task_finds_a_size_for_its_set():
    assert {tasks.load(name).SET for name in tasks.names()} <= set(config.Ingest().size)


def test_sets_that_are_not_named_keep_their_size():
    sets = {"size": {"halo": 40}, "scale": {"halo": 0.8}}
    ingest = load({"tasks": {"lens": {}}, "ingest": sets}).ingest
    assert ingest.size == {"galaxy": 64, "halo": 40, "field": 320}
    assert ingest.scale == {"field": 1.048, "halo": 0.8}
