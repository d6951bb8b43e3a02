"""What data score against data: one mechanism for tests of training and `integrand evaluate`."""

import statistics

import pytest
import torch
from lightning.pytorch import Trainer

from integrand.datamodules import TwoMoons
from integrand.evaluations.samples import Samples
from integrand.modules import FlowMatching
from integrand.modules.generative.evaluation import PointEvaluation, divided
from integrand.modules.generative.image_evaluation import ImageEvaluation


def halves(n):
    x = torch.randn(2 * n, 2, generator=torch.Generator().manual_seed(0))
    return x[:n], x[n:]


def test_a_floor_is_mean_and_deviation_over_divisions_of_the_same_points():
    reference, other = halves(40)
    evaluation = PointEvaluation()
    pairs = divided(reference, other, 4)
    pool = torch.cat((reference, other)).sort(0).values
    for a, b in pairs:
        assert torch.equal(torch.cat((a, b)).sort(0).values, pool)
    assert torch.equal(pairs[0][0], reference)
    assert not torch.equal(pairs[1][0], pairs[2][0])
    found = evaluation.floor(reference, other, thorough=False, splits=4)
    each = [evaluation.compare(b, a, False)["sliced_w2"] for a, b in pairs]
    assert found["sliced_w2_floor"] == pytest.approx(statistics.mean(each))
    assert found["sliced_w2_floor_deviation"] == pytest.approx(statistics.stdev(each))


def test_one_division_is_the_given_one_and_has_no_deviation():
    reference, other = halves(40)
    evaluation = PointEvaluation()
    found = evaluation.floor(reference, other, thorough=False, splits=1)
    assert found == {f"{k}_floor": v for k, v in evaluation.compare(other, reference, False).items()}
    # images are compared in seconds, so a test of theirs takes one
    assert (PointEvaluation.splits, ImageEvaluation.splits) == (5, 1)


def test_a_test_of_training_and_an_evaluation_have_one_floor():
    data = TwoMoons(batch_size=32, train_size=64, val_size=40, test_size=120, seed=0)
    torch.manual_seed(0)
    module = FlowMatching(data.spec, evaluation=PointEvaluation(num_samples=30), likelihood_samples=0)
    quiet = {f"enable_{what}": False for what in ("checkpointing", "progress_bar", "model_summary")}
    run = Trainer(max_epochs=1, logger=False, accelerator="cpu", num_sanity_val_steps=0, **quiet)
    run.fit(module, data)
    assert "val/sliced_w2_floor" in run.callback_metrics
    assert not [name for name in run.callback_metrics if name.endswith("_deviation")]
    (tested,) = run.test(module, data, verbose=False)
    finding = next(Samples(["Euler"], [2], n=30).measure(module.eval(), data))
    floor = {k: v for k, v in finding.quantities.items() if "_floor" in k}
    assert {"sliced_w2_floor", "sliced_w2_floor_deviation", "mmd2_floor_deviation"} <= set(floor)
    # Lightning keeps what it is told in float32
    assert {k: tested[f"test/{k}"] for k in floor} == pytest.approx(floor, rel=1e-6)
    assert floor["sliced_w2_floor_deviation"] > 0
