"""Telling data sets apart: the metrics against scikit-learn's definitions, the evaluation on digits."""

import math
from types import SimpleNamespace

import pytest
import torch

from integrand.datamodules.images.digits import Digits
from integrand.errors import UsageError
from integrand.evaluations.adversarial import Adversarial
from integrand.evaluations.corruption import Corruptions
from integrand.evaluations.ood import OutOfDistribution
from integrand.evaluations.other_images import fitted, other
from integrand.metrics import doubt
from integrand.metrics.detection import detection
from integrand.modules import NoBlock
from integrand.spec import Classes, ImageSpec


def test_detection_by_counting():
    source = torch.Generator().manual_seed(0)
    # rounded: ties count half
    known = (torch.randn(400, generator=source) + 1).mul(4).round()
    other = torch.randn(300, generator=source).mul(4).round()
    found = detection(known, other)
    above = (known[:, None] > other).double().mean() + 0.5 * (known[:, None] == other).double().mean()
    assert found.auroc == pytest.approx(float(above), rel=1e-12)
    # the largest threshold that 95 % of the known set reach
    reached = [t for t in known.unique() if (known >= t).double().mean() >= 0.95]
    assert found.tnr95 == pytest.approx(float((other < max(reached)).double().mean()), rel=1e-12)
    errors = [((known < t).double().mean() + (other >= t).double().mean()) / 2 for t in known.unique()]
    assert found.detection_error == pytest.approx(float(min(errors)), rel=1e-12)


def test_detection_of_what_is_apart_and_of_what_is_alike():
    apart = detection(torch.tensor([2.0, 3.0]), torch.tensor([0.0, 1.0, 1.0]))
    assert apart == type(apart)(auroc=1, aupr_in=1, aupr_out=1, tnr95=1, detection_error=0)
    alike = detection(torch.zeros(6), torch.zeros(2))
    # precision of a guess is the share of the positive class
    assert (alike.auroc, alike.aupr_in, alike.aupr_out, alike.tnr95) == (0.5, 0.75, 0.25, 0)


def test_doubts_of_known_probabilities():
    p = torch.tensor([[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]], dtype=torch.float64)
    log2 = math.log(2)
    # draws that are sure of different classes disagree by one bit; those that are unsure alike by none
    assert doubt.mutual_information(p).tolist() == pytest.approx([log2, 0])
    assert doubt.predictive_entropy(p).tolist() == pytest.approx([log2, log2])
    assert doubt.expected_entropy(p).tolist() == pytest.approx([0, log2])
    assert doubt.one_less_confidence(p).tolist() == pytest.approx([0.5, 0.5])


def test_a_saturated_confidence_still_orders():
    p = torch.tensor([[[50.0, 0.0], [60.0, 0.0]]]).double().softmax(-1)
    less, more = doubt.one_less_confidence(p)
    assert 1 - p.max(-1).values[0, 0] == 1 - p.max(-1).values[0, 1] == 0
    assert less > more > 0


def test_scores_are_those_of_the_outputs(digits_net):
    model, data = digits_net
    found = {f.settings["score"]: f for f in OutOfDistribution().measure(model, data)}
    assert set(found) == {"max-softmax", "entropy"}  # one draw has no mutual information
    clothes = other("fashion-mini", data, resize=False).images(data, 360)
    with torch.no_grad():
        known, foreign = (model(x).double().softmax(1) for x in (data.some("test", 360)[0], clothes))
    told = detection(known.max(1).values, foreign.max(1).values)
    quantities = found["max-softmax"].quantities
    assert quantities["auroc"] == pytest.approx(told.auroc, rel=1e-6)
    assert quantities["tnr95"] == pytest.approx(told.tnr95, rel=1e-6)
    assert quantities["known_samples"] == quantities["other_samples"] == 360
    assert found["entropy"].settings["set"] == "fashion-mini"
    assert found["entropy"].pictures


def test_random_answers_have_mutual_information(noisy, digits):
    found = list(OutOfDistribution(n=40, passes=4).measure(noisy, digits))
    assert [f.settings["score"] for f in found] == ["max-softmax", "entropy", "mutual-information"]
    with pytest.raises(UsageError, match="1 passes are too few: the estimate needs 2"):
        list(OutOfDistribution(passes=1).measure(noisy, digits))


def test_what_the_family_itself_doubts_is_a_score(digits_net, monkeypatch):
    model, data = digits_net
    # white is what it does not know
    monkeypatch.setattr(type(model), "doubts", lambda self, x: {"white": x.mean((1, 2, 3))})
    found = [f for f in OutOfDistribution(n=50).measure(model, data) if f.settings["score"] == "white"]
    assert len(found) == 1


def test_sets_that_do_not_fit_are_refused_in_a_line(digits_net, noisy, digits):
    model, data = digits_net
    for name, words in {
        "cifar10": "images of cifar10 have shape",
        "digits": "is what the model was trained on",
        "wine": "wine holds no images",
        "mnit": "unknown data set 'mnit'",
    }.items():
        with pytest.raises(UsageError, match=words):
            list(OutOfDistribution(sets=name).measure(model, data))
    assert "classifies" in OutOfDistribution.fits(object(), data)


def test_images_are_made_to_fit():
    grey = torch.rand(2, 1, 28, 28)
    colour = fitted(grey, (3, 32, 32))
    assert colour.shape == (2, 3, 32, 32)
    assert torch.equal(colour[:, 0], colour[:, 2])
    assert torch.allclose(fitted(torch.full((1, 3, 8, 8), 0.25), (1, 4, 4)), torch.full((1, 1, 4, 4), 0.25))
    data = Digits()
    pixels = torch.rand(3, 1, 8, 8)
    assert torch.allclose(data.denormalise(data.scaled(pixels)), pixels, atol=1e-6)


@pytest.mark.parametrize("evaluation", [OutOfDistribution, Corruptions, Adversarial])
def test_images_without_a_known_white_are_not_said_to_be_none(evaluation):
    spec = ImageSpec("shapes", Classes(2), (1, 8, 8))
    model = NoBlock(spec, channels=4)
    assert "black and white" in evaluation.fits(model, SimpleNamespace(spec=spec))
    assert "no images" in evaluation.fits(model, SimpleNamespace())
