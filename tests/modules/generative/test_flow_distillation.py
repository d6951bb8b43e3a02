"""Distillation of a flow in closed form: of a linear teacher the optimum is known."""

import pytest
import torch

from integrand.errors import UsageError
from integrand.modules.generative.backbones import Backbone, TimeNet
from integrand.modules.generative.few_steps import LearnedSteps
from integrand.modules.generative.flow_distillation import FlowDistillation
from integrand.modules.generative.seeded import noise_rows
from integrand.solvers import Dopri5
from integrand.spec import Density, VectorSpec

POINTS = VectorSpec("made-up", Density(), 2)


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Linear(Backbone):
    """f(t, x) = A x."""

    def __init__(self, matrix):
        self.matrix = matrix

    def build(self, shape, num_classes=0):
        return LinearNet(self.matrix)


class LinearNet(TimeNet):
    def __init__(self, matrix):
        super().__init__()
        self.matrix = torch.nn.Parameter(matrix.clone())

    def forward(self, t, x, y=None):
        return x @ self.matrix.T


A = torch.tensor([[-0.8, 1.5], [-1.1, 0.3]], dtype=torch.float64)


@pytest.fixture
def turning(tmp_path):
    """A checkpoint of the flow ẋ = A x, whose paths are spirals."""
    path = tmp_path / "flow.ckpt"
    torch.save({"state_dict": {"net.matrix": A}, "integrand": {"family": "flow-matching"}}, path)
    return str(path)


def pupil(turning, num_steps):
    solver = Dopri5(rtol=1e-10, atol=1e-10)
    options = {"solver": solver, "backbone": Linear(A), "pairs": 50, "ema": None}
    return FlowDistillation(POINTS, teacher=turning, num_steps=num_steps, **options).double()


@pytest.mark.parametrize("steps", [1, 2])
def test_the_optimum_of_a_linear_teacher_is_its_exponential(turning, steps):
    """f = k (e^{A/k} − I): no loss in training and evaluation, and the teacher's own samples."""
    module = pupil(turning, steps)
    assert torch.equal(module.net.matrix, A)  # it begins at its teacher
    module.on_fit_start()
    assert module.objective(draws(64, 2), None, "train").loss > 0.1
    exact = torch.linalg.matrix_exp(A / steps)
    with torch.no_grad():
        module.net.matrix.copy_(steps * (exact - torch.eye(2)))
    for stage in ("train", "val"):
        outcome = module.train(stage == "train").objective(draws(64, 2), None, stage)
        assert outcome.loss < 1e-16  # squares of the teacher's tolerance, 1e-10 of states of size 1
    noise = noise_rows(0, 0, 9, (2,)).double()
    torch.testing.assert_close(module.sample(9).x, noise @ torch.linalg.matrix_exp(A).T)
    # training and evaluation take different noise
    assert not torch.equal(module._pairs[:, :50], module._held[:, :50])


def test_a_distilled_flow_takes_the_steps_that_it_learnt(turning):
    module = pupil(turning, 2)
    assert module.sample(3, sampler=LearnedSteps(5)).nfe == 2
    with pytest.raises(UsageError, match="it has learnt 2 steps, not 1"):
        module.sample(3, sampler=LearnedSteps(1))
    with pytest.raises(UsageError, match="Dopri5 cannot sample from FlowDistillation"):
        module.sample(3, sampler=Dopri5())
    assert module.objective(draws(8, 2), None, "test").scores == {}
    assert module.extra_scores(draws(8, 2), draws(8, 2), "test") == {}
