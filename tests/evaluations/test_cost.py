"""What evaluations compute beside the passes that they need: floating-point operations, not time."""

import pytest
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from integrand.evaluations.adversarial import Target
from integrand.evaluations.attacks import Ball, pgd
from integrand.evaluations.drawn import said
from integrand.modules import DeepEnsemble, EnResNet, NeuralODE, NeuralSDE, ResNet
from integrand.modules.noise import Dropout
from integrand.solvers import Euler

NETWORKS = {
    "dropout": lambda spec: ResNet(spec, channels=4, blocks=2, noise=Dropout(0.3, samples=5)),
    "sde": lambda spec: NeuralSDE(spec, channels=4, num_steps=2, samples=2),
    "field in fixed steps": lambda spec: NeuralODE(spec, channels=4, solver=Euler(num_steps=2)),
    "members": lambda spec: DeepEnsemble(spec, size=2, channels=4),
    "two noisy nets": lambda spec: EnResNet(spec, channels=4),
}


@pytest.fixture(params=NETWORKS)
def model(request, digits):
    torch.manual_seed(0)
    return NETWORKS[request.param](digits.spec).eval()


def operations(work):
    """Of convolutions and linear maps, in which is nearly all of a network's time."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def test_twenty_draws_of_a_test_set_are_twenty_passes(model, digits):
    own = model.components or 20
    x, _ = digits.some("test", 1000)
    with torch.no_grad():
        one = operations(lambda: model.draws(x, 1)) if model.components is None else None
        whole = one * own if one else operations(lambda: model(x))
    assert whole > 0
    assert operations(lambda: said(model, digits, "test", own, 0)) <= 1.1 * whole


def test_a_step_of_an_attack_is_one_forward_and_one_backward_pass(model, digits):
    x, y = digits.some("test", 8)
    x = digits.denormalise(x)
    draws = model.components or 3

    def plain():
        said, _ = model.draws(digits.scaled(x).requires_grad_(True), draws)
        F.cross_entropy(said.mean(0), y).backward()

    step = operations(plain)
    target = Target(model, digits, draws)
    found = operations(lambda: pgd(target.loss, x, y, Ball("linf", 0.1), steps=4))
    assert 0 < found <= 1.1 * 4 * step
