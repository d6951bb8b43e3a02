"""Metrics beside those of a task: names, directions, and what does not fit."""

import pytest
import torch
from torchmetrics import MeanAbsoluteError, R2Score, SumMetric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)

from integrand import quantities
from integrand.errors import UsageError
from integrand.modules import NeuralODE
from integrand.outcome import Outcome
from integrand.spec import Classes, Forecast, SeriesSpec, Targets, VectorSpec
from integrand.tasks.own_metrics import name_of

CLASSES = VectorSpec("made-up", Classes(3), 4)
TARGETS = VectorSpec("made-up", Targets(("a", "b")), 4)


class Undirected(MulticlassAccuracy):
    name = "undirected"
    higher_is_better = None


class Acc(MulticlassAccuracy):
    name = "acc"


@pytest.fixture(autouse=True)
def no_declarations(monkeypatch):
    monkeypatch.setattr(quantities, "_own", {})


def build(spec, *metrics, **options):
    return NeuralODE(spec, metrics=metrics, **options)


def test_names_are_those_of_the_classes():
    assert name_of(MulticlassF1Score(3)) == "multiclass_f1_score"
    assert name_of(MulticlassAUROC(3)) == "multiclass_auroc"
    assert name_of(Acc(3)) == "acc"


def test_each_stage_keeps_its_own_and_leaves_the_given_one_alone():
    given = MulticlassF1Score(3, average="macro")
    model = build(CLASSES, given)
    said, true = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]]), torch.tensor([0, 1])
    seen = model.task.observe("val", Outcome({}, 2, {}, said, true, [], said))
    # class 0: precision ½, recall 1, F1 ⅔; class 1: 0; class 2 never seen
    assert seen["multiclass_f1_score"].compute() == pytest.approx(1 / 3)
    assert model.task.metrics["test_multiclass_f1_score"].update_count == 0
    assert given.update_count == 0
    assert quantities.mode_of("val/multiclass_f1_score") == "max"


def test_targets_are_scored_in_their_own_units():
    question = Targets(("a", "b"), scales=(2.0, 3.0), shifts=(1.0, -1.0))
    model = build(VectorSpec("made-up", question, 4), MeanAbsoluteError())
    said = torch.zeros(2, 2)
    seen = model.task.observe("val", Outcome({}, 2, {}, said, said + 1, [], said))
    assert seen["mean_absolute_error"].compute() == pytest.approx(2.5)  # the mean of the scales


def test_forecasts_are_scored_where_something_was_observed():
    spec = SeriesSpec("made-up", Forecast(context=1), channels=2, length=4)
    model = build(spec, MeanAbsoluteError())
    true = torch.tensor([[[1.0, torch.nan], [3.0, 5.0]]])
    seen = model.task.observe("val", Outcome({}, 1, {}, torch.zeros(1, 2, 2), true, [], None))
    assert seen["mean_absolute_error"].compute() == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("metric", "directions", "said"),
    [
        (Undirected(3), {}, "nobody says whether a larger or a smaller undirected is better"),
        (Undirected(3), {"other": "larger"}, "metric_directions speaks of 'other'"),
        (Acc(3), {}, "would be recorded as 'acc', which is taken"),
        (MulticlassF1Score(2), {}, "does not take predictions of shape (3, 3) with targets of shape (3,)"),
        (SumMetric(), {"sum_metric": "larger"}, "does not take predictions"),
        (MulticlassF1Score(3, average="none"), {}, "gives shape (3,), and what is recorded is one number"),
        (
            MulticlassConfusionMatrix(3),
            {"multiclass_confusion_matrix": "neither"},
            "gives shape (3, 3), and what is recorded",
        ),
    ],
)
def test_what_does_not_fit_is_refused_before_training(metric, directions, said):
    with pytest.raises(UsageError) as refused:
        build(CLASSES, metric, metric_directions=directions)
    assert said in str(refused.value)


def test_one_name_for_one_metric():
    with pytest.raises(UsageError, match="'r2_score', which is taken"):
        build(TARGETS, R2Score(), R2Score())


def test_a_direction_that_is_given_goes_before_that_of_nobody():
    build(CLASSES, Undirected(3), metric_directions={"undirected": "smaller"})
    assert quantities.mode_of("best/val_undirected") == "min"
