"""SA-Solver, SEEDS and the adaptive DPM-Solver: what they are exact for, and what they reduce to."""

import math

import pytest
import torch
from diffusion_cases import F64, normal, zero_mean_mixture

from integrand.diffusion import (
    DDIM,
    EDM,
    IPNDM,
    SEEDS,
    VP,
    DPMSolverAdaptive,
    DPMSolverPPSinglestep,
    DPMSolverSDE,
    DPMSolverSinglestep,
    ExplicitGrid,
    KarrasGrid,
    LogSNRGrid,
    NoisePrediction,
    ProbabilityFlow,
    SampleNoise,
    SASolver,
    Stream,
)
from integrand.diffusion.samplers.exponential import moments
from integrand.errors import UsageError
from integrand.solvers import Dopri8

BATCH = 5


class Drawn:
    def normals(self, n, stream=Stream.STEP):
        return normal(BATCH, 2, seed=n)


def run(sampler, process, grid, x, steps=None, model=None):
    model = model or zero_mean_mixture(process)
    return sampler.sample(model, process, grid, x, Drawn(), steps=steps)


# --- SA-Solver -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tau", "other"), [(0.0, DDIM()), (1.0, DPMSolverSDE(1))])
@pytest.mark.parametrize("process", [VP(), EDM()], ids=lambda p: p.describe())
def test_sa_solver_of_one_evaluation(tau, other, process):
    x, grid = process.prior_std() * normal(BATCH, 2), KarrasGrid(to_zero=True)
    ours, theirs = (run(s, process, grid, x, 12) for s in (SASolver(1, 0, tau), other))
    assert ours.nfe == theirs.nfe == 12
    torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-12 * process.prior_std())


@pytest.mark.parametrize("z", [1e-4, 0.3, 0.999, 1.001, 7.0, 40.0])
def test_moments_are_those_integrals(z):
    """By Simpson's rule on 20 000 intervals; its error is z⁵ h⁴/180 and less than 1e-11."""
    v = torch.linspace(0, 1, 20001, dtype=F64)
    for k, moment in enumerate(moments(z, 4)):
        f = z * torch.exp(-z * v) * v**k
        simpson = (f[0] + f[-1] + 4 * f[1::2].sum() + 2 * f[2:-1:2].sum()) / (3 * 20000)
        assert moment == pytest.approx(float(simpson), rel=1e-8)


def test_noise_is_drawn_between_the_levels_only():
    process, x, grid = VP(), normal(BATCH, 2), LogSNRGrid()
    levels = [node.rho for node in process.nodes(grid.times(process, 12))[:-1]]
    drawn = []

    class Counted(Drawn):
        def normals(self, n, stream=Stream.STEP):
            drawn.append(n)
            return super().normals(n, stream)

    SASolver(low=0.1, high=10.0).sample(zero_mean_mixture(process), process, grid, x, Counted(), steps=12)
    assert drawn == [n for n, rho in enumerate(levels) if 0.1 <= rho <= 10.0]


# --- SEEDS -----------------------------------------------------------------------------------------------


class Noise:
    """Predicts noise that depends on λ alone, on EDM, where x = y."""

    parametrisation, conditional = NoisePrediction(), False

    def __init__(self, slope):
        self.slope = slope

    def __call__(self, x, t):
        return (0.3 - self.slope * t.log()).unsqueeze(1).expand_as(x)


@pytest.mark.parametrize(("order", "slope"), [(1, 0.0), (2, 0.0), (3, 0.0), (3, 0.2)])
def test_seeds_is_exact_for_noise_that_is_a_polynomial_in_the_log_snr(order, slope):
    """y_b = y_a + 2 ∫ ε dρ + Σ √(ρ_u² − ρ_v²) z; SEEDS-3 also where ε is linear in λ."""
    a, b, x = 3.0, 0.7, normal(BATCH, 2)
    out = SEEDS(order).sample(Noise(slope), EDM(), ExplicitGrid([a, b]), x, Drawn()).x

    def primitive(r):
        return 0.3 * r - slope * (r * math.log(r) - r)

    cuts = [a * (b / a) ** (k / order) for k in range(order + 1)]
    exact = x + 2 * (primitive(b) - primitive(a))
    for k in range(order):
        exact = exact + math.sqrt(cuts[k] ** 2 - cuts[k + 1] ** 2) * normal(BATCH, 2, seed=k)
    torch.testing.assert_close(out, exact, rtol=0, atol=1e-12)


# --- adaptive --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "cls"), [("data", DPMSolverPPSinglestep), ("noise", DPMSolverSinglestep)])
@pytest.mark.parametrize("order", [2, 3])
def test_one_adaptive_step_is_the_singlestep_solver(order, form, cls):
    process, x = VP(), normal(BATCH, 2)
    grid = LogSNRGrid(process.node_at(-1.0).t, process.node_at(0.0).t)
    loose = DPMSolverAdaptive(order, 1e3, 1e3, first_step=1.0, form=form)
    ours = run(loose, process, grid, x)
    theirs = run(cls(order, lower_order_final=False), process, grid, x, order)
    assert ours.nfe == theirs.nfe == order
    torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-12)


def test_adaptive_steps_are_the_published_ones():
    """The pair 1/2 by the noise, written down for EDM, where y = x and h is −Δ log ρ."""
    process, x = EDM(0.02, 80.0), 80 * normal(BATCH, 2)
    model, calls, trials = zero_mean_mixture(process), 0, 0
    rho, end, h, before, y = 80.0, 0.02, 2.0, x, x
    while rho > end * (1 + 1e-12):
        h, trials = min(h, math.log(rho / end)), trials + 1
        middle, last = rho * math.exp(-h / 2), rho * math.exp(-h)
        e0 = model(y, torch.full((BATCH,), rho, dtype=F64))
        low = y + (last - rho) * e0
        high = y + (last - rho) * model(y + (middle - rho) * e0, torch.full((BATCH,), middle, dtype=F64))
        scale = torch.maximum(low.abs(), before.abs()).mul(0.05).clamp_min(0.0078)
        error = float(((high - low) / scale).square().mean(1).sqrt().max())
        if error <= 1:
            y, before, rho, calls = high, low, last, calls + 1
        h = 0.9 * h * error**-0.5
    ours = run(DPMSolverAdaptive(2, first_step=2.0, form="noise"), process, LogSNRGrid(), x)
    assert trials > calls  # some were refused
    assert ours.nfe == calls + trials
    torch.testing.assert_close(ours.x, y, rtol=0, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_a_tighter_tolerance_lowers_the_error(order):
    process, x = VP(), normal(16, 2)
    model, grid = zero_mean_mixture(process), LogSNRGrid()
    exact = ProbabilityFlow(Dopri8(rtol=1e-11, atol=1e-11), "log_snr").sample(model, process, grid, x).x
    errors, costs = [], []
    for tolerance in (1e-2, 1e-3, 1e-4):
        out = DPMSolverAdaptive(order, tolerance, tolerance).sample(model, process, grid, x)
        errors.append(float((out.x - exact).abs().max()))
        costs.append(out.nfe)
    # the error kept is the higher order's: below the tolerance at each
    assert all(e < 2 * t for e, t in zip(errors, (1e-2, 1e-3, 1e-4), strict=True)), errors
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert costs == sorted(costs)


def test_a_sample_that_is_not_finite_does_not_stop_the_others():
    process, x = VP(), normal(3, 2)
    x[1] = torch.nan
    model, grid = zero_mean_mixture(process), LogSNRGrid(to_zero=True)
    whole = DPMSolverAdaptive().sample(model, process, grid, x)
    assert whole.failed.tolist() == [False, True, False]
    alone = DPMSolverAdaptive().sample(model, process, grid, x[[0, 2]])
    torch.testing.assert_close(whole.x[[0, 2]], alone.x, rtol=0, atol=1e-12)
    assert DPMSolverAdaptive().sample(model, process, grid, x * torch.nan).failed.all()


# --- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SASolver(tau=-1.0), "tau must be at least 0"),
        (lambda: SASolver(corrector=1), "corrector"),
        (lambda: SASolver(5), "predictor"),
        (lambda: SASolver(low=2.0, high=1.0), "no noise level lies between"),
        (lambda: SEEDS(4), "order"),
        (lambda: DPMSolverAdaptive(1), "order"),
        (lambda: DPMSolverAdaptive(rtol=0.0), "rtol"),
        (lambda: DPMSolverAdaptive(safety=1.5), "safety"),
        (lambda: IPNDM(5), "order"),
    ],
)
def test_settings_that_make_no_sampler_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_ipndm_of_order_one_is_ddim():
    process, x = VP(), normal(BATCH, 2)
    ours, theirs = (run(s, process, LogSNRGrid(to_zero=True), x, 7) for s in (IPNDM(1), DDIM()))
    torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-12)


def test_numbers_are_kept_apart_by_stream():
    noise = SampleNoise(0, (4, 2))
    drawn = [noise.normals(0, stream) for stream in Stream]
    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
