"""GRU with gaps and GRU-D: what they are told, and the limits in which one is the other."""

import torch

from integrand.modules.series.gru_d import GRUD, Decay, GRUDCell, last_observed, time_since_observed
from integrand.modules.series.gru_gaps import GRUGaps
from integrand.modules.series.observations import reverse, told
from integrand.series import Series
from integrand.spec import Forecast


def three(mask):
    """One series of one channel at times 0, 1, 3, 7."""
    times = torch.tensor([[0.0, 1.0, 3.0, 7.0]], dtype=torch.float64)
    mask = torch.tensor(mask).view(1, 4, 1)
    values = torch.tensor([[[10.0], [20.0], [30.0], [40.0]]], dtype=torch.float64) * mask
    return Series(times, values, mask, torch.tensor([4]), torch.zeros(1, 0, dtype=torch.float64))


def test_what_a_recurrent_network_is_told():
    x = three([True, False, True, True])
    x.static = torch.full((1, 1), 5.0, dtype=torch.float64)
    assert told(x, unit=2.0)[0].tolist() == [
        [10.0, 1.0, 5.0, 0.0],
        [0.0, 0.0, 5.0, 0.5],
        [30.0, 1.0, 5.0, 1.0],
        [40.0, 1.0, 5.0, 2.0],
    ]


def test_time_since_each_channel_was_observed():
    x = three([True, False, False, True])
    # Che et al. 2018, eq. 2: at an unobserved time the clock goes on
    assert time_since_observed(x).flatten().tolist() == [0.0, 1.0, 3.0, 7.0]
    assert time_since_observed(three([True, False, True, True])).flatten().tolist() == [0.0, 1.0, 3.0, 4.0]
    values, known = last_observed(three([False, True, False, True]))
    assert values.flatten().tolist()[1:] == [20.0, 20.0, 40.0]
    assert known.flatten().tolist() == [False, True, True, True]


def test_a_series_turned_round_twice_is_itself(series):
    x = series()
    back = reverse(x)
    assert (back.gaps <= 0).all()
    assert torch.equal(back.values[0, 0], x.values[0, -1])
    again = reverse(back)
    for name in ("times", "values", "mask", "lengths"):
        assert torch.equal(getattr(again, name), getattr(x, name)), name


def test_decays_over_two_gaps_multiply_without_a_bias():
    decay = Decay(3).double()
    decay.bias.data.zero_()
    first, second = torch.rand(2, 4, 3, dtype=torch.float64)
    torch.testing.assert_close(decay(first) * decay(second), decay(first + second))
    assert (decay(first) < 1).all()


def test_what_is_long_unobserved_is_the_mean(series, series_spec):
    spec = series_spec()
    x = series()
    cell = GRUDCell(spec, 4, 1.0).double()
    cell.mean.data = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    x.times = x.times * 1e6
    guess = cell.imputed(x, time_since_observed(x))
    assert torch.equal(guess[x.mask], x.values[x.mask])
    unseen = (~x.mask)[..., 0].nonzero()
    assert len(unseen)
    assert all(guess[b, i, 0] == 1.0 for b, i in unseen if i < x.lengths[b])


def test_without_decays_and_gaps_it_is_a_gru_on_values_and_mask(series, series_spec):
    spec = series_spec()
    x = series(missing=0.0)
    cell = GRUDCell(spec, 4, 1.0).double()
    cell.hidden_decay.weight.data.zero_()
    cell.hidden_decay.bias.data.zero_()
    gru = torch.nn.GRU(6, 4, batch_first=True).double()
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(gru, f"{name}_l0").data = getattr(cell.cell, name).data
    n = x.lengths[0]
    torch.testing.assert_close(cell(x)[0, :n], gru(told(x))[0][0, :n])


def test_the_hidden_state_decays_before_it_is_read(series, series_spec):
    # with inputs and state cut off from the gates, h = (1 − z) n(0) + z γ h: z = 1/2, n = 0
    spec = series_spec(channels=1)
    x = series((2,), channels=1, missing=0.0)
    cell = GRUDCell(spec, 1, 1.0).double()
    for p in cell.cell.parameters():
        p.data.zero_()
    cell.cell.bias_ih.data[2] = 5.0  # the candidate: tanh 5
    cell.hidden_decay.bias.data.zero_()
    gap = x.gaps[0, 1]
    first = 0.5 * torch.tanh(torch.tensor(5.0, dtype=torch.float64))
    gamma = torch.exp(-gap * cell.hidden_decay.weight[0, 0])
    expected = first + 0.5 * gamma * first
    torch.testing.assert_close(cell(x)[0, 1, 0], expected)


def test_forecasts_at_a_time_do_not_depend_on_later_ones(series, series_spec, ask):
    spec = series_spec(Forecast(7, 4))
    x = series()
    times = ask(x).times
    for family in (GRUGaps, GRUD):
        module = family(spec).double()
        whole, few = module.forecast(x, times)[0], module.forecast(x, times[:, :2])[0]
        torch.testing.assert_close(whole[:, :2], few)
