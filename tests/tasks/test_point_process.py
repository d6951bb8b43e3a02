"""Laws of events: likelihoods per event, beside the best constant rates and the truth."""

import math
import pickle

import pytest
import torch

from integrand.errors import UsageError
from integrand.outcome import Outcome
from integrand.series import Series
from integrand.spec import Events, SeriesSpec
from integrand.tasks.event_tallies import rescaled_gaps
from integrand.tasks.point_process import PointProcess

SPEC = SeriesSpec("made-up", Events(), channels=2, length=4, irregular=True, missing=True)


def made():
    """Two sequences over 5 and 3: an event of each kind in the first, one of the second kind in the other."""
    times = torch.tensor([[0.0, 1.0, 2.0, 5.0], [0.0, 1.5, 3.0, 3.0]], dtype=torch.float64)
    mask = torch.zeros(2, 4, 2, dtype=torch.bool)
    mask[0, 1, 0] = mask[0, 2, 1] = mask[1, 1, 1] = True
    return Series(times, mask.float(), mask, torch.tensor([4, 3]), torch.zeros(2, 0))


class Knows:
    def log_likelihood(self, x):
        return torch.full((len(x),), -2.0)


def observed(stage, data=None):
    task = PointProcess(SPEC)
    task.attach(data, None)
    outcome = Outcome({"loss": torch.zeros(())}, 2, prediction=torch.tensor([-1.0, -5.0]), inputs=made())
    return {name: float(metric.compute()) for name, metric in task.observe(stage, outcome).items()}


def test_nats_per_event_stand_beside_the_best_constant_rates_and_the_truth():
    """Rates 1/8 and 2/8: −(log 1/8 + 2 log 2/8 − 3)/3."""
    constant = -(math.log(1 / 8) + 2 * math.log(2 / 8) - 3) / 3
    assert observed("val") == pytest.approx({"nll": 2.0, "poisson_nll": constant})
    assert observed("test", Knows())["true_nll"] == pytest.approx(4 / 3)
    assert observed("train", Knows()) == {"nll": 2.0}


def test_an_event_at_the_first_time_is_given():
    x = made()
    x.mask[0, 0, 0] = True
    task = PointProcess(SPEC)
    metrics = task.observe("val", Outcome({}, 2, prediction=torch.tensor([-3.0, -3.0]), inputs=x))
    assert float(metrics["nll"].compute()) == 2.0


def test_a_kind_that_never_came_costs_nothing():
    x = made()
    x.mask[..., 0] = False
    metrics = PointProcess(SPEC).observe("val", Outcome({}, 2, prediction=torch.zeros(2), inputs=x))
    assert float(metrics["poisson_nll"].compute()) == pytest.approx(-(2 * math.log(2 / 8) - 2) / 2)


def test_nothing_is_predicted_for_a_single_sequence_and_data_stay_behind():
    task = PointProcess(SPEC)
    task.attach(Knows(), None)
    with pytest.raises(UsageError, match="integrand test scores it"):
        raise task.unanswered()
    assert pickle.loads(pickle.dumps(task))._law is None


def test_gaps_rescaled_by_constant_rates_are_rate_times_gap():
    """One sequence behind the other: the second's first gap begins behind the last event of the first."""
    intensity = torch.full((2, 4, 2, 2), 0.5)
    intensity[..., 1] = 1.5
    gaps, rest = rescaled_gaps(made(), intensity)
    assert gaps.tolist() == [2.0, 2.0, 2.0 * (3.0 + 1.5)]
    assert rest == 3.0
    gaps, rest = rescaled_gaps(made()[:1], intensity[:1], rest)
    assert gaps.tolist() == [5.0, 2.0]
    assert rest == 6.0


def test_an_intensity_that_jumps_is_integrated_between_its_limits():
    """From what leaves an event to what arrives at the next: (1 + 3)/2 and (5 + 3)/2."""
    intensity = torch.zeros(1, 4, 2, 2)
    intensity[0, 0, 1, 0], intensity[0, 1, 0, 0] = 1.0, 3.0
    intensity[0, 1, 1, 0], intensity[0, 2, 0, 0] = 5.0, 3.0
    gaps, _ = rescaled_gaps(made()[:1], intensity)
    assert gaps.tolist() == [2.0, 4.0]


class Constant(Knows):
    def intensity(self, x):
        return torch.ones(len(x), x.times.shape[1], 2, 2, dtype=torch.float64)


@pytest.mark.parametrize("data", [None, Constant()], ids=["unknown", "known"])
def test_an_evaluation_leaves_the_intensity_of_a_sequence_and_rescaled_gaps(data):
    task = PointProcess(SPEC)
    (tally,) = task.tallies()
    task.attach(data, None)
    assert list(tally.draw("test")) == []
    outcome = Outcome({}, 2, inputs=made(), intensity=torch.full((2, 4, 2, 2), 0.1))
    for _ in range(2):
        tally.see(outcome)
    tally.merge(lambda x: x)
    assert tally.counts.sum() == 6
    # 200 (1 − exp(−gap)); 0.9 and 0.5 go across sequences, the others are 0.2
    assert tally.counts.nonzero().flatten().tolist() == [36, 78, 118]
    intensity, rescaling = tally.draw("test")
    assert (intensity.name, rescaling.name) == ("intensity_test", "rescaling_test")
    assert "2 events" in intensity.description
    assert ("dashed" in intensity.description) == (data is not None)


def test_without_an_intensity_there_is_no_figure():
    (tally,) = PointProcess(SPEC).tallies()
    tally.see(Outcome({}, 2, inputs=made()))
    assert list(tally.draw("test")) == []
