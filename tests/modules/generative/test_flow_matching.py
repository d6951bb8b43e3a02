"""Probability paths and flow matching against closed forms."""

import itertools
import math

import pytest
import torch

from integrand.errors import UsageError
from integrand.metrics import exact_w2
from integrand.modules.generative.backbones import TimeNet
from integrand.modules.generative.flow_matching import FlowMatching
from integrand.modules.generative.paths import (
    IndependentCFM,
    Lipman,
    OptimalTransportCFM,
    SchroedingerBridgeCFM,
    VariancePreservingCFM,
)
from integrand.modules.generative.paths.optimal_transport import assignment
from integrand.modules.generative.paths.schroedinger_bridge import entropic_plan
from integrand.modules.generative.rectified_flow import RectifiedFlow
from integrand.modules.generative.seeded import noise_rows
from integrand.solvers import Dopri5, Euler, Heun, TorchDiffEq
from integrand.spec import Density, VectorSpec

POINTS = VectorSpec("made-up", Density(), 2)
PATHS = {
    "independent": IndependentCFM(0.3),
    "independent-0": IndependentCFM(),
    "lipman": Lipman(0.1),
    "ot": OptimalTransportCFM(0.2),
    "vp": VariancePreservingCFM(0.1),
    "sb": SchroedingerBridgeCFM(0.8),
}
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_path
def test_rates_are_the_derivatives_of_the_coefficients(path):
    t = torch.linspace(0.05, 0.95, 7, dtype=torch.float64)
    _, rates = torch.func.jvp(path.coefficients, (t,), (torch.ones_like(t),))
    for found, expected in zip(path.rates(t), rates, strict=True):
        torch.testing.assert_close(found, expected)


@every_path
def test_the_velocity_is_that_of_the_point(path):
    x0, x1, noise = draws(9, 2), draws(9, 2, seed=1), draws(9, 2, seed=2)
    t = torch.linspace(0.05, 0.95, 9, dtype=torch.float64)
    _, velocity = torch.func.jvp(lambda s: path.between(x0, x1, s, noise)[0], (t,), (torch.ones_like(t),))
    torch.testing.assert_close(path.between(x0, x1, t, noise)[1], velocity)


@every_path
def test_the_ends_of_a_path_are_noise_and_data(path):
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    noise, data, spread = path.coefficients(ends)
    # what is left of the other end: σ of Lipman's path, rounding of cos(π/2) of the trigonometric one
    left = path.sigma if isinstance(path, Lipman) else 0.0
    torch.testing.assert_close(noise, torch.tensor([1.0, left], dtype=torch.float64), atol=1e-15, rtol=0)
    torch.testing.assert_close(data, torch.tensor([0.0, 1.0], dtype=torch.float64), atol=1e-15, rtol=0)
    if isinstance(path, SchroedingerBridgeCFM):
        assert spread.tolist() == [0.0, 0.0]
    else:
        assert spread.tolist() == [0.0 if isinstance(path, Lipman) else path.sigma] * 2


@every_path
def test_the_minimiser_is_the_closed_form_between_gaussians(path):
    """Independent x₀ ~ N(0, 1), x₁ ~ N(m, c²): E[u_t | x_t = x] is linear, and the flow of it ends in N(m, c²)."""
    m, c = 1.5, 0.4
    t = torch.tensor(0.37, dtype=torch.float64)
    n, d, s = path.coefficients(t)
    dn, dd, ds = path.rates(t)
    variance = n**2 + d**2 * c**2 + s**2
    slope = (dn * n + dd * d * c**2 + ds * s) / variance
    x0, x1, noise = draws(400_000, 1), m + c * draws(400_000, 1, seed=1), draws(400_000, 1, seed=2)
    x, u = path.between(x0, x1, t.expand(400_000), noise)
    # least squares of u on x from 400,000 draws: standard errors below |u|/√N ≈ 3e-3
    design = torch.cat([torch.ones_like(x), x], dim=1)
    intercept, fitted = torch.linalg.lstsq(design, u).solution.flatten().tolist()
    assert fitted == pytest.approx(float(slope), abs=0.02)
    assert intercept == pytest.approx(float(dd * m - slope * d * m), abs=0.02)


class Closed(TimeNet):
    """The minimiser of `path` between N(0, 1) and N(m, c²)."""

    def __init__(self, path, m, c):
        super().__init__()
        self.path, self.m, self.c = path, m, c

    def forward(self, t, x, y=None):
        t = t.reshape(-1, 1)
        n, d, s = self.path.coefficients(t)
        dn, dd, ds = self.path.rates(t)
        slope = (dn * n + dd * d * self.c**2 + ds * s) / (n**2 + d**2 * self.c**2 + s**2)
        return dd * self.m + slope * (x - d * self.m)


@pytest.mark.parametrize("name", ["independent", "independent-0", "lipman", "vp"])
def test_the_minimiser_carries_the_marginals(name):
    path, m, c = PATHS[name], 1.5, 0.4
    x = draws(5, 1)
    end = Dopri5(rtol=1e-9, atol=1e-9).solve(Closed(path, m, c), x, [0.0, 1.0]).ys[-1]
    # between Gaussians the flow is x ↦ m + (deviation at 1 / deviation at 0) x
    n, d, s = (k.tolist() for k in path.coefficients(torch.tensor([0.0, 1.0], dtype=torch.float64)))
    spread = [math.sqrt(n[i] ** 2 + (d[i] * c) ** 2 + s[i] ** 2) for i in (0, 1)]
    torch.testing.assert_close(end, m + spread[1] / spread[0] * x, rtol=1e-6, atol=1e-6)


def test_a_point_mass_is_reached_in_one_euler_step():
    """All data at p: u(t, x) = (p − x)/(1 − t), so that the paths are straight and one step is exact."""

    class ToPoint(TimeNet):
        def forward(self, t, x, y=None):
            return (torch.tensor([3.0, -1.0], dtype=x.dtype) - x) / (1 - t.reshape(-1, 1))

    module = FlowMatching(POINTS, ema=None).double()
    module.net = ToPoint()
    x, stats = module.generate(draws(6, 2), range(6), 0, Euler(num_steps=1))
    torch.testing.assert_close(x, torch.tensor([3.0, -1.0], dtype=torch.float64).expand(6, 2))
    assert stats.nfe_forward == 1
    # it is the regression's own target: every pair has u = (p − x_t)/(1 − t)
    x0, t = draws(6, 2), torch.linspace(0, 0.9, 6, dtype=torch.float64)
    p = torch.tensor([3.0, -1.0], dtype=torch.float64).expand(6, 2)
    x_t, u = IndependentCFM().between(x0, p, t)
    torch.testing.assert_close(u, ToPoint()(t, x_t))


def test_lipman_without_spread_is_the_independent_path():
    x0, x1, t = draws(8, 3), draws(8, 3, seed=1), torch.rand(8, dtype=torch.float64)
    for a, b in zip(Lipman(0.0).between(x0, x1, t), IndependentCFM().between(x0, x1, t), strict=True):
        assert torch.equal(a, b)
    # and for any spread its velocity is the paper's formula in x_t
    sigma = 0.2
    x_t, u = Lipman(sigma).between(x0, x1, t)
    left = 1 - (1 - sigma) * t[:, None]
    torch.testing.assert_close(u, (x1 - (1 - sigma) * x_t) / left)


def test_the_bridge_has_the_variance_of_a_brownian_bridge():
    path = SchroedingerBridgeCFM(0.7)
    t = torch.tensor([0.1, 0.5, 0.8], dtype=torch.float64)
    n = 200_000
    for value in t.tolist():
        zero, noise = torch.zeros(n, 1, dtype=torch.float64), draws(n, 1, seed=int(10 * value))
        x, u = path.between(zero, zero + 2, torch.full((n,), value, dtype=torch.float64), noise)
        variance = 0.49 * value * (1 - value)
        assert float(x.var()) == pytest.approx(variance, rel=0.02)  # √(2/n) = 0.3 %
        # u = (1 − 2t)/(2t(1 − t)) (x − μ_t) + x₁ − x₀
        expected = (1 - 2 * value) / (2 * value * (1 - value)) * (x - 2 * value) + 2
        torch.testing.assert_close(u, expected)


def test_the_trigonometric_path_keeps_the_variance():
    noise, data, _ = VariancePreservingCFM().coefficients(torch.linspace(0, 1, 11, dtype=torch.float64))
    torch.testing.assert_close(noise**2 + data**2, torch.ones(11, dtype=torch.float64))


@every_path
def test_times_keep_away_from_singular_ends(path):
    torch.manual_seed(0)
    t = path.times(10_000, torch.zeros(1))
    assert t.min() >= path.margin
    assert t.max() <= 1 - path.margin
    assert t.mean() == pytest.approx(0.5, abs=0.02)  # 7 standard errors
    x, u = path.between(draws(10_000, 1), draws(10_000, 1, seed=1), t)
    assert torch.isfinite(x).all()
    assert torch.isfinite(u).all()


# ---------------------------------------------------------------------- couplings


def test_the_assignment_is_the_cheapest_of_all():
    a, b = draws(6, 2), draws(6, 2, seed=1)
    rows = assignment(a, b)
    assert sorted(rows.tolist()) == list(range(6))
    cost = float((a - b[rows]).square().sum())
    best = min(float((a - b[list(p)]).square().sum()) for p in itertools.permutations(range(6)))
    assert cost == pytest.approx(best)


def test_optimal_pairs_cost_no_more_than_independent_ones():
    for seed in range(5):
        x0, x1 = draws(64, 2, seed=seed), 2 * draws(64, 2, seed=seed + 50) + 1
        a, b = OptimalTransportCFM().couple(x0, x1)
        assert torch.equal(a, x0)
        assert torch.equal(b.sort(dim=0).values, x1.sort(dim=0).values)  # the same data in another order
        assert (a - b).square().sum() < (x0 - x1).square().sum()
        assert float((a - b).square().sum(dim=1).mean()) == pytest.approx(exact_w2(x0, x1) ** 2)


def test_optimal_pairs_on_a_line_do_not_cross():
    x0, x1 = OptimalTransportCFM().couple(draws(100, 1), draws(100, 1, seed=1))
    order = x0[:, 0].argsort()
    assert (x1[order, 0].diff() >= 0).all()


def test_the_entropic_plan_has_its_marginals_and_its_limits():
    x0, x1 = draws(20, 2), draws(20, 2, seed=1)
    plan = entropic_plan(x0, x1, 1.0, tolerance=1e-9)
    ones = torch.full((20,), 1 / 20, dtype=torch.float64)
    # the iteration stops at 1e-9 on one marginal; the other is exact
    torch.testing.assert_close(plan.sum(dim=0), ones, atol=1e-7, rtol=0)
    torch.testing.assert_close(plan.sum(dim=1), ones, atol=1e-7, rtol=0)
    # much noise: independent; little: the optimal assignment
    torch.testing.assert_close(
        entropic_plan(x0, x1, 1e6), torch.full((20, 20), 1 / 400, dtype=torch.float64), rtol=1e-4, atol=0
    )
    assert torch.equal(entropic_plan(x0, x1, 0.01).argmax(dim=1), assignment(x0, x1))


def test_bridge_pairs_follow_the_plan():
    path = SchroedingerBridgeCFM(0.05)
    torch.manual_seed(0)
    x0, x1 = draws(15, 2), draws(15, 2, seed=1)
    _, paired = path.couple(x0, x1)
    optimal = x1[assignment(x0, x1)]
    # at 2σ² = 0.005 the plan is the assignment but for nearly equal costs
    assert (paired == optimal).all(dim=1).double().mean() > 0.8


# ---------------------------------------------------------------------- modules


class Drift(TimeNet):
    """A constant velocity."""

    def forward(self, t, x, y=None):
        return torch.tensor([1.0, -2.0], dtype=x.dtype).expand_as(x)


class Turn(TimeNet):
    """A rotation by π/2."""

    def forward(self, t, x, y=None):
        return math.pi / 2 * torch.stack([-x[:, 1], x[:, 0]], dim=1)


def test_straightness_is_zero_for_straight_paths_and_known_for_circles():
    module = FlowMatching(POINTS, ema=None, solver=Dopri5(rtol=1e-9, atol=1e-9)).double()
    noise = draws(32, 2)
    module.net = Drift()
    assert module.straightness(noise) == pytest.approx(0, abs=1e-12)
    module.net = Turn()
    # ∫|v|² − |chord|² = r²((π/2)² − 2); the trapezoid rule on 32 intervals is off by about 3e-4 of it
    r2 = float(noise.square().sum(dim=1).mean())
    assert module.straightness(noise) == pytest.approx(r2 * (math.pi**2 / 4 - 2), rel=2e-3)


def test_any_solver_of_the_engine_samples():
    module = FlowMatching(POINTS, ema=None).double()
    module.net = Turn()
    x = module.sample(5, sampler=TorchDiffEq(rtol=1e-9, atol=1e-9)).x
    noise = noise_rows(0, 0, 5, (2,))
    for sampler, close in (
        (Heun(num_steps=50), 1e-3),
        (Dopri5(rtol=1e-9, atol=1e-9), 2e-5),
    ):  # the noise is float32
        torch.testing.assert_close(module.sample(5, sampler=sampler).x, x, atol=close, rtol=0)
    torch.testing.assert_close(x, torch.stack([-noise[:, 1], noise[:, 0]], dim=1).to(x), atol=2e-5, rtol=0)
    with pytest.raises(UsageError, match="str cannot sample from FlowMatching"):
        module.sample(5, sampler="euler")


def test_the_first_samples_are_those_of_a_larger_set():
    assert torch.equal(noise_rows(3, 0, 5, (2,)), noise_rows(3, 0, 900, (2,))[:5])
    assert torch.equal(noise_rows(3, 700, 705, (2,)), noise_rows(3, 0, 900, (2,))[700:705])
    assert not torch.equal(noise_rows(3, 0, 5, (2,)), noise_rows(4, 0, 5, (2,)))
    assert noise_rows(3, 5, 5, (2,)).shape == (0, 2)


def checkpoint(module, path, family):
    torch.save({"state_dict": module.state_dict(), "integrand": {"family": family}}, path)
    return str(path)


def test_reflow_starts_at_the_teacher_and_learns_its_pairs(tmp_path):
    torch.manual_seed(0)
    teacher = FlowMatching(POINTS)
    with torch.no_grad():
        for p in teacher.average.module.parameters():
            p.mul_(1.5)
    student = RectifiedFlow(
        POINTS, teacher=checkpoint(teacher, tmp_path / "best.ckpt", "flow-matching"), pairs=40
    )
    assert torch.equal(student.sample(7, seed=2).x, teacher.sample(7, seed=2).x)
    with torch.no_grad():
        for p in student.parameters():
            p.add_(0.1)  # as if a fit were resumed
    student.on_fit_start()
    x = draws(30, 2).float()
    x0, x1 = student.pairs(x, "train")
    assert x0.shape == x1.shape == (30, 2)
    # every pair is connected by the teacher's flow
    torch.testing.assert_close(teacher.generate(x0, range(30), 0)[0], x1, rtol=1e-4, atol=1e-4)
    # evaluation is against data
    assert student.pairs(x, "val")[1] is x
    # data do not enter the training loss at all
    torch.manual_seed(1)
    first = student.objective(x, None, "train").terms["loss"]
    torch.manual_seed(1)
    assert torch.equal(first, student.objective(x + 100, None, "train").terms["loss"])


def test_teachers_that_cannot_teach_are_refused(tmp_path):
    teacher = FlowMatching(POINTS, ema=None)
    with pytest.raises(UsageError, match="no checkpoint"):
        RectifiedFlow(POINTS, teacher=str(tmp_path / "none.ckpt"))
    (tmp_path / "text.ckpt").write_text("no weights")
    with pytest.raises(UsageError, match="cannot be read as a checkpoint"):
        RectifiedFlow(POINTS, teacher=str(tmp_path / "text.ckpt"))
    with pytest.raises(UsageError, match="a checkpoint of cnf, which cannot teach rectified-flow"):
        RectifiedFlow(POINTS, teacher=checkpoint(teacher, tmp_path / "cnf.ckpt", "cnf"))
    other = VectorSpec("made-up", Density(), 3)
    with pytest.raises(UsageError, match="other shapes"):
        RectifiedFlow(other, teacher=checkpoint(teacher, tmp_path / "fm.ckpt", "flow-matching"))
    # without an average the plain weights teach
    assert RectifiedFlow(POINTS, teacher=str(tmp_path / "fm.ckpt")).sample(3).x.shape == (3, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IndependentCFM(-1.0), "sigma must be 0 or more"),
        (lambda: SchroedingerBridgeCFM(0.0), "needs sigma > 0"),
        (lambda: SchroedingerBridgeCFM(0.5, margin=0.5), "margin must lie in"),
        (lambda: RectifiedFlow(POINTS, pairs=0), "pairs=0"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()
