"""Draws from the predictive distribution: one contract for every family; Monte Carlo dropout."""

import math

import pytest
import torch

import integrand.modules.bench.family as bench
from integrand.modules import NeuralODE, NeuralSDE, ResNet
from integrand.modules.noise import ContinuumDropout, Dropout, FeynmanKac, GaussianInjection
from integrand.solvers import Euler, SolveStats
from integrand.spec import Classes, ImageSpec
from integrand.tasks import find_task

SPEC = ImageSpec("made-up", Classes(3), (1, 8, 8))
X = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NOISY = {
    "mc-dropout": lambda: ResNet(SPEC, 4, blocks=2, noise=Dropout(0.3, samples=2)),
    "mc-dropout-field": lambda: NeuralODE(SPEC, 4, Euler(num_steps=2), noise=Dropout(0.3, samples=2)),
    "continuum": lambda: NeuralODE(SPEC, 4, Euler(num_steps=9), noise=ContinuumDropout(0.5, samples=2)),
    "feynman-kac": lambda: ResNet(SPEC, 4, blocks=2, noise=FeynmanKac(0.3)),
    "neural-sde": lambda: NeuralSDE(SPEC, 4, sigma=0.5, num_steps=2, samples=1),
}
QUIET = {
    "resnet": lambda: ResNet(SPEC, 4, blocks=2),
    "dropout": lambda: ResNet(SPEC, 4, blocks=2, noise=Dropout(0.3)),
    "injection": lambda: ResNet(SPEC, 4, blocks=2, noise=GaussianInjection(0.3)),
    "no-noise": lambda: ResNet(SPEC, 4, blocks=2, noise=Dropout(0.0, samples=2)),
    "neural-sde": lambda: NeuralSDE(SPEC, 4, num_steps=2),
}


def build(make):
    torch.manual_seed(0)
    return make().double().eval()


@pytest.mark.parametrize("make", QUIET.values(), ids=QUIET.keys())
def test_what_evaluates_without_noise_has_one_draw(make):
    module = build(make)
    said, solves = module.draws(X, 5)
    assert module.components == 1
    assert torch.equal(said, module(X)[None])
    assert len(solves) == 1


@pytest.mark.parametrize("rows", [4096, 8, 1], ids=["at-once", "two-at-once", "one-by-one"])
@pytest.mark.parametrize("make", NOISY.values(), ids=NOISY.keys())
def test_noisy_evaluation_has_as_many_draws_as_asked_for(make, rows, monkeypatch):
    monkeypatch.setattr(bench, "ROWS", rows)
    module = build(make)
    said, solves = module.draws(X, 5)
    assert module.components is None
    assert said.shape == (5, 4, 3)
    flat = said.flatten(1)
    assert (torch.cdist(flat, flat) + torch.eye(5)).min() > 1e-6
    # the account of five passes, however they were made
    one = module.draws(X, 1)[1]
    assert SolveStats.total(solves).nfe_forward == 5 * SolveStats.total(one).nfe_forward > 0


@pytest.mark.parametrize("kind", ["feynman-kac", "neural-sde"])
def test_every_row_of_a_pass_keeps_its_place(kind):
    """Noise of 1e-9 moves the outputs by about as little, and two images by far more."""
    module = build(NOISY[kind])
    if kind == "feynman-kac":
        module.noise.coef = 1e-9
    else:
        module.net.dynamics.sde.sigma = 1e-9
    said, _ = module.draws(X, 3)
    still = said[0]
    torch.testing.assert_close(said, still.expand(3, -1, -1), rtol=0, atol=1e-6)
    assert (torch.cdist(still, still) + torch.eye(4)).min() > 1e-4


def test_rows_of_one_image_have_noise_of_their_own():
    module = build(NOISY["mc-dropout"])
    said, _ = module.draws(X[:1].expand(3, -1, -1, -1), 2)
    flat = said.flatten(0, 1)
    assert (torch.cdist(flat, flat) + torch.eye(6)).min() > 1e-6


def test_classes_pool_probabilities_not_logits():
    task = find_task(SPEC, "outputs")(SPEC)
    draws = torch.tensor([[[math.log(0.9), math.log(0.05), math.log(0.05)]], [[50.0, 51.0, 50.0]]])
    p = task.answer(draws)
    torch.testing.assert_close(task.answer(task.pool(draws)), p.mean(dim=0))
    # by logits the second would have as much to say as the first: another answer
    assert (task.answer(draws.mean(dim=0)) - p.mean(dim=0)).abs().max() > 0.01
    # −log of the pooled probability is at most the mean of those of the members (Jensen)
    truth = torch.tensor([0])
    assert task.loss(task.pool(draws), truth) <= torch.stack([task.loss(d, truth) for d in draws]).mean()


def test_monte_carlo_dropout_is_the_mask_of_training_in_evaluation():
    module, trained = (
        build(lambda s=s: ResNet(SPEC, 4, blocks=2, noise=Dropout(0.4, samples=s))) for s in (1, 0)
    )
    trained.noise.train()  # the head's batch norm stays in evaluation
    outputs = []
    for one in (module, trained):
        torch.manual_seed(3)
        outputs.append(one(X))
    assert torch.equal(*outputs)


def test_monte_carlo_dropout_pools_its_passes():
    module = build(lambda: ResNet(SPEC, 4, blocks=2, noise=Dropout(0.4, samples=3)))
    torch.manual_seed(3)
    pooled, solves = module.evaluate(X)
    torch.manual_seed(3)
    said = torch.cat([module.draws(X, 1)[0] for _ in range(3)])
    torch.testing.assert_close(torch.softmax(pooled, -1), torch.softmax(said, -1).mean(0))
    assert len(solves) == 3
