"""Log-signatures: Chen's identity, areas in closed form, and groups in which the log-ODE method is exact."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from integrand.errors import SpecError
from integrand.solvers import RK4, CDESolver, SolverOptionError, linear_control, log_signature_control
from integrand.solvers.control import log_signature, log_signature_channels, lyndon_words

F64 = torch.float64


def pieces(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("channels", "depth", "number"),
    # Witt's formula: c, (c² - c) / 2, (c³ - c) / 3
    [(3, 1, 3), (3, 2, 6), (3, 3, 14), (13, 2, 91), (13, 3, 819), (1, 3, 1)],
)
def test_number_of_coordinates(channels, depth, number):
    assert log_signature_channels(channels, depth) == number
    assert log_signature(pieces(2, 5, channels), depth).shape == (2, number)


def test_lyndon_words_of_two_letters():
    assert lyndon_words(2, 3) == [[(0,), (1,)], [(0, 1)], [(0, 0, 1), (0, 1, 1)]]


def test_depth_two_is_the_area():
    """Once around the unit square: no increment, area 1 counted anticlockwise."""
    square = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]], dtype=F64)
    torch.testing.assert_close(log_signature(square, 2), torch.tensor([0.0, 0.0, 1.0], dtype=F64))
    torch.testing.assert_close(log_signature(-square.flip(0), 2)[-1], torch.tensor(-1.0, dtype=F64))


def test_a_straight_line_has_no_higher_terms():
    line = pieces(3).expand(5, 3) * torch.tensor([0.1, 0.4, 0.2, 0.2, 0.1], dtype=F64).unsqueeze(-1)
    signature = log_signature(line, 3)
    torch.testing.assert_close(signature[:3], line.sum(0))
    assert signature[3:].abs().max() < 1e-15


def bracket(a, b):
    return a @ b - b @ a


def test_chens_identity_through_baker_campbell_hausdorff():
    """log(exp A exp B) up to brackets of three for two letters, in the basis [12], [1[12]], [[12]2]."""
    d = pieces(9, 2, seed=1)
    whole, first, second = (log_signature(x, 3) for x in (d, d[:4], d[4:]))
    x1, y1, a1, u1, v1 = first
    x2, y2, a2, u2, v2 = second
    cross = x1 * y2 - y1 * x2
    x, y, a = x1 + x2, y1 + y2, a1 + a2 + cross / 2
    # ½ of degree 1 with degree 2, and [A[A, B]] / 12 + [B[B, A]] / 12
    u = u1 + u2 + (x1 * a2 - x2 * a1) / 2 + (x1 - x2) * cross / 12
    v = v1 + v2 - (y1 * a2 - y2 * a1) / 2 - (y1 - y2) * cross / 12
    torch.testing.assert_close(whole, torch.stack((x, y, a, u, v)), rtol=1e-12, atol=1e-12)


def nilpotent(step, channels, seed=0):
    """Strictly upper triangular matrices of size step + 1: products of more than `step` of them vanish."""
    return torch.triu(pieces(channels, step + 1, step + 1, seed=seed), diagonal=1)


def brackets(matrices, depth):
    """For ż = Σ z A_i dX^i (rows act from the left) the field of each Lyndon word of two letters."""
    a, b = matrices
    fields = [a, b]
    if depth > 1:
        fields.append(bracket(a, b))
    if depth > 2:
        fields += [bracket(a, bracket(a, b)), bracket(bracket(a, b), b)]
    return torch.stack(fields)


class LinearCDE(nn.Module):
    """dz = z Σ A_w dX^w."""

    def __init__(self, matrices):
        super().__init__()
        self.matrices = matrices

    def forward(self, t, z):
        return torch.einsum("bh,chk->bkc", z, self.matrices)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_exact_in_one_window_in_nilpotent_groups(depth):
    """With matrices whose products of depth + 1 vanish, one window of depth `depth` is the whole series."""
    a = nilpotent(depth, 2)
    x = pieces(3, 13, 2, seed=2).cumsum(1)
    z0 = pieces(3, depth + 1, seed=3)
    control = log_signature_control(x, window=12, depth=depth)
    field = LinearCDE(brackets(a, depth))
    # RK4 is exact here: the solution is a polynomial of degree `depth` ≤ 3 in s
    z = CDESolver(RK4(num_steps=1)).solve(field, control, z0).ys[-1]
    exact = z0
    for d in x.diff(dim=1).unbind(1):
        exact = (exact.unsqueeze(1) @ torch.linalg.matrix_exp(torch.einsum("bc,chk->bhk", d, a))).squeeze(1)
    torch.testing.assert_close(z, exact, rtol=1e-12, atol=1e-12)
    if depth > 1:
        lower = log_signature_control(x, window=12, depth=depth - 1)
        z = CDESolver(RK4(num_steps=1)).solve(LinearCDE(brackets(a, depth - 1)), lower, z0).ys[-1]
        assert (z - exact).abs().max() > 1e-2


@pytest.mark.parametrize(("depth", "order"), [(1, 2), (2, 4)])
def test_order_in_the_window_on_a_smooth_path(depth, order):
    t = torch.linspace(0, 2, 193, dtype=F64)
    x = torch.stack((torch.sin(3 * t), torch.cos(2 * t) + t), -1).unsqueeze(0)
    a = pieces(2, 3, 3, seed=4)
    z0 = pieces(1, 3, seed=5)
    exact = CDESolver(RK4(num_steps=4)).solve(LinearCDE(a), linear_control(x), z0).ys[-1]
    errors = []
    for window in (24, 12, 6):
        control = log_signature_control(x, window, depth)
        z = CDESolver(RK4(num_steps=16)).solve(LinearCDE(brackets(a, depth)), control, z0).ys[-1]
        errors.append((z - exact).norm().item())
    slopes = np.diff(np.log2(errors[::-1]))
    assert slopes == pytest.approx([order] * 2, abs=0.3)


def test_window_one_of_depth_one_is_the_linear_control():
    x = pieces(2, 7, 3, seed=6)
    x[0, 3, 1] = float("nan")
    windows, line = log_signature_control(x, 1, 1), linear_control(x)
    torch.testing.assert_close(windows.slopes[0], line.slopes[0])
    assert torch.equal(windows.knots, line.knots)


def test_windows_and_what_is_left():
    t = torch.arange(12, dtype=F64) ** 1.5
    control = log_signature_control(pieces(2, 12, 3, seed=7), 4, 2, t)
    assert control.knots.tolist() == t[[0, 4, 8, 11]].tolist()
    assert control.channels == 6
    x = pieces(2, 12, 3, seed=7)
    for slopes, (a, b) in zip(control.slopes[0], itertools.pairwise([0, 4, 8, 11]), strict=True):
        torch.testing.assert_close(slopes, log_signature(x[:, a : b + 1].diff(dim=1), 2))


def test_gradients():
    torch.autograd.gradcheck(lambda d: log_signature(d, 3), pieces(2, 4, 3, seed=8).requires_grad_())


@pytest.mark.parametrize(("window", "depth", "error"), [(0, 2, SolverOptionError), (3, 0, SpecError)])
def test_refusals(window, depth, error):
    with pytest.raises(error):
        log_signature_control(pieces(2, 5, 2), window, depth)
