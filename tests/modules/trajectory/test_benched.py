"""The families of mechanics and the hybrid model on series: forecasts, derivatives, accounts, refusals."""

import pytest
import torch

from integrand.errors import UsageError
from integrand.modules import families
from integrand.modules.bench import BenchFamily
from integrand.modules.bench.series import SeriesState
from integrand.modules.trajectory.hybrid_model import HybridModel
from integrand.modules.trajectory.laws import pendulum
from integrand.series import Query, Series
from integrand.solvers import RK4, count
from integrand.spec import Classes, Forecast, SeriesSpec

BENCHED = [f for f in families() if f.group == "trajectory" and issubclass(f, BenchFamily)]
every_family = pytest.mark.parametrize("family", BENCHED, ids=lambda f: f.family)


def spec(channels=4, question=None):
    return SeriesSpec("made-up", question or Forecast(1, 3), channels=channels, length=1)


def build(family, channels=4, **kwargs):
    torch.manual_seed(0)
    return family(spec(channels), layout=SeriesState(hidden=8), **kwargs).double()


def batch(channels=4, size=5, rates=False):
    g = torch.Generator().manual_seed(1)
    y = torch.randn(size, 4, channels, generator=g, dtype=torch.float64)
    times = (0.2 * torch.arange(4, dtype=torch.float64)).expand(size, 4)
    there = torch.ones_like(y, dtype=torch.bool)
    x = Series(
        times[:, :1], y[:, :1], there[:, :1], torch.ones(size, dtype=torch.int64), torch.zeros(size, 0)
    )
    if rates:
        return x, Query(times[:, :0], y[:, :0], there[:, :0], y[:, 1])
    return x, Query(times[:, 1:], y[:, 1:], there[:, 1:])


@every_family
@pytest.mark.parametrize("rates", [False, True], ids=["values", "derivatives"])
def test_a_step_reaches_every_weight_and_counts_what_it_evaluates(family, rates):
    module = build(family)
    with count(*module.net.dynamics.residuals()) as seen:
        outcome = module.step(batch(rates=rates), "val")
    assert sum(s.nfe_forward for s in outcome.solves) == seen.calls > 0
    outcome.loss.backward()
    assert sum(s.vjps for s in outcome.solves) > 0
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@every_family
def test_evaluation_without_gradients_says_the_same(family):
    module = build(family)
    x, query = batch()
    said = module(x, query.times)
    assert said.shape == (5, 3, 4)
    with torch.no_grad():
        torch.testing.assert_close(module(x, query.times), said)
    if not family.needs_grad_at_eval:
        with torch.inference_mode():
            torch.testing.assert_close(module(x, query.times), said)


@every_family
def test_only_forecasts_of_an_observed_state_are_answered(family):
    with pytest.raises(UsageError, match="answers forecast"):
        family(spec(question=Classes(3)))
    with pytest.raises(UsageError, match="channels=3"):
        family(spec(4), channels=3)


@pytest.mark.parametrize("family", [f for f in BENCHED if f.needs_grad_at_eval], ids=lambda f: f.family)
def test_a_state_that_is_no_coordinates_and_momenta_is_refused(family):
    with pytest.raises(UsageError, match="coordinates"):
        build(family, channels=3)


# ---------------------------------------------------------------------- hybrid


def test_the_numbers_are_scores_and_the_network_is_weighed():
    module = build(HybridModel, 2, law=pendulum, parameters={"stiffness": 1.0}, penalty=0.5)
    x, query = batch(2)
    query.mask[0, 1] = False
    with count(module.field, module.field.unknown) as seen:
        outcome = module.step((x, query), "train")
    assert outcome.scores == {"parameter_stiffness": torch.tensor(1.0)}
    # one call of the network inside each call of the field, and one for the penalty
    assert seen.calls == 2 * outcome.solves[0].nfe_forward - 1
    states = torch.cat([x.last, query.values[query.mask.all(2)]])
    size = module.field.unknown(torch.zeros(()), states).square().sum(1).mean()
    torch.testing.assert_close(outcome.terms["unknown"], 0.5 * size)
    assert list(module.step((x, query), "val").terms) == ["loss"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"penalty": -1.0}, "penalty"),
        ({"network": False}, "nothing is left"),
        ({"parameters": {"a": 1.0}, "fixed": ["a"], "network": False}, "nothing is left"),
    ],
)
def test_what_leaves_nothing_to_fit_is_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        build(HybridModel, **wrong)


def test_the_numbers_of_a_law_are_recovered():
    """Exact derivatives of a damped pendulum: the minimum is where the numbers are true and the net is silent."""
    true, points = torch.tensor([2.0, 0.3]).double(), batch(2, 64, rates=True)
    angle, rate = points[0].last.unbind(1)
    points[1].rates = torch.stack([rate, -true[0] * angle.sin() - true[1] * rate], 1)
    module = build(
        HybridModel, 2, law=pendulum, parameters={"stiffness": 1.0, "damping": 0.0}, solver=RK4(num_steps=2)
    )
    optimizer = torch.optim.LBFGS(module.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = module.step(points, "train").loss
        value.backward()
        return value

    optimizer.step(loss)
    found = torch.stack([module.field.law_parameters[n].detach() for n in ("stiffness", "damping")])
    torch.testing.assert_close(found, true, rtol=1e-2, atol=1e-2)
