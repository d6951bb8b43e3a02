"""Neural RDE and Log-NCDE: the CDE inside them, brackets against autodiff and against nilpotent matrices."""

import pytest
import torch
from torch import nn

from integrand.errors import UsageError
from integrand.modules.series.log_neural_cde import BracketField, LipField, LogNeuralCDE
from integrand.modules.series.neural_cde import NeuralCDE
from integrand.modules.series.neural_rde import NeuralRDE
from integrand.solvers import RK4, CDESolver, linear_control, log_signature_control
from integrand.spec import Classes, SeriesSpec, Targets

F64 = torch.float64


def spec(**kwargs):
    return SeriesSpec("made-up", Classes(3), channels=3, length=9, missing=True, **kwargs)


def solved(field, control, z0, num_steps=1):
    return CDESolver(RK4(num_steps=num_steps)).solve(field, control, z0).ys[-1].detach()


def build(family, **kwargs):
    torch.manual_seed(0)
    return family(spec(), channels=5, hidden=7, **kwargs).double()


@pytest.mark.parametrize("family", [NeuralRDE, LogNeuralCDE])
def test_windows_of_one_gap_at_depth_one_are_the_linear_path(family, series):
    module, cde = (
        build(family, window=1, signature_depth=1),
        build(NeuralCDE, interpolation="linear"),
    )
    module.load_state_dict(cde.state_dict())
    x = series()
    torch.testing.assert_close(module(x), cde(x), rtol=0, atol=1e-13)


@pytest.mark.parametrize("family", [NeuralRDE, LogNeuralCDE])
@pytest.mark.parametrize("depth", [1, 2])
def test_depends_on_neither_padding_nor_company(family, depth, series, same_alone):
    module = build(family, window=3, signature_depth=depth)
    same_alone(module, series((9, 5, 1, 7)), rtol=1e-10, atol=1e-10)


def test_the_derivative_is_that_of_autodiff():
    torch.manual_seed(0)
    field = LipField(5, 3, 7, 2, depth=2).double()
    z, v = torch.randn(4, 5, dtype=F64), torch.randn(4, 5, 3, dtype=F64)
    f, derivative = field.linearised(z)
    torch.testing.assert_close(f, field(None, z), rtol=0, atol=1e-15)
    for j in range(3):
        _, tangent = torch.autograd.functional.jvp(lambda z: field(None, z), z, v[:, :, j])
        torch.testing.assert_close(derivative(v)[:, :, j], tangent[:, :, j], rtol=0, atol=1e-14)


class LinearColumns(BracketField):
    """fᵢ(z) = Aᵢ z."""

    def __init__(self, matrices, depth):
        super().__init__(len(matrices), depth)
        self.matrices = nn.Parameter(matrices)

    def forward(self, t, z):
        return torch.einsum("cij,bj->bic", self.matrices, z)

    def linearised(self, z):
        return self.forward(None, z), lambda v: torch.einsum("cij,bjc->bic", self.matrices, v)


def test_depth_two_is_exact_for_heisenberg_matrices():
    """Products of three vanish: one window holds all of the path, and RK4 all of its exponential."""
    matrices = torch.zeros(2, 3, 3, dtype=F64)
    matrices[0, 0, 1] = matrices[1, 1, 2] = 1.0
    x = torch.randn(4, 12, 2, dtype=F64, generator=torch.Generator().manual_seed(1))
    z0 = torch.randn(4, 3, dtype=F64, generator=torch.Generator().manual_seed(2))
    exact = solved(LinearColumns(matrices, 1), linear_control(x), z0)
    errors = []
    for depth in (1, 2):
        control = log_signature_control(x, window=11, depth=depth)
        z = solved(LinearColumns(matrices, depth), control, z0)
        errors.append((z - exact).abs().max().item())
    assert errors[1] < 1e-13 < 0.1 < errors[0]


def test_errors_fall_with_the_window_as_the_depth_says():
    """On a smooth path a window of length w errs by w³ at depth 1 and w⁵ at depth 2, and there are 1/w of them."""
    torch.manual_seed(0)
    s = torch.linspace(0, 2, 257, dtype=F64)
    x = torch.stack((s, torch.sin(2 * s), torch.cos(3 * s)), dim=-1).unsqueeze(0)
    z0 = torch.randn(1, 4, dtype=F64)
    field = LipField(4, 3, 6, 1, depth=1).double()
    exact = solved(field, linear_control(x), z0)
    for depth, order in ((1, 2.0), (2, 4.0)):
        field.depth = depth
        errors = []
        for window in (32, 16):
            control = log_signature_control(x, window, depth)
            z = solved(field, control, z0, num_steps=8)
            errors.append((z - exact).norm())
        slope = torch.log2(errors[0] / errors[1]).item()
        assert slope == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize(("family", "depth"), [(NeuralRDE, 3), (LogNeuralCDE, 2)])
def test_gradients_reach_every_parameter_and_evaluations_are_counted(family, depth, series):
    torch.manual_seed(0)
    spec = SeriesSpec("made-up", Targets(("a",)), channels=3, length=9)
    module = family(spec, channels=5, signature_depth=depth, window=4, solver=RK4(num_steps=2)).double()
    outcome = module.step((series(missing=0.0), torch.ones(4, 1, dtype=F64)), "train")
    outcome.loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())
    # two windows, two steps of four evaluations
    assert outcome.solves[0].nfe_forward == 16


def test_depths_without_an_implementation_are_refused():
    with pytest.raises(UsageError, match="take NeuralRDE"):
        build(LogNeuralCDE, signature_depth=3)
    with pytest.raises(UsageError, match=r"set model\.window"):
        build(NeuralRDE, window=0)
