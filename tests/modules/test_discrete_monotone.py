"""The monotone block of the deep equilibrium net: one fixed point, whatever the weights."""

import pytest
import torch
from torch.nn import functional as F

from integrand.datamodules import Digits
from integrand.modules import DeepEquilibrium
from integrand.modules.discrete.equilibrium_blocks import norm_bound
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 6, 6))
X = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 1])

each_root_finder = pytest.mark.parametrize("root_finder", ["anderson", "broyden"])
each_margin = pytest.mark.parametrize("margin", [1.0, 0.5, 0.1])
each_scale = pytest.mark.parametrize("scale", [0.1, 1.0, 1e3])


def monotone(scale=1.0, **kwargs):
    """A net whose kernels of the state are `scale` times those that it starts with."""
    torch.manual_seed(0)
    module = DeepEquilibrium(SPEC, channels=4, **kwargs).double()
    field = module.net.dynamics.block.field
    with torch.no_grad():
        field.a.mul_(scale)
        field.b.mul_(scale)
    return module


def state(seed=1, factor=1.0):
    generator = torch.Generator().manual_seed(seed)
    return factor * torch.randn(3, 4, 6, 6, generator=generator, dtype=torch.float64)


def plain(field, z):
    return field(torch.zeros(()), z)


def matrix(field):
    """W − I as a matrix of 144 × 144."""
    columns = torch.eye(144, dtype=torch.float64).view(144, 4, 6, 6)
    return plain(field, columns).detach().flatten(1).T


@pytest.mark.parametrize("side", [1, 3])
def test_norm_bound_is_one(side):
    kernel = torch.randn(5, 3, side, side, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    columns = torch.eye(3 * 49, dtype=torch.float64).view(-1, 3, 7, 7)
    dense = F.conv2d(columns, kernel, padding=side // 2).flatten(1).T
    exact = torch.linalg.matrix_norm(dense, 2)
    # at side 1 the unfolding is the convolution; at side 3 it is at most three times too large
    assert exact * (1 - 1e-12) <= norm_bound(kernel) <= side * exact


def test_norm_bound_of_zero_and_of_single_precision():
    assert norm_bound(torch.zeros(2, 2, 3, 3)) < 1e-15
    assert norm_bound(torch.ones(1, 1, 1, 1, dtype=torch.bfloat16)).dtype == torch.bfloat16


@each_margin
@each_scale
def test_the_operator_is_strongly_monotone(margin, scale):
    """The symmetric part of I − W lies between m and m + 1, and the antisymmetric part within m/2."""
    operator = -matrix(monotone(scale, margin=margin).net.dynamics.block.field)
    symmetric, antisymmetric = (operator + operator.T) / 2, (operator - operator.T) / 2
    eigenvalues = torch.linalg.eigvalsh(symmetric)
    assert eigenvalues[0] >= margin - 1e-12
    assert eigenvalues[-1] <= margin + 1 + 1e-12
    assert torch.linalg.matrix_norm(antisymmetric, 2) <= margin / 2 + 1e-12
    # neither part has gone missing
    assert eigenvalues[-1] > margin + 1e-3 * min(1, scale)
    assert torch.linalg.matrix_norm(antisymmetric, 2) > 1e-2 * min(1, scale) * margin


@each_margin
@each_scale
def test_the_iteration_contracts_as_stated(margin, scale):
    dynamics = monotone(scale, margin=margin).net.dynamics
    first, second = state(2, 5.0), state(3, 5.0)
    with torch.no_grad(), dynamics.block.bind(plain, state(4)) as g:
        moved = (g(first) - g(second)).flatten(1).norm(dim=1)
    apart = (first - second).flatten(1).norm(dim=1)
    assert (moved <= (1 + margin) / (1 + 2 * margin) * apart * (1 + 1e-12)).all()


@each_margin
def test_the_step_is_the_largest_safe_one_where_the_bound_is_tight(margin):
    """The symmetric part of I − α(I − W) reaches both ends, ±1/(1 + 2m), for a kernel with norm and bound 3 % apart."""
    torch.manual_seed(0)
    dynamics = DeepEquilibrium(SPEC, channels=1, margin=margin).double().net.dynamics
    field = dynamics.block.field
    with torch.no_grad():
        field.a.fill_(1.0)
        field.b.copy_(torch.tensor([-1.0, 0.0, 1.0]).expand(1, 1, 3, 3))
        columns = torch.eye(256, dtype=torch.float64).view(256, 1, 16, 16)
        moved = columns + dynamics.block.step * plain(field, columns)
        symmetric = moved.flatten(1) + moved.flatten(1).T
    # A reaches from nearly 0 to 0.977; 1 − 0.977² is what the lower end lacks, twice
    ends = torch.linalg.eigvalsh(symmetric / 2)[[0, -1]] * (1 + 2 * margin)
    torch.testing.assert_close(ends, torch.tensor([-1.0, 1.0], dtype=torch.float64), rtol=0, atol=0.12)


@each_root_finder
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_every_start_leads_to_the_same_fixed_point(root_finder, scale):
    dynamics = monotone(scale, root_finder=root_finder, tol=1e-12, max_iter=200).net.dynamics
    x = state(5)
    with torch.no_grad(), dynamics.block.bind(plain, x) as g:
        found = [dynamics.find(g, start) for start in (x, state(6, 100.0), -state(7), torch.zeros_like(x))]
    for other in found[1:]:
        assert other.converged.all()
        # contraction by 2/3: the error is at most 3 · tol · ‖z‖, ‖z‖ below 20
        torch.testing.assert_close(other.z, found[0].z, rtol=0, atol=1e-10)
    assert (found[0].z == 0).any()
    assert (found[0].z > 0.1).any()


def test_the_state_solves_the_equation_of_the_paper():
    """z = ReLU(W z + U x + b), which knows nothing of the step α."""
    dynamics = monotone(margin=0.5, tol=1e-12, max_iter=200).net.dynamics
    field = dynamics.block.field
    x = state(8)
    with torch.no_grad():
        z = dynamics(x).ys[-1]
        w = torch.eye(144, dtype=torch.float64) + matrix(field)
        value = torch.relu(z.flatten(1) @ w.T + field.inject(x).flatten(1))
    torch.testing.assert_close(z.flatten(1), value, rtol=0, atol=1e-10)  # tol · ‖z‖ / α


@each_root_finder
@each_margin
def test_gradient_is_that_of_the_unrolled_iteration(root_finder, margin):
    implicit, unrolled = (
        monotone(root_finder=root_finder, tol=1e-13, max_iter=300, margin=margin) for _ in range(2)
    )
    F.cross_entropy(implicit(X), Y).backward()
    x = unrolled.net.stem(X)
    z = x
    with unrolled.net.dynamics.block.bind(plain, x) as g:
        for _ in range(400):  # (11/12)⁴⁰⁰ = 8e-16 at m = 0.1
            z = g(z)
    F.cross_entropy(unrolled.net.head(z), Y).backward()
    for (name, a), b in zip(implicit.named_parameters(), unrolled.parameters(), strict=True):
        # both searches stop at 1e-13 relative; the gradient inherits it over 1 − 11/12
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-8, atol=1e-11, msg=name)


def test_weights_far_out_of_bounds_still_train(accounts):
    """What broke the residual block: the kernels grow, and with them the iterations."""
    module = monotone(1e4)
    F.cross_entropy(module(X), Y).backward()
    assert sum(s.failures for s in accounts(module)) == 0
    gradients = [p.grad.abs().max() for p in module.parameters()]
    assert all(0 < g < 1e3 for g in gradients)


def failures(block, steps, accounts):
    """Samples whose search failed, forward or backward, in the first steps on the digits."""
    data = Digits(batch_size=64, augment=None)
    data.prepare_data()
    data.setup("fit")
    torch.manual_seed(0)
    module = DeepEquilibrium(data.spec, channels=8, block=block, tol=1e-3, max_iter=20)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    done = 0
    while done < steps:
        for x, y in data.train_dataloader():
            optimizer.zero_grad()
            F.cross_entropy(module(x), y).backward()
            optimizer.step()
            done += 1
            if done == steps:
                break
    return sum(s.failures for s in accounts(module))


def test_training_on_digits_leaves_a_fixed_point_where_the_residual_block_loses_it(accounts):
    """As many steps of the digits recipe as break the residual block (three epochs and a half)."""
    assert failures("residual", 80, accounts) > 0
    assert failures("monotone", 80, accounts) == 0
