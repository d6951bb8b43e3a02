"""The tasks: one for every question that a kind of family answers, and how each scores."""

import csv
import io

import pytest
import torch
from torch.nn import functional as F

from integrand.outcome import Outcome
from integrand.quantities import find, mode_of
from integrand.spec import Classes, Density, ImageSpec, Targets, VectorSpec, examples
from integrand.tasks import answered, find_task, tasks
from integrand.tasks.base import STAGES
from integrand.tasks.classification import Classification
from integrand.tasks.regression import Regression

EVERY = tasks()
every_task = pytest.mark.parametrize("task", EVERY, ids=lambda t: t.name)


def asked(task):
    return next(spec for spec in examples() if find_task(spec, task.models) is task)


@every_task
def test_every_task_is_asked_by_some_data_and_declares_what_is_better(task):
    made = task(asked(task))
    assert task.title
    assert mode_of(task.monitor) in ("min", "max")
    for name in made.measures():
        assert find(f"val/{name}") is not None, name


def test_no_question_has_two_tasks():
    for spec in examples():
        for models in ("outputs", "distribution"):
            assert len([t for t in EVERY if t.models == models and t.asks(spec)]) <= 1


def test_a_family_answers_what_its_kind_allows():
    assert answered(("outputs",), (ImageSpec, VectorSpec)) == {
        "classification": ["image", "vector"],
        "regression": ["image", "vector"],
    }
    assert answered(("distribution",), (VectorSpec,)) == {"density": ["vector"]}
    assert answered(("distribution",), (ImageSpec,)) == {"generation": ["image"]}
    assert find_task(VectorSpec("points", Density(), 2), "outputs") is None


def outcome(said, y):
    return Outcome({"loss": torch.zeros(())}, len(y), prediction=said, target=y)


def test_accuracy_counts_samples_not_classes():
    # four of five right; a mean over the classes would be (1 + 0) / 2
    task = Classification(VectorSpec("x", Classes(2), 2))
    said = torch.tensor([[2.0, 1.0]] * 5)
    metrics = task.observe("val", outcome(said, torch.tensor([0, 0, 0, 0, 1])))
    assert float(metrics["acc"].compute()) == pytest.approx(0.8)


def test_the_metrics_of_a_stage_are_its_own():
    task = Classification(VectorSpec("x", Classes(2), 2))
    said, y = torch.tensor([[1.0, 0.0]]), torch.tensor([0])
    assert float(task.observe("train", outcome(said, y))["acc"].compute()) == 1
    assert float(task.observe("val", outcome(said, 1 - y))["acc"].compute()) == 0
    assert len(task.metrics) == len(STAGES)


def test_the_loss_of_classification_is_cross_entropy():
    said, y = torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
    # −log ½, and −log(1/(1 + e²))
    expected = (torch.log(torch.tensor(2.0)) + torch.log1p(torch.exp(torch.tensor(2.0)))) / 2
    torch.testing.assert_close(Classification(asked(Classification)).loss(said, y), expected)


def table(task, said, y):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(task.columns())
    given = Outcome({}, len(said), prediction=task.answer(said), target=y)
    writer.writerows(row for _, row in task.rows(given))
    return text.getvalue().splitlines()


def test_predictions_of_classes_name_the_most_likely_and_the_true_one():
    task = Classification(VectorSpec("x", Classes(2, ("cat", "dog")), 2))
    said = torch.log(torch.tensor([[0.25, 0.75]]))
    assert table(task, said, torch.tensor([0])) == [
        "predicted,name,true,p(cat),p(dog)",
        "1,dog,0,0.25,0.75",
    ]
    assert table(task, said, None)[1] == "1,dog,,0.25,0.75"


def test_predictions_of_numbers_are_in_their_own_units():
    task = Regression(VectorSpec("x", Targets(("kg",), (2.0,), (10.0,)), 2))
    assert table(task, torch.tensor([[0.5]]), torch.tensor([[1.0]])) == ["kg,true(kg)", "11,12"]
    assert table(task, torch.tensor([[0.5]]), None)[1] == "11,"


def test_confusion_counts_what_was_said_of_what_was_true():
    task = Classification(VectorSpec("x", Classes(3, ("a", "b", "c")), 2))
    (tally,) = task.tallies()
    assert list(tally.draw("val")) == []
    for _ in range(2):
        tally.see(outcome(F.one_hot(torch.tensor([1, 1, 2]), 3).float(), torch.tensor([0, 1, 2])))
    tally.merge(lambda counts: 2 * counts)
    # rows are the truth: twice two batches of one `a` taken for `b`
    assert tally.counts.tolist() == [[0, 4, 0], [0, 4, 0], [0, 0, 4]]
    (picture,) = tally.draw("val")
    assert picture.name == "confusion_val"
    assert "a taken for b, 4 times" in picture.description


def test_predicted_against_true_values_are_drawn_in_their_own_units():
    task = Regression(VectorSpec("x", Targets(("kg",), (2.0,), (10.0,)), 2))
    (tally,) = task.tallies()
    assert list(tally.draw("test")) == []
    tally.see(outcome(torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [0.0]])))
    (picture,) = tally.draw("test")
    assert picture.name == "predicted_test"
    # errors 0 and 2 kg
    assert "kg with root mean squared error 1.41" in picture.description
