"""Every family of paths: what it makes, what a step returns, and what is counted."""

import pytest
import torch

from integrand.modules import families
from integrand.solvers import SolveStats
from integrand.spec import Density, SeriesSpec
from integrand.tasks.path_generation import PathGeneration

F64 = torch.float64
SPEC = SeriesSpec("made-up", Density(), channels=2, length=6, step=0.5)
FAMILIES = [
    f
    for f in families()
    if issubclass(SeriesSpec, f.takes) and "distribution" in f.kinds() and "path_generation" in f.tasks()
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.family)


def build(family, seed=0):
    torch.manual_seed(seed)
    return family(SPEC).double()


@pytest.fixture
def paths(series):
    x = series((6,) * 8, channels=2, missing=0.0)
    x.times = 0.5 * torch.arange(6, dtype=F64).expand(8, -1)
    return x


def test_there_are_several():
    assert len(FAMILIES) > 1


@every_family
def test_the_task_is_that_of_paths(family):
    assert isinstance(build(family).task, PathGeneration)


@every_family
def test_an_evaluation_sets_as_many_paths_beside_the_data(family, paths):
    module = build(family).eval()
    outcome = module.step((paths,), "val")
    torch.testing.assert_close(outcome.target, paths.values)
    assert outcome.prediction.shape == paths.values.shape
    assert not outcome.prediction.requires_grad
    assert all(metric.compute().isfinite() for metric in module.task.observe("val", outcome).values())
    # the next batch has paths of its own, the next evaluation the same ones again
    assert not torch.equal(module.step((paths,), "val").prediction, outcome.prediction)
    module.on_validation_epoch_start()
    assert torch.equal(module.step((paths,), "val").prediction, outcome.prediction)


@every_family
def test_a_training_step_makes_no_samples_to_score(family, paths):
    module = build(family).train()
    outcome = module.step((paths,), "train")
    assert outcome.prediction is None
    assert module.task.observe("train", outcome) == {}
    outcome.loss.backward()
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad.abs().sum() > 0, name


@every_family
def test_samples_follow_from_weights_and_seed(family):
    module = build(family).eval()
    first = module.sample(3, seed=1)
    torch.manual_seed(5)
    assert first.shape == (3, 6, 2)
    assert torch.equal(module.sample(3, seed=1), first)
    assert not torch.equal(module.sample(3, seed=2), first)
    assert not torch.equal(build(family, seed=1).eval().sample(3, seed=1), first)
    assert len({tuple(path.flatten().tolist()) for path in first}) == 3


@every_family
def test_what_was_not_seen_is_no_obstacle(family, paths):
    module = build(family).train()
    paths.mask[0, 2], paths.values[0, 2] = False, 0.0
    paths.mask[:, 4, 1], paths.values[:, 4, 1] = False, 0.0
    loss = module.step((paths,), "train").loss
    loss.backward()
    assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


@every_family
def test_evaluations_are_counted(family, paths):
    module = build(family).eval()
    total = SolveStats.total(module.step((paths,), "val").solves)
    # five gaps at the least, of the data and of the samples
    assert total.nfe_forward >= 10
