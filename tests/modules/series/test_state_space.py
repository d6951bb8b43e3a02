"""S4D and linear CDEs: the same by convolution, recurrence and scan; what their structure can and cannot see."""

import math

import pytest
import torch

from integrand.errors import UsageError
from integrand.modules.series import scans
from integrand.modules.series.linear_cde import LinearCDE, LinearCDELayer
from integrand.modules.series.s4d import S4D, DiagonalStateSpace
from integrand.modules.series.scans import affine_scan, product_scan
from integrand.series import Series
from integrand.spec import Classes, SeriesSpec, Targets

F64 = torch.float64


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def spec(**kwargs):
    return SeriesSpec("made-up", Classes(3), channels=3, length=9, **kwargs)


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return DiagonalStateSpace(channels=3, states=6, dt_min=0.05, dt_max=0.5, convolve=False).double()


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_scans_are_the_loops(n):
    a, b, x = draw(2, n, 3), draw(2, n, 3, seed=1), torch.zeros(2, 3, dtype=F64)
    e, product = draw(2, n, 4, 2, 2), torch.eye(2, dtype=F64)
    scanned, products = affine_scan(a, b), product_scan(e)
    for k in range(n):
        x, product = a[:, k] * x + b[:, k], e[:, k] @ product
        torch.testing.assert_close(scanned[:, k], x, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(products[:, k], product, rtol=1e-12, atol=1e-12)


def test_a_scan_has_the_gradients_of_its_loop():
    """Of complex numbers too, whose conjugates a real test would not miss."""
    a, b = (torch.complex(draw(2, 5, 2, seed=s), draw(2, 5, 2, seed=s + 9)).requires_grad_() for s in (0, 1))
    assert torch.autograd.gradcheck(affine_scan, (a, b))
    assert torch.autograd.gradgradcheck(affine_scan, (a, b))


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_steps_and_rounds_are_the_same_scan(n):
    a, b = (torch.complex(draw(2, n, 2, seed=s), draw(2, n, 2, seed=s + 9)) for s in (0, 1))
    torch.testing.assert_close(scans._steps(a, b), scans._rounds(a, b), rtol=1e-12, atol=1e-12)


def test_the_convolution_is_the_recurrence(layer):
    u, gaps = draw(2, 13, 3), torch.ones(2, 13, dtype=F64)
    recurrent = layer(u, gaps)
    layer.convolve = True
    torch.testing.assert_close(layer(u, gaps), recurrent, rtol=0, atol=1e-13)


def test_splitting_a_gap_under_a_held_input_changes_nothing(layer):
    """What zero-order hold means: irregular gaps are exact."""
    u = draw(1, 3, 3)
    gaps = torch.tensor([[1.0, 0.7, 1.6]], dtype=F64)
    split = layer(u[:, [0, 1, 2, 2]], torch.tensor([[1.0, 0.7, 0.4, 1.2]], dtype=F64))
    torch.testing.assert_close(split[:, [0, 1, 3]], layer(u, gaps), rtol=0, atol=1e-13)


def test_a_state_follows_its_equation(layer):
    """A constant input ends at −C/A times it; one state is solved by hand."""
    u = torch.ones(1, 1, 3, dtype=F64)
    a = torch.complex(-layer.log_decay.exp(), layer.frequency)
    c = torch.view_as_complex(layer.c)
    expected = 2 * (c * (torch.exp(a * layer.log_dt.exp()[:, None] * 2.5) - 1) / a).sum(-1).real + layer.d
    torch.testing.assert_close(layer(u, torch.tensor([[2.5]], dtype=F64))[0, 0], expected)
    assert a[0, 1].imag.item() == pytest.approx(math.pi)


@pytest.mark.parametrize("kwargs", [{"missing": True}, {"irregular": True}, {}])
def test_s4d_depends_on_neither_padding_nor_company(kwargs, series, same_alone):
    torch.manual_seed(0)
    x = series(missing=0.3 if kwargs else 0.0, static=2)
    module = S4D(spec(**kwargs, static=2), channels=6, states=4).double()
    same_alone(module, x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("structure", ["diagonal", "block", "dense"])
def test_a_linear_cde_depends_on_neither_padding_nor_company(structure, series, same_alone):
    torch.manual_seed(0)
    module = LinearCDE(spec(missing=True, static=2), channels=8, structure=structure).double()
    same_alone(module, series(static=2), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", [1, 2, 4])
def test_a_layer_is_the_product_of_exponentials_by_scan_and_by_steps(block):
    torch.manual_seed(0)
    layer = LinearCDELayer(3, 4, block, length=1, scan=True).double()
    omega = draw(2, 6, 3)
    scanned = layer(omega)
    layer.scan = False
    torch.testing.assert_close(layer(omega), scanned, rtol=1e-11, atol=1e-11)
    whole = torch.zeros(3, 4, 4, dtype=F64)
    for k in range(4 // block):
        place = slice(k * block, (k + 1) * block)
        whole[:, place, place] = layer.matrices[:, k]
    h = layer.start(omega[:, 0])
    for rise in omega.diff(dim=1).unbind(1):
        h = (torch.linalg.matrix_exp(torch.einsum("bi,ipq->bpq", rise, whole)) @ h.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(scanned[:, -1], h, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(("block", "blind"), [(1, True), (2, False)])
def test_diagonal_matrices_see_the_total_increment_alone(block, blind):
    torch.manual_seed(0)
    layer = LinearCDELayer(2, 4, block, length=1, scan=True).double()
    one = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]], dtype=F64)
    other = torch.tensor([[[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]], dtype=F64)
    assert torch.allclose(layer(one)[:, -1], layer(other)[:, -1], atol=1e-10) == blind


def test_a_path_that_stands_still_leaves_the_state_and_its_speed_does_not_matter():
    torch.manual_seed(0)
    layer = LinearCDELayer(2, 4, 2, length=1, scan=True).double()
    omega = draw(1, 5, 2)
    still = omega[:, [0, 1, 1, 1, 2, 3, 3, 4]]
    torch.testing.assert_close(layer(still)[:, [0, 1, 4, 5, 7]], layer(omega), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("family", [S4D, LinearCDE])
def test_gradients_reach_every_parameter(family, series):
    torch.manual_seed(0)
    spec = SeriesSpec("made-up", Targets(("a",)), channels=3, length=9, missing=True)
    module = family(spec, channels=8).double()
    module.step((series(), torch.ones(4, 1, dtype=F64)), "train").loss.backward()
    assert all(p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: S4D(spec(), states=3), "set model.states to an even number"),
        (lambda: S4D(spec(), depth=0), "set model.depth"),
        (lambda: LinearCDE(spec(), block=5), "a divisor of model.channels"),
        (lambda: LinearCDE(spec(), structure="band"), "set model.structure to diagonal, block, dense"),
        (lambda: LinearCDE(spec(), dropout=1.0), "model.dropout below 1"),
    ],
)
def test_settings_out_of_their_domains_are_refused(make, says):
    with pytest.raises(UsageError, match=says):
        make()


def test_missing_values_are_told_apart_from_zeros(series):
    torch.manual_seed(0)
    module = S4D(spec(missing=True), channels=6, states=4).double()
    x = series(missing=0.0)
    x.values[:, 1] = 0.0
    unseen = Series(x.times, x.values, x.mask.clone(), x.lengths, x.static)
    unseen.mask[:, 1] = False
    assert not torch.allclose(module(x)[0], module(unseen)[0])
