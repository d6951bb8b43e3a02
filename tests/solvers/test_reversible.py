"""Reversible methods: exact gradients without storage where they are stable, a refusal where they are not."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from integrand.solvers import Dopri8, EvaluationCounter, Reversible, SolverError, SolverOptionError
from integrand.solvers.accounts import CountedField
from integrand.solvers.reversible_schemes import SCHEMES
from integrand.solvers.solution import SolveStats

METHODS = ["mccallum-foster", "reversible-heun", "alf"]


@pytest.mark.parametrize(("method", "order"), [("mccallum-foster", 4), ("reversible-heun", 2), ("alf", 2)])
def test_convergence_slope(method, order, fields):
    field = fields["oscillator"](2.0)
    y0 = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    numbers = (32, 64, 128)
    with torch.no_grad():
        truth = Dopri8(num_steps=100).solve(field, y0, [0.0, 2.0]).ys[-1]
        solves = [Reversible(method, num_steps=n).solve(field, y0, [0.0, 2.0]) for n in numbers]
    errors = [(s.ys[-1] - truth).norm().item() for s in solves]
    assert -np.polyfit(np.log(numbers), np.log(errors), 1)[0] == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("times", [[0.0, 1.0], [1.0, 0.6, 0.0]])
def test_gradient_is_that_of_the_discrete_solve(method, times, tanh_net, state):
    """Against autograd through the same scheme, and the account against a count."""
    counter = EvaluationCounter(tanh_net)
    y0 = state.requires_grad_()
    solution = Reversible(method, num_steps=40).solve(counter, y0, times)
    assert solution.stats.nfe_forward == counter.reset()
    ours = torch.autograd.grad(solution.ys.square().sum(), (y0, *tanh_net.parameters()))
    rebuilt = 40 * {"mccallum-foster": 8, "reversible-heun": 1, "alf": 1}[method]
    assert solution.stats.nfe_backward == counter.reset()
    assert solution.stats.vjps == solution.stats.nfe_backward - rebuilt

    counted = CountedField(tanh_net, SolveStats())
    scheme = SCHEMES[method](counted, 0.99)
    nodes = torch.linspace(times[0], times[-1], 41, dtype=torch.float64)
    now, outputs = scheme.start(nodes[0], y0), [y0]
    for a, b in pairwise(nodes):
        now = scheme.step(a, b, (b - a).item(), now)
        if len(times) == 2 or min(abs(b - t) for t in times) < 1e-9:
            outputs.append(now[0])
    plain = torch.stack([outputs[0], *([outputs[-1]] if len(times) == 2 else outputs[1:])])
    theirs = torch.autograd.grad(plain.square().sum(), (y0, *tanh_net.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        # the states are rebuilt to rounding, times 1/λ per step
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_memory_does_not_grow_with_the_steps(method, tanh_net, state):
    kept = []
    for n in (10, 40):
        sizes = {}

        def pack(x, sizes=sizes):
            sizes[x.data_ptr()] = x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            ys = (
                Reversible(method, num_steps=n).solve(tanh_net, state.clone().requires_grad_(), [0.0, 1.0]).ys
            )
        assert ys.requires_grad
        kept.append(sum(sizes.values()))
    assert kept[0] == kept[1]


@pytest.mark.parametrize("method", METHODS)
def test_contracting_fields_are_refused(method, fields):
    """Decay by e^{-100} with hλ = 0.5: the second copy grows while the state shrinks."""
    one = torch.ones(2, 1, dtype=torch.float64)
    with pytest.raises(SolverError, match=r"unstable|could not rebuild|not finite"):
        Reversible(method, num_steps=200).solve(fields["linear"](-20.0), one, [0.0, 5.0]).ys.sum().backward()


def test_inapplicable_options_are_refused():
    with pytest.raises(SolverOptionError, match="did you mean alf"):
        Reversible("alff", num_steps=3)
    with pytest.raises(SolverOptionError, match="neither"):
        Reversible()
    with pytest.raises(SolverOptionError, match="coupling"):
        Reversible(num_steps=3, coupling=1.5)
