"""Noise in vector fields, held for a solve: every solver and gradient mode sees one equation."""

import math

import pytest
import torch
from torch import nn

from integrand.modules import HeavyBallNeuralODE, NeuralODE
from integrand.modules.continuous.ode import ODEDynamics
from integrand.modules.noise import ContinuumDropout, Dropout
from integrand.modules.noise.continuum_dropout import AlternatingRenewal
from integrand.solvers import RK4, Euler, TorchDiffEq
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class One(nn.Module):
    """f = 1."""

    def forward(self, t, y):
        return torch.ones_like(y)


class Smooth(nn.Module):
    """f = tanh(w y) with a weight for each pixel."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8, dtype=torch.float64))

    def forward(self, t, y):
        return torch.tanh(self.weight * y)


def dynamics_of(noise, solver, t1=1.0):
    dynamics = ODEDynamics(One(), solver, t1, 1)
    noise.attach(dynamics, "Net")
    return dynamics


def build(noise=None, family=NeuralODE, **kwargs):
    # a head that is the same function in training
    torch.manual_seed(0)
    return family(SPEC, channels=6, noise=noise, head="none", **kwargs).double()


def zeros(n):
    return torch.zeros(n, 1, 1, 1, dtype=torch.float64)


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
def test_dropout_holds_one_mask_for_the_whole_solve(method):
    p = 0.4
    fixed = {"num_steps": 7} if method == "rk4" else {}
    torch.manual_seed(0)
    out = dynamics_of(Dropout(p), TorchDiffEq(method=method, **fixed))(zeros(20_000)).ys[-1].flatten()
    # y(1) = b/q to round-off: a mask drawn anew would average to something in between
    kept = out > 0.5 / (1 - p)
    torch.testing.assert_close(out, kept.double() / (1 - p), rtol=1e-12, atol=1e-12)
    assert abs(kept.double().mean().item() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / len(out))


@pytest.mark.parametrize(
    ("make", "tolerance"),
    [
        # the same steps recomputed: rounding only
        (lambda mode: Euler(num_steps=8, gradient="checkpoint" if mode else "backprop"), 1e-12),
        # another discretisation of the same gradient: tolerance 1e-9 times a constant
        (lambda mode: TorchDiffEq(rtol=1e-9, atol=1e-9, gradient="adjoint" if mode else "backprop"), 1e-6),
    ],
    ids=["checkpoint", "adjoint"],
)
def test_a_backward_solve_meets_the_mask_of_its_own_forward_solve(make, tolerance):
    """Two forward passes before the backward one: each gradient belongs to its own draw."""
    gradients = []
    for mode in (0, 1):
        torch.manual_seed(0)
        dynamics = ODEDynamics(Smooth(), make(mode), 1.0, 1)
        Dropout(0.3).attach(dynamics, "Net")
        loss = dynamics(X).ys[-1].square().sum() + 3 * dynamics(-X).ys[-1].square().sum()
        loss.backward()
        gradients.append(dynamics.field.weight.grad)
    torch.testing.assert_close(*gradients, rtol=tolerance, atol=tolerance)


def test_evaluation_of_dropout_is_the_neural_ode_bit_for_bit():
    module, plain = build(Dropout(0.5)), build()
    assert not torch.equal(module.train()(X), plain(X))
    assert torch.equal(module.eval()(X), plain.eval()(X))
    assert list(module.state_dict()) == list(plain.state_dict())


def test_describes_the_solver_behind_the_noise():
    assert build(Dropout(0.5)).describe_solver() == build().describe_solver()


def test_paths_are_on_for_the_share_1_minus_p_at_every_time():
    p, renewals, length, n = 0.3, 4.0, 2.0, 40_000
    torch.manual_seed(0)
    rates = ContinuumDropout(p, renewals).rates(length)
    assert 1 / (1 / rates[0] + 1 / rates[1]) == pytest.approx(renewals / length)
    path = AlternatingRenewal.draw(zeros(n), *rates, 1.0, 1.0 + length)
    for t in (1.0, 1.3, 2.0, 3.0):
        share = path(torch.tensor(t, dtype=torch.float64)).mean().item()
        assert abs(share - (1 - p)) < 5 * math.sqrt(p * (1 - p) / n)


def test_on_and_off_times_are_exponential():
    """Memory: P(on at s + τ | on at s) = (1 − p) + p e^{−(λ₁+λ₂)τ}, which only exponential times give."""
    p, n, lag = 0.3, 40_000, 0.15
    torch.manual_seed(1)
    on_rate, off_rate = ContinuumDropout(p, 4.0).rates(2.0)
    path = AlternatingRenewal.draw(zeros(n), on_rate, off_rate, 0.0, 2.0)
    at = [path(torch.tensor(t, dtype=torch.float64)).flatten() for t in (1.0, 1.0 + lag)]
    decay = math.exp(-(on_rate + off_rate) * lag)
    for first, stays in ((1.0, 1 - p + p * decay), (0.0, p + (1 - p) * decay)):
        chosen = at[1][at[0] == first]
        share = (chosen == first).double().mean().item()
        assert abs(share - stays) < 5 * math.sqrt(stays * (1 - stays) / len(chosen))


def test_the_expected_number_of_renewals_is_what_was_asked_for():
    renewals, n = 6.0, 20_000
    torch.manual_seed(2)
    path = AlternatingRenewal.draw(zeros(n), *ContinuumDropout(0.4, renewals).rates(3.0), 0.0, 3.0)
    switches = ((path.switches > 0) & (path.switches <= 3.0)).sum(0).double()
    # two switches a cycle; stationary, so that the mean is exact; its error is estimated from the sample
    assert abs(switches.mean().item() - 2 * renewals) < 5 * switches.std().item() / math.sqrt(n)


def test_the_state_stands_still_while_off_and_moves_by_f_while_on():
    steps = 40
    torch.manual_seed(3)
    dynamics = dynamics_of(ContinuumDropout(0.4, 3.0), Euler(num_steps=steps))
    moves = dynamics(zeros(500), steps + 1).ys.diff(dim=0)
    still = moves == 0
    # 1/40 summed up to 1: a few roundings
    torch.testing.assert_close(
        moves[~still], torch.full_like(moves[~still], 1 / steps), rtol=1e-12, atol=1e-15
    )
    changes = (still[1:] != still[:-1]).sum(0)
    assert 0 < still.double().mean() < 1
    assert changes.max() > 2


def test_without_off_times_it_is_the_neural_ode():
    plain = build().train()(X)
    assert torch.equal(build(ContinuumDropout(0.0)).train()(X), plain)
    # λ₁ → 0 at λ₂ = 2: p = λ₁/(λ₁ + λ₂), m = T/(1/λ₁ + 1/λ₂); no path of 1536 switches off, and I = 1 exactly
    rate = 1e-9
    rare = ContinuumDropout(rate / (rate + 2), 1 / (1 / rate + 1 / 2))
    assert torch.equal(build(rare).train()(X), plain)


def test_evaluation_of_continuum_dropout_runs_at_the_mean_speed():
    """ẏ = (1 − p) f(y) on [0, 1] is ẏ = f(y) on [0, 1 − p]."""
    steps, p = RK4(num_steps=5), 0.25
    module = build(ContinuumDropout(p), solver=steps, time_dependent=False)
    slow = build(solver=steps, time_dependent=False, t1=1 - p)
    # the same arithmetic with the factor in another place: rounding only
    torch.testing.assert_close(module.eval()(X), slow.eval()(X), rtol=1e-11, atol=1e-11)
    assert torch.equal(module(X), module(X))


def test_evaluation_by_samples_averages_noisy_passes(accounts):
    module = build(ContinuumDropout(0.4, samples=3), solver=Euler(num_steps=10)).eval()
    torch.manual_seed(4)
    averaged = module(X)
    assert len(accounts(module)) == 3
    module.noise.samples = 1
    torch.manual_seed(4)
    singles = [module(X) for _ in range(3)]
    assert not torch.equal(singles[0], singles[1])
    torch.testing.assert_close(averaged, sum(singles) / 3, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("noise", [Dropout(0.3), ContinuumDropout(0.3)], ids=["dropout", "continuum"])
def test_momentum_families_take_noise_and_count_exactly(noise, accounts):
    module = build(noise, HeavyBallNeuralODE, solver=Euler(num_steps=6))
    field = module.net.dynamics.field
    calls = []
    field.register_forward_pre_hook(lambda *_: calls.append(1))
    module(X).sum().backward()
    assert accounts(module)[-1].nfe_forward == len(calls) == 6
    assert all(p.grad is not None for p in module.parameters())
