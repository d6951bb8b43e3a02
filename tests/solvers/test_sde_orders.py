"""Declared strong and weak orders of every stochastic method, on equations with curvature."""

import numpy as np
import pytest
import torch
from sde_cases import SDE_TYPES, case, discovered

from integrand.solvers import BrownianPath
from integrand.solvers.sde.solver import OneStepSDE

PATHS = 2000


KINDS = [
    pytest.param(method, noise_type, sde_type, id=f"{method.__name__}-{noise_type}-{sde_type}")
    for method in discovered(OneStepSDE)
    for noise_type in method.noise_types
    for sde_type in method.sde_types
]


def solve(method, sde, path, n):
    return method(num_steps=n).solve(sde, sde.start(PATHS), [0.0, 1.0], brownian=path).ys[-1]


@torch.no_grad()
@pytest.mark.parametrize(("method", "noise_type", "sde_type"), KINDS)
def test_strong_order(method, noise_type, sde_type):
    """Slope of the mean error at t = 1 over 8 to 64 steps of one path.

    2,000 paths scatter it by about 0.03, and the next term of the error bends it by 0.1; a method half an order
    too low is out. On the linear additive problem an order may be higher than in general. Without a closed
    form the reference is a solution with 512 steps, whose own error is 1/√8 of that with 64; paths that it
    tears apart at a saddle rule out the mean square.
    """
    sde = case(noise_type, sde_type)
    path = BrownianPath(11, [0.0, 1.0], sde.noise_shape(PATHS), torch.float64)
    exact = sde.end(path.increment(0.0, 1.0)[0]) if hasattr(sde, "end") else solve(method, sde, path, 512)
    numbers, errors = (8, 16, 32, 64), []
    for n in numbers:
        errors.append((solve(method, sde, path, n) - exact).abs().mean().item())
    slope = -np.polyfit(np.log(numbers), np.log(errors), 1)[0]
    order = method.strong_orders.get(noise_type, method.strong_order)
    assert slope > order - 0.17
    if noise_type != "additive":
        assert slope < order + 0.25


@torch.no_grad()
@pytest.mark.parametrize(
    ("method", "noise_type", "sde_type"),
    [
        kind
        for kind in KINDS
        if kind.values[0].strong_orders.get(kind.values[1], kind.values[0].strong_order) < 1
        and kind.values[1] != "general"
    ],
)
def test_weak_order(method, noise_type, sde_type):
    """The error of the mean has order 1 where the strong order is 1/2; it is no lower than the strong order.

    The exact end along the same path takes most of the sampling error away: 0.3 √h/√40,000 is left of 0.2 h.
    """
    sde = case(noise_type, sde_type)
    numbers, errors = (4, 8, 16), []
    path = BrownianPath(2, [0.0, 1.0], sde.noise_shape(40_000), torch.float64)
    exact = sde.end(path.increment(0.0, 1.0)[0])
    for n in numbers:
        end = method(num_steps=n).solve(sde, sde.start(40_000), [0.0, 1.0], brownian=path).ys[-1]
        errors.append((end - exact).mean(0).norm().item())
    slope = -np.polyfit(np.log(numbers), np.log(errors), 1)[0]
    assert slope == pytest.approx(method.weak_order, abs=0.25)


@torch.no_grad()
@pytest.mark.parametrize("sde_type", SDE_TYPES)
def test_general_noise_converges_to_the_right_meaning(sde_type):
    """Two unlike methods agree where they are fine; Itô's and Stratonovich's solutions differ by far more."""
    ends = {}
    for method in discovered(OneStepSDE):
        if "general" in method.noise_types and sde_type in method.sde_types:
            sde = case("general", sde_type)
            path = BrownianPath(3, [0.0, 1.0], sde.noise_shape(PATHS), torch.float64)
            ends[method.__name__] = solve(method, sde, path, 256)
    first = next(iter(ends.values()))
    for end in ends.values():
        # order 1/2: differences of about 0.2/√256
        assert (end - first).abs().mean() < 0.02
