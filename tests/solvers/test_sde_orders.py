"""Strong orders on diffusions with curvature, along paths on which the solution is known."""

import numpy as np
import pytest
import torch

from integrand.solvers import SRK, BrownianPath, EulerMaruyama, Milstein, StratonovichHeun

PATHS = 2000


class Image:
    """y = u(x), x = W + a t + c: dy = a u′ dt + u′ ∘ dW, u′ as a function of y; exact along every path.

    Its diffusion has curvature, unlike that of geometric Brownian motion, on which wrong second
    derivatives of g do not show. Itô's drift has g g′ / 2 more.
    """

    noise_type = "diagonal"
    a = 0.4

    def __init__(self, name, sde_type):
        self.name, self.sde_type = name, sde_type
        # u, its derivative as a function of y, and the derivative of that
        self.u, self.slope, self.curve, self.c = {
            "sinh": (torch.sinh, lambda y: (1 + y * y).sqrt(), lambda y: y / (1 + y * y).sqrt(), 0.3),
            "gudermann": (lambda x: 2 * x.exp().atan(), torch.sin, torch.cos, -0.6),
        }[name]

    def f(self, t, y):
        drift = self.a * self.slope(y)
        return drift + self.slope(y) * self.curve(y) / 2 if self.sde_type == "ito" else drift

    def g(self, t, y):
        return self.slope(y)

    def start(self):
        return self.u(torch.full((PATHS, 1), self.c, dtype=torch.float64))

    def end(self, w):
        return self.u(w + self.a + self.c)


@pytest.mark.parametrize("name", ["sinh", "gudermann"])
@pytest.mark.parametrize(
    ("method", "sde_type", "order"),
    [
        (EulerMaruyama, "ito", 0.5),
        (Milstein, "ito", 1.0),
        (Milstein, "stratonovich", 1.0),
        (StratonovichHeun, "stratonovich", 1.0),
        (SRK, "ito", 1.5),
    ],
)
def test_strong_order_with_curvature(method, sde_type, order, name):
    """Slope of the root mean square error at t = 1 over 16 to 128 steps.

    2,000 paths scatter it by about 0.03; the slope of a method one half order too low is 0.4 away or more.
    """
    sde = Image(name, sde_type)
    path = BrownianPath(11, [0.0, 1.0], (PATHS, 1), torch.float64)
    exact = sde.end(path.increment(0.0, 1.0)[0])
    numbers, errors = (16, 32, 64, 128), []
    for n in numbers:
        end = method(num_steps=n).solve(sde, sde.start(), [0.0, 1.0], brownian=path).ys[-1]
        errors.append((end - exact).square().mean().sqrt().item())
    slope = -np.polyfit(np.log(numbers), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15)
    assert method.strong_order == order
