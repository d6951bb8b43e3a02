"""Neural jump ODE: what its field is told, its loss, and conditional expectations of known processes."""

import math

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules.series.neural_jump_ode import JumpField, NeuralJumpODE
from integrand.series import Series
from integrand.solvers import RK4
from integrand.spec import Forecast

F64 = torch.float64


def build(spec, **kwargs):
    torch.manual_seed(0)
    return NeuralJumpODE(spec, **kwargs).double()


def test_what_was_last_observed_stands_still_and_the_time_since_runs():
    torch.manual_seed(0)
    field = JumpField(4, 2, 8).double()
    y = torch.randn(3, 7, dtype=F64)
    found = field(torch.tensor(0.0), y)
    assert torch.equal(found[:, 4:6], torch.zeros(3, 2, dtype=F64))
    assert torch.equal(found[:, 6], torch.ones(3, dtype=F64))
    expected = field.f(torch.tensor(0.0), torch.cat((torch.tanh(y[:, :6]), y[:, 6:]), 1))
    assert torch.equal(found[:, :4], expected)


class Elapsed(nn.Module):
    """ḣ = t − τ, and what the other parts do."""

    def forward(self, t, y):
        return torch.cat(
            (y[:, -1:].expand(-1, 4), torch.zeros_like(y[:, 4:-1]), torch.ones_like(y[:, -1:])), 1
        )


def test_the_time_since_begins_anew_at_each_observation(series, series_spec):
    module = build(series_spec(), channels=4, unit=2.0)
    module.field = Elapsed()
    x = series((9,), missing=0.5)
    x.mask[:, 4] = False
    x.mask[:, 3], x.mask[:, 5] = True, True
    before, after, _ = module.filter(x)
    gap = float(x.times[0, 5] - x.times[0, 3]) / 2.0  # nothing is observed in between
    # RK4 is exact for ∫ (t − τ) dt
    torch.testing.assert_close(before[0, 5] - after[0, 3], torch.full((4,), gap**2 / 2, dtype=F64))


def test_the_loss_is_that_of_the_reference(series, series_spec):
    module = build(series_spec(Forecast(9, 4)))
    x = series()
    before, after, _ = module.filter(x)
    total, count = 0.0, 0
    for b, n in enumerate(x.lengths.tolist()):
        for i in range(n):
            known = x.mask[b, i]
            said, expected = module.observe(after[b, i])[known], module.observe(before[b, i])[known]
            off = (x.values[b, i][known] - said).norm()
            jump = (said - expected).norm() if i else 0.0
            total, count = total + (off + jump) ** 2, count + int(known.sum())
    torch.testing.assert_close(module.jump_loss(before, after, x), total / count)


def test_the_loss_has_a_gradient_where_it_is_0(series_spec):
    """Prediction and truth equal: ‖·‖ alone has none."""
    module = build(series_spec(Forecast(9, 4)), channels=4)
    h = torch.zeros(1, 2, 4, dtype=F64, requires_grad=True)
    said = module.observe(h.detach())
    zeros = torch.zeros(1, 2, dtype=F64)
    x = Series(zeros, said.detach(), torch.ones(1, 2, 3, dtype=torch.bool), torch.tensor([2]), zeros[:, :0])
    loss = module.jump_loss(h, h, x)
    loss.backward()
    assert loss.item() == 0.0
    assert h.grad.isfinite().all()


@pytest.mark.parametrize("recurrent", [True, False])
def test_without_recurrence_only_the_last_observation_counts(recurrent, series, series_spec):
    module = build(series_spec(), recurrent=recurrent)
    x = series((9, 9), missing=0.0)
    changed = Series(x.times, x.values.clone(), x.mask, x.lengths, x.static)
    changed.values[:, :-1] += 1.0
    assert torch.equal(module.read(x)[0], module.read(changed)[0]) == (not recurrent)


def test_what_is_missing_is_what_was_expected(series_spec):
    """A channel that was not observed is told as its forecast, and its mask says so."""
    module = build(series_spec(), channels=4)
    times = torch.tensor([[0.0, 1.0]], dtype=F64)
    mask = torch.tensor([[[True, True, True], [True, False, True]]])
    values = torch.randn(1, 2, 3, dtype=F64) * mask
    x = Series(times, values, mask, torch.tensor([2]), torch.zeros(1, 0, dtype=F64))
    before, after, _ = module.filter(x)
    known = torch.where(mask[:, 1], values[:, 1], module.observe(before[:, 1]))
    expected = module.encode(torch.cat((known, mask[:, 1].double(), torch.tanh(before[:, 1])), 1))
    torch.testing.assert_close(after[:, 1], expected)


class Reverting(nn.Module):
    """The field whose state is [X_τ e^{−k (t − τ)}; …]: ẏ₀ = −k y₀."""

    def forward(self, t, y):
        return torch.cat((-0.8 * y[:, :1], torch.zeros_like(y[:, 1:-1]), torch.ones_like(y[:, -1:])), 1)


class Known(nn.Module):
    """h = [X, 0] from [X, mask], and Y = h₀."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = scale

    def forward(self, h):
        return self.scale * h[..., :1]


def test_the_conditional_expectation_has_the_least_loss(series_spec):
    """Ornstein–Uhlenbeck paths: with E[X_t | X_τ] = X_τ e^{−k (t − τ)} the loss is the conditional variance.

    Mean of σ²(1 − e^{−2kΔ})/2k over gaps; every other forecast adds its squared distance.
    """
    g = torch.Generator().manual_seed(0)
    paths, n, k, gap = 4000, 6, 0.8, 0.5
    decay, spread = math.exp(-k * gap), math.sqrt((1 - math.exp(-2 * k * gap)) / (2 * k))
    values = [torch.randn(paths, 1, generator=g, dtype=F64) / math.sqrt(2 * k)]
    for _ in range(n - 1):
        values.append(decay * values[-1] + spread * torch.randn(paths, 1, generator=g, dtype=F64))
    times = gap * torch.arange(n, dtype=F64).expand(paths, -1)
    mask = torch.ones(paths, n, 1, dtype=torch.bool)
    x = Series(times, torch.stack(values, 1), mask, torch.full((paths,), n), torch.zeros(paths, 0, dtype=F64))
    module = build(series_spec(channels=1), channels=1, recurrent=False, unit=1.0, solver=RK4(num_steps=4))
    module.field, module.encode = Reverting(), Known()

    def loss(observe):
        module.observe = observe
        before, after, _ = module.filter(x)
        return module.jump_loss(before, after, x).item()

    least = loss(Known())
    # the first observation adds nothing: Y = X there; standard error of 20,000 squares is 1 %
    assert least == pytest.approx((n - 1) / n * spread**2, rel=0.04)
    assert loss(Known(0.9)) > least
    assert loss(Known(1.1)) > least
    module.field = Elapsing()
    assert loss(Known()) > least


class Elapsing(nn.Module):
    """The state stands still."""

    def forward(self, t, y):
        return torch.cat((torch.zeros_like(y[:, :-1]), torch.ones_like(y[:, -1:])), 1)


def test_a_weight_that_is_not_positive_is_refused(series_spec):
    with pytest.raises(UsageError, match="give a positive weight"):
        build(series_spec(), jump_weight=0.0)
