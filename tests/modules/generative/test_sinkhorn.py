"""Entropic transport: its optimality, its marginals at small regularisation, and what is said where it fails."""

import ot
import pytest
import torch

from integrand.modules.generative.paths.sinkhorn import sinkhorn


def costs(n, m, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 2, generator=g).double(), 2 + torch.randn(m, 2, generator=g).double()
    return torch.cdist(x, y).square()


@pytest.mark.parametrize("shape", [(30, 30), (24, 40)])
def test_the_plan_is_optimal_and_pots(shape):
    """log P + C/reg is a sum of a row and a column, so that every 2 × 2 minor of it vanishes; and POT agrees."""
    cost, reg = costs(*shape), 0.8
    plan = sinkhorn(cost, reg, tolerance=1e-12)
    potentials = plan.log() + cost / reg
    minors = potentials - potentials[:1] - potentials[:, :1] + potentials[:1, :1]
    assert float(minors.abs().max()) < 1e-9
    torch.testing.assert_close(
        plan.sum(1), torch.full((shape[0],), 1 / shape[0], dtype=torch.float64), rtol=1e-12, atol=0
    )
    theirs = torch.from_numpy(ot.sinkhorn([], [], cost.numpy(), reg, stopThr=1e-13, numItermax=20_000))
    torch.testing.assert_close(plan, theirs, rtol=0, atol=1e-10)


def test_small_regularisation_converges_without_underflow():
    """exp(−C/reg) is 0 in float64 for most pairs; the columns are uniform all the same."""
    cost = costs(12, 12)
    reg = float(cost.max()) / 4000
    assert float((-cost / reg).exp().median()) == 0
    plan = sinkhorn(cost, reg)
    assert torch.isfinite(plan).all()
    assert float((plan.sum(0) - 1 / 12).abs().sum()) <= 1e-3


def test_what_has_not_converged_says_so():
    with pytest.warns(
        RuntimeWarning, match=r"has not converged in 10 iterations: its columns are .* from uniform"
    ):
        sinkhorn(costs(40, 40), 0.01, tolerance=1e-9, iterations=10)
