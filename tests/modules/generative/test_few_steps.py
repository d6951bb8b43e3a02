"""Families that learn whole steps, against the closed forms of Gaussian data."""

import math

import pytest
import torch
import yaml

from integrand.diffusion import (
    DDIM,
    EDM,
    VE,
    VP,
    BudgetError,
    CosineVP,
    DataPrediction,
    ExactMixture,
    ExplicitGrid,
    NoisePrediction,
)
from integrand.errors import UsageError
from integrand.evaluations.sampling import Wishes, named_sampler, way
from integrand.modules.generative.backbones import TimeNet
from integrand.modules.generative.consistency import ConsistencyModel
from integrand.modules.generative.consistency_levels import ConsistencyLevels
from integrand.modules.generative.diffusion import DiffusionModel
from integrand.modules.generative.few_steps import LearnedSteps
from integrand.modules.generative.flow_matching import FlowMatching
from integrand.modules.generative.flow_times import LogitNormalTimes, UniformFlowTimes
from integrand.modules.generative.mean_flow import MeanFlow, mean_and_target
from integrand.modules.generative.paths import OptimalTransportCFM
from integrand.modules.generative.pooled import PooledPairs
from integrand.modules.generative.progressive_distillation import ProgressiveDistillation, one_step_target
from integrand.modules.generative.teacher import denoised, heun_step
from integrand.solvers import Dopri5
from integrand.spec import Density, ImageSpec, VectorSpec

POINTS = VectorSpec("made-up", Density(), 2)
STD = 0.3
"""Standard deviation of the data in the closed forms."""


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def deviation(t):
    """√((1 − t)² + t² STD²): of x_t between N(0, I) and N(0, STD² I)."""
    return ((1 - t) ** 2 + (t * STD) ** 2).sqrt()


class GaussianMean(TimeNet):
    """u(x, t, h) = x (S(t + h)/S(t) − 1)/h, the mean velocity of the flow x(t) ∝ S(t); at h = 0 the velocity."""

    def forward(self, t, x, y=None, h=None):
        t = t.reshape(-1, 1)
        velocity = x * ((STD**2 + 1) * t - 1) / deviation(t) ** 2
        if h is None:
            return velocity
        h = h.reshape(-1, 1)
        return torch.where(h == 0, velocity, x * (deviation(t + h) / deviation(t) - 1) / h.clamp(min=1e-300))


def test_the_mean_velocity_of_a_gaussian_satisfies_the_identity():
    """With the true velocity for v the target is u itself; a wrong sign of any tangent is seen."""
    x, t = draws(50, 2), torch.linspace(0.0, 0.9, 50, dtype=torch.float64)
    h = 0.7 * (1 - t)
    net = GaussianMean()
    u, target = mean_and_target(net, t, h, x, net(t, x))
    torch.testing.assert_close(target, u, rtol=1e-11, atol=1e-11)
    assert (h[:, None] * (u - net(t, x))).abs().max() > 0.1  # it is not the trivial case u = v


def test_the_regression_of_mean_flow_has_no_bias_at_the_true_mean_velocity():
    """Against velocities of single pairs: the error's slope on x is 0, for short and long intervals alike."""
    n = 400_000
    x0, x1 = draws(n, 1), STD * draws(n, 1, seed=1)
    for start, length in ((0.1, 0.8), (0.4, 0.2), (0.6, 0.0)):
        t, h = torch.full((n,), start, dtype=torch.float64), torch.full((n,), length, dtype=torch.float64)
        x_t = (1 - start) * x0 + start * x1
        u, target = mean_and_target(GaussianMean(), t, h, x_t, x1 - x0)
        slope = float((x_t * (target - u)).sum() / x_t.square().sum())
        error = float((target - u).std() / (x_t.std() * math.sqrt(n)))
        assert abs(slope) < 5 * error
        assert error < 0.01  # small against u's own slope, which is about 1


def test_du_dt_is_the_derivative_along_the_path():
    torch.manual_seed(0)
    module = MeanFlow(POINTS, ema=None).double()
    x, v = draws(7, 2), draws(7, 2, seed=1)
    t, h = torch.linspace(0.1, 0.6, 7, dtype=torch.float64), torch.full((7,), 0.3, dtype=torch.float64)

    def along(e):  # the end t + h stays
        return module.net(t + e, x + e * v, None, h - e)

    _, target = mean_and_target(module.net, t, h, x, v)
    e = 1e-4  # central differences: e² of a third derivative of order 100, and rounding 1e-16/e
    expected = v + h[:, None] * (along(e) - along(-e)) / (2 * e)
    torch.testing.assert_close(target, expected, rtol=1e-6, atol=1e-6)
    assert not target.requires_grad


@pytest.mark.parametrize("steps", [1, 3])
def test_learned_steps_of_the_mean_velocity_are_exact(steps):
    module = MeanFlow(POINTS, ema=None).double()
    module.net = GaussianMean()
    x, stats = module.generate(draws(6, 2), range(6), 0, LearnedSteps(steps))
    torch.testing.assert_close(x, STD * draws(6, 2), rtol=1e-12, atol=1e-12)
    assert stats.nfe_forward == steps
    solved = module.generate(draws(6, 2), range(6), 0, Dopri5(rtol=1e-9, atol=1e-9))[0]
    torch.testing.assert_close(solved, x, rtol=1e-6, atol=1e-6)


def test_a_mean_flow_without_intervals_is_flow_matching():
    torch.manual_seed(0)
    module = MeanFlow(POINTS, ema=None, share=0.0, power=0.0).double().train()
    x = draws(20, 2)
    torch.manual_seed(1)
    loss = module.objective(x, None, "train").terms["loss"]
    torch.manual_seed(1)
    x0, x1 = module.pairs(x, "train")
    t, _ = module.intervals(20, x)
    x_t, u = module.path.between(x0, x1, t)
    torch.testing.assert_close(loss, (module.net(t, x_t) - u).square().mean())


def test_intervals_lie_in_the_unit_interval_and_as_many_as_asked_have_a_length():
    torch.manual_seed(0)
    module = MeanFlow(POINTS, share=0.6, times=LogitNormalTimes(-0.4, 1.0))
    t, h = module.intervals(20_000, torch.zeros(1))
    assert 0 <= t.min() <= (t + h).max() <= 1
    assert (h >= 0).all()
    assert float((h > 0).double().mean()) == pytest.approx(0.6, abs=0.02)  # 5 standard errors of 0.0035


# ---------------------------------------------------------------------- times and pools


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-1.2, 0.5)])
def test_logit_normal_times_have_normal_logits(mean, std):
    torch.manual_seed(0)
    z = torch.logit(LogitNormalTimes(mean, std).draw(100_000, torch.zeros(1, dtype=torch.float64)))
    assert float(z.mean()) == pytest.approx(mean, abs=5 * std / math.sqrt(1e5))
    assert float(z.std()) == pytest.approx(std, rel=5 / math.sqrt(2e5))


def test_flow_matching_trains_at_the_times_that_it_is_told():
    torch.manual_seed(0)
    usual = FlowMatching(POINTS, ema=None)
    with_uniform = FlowMatching(POINTS, ema=None, times=UniformFlowTimes())
    with_uniform.load_state_dict(usual.state_dict())
    losses = []
    for module in (usual, with_uniform):
        torch.manual_seed(3)
        losses.append(module.train().objective(draws(64, 2).float(), None, "train").terms["loss"])
    assert torch.equal(*losses)
    late = FlowMatching(POINTS, times=LogitNormalTimes(4.0, 0.1))
    assert late.draw_times(1000, torch.zeros(1)).min() > 0.95  # sigmoid(4 − 10 · 0.1)


def test_a_pool_couples_all_its_batches_and_hands_each_point_out_once():
    batches = [draws(4, 2, seed=s) + 10 * s for s in range(6)]
    pooled = PooledPairs(OptimalTransportCFM().couple, 3)
    torch.manual_seed(0)
    found = [pooled.next(x) for x in batches]
    # until the first pool is full, batches by themselves
    for (_, x1), x in zip(found[:3], batches[:3], strict=True):
        assert torch.equal(x1.sort(dim=0).values, x.sort(dim=0).values)
    x0, x1 = (torch.cat(parts) for parts in zip(*found[3:], strict=True))
    assert torch.equal(x1.sort(dim=0).values, torch.cat(batches[:3]).sort(dim=0).values)
    # the pairs are optimal among all twelve, not in each batch alone
    _, best = OptimalTransportCFM().couple(x0, x1)
    assert torch.equal(best, x1)


def test_evaluation_is_never_coupled_from_a_pool():
    module = FlowMatching(POINTS, path=OptimalTransportCFM(), pool=2)
    x = draws(5, 2).float()
    for _ in range(3):
        assert torch.equal(module.pairs(x, "val")[1].sort(dim=0).values, x.sort(dim=0).values)
    assert module._pooled._gathered == []


# ---------------------------------------------------------------------- samplers by name


def test_the_best_checkpoint_is_that_of_the_best_samples_where_they_are_scored():
    assert MeanFlow(POINTS).monitor == "val/sliced_w2"
    assert MeanFlow(ImageSpec("images", Density(), (1, 4, 4))).monitor == "val/loss"
    assert MeanFlow(POINTS).monitor_mode == "min"


def test_a_budget_of_evaluations_becomes_learned_steps():
    module = MeanFlow(POINTS, num_steps=2)
    named = named_sampler(module, "LearnedSteps")
    assert way(module, Wishes(), named, 4).num_steps == 4
    assert way(module, Wishes(), None, None).num_steps == 2
    assert way(module, Wishes(), named_sampler(module, "Euler"), 5).num_steps == 5
    assert module.sample(3).nfe == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearnedSteps(0), "num_steps is a whole number"),
        (lambda: MeanFlow(POINTS, share=1.5), "share must lie in"),
        (lambda: MeanFlow(POINTS, power=-1.0), "power must be 0 or more"),
        (lambda: FlowMatching(POINTS, pool=0), "pool=0"),
        (lambda: MeanFlow(POINTS).sample(3, sampler="euler"), "str cannot sample from MeanFlow"),
    ],
)
def test_wrong_settings_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


# ---------------------------------------------------------------------- consistency models


LEVELS = ConsistencyLevels(sigma_min=0.01, sigma_max=20.0, coarsest=10, finest=80)


def flowed(x, sigma):
    """The end at σ_min of the probability flow of N(0, STD²) through x at σ."""
    return x * ((STD**2 + LEVELS.sigma_min**2) / (STD**2 + sigma**2)) ** 0.5


class GaussianConsistency(TimeNet):
    """The network with which `ConsistencyModel` is `flowed`: (f − c_skip x)/c_out of σ and c_in x."""

    def forward(self, t, x, y=None):
        sigma = (LEVELS.sigma_min * (LEVELS.sigma_max / LEVELS.sigma_min) ** t).reshape(-1, 1)
        above, norm = sigma - LEVELS.sigma_min, (sigma**2 + 0.5**2).sqrt()
        state = x * norm
        return (flowed(state, sigma) - 0.25 / (above**2 + 0.25) * state) * norm / (above * 0.5)


def consistency(**kwargs):
    torch.manual_seed(0)
    return ConsistencyModel(POINTS, ema=None, levels=LEVELS, **kwargs).double()


def test_the_consistency_function_is_the_identity_at_the_lowest_level():
    module = consistency()
    x = draws(9, 2)
    lowest = torch.full((9,), LEVELS.sigma_min, dtype=torch.float64)
    assert torch.equal(module.consistency(module.net, x, lowest), x)
    assert not torch.equal(module.consistency(module.net, x, lowest + 0.1), x)


def test_one_step_of_the_exact_function_is_exact_and_more_keep_the_deviation():
    module = consistency()
    module.net = GaussianConsistency()
    noise = draws(6, 2)
    x, stats = module.generate(noise, range(6), 0)
    torch.testing.assert_close(x, flowed(LEVELS.sigma_max * noise, LEVELS.sigma_max), rtol=1e-9, atol=1e-12)
    assert stats.nfe_forward == 1
    x, stats = module.generate(draws(20_000, 2), range(20_000), 0, LearnedSteps(3))
    assert stats.nfe_forward == 3
    # after each step the variance is (STD² + σ_min²): what was added is x̂ ~ STD² + σ_min² + σ² − σ_min²
    assert float(x.std()) == pytest.approx(math.hypot(STD, LEVELS.sigma_min), rel=5 / math.sqrt(8e4))


@pytest.mark.parametrize("process", [EDM(), VP(), CosineVP()], ids=lambda p: type(p).__name__)
def test_a_step_of_the_teacher_follows_its_flow_to_third_order(process):
    wide = {"dtype": torch.float64}
    teacher = ExactMixture(process, torch.zeros(1, 1, **wide), torch.tensor([STD], **wide))
    x, high = draws(5, 1), torch.full((5,), 0.5, **wide)
    errors = []
    for gap in (0.1, 0.05):
        low = high - gap
        x_low = heun_step(teacher, process, x, high, low)
        errors.append(float((flowed(x_low, low[0]) - flowed(x, high[0])).abs().max()))
    # Heun's error of one step is O(gap³); at these gaps the next term changes the slope by less than 0.4
    assert math.log2(errors[0] / errors[1]) == pytest.approx(3, abs=0.4)


def test_the_denoised_of_any_process_is_that_of_the_noise_level():
    x, sigma = draws(5, 2), torch.tensor([0.05, 0.2, 1.0, 3.0, 10.0], dtype=torch.float64)
    for process in (EDM(), VP(), CosineVP(), VE()):
        teacher = ExactMixture(process, torch.zeros(1, 2), torch.tensor([STD]))
        expected = x * STD**2 / (STD**2 + sigma[:, None] ** 2)
        torch.testing.assert_close(denoised(teacher, process, x, sigma), expected, rtol=1e-5, atol=1e-6)


def test_neighbouring_levels_are_drawn_as_the_log_normal_says():
    grid = LEVELS.grid(20)
    assert grid[0].item() == pytest.approx(0.01)
    assert grid[-1].item() == pytest.approx(20.0)
    torch.manual_seed(0)
    n = 50_000
    low, high = LEVELS.draw(n, 0.3, torch.device("cpu"))  # the second of four stages: 20 intervals
    assert set(low.tolist()) <= set(grid.float().tolist())
    normal = torch.distributions.Normal(LEVELS.mean, LEVELS.std)
    mass = normal.cdf(grid.log()).diff()
    share = torch.stack([(low == g).double().mean() for g in grid[:-1].float()])
    # five standard errors of a share
    assert ((share - mass / mass.sum()).abs() < 5 * (share / n).sqrt() + 1e-4).all()
    following = dict(zip(grid.float().tolist(), grid[1:].float().tolist(), strict=False))
    assert all(following[a] == b for a, b in zip(low[:100].tolist(), high[:100].tolist(), strict=True))


def test_the_grid_is_refined_at_equal_shares_of_the_training():
    assert [LEVELS.intervals(p) for p in (0, 0.24, 0.26, 0.51, 0.76, 1.0)] == [10, 10, 20, 40, 80, 80]


def test_the_distance_is_square_near_zero_and_the_norm_far_away():
    module = consistency(huber=0.1)
    c = 0.1 * math.sqrt(2)
    gap = torch.tensor([[3.0, 4.0], [3e-5, 4e-5]], dtype=torch.float64)
    far, near = module.distance(gap).tolist()
    assert far == pytest.approx(math.sqrt(25 + c**2) - c)
    assert near == pytest.approx(25e-10 / (2 * c), rel=1e-6)


class Dropping(TimeNet):
    """Half of the state, each time another half."""

    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, t, x, y=None):
        return self.drop(x)


def test_both_passes_drop_the_same_features():
    """At nearly one level the two outputs are nearly one, unless the masks differ."""
    module = consistency().train()
    module.net = Dropping()
    low = torch.ones(64, dtype=torch.float64)
    module.levels = ConsistencyLevels(sigma_min=0.01, sigma_max=20.0)
    module.levels.draw = lambda n, progress, device: (low, low + 1e-6)
    # a gap of 1e-6 over a difference of 1e-6; other masks would give gaps of order 1 over 1e-6
    assert module.objective(draws(64, 2), None, "train").terms["loss"] < 10


def teacher_file(model, path):
    config = {"model": {"class_path": type(model).__name__, "init_args": {"likelihood_samples": 0}}}
    contents = {"config": yaml.safe_dump(config), "spec": model.spec.to_dict(), "family": "diffusion"}
    torch.save({"state_dict": model.state_dict(), "integrand": contents}, path)
    return str(path)


def test_a_diffusion_run_teaches(tmp_path):
    torch.manual_seed(0)
    path = teacher_file(DiffusionModel(POINTS), tmp_path / "best.ckpt")
    levels = ConsistencyLevels(sigma_min=0.02, sigma_max=100.0)
    module = ConsistencyModel(POINTS, teacher=path, levels=levels, ema=None).train()
    outcome = module.objective(draws(8, 2).float(), None, "train")
    outcome.loss.backward()
    assert sum(s.nfe_forward for s in outcome.solves) == 4
    assert all(p.grad is not None for p in module.net.parameters())
    # the teacher is neither trained nor saved
    assert {n.split(".")[0] for n, _ in module.named_parameters()} == {"net"}
    with pytest.raises(UsageError, match="the teacher knows noise from"):
        ConsistencyModel(POINTS).load_teacher(path)
    with pytest.raises(UsageError, match="models samples of shape"):
        ConsistencyModel(VectorSpec("made-up", Density(), 3)).load_teacher(path)
    with pytest.raises(UsageError, match="no checkpoint"):
        ConsistencyModel(POINTS).load_teacher(str(tmp_path / "none.ckpt"))


# ---------------------------------------------------------------------- progressive distillation


@pytest.mark.parametrize("process", [CosineVP(), VP(), EDM()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("last", [True, False])
def test_one_step_with_the_target_ends_where_two_of_the_teacher_do(process, last):
    """Against the DDIM of the samplers, to the data and on the way to it."""
    wide = {"dtype": torch.float64}
    means = torch.tensor([[-1.0, 0.5], [1.0, 0.0]], **wide)
    teacher = ExactMixture(process, means, torch.tensor([0.2, 0.4], **wide))
    times = [t * process.t_max for t in (0.5, 0.2, 0.0 if last else 0.1)]
    z = 2 * draws(6, 2) * process.prior_std(times[0])
    two = DDIM().sample(teacher, process, ExplicitGrid(times), z, steps=2).x
    t, m, q = (torch.full((6,), time, **wide) for time in times)
    target = one_step_target(teacher, process, z, t, m, q)
    (a, s), (a_q, s_q) = (process.levels(time[0]) for time in (t, q))
    torch.testing.assert_close(a_q * target + s_q / s * (z - a * target), two, rtol=1e-9, atol=1e-9)


def test_a_pupil_begins_at_its_teacher_and_counts_both(tmp_path):
    torch.manual_seed(0)
    first = ProgressiveDistillation(POINTS)
    path = teacher_file(first, tmp_path / "best.ckpt")
    pupil = ProgressiveDistillation(POINTS, teacher=path, num_steps=2).train()
    pupil.begin_at(first.trained.state_dict())
    outcome = pupil.objective(draws(16, 2).float(), None, "train")
    outcome.loss.backward()
    assert sum(s.nfe_forward for s in outcome.solves) == 3
    assert torch.equal(pupil.net.last.weight, first.trained.last.weight)
    assert {n.split(".")[0] for n, _ in pupil.named_parameters()} == {"net", "average"}
    assert pupil.sample(3).nfe == 2
    # two steps and no others
    assert way(pupil, Wishes(), named_sampler(pupil, "ddim"), 2).nfe == 2
    for nfe in (1, 4):
        with pytest.raises(BudgetError, match=f"at NFE {nfe}: the model's grid has 2 steps and no others"):
            way(pupil, Wishes(), named_sampler(pupil, "ddim"), nfe)
    other = ProgressiveDistillation(POINTS, teacher=path, process=CosineVP())
    with pytest.raises(UsageError, match="process is CosineVP, the teacher's VP"):
        other.objective(draws(4, 2).float(), None, "train")


def test_a_pupil_that_agrees_with_its_teacher_has_no_loss():
    """Where one step is exact, as for a point mass, two steps ask for the same x₀."""

    class Mass(TimeNet):
        def forward(self, t, x, y=None):
            return torch.zeros_like(x) + 0.7

    torch.manual_seed(0)
    pupil = ProgressiveDistillation(POINTS, teacher="none.ckpt", parametrisation=DataPrediction(), ema=None)
    teacher = DiffusionModel(POINTS, parametrisation=DataPrediction(), ema=None)
    pupil.net, teacher.net = Mass(), Mass()
    pupil._two = (teacher,)
    assert pupil.objective(draws(16, 2).float(), None, "val").terms["loss"] < 1e-6
    pupil.net = GaussianMean()
    assert pupil.objective(draws(16, 2).float(), None, "val").terms["loss"] > 1e-2


def test_noise_cannot_be_distilled():
    with pytest.raises(UsageError, match="a prediction of the noise cannot be distilled"):
        ProgressiveDistillation(POINTS, parametrisation=NoisePrediction())
