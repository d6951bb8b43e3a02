"""Forecasts: what counts, in which units, and the figures."""

import copy

import numpy as np
import pytest
import torch

from integrand.metrics.forecasts import Coverage, NormalisedError, ValidTime
from integrand.outcome import Outcome
from integrand.series import Series
from integrand.spec import Forecast, SeriesSpec
from integrand.tasks.forecasting import Forecasting

NAN = torch.nan


def spec(**kwargs):
    return SeriesSpec("x", Forecast(1, 3), channels=2, length=1, names=("q", "p"), **kwargs)


def outcome(said, true, draws=None):
    n = said.shape[1]
    x = Series(
        torch.zeros(len(said), 1, dtype=torch.float64),
        torch.zeros(len(said), 1, 2),
        torch.ones(len(said), 1, 2) > 0,
        torch.ones(len(said), dtype=torch.int64),
        torch.zeros(len(said), 0),
    )
    times = torch.arange(1.0, n + 1, dtype=torch.float64).expand(len(said), n)
    return Outcome({}, len(said), prediction=said, target=true, inputs=x, times=times, draws=draws)


def test_only_what_was_observed_counts():
    task = Forecasting(spec())
    said = torch.tensor([[[1.0, 5.0], [2.0, 9.0]]], requires_grad=True)
    loss = task.loss(said, torch.tensor([[[0.0, 3.0], [NAN, NAN]]]))
    assert float(loss) == pytest.approx((1 + 4) / 2)
    loss.backward()
    assert said.grad.tolist() == [[[1.0, 2.0], [0.0, 0.0]]]
    assert float(task.loss(said, torch.full_like(said, NAN))) == 0


def test_metrics_of_a_batch():
    task = Forecasting(spec())
    said, true = torch.tensor([[[1.0, 5.0], [2.0, 9.0]]]), torch.tensor([[[0.0, 3.0], [NAN, 9.0]]])
    seen = task.observe("val", outcome(said, true))
    assert float(seen["mse"].compute()) == pytest.approx((1 + 4 + 0) / 3)
    assert float(seen["mae"].compute()) == pytest.approx((1 + 2 + 0) / 3)
    assert "crps" not in seen
    assert set(task.observe("train", outcome(said, true))) == {"mse", "mae"}


def test_draws_are_scored_against_the_truth():
    task = Forecasting(spec())
    true = torch.zeros(1, 1, 2)
    draws = torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 1, 1, 2).clone()
    seen = task.observe("val", outcome(torch.zeros(1, 1, 2), true, draws))
    # E|X - y| - E|X - X'|/2 with X = ±1: 1 - 2/2 over different pairs, or 1 - 1/2 over all pairs
    assert float(seen["crps"].compute()) in (pytest.approx(0.0), pytest.approx(0.5))
    assert float(seen["coverage_90"].compute()) == 1.0


def test_the_energy_is_that_of_raw_values():
    class Data:
        def energy(self, values):
            return values.square().sum(-1)

    task = Forecasting(spec(scales=(2.0, 1.0), shifts=(1.0, 0.0)))
    task.attach(Data(), None)
    said, true = torch.ones(1, 1, 2), torch.zeros(1, 1, 2)
    # raw (3, 1) and (1, 0): energies 10 and 1
    assert float(task.observe("test", outcome(said, true))["energy_error"].compute()) == pytest.approx(81.0)
    assert copy.deepcopy(task)._energy is None  # the data are not copied with a model
    assert task.answer(said).tolist() == [[[3.0, 1.0]]]


def test_the_normalised_error_of_the_mean_is_one():
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(50, 7, 3, generator=generator) * torch.tensor([1.0, 10.0, 0.1]) + 5
    metric = NormalisedError(3)
    for part in (slice(0, 20), slice(20, 50)):
        metric.update(true.mean((0, 1)).expand_as(true)[part], true[part])
    assert float(metric.compute()) == pytest.approx(1.0, abs=1e-5)


def test_a_channel_that_never_changes_is_left_out():
    metric = NormalisedError(2)
    true = torch.stack([torch.arange(4.0), torch.full((4,), 7.0)], dim=1)
    metric.update(true + 1, true)
    assert float(metric.compute()) == pytest.approx(1 / np.std([0, 1, 2, 3]))


def test_a_forecast_is_valid_until_it_first_leaves_the_truth():
    true = torch.tensor([[[1.0], [-1.0], [1.0], [-1.0]]])  # deviation 1
    horizon = torch.tensor([[0.5, 1.0, 1.5, 2.0]])
    off = torch.tensor([[[0.0], [0.4], [0.6], [0.0]]])
    metric = ValidTime(1)
    metric.update(true + off, true, horizon)
    assert float(metric.compute()) == pytest.approx(1.0)
    metric.update(true, true, horizon)  # never leaves: as long as it was followed
    assert float(metric.compute()) == pytest.approx(1.5)
    metric.update(true + 9, true, horizon)
    assert float(metric.compute()) == pytest.approx(1.0)
    scaled = ValidTime(1, lyapunov=0.5)
    scaled.update(true + off, true, horizon)
    assert float(scaled.compute()) == pytest.approx(0.5)


def test_coverage_of_normal_draws():
    """8,000 truths: the share inside is known to 0.0034; draws' quantiles add as much."""
    generator = torch.Generator().manual_seed(0)
    metric = Coverage(0.9)
    metric.update(torch.randn(2000, 8000, generator=generator), torch.randn(8000, generator=generator))
    assert float(metric.compute()) == pytest.approx(0.9, abs=0.015)


def test_figures_say_what_they_show():
    task = Forecasting(spec())
    said = torch.linspace(0, 1, 12).view(2, 3, 2)
    task.attach(None, lambda x: -x)
    tallies = task.tallies()
    for tally in tallies:
        tally.see(outcome(said, said + 0.1, said + torch.randn(5, 1, 1, 1)))
        tally.see(outcome(said[:, :2], said[:, :2].clone()))
    pictures = {p.name: p for tally in tallies for p in tally.draw("test")}
    assert set(pictures) == {"forecast_test", "phase_test", "horizon_test"}
    assert "learned field" in pictures["phase_test"].description
    assert "for q, p" in pictures["forecast_test"].description
    # half of the forecasts of the first two times are exact
    assert "0.0707 at 1" in pictures["horizon_test"].description
    assert "0.1 at 3" in pictures["horizon_test"].description


def test_a_table_has_a_row_for_each_time():
    task = Forecasting(spec(scales=(2.0, 1.0)))
    said = torch.ones(1, 2, 2)
    given = outcome(task.answer(said), torch.tensor([[[1.0, NAN], [0.0, 2.0]]]))
    assert task.columns() == ["time", "q", "p", "true(q)", "true(p)"]
    assert list(task.rows(given)) == [
        (0, ["1", "2", "1", "2", ""]),
        (0, ["2", "2", "1", "0", "2"]),
    ]


def test_a_valid_time_is_that_of_single_series_however_many_processes_share_them():
    """Two processes that saw the same series agree with one that saw them: series keep their ends."""
    horizon = torch.tensor([[0.5, 1.0, 1.5, 2.0]])
    true = torch.tensor([[[1.0], [-1.0], [1.0], [-1.0]]])
    metric = ValidTime(1)
    metric.update(true + torch.tensor([[[0.0], [0.4], [0.6], [0.0]]]), true, horizon)
    metric.update(true[:, :2], true[:, :2], horizon[:, :2])  # a shorter one, followed to its end
    alone = metric.compute().item()
    assert alone == pytest.approx(1.0)
    metric._computed = None
    metric._sync_dist(dist_sync_fn=lambda state, group=None: [state, state])
    assert metric.compute().item() == pytest.approx(alone)
