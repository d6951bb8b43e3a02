"""The identities that define the families, in float64."""

import itertools
import math

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules import AugmentedNeuralODE, HeavyBallNeuralODE, NeuralODE, NoBlock, ResNet
from integrand.modules.bench.image.shared import halvings
from integrand.modules.continuous.heavy_ball_neural_ode import HeavyBallField
from integrand.modules.continuous.ode import Augment
from integrand.solvers import Dopri5, TorchDiffEq
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def build(family, **kwargs):
    torch.manual_seed(0)
    return family(SPEC, channels=6, **kwargs).double()


def test_neural_ode_by_euler_is_the_tied_resnet(accounts):
    blocks = 5
    euler = TorchDiffEq(method="euler", step_size=1.0)
    ode = build(NeuralODE, solver=euler, t1=float(blocks), time_dependent=False)
    net = build(ResNet, blocks=blocks, tied=True)
    net.load_state_dict(
        {k.replace("dynamics.field", "dynamics.fields.0"): v for k, v in ode.state_dict().items()}
    )
    # the same sum in the same order; 1e-12 allows for round-off of h·f with h = 1 stored in float64
    torch.testing.assert_close(ode(X), net(X), rtol=1e-12, atol=1e-12)
    assert accounts(ode)[0].nfe_forward == accounts(net)[0].nfe_forward == blocks


def test_halving_h_of_the_tied_resnet_shows_order_one():
    """N blocks of step 1/N converge to the ODE at rate h: the error slope is 1."""
    exact_solver = TorchDiffEq(method="dopri5", rtol=1e-10, atol=1e-10)
    ode = build(NeuralODE, solver=exact_solver, time_dependent=False)
    exact = ode.net.dynamics(ode.net.stem(X)).ys[-1]
    errors = []
    for blocks in (16, 32, 64):
        net = build(ResNet, blocks=blocks, h=1 / blocks, tied=True)
        weights = {k.replace("dynamics.field", "dynamics.fields.0"): v for k, v in ode.state_dict().items()}
        net.load_state_dict(weights)
        errors.append((net.net.dynamics(net.net.stem(X)).ys[-1] - exact).norm().item())
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    # ReLU fields are only piecewise smooth, so the slope scatters around 1 by more than the usual 0.1
    assert slopes == pytest.approx([1, 1], abs=0.2)


def test_no_augmentation_is_the_neural_ode():
    plain, augmented = build(NeuralODE), build(AugmentedNeuralODE, augment=0)
    assert torch.equal(plain(X), augmented(X))


def test_augmented_channels_start_at_zero_and_leave_it():
    module = build(AugmentedNeuralODE, augment=3)
    _, ys = module.trajectory(X)
    assert torch.equal(ys[0][:, 6:], torch.zeros(4, 3, 8, 8, dtype=torch.float64))
    assert ys[-1][:, 6:].abs().max() > 1e-3


def test_no_block_is_stem_and_head(accounts):
    module = build(NoBlock)
    assert torch.equal(module(X), module.net.head(module.net.stem(X)))
    assert accounts(module)[0].nfe_forward == 0


class _Force(nn.Module):
    """−k h + sin t, or any function of (t, h) handed in."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, t, h):
        return self.function(t, h)


def heavy_ball(function, gamma):
    return HeavyBallField(_Force(function), gamma).double()


def integrate(field, y0, t1):
    solver = TorchDiffEq(method="dopri8", rtol=1e-11, atol=1e-12)
    return solver.solve(field, y0, [0.0, t1]).ys[-1]


@pytest.mark.parametrize("gamma", [0.05, 0.5, 0.9])
def test_heavy_ball_is_the_damped_oscillator(gamma):
    """f = −k h gives ḧ + γḣ + k h = 0, underdamped for γ² < 4k."""
    k, t1 = 4.0, 3.0
    y = integrate(heavy_ball(lambda t, h: -k * h, gamma), torch.tensor([[1.0, 0.5]], dtype=torch.float64), t1)
    w = math.sqrt(k - gamma**2 / 4)
    b = (0.5 + gamma / 2) / w
    decay, c, s = math.exp(-gamma * t1 / 2), math.cos(w * t1), math.sin(w * t1)
    h = decay * (c + b * s)
    m = -gamma / 2 * h + decay * (-w * s + b * w * c)
    # γ is stored as a float32 logit: relative error 6e-8 of γ, amplified by t1
    torch.testing.assert_close(y, torch.tensor([[h, m]], dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_heavy_ball_contracts_volume_at_rate_gamma():
    """Liouville: log|det ∂(h,m)(T)/∂(h,m)(0)| = −γ d T for any f."""
    gamma, t1, d = 0.3, 1.5, 3
    torch.manual_seed(0)
    mix = torch.randn(d, d, dtype=torch.float64)
    field = heavy_ball(lambda t, h: torch.tanh(h @ mix) + torch.sin(t), gamma)
    y0 = torch.randn(2 * d, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda y: integrate(field, y[None], t1)[0], y0)
    # float32 logit of γ again: −γdT = −1.35 to about 1e-7
    assert torch.linalg.slogdet(jacobian)[1].item() == pytest.approx(-gamma * d * t1, abs=1e-6)


def test_heavy_ball_without_damping_conserves_energy():
    """γ → 0 and f = −∇U with U = h⁴/4: ½m² + U stays."""
    field = heavy_ball(lambda t, h: -(h**3), 1e-12)
    y0 = torch.tensor([[1.0, 0.3]], dtype=torch.float64)
    energies = [(y[0, 1] ** 2 / 2 + y[0, 0] ** 4 / 4).item() for y in (y0, integrate(field, y0, 5.0))]
    # global error of dopri8 at rtol 1e-11 over five time units
    assert energies[1] == pytest.approx(energies[0], abs=1e-8)


@pytest.mark.parametrize(
    ("family", "option", "message"),
    [
        (HeavyBallNeuralODE, {"gamma_init": 0.0}, "gamma_init must lie strictly between 0 and 1"),
        (HeavyBallNeuralODE, {"gamma_init": 1.0}, "gamma_init must lie strictly between 0 and 1"),
        (NeuralODE, {"t1": 0.0}, "t1 must be positive"),
        (NeuralODE, {"downsample": 9}, "downsample=9 does not fit images of 8×8"),
        (ResNet, {"blocks": 0}, "blocks must be at least 1"),
        (ResNet, {"h": -1.0}, "h must be positive"),
        (AugmentedNeuralODE, {"augment": -1}, "augment must be 0 or more"),
    ],
)
def test_values_outside_their_domain_are_refused(family, option, message):
    with pytest.raises(UsageError, match=message):
        build(family, **option)


def test_augment_appends_zeros():
    h = torch.randn(2, 3, 4, 4)
    y = Augment(2)(h)
    assert torch.equal(y[:, :3], h)
    assert y[:, 3:].abs().max() == 0


class _FailsFor(nn.Module):
    """ḣ = −h, but not a number for samples whose first value is above 5."""

    def forward(self, t, h):
        bad = (h.flatten(1)[:, :1] > 5).reshape(-1, *[1] * (h.dim() - 1))
        return torch.where(bad, torch.nan, -h)


def test_samples_that_fail_are_counted_and_the_others_are_classified(accounts):
    solver = Dopri5(per_sample=True, on_failure="continue", gradient="checkpoint")
    module = build(NeuralODE, solver=solver)
    module.net.dynamics.field = _FailsFor()
    module.net.stem = nn.Conv2d(1, 6, 1).double()
    with torch.no_grad():
        module.net.stem.weight.fill_(1.0)
        module.net.stem.bias.zero_()
    x = torch.ones(4, 1, 8, 8, dtype=torch.float64)
    x[2] = 9.0
    logits = module(x)
    assert sum(s.failures for s in accounts(module)) == 1
    assert torch.isfinite(logits).all()
    assert torch.equal(logits[0], logits[1])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 7, 33), 2), ((1, 28, 28), 2), ((3, 32, 32), 2), ((1, 8, 8), 0), ((1, 1, 64), 0)],
)
def test_the_default_downsampling_fits_elongated_images(shape, expected):
    assert halvings(*shape[1:]) == expected
    net = ResNet(ImageSpec("made-up", Classes(3), shape), channels=4, blocks=1)
    assert net(torch.randn(2, *shape)).shape == (2, 3)
    strides = [m.stride[0] for m in net.net.stem.modules() if isinstance(m, torch.nn.Conv2d)]
    assert strides.count(2) == expected
