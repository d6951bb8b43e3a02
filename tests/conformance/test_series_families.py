"""What every family that reads a series must keep: a new file in modules/ is tested by being there."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch

from integrand.errors import SpecError, UsageError
from integrand.modules import families
from integrand.modules.series.base import SeriesFamily
from integrand.outcome import Outcome
from integrand.series import Query, Series
from integrand.solvers import ControlledField, SolveStats, count
from integrand.spec import Classes, Forecast, SeriesSpec, Targets

SPEC = SeriesSpec("made-up", Classes(3), channels=3, length=9, irregular=True, missing=True, static=2)
STATE = SeriesSpec("made-up", Classes(3), channels=4, length=9, irregular=True)
"""For equations of the state itself, which is then observed whole."""
QUESTIONS = {
    "classes": Classes(3),
    "targets": Targets(("a", "b")),
    "forecast": Forecast(9, 4),
    "interpolation": Forecast(9, 4, within=True),
}


def of_its_kind(family):
    return STATE if family.group == "trajectory" else SPEC


# SINDy is fitted by least squares and has no gradients
READERS = [f for f in families() if issubclass(f, SeriesFamily) and f.family != "sindy"]
ASKED = [
    pytest.param(family, replace(of_its_kind(family), question=question), id=f"{family.family}-{name}")
    for family in READERS
    for name, question in QUESTIONS.items()
    if family.models == "outputs"
    and (not family.answers or isinstance(question, family.answers))
    # an equation of the state starts from the last one
    and not (name == "interpolation" and family.group == "trajectory")
]

every_question = pytest.mark.parametrize(("family", "spec"), ASKED)


def build(family, spec, seed=0):
    torch.manual_seed(seed)
    return family(spec).double()


@pytest.fixture
def made(series, ask):
    """Makes a batch for a spec."""

    def make(spec, lengths=(9, 5, 1, 7)):
        missing = 0.3 if spec.missing else 0.0
        x = series(lengths, channels=spec.channels, static=spec.static, missing=missing)
        draw = torch.Generator().manual_seed(3)
        if isinstance(spec.question, Classes):
            return x, torch.randint(3, (len(x),), generator=draw)
        if isinstance(spec.question, Targets):
            return x, torch.randn(len(x), 2, generator=draw, dtype=torch.float64)
        query = ask(x)
        if spec.question.within:
            shares = torch.rand(query.times.shape, generator=draw, dtype=torch.float64).sort(1).values
            query.times = torch.lerp(x.times[:, :1], x.end[:, None], shares)
        return x, query

    return make


def said(module, batch):
    """What an evaluation answers; what a family draws is drawn anew each time."""
    torch.manual_seed(7)
    with torch.no_grad():
        return module.eval().respond(batch).prediction


def chosen(batch, samples):
    """Some of a batch."""
    x, asked = batch
    if isinstance(asked, Query):
        return x[samples], Query(asked.times[samples], asked.values[samples], asked.mask[samples])
    return x[samples], asked[samples]


@every_question
def test_an_answer_has_the_shape_of_the_question(family, spec, made):
    batch = made(spec)
    answer = said(build(family, spec), batch)
    expected = (4, 4, spec.channels) if isinstance(spec.question, Forecast) else (4, spec.question.size)
    assert answer.shape == expected
    assert answer.isfinite().all()


@every_question
def test_a_step_gives_a_loss_and_what_metrics_need(family, spec, made):
    module, batch = build(family, spec), made(spec)
    for stage in ("train", "val"):
        outcome = module.train(stage == "train").step(batch, stage)
        assert isinstance(outcome, Outcome)
        assert next(iter(outcome.terms)) == "loss"
        assert all(term.ndim == 0 and term.isfinite() for term in outcome.terms.values())
        assert all(score.ndim == 0 and not score.requires_grad for score in outcome.scores.values())
        assert outcome.size == 4
        assert not outcome.prediction.requires_grad
        measured = module.task.observe(stage, outcome)
        assert all(metric.compute().isfinite() for metric in measured.values())
        if isinstance(spec.question, Forecast):
            assert torch.equal(outcome.times, batch[1].times)
            torch.testing.assert_close(outcome.target, batch[1].truth, equal_nan=True)
            if outcome.draws is not None:
                assert outcome.draws.shape[1:] == outcome.target.shape
                assert not outcome.draws.requires_grad
    assert set(outcome.terms) == {"loss"}  # regularisers belong to training


@every_question
def test_gradients_reach_every_parameter(family, spec, made):
    module = build(family, spec).train()
    module.step(made(spec), "train").loss.backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().sum() > 0, name


@every_question
def test_steps_leave_no_graph_behind(family, spec, made, graphs_left):
    module = build(family, spec).train()
    assert graphs_left(lambda: module.step(made(spec), "train")) == 0


@every_question
def test_one_seed_gives_one_network_and_one_answer(family, spec, made):
    batch = made(spec)
    first, again, other = (said(build(family, spec, seed), batch) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@every_question
def test_training_steps_differ_only_where_declared(family, spec, made):
    module, batch = build(family, spec).train(), made(spec)
    losses = [module.step(batch, "train").loss for _ in range(3)]
    same = all(torch.equal(losses[0], loss) for loss in losses[1:])
    assert same != family.stochastic


@contextmanager
def count_fields(fields):
    """Calls so far; of a controlled field those of its product with dX, however it makes it."""
    controlled = [f for f in fields if isinstance(f, ControlledField)]
    calls = [0]

    def counted(increment):
        def call(*args):
            calls[0] += 1
            return increment(*args)

        return call

    for f in controlled:
        f.increment = counted(f.increment)
    with count(*(f for f in fields if f not in controlled)) as seen:
        yield lambda: calls[0] + seen.calls


@every_question
def test_reported_evaluations_are_those_made(family, spec, made):
    module = build(family, spec).train()
    with count_fields(module.residuals()) as seen:
        outcome = module.step(made(spec), "train")
        forward = seen()
        outcome.loss.backward()
    total = SolveStats.total(outcome.solves)
    assert total.nfe_forward == forward
    assert total.nfe_backward == seen() - forward
    assert forward > 0 or not family.uses_solver
    assert all(bool(part) == family.uses_solver for part in module.describe_solver())


def answers_alike(answer, expected):
    # sums over a batch of another size may be taken in another order
    torch.testing.assert_close(answer, expected, rtol=1e-9, atol=1e-9)


@every_question
def test_an_answer_does_not_depend_on_padding(family, spec, made, pad):
    module, (x, asked) = build(family, spec), made(spec)
    answers_alike(said(module, (pad(x), asked)), said(module, (x, asked)))


@every_question
def test_an_answer_does_not_depend_on_batch_mates_or_their_order(family, spec, made):
    module, batch = build(family, spec), made(spec)
    whole = said(module, batch)
    order = torch.tensor([2, 3, 1, 0])
    answers_alike(said(module, chosen(batch, order)), whole[order])
    for i, n in enumerate(batch[0].lengths.tolist()):
        x, asked = chosen(batch, slice(i, i + 1))
        alone = Series(x.times[:, :n], x.values[:, :n], x.mask[:, :n], x.lengths, x.static)
        answers_alike(said(module, (alone, asked)), whole[i : i + 1])


@every_question
def test_a_training_loss_does_not_depend_on_padding(family, spec, made, pad):
    module, (x, asked) = build(family, spec).train(), made(spec)
    losses = []
    for given in (x, pad(x)):
        torch.manual_seed(7)
        losses.append(module.step((given, asked), "train").loss)
    answers_alike(losses[1], losses[0])


@every_question
def test_state_dict_round_trip_is_exact(family, spec, made, tmp_path):
    module, other, batch = build(family, spec, 0), build(family, spec, 1), made(spec)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(said(other, batch), said(module, batch))


@every_question
def test_one_observation_is_enough(family, spec, made):
    module, batch = build(family, spec).train(), made(spec, lengths=(1, 1))
    outcome = module.step(batch, "train")
    assert outcome.loss.isfinite()
    outcome.loss.backward()
    assert said(module, batch).isfinite().all()


@every_question
def test_a_channel_that_is_never_observed_is_no_obstacle(family, spec, made):
    module, (x, asked) = build(family, spec).train(), made(spec)
    if not spec.missing:
        pytest.skip("it needs all channels")
    x.mask[..., 1], x.values[..., 1] = False, 0.0
    x.mask[0], x.values[0] = False, 0.0  # and a series of which nothing is
    loss = module.step((x, asked), "train").loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)
    assert said(module, (x, asked)).isfinite().all()


@every_question
def test_a_batch_that_contradicts_the_spec_is_refused(family, spec, made):
    x, asked = made(replace(spec, channels=5))
    with pytest.raises(
        SpecError, match=r"series of 5 channels and . static numbers contradict the spec of made-up"
    ):
        build(family, spec).step((x, asked), "val")


@pytest.mark.parametrize("family", READERS, ids=lambda f: f.family)
def test_derivatives_are_refused_where_they_are_not_learned(family, made):
    spec = replace(of_its_kind(family), question=Forecast(1, 4))
    if (
        family.learns_rates
        or family.models != "outputs"
        or (family.answers and Forecast not in family.answers)
    ):
        pytest.skip("it learns them, or does not forecast")
    x, asked = made(spec, lengths=(1, 1))
    asked.rates = asked.values[:, 0]
    with pytest.raises(UsageError, match=r"learns values, not derivatives"):
        build(family, spec).step((x, asked), "train")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@every_question
def test_gpu_agrees_with_cpu(family, spec, made):
    from lightning.fabric.utilities import move_data_to_device

    module, batch = build(family, spec), made(spec)
    expected = said(module, batch)
    found = said(module.cuda(), move_data_to_device(batch, torch.device("cuda")))
    # float64 on both sides: only the order of summation and, for adaptive solvers, round-off in the step differ
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-6, atol=1e-6)
