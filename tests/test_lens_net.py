"""The lens finder's losses, with known answers."""

import math

import numpy as np
import pytest
import torch

from astroml.tasks import lens
from astroml.tasks.lens import net as lens_net
from astroml.tasks.lens.parameters import PARAMETERS


def said(n, mean=0.0, logvar=0.0, **others):
    output = {"lens_logit": torch.zeros(n), "artefact_logit": torch.zeros(n)}
    for name in PARAMETERS:
        output |= {
            f"{name}_mean": torch.full((n,), mean),
            f"{name}_logvar": torch.full((n,), logvar),
        }
    return output | others


def labels(is_lens, **others):
    batch = {"is_lens": torch.tensor(is_lens, dtype=torch.float32)}
    return batch | {name: torch.tensor(values) for name, values in others.items()}


def batch_of(n=4, bands=3, size=32):
    image = torch.randn(n, bands, size, size)
    return {"image": image, "valid": torch.ones_like(image).bool(), "is_lens": torch.ones(n)}


def test_the_loss_is_a_gaussian_likelihood():
    batch = labels([1, 1], e1=[0.15, -0.30])
    found = lens_net.parameter_loss(said(2, mean=0.5, logvar=math.log(4.0)), batch)
    pulls = (np.array([1.0, -2.0]) - 0.5) / 2.0
    expected = np.mean(0.5 * pulls**2 + math.log(2.0)) / len(PARAMETERS)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_likelihood_is_best_at_the_true_mean_and_scatter():
    true = torch.randn(4000, generator=torch.Generator().manual_seed(1)) * 0.5 + 0.3
    batch = labels([1] * 4000) | {"shear_1": true * 0.04}
    mean, logvar = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.LBFGS([mean, logvar], max_iter=50)

    def closure():
        optimiser.zero_grad()
        output = said(4000, shear_1_mean=mean.expand(4000), shear_1_logvar=logvar.expand(4000))
        loss = lens_net.parameter_loss(output, batch)
        loss.backward()
        return loss

    optimiser.step(closure)
    assert mean.item() == pytest.approx(0.3, abs=0.03)
    assert math.exp(0.5 * logvar.item()) == pytest.approx(0.5, rel=0.03)


def test_theta_e_is_learnt_as_a_logarithm():
    theta = PARAMETERS["theta_e"]
    value = float(theta.seen(np.array(2.2)))
    batch = labels([1.0], theta_e=[2.2])
    assert lens_net.parameter_loss(said(1, mean=value), batch).item() == pytest.approx(0, abs=1e-6)
    batch = labels([1.0, 1.0], theta_e=[2.2, 0.0])  # 0: not known
    assert lens_net.parameter_loss(said(2, mean=value), batch).item() == pytest.approx(0, abs=1e-6)


def test_only_lenses_with_a_label_teach_parameters():
    mean = torch.zeros(4, requires_grad=True)
    batch = labels([1, 0, 1, 1], e2=[0.1, 0.2, float("nan"), 0.3])
    lens_net.parameter_loss(said(4, e2_mean=mean), batch).backward()
    assert (mean.grad != 0).tolist() == [True, False, False, True]
    assert torch.isfinite(mean.grad).all()
    for nothing in (labels([0, 0], e2=[0.1, 0.2]), labels([1, 1])):
        assert lens_net.parameter_loss(said(2), nothing).item() == 0


def test_artefacts_are_learnt_where_they_are_labelled():
    logit = torch.zeros(3, requires_grad=True)
    output = said(3, artefact_logit=logit)
    loss = lens_net.artefact_loss(output, labels([0, 0, 0], artefact=[1.0, 0.0, float("nan")]))
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert torch.sign(logit.grad).tolist() == [-1, 1, 0]
    assert lens_net.artefact_loss(said(3), labels([0, 0, 0])).item() == 0


def test_the_weights_of_the_losses_are_as_stated():
    class Said(torch.nn.Module):
        def forward(self, batch):
            return said(2, mean=1.0)

    batch = labels([1, 0], e1=[0.0, 0.0], artefact=[1.0, 0.0])
    ((part, loss),) = lens_net.objectives(Said(), batch)
    assert part == "net"
    both = math.log(2) + 0.2 * 0.5 / len(PARAMETERS) + 0.1 * math.log(2)
    assert loss.item() == pytest.approx(both, rel=1e-6)


def test_the_claimed_variance_is_bounded():
    net = lens_net.build(lens.Options(width=8), ("g", "r", "z"), 32).eval()
    with torch.no_grad():
        net.parameters_head[-1].bias.fill_(1e6)
        output = net(batch_of())
    assert output["e1_logvar"].abs().max() <= lens_net.WIDEST


@pytest.mark.parametrize("name", ["small", "resnet18", "resnet50"])
@pytest.mark.parametrize("size", [32, 45, 64])
def test_any_backbone_says_the_same_things(name, size):
    options = lens.Options(backbone=name, width=8)
    output = lens_net.build(options, ("r",), size).eval()(batch_of(2, 1, size))
    assert set(output) == set(said(1))
    assert all(values.shape == (2,) and values.isfinite().all() for values in output.values())


def test_scores_are_of_full_precision_under_autocast():
    net = lens_net.build(lens.Options(width=8), ("g", "r", "z"), 32).eval()
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(batch_of(64))
    assert all(values.dtype == torch.float32 for values in output.values())
    assert len(torch.unique(output["lens_logit"])) == 64
