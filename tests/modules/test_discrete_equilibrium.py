"""Deep equilibrium nets: fixed points, their implicit gradient, and what a search costs."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.modules import DeepEquilibrium
from integrand.modules.discrete.fixed_point import anderson, broyden
from integrand.solvers import NonFiniteStateError, Status, TorchDiffEq, count
from integrand.spec import Classes, ImageSpec

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
Y = torch.tensor([0, 1, 2, 1])

both = pytest.mark.parametrize("root_finder", ["anderson", "broyden"])
both_blocks = pytest.mark.parametrize("block", ["monotone", "residual"])
both_searches = pytest.mark.parametrize("search", [anderson, broyden])


def build(**kwargs):
    torch.manual_seed(0)
    return DeepEquilibrium(SPEC, channels=6, **kwargs).double()


def residual(**kwargs):
    return build(block="residual", **kwargs)


def affine(norm, dimension=12, samples=4):
    """z ↦ A z + b with ‖A‖₂ = norm, and its fixed points (I − A)⁻¹ b."""
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    a *= norm / torch.linalg.matrix_norm(a, 2)
    b = torch.randn(samples, dimension, generator=generator, dtype=torch.float64)
    exact = torch.linalg.solve(torch.eye(dimension) - a, b.T).T
    return (lambda z: z @ a.T + b), exact


@both_searches
def test_affine_fixed_point_is_the_resolvent(search):
    g, exact = affine(0.9)
    found = search(g, torch.zeros_like(exact), tol=1e-12, max_iter=100)
    assert found.converged.all()
    # error ≤ ‖(I − A)⁻¹‖ · residual ≤ 10 · 1e-12 · ‖z‖
    torch.testing.assert_close(found.z, exact, rtol=0, atol=1e-10)


@both_searches
def test_a_linear_map_takes_at_most_twice_its_dimension(search):
    """Anderson with full memory is GMRES: d + 1 evaluations and one to see it. Broyden ends within 2d (Gay 1979)."""
    g, exact = affine(0.9, dimension=5, samples=1)
    found = search(g, torch.zeros_like(exact), tol=1e-9, max_iter=100, memory=20)
    assert found.iterations <= (7 if search is anderson else 11)
    plain, z = 0, torch.zeros_like(exact)
    while (g(z) - z).norm() > 1e-9 * g(z).norm():
        z, plain = g(z), plain + 1
    assert plain > 2 * found.iterations


def wild(z):
    """A nonlinear map on ℝ³ whose residual does not fall from iterate to iterate."""
    return 3 * torch.cos(z) + 0.8 * z.roll(1, dims=1) ** 2 / (1 + z.abs())


def test_broyden_makes_the_iterates_of_its_definition():
    """The direct form: J s = −F, J ← J + (ΔF − J s) sᵀ / ‖s‖² from J = −I, without Sherman–Morrison."""
    z = torch.tensor([[0.3, -0.5, 1.2]], dtype=torch.float64)
    visited = []

    def watched(z):
        visited.append(z)
        return wild(z)

    broyden(watched, z, tol=1e-14, max_iter=8)
    jacobian, values = -torch.eye(3, dtype=torch.float64), wild(z) - z
    for found in visited:
        # eight solves of 3 × 3 systems of condition below 1e3
        torch.testing.assert_close(found, z, rtol=1e-9, atol=1e-9)
        s = torch.linalg.solve(jacobian, -values[0])[None]
        new = wild(z + s) - (z + s)
        jacobian = jacobian + torch.outer((new - values)[0] - jacobian @ s[0], s[0]) / (s**2).sum()
        z, values = z + s, new
    assert len(visited) == 8


@both_searches
def test_the_best_iterate_is_kept(search):
    """The residual reported is that of the state returned, and a longer search never returns a worse one."""
    starts = 3 * torch.randn(20, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    last = torch.full((20,), torch.inf, dtype=torch.float64)
    for budget in range(1, 13):
        found = search(wild, starts, tol=1e-14, max_iter=budget)
        value = wild(found.z)
        torch.testing.assert_close(found.residual, (value - found.z).norm(dim=1) / value.norm(dim=1))
        assert (found.residual <= last).all()
        last = found.residual


@both_searches
def test_it_finds_the_fixed_point_of_an_expanding_map(search):
    """z ↦ −3z + 4: plain iteration runs away from z = 1, the quasi-Newton methods do not."""
    found = search(lambda z: 4 - 3 * z, torch.zeros(2, 1, dtype=torch.float64), tol=1e-12, max_iter=10)
    torch.testing.assert_close(found.z, torch.ones(2, 1, dtype=torch.float64), rtol=0, atol=1e-11)


@both_searches
def test_broyden_and_anderson_restart_and_forget_without_losing_their_way(search):
    g, exact = affine(0.9, dimension=30)
    found = search(g, torch.zeros_like(exact), tol=1e-10, max_iter=300, memory=3)
    assert found.converged.all()
    assert found.iterations > 10
    torch.testing.assert_close(found.z, exact, rtol=0, atol=1e-8)  # 10 · tol · ‖z‖


@both_searches
def test_a_sample_does_not_depend_on_the_others(search):
    def g(z):
        return torch.cos(z) + 0.3 * z.roll(1, dims=1)

    starts = torch.tensor([[0.1, 0.2, 0.3], [5.0, -4.0, 7.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    together = search(g, starts, tol=1e-8, max_iter=100)
    for i in range(3):
        alone = search(g, starts[i : i + 1], tol=1e-8, max_iter=100)
        # batched and single matrix products may sum in another order
        torch.testing.assert_close(together.z[i : i + 1], alone.z, rtol=0, atol=1e-12)


@both_searches
def test_it_stops_at_its_budget_with_the_best_it_saw(search):
    g, exact = affine(0.99, dimension=40)
    short, longer = (search(g, torch.zeros_like(exact), tol=1e-12, max_iter=n) for n in (5, 15))
    assert short.iterations == 5
    assert longer.iterations == 15
    assert not longer.converged.any()
    assert (longer.residual < short.residual).all()
    value = g(longer.z)
    torch.testing.assert_close(longer.residual, (value - longer.z).norm(dim=1) / value.norm(dim=1))


@both_searches
def test_a_map_that_is_not_finite_is_an_error(search):
    with pytest.raises(NonFiniteStateError, match="fixed-point iteration is not finite"):
        search(lambda z: z / 0, torch.ones(1, 2), tol=1e-3, max_iter=5)


@both_searches
def test_zero_is_found_where_it_is_the_fixed_point(search):
    found = search(lambda z: 0 * z, torch.zeros(2, 3), tol=1e-6, max_iter=5)
    assert found.iterations == 1
    assert found.converged.all()


@both
def test_the_residual_is_within_the_tolerance(root_finder):
    dynamics = residual(root_finder=root_finder, tol=1e-8).net.dynamics
    x = torch.randn(3, 6, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        solution = dynamics(x)
        z = solution.ys[-1]
        value = x + dynamics.block.field(None, z)
    assert solution.status is Status.SUCCESS
    assert ((value - z).flatten(1).norm(dim=1) <= 1e-8 * value.flatten(1).norm(dim=1)).all()
    assert (z - x).abs().max() > 0.1


def test_both_root_finders_find_the_same_state():
    states = [
        residual(root_finder=r, tol=1e-11).net.dynamics(X.expand(4, 6, 8, 8)).ys[-1]
        for r in ("anderson", "broyden")
    ]
    # two solutions to 1e-11 of norm 20, times the condition of I − hJ
    torch.testing.assert_close(*states, rtol=0, atol=1e-8)


@both
def test_implicit_gradient_is_that_of_a_long_unrolled_iteration(root_finder):
    h = 0.5  # the plain iteration converges
    implicit, unrolled = (residual(root_finder=root_finder, tol=1e-12, max_iter=200, h=h) for _ in range(2))
    F.cross_entropy(implicit(X), Y).backward()
    x = unrolled.net.stem(X)
    z = x
    for _ in range(150):
        z = x + h * unrolled.net.dynamics.block.field(None, z)
    F.cross_entropy(unrolled.net.head(z), Y).backward()
    for (name, a), b in zip(implicit.named_parameters(), unrolled.parameters(), strict=True):
        # both searches stop at 1e-12 relative; the gradient inherits it times the condition of I − hJ
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-8, atol=1e-10, msg=name)


def test_equilibrium_is_one_backward_euler_step():
    """For f = Az: z* = (I − hA)⁻¹x, and the gradient in x is its transpose."""

    class Linear(nn.Module):
        def __init__(self, matrix):
            super().__init__()
            self.matrix = nn.Parameter(matrix)

        def forward(self, t, y):
            return y @ self.matrix.T

    a = torch.tensor([[-0.5, 0.8], [-0.8, -0.1]], dtype=torch.float64)
    dynamics = residual(h=0.7, tol=1e-13).net.dynamics
    dynamics.block.field = Linear(a)
    x = torch.tensor([[1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    z = dynamics(x).ys[-1]
    inverse = torch.linalg.inv(torch.eye(2) - 0.7 * a)
    torch.testing.assert_close(z, x @ inverse.T, rtol=1e-11, atol=1e-11)  # tol times the condition, below 3
    weights = torch.tensor([[1.0, -2.0], [0.3, 0.4]], dtype=torch.float64)
    (z * weights).sum().backward()
    torch.testing.assert_close(x.grad, weights @ inverse, rtol=1e-11, atol=1e-11)
    # d(I − hA)⁻¹ = h (I − hA)⁻¹ dA (I − hA)⁻¹
    torch.testing.assert_close(
        dynamics.block.field.matrix.grad, 0.7 * (weights @ inverse).T @ z.detach(), rtol=1e-11, atol=1e-11
    )


def test_equilibrium_is_the_state_that_the_flow_of_the_defect_runs_into():
    """z* is the limit t → ∞ of ż = x + h f(z) − z."""
    dynamics = residual(h=0.5, tol=1e-11).net.dynamics
    x = torch.randn(2, 6, 4, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    class Defect(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = dynamics.block.field

        def forward(self, t, z):
            return x + 0.5 * self.f(t, z) - z

    with torch.no_grad():
        limit = TorchDiffEq(method="dopri5", rtol=1e-9, atol=1e-10).solve(Defect(), x, [0.0, 60.0]).ys[-1]
        # an adaptive method holds a stable state to its tolerance
        torch.testing.assert_close(dynamics(x).ys[-1], limit, rtol=0, atol=1e-7)


@both
@both_blocks
def test_the_account_counts_searches_and_products(root_finder, block, accounts):
    module = build(root_finder=root_finder, block=block)
    with count(*module.net.dynamics.residuals()) as seen:
        loss = F.cross_entropy(module(X), Y)
        forward = seen.calls
        loss.backward()
    stats = accounts(module)[0]
    assert stats.nfe_forward == forward > 2
    assert stats.nfe_backward == seen.calls - forward == 1
    assert 3 < stats.vjps <= 41  # the search of at most 40, and the one for the parameters
    assert module.describe_solver() == (f"{root_finder} tol=1e-4 max_iter=40", "implicit")


@both_blocks
def test_products_are_counted_one_by_one(block, accounts):
    module = build(tol=1e-6, block=block)
    seen = []
    forward = module.net.dynamics.block.field.forward

    def watched(t, y):
        value = forward(t, y)
        if value.requires_grad:
            value.register_hook(lambda _: seen.append(1))
        return value

    module.net.dynamics.block.field.forward = watched
    F.cross_entropy(module(X), Y).backward()
    assert accounts(module)[0].vjps == len(seen)


@both_blocks
def test_memory_does_not_depend_on_the_number_of_iterations(block, accounts):
    def saved(tol):
        sizes = []
        module = build(tol=tol, max_iter=200, block=block)

        def pack(tensor):
            sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            module(X)
        return sum(sizes), accounts(module)[0].nfe_forward

    (few, fast), (many, slow) = saved(1e-2), saved(1e-10)
    assert slow >= 3 * fast
    assert few == many


def test_samples_without_a_fixed_point_are_reported(accounts):
    module = build(tol=1e-12, max_iter=3)
    loss = F.cross_entropy(module(X), Y)
    assert sum(s.failures for s in accounts(module)) == 4
    assert accounts(module)[0].nfe_forward == 3
    loss.backward()
    assert sum(s.failures for s in accounts(module)) == 8  # nor does the gradient come within the tolerance
    assert module.net.dynamics(X.expand(4, 6, 8, 8)).status is Status.MAX_NFE
    finished = build()
    finished(X)
    assert sum(s.failures for s in accounts(finished)) == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"root_finder": "newton"}, "unknown root_finder 'newton' → .*anderson, broyden"),
        ({"tol": 0.0}, "tol must lie between 0 and 1"),
        ({"max_iter": 0}, "max_iter must be at least 1"),
        ({"block": "residual", "h": -1.0}, "h must be positive"),
        ({"h": 0.5}, "h belongs to the residual block"),
        ({"block": "residual", "margin": 0.5}, "margin belongs to the monotone block"),
        ({"block": "dense"}, "unknown block 'dense' → .*monotone, residual"),
        ({"margin": 0.0}, "margin must lie above 0 and be at most 1"),
        ({"margin": 1.5}, "margin must lie above 0 and be at most 1"),
    ],
)
def test_values_outside_their_domain_are_refused(option, message):
    with pytest.raises(UsageError, match=message):
        build(**option)
