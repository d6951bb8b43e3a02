"""The `sweep:` section: what it may say, and what Optuna gets of it."""

import pytest

from integrand.errors import UsageError
from integrand.suites.search import Maker, Range, read_search
from integrand.suites.spec import read_suite

SPACE = {"model.lr": {"low": "1e-4", "high": 0.1, "log": True}, "model.width": [4, 8]}


def search(suite_file, **sweep):
    path = suite_file(seeds=[0], experiments=["a.yaml"], sweep={"space": SPACE} | sweep)
    return read_search(read_suite(str(path)))


def test_what_a_file_says(suite_file):
    found = search(suite_file)
    assert found.space == {"model.lr": Range(1e-4, 0.1, log=True), "model.width": (4, 8)}
    assert (found.metric, found.direction, found.n_trials) == ("best/val_acc", "maximize", 20)
    assert (found.sampler, found.pruner, found.storage) == (Maker("TPESampler"), None, None)
    pruner = {"class_path": "optuna.pruners.MedianPruner", "init_args": {"n_warmup_steps": 3}}
    assert search(suite_file, pruner=pruner).pruner == Maker("MedianPruner", {"n_warmup_steps": 3})


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [
        ({"low": 1, "high": 8}, Range(1, 8, whole=True)),
        ({"low": 1.0, "high": 8}, Range(1, 8)),
        ({"low": 2, "high": 8, "step": 2}, Range(2, 8, step=2, whole=True)),
        ([{"class_path": "Dopri5"}, "x", None], ('{"class_path": "Dopri5"}', "x", None)),
    ],
)
def test_dimensions(suite_file, dimension, expected):
    assert search(suite_file, space={"a": dimension}).space["a"] == expected


@pytest.mark.parametrize(
    ("metric", "monitor"),
    [
        ("best/val_acc", "val/acc"),
        ("final/val_loss_ode", "val/loss_ode"),
        ("cost/fit_seconds", "cost/fit_seconds"),
    ],
)
def test_a_pruner_watches_the_series_behind_the_metric(suite_file, metric, monitor):
    assert search(suite_file, metric=metric).monitor == monitor


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trials": 3}, "no key 'trials'"),
        ({"n_trial": 3}, "did you mean n_trials"),
        ({"n_trials": 0}, "n_trials 0"),
        ({"direction": "up"}, "direction 'up'"),
        ({"space": {}}, "space is empty"),
        ({"space": {"a": 3}}, "3 is no range and no list"),
        ({"space": {"a": {"low": 1}}}, "is no range and no list"),
        ({"space": {"a": {"low": 2, "high": 1}}}, "is no range"),
        ({"space": {"a": {"low": 0, "high": 1, "log": True}}}, "is no range"),
        ({"space": {"a": {"low": "x", "high": 1}}}, "'x' is not a number"),
        ({"sampler": 3}, "names no class"),
        ({"metric": 3}, "metric and storage are names"),
    ],
)
def test_mistakes(suite_file, change, says):
    with pytest.raises(UsageError, match=says):
        search(suite_file, **change)


def test_trials_share_a_seed(suite_file):
    path = suite_file(seeds=[0, 1], sweep={"space": SPACE})
    with pytest.raises(UsageError, match="share one seed"):
        read_search(read_suite(str(path)))
    with pytest.raises(UsageError, match="has no sweep section"):
        read_search(read_suite(str(suite_file())))
