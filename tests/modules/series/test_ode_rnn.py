"""ODE-RNN: a GRU without a field, intervals that may be split, and forecasts that have not seen the answer."""

import torch
from torch import nn

from integrand.modules.series.observations import reverse, seen
from integrand.modules.series.ode_rnn import ODERNN
from integrand.modules.series.recurrence import ODERecurrence
from integrand.series import Series
from integrand.solvers import RK4, Dopri5, odeint
from integrand.spec import Forecast


class Still(nn.Module):
    """f = 0."""

    def forward(self, t, h):
        return torch.zeros_like(h)


def recurrence(spec, width=4):
    torch.manual_seed(0)
    made = ODERecurrence(spec, width, 8, 1.0).double()
    for p in made.field.parameters():
        p.data *= 2
    return made


def test_without_a_field_it_is_a_gru(series, series_spec):
    spec = series_spec()
    x = series()
    net = recurrence(spec)
    net.field = Still()
    found = net(x, RK4(num_steps=1))
    for b in range(len(x)):
        h = torch.zeros(1, 4, dtype=torch.float64)
        for i in range(int(x.lengths[b])):
            if x.mask[b, i].any():
                h = net.cell(torch.cat((x.values[b, i], x.mask[b, i].double()))[None], h)
        torch.testing.assert_close(found.after[-1][b], h[0])


def test_between_observations_the_state_follows_the_field(series, series_spec):
    spec = series_spec()
    x = series((9,), missing=0.2)
    net = recurrence(spec)
    found = net(x, RK4(num_steps=20))
    start = found.after[2]
    expected = odeint(net.field, start, x.times[0, 2:4], method="dopri5", rtol=1e-10, atol=1e-10)
    # RK4 with 20 steps in a gap of about 1: h⁴ = 6e-6, and the field's fifth derivative is of order 1
    torch.testing.assert_close(found.before[3], expected[-1], rtol=1e-5, atol=1e-5)
    assert (found.before[3] - start).abs().max() > 1e-2


def test_a_time_at_which_nothing_is_observed_changes_nothing(series, series_spec):
    spec = series_spec()
    x = series((9,), missing=0.0)
    net, solver = recurrence(spec), Dopri5(rtol=1e-10, atol=1e-10)
    whole = net(x, solver).after[-1]
    inside = (x.times[:, 2:3] + x.times[:, 3:4]) / 2
    split = Series(
        torch.cat((x.times[:, :3], inside, x.times[:, 3:]), 1),
        torch.cat((x.values[:, :3], torch.zeros_like(x.values[:, :1]), x.values[:, 3:]), 1),
        torch.cat((x.mask[:, :3], torch.zeros_like(x.mask[:, :1]), x.mask[:, 3:]), 1),
        x.lengths + 1,
        x.static,
    )
    assert not seen(split)[0, 3]
    # two solves at 1e-10 instead of one
    torch.testing.assert_close(net(split, solver).after[-1], whole, rtol=1e-8, atol=1e-8)


def test_times_shifted_or_mirrored_give_the_same_where_time_does_not_enter(series, series_spec):
    spec = series_spec()
    x = series()
    net, solver = recurrence(spec), RK4(num_steps=1)
    shifted = Series(x.times + 1000.0, x.values, x.mask, x.lengths, x.static)
    # times near 1000 resolve gaps to 1e-13
    torch.testing.assert_close(net(x, solver).after, net(shifted, solver).after, rtol=1e-10, atol=1e-10)
    # backwards in time the field is that of −f
    forwards = net(Series(-reverse(x).times, *reverse(x)._parts[1:]), solver).after[-1]
    backwards = net(reverse(x), solver).after[-1]
    assert not torch.allclose(forwards, backwards)
    last = net.field.net[-1]
    last.weight.data.neg_(), last.bias.data.neg_()
    torch.testing.assert_close(net(reverse(x), solver).after[-1], forwards)


def test_time_enters_where_the_law_changes_with_it(series, series_spec):
    spec = series_spec(autonomous=False)
    x = series()
    net, solver = recurrence(spec), RK4(num_steps=1)
    shifted = Series(x.times + 1.0, x.values, x.mask, x.lengths, x.static)
    assert not torch.allclose(net(x, solver).after[-1], net(shifted, solver).after[-1])


def test_a_one_step_forecast_has_not_seen_what_it_forecasts(series, series_spec, ask):
    spec = series_spec(Forecast(7, 4))
    x = series((9, 9))
    query = ask(x)
    module = ODERNN(spec).double()
    outcome = module.step((x, query), "train")
    assert set(outcome.terms) == {"loss", "one_step"}
    changed = Series(x.times, x.values.clone(), x.mask, x.lengths, x.static)
    changed.values[:, -1] += 3.0 * x.mask[:, -1]
    kept = module.recurrence(x, module.solver), module.recurrence(changed, module.solver)
    assert torch.equal(kept[0].before, kept[1].before)
    assert not torch.equal(kept[0].after, kept[1].after)
    assert set(module.step((x, query), "val").terms) == {"loss"}


def test_the_one_step_loss_is_the_mean_over_all_but_the_first_observation(series, series_spec, ask):
    spec = series_spec(Forecast(3, 1))
    x = series((3, 3))
    query = ask(x, horizon=1)
    module = ODERNN(spec, one_step=0.5).double()
    outcome = module.step((x, query), "train")
    said = module.head(module.recurrence(x, module.solver).before).transpose(0, 1)
    mask = x.mask.clone()
    mask[:, 0] = False
    expected = 0.5 * (said - x.values)[mask].square().mean()
    torch.testing.assert_close(outcome.terms["one_step"], expected)
