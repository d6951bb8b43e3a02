"""Conditions, guidance and constraints; what is refused, and how."""

import pytest
import torch
from diffusion_cases import F64, normal, zero_mean_mixture

from integrand.diffusion import (
    DDIM,
    EDM,
    VP,
    BudgetError,
    Clip,
    Denoiser,
    DPMSolverPPMultistep,
    Evaluator,
    ExactMixture,
    ExplicitGrid,
    GridError,
    GuidanceError,
    Heun,
    IncompatibleError,
    LogSNRGrid,
    NoisePrediction,
    ProbabilityFlow,
    UniformGrid,
    UniPC,
)
from integrand.errors import UsageError

PROCESS = VP()


class Classes:
    """Noise 0, 1, … by class; counts rows, which are evaluations of a sample."""

    parametrisation, conditional, null = NoisePrediction(), True, 2

    def __init__(self):
        self.rows, self.seen = 0, []

    def __call__(self, x, t, condition=None):
        self.rows += len(x)
        self.seen.append(condition)
        return condition.to(x).view(-1, 1).expand_as(x) + 0.1 * x


def run(denoiser, x=None, sampler=None, **options):
    sampler = sampler or DDIM()
    return sampler.sample(denoiser, PROCESS, LogSNRGrid(), normal(3, 2) if x is None else x, **options)


def test_guided_output_and_count():
    model, node, x = Classes(), PROCESS.node(0.5), normal(3, 2)
    condition = torch.tensor([0, 1, 1])
    evaluate = Evaluator(model, condition, guidance=3.0)
    out = evaluate(x, node).noise()
    expected = 2 + 3.0 * (condition.double() - 2)
    torch.testing.assert_close(out, expected.view(-1, 1) + 0.1 * x)
    assert (evaluate.calls, evaluate.nfe, model.rows) == (1, 2, 6)


def test_guidance_counts_twice_against_the_budget():
    condition = torch.tensor([0, 1, 1])
    for guidance, steps in ((None, 20), (1.0, 20), (2.0, 10)):
        model = Classes()
        result = run(model, nfe=20, condition=condition, guidance=guidance)
        assert result.nfe == 20
        assert model.rows == 20 * 3
        assert len(result.times) == steps + 1
    with pytest.raises(BudgetError, match="with guidance needs at least NFE 2, not 1"):
        run(Classes(), nfe=1, condition=condition, guidance=2.0)


def test_weight_one_is_the_conditional_model_and_zero_the_null():
    condition = torch.tensor([0, 1, 1])
    plain = run(Classes(), steps=5, condition=condition)
    assert torch.equal(run(Classes(), steps=5, condition=condition, guidance=1.0).x, plain.x)
    null = run(Classes(), steps=5)
    torch.testing.assert_close(run(Classes(), steps=5, condition=condition, guidance=0.0).x, null.x)


def test_without_a_condition_the_null_is_taken():
    model = Classes()
    run(model, steps=2)
    assert all(seen.tolist() == [2, 2, 2] for seen in model.seen)


def test_unconditional_models_refuse():
    model = zero_mean_mixture(PROCESS)
    with pytest.raises(GuidanceError, match="guidance=2 was asked for, but the model is unconditional"):
        run(model, steps=2, guidance=2.0)
    with pytest.raises(GuidanceError, match="a condition was asked for"):
        run(model, steps=2, condition=torch.zeros(3))


def test_guidance_needs_a_condition_and_a_null():
    with pytest.raises(GuidanceError, match="without a condition"):
        run(Classes(), steps=2, guidance=2.0)
    model = Denoiser(torch.nn.Identity(), PROCESS, conditional=True)
    with pytest.raises(GuidanceError, match="without a null condition"):
        run(model, steps=2, condition=torch.zeros(3), guidance=2.0)


def test_a_constraint_acts_on_the_data_and_the_noise_follows():
    model, x, node = zero_mean_mixture(PROCESS), normal(3, 2), PROCESS.node(0.3)
    prediction = Evaluator(model, constraint=Clip(0.2))(x, node)
    plain = Evaluator(model)(x, node)
    assert float(plain.data().abs().max()) > 0.2
    assert float(prediction.data().abs().max()) <= 0.2
    torch.testing.assert_close(node.alpha * prediction.data() + node.sigma * prediction.noise(), x)
    wide = run(model, steps=5, constraint=Clip(100.0))
    torch.testing.assert_close(wide.x, run(model, steps=5).x, rtol=0, atol=1e-12)


def test_sampler_and_process_that_do_not_fit():
    class OnlyEDM(DDIM):
        processes = (EDM,)

        def describe(self):
            return "only-edm"

    class OnlyData(DDIM):
        parametrisations = (type(None),)

    with pytest.raises(IncompatibleError, match=r"only-edm does not apply to the process VP .* needs EDM"):
        run(zero_mean_mixture(PROCESS), sampler=OnlyEDM(), steps=2)
    with pytest.raises(IncompatibleError, match="does not apply to the parametrisation NoisePrediction"):
        run(zero_mean_mixture(PROCESS), sampler=OnlyData(), steps=2)
    with pytest.raises(IncompatibleError, match=r"trained on edm 0\.002-80, not on vp linear 0\.1-20"):
        run(zero_mean_mixture(EDM()), steps=2)


def test_a_start_without_signal_is_refused():
    class Silent(VP):
        def log_alpha(self, t):
            return torch.where(t < 1, super().log_alpha(t), -torch.inf)

    process = Silent()
    model = ExactMixture(process, torch.zeros(1, 2, dtype=F64), torch.ones(1, dtype=F64))
    with pytest.raises(GridError, match="α = 0 at the first time"):
        DDIM().sample(model, process, UniformGrid(), normal(3, 2), steps=4)


def test_budgets():
    model = zero_mean_mixture(PROCESS)
    with pytest.raises(BudgetError, match="neither nfe nor steps"):
        run(model)
    with pytest.raises(BudgetError, match="both nfe and steps"):
        run(model, nfe=4, steps=4)
    with pytest.raises(BudgetError, match="needs at least 1 steps, not 0"):
        run(model, steps=0)
    with pytest.raises(BudgetError, match="chooses its number of evaluations itself"):
        run(model, sampler=ProbabilityFlow(), nfe=50)
    assert run(model, sampler=ProbabilityFlow()).nfe > 20
    assert run(model, sampler=Heun(), nfe=9).nfe == 8
    result = DDIM().sample(model, PROCESS, ExplicitGrid([1.0, 0.5, 0.1]), normal(3, 2))
    assert result.nfe == 2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DDIM(1.5), r"eta must lie in \[0, 1\]"),
        (lambda: UniPC(4), "unknown p '4'"),
        (lambda: DPMSolverPPMultistep(0), "unknown order '0'"),
        (lambda: Heun(churn=-1.0), "churn=-1"),
    ],
)
def test_wrong_settings(make, words):
    with pytest.raises(UsageError, match=words):
        make()
