"""What every registered family must keep: a new file in modules/ is tested by being there."""

import inspect
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch.nn import functional as F

from integrand.errors import SpecError, UsageError
from integrand.modules import GROUPS, families
from integrand.modules.bench import BenchFamily
from integrand.solvers import Dopri5, SolveStats, TorchDiffEq, count
from integrand.spec import Classes, Density, ImageSpec, Targets, VectorSpec

REPOSITORY = Path(__file__).resolve().parents[2]
SPECS = {
    "image": ImageSpec("made-up", Classes(3), (1, 8, 8)),
    "vector": VectorSpec("made-up", Classes(3), 4),
}
"""One data set of every kind of input that a bench takes."""
BENCHED = [f for f in families() if issubclass(f, BenchFamily)]
SOLVED = [f for f in BENCHED if f.uses_solver and ImageSpec in f.takes]
INPUTS = [
    pytest.param(family, spec, id=f"{family.family}-{kind}")
    for family in BENCHED
    for kind, spec in SPECS.items()
    if isinstance(spec, family.takes)
]

every_family = pytest.mark.parametrize("family", families(), ids=lambda f: f.family)
every_input = pytest.mark.parametrize(("family", "spec"), INPUTS)
every_solved_family = pytest.mark.parametrize("family", SOLVED, ids=lambda f: f.family)


def build(family, spec=SPECS["image"], seed=0, **kwargs):
    torch.manual_seed(seed)
    return family(spec, channels=8, **kwargs)


def batch(spec=SPECS["image"], size=5, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, *spec.input_shape, generator=generator, dtype=dtype)
    return x, torch.randint(spec.num_classes, (size,), generator=generator)


@every_family
def test_declares_what_listings_show(family):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", family.family)
    assert family.group in GROUPS
    assert family.title
    assert family.equation
    assert family.reference
    assert family.takes
    assert family.uses_solver == ("solver" in inspect.signature(family.__init__).parameters)


@every_family
def test_has_a_config_and_a_row_in_the_docs(family):
    configs = (REPOSITORY / "configs" / "model").glob("*.yaml")
    assert family.__name__ in {yaml.safe_load(path.read_text())["class_path"] for path in configs}
    rows = (REPOSITORY / "docs" / "families.md").read_text()
    assert f"| `{family.__name__}` |" in rows


@every_input
def test_logits_have_the_shape_of_the_classes(family, spec):
    x, _ = batch(spec)
    assert build(family, spec)(x).shape == (5, 3)


@every_input
def test_gradients_reach_every_parameter(family, spec):
    # what a stochastic family drops in training is all there in evaluation
    module = build(family, spec).train(not family.stochastic)
    x, y = batch(spec)
    F.cross_entropy(module(x), y).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_input
def test_steps_leave_no_graph_behind(family, spec, graphs_left):
    module = build(family, spec).train()
    assert graphs_left(lambda: module.step(batch(spec), "train")) == 0


@every_input
def test_one_seed_gives_one_network_and_one_output(family, spec):
    x, _ = batch(spec)
    outputs = []
    for seed in (0, 0, 1):
        module = build(family, spec, seed)
        torch.manual_seed(7)  # what a stochastic family draws
        outputs.append(module(x))
    assert torch.equal(outputs[0], outputs[1])
    assert not torch.equal(outputs[0], outputs[2])


@every_input
def test_equal_seeds_give_every_family_the_same_stem(family, spec):
    reference = build(BENCHED[0], spec).net.stem.state_dict()
    for name, value in build(family, spec).net.stem.state_dict().items():
        assert torch.equal(value, reference[name]), name


@every_input
def test_training_mode_differs_only_where_declared(family, spec):
    # the head that all share is another function in training: tests/modules/test_head.py
    options = {"head": "none"} if isinstance(spec, ImageSpec) else {}
    module = build(family, spec, **options).double()
    x, _ = batch(spec, dtype=torch.float64)
    first = module.train()(x)
    # a family that draws from few possibilities may draw the same one twice, but not seven times
    same = all(torch.equal(first, module(x)) for _ in range(7))
    assert same != family.stochastic
    if not family.stochastic:
        assert torch.equal(module.train()(x), module.eval()(x))


@every_input
def test_draws_are_single_passes(family, spec):
    module = build(family, spec).eval()
    x, _ = batch(spec)
    torch.manual_seed(7)
    said, solves = module.draws(x, 3)
    number = 3 if module.components is None else module.components
    assert said.shape == (number, 5, 3)
    assert len(solves) % number == 0
    torch.manual_seed(7)
    again = module.draws(x, 3)[0]
    assert torch.equal(said, again)
    if number == 1:
        torch.testing.assert_close(said[0], module(x))
    for doubt in module.doubts(x).values():
        assert doubt.shape == (5,)
        assert torch.isfinite(doubt).all()


@every_input
def test_reported_forward_evaluations_are_those_made(family, spec, accounts):
    module = build(family, spec)
    x, _ = batch(spec)
    with count(*module.net.dynamics.residuals()) as seen:
        module(x)
    assert accounts(module)[-1].nfe_forward == seen.calls


@every_input
def test_reported_backward_evaluations_are_those_made_by_default(family, spec, accounts):
    module = build(family, spec)
    x, y = batch(spec)
    with count(*module.net.dynamics.residuals()) as seen:
        loss = F.cross_entropy(module(x), y)
        forward = seen.calls
        loss.backward()
    stats = accounts(module)[-1]
    assert stats.nfe_backward == seen.calls - forward
    assert (stats.vjps > 0) == (forward > 0)
    if family.reversible:
        assert stats.nfe_backward == forward


GRADIENT_MODES = {
    f"{engine.__name__}-{gradient}-{name}": engine(**steps, gradient=gradient)
    for engine in (TorchDiffEq, Dopri5)
    for gradient in engine.gradients
    for name, steps in {"adaptive": {}, "fixed": {"num_steps": 4}}.items()
    if engine is Dopri5 or name == "adaptive"
} | {f"rk4-{g}": TorchDiffEq(method="rk4", num_steps=4, gradient=g) for g in TorchDiffEq.gradients}
"""Every way to get a gradient, by adaptive and by fixed steps."""


@pytest.mark.parametrize("solver", GRADIENT_MODES.values(), ids=GRADIENT_MODES.keys())
@every_solved_family
def test_reported_backward_evaluations_are_those_made(family, solver, accounts):
    module = build(family, solver=solver)
    x, y = batch()
    with count(*module.net.dynamics.residuals()) as seen:
        loss = F.cross_entropy(module(x), y)
        forward = seen.calls
        loss.backward()
    stats = accounts(module)[-1]
    assert stats.nfe_forward == forward
    assert stats.nfe_backward == seen.calls - forward
    assert (stats.nfe_backward > 0) == (solver.gradient != "backprop")  # the others evaluate again
    assert stats.vjps > 0


@every_input
def test_state_dict_round_trip_is_exact(family, spec, tmp_path):
    module, other = build(family, spec, 0), build(family, spec, 1)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    x, _ = batch(spec)
    torch.manual_seed(7)
    expected = module.eval()(x)
    torch.manual_seed(7)
    assert torch.equal(other.eval()(x), expected)


@every_input
def test_trajectory_starts_at_the_state_and_ends_where_the_head_reads(family, spec):
    module = build(family, spec).eval()
    x, _ = batch(spec)
    torch.manual_seed(7)
    ts, ys = module.trajectory(x)
    assert len(ts) == len(ys) >= 2
    assert (ts[1:] > ts[:-1]).all()
    torch.manual_seed(7)
    logits = module(x) if module.components == 1 else module.draws(x, 1)[0][0]
    # an adaptive solver steps differently between more output times: agreement to its tolerance of 1e-3
    torch.testing.assert_close(module.net.head(ys[-1]), logits, rtol=1e-2, atol=1e-2)


@every_input
def test_a_batch_that_contradicts_the_spec_is_refused(family, spec):
    wrong = torch.zeros(2, spec.input_shape[0] + 1, *spec.input_shape[1:])
    with pytest.raises(SpecError, match=re.escape(f"{tuple(wrong.shape)} contradicts the spec of made-up")):
        build(family, spec)(wrong)


@pytest.mark.parametrize("family", BENCHED, ids=lambda f: f.family)
def test_a_question_that_it_does_not_answer_is_refused(family):
    if VectorSpec not in family.takes:
        pytest.skip("it does not take vectors at all")
    with pytest.raises(
        UsageError, match=r"is a model of outputs given an input, but points asks for a density"
    ):
        family(VectorSpec("points", Density(), 2))


@every_input
def test_numbers_are_answered_as_classes_are(family, spec):
    targets = Targets(("a", "b"), scales=(2.0, 1.0), shifts=(10.0, 0.0))
    module = build(family, replace(spec, question=targets)).eval()
    x, _ = batch(spec)
    y = torch.randn(5, 2, generator=torch.Generator().manual_seed(2))
    outcome = module.step((x, y), "val")
    assert outcome.prediction.shape == (5, 2)
    torch.testing.assert_close(outcome.loss, F.mse_loss(outcome.prediction, y))
    # in the units of the raw targets
    measured = module.task.observe("val", outcome)
    errors = (outcome.prediction - y) * torch.tensor(targets.scales)
    torch.testing.assert_close(measured["rmse"].compute(), errors.square().mean().sqrt())
    torch.testing.assert_close(
        module.task.answer(outcome.prediction)[:, 0], 2 * outcome.prediction[:, 0] + 10
    )


@every_input
def test_the_outcome_holds_what_the_step_did(family, spec):
    module = build(family, spec)
    x, y = batch(spec)
    with count(*module.net.dynamics.residuals()) as seen:
        outcome = module.step((x, y), "train")
    assert next(iter(outcome.terms)) == "loss"
    torch.testing.assert_close(outcome.terms["loss"], F.cross_entropy(outcome.prediction, y))
    assert outcome.size == 5
    assert outcome.inputs is x
    assert outcome.target is y
    assert not outcome.prediction.requires_grad
    assert (
        SolveStats.total(outcome.solves).nfe_forward >= seen.calls
    )  # penalties evaluate outside of the solve
    assert set(module.step((x, y), "val").terms) == {"loss"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_input
def test_gpu_agrees_with_cpu(family, spec):
    module = build(family, spec).double().eval()
    x, _ = batch(spec, dtype=torch.float64)
    expected = module(x)
    # float64 on both sides: only the order of summation and, for adaptive solvers, round-off in the step differ
    torch.testing.assert_close(module.cuda()(x.cuda()).cpu(), expected, rtol=1e-6, atol=1e-6)
