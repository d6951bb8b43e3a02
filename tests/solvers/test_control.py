"""Step-size control: the law it states, and what the law does in a loop."""

import math

import pytest
import torch
from torch import nn

from integrand.solvers import Dopri5
from integrand.solvers.step_size import (
    GROW,
    INTEGRAL,
    REACH,
    SAFETY,
    SHRINK,
    PIDController,
    approach,
)


@pytest.mark.parametrize("order", [1, 2, 4, 7])
def test_the_law_of_accepted_steps(order):
    """Integral control, Hairer, Nørsett, Wanner (1993), eq. II.4.13: factor = s e^{-1/k}, whatever was before."""
    k = order + 1
    controller = PIDController(order)
    for error in (0.5, 0.9, 0.2, 0.2):
        assert controller.accepted(error) == pytest.approx(SAFETY * error ** -(1 / k), rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 4, 7])
@pytest.mark.parametrize("pid", [INTEGRAL, (0.1, 0.825, 0.0), (0.2, 0.7, 0.0)])
def test_the_loop_settles_at_its_own_rate(order, pid):
    """With errors φ h^k the logarithm of h obeys a linear recursion.

    Its steady error is s^{k/I}, its deviation decays as the roots of z² - (1-P-I) z - P.
    """
    k, (p, i, _) = order + 1, pid
    controller, h, errors = PIDController(order, pid), 1.0, []
    for _ in range(60):
        errors.append(0.5 * h**k)
        h *= controller.accepted(errors[-1])
    steady = SAFETY ** (k / i)
    assert errors[-1] == pytest.approx(steady, rel=1e-12)
    off = [math.log(e / steady) for e in errors[3:12]]
    for now, next_, after in zip(off, off[1:], off[2:], strict=False):
        assert after == pytest.approx((1 - p - i) * next_ + p * now, rel=1e-6, abs=1e-13)


def test_bounds_and_rejections():
    controller = PIDController(4)
    assert controller.accepted(0.0) == GROW
    assert controller.rejected(math.inf) == controller.rejected(math.nan) == SHRINK
    assert controller.rejected(2.0) == pytest.approx(SAFETY * 2 ** -(1 / 5))
    # no growth right after a rejection, then again
    assert controller.accepted(1e-8) == 1.0
    assert controller.accepted(1e-8) > 1.0


@pytest.mark.parametrize("left", [0.3, 0.99, 1.0, 1.005, 1.02, 1.7, 2.01, 2.5, 7.3])
def test_the_last_steps_are_equal_and_no_more_of_them(left):
    """Steps up to 1 reach a stop in as few as they can; the last two share what a long one would not fill."""
    lengths, rest = [], left
    while rest > 0:
        lengths.append(approach(rest, 1.0))
        rest -= lengths[-1]
    assert max(lengths) <= REACH
    assert len(lengths) <= math.ceil(left)
    if left > REACH:
        assert lengths[-1] == pytest.approx(lengths[-2], rel=0.01)


class Recorded(nn.Module):
    """ẏ = 0 that keeps the times it was asked at."""

    def __init__(self):
        super().__init__()
        self.times = []

    def forward(self, t, y):
        self.times.append(round(float(t), 12))
        return torch.zeros_like(y)


@pytest.mark.parametrize("per_sample", [False, True])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (1.0, 0.0)])
def test_a_solve_ends_on_equal_steps(per_sample, start, end):
    field = Recorded()
    y0 = torch.ones(1, 1, dtype=torch.float64)
    Dopri5(first_step=0.4, max_step=0.4, per_sample=per_sample).solve(field, y0, [start, end])
    ends = [abs(start - t) for t in (0.4, 0.7, 1.0)]
    # an end is asked at by the last two stages of Dopri5's step
    assert [field.times.count(round(e, 12)) for e in ends] == [2, 2, 2]
