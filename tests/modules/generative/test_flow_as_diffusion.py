"""Flows behind samplers of diffusion, and sampling that starts from an image."""

import math

import pytest
import torch

from integrand.diffusion import (
    DDIM,
    VP,
    CosineVP,
    DataPrediction,
    DPMSolverPPMultistep,
    FlowPrediction,
    IncompatibleError,
    Likelihood,
    LinearFlow,
    SampleNoise,
    UniformGrid,
    UniPC,
    VelocityPrediction,
    convert,
    image_to_image,
)
from integrand.errors import UsageError
from integrand.evaluations.sampling import Wishes, named_sampler, read_image, way
from integrand.modules.generative.backbones import TimeNet
from integrand.modules.generative.cnf import CNF
from integrand.modules.generative.diffusion import DiffusionModel
from integrand.modules.generative.flow_matching import FlowMatching
from integrand.modules.generative.mean_flow import MeanFlow
from integrand.modules.generative.paths import IndependentCFM, Lipman, OptimalTransportCFM
from integrand.modules.generative.rectified_flow import RectifiedFlow
from integrand.modules.generative.sampling import Editing, Sampling
from integrand.modules.generative.seeded import noise_rows
from integrand.solvers import Dopri5, Euler
from integrand.spec import Density, VectorSpec

POINTS = VectorSpec("made-up", Density(), 2)
MEAN, STD = 0.7, 0.3


class Gaussian(TimeNet):
    """The velocity of straight lines between N(0, I) and N(MEAN, STD² I)."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros((), dtype=torch.float64))

    def forward(self, t, x, y=None, h=None):
        t = t.reshape(-1, 1)
        variance = (1 - t) ** 2 + (t * STD) ** 2
        return MEAN + ((STD**2 + 1) * t - 1) / variance * (x - t * MEAN)


def exact(**options):
    module = FlowMatching(POINTS, ema=None, **options)
    module.net = Gaussian()
    return module.eval()


class Straight(Gaussian):
    """E[ε − x_0 | x] of the same lines, told the time as `DiffusionModel` tells it, noise at 1."""

    def forward(self, t, x, y=None):
        low = LinearFlow().t_min
        return -super().forward(1 - (low + (1 - low) * t), x)


def test_a_diffusion_model_of_the_flow_has_its_likelihood():
    """Of N(MEAN, STD²) at t_min, whose variance is ((1 − t) STD)² + t² and mean (1 − t) MEAN there."""
    tight = Likelihood(Dopri5(rtol=1e-8, atol=1e-8), trace="exact")
    kinds = {"process": LinearFlow(), "parametrisation": FlowPrediction(), "likelihood": tight, "ema": None}
    module = DiffusionModel(POINTS, **kinds).double()
    module.net = Straight()
    assert module.likelihood_samples is None  # all
    x = torch.randn(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = LinearFlow().t_min
    there = torch.distributions.Normal((1 - t) * MEAN, math.hypot((1 - t) * STD, t))
    # errors of each step at 1e-8
    torch.testing.assert_close(module(x), there.log_prob(x).sum(dim=1), rtol=0, atol=1e-5)


def test_what_no_flow_reaches_has_no_likelihood():
    kinds = {"process": CosineVP(t_max=1.0), "parametrisation": VelocityPrediction()}
    assert DiffusionModel(POINTS, **kinds).likelihood_samples == 0
    with pytest.raises(UsageError, match="has no likelihood"):
        DiffusionModel(POINTS, **kinds, likelihood_samples=5)


@pytest.mark.parametrize("family", [FlowMatching, RectifiedFlow, MeanFlow])
def test_ddim_is_eulers_method_on_the_flow(family):
    torch.manual_seed(0)
    module = family(POINTS, ema=None).double()
    euler = module.sample(5, sampler=Euler(num_steps=7))
    ddim = module.sample(5, sampler=Sampling(DDIM(), nfe=7))
    assert euler.nfe == ddim.nfe == 7
    # labels 1000 t and back, in float64
    torch.testing.assert_close(ddim.x, euler.x, rtol=1e-11, atol=1e-11)


def test_the_data_is_predicted_as_for_a_gaussian():
    """E[x₁ | x] of the law of x_t = (1 − t) ε + t x₁, at process time 1 − t."""
    denoiser, _ = exact().as_diffusion()
    x = torch.randn(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for tau in (0.1, 0.5, 0.99, 1.0):
        alpha, sigma = 1 - tau, tau
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)
        expected = MEAN + gain * (x - alpha * MEAN)
        out = denoiser(x, torch.full((9,), tau, dtype=torch.float64))
        found = convert(out, x, denoiser.parametrisation, DataPrediction(), alpha, sigma)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("sampler", "order"), [(DPMSolverPPMultistep(2), 2), (UniPC(2), 2), (DDIM(), 1)])
def test_samplers_reach_the_end_of_the_flow_with_their_order(sampler, order):
    """x₁ = MEAN + STD x₀ for data N(MEAN, STD² I)."""
    module = exact()
    expected = MEAN + STD * noise_rows(0, 0, 20, (2,)).double()
    gap = [
        float((module.sample(20, sampler=Sampling(sampler, nfe=n)).x - expected).abs().max())
        for n in (80, 160)
    ]
    slope = math.log2(gap[0] / gap[1])
    # the last step, to the data, is Euler's for all of them: what is of order 2 comes near it from below
    assert order - 0.5 < slope < order + 0.2


def test_a_flow_takes_samplers_of_diffusion_by_name():
    module = exact()
    how = way(module, Wishes(), named_sampler(module, "unipc"), 6)
    assert module.sample(3, sampler=how).nfe == 6
    # names of both kinds mean the ODE solver
    assert isinstance(way(module, Wishes(), named_sampler(module, "Heun"), 6), type(module.solver).__mro__[1])
    shifted = way(module, Wishes(grid="shifted"), named_sampler(module, "ddim"), 6)
    assert not torch.equal(module.sample(3, sampler=shifted).x, module.sample(3, sampler=how).x)


@pytest.mark.parametrize("path", [OptimalTransportCFM(), IndependentCFM(0.1), Lipman(0.1)])
def test_paths_that_are_no_diffusion_are_refused(path):
    module = FlowMatching(POINTS, path=path, ema=None)
    with pytest.raises(IncompatibleError, match=f"{type(path).__name__} is no diffusion process"):
        named_sampler(module, "ddim")
    with pytest.raises(IncompatibleError, match="no diffusion process"):
        module.sample(2, sampler=Sampling(DDIM(), nfe=3))


def test_other_flows_are_refused():
    taught = FlowMatching(POINTS, ema=None)
    taught.teacher = "best.ckpt"
    with pytest.raises(IncompatibleError, match="of a teacher's pairs is no diffusion process"):
        named_sampler(taught, "ddim")
    with pytest.raises(IncompatibleError, match="ddim is a sampler of diffusion models, and this is CNF"):
        named_sampler(CNF(POINTS), "ddim")


def test_all_of_the_strength_is_a_whole_run_and_little_keeps_the_image():
    """At t = 1 nothing of the start is left, so that strength 1 is a sample like any other, bit for bit."""
    module = exact()
    whole = Sampling(DDIM(), nfe=10)
    start = torch.tensor([5.0, -2.0], dtype=torch.float64)
    made = module.sample(4, sampler=Editing(whole, start, 1.0))
    assert torch.equal(made.x, module.sample(4, sampler=whole).x)
    little = module.sample(4, sampler=Editing(whole, start, 0.1))
    assert little.nfe == 1
    assert made.nfe == 10
    # one step from t = 0.1 goes to E[x₁ | x]
    noise = noise_rows(0, 0, 4, (2,)).double()
    gain = 0.9 * STD**2 / (0.81 * STD**2 + 0.01)
    torch.testing.assert_close(little.x, MEAN + gain * (0.9 * start + 0.1 * noise - 0.9 * MEAN))


def test_a_diffusion_model_starts_from_an_image_as_the_function_does():
    torch.manual_seed(0)
    module = DiffusionModel(POINTS, process=VP(), ema=None).double().eval()
    start = torch.tensor([0.5, -0.2], dtype=torch.float64)
    grid = UniformGrid(to_zero=True)
    made = module.sample(5, seed=3, batch_size=2, sampler=Editing(Sampling(UniPC(2), grid, 8), start, 0.5))
    noise = SampleNoise(3, (5, 2), dtype=torch.float32)  # as `sample` draws it
    found = image_to_image(
        UniPC(2), module.denoiser(), module.process, grid, start.expand(5, 2), 0.5, noise, steps=8
    )
    torch.testing.assert_close(made.x, found.x, rtol=1e-9, atol=1e-9)
    assert made.nfe == found.nfe


def test_files_that_are_no_image_of_that_size_are_refused(tmp_path):
    from PIL import Image

    Image.new("RGB", (5, 4), (255, 0, 51)).save(tmp_path / "image.png")
    read = read_image(tmp_path / "image.png", (3, 4, 5), None)
    assert read.shape == (3, 4, 5)
    torch.testing.assert_close(read[:, 2, 3], torch.tensor([1.0, -1.0, -0.6]))
    with pytest.raises(UsageError, match="has 5×4 pixels, and the model 4×4"):
        read_image(tmp_path / "image.png", (3, 4, 4), None)
    (tmp_path / "text.png").write_text("no image")
    for name in ("text.png", "none.png"):
        with pytest.raises(UsageError, match="cannot be read as an image"):
            read_image(tmp_path / name, (3, 4, 5), None)
    for shape in ((2,), (4, 4, 5)):
        with pytest.raises(UsageError, match="do not start from an image"):
            read_image(tmp_path / "image.png", shape, None)
