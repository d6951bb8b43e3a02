"""Control paths: against torchcde and SciPy, and what each path promises."""

import pytest
import torch
import torchcde
from scipy.interpolate import CubicSpline

from integrand.errors import SpecError
from integrand.solvers import (
    hermite_control,
    linear_control,
    log_signature_control,
    natural_cubic_control,
    rectilinear_control,
)

F64 = torch.float64
NAN = float("nan")
THEIRS = {
    linear_control: (torchcde.linear_interpolation_coeffs, torchcde.LinearInterpolation),
    natural_cubic_control: (torchcde.natural_cubic_coeffs, torchcde.CubicSpline),
    hermite_control: (
        torchcde.hermite_cubic_coefficients_with_backward_differences,
        torchcde.CubicSpline,
    ),
}
every_path = pytest.mark.parametrize("make", list(THEIRS), ids=lambda f: f.__name__)


@pytest.fixture
def times():
    return torch.rand(9, dtype=F64, generator=torch.Generator().manual_seed(2)).add(0.2).cumsum(0)


@pytest.fixture
def series():
    return torch.randn(4, 9, 3, dtype=F64, generator=torch.Generator().manual_seed(3)).cumsum(1)


def with_gaps(x):
    """Gaps inside, at both ends, one channel seen once and one never."""
    x = x.clone()
    x[torch.rand(x.shape, generator=torch.Generator().manual_seed(4)) < 0.4] = NAN
    x[1, :3, 0] = NAN
    x[1, 6:, 0] = NAN
    x[2, :, 1] = NAN
    x[2, 4, 1] = 2.0
    x[3, :, 2] = NAN
    return x


def inside(t, number=40):
    return torch.linspace(float(t[0]), float(t[-1]), number + 2, dtype=F64)[1:-1]


@every_path
@pytest.mark.parametrize("missing", [False, True])
def test_paths_are_torchcdes(make, missing, series, times):
    x = with_gaps(series) if missing else series
    coefficients, cls = THEIRS[make]
    ours, theirs = make(x, times), cls(coefficients(x, times), times)
    at = inside(times)
    # both solve in float64; derivatives divide by gaps of down to 0.2
    torch.testing.assert_close(
        ours.evaluate(at), torch.stack([theirs.evaluate(t) for t in at]), atol=1e-12, rtol=1e-12
    )
    torch.testing.assert_close(
        ours.derivative(at), torch.stack([theirs.derivative(t) for t in at]), atol=1e-11, rtol=1e-11
    )


def test_natural_cubic_is_scipys(series, times):
    path = natural_cubic_control(series, times)
    theirs = CubicSpline(times.numpy(), series.numpy(), axis=1, bc_type="natural")
    at = inside(times)
    torch.testing.assert_close(
        path.evaluate(at).transpose(0, 1), torch.tensor(theirs(at.numpy())), atol=1e-12, rtol=0
    )


@every_path
def test_own_times_are_as_alone(make, series):
    """A batch of series with their own times and lengths, padded by their last row, against one by one."""
    generator = torch.Generator().manual_seed(5)
    times = torch.rand(4, 9, dtype=F64, generator=generator).add(0.2).cumsum(1)
    x = with_gaps(series)
    lengths = [9, 5, 7, 9]
    for b, n in enumerate(lengths):
        times[b, n:] = times[b, n - 1]
        x[b, n:] = x[b, n - 1]
    path = make(x, times)
    for b, n in enumerate(lengths):
        alone = make(x[b : b + 1, :n], times[b, :n])
        at = inside(times[b, :n])
        torch.testing.assert_close(
            path[b : b + 1].evaluate(at.unsqueeze(0)), alone.evaluate(at), atol=1e-12, rtol=1e-12
        )
        for slopes, ones in zip(path.slopes, alone.slopes, strict=True):
            torch.testing.assert_close(slopes[: n - 1, b], ones[:, 0], atol=1e-12, rtol=1e-12)
            assert (slopes[n - 1 :, b] == 0).all()


def test_smoothness_at_the_knots(series, times):
    """Linear paths are continuous, Hermite's once and natural splines twice differentiable."""

    def jumps(path):
        b, c2, d3 = path.slopes
        h = path.knots.diff().view(-1, 1, 1)
        value = path.starts[:-1] + b[:-1] + c2[:-1] / 2 + d3[:-1] / 3 - path.starts[1:]
        slope = (b + c2 + d3)[:-1] / h[:-1] - b[1:] / h[1:]
        bend = (c2 + 2 * d3)[:-1] / h[:-1] ** 2 - c2[1:] / h[1:] ** 2
        return [x.abs().max().item() for x in (value, slope, bend)]

    value, slope, bend = jumps(hermite_control(series, times))
    assert value < 1e-12
    assert slope < 1e-12
    assert bend > 0.1
    natural = natural_cubic_control(series, times)
    assert max(jumps(natural)) < 1e-11
    _, c2, d3 = natural.slopes
    assert c2[0].abs().max() < 1e-12
    assert (c2 + 2 * d3)[-1].abs().max() < 1e-11


def test_hermite_slopes_are_backward_differences(series, times):
    path = hermite_control(series, times)
    behind = (series.diff(dim=1) / times.diff().view(1, -1, 1)).transpose(0, 1)
    torch.testing.assert_close(path.derivative(times[1:-1]), behind[:-1], atol=1e-12, rtol=1e-12)


def test_rectilinear_is_torchcdes_and_causal(series, times):
    x = with_gaps(series)
    x[:, 0] = series[:, 0]
    x[..., 1] = times
    path = rectilinear_control(x, time_channel=1)
    knots = torchcde.linear_interpolation_coeffs(x, rectilinear=1)
    assert path.intervals == 2 * 9 - 2
    torch.testing.assert_close(
        torch.cat((path.starts, path.evaluate(path.knots[-1:]))), knots.transpose(0, 1)
    )
    # a change of observation 6 moves nothing up to the time at which it arrives, knot 2 · 6 - 1
    changed = x.clone()
    changed[:, 6:, [0, 2]] = 100.0
    other = rectilinear_control(changed, time_channel=1)
    assert torch.equal(path.starts[:12], other.starts[:12])
    assert not torch.equal(path.starts[12], other.starts[12])


@every_path
def test_gradients_reach_what_was_observed(make, series, times):
    """By finite differences, with missing values, whose gradient is zero and not NaN."""
    x = with_gaps(series)[:2].requires_grad_()
    at = inside(times, 3)
    path = make(x, times)
    weights = torch.linspace(-1, 1, 3 * 2 * 3, dtype=F64).view(3, 2, 3)
    (gradient,) = torch.autograd.grad((path.evaluate(at) * weights).sum(), x)
    assert (gradient[torch.isnan(x)] == 0).all()
    eps = 1e-6
    for place in [(0, 0, 0), (0, 4, 1), (1, 5, 2), (1, 3, 0)]:
        if torch.isnan(x[place]):
            continue
        values = []
        for sign in (1, -1):
            moved = x.detach().clone()
            moved[place] += sign * eps
            values.append((make(moved, times).evaluate(at) * weights).sum())
        # the paths are linear in x: only rounding, 1e-16 / 1e-6, remains
        assert (values[0] - values[1]) / (2 * eps) == pytest.approx(float(gradient[place]), abs=1e-8)


def test_float32_with_unix_times(series, times):
    """Times are float64 whatever the series: at 1.7e9 float32 has no digits left behind the comma."""
    near, far = linear_control(series.float(), times), linear_control(series.float(), times + 1.7e9)
    # 1.7e9 + t in float64 keeps t to 2e-7
    torch.testing.assert_close(
        far.evaluate(inside(times) + 1.7e9), near.evaluate(inside(times)), atol=2e-6, rtol=0
    )
    assert far.starts.dtype == torch.float32


def test_samples_and_moves(series, times):
    path = hermite_control(series, times)
    some = path[torch.tensor([2, 0])]
    assert torch.equal(some.evaluate(times), path.evaluate(times)[:, [2, 0]])
    half = path.map(lambda x: x.to(torch.float32))
    assert half.starts.dtype == torch.float32
    assert half.knots.dtype == F64


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x, t: linear_control(x[0], t), "batch, n, c"),
        (lambda x, t: linear_control(x.long(), t), "int64"),
        (lambda x, t: linear_control(x[:, :1], t[:1]), "two observation times"),
        (lambda x, t: linear_control(x * torch.inf, t), "infinite"),
        (lambda x, t: linear_control(x, t[:-1]), r"pass \(9,\) or \(4, 9\)"),
        (lambda x, t: linear_control(x, -t), "decrease"),
        (lambda x, t: linear_control(x, t * NAN), "not finite"),
        (lambda x, t: hermite_control(x, t.round()), "same time"),
        (lambda x, t: natural_cubic_control(x, t.round()), "same time"),
        (lambda x, t: linear_control(x, t).evaluate(t - 5), "outside its knots"),
        (lambda x, t: rectilinear_control(x, time_channel=3), "time_channel=3 of 3"),
        (
            lambda x, t: rectilinear_control(x.masked_fill(x > 0, NAN), time_channel=0),
            "time channel has missing",
        ),
        (
            lambda x, t: rectilinear_control(
                torch.cat((x[..., :1], torch.full_like(x[..., :1], NAN)), -1), time_channel=0
            ),
            "not causal",
        ),
        (lambda x, t: log_signature_control(x, 3, 4, t), "depth 1, 2 or 3"),
    ],
)
def test_refusals_say_what_is_wrong(make, words, series, times):
    with pytest.raises(SpecError, match=words):
        make(series, times)
