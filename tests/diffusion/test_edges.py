"""What samplers are given by people: half-precision networks, odd states and budgets, processes without an end."""

import pytest
import torch
from diffusion_cases import F64, normal, zero_mean_mixture

from integrand.diffusion import (
    DDIM,
    EDM,
    VE,
    VP,
    BudgetError,
    CosineVP,
    DataPrediction,
    Denoiser,
    DiscreteGrid,
    DiscreteVP,
    DPMSolverPPMultistep,
    DPMSolverPPSinglestep,
    DynamicThreshold,
    EDMPreconditioning,
    Evaluator,
    ExactMixture,
    ExplicitGrid,
    GridError,
    Guidance,
    GuidanceError,
    Heun,
    IncompatibleError,
    KarrasGrid,
    Likelihood,
    LinearFlow,
    LogSNRGrid,
    NoisePrediction,
    PredictorCorrector,
    ProbabilityFlow,
    SampleNoise,
    SubVP,
    UniformGrid,
    VelocityPrediction,
)
from integrand.errors import UsageError

PROCESS = VP()
GRID = UniformGrid(to_zero=True)


class Linear(torch.nn.Module):
    """A network whose layer refuses any dtype but its own."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)

    def forward(self, x, label, condition=None):
        self.seen = x.dtype, label.dtype, condition
        out = self.layer(torch.cat((x, (label / 1000).to(x.dtype)[:, None]), 1))
        return out if condition is None else out + condition


# --- dtypes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [torch.float16, torch.bfloat16, torch.float64])
def test_the_network_sees_its_own_dtype_and_the_state_keeps_its(weights):
    network, x = Linear().to(weights), torch.randn(3, 2)
    model = Denoiser(network, PROCESS)
    for sampler in (DDIM(), ProbabilityFlow()):
        budget = {"steps": 4} if isinstance(sampler, DDIM) else {}
        assert sampler.sample(model, PROCESS, GRID, x, **budget).x.dtype == torch.float32
        assert network.seen[:2] == (weights, weights)
    found = Likelihood(trace="exact").log_prob(model, PROCESS, x).log_prob
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()


def test_labels_stay_wide_where_the_network_asks_for_them():
    network = Linear().to(torch.bfloat16)
    network.wide_labels = True
    Denoiser(network, PROCESS)(torch.randn(3, 2), torch.full((3,), 0.999))
    assert network.seen[1] == torch.float32


def test_half_precision_samples_are_near_those_in_float32():
    """Rounding the weights and activations to 8 bits moves samples by some of 2⁻⁸, not by O(1)."""
    network, x = Linear(), torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    run = lambda: DDIM().sample(Denoiser(network, PROCESS, VelocityPrediction()), PROCESS, GRID, x, steps=8).x  # noqa: E731
    exact = run()
    network.to(torch.bfloat16)
    assert float((run() - exact).abs().max()) < 8 * 2**-8 * float(exact.abs().max())


def test_guidance_of_a_half_network_is_combined_in_the_dtype_of_the_state():
    """null + w (conditional − null) with outputs 1 and 1 + 2⁻⁷ has digits that bfloat16 lacks."""

    class Half:
        parametrisation, conditional, null = NoisePrediction(), True, 0

        def __call__(self, x, t, condition=None):
            return (1 + condition.view(-1, 1) * 2**-7).expand(len(x), 2).to(torch.bfloat16)

    out = Evaluator(Half(), torch.ones(3), guidance=1.5)(torch.zeros(3, 2), PROCESS.node(0.5)).noise()
    assert torch.equal(out, torch.full((3, 2), 1 + 1.5 * 2**-7))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool])
def test_states_are_real(dtype):
    model, x = zero_mean_mixture(PROCESS), torch.ones(3, 2).to(dtype)
    with pytest.raises(IncompatibleError, match="got a state of"):
        DDIM().sample(model, PROCESS, GRID, x, steps=4)
    with pytest.raises(IncompatibleError, match="a likelihood of data of"):
        Likelihood(trace="exact").log_prob(model, PROCESS, x)


@pytest.mark.parametrize("budget", [{"nfe": 4.5}, {"steps": 4.5}, {"nfe": "4"}])
def test_budgets_are_whole(budget):
    with pytest.raises(BudgetError, match="is a whole number"):
        DDIM().sample(zero_mean_mixture(PROCESS), PROCESS, GRID, normal(3, 2), **budget)


@pytest.mark.parametrize("number", [1, 5])
def test_there_is_one_condition_for_each_sample(number):
    network, x = Linear(), torch.randn(3, 2)
    model = Denoiser(network, PROCESS, conditional=True, null=torch.zeros(2))
    with pytest.raises(GuidanceError, match=f"{number} conditions for 3 samples"):
        DDIM().sample(model, PROCESS, GRID, x, steps=4, condition=torch.zeros(number, 2))
    with pytest.raises(GuidanceError, match=f"{number} conditions for 3 samples"):
        Likelihood(trace="exact").log_prob(model, PROCESS, x, condition=torch.zeros(number, 2))


# --- conditions ------------------------------------------------------------------------------------------


def test_vectors_and_embeddings_condition_as_classes_do():
    """With output W x + c and null n, guidance w makes W x + n + w (c − n)."""
    network, x, node = Linear().double(), normal(3, 2), PROCESS.node(0.5)
    condition, null = normal(3, 2, seed=1), normal(2, seed=2)
    model = Denoiser(network, PROCESS, conditional=True, null=null)
    plain = Evaluator(model, torch.zeros(3, 2, dtype=F64))(x, node).noise()
    guided = Evaluator(model, condition, guidance=2.5)(x, node).noise()
    torch.testing.assert_close(guided, plain + null + 2.5 * (condition - null))
    torch.testing.assert_close(Evaluator(model)(x, node).noise(), plain + null)


def test_guidance_acts_inside_its_interval_and_costs_two_there_only():
    model = Denoiser(Linear().double(), PROCESS, conditional=True, null=torch.zeros(2, dtype=F64))
    condition, x, grid = normal(3, 2, seed=1), normal(3, 2), LogSNRGrid()
    nodes = PROCESS.nodes(grid.times(PROCESS, 10))[:-1]
    inside = [node for node in nodes if 0.3 <= node.rho <= 5]
    assert 2 < len(inside) < 8
    evaluate = Evaluator(model, condition, Guidance(3.0, low=0.3, high=5.0))
    plain, full = Evaluator(model, condition), Evaluator(model, condition, guidance=3.0)
    for node in nodes:
        other = full if node in inside else plain
        torch.testing.assert_close(evaluate(x, node).noise(), other(x, node).noise(), rtol=0, atol=0)
    result = DDIM().sample(
        model, PROCESS, grid, x, steps=10, condition=condition, guidance=Guidance(3.0, low=0.3, high=5.0)
    )
    assert evaluate.nfe == result.nfe == 10 + len(inside)


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_rescaled_guidance_keeps_the_deviation_of_the_conditional_output(share):
    conditional, null = normal(3, 1, 4, 4), normal(3, 1, 4, 4, seed=1)
    out = Guidance(4.0, rescale=share).combined(conditional, null)
    guided = null + 4.0 * (conditional - null)
    before, after, kept = (z.flatten(1).std(1) for z in (guided, out, conditional))
    torch.testing.assert_close(after, (1 - share) * before + share * kept)
    torch.testing.assert_close(
        torch.cosine_similarity(out.flatten(1), guided.flatten(1)), torch.ones(3).double()
    )


# --- no signal at the start ------------------------------------------------------------------------------


def silent(zero_snr):
    return DiscreteVP("scaled-linear", zero_terminal_snr=True) if zero_snr else CosineVP(t_max=1.0)


def gaussian(process, parametrisation, dtype=F64):
    means, stds = torch.tensor([[0.4]], dtype=dtype), torch.tensor([0.5], dtype=dtype)
    return ExactMixture(process, means, stds, parametrisation=parametrisation)


@pytest.mark.parametrize("zero_snr", [False, True])
@pytest.mark.parametrize(
    "sampler", [DDIM(), DPMSolverPPMultistep(2), Heun(), DDIM(1.0)], ids=lambda s: s.describe()
)
@pytest.mark.parametrize(
    ("prediction", "dtype"),
    [(VelocityPrediction(), torch.float32), (DataPrediction(), F64)],
    ids=["v", "data"],
)
def test_a_step_by_the_data_leaves_pure_noise(sampler, prediction, zero_snr, dtype):
    """At α = 0 the flow of Gaussian data is x_T ↦ m + s x_T; the grid's other steps bring the usual error."""
    process, x = silent(zero_snr), torch.linspace(-2, 2, 9, dtype=dtype).view(-1, 1)
    noise = SampleNoise(0, x.shape, dtype=dtype)
    result = sampler.sample(
        gaussian(process, prediction, dtype), process, UniformGrid(to_zero=True), x, noise, steps=100
    )
    assert result.failed is None
    assert len(result.times) == 101
    assert result.times[0] == 1
    if not sampler.stochastic:
        torch.testing.assert_close(result.x, 0.4 + 0.5 * x, rtol=0, atol=0.03)


@pytest.mark.parametrize("zero_snr", [False, True])
def test_what_says_nothing_of_the_data_is_refused_there(zero_snr):
    process, x = silent(zero_snr), normal(3, 1)
    with pytest.raises(GridError, match="noise says nothing of the data"):
        DDIM().sample(gaussian(process, NoisePrediction()), process, UniformGrid(), x, steps=4)
    model = gaussian(process, VelocityPrediction())
    with pytest.raises(GridError, match="a step of its own leaves it"):
        ProbabilityFlow().sample(model, process, UniformGrid(), x)
    for grid in (LogSNRGrid(), KarrasGrid()):
        with pytest.raises(GridError, match="λ = −∞ at the first time"):
            DDIM().sample(model, process, grid, x, steps=4)
    with pytest.raises(GridError, match="rate is infinite"):
        Likelihood(trace="exact").log_prob(model, process, x)
    line = LinearFlow()  # whose path has rates there, of which noise tells but one
    with pytest.raises(GridError, match="noise says nothing of the data"):
        Likelihood(trace="exact").log_prob(gaussian(line, NoisePrediction()), line, x)


def test_the_guard_follows_the_dtype_of_the_state():
    """At α/σ = 1e-7 noise prediction keeps no digit of x_0 in float32, and nine in float64."""
    process, x = EDM(sigma_max=1e7), normal(3, 1)
    grid = ExplicitGrid([1e7, 1.0, 0.1])
    assert DDIM().sample(gaussian(process, NoisePrediction()), process, grid, 1e7 * x).failed is None
    model = gaussian(process, NoisePrediction(), torch.float32)
    with pytest.raises(GridError, match="says nothing"):
        DDIM().sample(model, process, grid, 1e7 * x.float())


def test_zero_terminal_snr_is_diffusers():
    from diffusers import DDIMScheduler

    theirs = DDIMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=True).alphas_cumprod.double()
    process = DiscreteVP("scaled-linear", zero_terminal_snr=True)
    ours = process.alpha(process.time_of_index(torch.arange(1000))).square()
    # their product is taken in float32, and its last value set to 2⁻²⁴
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-7)
    assert ours[-1] == 0


def test_the_last_interval_without_signal_is_smooth():
    """Log α = log of a straight line there; drift and inverse follow."""
    process = DiscreteVP(zero_terminal_snr=True)
    t = torch.linspace(0.9991, 0.9999, 5, dtype=F64).requires_grad_()
    log_alpha = process.log_alpha(t)
    (slope,) = torch.autograd.grad(log_alpha.sum(), t)
    torch.testing.assert_close(process.drift(t), slope, rtol=1e-9, atol=0)
    torch.testing.assert_close(process.time_of_log_alpha(log_alpha), t, rtol=1e-12, atol=0)
    assert float(process.alpha(t.detach()).diff().diff().abs().max()) < 1e-12


def test_a_table_of_betas():
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=F64).tolist()
    t = torch.linspace(0, 1, 77, dtype=F64)
    torch.testing.assert_close(DiscreteVP(betas).log_alpha(t), DiscreteVP().log_alpha(t), rtol=1e-12, atol=0)
    assert DiscreteVP(betas).describe() != DiscreteVP(betas[:-1]).describe()
    assert DiscreteVP([*betas[:-1], 1.0]).node(1.0).alpha == 0


def test_wholly_on_the_grid_of_trained_steps():
    """A singlestep method on whole steps evaluates at whole steps alone."""
    seen = []

    class Watched:
        parametrisation, conditional = VelocityPrediction(), False

        def __call__(self, x, t):
            seen.append(float(t[0]))
            return 0 * x

    process = DiscreteVP()
    DPMSolverPPSinglestep(3).sample(Watched(), process, DiscreteGrid(), normal(2, 2), steps=13)
    steps = process.index(torch.tensor(seen, dtype=F64))
    torch.testing.assert_close(steps, steps.round(), rtol=0, atol=1e-6)


# --- few dimensions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 3])
def test_langevin_in_few_dimensions_does_not_blow_up(d):
    """With the sample's own norms the variance is infinite below three dimensions."""
    x = normal(2000, d)
    model = ExactMixture(PROCESS, torch.zeros(1, d, dtype=F64), torch.full((1,), 0.5, dtype=F64))
    noise = SampleNoise(0, x.shape, dtype=F64)
    out = PredictorCorrector().sample(model, PROCESS, GRID, x, noise, steps=50).x
    # 50 first-order steps bias by some per cent, Monte Carlo by 2 %
    assert float(out.std()) == pytest.approx(0.5, rel=0.08)
    own = PredictorCorrector(norms="sample").sample(model, PROCESS, GRID, x, noise, steps=50).x
    assert float(own.std()) > 0.6


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EDM(2, 1), "sigma_min=2 is not below sigma_max=1"),
        (lambda: EDM(1, 1), "sigma_min=1 is not below"),
        (lambda: VE(50, 0.01), "sigma_min=50 is not below"),
        (lambda: VP(20, 0.1), "beta_min=20 is above beta_max=0.1"),
        (lambda: SubVP(20, 0.1), "beta_min=20 is above"),
        (lambda: DiscreteVP(beta_min=0.02, beta_max=1e-4), "beta_min=0.02 is above"),
        (lambda: DiscreteVP(beta_max=1.5), "make no process"),
        (lambda: DiscreteVP([0.1]), "make no process"),
        (lambda: DiscreteVP(num_steps=2.5), "num_steps=2.5"),
        (lambda: VP(t_min=2.0), "t_min=2 is not below t_max=1"),
        (lambda: VE(t_min=0.0), "t_min must be positive"),
        (lambda: CosineVP(t_max=1.5), "first quarter turn"),
        (lambda: CosineVP(s=-1.0), "first quarter turn"),
        (lambda: CosineVP(t_max=1e-4), "t_min=0.001 is not below"),
        (lambda: KarrasGrid(sigma_min=5.0, sigma_max=1.0), "sigma_min=5 is not below"),
        (lambda: DynamicThreshold(1.5), "quantile=1.5"),
        (lambda: DynamicThreshold(limit=2.0, maximum=1.0), "maximum=1"),
        (lambda: Heun(1.0, churn_min=5.0, churn_max=1.0), "from 5 to 1"),
        (lambda: Guidance(2.0, rescale=2.0), r"rescale must lie in \[0, 1\]"),
        (lambda: Guidance(2.0, low=3.0, high=1.0), "between 3 and 1"),
        (lambda: EDMPreconditioning(0.0), "sigma_data must be positive"),
    ],
)  # fmt: skip
def test_settings_that_make_no_process_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()
