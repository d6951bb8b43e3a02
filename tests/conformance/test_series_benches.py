"""What every family on a hidden state must keep on series: forecasts, classes and targets."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from integrand.errors import UsageError
from integrand.modules import families
from integrand.modules.bench import BenchFamily
from integrand.modules.bench.series import EncodedSeries
from integrand.series import Query, Series
from integrand.solvers import count
from integrand.spec import Classes, Forecast, SeriesSpec

STATE = SeriesSpec("state", Forecast(1, 5), channels=4, length=1, step=0.25)
HIDDEN = SeriesSpec("hidden", Forecast(6, 5), channels=3, length=6, missing=True, static=2, step=0.25)
CLASSES = SeriesSpec("classes", Classes(3), channels=3, length=6, irregular=True, missing=True, static=2)
SPECS = {"state": STATE, "hidden": HIDDEN, "classes": CLASSES}
FAMILIES = [f for f in families() if issubclass(f, BenchFamily) and SeriesSpec in f.takes]
FORECASTERS = [f for f in FAMILIES if not f.answers or Forecast in f.answers]
CASES = [
    pytest.param(family, spec, id=f"{family.family}-{kind}")
    for family in FAMILIES
    for kind, spec in SPECS.items()
    if not family.answers or isinstance(spec.question, family.answers)
]
every_case = pytest.mark.parametrize(("family", "spec"), CASES)
every_forecaster = pytest.mark.parametrize("family", FORECASTERS, ids=lambda f: f.family)


def build(family, spec, seed=0):
    torch.manual_seed(seed)
    return family(spec) if spec.question == STATE.question else family(spec, channels=8)


def series(spec, size=5, dtype=torch.float32, gaps=None):
    """Random series, of unequal lengths and with missing values where the spec has them."""
    g = torch.Generator().manual_seed(1)
    n = spec.length
    lengths = torch.randint(1, n + 1, (size,), generator=g) if spec.missing else torch.full((size,), n)
    lengths[0] = n
    present = torch.arange(n) < lengths[:, None]
    gaps = torch.rand(size, n, generator=g) if spec.irregular else torch.full((size, n), spec.step)
    times = (gaps * present).double().cumsum(1)
    mask = present[..., None].expand(-1, -1, spec.channels).clone()
    if spec.missing:
        mask &= torch.rand(size, n, spec.channels, generator=g) < 0.7
    values = torch.randn(size, n, spec.channels, generator=g, dtype=dtype) * mask
    return Series(times, values, mask, lengths, torch.randn(size, spec.static, generator=g, dtype=dtype))


def asked(x, spec):
    """Times after the last ones of x, or None where no forecast is asked for."""
    if not isinstance(spec.question, Forecast):
        return None
    steps = torch.arange(1, spec.question.horizon + 1, dtype=torch.float64) * spec.step
    return x.end[:, None] + steps


def padded(x, more=3):
    """The same series with more padding."""
    values = F.pad(x.values, (0, 0, 0, more))
    mask = F.pad(x.mask, (0, 0, 0, more))
    return Series(F.pad(x.times[None], (0, more), mode="replicate")[0], values, mask, x.lengths, x.static)


@every_case
def test_outputs_have_the_shape_of_the_question(family, spec):
    x = series(spec)
    expected = (5, 3) if spec is CLASSES else (5, 5, spec.channels)
    assert build(family, spec)(x, asked(x, spec)).shape == expected


@every_case
def test_gradients_reach_every_parameter(family, spec):
    module = build(family, spec).train(not family.stochastic)
    x = series(spec)
    module(x, asked(x, spec)).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@every_case
def test_reported_forward_evaluations_are_those_made(family, spec, accounts):
    module = build(family, spec)
    x = series(spec)
    with count(*module.net.dynamics.residuals()) as seen:
        module(x, asked(x, spec))
    assert accounts(module)[-1].nfe_forward == seen.calls


@every_case
def test_nothing_depends_on_padding_or_on_the_order_of_a_batch(family, spec):
    if family.stochastic:
        pytest.skip("its noise belongs to places in the batch")
    module = build(family, spec).double().eval()
    x = series(spec, dtype=torch.float64)
    said = module(x, asked(x, spec))
    more = padded(x)
    assert torch.allclose(module(more, asked(more, spec)), said, atol=1e-10)
    turned = x[torch.tensor([4, 2, 0, 1, 3])]
    again = module(turned, asked(turned, spec))
    assert torch.allclose(again, said[torch.tensor([4, 2, 0, 1, 3])], atol=1e-10)


@every_forecaster
def test_a_step_is_scored_over_what_was_observed(family):
    module = build(family, STATE).eval()
    x = series(STATE)
    times = asked(x, STATE)
    values = torch.randn(5, 5, 4)
    mask = torch.rand(5, 5, 4) < 0.5
    outcome = module.step((x, Query(times, values * mask, mask)), "val")
    error = (outcome.prediction - values)[mask].square().mean()
    assert outcome.terms["loss"].item() == pytest.approx(float(error), rel=1e-5)
    assert outcome.times is times
    assert outcome.solves


@every_forecaster
def test_times_of_their_own_are_reached_or_refused(family):
    """A solve at own times agrees with solving each series alone at its times."""
    spec = replace(STATE, irregular=True)
    try:
        module = build(family, spec).double().eval()
    except UsageError as refusal:
        assert "have times of their own" in str(refusal)  # noqa: PT017
        return
    x = series(spec, dtype=torch.float64)
    times = x.end[:, None] + torch.rand(5, 5, dtype=torch.float64).cumsum(1)
    said = module(x, times)
    for i in range(5):
        # shared steps against own ones: the solver's tolerance, 1e-5 a step
        assert torch.allclose(module(x[i : i + 1], times[i : i + 1]), said[i : i + 1], atol=1e-3)


@every_forecaster
def test_the_state_is_the_observation_and_a_short_horizon_leaves_it(family):
    if family.group in ("discrete",):
        return  # a map takes a step whatever its length
    module = build(family, STATE).double().eval()
    x = series(STATE, dtype=torch.float64)
    soon = module(x, x.end[:, None] + 1e-6)
    assert torch.allclose(soon[:, 0], x.last, atol=1e-3)


@every_forecaster
def test_channels_of_an_observed_state_are_those_of_the_data(family):
    with pytest.raises(UsageError, match="channels=7, but the state is the observation, which has 4"):
        family(STATE, channels=7)
    torch.manual_seed(0)
    x = series(STATE)
    assert family(STATE, channels=8, layout=EncodedSeries())(x, asked(x, STATE)).shape == (5, 5, 4)


@every_forecaster
def test_dynamics_do_not_look_back(family):
    within = replace(HIDDEN, question=Forecast(6, 5, within=True))
    with pytest.raises(UsageError, match="dynamics go on from the last one"):
        family(within, channels=8)
