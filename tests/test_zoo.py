"""Models of timm as trunks, and encoders from files. Weights are made here: none are fetched."""

import sys

import pytest
import torch
from safetensors.torch import save_file
from toy import toy_store

from astroml import infer, tasks, train
from astroml.config import Infer
from astroml.errors import AstromlError
from astroml.nets import weights, zoo
from astroml.nets.backbones import backbone
from astroml.nets.checkpoint import resume_key
from astroml.store import open_store

timm = pytest.importorskip("timm")

SMALL = "test_convnext"
"""timm's own models for tests."""


@pytest.mark.parametrize(
    "name", [SMALL, "test_resnet", "test_vit", "test_efficientnet", "swin_tiny_patch4_window7_224"]
)
@pytest.mark.parametrize(("channels", "size"), [(1, 64), (10, 64)])
def test_models_of_timm_are_trunks(name, channels, size):
    trunk = backbone(f"timm/{name}", channels, 8, 1, size).eval()
    image = torch.randn(2, channels, size, size)
    maps = trunk.maps(image)
    assert maps.shape[:2] == (2, trunk.planes)
    assert maps.shape[2] == maps.shape[3] >= 2
    assert trunk(image).shape == (2, trunk.features)
    other = torch.cat([image[:1], 100 * torch.randn(1, channels, size, size)])
    torch.testing.assert_close(trunk(other)[0], trunk(image)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["test_vit", "swin_tiny_patch4_window7_224", SMALL])
def test_maps_lie_as_the_image_does(name):
    trunk = backbone(f"timm/{name}", 1, 8, 1, 64).eval()
    plain, spot = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    spot[..., 2:6, 50:62] = 9.0  # above, at the right
    change = (trunk.maps(spot) - trunk.maps(plain))[0].norm(dim=0)
    side = change.shape[0]
    y, x = divmod(int(change.argmax()), side)
    assert y < side / 2 <= x


def test_a_model_that_timm_lacks_is_refused():
    with pytest.raises(AstromlError, match="backbone timm/convnext_nana: timm has no such model"):
        backbone("timm/convnext_nana", 3, 8, 1)


def test_without_timm_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(AstromlError, match=r"pip install 'astroml-survey\[zoo\]'"):
        backbone("timm/convnext_nano", 3, 8, 1)


# Encoders


def lens(channels_of=SMALL):
    settings = tasks.load("lens").Options(backbone=f"timm/{channels_of}")
    return tasks.load("lens", "net").build(settings, ("g", "r", "z"), 64)


def original(name=SMALL, channels=3, **changes):
    torch.manual_seed(7)
    return timm.create_model(name, in_chans=channels, **changes)


def saved(path, state, prefix=""):
    state = {prefix + name: values.contiguous() for name, values in state.items()}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if path.suffix == ".ckpt" else state, path)
    return path


@pytest.mark.parametrize("file", ["a.safetensors", "a.pt", "a.ckpt"])
@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder."])
@pytest.mark.parametrize("name", [SMALL, "test_resnet"])
def test_a_trunk_starts_from_a_file(tmp_path, capsys, file, prefix, name):
    source = original(name)
    path = saved(tmp_path / file, source.state_dict(), prefix)
    net = lens(name)
    zoo.load_encoder(net, path)
    assert f"tensors of {path}; left out: " in capsys.readouterr().out
    first, _ = zoo.places(net.trunk)
    for key, values in net.trunk.net.state_dict().items():
        if key != first:
            assert torch.equal(values, source.state_dict()[key]), key


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grey_image_is_seen_alike_through_any_number_of_channels(tmp_path, channels):
    source = original(channels=channels, num_classes=0, global_pool="").eval()
    path = saved(tmp_path / "a.safetensors", source.state_dict())
    net = lens().eval()  # ten channels
    zoo.load_encoder(net, path)
    grey = torch.randn(2, 1, 64, 64)
    expected = source.forward_features(grey.expand(-1, channels, -1, -1))
    # As much light in each of ten channels, all of it counted as often as there were channels.
    got = net.trunk.maps(grey.expand(-1, 10, -1, -1))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_patches_of_another_image_size_fit(tmp_path):
    source = original("test_vit", img_size=160)
    net = lens("test_vit")
    path = saved(tmp_path / "a.safetensors", source.state_dict())
    zoo.load_encoder(net, path)
    key = "blocks.0.mlp.fc1.weight"
    assert torch.equal(net.trunk.net.state_dict()[key], source.state_dict()[key])


def test_files_that_do_not_fit_are_refused(tmp_path):
    state = original().state_dict()
    other = saved(tmp_path / "other.safetensors", original("test_resnet").state_dict())
    with pytest.raises(AstromlError, match=f"tensors of timm/{SMALL} are not there, or of another"):
        zoo.load_encoder(lens(), other)
    state.pop("stages.1.blocks.0.mlp.fc1.weight")
    short = saved(tmp_path / "short.safetensors", state)
    with pytest.raises(AstromlError, match=r"1 of \d+ tensors .* such as stages.1.blocks.0.mlp"):
        zoo.load_encoder(lens(), short)
    with pytest.raises(AstromlError, match="no such file"):
        zoo.load_encoder(lens(), tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(AstromlError, match="not weights that can be read"):
        zoo.load_encoder(lens(), tmp_path / "text.pt")
    small = tasks.load("lens", "net").build(tasks.load("lens").Options(), ("g", "r", "z"), 64)
    with pytest.raises(AstromlError, match="only a backbone of timm can start from a file"):
        zoo.load_encoder(small, other)


def test_the_key_knows_the_file_by_what_is_in_it(tmp_path):
    store = open_store(toy_store(tmp_path / "0.h5", n=8))
    state = original().state_dict()

    def key(name, state):
        path = saved(tmp_path / name, state)
        return resume_key("lens", tasks.load("lens").Options(train={"encoder": str(path)}), store)

    assert key("a.safetensors", state) == key("b.safetensors", state)
    other = {name: values + 1 for name, values in state.items()}
    assert key("c.safetensors", other) != key("a.safetensors", state)
    assert key("c.safetensors", other) != resume_key("lens", tasks.load("lens").Options(), store)


@pytest.mark.parametrize("task", ["lens", "photoz"])
def test_an_encoder_is_trained_on_and_not_needed_afterwards(tmp_path, task, capsys):
    store = toy_store(tmp_path / "0.h5", task, n=32, size=64)
    path = saved(tmp_path / "encoder.safetensors", original().state_dict())
    run = {"epochs": 1, "batch_size": 8, "encoder": str(path), "lr": 1e-9, "ema": 0.0}
    settings = tasks.load(task).Options(backbone=f"timm/{SMALL}", train=run)
    out = tmp_path / "net.safetensors"
    train.train(task, settings, [store], out, device="cpu")
    assert "encoder: " in capsys.readouterr().out
    state, _ = weights.load(out)
    name = "stages.1.blocks.0.mlp.fc1.weight"
    torch.testing.assert_close(
        state[f"trunk.net.{name}"], original().state_dict()[name], rtol=1e-3, atol=1e-5
    )
    path.unlink()
    infer.infer(task, [store], out, tmp_path / "rows.parquet", Infer(), device="cpu")
