"""Step-size control: the law it states, and what the law does in a loop."""

import math

import pytest

from integrand.solvers.runge_kutta.control import GROW, SAFETY, SHRINK, PIController


@pytest.mark.parametrize("order", [1, 2, 4, 7])
def test_the_law_of_accepted_steps(order):
    """Hairer, Wanner (1996), eq. IV.2.43c: factor = s e^{-α} e'^β, α = 1/k - 3β/4, here with β = 1/(10k)."""
    k = order + 1
    controller, before = PIController(order), 1.0
    for error in (0.5, 0.9, 0.2, 0.2):
        factor = SAFETY * error ** -(0.925 / k) * before ** (0.1 / k)
        assert controller.accepted(error) == pytest.approx(factor, rel=1e-12)
        before = error


@pytest.mark.parametrize("order", [1, 2, 4, 7])
def test_the_loop_settles_at_its_own_rate(order):
    """With errors φ h^k the logarithm of h obeys a linear recursion.

    Its steady error is s^{k/(1 - 7/40)}, its deviation decays as the roots of z² - 3z/40 - 1/10.
    """
    k = order + 1
    controller, h, errors = PIController(order), 1.0, []
    for _ in range(40):
        errors.append(0.5 * h**k)
        h *= controller.accepted(errors[-1])
    steady = SAFETY ** (k / (1 - 7 / 40))
    assert errors[-1] == pytest.approx(steady, rel=1e-12)
    off = [math.log(e / steady) for e in errors[3:12]]
    for now, next_, after in zip(off, off[1:], off[2:], strict=False):
        assert after == pytest.approx(3 / 40 * next_ + now / 10, rel=1e-6, abs=1e-13)


def test_bounds_and_rejections():
    controller = PIController(4)
    assert controller.accepted(0.0) == GROW
    assert controller.rejected(math.inf) == controller.rejected(math.nan) == SHRINK
    assert controller.rejected(2.0) == pytest.approx(SAFETY * 2 ** -(0.925 / 5))
    # no growth right after a rejection, then again
    assert controller.accepted(1e-8) == 1.0
    assert controller.accepted(1e-8) > 1.0
