"""Diffusion models: the loss against exact scores, conversions, averages, guidance, likelihood."""

import math

import pytest
import torch

from integrand.diffusion import (
    DDIM,
    EDM,
    VE,
    VP,
    CosineVP,
    DataPrediction,
    DiscreteVP,
    EDMGrid,
    EDMPreconditioning,
    ExactMixture,
    GuidanceError,
    KarrasGrid,
    Likelihood,
    NoisePrediction,
    QuadraticGrid,
    SampleNoise,
    ScorePrediction,
    SubVP,
    UniformGrid,
    VelocityPrediction,
    convert,
)
from integrand.errors import SpecError, UsageError
from integrand.modules.generative.backbones import MLP, TimeNet
from integrand.modules.generative.dequantisation import bits_per_dim, dequantised
from integrand.modules.generative.diffusion import DiffusionModel
from integrand.modules.generative.sampling import Sampling, usual_grid
from integrand.modules.generative.times import DiscreteTimes, LogNormalTimes, UniformTimes
from integrand.modules.generative.weighting import (
    DataWeighting,
    LikelihoodWeighting,
    MinSNRWeighting,
    NoiseWeighting,
    PlainWeighting,
)
from integrand.solvers import Dopri5, Euler
from integrand.spec import Classes, Density, ImageSpec, VectorSpec

POINTS = VectorSpec("made-up", Density(), 2)
CLASSES = ImageSpec("classes", Classes(3), (1, 4, 4))
PROCESSES = [VP(), SubVP(), CosineVP(), DiscreteVP(), VE(), EDM()]
PARAMETRISATIONS = [
    NoisePrediction(),
    DataPrediction(),
    VelocityPrediction(),
    ScorePrediction(),
    EDMPreconditioning(0.7),
]


class Scaled(TimeNet):
    """f(t, x) = s(t) x with s linear between 33 learned values: contains every linear denoiser at a node."""

    def __init__(self, nodes=33):
        super().__init__()
        self.values = torch.nn.Parameter(torch.zeros(nodes, dtype=torch.float64))

    def forward(self, t, x, y=None):
        place = t.reshape(-1) * (len(self.values) - 1)
        left = place.floor().long().clamp(0, len(self.values) - 2)
        scale = torch.lerp(self.values[left], self.values[left + 1], place - left)
        return scale.view(-1, *[1] * (x.ndim - 1)) * x


class Told(TimeNet):
    """f(t, x, y) = y, to see which class arrives."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, t, x, y=None):
        return y.to(x.dtype).view(-1, 1, 1, 1).expand_as(x) + 0 * self.weight


def build(spec=POINTS, seed=0, **kwargs):
    torch.manual_seed(seed)
    return DiffusionModel(spec, **kwargs)


def exact_gaussian(process, mean, std):
    wide = {"dtype": torch.float64}
    return ExactMixture(
        process, torch.tensor([mean], **wide), torch.tensor([std], **wide), torch.ones(1, **wide)
    )


def named(values):
    return [type(v).__name__ for v in values]


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS, ids=named(PARAMETRISATIONS))
@pytest.mark.parametrize("process", PROCESSES, ids=named(PROCESSES))
def test_the_minimiser_on_gaussian_data_is_the_exact_score(process, parametrisation):
    """For N(0, s²) every optimal output is a multiple of x: the normal equations are solved exactly."""
    std = 0.7
    module = build(process=process, parametrisation=parametrisation).double()
    t = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64) * process.t_max
    n = 40_000
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(n, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    for time in t:
        denoiser = module.denoiser()
        x_t, target = denoiser.target(std * x0, noise, time.expand(n))
        # least squares of the target on x_t: what a linear network would learn at this time
        best = (x_t * target).sum() / x_t.square().sum()
        alpha, sigma = process.alpha(time), process.sigma(time)
        score = convert(best * x_t, x_t, parametrisation, ScorePrediction(), alpha, sigma)
        exact = -x_t / ((alpha * std) ** 2 + sigma**2)
        # relative error of a slope from n pairs: below 5/√n times the ratio of target's to score's spread
        scale = exact.abs().mean()
        spread = float(1 + (sigma / (alpha * std)) + (alpha * std / sigma))
        assert float((score - exact).abs().mean() / scale) < 5 / math.sqrt(n) * spread


def test_the_default_grid_is_dense_near_the_data_for_points_alone():
    """Points have details that are fine beside their spread; see docs/generative.md."""
    for process, points, images in (
        (VP(), QuadraticGrid, UniformGrid),
        (VE(), QuadraticGrid, KarrasGrid),
        (EDM(), EDMGrid, EDMGrid),
    ):
        assert type(usual_grid(process, points=True)) is points
        assert type(usual_grid(process)) is images
        assert usual_grid(process, points=True).to_zero
    assert type(DiffusionModel(POINTS, backbone=MLP(hidden=4, layers=1)).grid) is QuadraticGrid


def test_training_reaches_that_minimiser(monkeypatch):
    """Gradient descent on the module's own objective, whatever the times and the batches drawn."""
    std = 0.5
    module = build(process=VP(), ema=None).double()
    module.net = Scaled()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.03)
    torch.manual_seed(0)
    for _ in range(300):
        x = std * torch.randn(512, 2, dtype=torch.float64)
        loss = module.objective(x, None, "train").terms["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    times = torch.linspace(0.1, 1.0, 10, dtype=torch.float64)
    x = torch.ones(10, 2, dtype=torch.float64)
    alpha, sigma = module.process.alpha(times), module.process.sigma(times)
    exact = sigma / ((alpha * std) ** 2 + sigma**2)  # noise that N(0, s²) predicts at x = 1
    with torch.no_grad():
        found = module.eval().denoiser()(x, times)[:, 0]
    # Adam's last steps still move by about lr/10; interpolation between 33 nodes adds 1e-2 near the data
    torch.testing.assert_close(found, exact, atol=0.05, rtol=0)


@pytest.mark.parametrize("process", PROCESSES, ids=named(PROCESSES))
def test_one_weighting_is_the_same_loss_for_every_parametrisation(process):
    """W ‖x̂_0 − x_0‖² does not know what the network predicts: convert the output and compare."""
    t = process.t_min + (process.t_max - process.t_min) * torch.linspace(0.2, 0.9, 6, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x0, noise, guess = (torch.randn(6, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    for weighting in (NoiseWeighting(), DataWeighting(), LikelihoodWeighting(), MinSNRWeighting()):
        losses = []
        for parametrisation in PARAMETRISATIONS:
            denoiser = build(process=process, parametrisation=parametrisation).denoiser()
            alpha, sigma = denoiser.levels(x0, t)
            x_t, target = denoiser.target(x0, noise, t)
            output = convert(guess, x_t, DataPrediction(), parametrisation, alpha, sigma)
            weight = weighting.of_output(t, process, parametrisation)
            losses.append(weight * (output - target).square().sum(1))
        for loss in losses[1:]:
            # float64, and a factor σ/α of up to 100 in between
            torch.testing.assert_close(loss, losses[0], rtol=1e-8, atol=1e-8)


def test_plain_weights_are_those_of_the_papers():
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    vp, edm = VP(), EDM()
    snr = (vp.alpha(t) / vp.sigma(t)).square()
    plain = PlainWeighting().of_output(t, vp, NoisePrediction())
    torch.testing.assert_close(plain, NoiseWeighting().of_output(t, vp, NoisePrediction()))
    # v-prediction: the loss in the data weighted by SNR + 1 (Salimans & Ho 2022, Sec. 4)
    _, q = VelocityPrediction().coefficients(vp.alpha(t), vp.sigma(t))
    torch.testing.assert_close(1 / q.square(), snr + 1)
    # EDM: λ(σ) = (σ² + σ_d²)/(σ σ_d)² (Karras et al. 2022, Table 1)
    _, q = EDMPreconditioning(0.5).coefficients(edm.alpha(t), edm.sigma(t))
    torch.testing.assert_close(1 / q.square(), (t**2 + 0.25) / (t * 0.5) ** 2)


def test_the_likelihood_weighting_is_half_g_squared_of_the_score():
    t, process = torch.tensor([0.2, 0.7], dtype=torch.float64), SubVP()
    weight = LikelihoodWeighting().of_output(t, process, ScorePrediction())
    torch.testing.assert_close(weight, 0.5 * process.diffusion2(t))


@pytest.mark.parametrize(
    ("times", "process"),
    [(UniformTimes(), VP()), (LogNormalTimes(), EDM()), (DiscreteTimes(), DiscreteVP(num_steps=10))],
)
def test_training_times_cover_their_distribution_evenly(times, process):
    torch.manual_seed(0)
    n = 1000
    t = times.draw(n, process, torch.device("cpu")).sort().values
    assert t.min() >= process.t_min
    assert t.max() <= process.t_max
    # one draw in each n-th: the empirical quantiles are exact to 1/n
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    expected = times.quantile(u, process).clamp(process.t_min, process.t_max)
    inner = slice(20, -20)
    torch.testing.assert_close(t[inner], expected[inner], rtol=0.05, atol=process.t_max / n + 1e-9)
    if isinstance(process, DiscreteVP):
        assert set((t * 10).round().int().tolist()) == set(range(1, 11))


def test_discrete_times_need_steps():
    with pytest.raises(UsageError, match="no steps"):
        DiscreteTimes().quantile(torch.rand(3), VP())


def test_validation_draws_the_same_times_and_noise_every_epoch():
    module = build().eval()
    x = torch.randn(16, 2)
    losses = []
    for _ in range(2):
        module._begin()
        with module._fixed_draws("val"):
            losses.append(module.objective(x, None, "val").terms["loss"])
    assert torch.equal(losses[0], losses[1])


@pytest.mark.parametrize("process", PROCESSES, ids=named(PROCESSES))
def test_the_network_is_told_times_from_0_to_1(process):
    heard = []

    class Listening(TimeNet):
        def forward(self, t, x, y=None):
            heard.append(t)
            return x

    module = build(process=process)
    ends = torch.tensor([process.t_min, process.t_max], dtype=torch.float64)
    module.denoiser(Listening())(torch.ones(2, 2, dtype=torch.float64), ends)
    torch.testing.assert_close(heard[0], torch.tensor([0.0, 1.0], dtype=torch.float64), atol=1e-9, rtol=0)


def test_samples_come_from_the_averaged_weights():
    module = build(ema=0.5)
    before = module.sample(4).x
    with torch.no_grad():
        for p in module.net.parameters():
            p.mul_(3)
    assert torch.equal(module.sample(4).x, before)
    module.average.update_parameters(module.net)
    assert not torch.equal(module.sample(4).x, before)


def test_samples_of_the_exact_denoiser_have_the_moments_of_the_data(monkeypatch):
    module = build(process=VP(), sampling=Sampling(nfe=40)).double()
    exact = exact_gaussian(module.process, [1.0, -1.0], 0.3)
    monkeypatch.setattr(module, "denoiser", lambda net=None: exact)
    found = module.sample(2000, sampler=Sampling(DDIM(), nfe=100)).x
    # standard error of a mean 0.3/√2000 = 0.007 and of a deviation 0.005; DDIM's bias at 100 steps below 0.01
    torch.testing.assert_close(found.mean(0), torch.tensor([1.0, -1.0]).double(), atol=0.03, rtol=0)
    torch.testing.assert_close(found.std(0), torch.full((2,), 0.3).double(), atol=0.03, rtol=0)


def test_an_ode_solver_samples_the_probability_flow():
    module = build().double()
    found = module.sample(8, sampler=Euler(num_steps=7))
    assert found.nfe == 7 + 1  # and one evaluation for the step to the data
    fine = module.sample(8, sampler=Dopri5(rtol=1e-8, atol=1e-8)).x
    rough = module.sample(8, sampler=Euler(num_steps=200)).x
    # first order: e-folds of growth over 200 steps leave a few per cent
    torch.testing.assert_close(rough, fine, rtol=0.1, atol=0.1)
    with pytest.raises(UsageError, match="cannot sample"):
        module.sample(2, sampler="ddim")


# ---------------------------------------------------------------------- classes and guidance


def conditional(**kwargs):
    return build(CLASSES, conditional=True, evaluation=None, **kwargs)


def test_the_share_of_withheld_classes_is_the_one_asked_for():
    module = conditional(label_dropout=0.3)
    torch.manual_seed(0)
    y = torch.randint(3, (20_000,))
    told = module._condition(y, drop=True)
    share = float((told == 3).double().mean())
    # binomial deviation √(0.3 · 0.7/20000) = 0.003
    assert abs(share - 0.3) < 0.015
    assert torch.equal(told[told < 3], y[told < 3])
    assert torch.equal(module._condition(y, drop=False), y)


def test_labels_reach_the_network_and_guidance_extrapolates():
    module = conditional()
    module.net, module.average = Told(), None
    denoiser = module.denoiser()
    x, t, y = torch.zeros(2, 1, 4, 4), torch.full((2,), 0.5), torch.tensor([0, 2])
    assert denoiser(x, t, y)[:, 0, 0, 0].tolist() == [0, 2]
    from integrand.diffusion import Evaluator

    evaluate = Evaluator(denoiser, y, guidance=2.0)
    guided = evaluate(x, module.process.node(0.5)).output
    # null + 2 (conditional − null), with the null class 3
    assert guided[:, 0, 0, 0].tolist() == [3 + 2 * (0 - 3), 3 + 2 * (2 - 3)]
    assert evaluate.nfe == 2


def test_guidance_of_one_is_the_conditional_model_and_costs_the_same():
    module = conditional()
    with torch.no_grad():
        for p in module.trained.parameters():
            p.add_(0.05 * torch.randn_like(p))
    y = torch.tensor([0, 1, 2, 0])
    plain = module.sample(4, y=y, sampler=Sampling(nfe=4))
    one = module.sample(4, y=y, sampler=Sampling(nfe=4, guidance=1.0))
    two = module.sample(4, y=y, sampler=Sampling(nfe=4, guidance=2.0))
    assert torch.equal(plain.x, one.x)
    assert not torch.equal(plain.x, two.x)
    assert plain.nfe == one.nfe == two.nfe == 4  # of which guidance made half as many steps
    # without classes they are taken in turn
    torch.testing.assert_close(module.sample(4, sampler=Sampling(nfe=4)).x, plain.x)


def test_a_network_for_classes_differs_between_them():
    module = conditional()
    with torch.no_grad():
        for p in module.trained.parameters():
            p.add_(0.05 * torch.randn_like(p))
    a, b = (module.sample(2, y=torch.full((2,), c), sampler=Sampling(nfe=3)).x for c in (0, 1))
    assert not torch.equal(a, b)


def test_what_classes_cannot_do_is_refused():
    with pytest.raises(UsageError, match="made-up has no classes"):
        build(conditional=True)
    with pytest.raises(SpecError, match="no labels"):
        conditional().objective(torch.zeros(2, 1, 4, 4), None, "train")
    with pytest.raises(GuidanceError, match="unconditional"):
        build().sample(2, sampler=Sampling(guidance=2.0))
    with pytest.raises(GuidanceError, match="null"):
        conditional(label_dropout=0.0).sample(2, sampler=Sampling(guidance=2.0))


def test_samples_that_fail_are_kept_only_where_asked_for():
    module = build()
    with torch.no_grad():
        next(module.trained.parameters()).fill_(math.inf)
    with pytest.raises(SpecError, match="3 of 3 samples are not finite"):
        module.sample(3)
    kept = module.sample(3, keep_failed=True)
    assert kept.failed.tolist() == [True] * 3


# ---------------------------------------------------------------------- likelihood


def test_bits_per_dimension_of_a_known_density(monkeypatch):
    """The exact denoiser of a Gaussian has that Gaussian's density."""
    std = 0.5
    module = build(process=EDM(sigma_min=1e-3), likelihood=Likelihood(Dopri5(rtol=1e-7, atol=1e-7), "exact"))
    module = module.double()
    exact = exact_gaussian(module.process, [0.0, 0.0], std)
    monkeypatch.setattr(module, "denoiser", lambda net=None: exact)
    x = torch.tensor([[0.3, -0.2], [1.0, 0.5]], dtype=torch.float64)
    found = module.log_likelihood(x)
    true = torch.distributions.Normal(torch.zeros(2, dtype=torch.float64), std).log_prob(x).sum(1)
    # the density at σ_min instead of 0, and a prior of variance σ_max² without the data's: below 1e-4 each
    torch.testing.assert_close(found.log_prob, true, atol=3e-4, rtol=0)
    bits = bits_per_dim(-true, POINTS)
    torch.testing.assert_close(bits, -true / (2 * math.log(2)))


def test_bits_of_grey_levels_count_the_levels():
    """Uniform over all 16 levels of 2 × 2 pixels: 4 bits each, whatever the scale of the pixels."""
    for width in (1.0, 2 / 15):
        spec = ImageSpec("grey", Classes(2), (1, 2, 2), bin_widths=(width,))
        nll = torch.tensor(4 * math.log(16 * width), dtype=torch.float64)
        torch.testing.assert_close(bits_per_dim(nll, spec), torch.tensor(4.0, dtype=torch.float64))
        x = torch.zeros(500, 1, 2, 2)
        noisy = dequantised(x, spec, torch.Generator().manual_seed(0))
        assert 0 <= float(noisy.min()) < float(noisy.max()) <= width
    assert torch.equal(dequantised(x, POINTS), x)


def test_probes_of_a_likelihood_follow_from_its_seed():
    module = build(likelihood=Likelihood(Dopri5(rtol=1e-3, atol=1e-3), "hutchinson"))
    with torch.no_grad():
        for p in module.trained.parameters():
            p.mul_(2)
    x = torch.randn(4, 2)
    a, b, c = (module.log_likelihood(x, seed).log_prob for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_sample_noise_of_the_module_is_that_of_the_samplers():
    """Sample i of a seed starts from the same numbers as through `draw_prior`."""
    module = build(backbone=MLP(hidden=4, layers=1))
    heard = {}
    original = module.generate
    module.generate = lambda noise, *a: heard.setdefault("x", noise) is None or original(noise, *a)
    module.sample(5, seed=3)
    assert torch.equal(heard["x"], SampleNoise(3, (5, 2)).normals(0, 0))
