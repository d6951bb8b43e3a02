"""What a step does beside asking the network, counted in tensor operations, and that less work is the same."""

import pytest
import torch
from diffusion_cases import F64, normal
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from integrand.diffusion import (
    DDIM,
    EDM,
    PLMS,
    VP,
    Ancestral,
    DataPrediction,
    Denoiser,
    DiscreteVP,
    DPMSolverPPMultistep,
    EDMPreconditioning,
    FlowPrediction,
    Heun,
    KarrasGrid,
    LinearFlow,
    NoisePrediction,
    SampleNoise,
    UniformGrid,
    VelocityPrediction,
)
from integrand.diffusion.evaluation import Evaluator
from integrand.diffusion.result import mark_failures
from integrand.solvers import Status

BATCH = 32


class Constant(nn.Module):
    """A network that makes no operations."""

    def __init__(self):
        super().__init__()
        self.answer = nn.Parameter(torch.randn(BATCH, 64))

    def forward(self, x, label):
        return self.answer


class Counted(TorchDispatchMode):
    """Operations on the whole state, and others."""

    def __init__(self):
        super().__init__()
        self.whole, self.others = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        sizes = [a.numel() for a in args if isinstance(a, torch.Tensor)]
        if sizes and max(sizes) == BATCH * 64:
            self.whole += 1
        else:
            self.others += 1
        return func(*args, **(kwargs or {}))


def operations(sampler, parametrisation, steps):
    process = DiscreteVP()
    model, x = Denoiser(Constant(), process, parametrisation), torch.randn(BATCH, 64)
    with Counted() as counted:
        sampler.sample(model, process, UniformGrid(to_zero=True), x, steps=steps)
    return counted.whole, counted.others


@pytest.mark.parametrize(
    ("sampler", "parametrisation", "passes"),
    [
        # DDIM's step is a x + b ε, two passes; Heun's two evaluations make two steps of that kind
        (DDIM(), NoisePrediction(), 2),
        (Heun(), NoisePrediction(), 4),
        # reading v as ε, or ε as x_0, is two more for each evaluation
        (DDIM(), VelocityPrediction(), 4),
        (DPMSolverPPMultistep(2), DataPrediction(), 3),
        (DPMSolverPPMultistep(2), NoisePrediction(), 5),
        # four predictions and the state
        (PLMS(), NoisePrediction(), 5),
    ],
    ids=lambda v: v if isinstance(v, int) else getattr(v, "name", None) or v.describe(),
)
def test_a_step_is_passes_over_the_state_and_nothing_else(sampler, parametrisation, passes):
    """Coefficients are Python floats and labels are worked out once: no operation on small tensors is left."""
    few, many = (operations(sampler, parametrisation, steps) for steps in (20, 30))
    assert many[0] - few[0] == 10 * passes
    assert many[1] == few[1]


class Asked(nn.Module):
    """Remembers what it was asked; its answer depends on all of it."""

    def __init__(self, dtype, wide):
        super().__init__()
        self.scale, self.wide_labels, self.seen = nn.Parameter(torch.ones(1, dtype=dtype)), wide, []

    def forward(self, x, label, condition=None):
        self.seen.append((x, label.clone(), condition))
        return x * self.scale


CASES = [
    (VP(), NoisePrediction(), torch.float32, False),
    (DiscreteVP(), VelocityPrediction(), torch.float64, False),
    (DiscreteVP(), NoisePrediction(), torch.bfloat16, True),
    (VP(), EDMPreconditioning(0.7), torch.float32, False),
    (EDM(), EDMPreconditioning(), torch.float32, False),
    (LinearFlow(), FlowPrediction(), torch.float32, False),
]


@pytest.mark.parametrize("state", [torch.float32, F64])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0].describe()} {c[1].name} {c[2]}")
def test_the_network_is_asked_the_same_when_its_times_are_foreseen(case, state):
    process, parametrisation, dtype, wide = case
    network = Asked(dtype, wide)
    model = Denoiser(network, process, parametrisation)
    nodes = process.nodes(torch.tensor([0.9, 0.3, 0.02], dtype=F64))
    x = normal(4, 3).to(state)
    plain, foreseen = Evaluator(model), Evaluator(model)
    foreseen.foresee(nodes, x)
    for node in nodes:
        network.seen.clear()
        expected, found = plain(x, node).output, foreseen(x, node).output
        before, after = network.seen
        # c_in is rounded once instead of with α and σ
        tolerance = {"rtol": 3e-7, "atol": 0.0} if state == torch.float32 else {}
        if dtype == torch.bfloat16:
            tolerance = {"rtol": 8e-3, "atol": 0.0}
        torch.testing.assert_close(after[0], before[0], **tolerance)
        torch.testing.assert_close(found, expected, **tolerance)
        assert after[1].dtype == before[1].dtype
        assert torch.equal(after[1], before[1])
    # a time that was not foreseen, and another number of samples
    assert foreseen(x, process.node(0.5)).output.shape == x.shape
    assert foreseen(x[:2], nodes[0]).output.shape == x[:2].shape


def test_guided_evaluations_are_foreseen():
    process = VP()
    network = Asked(torch.float32, wide=False)
    model = Denoiser(network, process, conditional=True, null=10)
    x, classes = torch.randn(3, 2), torch.tensor([1, 2, 3])
    DDIM().sample(model, process, KarrasGrid(), x, steps=3, condition=classes, guidance=2.0)
    times = KarrasGrid().times(process, 3)[:-1].float()
    for (doubled, label, condition), time in zip(network.seen, times, strict=True):
        assert doubled.shape == (6, 2)
        torch.testing.assert_close(label, (999 * time).expand(6))
        assert condition.tolist() == [1, 2, 3, 10, 10, 10]


def test_a_model_that_does_not_foresee_is_called_by_the_protocol():
    class Plain:
        parametrisation, conditional = NoisePrediction(), False

        def __call__(self, x, t, condition=None):
            return 0.1 * x * t[:, None]

    process, x = VP(), torch.randn(3, 2)
    sampler, noise = Ancestral(), SampleNoise(0, (3, 2))
    wrapped = Denoiser(lambda x, label: 0.1 * x * label[:, None] / 999, process)
    found, expected = (
        sampler.sample(model, process, KarrasGrid(), x, noise, steps=5).x for model in (Plain(), wrapped)
    )
    torch.testing.assert_close(found, expected)


def test_finite_states_whose_sum_is_not_are_no_failure():
    x = torch.full((3, 2), 3e38)
    assert mark_failures(x) == (Status.SUCCESS, None)
    x[1, 0] = float("inf")
    x[2, 1] = float("-inf")
    status, failed = mark_failures(x)
    assert status is Status.PARTIAL
    assert failed.tolist() == [False, True, True]
