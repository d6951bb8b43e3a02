"""A field or residual function of one's own inside the families."""

from functools import partial

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules import HamiltonianNet, MomentumResNet, NeuralODE, ResNet, SecondOrderNeuralODE
from integrand.solvers import RK4
from integrand.spec import Classes, ImageSpec, VectorSpec

SPEC = VectorSpec("made-up", Classes(3), 4)


class Decay(nn.Module):
    """ẏ = −λy."""

    def __init__(self, rate: float = 1.0):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(rate))

    def forward(self, t, y):
        return -self.rate * y


class Mixed(nn.Module):
    def __init__(self, channels, out_channels, time_dependent=None, width=2):
        super().__init__()
        self.known = (channels, out_channels, time_dependent, width)
        self.linear = nn.Linear(channels, out_channels)

    def forward(self, t, y):
        return self.linear(y)


class Inherits(Mixed):
    def __init__(self, width=3, **kwargs):
        super().__init__(width=width, **kwargs)


def test_the_equation_is_that_of_the_field():
    model = NeuralODE(SPEC, channels=2, field=partial(Decay, rate=0.5), solver=RK4(num_steps=64)).double()
    ts, states = model.trajectory(torch.ones(1, 4, dtype=torch.float64), 3)
    exact = states[0] * torch.exp(-0.5 * ts.to(states))[:, None, None]
    # (λh)⁴/120 of 64 steps of length 1/64 is below 1e-10
    torch.testing.assert_close(states, exact, rtol=1e-9, atol=0)


def test_a_discrete_net_has_one_for_each_block():
    model = ResNet(SPEC, channels=2, blocks=3, h=0.5, field=Decay)
    x = torch.ones(2, 4)
    _, states = model.trajectory(x, 4)
    torch.testing.assert_close(states[-1], states[0] * 0.5**3)
    assert len({id(p) for p in model.net.dynamics.parameters()}) == 3


@pytest.mark.parametrize("make", [Mixed, Inherits, partial(Inherits, width=5)])
def test_the_constructor_is_told_the_sizes(make):
    model = SecondOrderNeuralODE(SPEC, channels=6, field=make)
    (field,) = [m for m in model.modules() if isinstance(m, Mixed)]
    assert field.known[:2] == (12, 6)
    assert field.known[2] in (True, False)
    assert model(torch.zeros(2, 4)).shape == (2, 3)


def test_what_is_bound_already_stays():
    model = ResNet(SPEC, channels=6, blocks=1, field=partial(Mixed, out_channels=6, time_dependent=7))
    (field,) = [m for m in model.modules() if isinstance(m, Mixed)]
    assert field.known == (6, 6, 7, 2)


def test_equal_seeds_give_the_same_stem():
    stems = []
    for options in ({}, {"field": Decay}):
        torch.manual_seed(3)
        stems.append(NeuralODE(SPEC, channels=6, **options).net.stem.weight)
    assert torch.equal(*stems)


class Short(nn.Module):
    def forward(self, t, y):
        return y[:, :1]


class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(7, 7)

    def forward(self, t, y):
        return self.linear(y)


class Nothing(nn.Module):
    def forward(self, t, y):
        return None


class OnlyState(nn.Module):
    def forward(self, y):
        return y


@pytest.mark.parametrize("family", [NeuralODE, ResNet, MomentumResNet])
@pytest.mark.parametrize(
    ("field", "said"),
    [
        (Short, "Short returned shape (2, 1) for a state of shape (2, 6)"),
        (Wide, "Wide cannot be evaluated at a state of shape (2, 6)"),
        (Nothing, "Nothing returned NoneType"),
        (OnlyState, "OnlyState cannot be evaluated"),
    ],
)
def test_what_does_not_fit_is_told(family, field, said):
    with pytest.raises(UsageError) as refused:
        # one with a reversible scheme evaluates its fields while it is built
        family(SPEC, channels=6, field=field)(torch.zeros(2, 4))
    assert said in str(refused.value)
    assert "→ forward(t, y)" in str(refused.value)


def test_families_and_fields_that_do_not_go_together():
    with pytest.raises(UsageError, match="HamiltonianNet has layers of its own"):
        HamiltonianNet(ImageSpec("made-up", Classes(3), (1, 8, 8)), channels=4, field=Decay)
    with pytest.raises(UsageError, match="from 12 to 6 channels"):
        SecondOrderNeuralODE(SPEC, channels=6, field=Decay)
    with pytest.raises(UsageError, match="field is a Decay"):
        NeuralODE(SPEC, field=Decay())
    with pytest.raises(UsageError, match="makes a Tensor"):
        NeuralODE(SPEC, field=lambda channels: torch.zeros(channels))
    lone = NeuralODE(SPEC, field=Decay)
    lone.requires_grad_(False)
    with pytest.raises(UsageError, match="no weights to train"):
        lone.configure_optimizers()
