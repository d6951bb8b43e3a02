"""Of how many test points the likelihood is computed, and that it is theirs."""

import pytest
import torch
from lightning.pytorch import Trainer

from integrand.datamodules import EightGaussians
from integrand.diffusion import log_normal
from integrand.errors import UsageError
from integrand.modules import DiffusionModel, FlowMatching, MeanFlow
from integrand.modules.generative.backbones import Conv
from integrand.modules.generative.dequantisation import dequantised
from integrand.spec import Classes, Density, ImageSpec, VectorSpec

POINTS = VectorSpec("made-up", Density(), 2)
WIDE = VectorSpec("made-up", Density(), 20)
IMAGES = ImageSpec("images", Classes(2), (1, 4, 8), bin_widths=(0.5,))


def still(family, spec, **kwargs):
    """A flow that stands still, so that p is standard normal."""
    module = family(spec, **kwargs).eval()
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    module.true_log_density = lambda x: x.flatten(1)[:, 0]  # it asks the trainer's data
    return module


def data(spec, n=300):
    """Points whose density falls from the first to the last."""
    x = torch.randn(n, *spec.input_shape, generator=torch.Generator().manual_seed(0))
    return x * torch.linspace(0.1, 3, n).view(-1, *[1] * len(spec.input_shape))


@pytest.mark.parametrize("family", [FlowMatching, MeanFlow])
@pytest.mark.parametrize(("spec", "asked", "taken"), [(POINTS, None, 300), (WIDE, None, 128), (WIDE, 40, 40)])
def test_the_first_points_are_taken_all_of_them_in_few_dimensions(family, spec, asked, taken):
    module, x = still(family, spec, likelihood_samples=asked, sample_batch=50), data(spec)
    module.evaluation = None
    scores = module.extra_scores(x, x[:0], "test")
    assert scores["nll_samples"] == taken
    assert scores["nll"] == pytest.approx(-float(log_normal(x[:taken]).mean()), rel=1e-5)
    # on the same points
    assert scores["nll_floor"] == pytest.approx(-float(x[:taken, 0].mean()), rel=1e-5)
    # of one batch, not the sum over all
    costs = [module.likelihood(part).stats.nfe_forward for part in x[:taken].split(50)]
    assert scores["nll_nfe"] == max(costs) > 0
    assert not module.extra_scores(x, x[:0], "val").keys() & scores.keys()


def test_diffusion_has_the_same_limit():
    for spec, taken in ((POINTS, None), (WIDE, 128), (IMAGES, 128)):
        assert DiffusionModel(spec).likelihood_samples == FlowMatching(spec).likelihood_samples == taken
    assert DiffusionModel(POINTS, likelihood_samples=7).likelihood_samples == 7


@pytest.mark.parametrize("family", [DiffusionModel, FlowMatching])
def test_none_is_none_and_fewer_are_refused(family):
    module = family(POINTS, likelihood_samples=0)
    module.evaluation = None
    assert module.extra_scores(data(POINTS), data(POINTS)[:0], "test") == {}
    with pytest.raises(UsageError, match="likelihood_samples must be 0 or more, got -1"):
        family(POINTS, likelihood_samples=-1)


def test_probes_and_dequantisation_follow_from_their_seeds():
    torch.manual_seed(0)
    module = FlowMatching(IMAGES, backbone=Conv(hidden=4), sample_batch=8, likelihood_samples=12).eval()
    module.true_log_density = lambda x: None
    x = data(IMAGES, 16)
    first = module.extra_scores(x, x[:0], "test")
    torch.randn(7)
    assert module.extra_scores(x, x[:0], "test") == first
    generator = torch.Generator().manual_seed(0)
    parts = [dequantised(part, IMAGES, generator) for part in (x[:8], x[8:12])]
    by_hand = torch.cat([module.likelihood(part, seed).log_prob for seed, part in enumerate(parts)])
    assert first["nll"] == pytest.approx(-float(by_hand.mean()), rel=1e-6)
    # other probes give another estimate
    assert not torch.equal(module.likelihood(parts[0], 5).log_prob, by_hand[:8])


def test_images_without_an_evaluation_are_kept_as_far_as_it_takes_them():
    kept = FlowMatching(IMAGES, backbone=Conv(hidden=4), likelihood_samples=100)
    for stage, wanted in (("test", 100), ("val", 64)):
        kept._seen = []
        while kept._wants_more(stage):
            kept._seen.append(torch.zeros(10, *IMAGES.input_shape))
        assert wanted <= sum(map(len, kept._seen)) < wanted + 10


def test_a_test_of_points_scores_every_one():
    points = EightGaussians(batch_size=32, train_size=32, val_size=20, test_size=60, eval_batch_size=25)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    run = Trainer(accelerator="cpu", **quiet)
    torch.manual_seed(0)
    module = FlowMatching(points.spec)
    (scores,) = run.test(module, points, verbose=False)
    x = torch.cat(
        [batch[0] if isinstance(batch, list | tuple) else batch for batch in points.test_dataloader()]
    )
    assert scores["test/nll_samples"] == len(x) == 60
    with torch.no_grad():
        nll = -float(module.eval().likelihood(x).log_prob.mean())
    # each sample has steps of its own, so that batches change it by round-off
    assert scores["test/nll"] == pytest.approx(nll, rel=1e-5)
