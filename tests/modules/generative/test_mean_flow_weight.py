"""What the weight of MeanFlow's loss does to its minimiser where errors are far from Gaussian."""

import math

import pytest
import torch

from integrand.modules.generative.backbones import TimeNet
from integrand.modules.generative.mean_flow import MeanFlow
from integrand.spec import Density, ImageSpec, VectorSpec

LINE = VectorSpec("made-up", Density(), 1)
POINTS, WEIGHTS = (-1.0, 1.0), (0.2, 0.8)


class TwoPoints(TimeNet):
    """E[x₁ − x₀ | x_t] of straight lines to two points of unequal weight, and a constant to be learnt."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, t, x, y=None, h=None):
        t = t.reshape(-1, 1)
        logits = [
            math.log(w) - (x - t * p).square() / (2 * (1 - t) ** 2)
            for p, w in zip(POINTS, WEIGHTS, strict=True)
        ]
        mean = torch.tanh((logits[1] - logits[0]) / 2)  # of the points −1 and 1
        return (mean - x) / (1 - t) + self.shift


def pull(power):
    """The gradient of the constant at the true velocity, and its standard error without a weight."""
    module = MeanFlow(LINE, ema=None, share=0.0, power=power).double().train()
    module.net = TwoPoints()
    n = 100_000
    generator = torch.Generator().manual_seed(0)
    x1 = torch.where(torch.rand(n, 1, generator=generator, dtype=torch.float64) < WEIGHTS[1], 1.0, -1.0)
    torch.manual_seed(1)
    loss = module.objective(x1.double(), None, "train").terms["loss"]
    loss.backward()
    return float(module.net.shift.grad), 2 * math.sqrt(float(loss.detach()) / n)


def test_the_mean_velocity_is_the_minimiser_without_a_weight():
    """So by default for points; with p = 0.75 most of the weight lies on the errors of the likelier point."""
    gradient, error = pull(None)
    assert abs(gradient) < 5 * error
    weighted, _ = pull(0.75)
    assert weighted < -20 * error


def test_the_default_is_that_of_the_paper_for_images_alone():
    assert MeanFlow(LINE).power == 0.0
    assert MeanFlow(ImageSpec("images", Density(), (1, 4, 4))).power == 0.75
    assert MeanFlow(LINE, power=1.0).power == pytest.approx(1.0)
