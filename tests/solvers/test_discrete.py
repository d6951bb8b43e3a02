"""Residual networks as Euler's method, literally."""

import pytest
import torch
from torch import nn

from integrand.solvers import EulerScheme, SolverOptionError, TorchDiffEq, count


def test_tied_residual_network_is_the_euler_solve(tanh_net, state):
    for dtype in (torch.float64, torch.float32):
        net, x = tanh_net.to(dtype), state.to(dtype)
        blocks = EulerScheme(h=1.0, keep_all=True).solve([net] * 6, x)
        ode = TorchDiffEq("euler", num_steps=6).solve(net, x, [float(n) for n in range(7)])
        assert torch.equal(blocks.ys, ode.ys)
        assert torch.equal(blocks.ts, ode.ts)
        assert blocks.stats.nfe_forward == ode.stats.nfe_forward == 6


def test_halving_h_halves_the_error(linear):
    ones = torch.ones(1, 1, dtype=torch.float64)
    exact = torch.exp(linear.rate)
    errors = [
        (EulerScheme(h=1 / n).solve([linear] * n, ones).ys[-1] - exact).abs().item() for n in (32, 64, 128)
    ]
    # the leading error term is halved; the next one is 1/64 of it
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.05)
    assert errors[1] / errors[2] == pytest.approx(2, abs=0.05)


def test_accounts_and_outputs(fields, state):
    blocks = [fields["tanh"](seed=s) for s in range(4)]
    for keep_all, n_t in ((False, 2), (True, 5)):
        with count(*blocks) as seen:
            solution = EulerScheme(h=0.5, keep_all=keep_all).solve(blocks, state)
        assert seen.calls == solution.stats.nfe_forward == 4
        assert solution.ys.shape == (n_t, 5, 3)
        assert solution.ts.tolist() == ([0.0, 0.5, 1.0, 1.5, 2.0] if keep_all else [0.0, 2.0])
        solution.ys[-1].sum().backward()
        assert solution.stats.vjps == 4
        assert solution.stats.nfe_backward == 0


def test_blocks_see_their_time(state):
    class Clock(nn.Module):
        def forward(self, t, y):
            return t.expand_as(y)

    ys = EulerScheme(h=0.5).solve([Clock()] * 4, torch.zeros(2, 3)).ys
    assert torch.equal(ys[-1], torch.full((2, 3), 0.5 * (0 + 0.5 + 1.0 + 1.5)))


def test_no_blocks_and_no_step(state):
    assert torch.equal(EulerScheme().solve([], state).ys[-1], state)
    with pytest.raises(SolverOptionError, match="h=0"):
        EulerScheme(h=0.0)
