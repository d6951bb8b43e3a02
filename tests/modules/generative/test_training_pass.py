"""The operations that the cost monitor counts for a generative model: those of a training step's forward pass."""

import pytest
import torch

from integrand.modules.generative.backbones import MLP
from integrand.modules.generative.cnf import CNF
from integrand.modules.generative.diffusion import DiffusionModel
from integrand.modules.generative.flow_matching import FlowMatching
from integrand.solvers import Euler
from integrand.spec import Classes, VectorSpec
from integrand.tracking.callbacks.cost_monitor import forward_flops

POINTS = VectorSpec("made-up", Classes(3), 2)
NET = MLP(hidden=8, layers=1, frequencies=0)
ONCE = 2 * (2 * 8 + 1 * 8 + 8 * 2)
"""Of one sample: the matrix products with x, with t, and out of the hidden layer."""


@pytest.mark.parametrize(
    ("family", "options"),
    [(FlowMatching, {}), (DiffusionModel, {}), (DiffusionModel, {"conditional": True})],
)
def test_a_family_trained_without_solving_costs_one_evaluation(family, options):
    module = family(POINTS, backbone=NET, **options).train()
    before = torch.get_rng_state()
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert forward_flops(module, (x, torch.zeros(5, dtype=torch.long))) == 5 * ONCE
    assert torch.equal(torch.get_rng_state(), before)
    assert module.training
    assert all(p.grad is None for p in module.parameters())


def test_a_flow_trained_by_its_likelihood_costs_its_solve():
    counts = [
        forward_flops(CNF(POINTS, backbone=NET, train_solver=Euler(num_steps=n)), torch.zeros(5, 2))
        for n in (2, 4)
    ]
    assert counts[0] > 2 * 5 * ONCE  # the trace costs products besides
    assert counts[1] == 2 * counts[0]
