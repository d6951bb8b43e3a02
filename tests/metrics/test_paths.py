"""Metrics of generated paths, on laws that are known."""

import math

import pytest
import torch

from integrand.metrics.paths import ClassifierTest, MarginalError, SignatureMMD
from integrand.outcome import Outcome
from integrand.solvers.control import signature
from integrand.spec import Density, SeriesSpec
from integrand.tasks import find_task
from integrand.tasks.path_generation import PathGeneration

F64 = torch.float64
TIMES = torch.linspace(0, 2, 9, dtype=F64)


def brownian(n, seed, sigma=1.0, drift=0.0):
    steps = torch.randn(n, 8, 1, generator=torch.Generator().manual_seed(seed), dtype=F64)
    path = torch.cat((torch.zeros(n, 1, 1, dtype=F64), (sigma * 0.5 * steps).cumsum(1)), 1)
    return path + drift * TIMES[:, None]


def scored(metric, *batches):
    for batch in batches:
        metric.update(*batch)
    return float(metric.compute())


def test_moments_are_those_of_all_batches_together():
    """Data (0, 2) at one time and (1, 1) at the other; samples two higher and twice as wide around 1."""
    data = torch.tensor([[[0.0], [1.0]], [[2.0], [1.0]]])
    samples = torch.tensor([[[1.0], [1.0]], [[5.0], [1.0]]])
    # the data's variance over all is 1/2
    batches = [(samples[i : i + 1], data[i : i + 1]) for i in range(2)]
    assert scored(MarginalError("mean", 2, 1), *batches) == pytest.approx(2 / math.sqrt(2 * 0.5))
    assert scored(MarginalError("std", 2, 1), *batches) == pytest.approx(1 / math.sqrt(2 * 0.5))


def test_values_that_were_not_observed_do_not_count():
    data = torch.tensor([[[1.0], [2.0]], [[3.0], [torch.nan]], [[torch.nan], [4.0]]])
    assert scored(MarginalError("mean", 2, 1), (torch.tensor([[[2.0], [3.0]]]), data)) == pytest.approx(0.0)


def test_signatures_tell_laws_apart_that_moments_at_each_time_do_not():
    """Two channels with equal paths, or one of them turned round: the marginals agree."""
    base = brownian(3000, 0)
    same = torch.cat((base, base), -1)
    mirrored = torch.cat((base, -base), -1)
    other = brownian(3000, 1).repeat(1, 1, 2)
    assert scored(MarginalError("std", 9, 2), (mirrored, other)) < 0.1
    near, far = (scored(SignatureMMD(TIMES), (x, other)) for x in (same, mirrored))
    # by chance √(total variance of the entries / 2000), which is that of the third level: 0.5
    assert near < 1.0 < 3.0 < far


def test_the_distance_of_expected_signatures_is_that_in_closed_form():
    """Straight lines against lines of twice the slope: the signature of a line is exp of its increment."""
    slopes = torch.tensor([[1.0]] * 3, dtype=F64)
    spread = TIMES / 2
    one, two = (k * slopes[:, None] * spread[:, None] for k in (1.0, 2.0))
    metric = SignatureMMD(TIMES)
    metric.update(two, one)
    a, b = metric._both()
    expected = 0.0
    levels = []
    for x in (a, b):
        path = torch.cat((spread.expand(3, -1).unsqueeze(-1), x), -1)
        path = torch.cat((torch.zeros_like(path[:, :1]), path), 1)
        levels.append(signature(path.diff(dim=1), 3))
    for k, (u, v) in enumerate(zip(*levels, strict=True), start=1):
        expected += (u[0] - v[0]).square().sum().item()
        # a straight line behind a jump to its start, which is that of the time alone
        assert u[0].shape == (2,) * k
    assert float(metric.compute()) == pytest.approx(math.sqrt(expected), rel=1e-6)
    # level 1 of the sample is where it ends, in units of the data, plus the time 1
    torch.testing.assert_close(levels[0][0][0], torch.tensor([1.0, float(a[0, -1, 0])], dtype=F64))


@pytest.mark.parametrize(("drift", "low", "high"), [(0.0, 0.42, 0.58), (4.0, 0.95, 1.0)])
def test_a_classifier_tells_apart_what_differs(drift, low, high):
    """Of 400 paths each: four standard errors of a coin are 0.07."""
    accuracy = scored(ClassifierTest(TIMES), (brownian(400, 0, drift=drift), brownian(400, 1)))
    assert low <= accuracy <= high


def test_data_with_holes_are_left_out_of_what_compares_whole_paths():
    data = brownian(50, 1)
    holed = torch.cat((data, torch.full_like(data[:5], torch.nan)))
    for metric in (SignatureMMD, ClassifierTest):
        whole = scored(metric(TIMES), (brownian(50, 0), data))
        assert scored(metric(TIMES), (brownian(50, 0), holed)) == pytest.approx(whole)


def test_the_task_scores_samples_in_evaluation_alone():
    spec = SeriesSpec("paths", Density(), channels=1, length=9, step=0.25)
    assert find_task(spec, "distribution") is PathGeneration
    assert find_task(spec, "outputs") is None
    task = PathGeneration(spec)
    outcome = Outcome({}, 20, prediction=brownian(20, 0), target=brownian(20, 1))
    assert task.observe("train", outcome) == {}
    assert set(task.observe("val", outcome)) == {"mean_error", "std_error", "signature_mmd", "c2st"}
    (tally,) = task.tallies()
    assert list(tally.draw("val")) == []
    tally.see(outcome)
    tally.merge(lambda x: x)
    (picture,) = tally.draw("val")
    assert picture.name == "paths_val"
    torch.testing.assert_close(tally.sums[1, 1], outcome.target.sum(0))
