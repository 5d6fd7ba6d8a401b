"""Networks as graphs: what is written says the same as the network, and carries its card."""

import json
import sys

import numpy as np
import pytest
import torch
from toy import toy_store

from astroml import export, tasks
from astroml.errors import AstromlError
from astroml.nets import graph, weights
from astroml.nets.batches import read_batches
from astroml.nets.device import start
from astroml.nets.forward import Forward, gather
from astroml.nets.normalise import Normalisation
from astroml.store import open_store


def made(folder, task="lens", **changes):
    """Return weights of an untrained network, the network as infer runs it, and a store."""
    store = open_store(toy_store(folder / "store/0.h5", task, n=13))
    module = tasks.load(task)
    settings = module.Options(width=8, **changes)
    torch.manual_seed(3)
    net = tasks.load(task, "net").build(settings, store.header.bands, store.header.size).eval()
    scale = Normalisation((1.0, 2.0, 3.0))
    card = weights.describe(
        task, settings, store.header, normalisation=weights.normalisation_facts(scale)
    )
    path = folder / f"{task}.safetensors"
    weights.save(path, net.state_dict(), card)
    views, turns = getattr(settings, "views", 1), getattr(module, "TURNS", {})
    return path, Forward(start("cpu"), net, scale, 8, views, turns), store


def as_stored(store):
    """Return a store's rows as a program without this package would read them."""
    (batch,) = read_batches(store, np.arange(len(store)), len(store))
    return batch


def same(got, forward, store):
    expected = gather(forward.over(store, np.arange(len(store))))
    del expected["no_data"]
    assert set(got) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-3, atol=1e-3, err_msg=name)
        assert np.std(values) > 0 or np.allclose(values, values.flat[0])


def test_torch_runs_what_was_written(tmp_path, capsys):
    path, forward, store = made(tmp_path)
    out = tmp_path / "lens.pt2"
    export.export(path, out)
    assert f"wrote {out}: outputs within " in capsys.readouterr().out
    card = {"astroml.json": ""}
    program = torch.export.load(out, extra_files=card).module()
    card = json.loads(card["astroml.json"])
    assert (card["task"], card["inputs"]) == ("lens", ["image", "mask"])
    batch = as_stored(store)
    batch["image"][3, 0, 5, 5], batch["mask"][4, 1, 7, 7] = np.nan, 255
    store_of = forward.of(batch)
    got = program(*(torch.from_numpy(batch[name]) for name in card["inputs"]))
    for name, values in zip(card["outputs"], got, strict=True):
        np.testing.assert_allclose(values.detach(), store_of[name], rtol=1e-3, atol=1e-3)
    assert len(card["outputs"]) == len(store_of) - 1


@pytest.mark.slow
@pytest.mark.parametrize("views", [1, 8])
def test_onnx_runtime_runs_what_was_written(tmp_path, views):
    runtime = pytest.importorskip("onnxruntime")
    path, forward, store = made(tmp_path, views=views)
    export.export(path, tmp_path / "lens.onnx")
    session = runtime.InferenceSession(tmp_path / "lens.onnx")
    card = json.loads(session.get_modelmeta().custom_metadata_map["astroml"])
    assert card["normalisation"]["scale"] == [1.0, 2.0, 3.0]
    assert [one.name for one in session.get_inputs()] == card["inputs"] == ["image", "mask"]
    batch = as_stored(store)
    said = session.run(card["outputs"], {name: batch[name] for name in card["inputs"]})
    same(dict(zip(card["outputs"], said, strict=True)), forward, store)


# Running maxima along the rings; a WGAN that is inverted by descending in its latent space.
REFUSED = {
    ("tidal", ".onnx"): r"cannot be written as ONNX .*cummax.*write a \.pt2",
    ("anomaly", ".onnx"): "cannot be drawn as a graph",
    ("anomaly", ".pt2"): "cannot be drawn as a graph",
}


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".pt2", ".onnx"])
@pytest.mark.parametrize("task", [name for name in tasks.names() if name != "lens"])
def test_every_task_can_be_exported(tmp_path, task, ending):
    pytest.importorskip("onnxruntime")
    path, *_ = made(tmp_path, task)
    if why := REFUSED.get((task, ending)):
        with pytest.raises(AstromlError, match=why):
            export.export(path, tmp_path / f"{task}{ending}")
        assert not (tmp_path / f"{task}{ending}").exists()
        return
    export.export(path, tmp_path / f"{task}{ending}")
    assert (tmp_path / f"{task}{ending}").stat().st_size > 10_000


def test_a_graph_that_says_something_else_is_refused(tmp_path, monkeypatch):
    path, *_ = made(tmp_path)

    def another(program, net, card, out):
        out.write_text("a graph")
        return lambda given: [1.01 * one + 0.01 for one in net(*given)]

    monkeypatch.setitem(graph.FORMATS, ".pt2", another)
    monkeypatch.setattr(torch.export, "export", lambda *given, **how: None)
    with pytest.raises(AstromlError, match="of the graph differs from the network's by"):
        export.export(path, tmp_path / "lens.pt2")
    assert not (tmp_path / "lens.pt2").exists()


def test_other_files_are_refused(tmp_path, monkeypatch):
    path, *_ = made(tmp_path)
    with pytest.raises(AstromlError, match=r"expected a file ending in \.onnx or \.pt2"):
        export.export(path, tmp_path / "lens.pb")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(AstromlError, match=r"pip install 'astroml-survey\[export\]'"):
        graph.library()


def test_steps_that_no_graph_can_hold_are_said(tmp_path, monkeypatch):
    path, *_ = made(tmp_path)
    net = tasks.load("lens", "net")
    forward = net.LensFinder.forward

    def branching(self, batch):
        if float(batch["image"].sum()) > 0:
            return forward(self, batch)
        return forward(self, batch | {"image": -batch["image"]})

    monkeypatch.setattr(net.LensFinder, "forward", branching)
    with pytest.raises(AstromlError, match="task lens: the network has steps that cannot be drawn"):
        export.export(path, tmp_path / "lens.pt2")
