"""Identities between samplers, and facts that hold for one of them."""

import math
from itertools import pairwise

import pytest
import torch
from diffusion_cases import F64, linear_moments, normal, zero_mean_mixture

from integrand.diffusion import (
    DDIM,
    DEISAB,
    DEISRK,
    EDM,
    IPNDM,
    PLMS,
    PNDM,
    VE,
    VP,
    Ancestral,
    CosineVP,
    DataPrediction,
    DiscreteVP,
    DPMSolverMultistep,
    DPMSolverPPMultistep,
    DPMSolverPPSinglestep,
    DPMSolverSinglestep,
    EDMGrid,
    EulerMaruyama,
    Evaluator,
    ExactMixture,
    ExplicitGrid,
    Heun,
    KarrasGrid,
    LogSNRGrid,
    NoisePrediction,
    PredictorCorrector,
    ProbabilityFlow,
    QuadraticGrid,
    ReverseDiffusion,
    SampleNoise,
    ScorePrediction,
    SubVP,
    UniformGrid,
    UniPC,
    VelocityPrediction,
    draw_prior,
)
from integrand.diffusion.samplers import Run
from integrand.diffusion.samplers.adams_bashforth import WEIGHTS, extrapolated
from integrand.diffusion.samplers.exponential import tail
from integrand.diffusion.samplers.transfer import forward_variance, posterior_std
from integrand.errors import UsageError
from integrand.solvers import Dopri5, Dopri8, Midpoint

PROCESSES = [VP(), SubVP(), VE(), EDM(), CosineVP(), DiscreteVP()]


def named(process):
    return process.describe()


@pytest.mark.parametrize("process", PROCESSES, ids=named)
def test_first_order_methods_are_one(process):
    """DDIM(0) = DPM-Solver-1 = UniP-1 = tAB0-DEIS = exponential Euler: all exact for constant noise."""
    grid, model = QuadraticGrid(), zero_mean_mixture(process)
    x = process.prior_std() * normal(5, 2)
    y = x
    nodes = process.nodes(grid.times(process, 12))
    for a, b in pairwise(nodes):
        # d(x/α) = ε d(σ/α): Euler in that variable
        noise = model(y, torch.full((5,), a.t, dtype=F64))
        y = b.alpha * (y / a.alpha + (b.sigma / b.alpha - a.sigma / a.alpha) * noise)
    for sampler in (
        DDIM(),
        DPMSolverMultistep(1),
        DPMSolverPPMultistep(1),
        DPMSolverSinglestep(1),
        DPMSolverPPSinglestep(1),
        UniPC(1, corrector=False),
        DEISAB(0),
    ):
        out = sampler.sample(model, process, grid, x, steps=12).x
        # the states of VE and EDM begin at 50 and 80
        assert (out - y).abs().max() <= 1e-12 * process.prior_std(), sampler.describe()


@pytest.mark.parametrize("process", PROCESSES, ids=named)
def test_ddim_1_is_ddpm_with_posterior_variance(process):
    grid, model = LogSNRGrid(to_zero=True), zero_mean_mixture(process)
    noise = SampleNoise(0, (5, 2), dtype=F64)
    x = draw_prior(process, grid, noise)
    a = DDIM(1.0).sample(model, process, grid, x, noise, steps=12).x
    b = Ancestral("posterior").sample(model, process, grid, x, noise, steps=12).x
    assert (a - b).abs().max() <= 1e-12 * process.prior_std()


def test_ddpm_is_gaussian_conditioning():
    """Mean and variance of q(x_b | x_a, x_0) from the joint distribution of x_a and x_b."""
    process = SubVP()
    a, b = process.node(0.7), process.node(0.4)
    ratio = a.alpha / b.alpha
    # x_b = α_b x_0 + σ_b ε, x_a = ratio x_b + noise
    covariance = ratio * b.sigma**2
    gain = covariance / a.sigma**2
    variance = b.sigma**2 - gain * covariance
    assert posterior_std(a, b) ** 2 == pytest.approx(variance, rel=1e-12)
    assert forward_variance(a, b) == pytest.approx(a.sigma**2 - ratio**2 * b.sigma**2, rel=1e-12)
    x0, x = 0.8, -1.3
    model = ExactMixture(process, torch.full((1, 1), x0, dtype=F64), torch.zeros(1, dtype=F64))

    class Zero:
        def normals(self, n, stream=0):
            return torch.zeros(1, 1, dtype=F64)

    out = (
        Ancestral().sample(model, process, ExplicitGrid([0.7, 0.4]), torch.tensor([[x]], dtype=F64), Zero()).x
    )
    assert float(out) == pytest.approx(b.alpha * x0 + gain * (x - a.alpha * x0), rel=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=named)
@pytest.mark.parametrize(
    "sampler",
    [
        DDIM(),
        DPMSolverMultistep(2),
        DPMSolverPPMultistep(3),
        DPMSolverSinglestep(3),
        DPMSolverPPSinglestep(2),
        UniPC(3),
        DEISAB(3),
        DEISAB(2, "rho"),
        DEISRK("rk4"),
        Heun(),
        IPNDM(),
        PLMS(),
        PNDM(),
    ],
    ids=lambda s: s.describe(),
)
def test_point_mass(sampler, process):
    """All data in one point: ε is constant along the flow, so one step of any length is exact."""
    point = torch.tensor([[0.7, -1.1]], dtype=F64)
    model = ExactMixture(process, point, torch.zeros(1, dtype=F64))
    x = process.prior_std() * normal(4, 2)
    first = process.node(process.t_max)
    noise = (x - first.alpha * point) / first.sigma
    end = process.node(process.t_min)
    # x/α of size ρ is formed and cancelled, ε = (x − α x_0)/σ divides the rounding by σ, a step multiplies by ρ
    tolerance = 2e-15 * first.rho * max(1.0, first.rho) / end.sigma
    for steps in (sampler.minimum_steps, sampler.minimum_steps + 3):
        out = sampler.sample(model, process, LogSNRGrid(), x, steps=steps).x
        torch.testing.assert_close(out, end.alpha * point + end.sigma * noise, rtol=0, atol=tolerance)
        out = sampler.sample(model, process, LogSNRGrid(to_zero=True), x, steps=steps + 1).x
        torch.testing.assert_close(out, point.expand(4, 2), rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    "parametrisation", [DataPrediction(), VelocityPrediction(), ScorePrediction()], ids=lambda p: p.name
)
def test_parametrisation_does_not_matter(parametrisation):
    process, x = VP(), normal(5, 2)
    for sampler in (DDIM(), UniPC(2), Heun(), EulerMaruyama()):
        noise = SampleNoise(0, (5, 2), dtype=F64)
        results = [
            sampler.sample(zero_mean_mixture(process, p), process, LogSNRGrid(), x, noise, steps=10).x
            for p in (NoisePrediction(), parametrisation)
        ]
        torch.testing.assert_close(*results, rtol=0, atol=1e-11)


def test_the_corrector_raises_the_slope_by_one(wide):
    process, grid = wide
    x, model = normal(32, 2), zero_mean_mixture(process)
    exact = ProbabilityFlow(Dopri8(rtol=1e-12, atol=1e-12), "log_snr").sample(model, process, grid, x).x
    for p in (1, 2):
        slopes = []
        for corrector in (False, True):
            sampler = UniPC(p, corrector=corrector, lower_order_final=False)
            outs = [sampler.sample(model, process, grid, x, steps=n).x for n in (128, 256)]
            a, b = ((out - exact).norm() for out in outs)
            slopes.append(math.log2(a / b))
        assert slopes[1] - slopes[0] == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("process", [VP(), SubVP(), EDM()], ids=named)
@pytest.mark.parametrize(
    "sampler",
    [
        EulerMaruyama(),
        ReverseDiffusion(),
        Ancestral("beta"),
        Ancestral(),
        DDIM(1.0),
        ProbabilityFlow(Midpoint(num_steps=1)),
    ],
    ids=lambda s: s.describe(),
)
def test_sde_and_flow_share_their_marginals(sampler, process):
    """Mean and variance of mixture samples are those of p_t, by equation and by flow."""
    n, model = 2048, zero_mean_mixture(process)
    # the coarse end: below it steps even in λ would spend themselves
    grid = LogSNRGrid(t_end=process.node_at(1.5).t)
    noise = SampleNoise(1, (n, 2), dtype=F64)
    x = draw_prior(process, grid, noise)
    out = sampler.sample(model, process, grid, x, noise, steps=100).x
    end = process.node_at(1.5)
    means, stds = model.means, model.stds
    weights = model.log_weights.exp().unsqueeze(1)
    second = (weights * (means.square() + stds.square().unsqueeze(1))).sum(0)
    variance = end.alpha**2 * second + end.sigma**2
    fourth = (out - out.mean(0)).pow(4).mean(0)
    error_mean = (variance / n).sqrt()
    error_variance = ((fourth - variance**2) / n).sqrt()
    # 4.5 Monte-Carlo errors (one in 10⁵) and 100 steps' first-order bias, some per cent
    bias = 0.04
    assert ((out.mean(0)).abs() <= 4.5 * error_mean + bias * variance.sqrt()).all()
    assert ((out.var(0) - variance).abs() <= 4.5 * error_variance + bias * variance).all()


@pytest.mark.parametrize("norms", ["sample", "expected"])
def test_langevin_keeps_the_distribution_to_its_step(norms):
    """Under N(0, I) one correction of fixed ε gives variance (1 − ε)² + 2ε = 1 + ε².

    With the sample's own norms, E‖z‖⁴/‖x‖² = d (d + 2)/(d − 2) makes it 1 − 2ε + (2ε + ε²)(d + 2)/(d − 2).
    """
    process, d = VP(), 64
    model = ExactMixture(process, torch.zeros(1, d, dtype=F64), torch.ones(1, dtype=F64))
    sampler = PredictorCorrector(snr=0.4, norms=norms)
    run = Run(
        process, process.nodes(torch.tensor([0.5, 0.49], dtype=F64)), Evaluator(model), None, UniformGrid()
    )
    out = sampler.correct(run, 0, normal(6000, d), normal(6000, d, seed=1))
    a, b = run.nodes
    step = 2 * (0.4 * a.alpha / b.alpha) ** 2
    factor = (d + 2) / (d - 2) if norms == "sample" else 1.0
    step *= 1.0 if norms == "sample" else a.sigma**2
    expected = 1 - 2 * step + (2 * step + step**2) * factor
    monte_carlo = math.sqrt(2 / out.numel()) * expected
    assert float(out.mean()) == pytest.approx(0.0, abs=4.5 / math.sqrt(out.numel()))
    assert float(out.var()) == pytest.approx(expected, abs=4.5 * monte_carlo)
    assert expected - 1 > 9 * monte_carlo  # or the test could not tell


def test_predictor_corrector_samples_the_data():
    process, n = VP(), 2000
    model = ExactMixture(process, torch.full((1, 4), 0.5, dtype=F64), torch.full((1,), 0.7, dtype=F64))
    noise = SampleNoise(2, (n, 4), dtype=F64)
    grid = LogSNRGrid(to_zero=True)
    x = draw_prior(process, grid, noise)
    sampler = PredictorCorrector(DDIM(1.0), snr=0.1, norms="expected")
    out = sampler.sample(model, process, grid, x, noise, steps=150).x
    # Monte-Carlo errors 0.008 and 0.008 · √2 · 0.49 = 0.008 (n · 4 values); 150 steps bias by some per cent
    assert float(out.mean()) == pytest.approx(0.5, abs=0.035)
    assert float(out.var()) == pytest.approx(0.49, abs=0.035 + 0.02)


def test_a_predictor_has_no_memory():
    for predictor in (UniPC(), Heun(), DPMSolverSinglestep(2)):
        with pytest.raises(UsageError, match="cannot be a predictor"):
            PredictorCorrector(predictor)


def test_adaptive_flow_keeps_its_tolerance(wide):
    process, grid = wide
    x, model = normal(16, 2), zero_mean_mixture(process)
    exact = ProbabilityFlow(Dopri8(rtol=1e-12, atol=1e-12), "log_snr").sample(model, process, grid, x).x
    for variable in ("t", "log_snr"):
        out = ProbabilityFlow(Dopri5(rtol=1e-7, atol=1e-7), variable).sample(model, process, grid, x).x
        # local tolerances add up over some tens of steps
        assert (out - exact).abs().max() <= 1e-5


def test_heun_makes_35_evaluations_of_18_steps():
    process, x = EDM(), 80 * normal(3, 2)
    model = zero_mean_mixture(process)
    assert Heun().sample(model, process, EDMGrid(), x, steps=18).nfe == 35
    assert Heun().steps_for(35, to_zero=True) == 18


def test_churn_draws_only_within_its_range():
    process, x = EDM(), 80 * normal(3, 2)
    model = zero_mean_mixture(process)

    def run(**options):
        noise = SampleNoise(0, x.shape, dtype=F64)
        return Heun(**options).sample(model, process, EDMGrid(), x, noise, steps=10).x

    assert torch.equal(run(), run(churn=10, churn_min=100.0))
    assert not torch.equal(run(), run(churn=10))


def test_churn_stays_inside_a_bounded_process():
    """On VP the raised level may not leave t ≤ 1."""
    process, x = VP(), normal(3, 2)
    noise = SampleNoise(0, x.shape, dtype=F64)
    out = Heun(churn=80.0).sample(zero_mean_mixture(process), process, UniformGrid(), x, noise, steps=20)
    assert out.failed is None


def test_adams_bashforth_weights():
    """Order k integrates polynomials of degree k − 1 over the next step: Σ_j w_j (−j)^m = 1/(m + 1)."""
    for k, weights in enumerate(WEIGHTS, start=1):
        assert sum(weights) == pytest.approx(1.0, abs=1e-15)
        for m in range(k):
            value = sum(w * float(-j) ** m for j, w in enumerate(weights))
            assert value == pytest.approx(1 / (m + 1), abs=1e-14)
        wrong = sum(w * float(-j) ** k for j, w in enumerate(weights))
        assert abs(wrong - 1 / (k + 1)) > 0.1
    past = [normal(2, seed=j) for j in range(6)]
    newest = [past[-1 - j] for j in range(4)]
    expected = sum(w * e for w, e in zip(WEIGHTS[3], newest, strict=True))
    torch.testing.assert_close(sum(w * e for w, e in extrapolated(past)), expected, rtol=0, atol=1e-14)
    assert len(past) == 4


@pytest.mark.parametrize("sampler", [IPNDM(), PLMS(), PNDM()], ids=lambda s: s.describe())
def test_adams_bashforth_is_exact_for_cubic_noise_on_equal_steps(sampler):
    """Noise that is a cubic of σ, on EDM with equal steps of σ: every step by four past values is exact."""
    process = EDM()

    class Cubic:
        parametrisation, conditional = NoisePrediction(), False

        def __call__(self, x, t):
            return (1 - 2 * t + 0.3 * t**2 - 0.1 * t**3).unsqueeze(1).expand_as(x)

    def integral(t):
        return t - t**2 + 0.1 * t**3 - 0.025 * t**4

    grid = KarrasGrid(rho=1.0, sigma_min=0.5, sigma_max=4.0)
    result = sampler.sample(Cubic(), process, grid, normal(2, 3), steps=9, trajectory=True)
    moved = result.trajectory.diff(dim=0)[3:]
    exact = integral(result.times).diff()[3:].view(-1, 1, 1).expand_as(moved)
    torch.testing.assert_close(moved, exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("variable", ["t", "rho", "log_rho"])
def test_deis_integrates_its_polynomials(variable):
    """Noise that is a cubic of the variable is integrated exactly over ρ."""
    process = VP()

    def coordinate(t):
        if variable == "t":
            return t
        log_snr = process.log_snr(t)
        return -log_snr if variable == "log_rho" else torch.exp(-log_snr)

    class Cubic:
        parametrisation, conditional = NoisePrediction(), False

        def __call__(self, x, t):
            u = coordinate(t)
            return (1 - 2 * u + 0.3 * u**2 - 0.1 * u**3).unsqueeze(1).expand_as(x)

    grid = UniformGrid(t_start=0.6, t_end=0.2)
    sampler = DEISAB(3, variable, lower_order_final=False)
    result = sampler.sample(Cubic(), process, grid, normal(1, 1), steps=8, trajectory=True)
    nodes = process.nodes(result.times)
    for n in range(3, 8):
        a, b = nodes[n], nodes[n + 1]
        # the trapezoidal rule on 20001 points in λ: error h² f''/12 below 1e-9
        log_snr = torch.linspace(a.log_snr, b.log_snr, 20001, dtype=F64)
        values = Cubic()(torch.zeros(len(log_snr), 1), process.time(log_snr)).flatten()
        exact = torch.trapezoid(values * -torch.exp(-log_snr), log_snr)
        moved = result.trajectory[n + 1] / b.alpha - result.trajectory[n] / a.alpha
        assert float(moved - exact) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("k", [0, 1, 2, 3])
def test_tails_of_the_exponential(k):
    """Both branches against the series, and across their border."""
    for z in (-30.0, -3.0, -0.51, -0.49, -1e-3, 1e-9, 0.3, 0.49, 0.51, 2.0):
        series = math.fsum(z**j / math.factorial(j + k) for j in range(1, 160))
        assert tail(z, k) == pytest.approx(series, rel=1e-3 if z == -30.0 else 2e-13)


def test_linear_moments_see_a_wrong_coefficient(wide):
    """The instrument itself: noise scaled by 1.1 changes the variance, not the mean."""
    process, grid = wide

    class Loud(DDIM):
        def step(self, run, i, x):
            quiet = super().step(run, i, x)
            return quiet + 0.1 * run.normals(i) * 0.1

    plain = linear_moments(DDIM(1.0), process, grid, 64, 1.0, 0.5)
    loud = linear_moments(Loud(1.0), process, grid, 64, 1.0, 0.5)
    assert loud[0] == pytest.approx(plain[0], abs=1e-13)
    assert loud[1] > plain[1] + 1e-3
