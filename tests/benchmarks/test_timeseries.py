"""The series benchmark: both sides are the same model, and what is measured is found by being there."""

import argparse
import importlib

import pytest
import torch

from integrand.benchmarks import timeseries
from integrand.benchmarks.timeseries import latent_ode, latent_sde, length, neural_cde
from integrand.benchmarks.timeseries.latent_ode_pattern import as_cell, pattern_loss
from integrand.errors import IntegrandError, UsageError
from integrand.solvers import Dopri5


def test_every_comparison_measures():
    assert {"latent_ode", "latent_sde", "length", "neural_cde"} <= set(timeseries.comparisons())
    for name in timeseries.comparisons():
        assert callable(importlib.import_module(f"integrand.benchmarks.timeseries.{name}").rows)


@pytest.mark.parametrize("grid", [0, 12])
def test_the_pattern_has_the_loss_and_the_gradient_of_the_family(grid, monkeypatch):
    """To the tolerance of both solves."""
    monkeypatch.setattr(latent_ode, "TOLERANCES", (1e-6, 1e-6))
    x = latent_ode.spirals(5, 8, grid, seed=0)
    ours, theirs = (latent_ode._Side(x, 0, solver) for solver in (Dopri5(1e-6, 1e-6), None))
    for a, b in zip(ours.module.parameters(), theirs.module.parameters(), strict=True):
        assert torch.equal(a, b)
    losses = []
    for side in (ours, theirs):
        torch.manual_seed(1)
        loss = side._loss()
        loss.backward()
        losses.append(loss)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-4)
    for (name, a), b in zip(ours.module.named_parameters(), theirs.module.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-2, atol=1e-2, msg=name)
    assert pattern_loss(theirs.module, as_cell(theirs.module.encoder.recurrence), x, (1e-6, 1e-6)).isfinite()


def test_networks_that_learn_differently_are_not_timed(monkeypatch):
    x = latent_ode.spirals(4, 6, 0, seed=0)
    latent_ode._require_equal_curves(x, 0, 2)
    monkeypatch.setattr(latent_ode, "pattern_loss", lambda *args: 1.1 * pattern_loss(*args))
    with pytest.raises(IntegrandError, match="the losses differ at step 0"):
        latent_ode._require_equal_curves(x, 0, 2)


def test_times_are_of_each_series_or_of_a_grid():
    own, common = (latent_ode.spirals(6, 10, grid, seed=0) for grid in (0, 20))
    assert len(own.times.unique()) == 60
    assert len(common.times.unique()) <= 20
    for x in (own, common):
        assert (x.times.diff(dim=1) > 0).all()


def test_a_row_for_every_length_but_the_shortest(monkeypatch):
    monkeypatch.setattr(length, "LENGTHS", (4, 8))
    rows = length.rows(1.0, 0, quick=False)
    assert rows[0].nfe == 8  # one step in each gap, and one to what is asked for
    assert all(row.ratio > 0 and row.reference == "length 4" for row in rows)


def test_an_unknown_comparison_is_refused():
    options = argparse.Namespace(only=["lstm"], quick=True, seconds=1.0, seed=0, json=None)
    with pytest.raises(UsageError, match=r"no comparison lstm.*choose from .*latent_ode"):
        timeseries.run(options)


def test_torchsde_has_the_loss_and_the_gradient_of_the_family_along_one_path():
    x = latent_sde.circles(3, seed=0)
    gradients, losses = [], []
    for pattern in (False, True):
        side = latent_sde._Side(x, 0, pattern, same=True)
        torch.manual_seed(1)
        losses.append(side.train())
        gradients.append(torch.cat([p.grad.flatten() for p in side.module.parameters() if p.requires_grad]))
    # float32, 98 steps
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-2, atol=1e-3 * float(gradients[1].norm()))


def test_torchcde_has_the_curve_of_the_family_and_another_one_is_refused():
    x, y = neural_cde.walks(3, 12, seed=0)
    sides = {
        "ours": neural_cde._Side(neural_cde._network(0, 12), x, y),
        "torchcde, backprop": neural_cde._TorchCDE(neural_cde._network(0, 12), x, y, adjoint=False),
    }
    neural_cde._require_equal_curves(sides)
    sides["ours"] = neural_cde._Side(neural_cde._network(1, 12), x, y)
    with pytest.raises(IntegrandError, match="the losses differ at step 0"):
        neural_cde._require_equal_curves(sides)
