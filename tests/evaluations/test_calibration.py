"""Calibration of classifiers, regressions and forecasts: what is found is what the metrics say of the outputs."""

import math

import pytest
import torch

from integrand.datamodules.images.digits import Digits
from integrand.datamodules.trajectories.pendulum import Pendulum
from integrand.errors import UsageError
from integrand.evaluations import drawn
from integrand.evaluations.calibration import Calibration
from integrand.metrics import calibration as scores
from integrand.modules.continuous.neural_ode import NeuralODE
from integrand.modules.discrete.resnet import ResNet


def test_a_classifier_is_scored_by_its_probabilities(digits_net):
    model, data = digits_net
    plain, scaled = Calibration().measure(model, data)
    x, y = next(iter(data.test_dataloader()))
    assert len(x) == 360  # the whole test set in one batch
    with torch.no_grad():
        p = model(x).double().softmax(1)
    assert plain.quantities["nll"] == pytest.approx(scores.negative_log_likelihood(p, y), rel=1e-6)
    assert plain.quantities["ece"] == pytest.approx(scores.equal_width_bins(p, y).error, rel=1e-6)
    assert plain.quantities["acc"] == pytest.approx(float((p.argmax(1) == y).double().mean()))
    # a temperature moves no prediction; on validation data it cannot lose
    assert scaled.quantities["acc"] == plain.quantities["acc"]
    assert scaled.quantities["temperature"] != 1
    val = drawn.said(model, data, "val", 1, 0)
    at = {
        t: scores.negative_log_likelihood(scores.mean_probabilities(val.draws, t), val.truth)
        for t in (1.0, scaled.quantities["temperature"])
    }
    assert at[scaled.quantities["temperature"]] <= at[1.0]
    assert [p.name for f in (plain, scaled) for p in f.pictures] == ["reliability", "reliability_scaled"]


def test_draws_are_of_one_seed_and_cost_what_they_cost(noisy, digits):
    state = torch.get_rng_state()
    (first, _), (again, _) = (list(Calibration(passes=7).measure(noisy, digits)) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert first.quantities == again.quantities
    other, _ = Calibration(passes=7, seed=1).measure(noisy, digits)
    assert other.quantities != first.quantities
    assert first.cost["sample_nfe"] == 7 * 2  # two blocks
    assert first.settings["passes"] == 7


def test_a_batch_of_draws_is_one_pass(noisy, digits, monkeypatch):
    calls = []
    whole = type(noisy)._pass
    monkeypatch.setattr(type(noisy), "_pass", lambda *a: calls.append(len(a[1])) or whole(*a))
    seen = drawn.said(noisy, digits, "test", 10, 0)
    assert seen.draws.shape == (10, 360, 10)
    assert calls == [1280, 1280, 1040]  # batches of 128, 128 and 104 images, ten draws each


def test_a_regression_that_says_one_number_is_scored_as_a_gaussian(table):
    torch.manual_seed(0)
    model = ResNet(table.spec, channels=8, blocks=1).eval()
    (found,) = Calibration().measure(model, table)
    said = {split: drawn.said(model, table, split, 1, 0) for split in ("val", "test")}
    mean, true = (model.task.answer(part.double()) for part in (said["test"].draws[0], said["test"].truth))
    around = model.task.answer(said["val"].draws[0].double()) - model.task.answer(said["val"].truth.double())
    std = around.square().mean(0).sqrt()
    law = torch.distributions.Normal(mean, std)
    assert found.quantities["nll"] == pytest.approx(-float(law.log_prob(true).mean()), rel=1e-6)
    assert found.quantities["sharpness"] == pytest.approx(float(std), rel=1e-6)
    assert found.quantities["rmse"] == pytest.approx(float((mean - true).square().mean().sqrt()), rel=1e-6)
    inside = (law.cdf(true) - 0.5).abs() <= 0.45
    assert found.quantities["coverage_90"] == pytest.approx(float(inside.double().mean()))


def test_a_forecast_is_scored_in_the_units_of_its_loss():
    data = Pendulum(trajectories=8, val_trajectories=4, test_trajectories=4, points=11)
    torch.manual_seed(0)
    model = NeuralODE(data.spec).eval()
    (found,) = Calibration().measure(model, data)
    squares, count = 0.0, 0
    with torch.no_grad():
        for batch in data.test_dataloader():
            outcome = model.respond(batch)
            error = (outcome.prediction - outcome.target)[~outcome.target.isnan()]
            squares, count = squares + float(error.double().square().sum()), count + len(error)
    assert found.quantities["rmse"] == pytest.approx(math.sqrt(squares / count), rel=1e-5)
    assert math.isfinite(found.quantities["crps"])


def test_what_cannot_be_measured_is_refused(noisy, digits, digits_net):
    with pytest.raises(UsageError, match="measure nothing"):
        Calibration(passes=0)
    with pytest.raises(UsageError, match="val split is empty"):
        list(Calibration().measure(digits_net[0], Digits(val_size=0)))
    with pytest.raises(UsageError, match="1 passes are too few: the estimate needs 2"):
        drawn.number_of_draws(noisy, 1, least=2)
    assert drawn.number_of_draws(noisy, None) == drawn.USUAL_PASSES
    assert drawn.number_of_draws(digits_net[0], 5, least=2) == 1  # every pass says the same
